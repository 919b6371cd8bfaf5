#!/usr/bin/env python3
"""ZooKeeper's own compiled tests against a server in a process of its own.

    run.py CLASSES [--all] [CLASS...]

CLASSES is the folder of our compiled classes, beside which `zktests.classpath` names the rest.
Without names the quick classes of classes.txt run, with --all the slow ones too. Names may leave the
package org.apache.zookeeper.test away. ZKTESTS_SERVER=zookeeper runs the same on Apache ZooKeeper.

Each class has a JVM of its own, and a limit. A test that fails and that excluded.txt does not name
ends the run with 1; so does one that did not get to its end.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import server  # noqa: E402 (beside this folder)

PACKAGE = "org.apache.zookeeper.test."
# The slowest class takes half of it on a busy machine.
CLASS_WITHIN_SECONDS = 600
TEST_WITHIN_SECONDS = 180


def lines(name):
    text = (HERE / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def qualified(name):
    return name if name.startswith("org.") else PACKAGE + name


def selected(everything, names):
    """The classes to run, in the order of the file, each with the properties that it needs."""
    classes = {}
    for line in lines("classes.txt"):
        name, *marks = line.split()
        if qualified(name) in names or not names and (everything or "slow" not in marks):
            classes[qualified(name)] = [mark for mark in marks if mark.startswith("-D")]
    unknown = names - set(classes)
    if unknown:
        sys.exit(f"not in classes.txt: {', '.join(sorted(unknown))}")
    return classes


def left_out():
    """For each class the methods that are not run. A class that is excluded as a whole has none."""
    methods = {}
    for line in lines("excluded.txt"):
        test = line.split(maxsplit=1)[0]
        name, _, method = test.partition("#")
        if method:
            methods.setdefault(qualified(name), []).append(method)
    return methods


class Run:
    def __init__(self, classes_folder):
        self.kind = os.environ.get("ZKTESTS_SERVER", "farwatch")
        others = (classes_folder.parent / "zktests.classpath").read_text().strip()
        self.command = [
            "java", "-Xmx512m", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1",
            "-cp", f"{classes_folder}:{others}",
            "-Dslf4j.internal.verbosity=ERROR",
            f"-Djunit.jupiter.execution.timeout.testable.method.default={TEST_WITHIN_SECONDS}s",
            # As ZooKeeper's own build sets it: the super user whose password is `test`.
            "-Dzookeeper.DigestAuthenticationProvider.superDigest="
            "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
            f"-Dzktests.server={self.kind}",
        ]
        if self.kind == "zookeeper":
            self.command.append(f"-Dzktests.classpath={others}")
        else:
            self.command.append(f"-Dzktests.binary={server.farwatch_binary()}")
        self.passed = 0
        self.failed = []

    def one(self, name, properties, methods):
        """Runs a class; what it leaves running ends with it, as all of it is one process group."""
        directory = pathlib.Path(tempfile.mkdtemp(prefix="zktests-", dir=server.TARGET))
        command = self.command + properties
        command += [f"-Dbuild.test.dir={directory}/tests", "farwatch.zktests.Judge"]
        process = subprocess.Popen(
            command + [name] + methods, cwd=directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=server.die_with_parent)
        try:
            output, _ = process.communicate(timeout=CLASS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"FAIL\t(class)\tnot done after {CLASS_WITHIN_SECONDS} s\n"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            shutil.rmtree(directory, ignore_errors=True)
        self.count(name, process.returncode, output)
        return output

    def count(self, name, code, output):
        verdicts = [line.split("\t") for line in output.splitlines() if "\t" in line]
        good = [test for verdict, test, *_ in verdicts if verdict == "ok"]
        bad = [test for verdict, test, *_ in verdicts if verdict == "FAIL"]
        if not good and not bad or code not in (0, -signal.SIGKILL):
            bad.append(f"(class) ended with {code}, without a test's end")
        self.passed += len(good)
        self.failed += [f"{name}#{test}" for test in bad]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    arguments = sys.argv[2:]
    names = {qualified(name) for name in arguments if name != "--all"}
    classes = selected("--all" in arguments, names)
    methods = left_out()
    run = Run(pathlib.Path(sys.argv[1]).resolve())
    for name, properties in classes.items():
        start = time.monotonic()
        failures = len(run.failed)
        output = run.one(name, properties, methods.get(name, []))
        if len(run.failed) > failures:
            print(output)
        print(f"{name.removeprefix(PACKAGE)}: {time.monotonic() - start:.0f} s", flush=True)
    for test in run.failed:
        print("FAIL", test)
    print(f"zktests against {run.kind}: {len(classes)} classes, {run.passed} tests passed,"
          f" {len(run.failed)} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
