#!/usr/bin/env python3
"""Our lock against kazoo's and against Curator's, each pair on one directory.

SERVER names the servers, LOCK_RACE is the built example of that name, RACE_CLASSPATH says how to run
Race.java. Each contender counts in one node by a read and a write that only the lock keeps whole.

Not all three at once: Curator orders nodes by what is behind `lock-` in their names and kazoo's have
no such thing, so that Curator and kazoo do not exclude each other on any server.
"""

import os
import subprocess
import sys
import threading

from kazoo.client import KazooClient

SERVER = os.environ["SERVER"]
ROUNDS = 40
OURS = 2
THEIRS = 2
WITHIN_SECONDS = 240


def kazoo_contender(directory, failures):
    client = KazooClient(hosts=SERVER, timeout=20.0)
    client.start()
    try:
        # What makes kazoo see nodes that are named as Curator's, and so ours.
        lock = client.Lock(f"{directory}/lock", "kazoo", extra_lock_patterns=["-lock-"])
        for _ in range(ROUNDS):
            with lock:
                client.create(f"{directory}/inside", ephemeral=True)
                count = int(client.get(f"{directory}/count")[0])
                client.set(f"{directory}/count", str(count + 1).encode())
                client.delete(f"{directory}/inside")
    except Exception as error:  # noqa: BLE001 - whatever it is, the race has failed
        failures.append(repr(error))
    finally:
        client.stop()
        client.close()


def ours(directory):
    return subprocess.Popen([os.environ["LOCK_RACE"], SERVER, directory, str(ROUNDS)])


def curator(directory):
    environment = dict(os.environ, DIRECTORY=directory, ROUNDS=str(ROUNDS))
    return subprocess.Popen(
        ["java", "-cp", os.environ["RACE_CLASSPATH"], "Race"], env=environment)


def race(referee, name, start_theirs):
    directory = f"/race-{name}"
    referee.create(directory)
    referee.create(f"{directory}/count", b"0")
    failures, threads = [], []
    processes = [ours(directory) for _ in range(OURS)]
    for _ in range(THEIRS):
        started = start_theirs(directory, failures)
        (processes if isinstance(started, subprocess.Popen) else threads).append(started)
    for thread in threads:
        thread.join(WITHIN_SECONDS)
        if thread.is_alive():
            failures.append("a thread does not end")
    for process in processes:
        try:
            code = process.wait(WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = "killed, as it did not end"
        if code != 0:
            failures.append(f"{process.args[0]}: {code}")
    counted = int(referee.get(f"{directory}/count")[0])
    expected = (OURS + THEIRS) * ROUNDS
    if counted != expected:
        failures.append(f"{counted} counted instead of {expected}")
    left = referee.get_children(f"{directory}/lock") if referee.exists(f"{directory}/lock") else []
    if left:
        failures.append(f"left behind: {left}")
    if failures:
        sys.exit(f"{name}: " + "; ".join(failures))
    print(f"{name}: {OURS} of ours and {THEIRS} of theirs counted to {counted}", flush=True)


def start_kazoo(directory, failures):
    thread = threading.Thread(target=kazoo_contender, args=(directory, failures), daemon=True)
    thread.start()
    return thread


def start_curator(directory, _failures):
    return curator(directory)


def main():
    referee = KazooClient(hosts=SERVER)
    referee.start()
    race(referee, "kazoo", start_kazoo)
    race(referee, "curator", start_curator)
    referee.stop()
    print("recipes: 2 races passed, 0 failed")


if __name__ == "__main__":
    main()
