#!/usr/bin/env python3
"""ClickHouse, two servers whose replicated tables are held together by three voters.

    clickhouse.py [KIND]    farwatch-ensemble unless told; 3.9.5-ensemble is the same on Apache ZooKeeper

Needs Debian's package clickhouse-server; its client of ZooKeeper's protocol is its own. Scenes: tables on both, rows, merges,
mutations, a DDL queue; the leader of the voters is killed; a replica is killed; a replica sleeps until its session
is over; all voters are killed. In the end both replicas hold the same rows, all that were acknowledged.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import server  # noqa: E402
from server import until  # noqa: E402

REPLICAS = 2
SESSION_SECONDS = 6

CONFIG = """\
<yandex>
  <logger><level>information</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{http}</http_port>
  <tcp_port>{tcp}</tcp_port>
  <interserver_http_host>127.0.0.1</interserver_http_host>
  <interserver_http_port>{interserver}</interserver_http_port>
  <path>{directory}/data/</path>
  <tmp_path>{directory}/tmp/</tmp_path>
  <user_files_path>{directory}/files/</user_files_path>
  <format_schema_path>{directory}/schemas/</format_schema_path>
  <users_config>{directory}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>16777216</mark_cache_size>
  <timezone>UTC</timezone>
  <zookeeper>{servers}<session_timeout_ms>{session}</session_timeout_ms></zookeeper>
  <distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
  <remote_servers><all><shard>{replicas}</shard></all></remote_servers>
  <macros><replica>r{number}</replica></macros>
</yandex>
"""
USERS = """\
<yandex>
  <profiles><default><max_threads>2</max_threads></default></profiles>
  <users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
    <quota>default</quota></default></users>
  <quotas><default></default></quotas>
