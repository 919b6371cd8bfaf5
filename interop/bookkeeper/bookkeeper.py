#!/usr/bin/env python3
"""Apache BookKeeper, three bookies whose metadata is in three voters.

    bookkeeper.py [KIND]    farwatch-ensemble unless told; 3.9.5-ensemble is the same on Apache ZooKeeper

BOOKKEEPER_CLASSPATH says where BookKeeper and the class Ledgers are. Scenes: ledgers are written and read;
the leader of the voters is killed; the bookie that audits is killed, and what it held is copied by the others; a bookie sleeps until its session is over;
all voters are killed. In the end all ledgers are read whole.
"""

import logging
import os
import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import server  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402
from server import until  # noqa: E402

BOOKIES = 3
COPIES = 2
ENTRIES = 200
SESSION_SECONDS = 6
COMMAND_SECONDS = 120

CONFIG = """\
bookiePort={port}
advertisedAddress=127.0.0.1
allowLoopback=true
metadataServiceUri=zk+hierarchical://{servers}/ledgers
zkTimeout={session}
journalDirectory={directory}/journal
ledgerDirectories={directory}/ledgers
indexDirectories={directory}/ledgers
httpServerEnabled=false
journalPreAllocSizeMB=1
journalMaxSizeMB=16
diskUsageThreshold=0.999
diskUsageWarnThreshold=0.99
autoRecoveryDaemonEnabled=true
lostBookieRecoveryDelay=0
openLedgerRereplicationGracePeriod=1000
serverNumIOThreads=1
numAddWorkerThreads=1
numReadWorkerThreads=1
"""


def java(main, *arguments, memory="128m"):
    return ["java", f"-Xmx{memory}", "-XX:MaxDirectMemorySize=256m", "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC", "-XX:-UsePerfData", f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
            "-cp", os.environ["BOOKKEEPER_CLASSPATH"], main, *arguments]


