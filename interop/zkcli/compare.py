#!/usr/bin/env python3
"""ZooKeeper's own zkCli.sh with the same commands against Farwatch and against Apache ZooKeeper.

    compare.py [-ensemble|-follower]        what is behind KIND in server.py, for both

Fails where the shell prints something else for a command. What differs in any two runs is
replaced: times, session ids, ports, the epochs of zxids. Watch events come when they
come: they are compared as a set. A line `# events N` in commands.txt waits for the Nth of
them, where the commands behind it would keep the shell from printing them.
"""

import difflib
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from server import Service  # noqa: E402

SHELL = "/usr/share/zookeeper/bin/zkCli.sh"
# The release whose behaviour Farwatch follows; Debian's server is older than its permissions of
# exists.
REFERENCE = "3.9.5"
SHELL_SECONDS = 180
# After this long a missing event is a difference.
EVENT_SECONDS = 30
EVENTS = re.compile(r"# events (\d+)")

# Each command is preceded by one that fails in a known way and so marks its place in the output.
MARK = "/mark-{}"

# `{command: reason}`: where the two may differ.
EXPLAINED = {}

# The same, where ZooKeeper answers in two ways, and only through an observer.
UNSTEADY_BEHIND_OBSERVERS = {
    "set /b/1 0123456789abcdef": "a leader tells observers that a quota is committed before it has applied it, "
    "and the next write may be checked against the quota of before",
}


