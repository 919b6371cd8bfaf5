#!/usr/bin/env python3
"""What real clients make of a server that is cut off: kazoo, and the Java client where
CUT_CLASSPATH says how to run it.

    cut.py [kazoo|java]     starts three voters for each policy, and freezes all but one follower; or all
                            of them under an observer
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import server  # noqa: E402
from kazoo.client import KazooClient, KazooState, KeeperState  # noqa: E402
from kazoo.exceptions import ConnectionLoss, NotReadOnlyCallError  # noqa: E402

# Shorter than the cuts are.
TIMEOUT_SECONDS = 4.0
WITHIN_SECONDS = 30

# A line of the configuration: no session is one server's own.
GLOBAL = "localSessionsEnabled=false\n"


def until(what, is_so):
    deadline = time.monotonic() + WITHIN_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"not within {WITHIN_SECONDS} s: {what}")
        time.sleep(0.02)


def fails(error, ask):
    """What cannot be done without a leader says so."""
    try:
        ask()
    except error:
        return
    sys.exit("a write was done without a leader")


class Cut:
    """An ensemble of which one server can be cut off: a follower, or an observer, with its own sessions unless `more`
    says otherwise."""

    def __init__(self, policy, observer=False, more=""):
        server.SYSTEM_PROPERTIES.pop("readonlymode.enabled", None)
        self.service = server.Service("farwatch-observer" if observer else "farwatch-ensemble")
        for member in self.service.all:
            member.members += f"farwatch.onPartition={policy}\nwriteWaitMs=1500\n{more}"
        self.service.start()
        self.one = self.service.members[0] if observer else self.service.follower()

    def signal(self, number):
        for member in self.service.all:
            if member is not self.one:
                member.process.send_signal(number)

    def cut(self):
        self.signal(signal.SIGSTOP)
        until("it has no leader", lambda: not self.is_led())

    def heal(self):
        self.signal(signal.SIGCONT)
        until("it has a leader again", self.is_led)

    def is_led(self):
        return '"phase":"broadcast"' in self.one.word("quor")

    def end(self):
        self.signal(signal.SIGCONT)
        self.service.destroy()


def kazoo(cut, **more):
    client = KazooClient(hosts=cut.one.address, timeout=TIMEOUT_SECONDS, **more)
    states = []
    client.add_listener(states.append)
    client.start()
    return client, states


def serve(observer=False):
    """Reads, session, ephemeral and watch outlive the cut; a write fails and disturbs nothing. Sessions are the
    ensemble's."""
    cut = Cut("serve", observer, GLOBAL)
    try:
        client, states = kazoo(cut)
        client.create("/a", b"1")
        client.create("/e", ephemeral=True)
        seen = []
        client.exists("/new", watch=seen.append)
        session, before = client.client_id, len(states)
        cut.cut()
        for ask in (lambda: client.set("/a", b"2"), lambda: client.sync("/")):
            fails(ConnectionLoss, ask)
        end = time.monotonic() + 2 * TIMEOUT_SECONDS
        while time.monotonic() < end:
            assert client.get("/a")[0] == b"1"
            time.sleep(0.2)
        # One that comes now and takes a server that only reads has one.
        fresh, _ = kazoo(cut, read_only=True)
        assert fresh.client_state == KeeperState.CONNECTED_RO and fresh.get("/a")[0] == b"1"
        fails(NotReadOnlyCallError, lambda: fresh.set("/a", b"2"))
        cut.heal()
        client.create("/new")
        until("the watch fires", lambda: seen)
        until("kazoo writes", lambda: fresh.client_state == KeeperState.CONNECTED)
        assert client.client_id == session and client.exists("/e")
        assert len(states) == before, f"kazoo noticed: {states}"
        fresh.set("/a", b"3")
        client.stop()
        fresh.stop()
    finally:
        cut.end()