class Bookie:
    """One bookie, with a port and a directory of its own."""

    def __init__(self, number, servers, work):
        self.directory = work / f"bookie-{number}"
        self.directory.mkdir()
        self.port = server.free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.config = self.directory / "bookie.conf"
        self.config.write_text(CONFIG.format(
            port=self.port, servers=servers.replace(",", ";"), session=SESSION_SECONDS * 1000,
            directory=self.directory))
        self.process = None

    def start(self):
        with open(self.directory / "bookie.log", "ab") as log:
            self.process = subprocess.Popen(
                java("org.apache.bookkeeper.server.Main", "--conf", str(self.config), memory="256m"),
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=server.die_with_parent)

    def kill(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()


class Cluster:
    def __init__(self, kind, work):
        self.work = work
        self.service = server.Service(kind)
        self.service.start()
        self.bookies = [Bookie(n, self.service.addresses, work) for n in range(BOOKIES)]
        retry = {"max_tries": -1, "max_delay": 0.2}
        self.kazoo = KazooClient(hosts=self.service.addresses, timeout=30, connection_retry=retry,
                                 command_retry=retry)
        self.kazoo.start()
        self.ledgers = []

    def run(self, main, *arguments):
        with open(self.work / "shell.log", "ab") as log:
            result = subprocess.run(
                java(main, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                text=True, timeout=COMMAND_SECONDS)
        if result.returncode != 0:
            raise AssertionError(f"{main} {arguments} ended with {result.returncode}; see {self.work}/shell.log")
        return result.stdout

    def shell(self, *arguments):
        """What the shell says is in its log."""
        log = self.work / "shell.log"
        before = log.stat().st_size if log.exists() else 0
        self.run("org.apache.bookkeeper.bookie.BookieShell", "-conf", str(self.bookies[-1].config), *arguments)
        return log.read_bytes()[before:].decode(errors="replace")

    def client(self, *arguments):
        uri = "zk+hierarchical://" + self.service.addresses.replace(",", ";") + "/ledgers"
        return self.run("Ledgers", uri, *map(str, arguments)).split()

    def available(self):
        found = self.kazoo.retry(self.kazoo.get_children, "/ledgers/available")
        return sorted(set(found) - {"readonly"})

    def all_available(self):
        return self.available() == sorted(it.name for it in self.bookies if it.process)

    def owner(self, bookie):
        """The session that it is registered with; None while it is not."""
        found = self.kazoo.retry(self.kazoo.exists, f"/ledgers/available/{bookie.name}")
        return found and found.ephemeralOwner

    def owners(self):
        return [self.owner(it) for it in self.bookies]

    def write(self, count=1):
        """Ledgers that stay, acknowledged by as many bookies as have their copies."""
        self.ledgers += self.client("write", COPIES, ENTRIES, count)

    def mentioned(self):
        """The bookies that the metadata of the ledgers name."""
        found = set()
        for path in self.paths("/ledgers/00"):
            data = self.kazoo.retry(self.kazoo.get, path)[0]
            found |= {bookie.name for bookie in self.bookies if bookie.name.encode() in data}
        return found

    def paths(self, path):
        children = self.kazoo.retry(self.kazoo.get_children, path)
        return [path] if not children else [it for name in children for it in self.paths(f"{path}/{name}")]

    def auditor(self):
        """The bookie that audits, as the shell of BookKeeper says."""
        shown = self.shell("whoisauditor")
        return next((bookie for bookie in self.bookies if f":{bookie.port}" in shown), None)

    def end(self):
        self.kazoo.stop()
        for bookie in self.bookies:
            bookie.kill()
        self.service.destroy()


def begin(it):
    """A new cluster is written down, the bookies register, and ledgers are written and read."""
    it.shell("initnewcluster")
    for bookie in it.bookies:
        bookie.start()
    until("all bookies are available", it.all_available)
    shown = it.shell("listbookies", "-rw")
    assert all(bookie.name in shown for bookie in it.bookies), shown
    it.shell("simpletest", "-ensemble", str(COPIES), "-writeQuorum", str(COPIES), "-ackQuorum", str(COPIES),
             "-numEntries", str(ENTRIES))
    # Which bookies hold a ledger is drawn.
    until("every bookie holds a ledger", lambda: it.write(4) or len(it.mentioned()) == BOOKIES)


def kill_the_leader(it):
    """The bookies keep their sessions."""
    before = it.owners()
    leader = next(voter for voter in it.service.all if "Mode: leader" in voter.word("srvr"))
    leader.kill()
    it.write()
    it.service.start()
    assert it.owners() == before


def kill_the_auditor(it):
    """Another bookie audits, and the others copy what the killed one held."""
    killed = until("one audits", it.auditor)
    # The commands go by the configuration of the last.
    it.bookies.sort(key=lambda bookie: bookie is not killed)
    assert killed.name in it.mentioned()
    killed.kill()
    until("it is no longer available", it.all_available)
    until("all is copied to others", lambda: killed.name not in it.mentioned())
    until("another one audits", lambda: it.auditor() not in (None, killed))
    it.client("read", ENTRIES, *it.ledgers)
    it.write()
    killed.start()
    until("it is available again", it.all_available)


def sleep_through_a_session(it):
    """When it wakes it registers anew or stops by itself; and begins anew when it is started again."""
    frozen = it.bookies[0]
    before = it.owner(frozen)
    frozen.process.send_signal(signal.SIGSTOP)
    until("its session is over", lambda: frozen.name not in it.available())
    it.write()
    frozen.process.send_signal(signal.SIGCONT)
    # Which of both is BookKeeper's affair; its recovery does not go on in any case.
    until("it is back, or has stopped", lambda: frozen.process.poll() is not None or
          it.owner(frozen) not in (None, before))
    old = (None, before, it.owner(frozen))
    frozen.kill()
    # A bookie waits for its former registration no longer than the session's timeout, and then ends; a session may
    # live a tick longer.
    until("its session is over", lambda: it.owner(frozen) is None)
    frozen.start()
    until("it is available again", lambda: it.owner(frozen) not in old and it.all_available())


def kill_all_voters(it):
    """What was there is there again, and the bookies go on with their sessions."""
    before = it.owners()
    for voter in it.service.all:
        voter.kill()
    it.service.start()
    it.write()
    assert it.all_available() and it.owners() == before


def read_all(it):
    """Each ledger is listed, and read whole."""
    listed = it.shell("listledgers")
    assert all(re.search(rf"\b{ledger}\b", listed) for ledger in it.ledgers), listed
    read = it.client("read", ENTRIES, *it.ledgers)
    assert read[0::2] == it.ledgers and read[1::2] == [str(ENTRIES)] * len(it.ledgers), read


SCENES = [begin, kill_the_leader, kill_the_auditor, sleep_through_a_session, kill_all_voters, read_all]


if __name__ == "__main__":
    # It tells of every connection that a killed voter takes with it.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    server.play("BookKeeper", Cluster, SCENES)