def session(kind, lines):
    """What the shell prints for each command, and the events it was told."""
    service = Service(kind)
    try:
        service.start()
        shell = subprocess.Popen(
            [SHELL, "-server", service.addresses], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        # The script and its Java machine, which would hold the output open.
        overdue = threading.Timer(SHELL_SECONDS, lambda: os.killpg(shell.pid, signal.SIGKILL))
        overdue.start()
        try:
            return talk(shell, lines), ports(service)
        finally:
            overdue.cancel()
            shell.wait()
    finally:
        service.destroy()


def talk(shell, lines):
    """Gives the shell the commands, not before the events that some wait for."""
    printed = queue.Queue()

    def read():
        for line in shell.stdout:
            printed.put(line.decode(errors="replace"))
        printed.put(None)

    threading.Thread(target=read, daemon=True).start()
    text, number, events = [], 0, 0
    for line in lines:
        wanted = EVENTS.match(line)
        if not wanted:
            shell.stdin.write(f"stat {MARK.format(number)}\n{line}\n".encode())
            number += 1
            continue
        shell.stdin.flush()
        deadline = time.monotonic() + EVENT_SECONDS
        try:
            while events < int(wanted[1]):
                told = printed.get(timeout=max(0, deadline - time.monotonic()))
                if told is None:
                    sys.exit(f"the shell ended before event {wanted[1]}:\n{''.join(text)[-2000:]}")
                text.append(told)
                events += told.startswith("WatchedEvent ")
        except queue.Empty:
            print(f"FAILED: {events} of {wanted[1]} events in {EVENT_SECONDS} s")
            text.append(f"event {wanted[1]} did not come\n")
    shell.stdin.close()
    text.extend(iter(printed.get, None))
    return "".join(text)


def ports(service):
    """All that are named anywhere: those of clients, of peers and of elections."""
    named = "".join(f":{server.port}\n{server.members}" for server in service.all)
    return sorted(set(re.findall(r":(\d+)", named)))


def normal(text, ports, recorded=0):
    for port in ports:
        text = re.sub(rf":{port}\b", ":PORT", text)
    # The length of the text that names them.
    text = re.sub(r"(?<=^dataLength = )1\d\d$", "LENGTH", text, flags=re.M)
    text = re.sub(r"(ctime|mtime) = .*", r"\1 = TIME", text)
    # Log lines of the client library, and its stack traces' line numbers.
    text = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*\n", "", text, flags=re.M)
    # The counter alone: a server alone is an ensemble of one for Farwatch, with an epoch.
    text = re.sub(r"(.Zxid) = 0x1(?=0*[0-9a-f]{8}$)0*", r"\1 = 0x", text, flags=re.M)
    # A Farwatch ensemble's first record is its membership.
    text = re.sub(r"(.Zxid) = 0x([1-9a-f][0-9a-f]*)$",
                  lambda it: f"{it[1]} = {int(it[2], 16) - recorded:#x}", text, flags=re.M)
    text = re.sub(r"ephemeralOwner = 0x[1-9a-f][0-9a-f]*", "ephemeralOwner = SESSION", text)
    return text


def events_of(text):
    """Takes what the watcher prints out of the text; its lines may be among those of an answer."""
    events, rest = [], []
    for line in text.splitlines():
        if line.startswith("WatchedEvent "):
            # The zxid of an event is the client's affair; older shells do not print it.
            events.append(re.sub(r" zxid: -?\d+", "", line))
        elif line.strip() != "WATCHER::":
            rest.append(line)
    return "\n".join(rest) + "\n", sorted(events)


def answers(kind, lines, commands):
    text, found_ports = session(kind, lines)
    recorded = 1 if kind.startswith("farwatch-") else 0
    text, events = events_of(normal(text, found_ports, recorded))
    parts = re.split(r"^Node does not exist: /mark-(\d+).*\n?", text, flags=re.M)
    found = {}
    for number, answer in zip(parts[1::2], parts[2::2]):
        lines = [line for line in answer.splitlines() if line.strip()]
        # A shell that is not on a terminal may echo its prompt.
        lines = [re.sub(r"^\[zk: .*?\] ", "", line) for line in lines]
        if int(number) < len(commands) and commands[int(number)] == "whoami":
            # ZooKeeper answers from a hash set.
            lines.sort()
        found[int(number)] = found.get(int(number), []) + lines
    return found, events, text


def main():
    shape = sys.argv[1] if len(sys.argv) > 1 else ""
    lines = (HERE / "commands.txt").read_text().splitlines()
    lines = [line for line in lines if line and (EVENTS.match(line) or not line.startswith("#"))]
    commands = [line for line in lines if not EVENTS.match(line)]
    assert commands[-3] == "close"
    ours, our_events, our_text = answers("farwatch" + shape, lines, commands)
    theirs, their_events, their_text = answers(REFERENCE + shape, lines, commands)
    failures = sum(text.count(" did not come\n") for text in (our_text, their_text))
    if len(theirs) != len(commands) - 2:
        failures += 1
        print(f"FAILED: {len(theirs)} of {len(commands) - 2} marks found in ZooKeeper's output")
    for number, command in enumerate(commands):
        # After `close` no mark is answered: what follows it is compared as its answer.
        if ours.get(number) != theirs.get(number):
            if command in EXPLAINED:
                print(f"differs as explained: {command}: {EXPLAINED[command]}")
                continue
            if command in UNSTEADY_BEHIND_OBSERVERS and shape.startswith("-observer"):
                print(f"ZooKeeper is unsteady: {command}: {UNSTEADY_BEHIND_OBSERVERS[command]}")
                continue
            failures += 1
            print(f"FAILED {command}")
            print("\n".join(difflib.unified_diff(
                theirs.get(number, []), ours.get(number, []), f"zookeeper {REFERENCE}", "farwatch", lineterm="")))
        elif command in EXPLAINED:
            failures += 1
            print(f"FAILED {command}: named as different, and is not")
    if our_events != their_events:
        failures += 1
        print("FAILED events")
        print("\n".join(difflib.unified_diff(
            their_events, our_events, f"zookeeper {REFERENCE}", "farwatch", lineterm="")))
    if failures:
        target = HERE.parent.parent / "target" / "interop"
        target.mkdir(parents=True, exist_ok=True)
        (target / "zkcli-farwatch.txt").write_text(our_text)
        (target / "zkcli-zookeeper.txt").write_text(their_text)
        print("the whole outputs are in target/interop/zkcli-*.txt")
    print(f"zkCli: {len(commands) - failures} passed, {failures} failed, "
          f"{len(their_events)} events compared")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
