#!/usr/bin/env python3
"""Our recipes against kazoo's and against Curator's: two contenders of each, at the same paths.

SERVER names the servers, RECIPE_RACE is the built example of that name (client/examples), RACE_CLASSPATH
says how to run Race.java. Each contender is a process with a session, and has all recipes of its pair in
turn. Not all three libraries at once: Curator orders the nodes of a lock by what is behind `lock-` in
their names and kazoo's have no such thing, so that Curator and kazoo do not exclude each other anywhere.

Of each recipe there are, in a directory of its own:

    place         the recipe
    contenders/   a node of each that is ready. Nobody begins before all are
    inside        is there while somebody is alone: created first, where it must not be, deleted last
    log           who was alone, in order: read and written without a version, so that nothing but the
                  recipe keeps it whole
    sharing/      a node of each that reads, or has a permit
    together/     a node of each that read while all did: forwards, and then backwards in the order of names
    done/         a node of each that had its rounds and saw of the others what it has to. All go on
                  until all are done, so that nobody is without rivals
    rounds/       how many rounds each has taken
    set/ barred/ lifted/ passed/    for barriers: <who set it>, or <who set it>.<who waits>

Contenders fail at what they see, and this looks at what they leave.
"""

import os
import pathlib
import subprocess
import sys
import time

from kazoo.client import KazooClient

SERVER = os.environ["SERVER"]
ROUNDS = 10
EACH = 2
WITHIN_SECONDS = 480

HERE = pathlib.Path(__file__).resolve().parent
OURS = [os.environ["RECIPE_RACE"]]
THEIRS = {
    "kazoo": [sys.executable, str(HERE / "kazoo_contender.py")],
    # For so short a run: no second compiler, and no heap beyond what it needs.
    "curator": ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m",
                "-cp", os.environ["RACE_CLASSPATH"], "Race"],
}
# docs/recipes.md says which of all recipes agree, and why others do not.
PAIRS = {
    "kazoo": ["lock", "read_write", "latch", "selector", "counter", "barrier"],
    "curator": ["lock", "read_write", "semaphore", "latch", "selector", "barrier"],
}
# Whoever has something alone in these writes itself into the log.
ALONE = {"lock", "read_write", "latch", "selector"}
NODES = ["contenders", "sharing", "together/forwards", "together/backwards", "done", "rounds",
         "set", "barred", "lifted", "passed"]


def prepare(referee, directory, recipe, theirs):
    for node in NODES:
        referee.create(f"{directory}/{node}", makepath=True)
    referee.create(f"{directory}/log")
    # kazoo looks once whether its path is there. Ours and Curator's make it a container, which the server
    # removes as soon as nobody is in line.
    if theirs == "kazoo" and recipe in ALONE:
        referee.create(f"{directory}/place")
    # Both are looked into, and would be removed in the same way.
    if recipe == "semaphore":
        referee.create(f"{directory}/place/leases", makepath=True)
        referee.create(f"{directory}/place/locks")


def contend(directory, theirs, recipes):
    """Runs all contenders, and returns what has failed: nothing waits for one that is gone."""
    names = {f"{library}-{number}": command
             for library, command in (("ours", OURS), (theirs, THEIRS[theirs]))
             for number in range(1, EACH + 1)}
    running = {name: subprocess.Popen(
                   [*command, SERVER, directory, name, str(len(names)), str(ROUNDS), *recipes])
               for name, command in names.items()}
    deadline = time.monotonic() + WITHIN_SECONDS
    try:
        while running:
            for name, process in list(running.items()):
                code = process.poll()
                if code == 0:
                    del running[name]
                elif code is not None:
                    return f"{name} ended with {code}"
            if deadline < time.monotonic():
                return f"{', '.join(running)} did not end within {WITHIN_SECONDS} s"
            time.sleep(0.01)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return None


def judge(referee, directory, recipe):
    """What the recipe's contenders have left, in words."""
    def text(node):
        return referee.get(f"{directory}/{node}")[0].decode()

    rounds = {name: int(text(f"rounds/{name}"))
              for name in referee.get_children(f"{directory}/rounds")}
    if len(rounds) != 2 * EACH:
        sys.exit(f"{directory}: only {sorted(rounds)} came to the end")
    total = sum(rounds.values())
    if recipe == "counter" and int(text("place")) != total:
        sys.exit(f"{directory}: {text('place')} counted instead of {total}")
    if recipe not in ALONE:
        return f"{total} rounds"
    log = text("log").split()
    if {name: log.count(name) for name in rounds} != rounds:
        sys.exit(f"{directory}: the log has {log} instead of {rounds}")
    ours = [name.startswith("ours-") for name in log]
    handed_over = sum(before != after for before, after in zip(ours, ours[1:]))
    if handed_over < ROUNDS:
        sys.exit(f"{directory}: handed over {handed_over} times, which is hardly a race: {log}")
    return f"{total} rounds, {handed_over} times handed over between libraries"


def main():
    referee = KazooClient(hosts=SERVER)
    referee.start()
    races = 0
    for theirs, recipes in PAIRS.items():
        for recipe in recipes:
            prepare(referee, f"/race-{theirs}/{recipe}", recipe, theirs)
        failure = contend(f"/race-{theirs}", theirs, recipes)
        if failure:
            sys.exit(f"beside {theirs}: {failure}")
        referee.sync(f"/race-{theirs}")
        for recipe in recipes:
            print(f"beside {theirs}, {recipe}: {judge(referee, f'/race-{theirs}/{recipe}', recipe)}")
            races += 1
    referee.stop()
    print(f"recipes: {races} races passed, 0 failed")


if __name__ == "__main__":
    main()
