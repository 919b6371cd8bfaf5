#!/usr/bin/env python3
"""Patroni, two PostgreSQL servers of which three voters say which one is the primary.

    patroni.py [KIND]   farwatch-ensemble unless told; 3.9.5-ensemble is the same on Apache ZooKeeper

Needs Debian's package postgresql. PATRONI is the directory with Patroni's programs. Scenes: a cluster is set up; a
switchover; the configuration is changed; the leader of the voters is killed; the primary is killed; the
primary sleeps until its session is over; all voters are killed. No row that was committed on both is ever lost.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import server  # noqa: E402
from server import until  # noqa: E402

PROGRAMS = pathlib.Path(os.environ.get("PATRONI", "."))
NODES = 2
# The least that Patroni takes; the session's timeout too.
TTL_SECONDS = 20
WITHIN_SECONDS = 90

CONFIG = """\
scope: cluster
name: {name}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
zookeeper: {{hosts: [{servers}]}}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{fsync: "off", shared_buffers: 16MB, max_connections: 30, wal_keep_size: 64MB}}
  initdb: [encoding: UTF8, auth: trust, no-sync]
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  data_dir: {directory}/data
  bin_dir: {programs}
  pgpass: {directory}/pgpass
  pg_hba: ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust", "local all all trust"]
  parameters: {{unix_socket_directories: ""}}
  authentication:
    superuser: {{username: admin, password: secret}}
    replication: {{username: standby, password: secret}}
