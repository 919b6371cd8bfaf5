#!/usr/bin/env python3
"""Servers, Farwatch or Apache ZooKeeper, for the client checks of this folder.

    server.py KIND COMMAND...

starts a server of KIND on a free port of the loopback, runs COMMAND with its address in the
variable SERVER and ends with COMMAND's exit code; the server and its data are gone then.
KIND is `farwatch`, `debian` (Debian's package zookeeper) or a release such as `3.9.5`. With
`-ensemble` behind it three voters are started and SERVER names all of them; with `-follower` it
names one that follows, with `-observer` a fourth server that observes, with `-observer-global` one whose
sessions are the ensemble's.
"""

import contextlib
import ctypes
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# A cold JVM beside busy neighbours needs many seconds.
READY_WITHIN_SECONDS = 90
STOP_WITHIN_SECONDS = 30

# As few as survive the loss of one.
VOTERS = 3

# The same for both kinds. `super:test` is the super user that kazoo's tests log in as.
CONFIG = """\
tickTime=2000
dataDir={data}
clientPortAddress=127.0.0.1
clientPort={port}
maxClientCnxns=0
4lw.commands.whitelist=*
enforceQuota=true
"""
SYSTEM_PROPERTIES = {
    "zookeeper.DigestAuthenticationProvider.superDigest":
        "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
    "zookeeper.extendedTypesEnabled": "true",
    "znode.container.checkIntervalMs": "500",
    "readonlymode.enabled": "true",
}

# Only for the servers of an ensemble.
ENSEMBLE_CONFIG = """\
initLimit=10
syncLimit=5
"""

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>farwatch</groupId><artifactId>subject</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId>
<version>{version}</version></dependency>
<dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId>
<version>4.1.12.1</version></dependency>
<dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId>
<version>1.1.10.5</version></dependency></dependencies></project>
"""


def farwatch_binary():
    """The binary under test: FARWATCH_BIN, else the newest build."""
    if "FARWATCH_BIN" in os.environ:
        return os.environ["FARWATCH_BIN"]
    builds = [TARGET / profile / "farwatch" for profile in ("release", "debug")]
    builds = [build for build in builds if build.exists()]
    if not builds:
        sys.exit("no farwatch binary: run `cargo build --release`, or set FARWATCH_BIN")
    return str(max(builds, key=lambda build: build.stat().st_mtime))


def released_jars(version):
    """The jars of a release of ZooKeeper, fetched once, where the bench crate keeps them too."""
    jars = TARGET / "zookeeper" / version
    if not jars.is_dir():
        jars.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jars.parent) as work:
            pathlib.Path(work, "pom.xml").write_text(POM.format(version=version))
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies",
                 "-DincludeScope=runtime", "-DoutputDirectory=jars"],
                cwd=work, check=True, stdin=subprocess.DEVNULL)
            # Renamed when complete, so that a half-fetched release is never used.
            os.rename(pathlib.Path(work, "jars"), jars)
    return f"{jars}/*"


# Below those that the kernel gives to whoever connects: a server that is started again finds its own free.
PORTS = range(10_000, 32_000)


def free_port():
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError(f"no port of {PORTS} is free")


def die_with_parent():
    """Runs in the child: an aborted run leaves no server behind (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def until(what, is_so, within=120):
    """Polls until `is_so` is true, prints how long that took, and returns what it was."""
    start = time.monotonic()
    while not (found := is_so()):
        if time.monotonic() > start + within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.05)
    print(f"      {time.monotonic() - start:5.1f} s until {what}", flush=True)
    return found