</yandex>
"""


class Replica:
    """One server, with ports and a directory of its own; restarts keep both."""

    def __init__(self, number, work):
        self.number = number
        self.directory = work / f"r{number}"
        self.http, self.tcp, self.interserver = (server.free_port() for _ in range(3))
        self.process = None

    def configure(self, voters, replicas):
        for name in ("data", "tmp", "files", "schemas"):
            (self.directory / name).mkdir(parents=True)
        nodes = "".join("<node><host>{}</host><port>{}</port></node>".format(*it.split(":"))
                        for it in voters.split(","))
        others = "".join(f"<replica><host>127.0.0.1</host><port>{it.tcp}</port></replica>" for it in replicas)
        (self.directory / "users.xml").write_text(USERS)
        (self.directory / "config.xml").write_text(CONFIG.format(
            http=self.http, tcp=self.tcp, interserver=self.interserver, directory=self.directory,
            servers=nodes, session=SESSION_SECONDS * 1000, replicas=others, number=self.number))

    def start(self):
        program = shutil.which(os.environ.get("CLICKHOUSE", "clickhouse-server"), path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            sys.exit("no ClickHouse: install the package clickhouse-server")
        with open(self.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [program, f"--config-file={self.directory}/config.xml"], cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=server.die_with_parent)

    def kill(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def ask(self, query):
        """What it answers; None where it does not, or not well."""
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"replica {self.number} ended with {self.process.returncode}")
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self.http}/", query.encode())
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read().decode().strip()
        except urllib.error.HTTPError as e:
            self.last = e.read().decode()
            return None
        except OSError as e:
            self.last = str(e)
            return None

    def must(self, query):
        answer = self.ask(query)
        assert answer is not None, f"{query}: {self.last}"
        return answer


class Cluster:
    def __init__(self, kind, work):
        self.service = server.Service(kind)
        self.service.start()
        self.replicas = [Replica(n, work) for n in range(REPLICAS)]
        for replica in self.replicas:
            replica.configure(self.service.addresses, self.replicas)
        self.blocks = 0

    def insert(self, replica=None):
        """A block of a hundred rows, until it is taken; a repetition that was taken before is known by its hash."""
        self.blocks += 1
        replica = replica or self.replicas[0]
        until(f"block {self.blocks} is taken", lambda: replica.ask(
            f"INSERT INTO kept SELECT toDate('2020-01-01'), {self.blocks} * 100 + number FROM system.numbers LIMIT 100")
            is not None)

    def sums(self):
        return [it.ask("SELECT count(), sum(id), uniqExact(id) FROM kept") for it in self.replicas]

    def level(self):
        """All replicas have all rows, and none twice."""
        count = self.blocks * 100
        ids = sum(range(100, count + 100))
        until("both hold all rows, once", lambda: self.sums() == [f"{count}\t{ids}\t{count}"] * REPLICAS)

    def active(self, replica):
        return replica.ask("SELECT active_replicas FROM system.replicas WHERE table = 'kept'")

    def writable(self):
        return all(it.ask("SELECT is_readonly, is_session_expired, active_replicas FROM system.replicas "
                          "WHERE table = 'kept'") == f"0\t0\t{REPLICAS}" for it in self.replicas)

    def end(self):
        for replica in self.replicas:
            replica.kill()
        self.service.destroy()


def begin(it):
    """A replicated table on both, made through the queue of DDL; rows of one are on the other."""
    for replica in it.replicas:
        replica.start()
    until("both answer", lambda: all(replica.ask("SELECT 1") == "1" for replica in it.replicas))
    it.replicas[0].must(
        "CREATE TABLE kept ON CLUSTER all (day Date, id UInt64) ENGINE = ReplicatedMergeTree("
        "'/clickhouse/tables/kept', '{replica}', day, id, 8192)")
    until("both are active", it.writable)
    for replica in it.replicas * 3:
        it.insert(replica)
    it.level()


def change(it):
    """Merges, mutations, columns, partitions, and a table that is dropped."""
    # Again and again: while a merge is under way that began by itself, the query fails.
    until("both merged to one part", lambda: (it.replicas[1].ask("OPTIMIZE TABLE kept FINAL"), all(replica.ask(
        "SELECT count() FROM system.parts WHERE table = 'kept' AND active") == "1" for replica in it.replicas))[1])
    it.replicas[0].must("ALTER TABLE kept ADD COLUMN more String DEFAULT 'x'")
    until("both have the column", lambda: all(replica.ask(
        "SELECT count() FROM kept WHERE more = 'x'") == str(it.blocks * 100) for replica in it.replicas))
    it.replicas[1].must("ALTER TABLE kept DELETE WHERE id >= 0 AND more = 'y'")
    until("the mutation is done", lambda: all(replica.ask(
        "SELECT is_done FROM system.mutations WHERE table = 'kept'") == "1" for replica in it.replicas))
    it.replicas[1].must("ALTER TABLE kept DROP COLUMN more")
    it.replicas[0].must(
        "CREATE TABLE gone ON CLUSTER all (day Date, id UInt64) ENGINE = ReplicatedMergeTree("
        "'/clickhouse/tables/gone', '{replica}', day, id, 8192)")
    it.replicas[0].must("INSERT INTO gone SELECT toDate('2020-01-01'), number FROM system.numbers LIMIT 10")
    it.replicas[0].must("ALTER TABLE gone DROP PARTITION 202001")
    it.replicas[0].must("DROP TABLE gone ON CLUSTER all")
    left = it.replicas[0].must("SELECT name FROM system.zookeeper WHERE path = '/clickhouse/tables'")
    assert left == "kept", left
    it.level()


def kill_the_leader(it):
    """Both stay active, and rows are taken."""
    leader = next(voter for voter in it.service.all if "Mode: leader" in voter.word("srvr"))
    leader.kill()
    for replica in it.replicas * 2:
        it.insert(replica)
    it.level()
    it.service.start()


def kill_a_replica(it):
    """It is no longer active when its session is over, and has all that it missed when it comes back."""
    killed, other = it.replicas
    killed.kill()
    until("one is active", lambda: it.active(other) == "1")
    for _ in range(3):
        it.insert(other)
    killed.start()
    until("both are active", it.writable)
    it.level()


def sleep_through_a_session(it):
    """It begins a new session when it wakes, and is active again."""
    other, frozen = it.replicas
    frozen.process.send_signal(signal.SIGSTOP)
    until("one is active", lambda: it.active(other) == "1")
    it.insert(other)
    frozen.process.send_signal(signal.SIGCONT)
    until("both are active", it.writable)
    it.insert(frozen)
    it.level()


def kill_all_voters(it):
    """Both go on, and nothing of what was taken is missing."""
    for voter in it.service.all:
        voter.kill()
    it.service.start()
    until("both are active", it.writable)
    for replica in it.replicas:
        it.insert(replica)
    it.level()


SCENES = [begin, change, kill_the_leader, kill_a_replica, sleep_through_a_session, kill_all_voters]


if __name__ == "__main__":
    server.play("ClickHouse", Cluster, SCENES)