"""


def database_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        sys.exit("no PostgreSQL: install the package postgresql")
    return found[-1].parent


class Node:
    """One PostgreSQL server and the Patroni that minds it; restarts keep ports and data."""

    def __init__(self, name, servers, work):
        self.name = name
        self.directory = work / name
        self.directory.mkdir()
        self.port, self.rest = server.free_port(), server.free_port()
        self.process = None
        names = ", ".join(f'"{it}"' for it in servers.split(","))
        (self.directory / "patroni.yml").write_text(CONFIG.format(
            name=name, rest=self.rest, servers=names, ttl=TTL_SECONDS, port=self.port,
            directory=self.directory, programs=database_programs()))

    def start(self):
        # PostgreSQL does not run as root: root is somebody else in a namespace of users.
        nobody = [] if os.geteuid() else ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
        with open(self.directory / "patroni.log", "ab") as log:
            self.process = subprocess.Popen(
                [*nobody, str(PROGRAMS / "patroni"), str(self.directory / "patroni.yml")],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=server.die_with_parent, env=dict(os.environ, LC_ALL="C"))

    def log(self):
        return (self.directory / "patroni.log").read_text(errors="replace")

    def database(self):
        """The process id of the database server; None when there is none."""
        try:
            return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def signal(self, number):
        """Patroni first, so that it does not see its database stop."""
        for process in (self.process.pid, self.database()):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)

    def kill(self):
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def ask(self, statement):
        """One value, as text; None where it is not answered."""
        result = subprocess.run(
            ["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", "admin", "-d", "postgres",
             "-v", "ON_ERROR_STOP=1", "-c", statement], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=dict(os.environ, PGCONNECT_TIMEOUT="3", PGOPTIONS="-c statement_timeout=5000"))
        return result.stdout.strip() if result.returncode == 0 else None


class Cluster:
    def __init__(self, kind, work):
        self.service = server.Service(kind)
        self.service.start()
        self.nodes = [Node(f"n{n}", self.service.addresses, work) for n in range(NODES)]
        self.rows = 0

    def control(self, *arguments):
        result = subprocess.run(
            [str(PROGRAMS / "patronictl"), "-c", str(self.nodes[0].directory / "patroni.yml"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=WITHIN_SECONDS, env=dict(os.environ, LC_ALL="C.UTF-8"))
        if result.returncode != 0:
            raise AssertionError(f"patronictl {arguments} ended with {result.returncode}:\n{result.stderr}")
        return result.stdout

    def primary(self):
        """The one that takes writes; two of them are the end of the run."""
        found = [node for node in self.nodes if node.ask("SELECT pg_is_in_recovery()") == "f"]
        assert len(found) < 2, "two primaries"
        return found[0] if found else None

    def listed(self):
        return {it["Member"]: it for it in json.loads(self.control("list", "-f", "json"))}

    def whole(self):
        """One leads, the other one follows it synchronously, and the service knows both."""
        roles = sorted(it["Role"] for it in self.listed().values() if it["State"] in ("running", "streaming"))
        return roles == ["Leader", "Sync Standby"]

    def write(self):
        """A row on the primary."""
        self.rows += 1
        until(f"row {self.rows} is written", lambda: (it := self.primary()) and it.ask(
            f"INSERT INTO kept VALUES ({self.rows}) ON CONFLICT DO NOTHING; SELECT 1") == "1", WITHIN_SECONDS)

    def check(self):
        until("all rows are there", lambda: (it := self.primary()) and it.ask(
            "SELECT count(*) FROM kept") == str(self.rows))

    def end(self):
        for node in self.nodes:
            node.kill()
        self.service.destroy()


def begin(it):
    """One node sets the database up, the other one copies it."""
    for node in it.nodes:
        node.start()
    until("one leads and one follows", lambda: it.primary() and it.whole(), WITHIN_SECONDS)
    until("a table is made", lambda: it.primary().ask("CREATE TABLE kept (id int PRIMARY KEY); SELECT 1") == "1")
    it.write()


def switch_over(it):
    """patronictl hands the primary to the other node."""
    old = it.primary()
    new = next(node for node in it.nodes if node is not old)
    it.control("switchover", "cluster", "--leader", old.name, "--candidate", new.name, "--force")
    until("the other one is the primary", lambda: it.primary() is new)
    until("one leads and one follows", it.whole, WITHIN_SECONDS)
    it.write()


def configure(it):
    """A setting that is changed in the service reaches both databases; a pause is known to both."""
    it.control("edit-config", "cluster", "--force", "-s", "postgresql.parameters.work_mem=7MB")
    until("both have it", lambda: all(node.ask("SHOW work_mem") == "7MB" for node in it.nodes))
    it.control("pause", "cluster", "--wait")
    it.control("resume", "cluster", "--wait")
    shown = it.control("show-config", "cluster")
    assert "work_mem: 7MB" in shown, shown
    it.control("history", "cluster")


def kill_the_leader(it):
    """The primary stays where it is, and so does the cluster."""
    primary, timeline = it.primary(), it.listed()[it.primary().name]["TL"]
    leader = next(voter for voter in it.service.all if "Mode: leader" in voter.word("srvr"))
    leader.kill()
    it.write()
    # As long as a session without a server would last.
    end = time.monotonic() + TTL_SECONDS + 5
    while time.monotonic() < end:
        assert it.primary() is primary
        time.sleep(0.5)
    assert it.whole() and it.listed()[primary.name]["TL"] == timeline
    it.service.start()
    it.write()


def kill_the_primary(it):
    """Its key ends with its session, the other one takes over, and the old one follows it."""
    old = it.primary()
    old.kill()
    until("the other one is the primary", lambda: it.primary() not in (None, old), WITHIN_SECONDS)
    it.check()
    it.write()
    old.start()
    until("one leads and one follows", it.whole, WITHIN_SECONDS)
    it.write()


def sleep_through_a_session(it):
    """A frozen primary is succeeded, and when it wakes it becomes the standby."""
    old = it.primary()
    new = next(node for node in it.nodes if node is not old)
    old.signal(signal.SIGSTOP)
    until("the other one is the primary", lambda: new.ask("SELECT pg_is_in_recovery()") == "f", WITHIN_SECONDS)
    old.signal(signal.SIGCONT)
    until("the old one is none", lambda: old.ask("SELECT pg_is_in_recovery()") != "f")
    until("one leads and one follows", it.whole, WITHIN_SECONDS)
    it.check()
    it.write()


def kill_all_voters(it):
    """Without a service nobody is the primary for long; with it there is one again."""
    for voter in it.service.all:
        voter.kill()
    until("the primary steps down", lambda: it.primary() is None, WITHIN_SECONDS)
    it.service.start()
    until("one leads and one follows", lambda: it.primary() and it.whole(), WITHIN_SECONDS)
    it.check()
    it.write()


SCENES = [begin, switch_over, configure, kill_the_leader, kill_the_primary, sleep_through_a_session,
          kill_all_voters]


if __name__ == "__main__":
    server.play("Patroni", Cluster, SCENES)