class Server:
    """A server with a port and a directory of its own; restarts keep both."""

    def __init__(self, kind):
        self.kind = kind
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        TARGET.mkdir(parents=True, exist_ok=True)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="interop-", dir=TARGET))
        self.process = None
        # Of a server in an ensemble: its number, and the lines that name all members.
        self.number = None
        self.members = ""

    @property
    def running(self):
        return self.process is not None

    def log(self):
        path = self.directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self):
        if not self.running:
            self.launch()
            self.wait_until_ready()

    def launch(self):
        """Starts the process; a voter serves only when a quorum of them runs."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(data=data, port=self.port) + self.members
        if self.number is not None:
            (data / "myid").write_text(f"{self.number}\n")
        if self.kind == "farwatch":
            for key, value in SYSTEM_PROPERTIES.items():
                config += f"{key.removeprefix('zookeeper.')}={value}\n"
            command = [farwatch_binary(), "serve"]
            command += ["--config", str(self.directory / "zoo.cfg")]
        else:
            debian = "/usr/share/java/zookeeper.jar"
            class_path = debian if self.kind == "debian" else released_jars(self.kind)
            command = ["java", "-cp", class_path, "-Dfile.encoding=UTF-8", "-XX:-UsePerfData",
                       "-Dzookeeper.admin.enableServer=false",
                       "-Djava.net.preferIPv4Stack=true"]
            command += [f"-D{key}={value}" for key, value in SYSTEM_PROPERTIES.items()]
            command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain",
                        str(self.directory / "zoo.cfg")]
        (self.directory / "zoo.cfg").write_text(config)
        with open(self.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=die_with_parent)

    def wait_until_ready(self):
        """Asks `srvr` until a mode is named: a listening port alone does not serve yet."""
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                code, self.process = self.process.returncode, None
                raise RuntimeError(f"{self.kind} ended with {code}:\n{self.log()}")
            if "Mode: " in self.word("srvr"):
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"{self.kind} does not serve:\n{self.log()}")

    def word(self, word):
        """The answer to a four-letter word; empty while there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(word.encode())
                answer = b""
                while part := connection.recv(65536):
                    answer += part
                return answer.decode()
        except OSError:
            return ""

    def stop(self):
        """SIGTERM. A server that ignores it, or that ends badly after it, is an error."""
        if not self.running:
            return
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(STOP_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"{self.kind} ignored SIGTERM:\n{self.log()}") from None
        # Java reports the signal itself as 143.
        if code not in (0, 143):
            raise RuntimeError(f"{self.kind} ended with {code} after SIGTERM:\n{self.log()}")

    def kill(self):
        """As a power cut: SIGKILL."""
        if self.running:
            process, self.process = self.process, None
            process.kill()
            process.wait()

    def destroy(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Service:
    """What a KIND names: one server, or an ensemble of which clients know all or one."""

    def __init__(self, kind):
        self.kind = kind
        product, _, shape = kind.partition("-")
        if shape not in ("", "ensemble", "follower", "observer", "observer-global"):
            sys.exit(f"no such kind of server: {kind}")
        observes = shape.startswith("observer")
        self.sessions_are_local = shape == "observer"
        servers = 1 if not shape else VOTERS + observes
        self.all = [Server(product) for _ in range(servers)]
        # Those that clients are told of.
        self.members = self.all[VOTERS:] if observes else list(self.all)
        self.hides_others = shape == "follower"
        if shape:
            self.join()

    def join(self):
        lines = ENSEMBLE_CONFIG
        if VOTERS < len(self.all):
            # Local is what Farwatch's observers do without being told. ZooKeeper wants it said everywhere.
            local = str(self.sessions_are_local).lower()
            lines += f"localSessionsEnabled={local}\nlocalSessionsUpgradingEnabled={local}\n"
        for number, server in enumerate(self.all, 1):
            server.number = number
            role = ":observer" if VOTERS < number else ""
            lines += f"server.{number}=127.0.0.1:{free_port()}:{free_port()}{role}\n"
        for server in self.all:
            server.members = lines
        for server in self.all[VOTERS:]:
            server.members += "peerType=observer\n"

    @property
    def addresses(self):
        return ",".join(server.address for server in self.members)

    @property
    def running(self):
        return all(server.running for server in self.all)

    def start(self):
        """Starts those that do not run, all at once: each waits for the others."""
        starting = [server for server in self.all if not server.running]
        for server in starting:
            server.launch()
        for server in starting:
            server.wait_until_ready()
        if self.hides_others and len(self.members) > 1:
            self.members = [self.follower()]

    def follower(self):
        return next(server for server in self.all if "Mode: follower" in server.word("srvr"))

    def stop(self):
        for server in self.all:
            server.stop()

    def destroy(self):
        for server in self.all:
            server.destroy()


def play(name, cluster, scenes):
    """The whole of an application's suite: its scenes in turn, with a cluster of it on servers of the
    kind that the command line names."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "farwatch-ensemble"
    TARGET.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f"{name.lower()}-", dir=TARGET))
    with contextlib.ExitStack() as stack:
        it = cluster(kind, work)
        stack.callback(it.end)
        for scene in scenes:
            print(f"  {scene.__name__}: {scene.__doc__}", flush=True)
            scene(it)
    # Of a run that failed it stays, with the logs of all.
    shutil.rmtree(work)
    print(f"{name} on {kind}: {len(scenes)} passed, 0 failed")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    service = Service(sys.argv[1])
    try:
        service.start()
        environment = dict(os.environ, SERVER=service.addresses)
        code = subprocess.run(sys.argv[2:], env=environment, stdin=subprocess.DEVNULL).returncode
        if code != 0:
            for server in service.all:
                print(f"--- the end of the {server.kind} server's log", file=sys.stderr)
                print("\n".join(server.log().splitlines()[-20:]), file=sys.stderr)
        return code
    finally:
        service.destroy()


if __name__ == "__main__":
    sys.exit(main())