def observer():
    """Whoever comes to an observer in a cut is served there with a session of its own, and writes when it is over."""
    cut = Cut("serve", observer=True)
    try:
        client, states = kazoo(cut)
        client.create("/a", b"1")
        client.create("/e", ephemeral=True)
        seen = []
        client.exists("/new", watch=seen.append)
        reader, reader_states = kazoo(cut)
        sessions, before = (client.client_id, reader.client_id), (len(states), len(reader_states))
        cut.cut()
        fresh, fresh_states = kazoo(cut)
        assert fresh.client_state == KeeperState.CONNECTED and fresh.get("/a")[0] == b"1"
        for ask in (lambda: client.set("/a", b"2"), lambda: fresh.create("/f", ephemeral=True)):
            fails(ConnectionLoss, ask)
        end = time.monotonic() + 2 * TIMEOUT_SECONDS
        while time.monotonic() < end:
            for each in (client, reader, fresh):
                assert each.get("/a")[0] == b"1"
            time.sleep(0.2)
        cut.heal()
        client.create("/new")
        until("the watch fires", lambda: seen)
        assert (client.client_id, reader.client_id) == sessions and client.exists("/e")
        assert (len(states), len(reader_states)) == before, f"kazoo noticed: {states} {reader_states}"
        assert len(fresh_states) == 1, f"kazoo noticed: {fresh_states}"
        fresh.set("/a", b"3")
        fresh.create("/f2", ephemeral=True)
        for each in (client, reader, fresh):
            each.stop()
    finally:
        cut.end()


def disconnect():
    """All connections end, and come back with their sessions."""
    cut = Cut("disconnect", observer=True)
    try:
        client, states = kazoo(cut)
        client.create("/a", b"1")
        client.create("/e", ephemeral=True)
        session = client.client_id
        cut.cut()
        until("the connection ends", lambda: KazooState.SUSPENDED in states)
        assert not client.connected
        cut.heal()
        until("kazoo is back", lambda: client.client_state == KeeperState.CONNECTED)
        assert client.client_id == session and client.exists("/e"), states
        client.set("/a", b"2")
        client.stop()
    finally:
        cut.end()


def readonly(observer=False):
    """A client that takes a read-only server has one, and a server that writes after the cut."""
    cut = Cut("readonly", observer, GLOBAL)
    try:
        client, _ = kazoo(cut, read_only=True)
        plain, _ = kazoo(cut)
        client.create("/a", b"1")
        client.create("/e", ephemeral=True)
        session = client.client_id
        cut.cut()
        until("kazoo reads", lambda: client.client_state == KeeperState.CONNECTED_RO)
        assert client.get("/a")[0] == b"1" and not plain.connected
        fails(NotReadOnlyCallError, lambda: client.set("/a", b"2"))
        fresh, _ = kazoo(cut, read_only=True)
        assert fresh.client_state == KeeperState.CONNECTED_RO and fresh.get("/a")[0] == b"1"
        cut.heal()
        for each in (client, fresh, plain):
            until("kazoo writes again", lambda each=each: each.client_state == KeeperState.CONNECTED)
        client.set("/a", b"3")
        assert client.client_id == session and client.exists("/e"), "its session was real"
        assert fresh.get("/a")[0] == b"3"
        for each in (client, fresh, plain):
            each.stop()
    finally:
        cut.end()


def java(policy, observer=False, more=""):
    """The same for the Java client: it prints `connected`, `cut` and `healed` for what it has seen."""
    class_path = os.environ["CUT_CLASSPATH"]
    cut = Cut(policy, observer, more)
    try:
        child = subprocess.Popen(
            ["java", "-cp", class_path, "Cut", policy, cut.one.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=server.die_with_parent)

        def expect(word):
            line = child.stdout.readline().strip()
            if line != word:
                sys.exit(f"{policy}: the Java client says {line!r} and not {word!r}")

        expect("connected")
        cut.cut()
        child.stdin.write("cut\n")
        child.stdin.flush()
        expect("cut")
        cut.heal()
        child.stdin.write("healed\n")
        child.stdin.flush()
        expect("healed")
        assert child.wait(WITHIN_SECONDS) == 0
    finally:
        cut.end()


def main():
    checks = [("kazoo, serve", serve), ("kazoo, readonly", readonly), ("kazoo, observer", observer),
              ("kazoo, disconnect", disconnect),
              ("kazoo, an observer with the ensemble's sessions", lambda: serve(observer=True)),
              ("kazoo, readonly, an observer", lambda: readonly(observer=True))]
    if os.environ.get("CUT_CLASSPATH"):
        checks += [("java, serve", lambda: java("serve")), ("java, readonly", lambda: java("readonly")),
                   ("java, observer", lambda: java("serve", observer=True)),
                   ("java, an observer with the ensemble's sessions", lambda: java("serve", True, GLOBAL)),
                   ("java, readonly, an observer", lambda: java("readonly", True, GLOBAL)),
                   ("java, disconnect", lambda: java("disconnect", observer=True))]
    wanted = tuple(sys.argv[1:]) or ("",)
    checks = [(name, check) for name, check in checks if name.startswith(wanted)]
    for name, check in checks:
        begun = time.monotonic()
        check()
        print(f"ok {name} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(checks)} checks passed, 0 failed")


if __name__ == "__main__":
    main()
