#!/usr/bin/env python3
"""Takes part in races of recipes with kazoo's; race.py says what the nodes are.

    kazoo_contender.py host:port /directory name contenders rounds recipe...

The same as client/examples/recipe_race.rs does with ours, and Race.java with Curator's.
"""

import sys
import time

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

PATIENCE_SECONDS = 60
BARRED_FOR_SECONDS = 0.1
PAUSE_SECONDS = 0.002


def require(holds, claim):
    if not holds:
        raise AssertionError(claim)


def library(name):
    return name.split("-")[0]


class Race:
    """One recipe's race, as one contender sees it."""

    def __init__(self, client, directory, name, contenders, rounds):
        """Returns when all contenders are there."""
        self.client = client
        self.directory = directory
        self.name = name
        self.rounds = rounds
        self.taken = 0
        self.is_done = False
        # Whether another library's contender was alone between two times that this one was.
        self.has_alternated = False
        self.create(f"contenders/{name}")
        self.until("all contend", lambda: len(self.children("contenders")) == contenders)
        self.names = sorted(self.children("contenders"))

    def at(self, node):
        return f"{self.directory}/{node}"

    def create(self, node, data=b"", ephemeral=False):
        self.client.create(self.at(node), data, ephemeral=ephemeral)

    def delete(self, node):
        self.client.delete(self.at(node))

    def exists(self, node):
        return self.client.exists(self.at(node)) is not None

    def children(self, node):
        return self.client.get_children(self.at(node))

    def until(self, what, holds):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            require(time.monotonic() < deadline, f"waited in vain until {what}")
            time.sleep(PAUSE_SECONDS)

    def is_foreign(self, name):
        require(name in self.names, f"nobody is called {name!r}")
        return library(name) != library(self.name)

    def alone(self):
        """What only one may do at a time, and nobody while others share."""
        self.create("inside", ephemeral=True)
        log = self.client.get(self.at("log"))[0].decode()
        if self.taken:
            _, _, between = log.rpartition(f"{self.name}\n")
            self.has_alternated |= any(self.is_foreign(name) for name in between.split())
        self.client.set(self.at("log"), f"{log}{self.name}\n".encode())
        sharing = self.children("sharing")
        require(not sharing, f"{sharing} share what one has alone")
        self.delete("inside")
        self.taken += 1

    def is_over(self, seen):
        """Whether all have had their rounds and seen what is to be `seen`. Nobody stops before."""
        if not self.is_done and seen and self.rounds <= self.taken:
            self.create(f"done/{self.name}")
            self.is_done = True
        return len(self.children("done")) == len(self.names)

    def end(self):
        self.create(f"rounds/{self.name}", str(self.taken).encode())


def lock(race):
    # What makes kazoo see nodes that are named as Curator's, and so ours.
    its = race.client.Lock(race.at("place"), race.name, extra_lock_patterns=["-lock-"])
    while not race.is_over(race.has_alternated):
        require(its.acquire(timeout=PATIENCE_SECONDS), "the lock does not come")
        race.alone()
        its.release()


def all_read(race, reading, order, together):
    """All at once, having come one after the other: each behind readers of its own and of another library."""
    before = order.index(race.name)
    race.until("it is its turn to read", lambda: len(race.children(together)) == before)
    require(reading.acquire(timeout=PATIENCE_SECONDS), "the lock does not come")
    race.create(f"{together}/{race.name}")
    race.until("all read", lambda: len(race.children(together)) == len(order))
    reading.release()


def read_write(race):
    place = race.at("place")
    reading = race.client.ReadLock(place, race.name, extra_lock_patterns=["__WRIT__"])
    writing = race.client.WriteLock(
        place, race.name, extra_lock_patterns=["__READ__", "__WRIT__"])
    all_read(race, reading, race.names, "together/forwards")
    all_read(race, reading, race.names[::-1], "together/backwards")
    while not race.is_over(race.has_alternated):
        require(reading.acquire(timeout=PATIENCE_SECONDS), "the lock does not come")
        race.create(f"sharing/{race.name}", ephemeral=True)
        require(not race.exists("inside"), "somebody writes while others read")
        race.delete(f"sharing/{race.name}")
        reading.release()

        require(writing.acquire(timeout=PATIENCE_SECONDS), "the lock does not come")
        race.alone()
        writing.release()


def election(race, marker):
    its = race.client.Election(race.at("place"), race.name)
    # An election has a lock of its own, which nobody can tell of other libraries' nodes.
    its.lock = race.client.Lock(race.at("place"), race.name, extra_lock_patterns=[marker])
    has_seen = False

    def lead():
        nonlocal has_seen
        race.alone()
        contenders = its.contenders()
        require(contenders[0] == race.name, f"{contenders} contend, and the first one leads")
        # Of those that left meanwhile there is nothing to see.
        has_seen |= any(race.is_foreign(name) for name in contenders)

    while not race.is_over(race.has_alternated and has_seen):
        its.run(lead)


def counter(race):
    its = race.client.Counter(race.at("place"))
    last, was_overtaken = 0, False
    while not race.is_over(was_overtaken):
        its += 1
        require(last < its.post_value, f"{its.post_value} after {last}")
        was_overtaken |= last + 1 < its.post_value
        last = its.post_value
        race.taken += 1


def barrier(race):
    """Each bars the way once, and all others wait."""
    its = race.client.Barrier(race.at("place"))
    for setter in race.names:

        def others_are(node):
            arrived = [name for name in race.children(node) if name.startswith(f"{setter}.")]
            return len(arrived) == len(race.names) - 1

        if setter == race.name:
            its.create()
            race.create(f"set/{setter}")
            race.until("all others are barred", lambda: others_are("barred"))
            race.create(f"lifted/{setter}")
            require(its.remove(), "the barrier was gone before it was lifted")
        else:
            race.until("the way is barred", lambda: race.exists(f"set/{setter}"))
            require(not its.wait(BARRED_FOR_SECONDS), "the barrier does not bar the way")
            race.create(f"barred/{setter}.{race.name}")
            require(its.wait(PATIENCE_SECONDS), "the barrier is never lifted")
            require(race.exists(f"lifted/{setter}"), "the way is free before it is lifted")
            race.create(f"passed/{setter}.{race.name}")
        race.until("all others have passed", lambda: others_are("passed"))
        race.taken += 1


RECIPES = {
    "lock": lock,
    "read_write": read_write,
    "latch": lambda race: election(race, "-latch-"),
    "selector": lambda race: election(race, "-lock-"),
    "counter": counter,
    "barrier": barrier,
}


def main():
    servers, directory, name, contenders, rounds, *recipes = sys.argv[1:]
    # As a counter has it by default, it fails at the first change of another one.
    patient = KazooRetry(max_tries=-1, delay=0.001, max_delay=0.02)
    client = KazooClient(hosts=servers, timeout=20.0, command_retry=patient)
    client.start()
    for recipe in recipes:
        race = Race(client, f"{directory}/{recipe}", name, int(contenders), int(rounds))
        try:
            RECIPES[recipe](race)
        except Exception as error:
            raise RuntimeError(f"{name} at {recipe}") from error
        race.end()
    client.stop()
    client.close()


if __name__ == "__main__":
    main()
