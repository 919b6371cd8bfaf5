#!/usr/bin/env python3
"""Apache Kafka, two brokers that keep their metadata in three voters, as an operator has them.

    kafka.py [KIND]     farwatch-ensemble unless told; 3.9.5-ensemble is the same on Apache ZooKeeper

KAFKA_CLASSPATH says where Kafka and the class Tools are. A producer writes all the while. Scenes: topics, configurations,
users and ACLs; the leader of the voters is killed; the broker that controls is killed; a broker
sleeps until its session is over; all voters are killed; at last everything that was acknowledged is read.
"""

import json
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
from server import until  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402
from kazoo.exceptions import NoNodeError  # noqa: E402

CHROOT = "/kafka"
BROKERS = 2
PARTITIONS = 6
SESSION_SECONDS = 6
WITHIN_SECONDS = 60
TOPICS = "org.apache.kafka.tools.TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"
ACLS = "kafka.admin.AclCommand"
MESSAGES_A_SECOND = 100

BROKER = """\
broker.id={number}
listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={directory}/log
zookeeper.connect={servers}{chroot}
zookeeper.session.timeout.ms={session}
zookeeper.connection.timeout.ms=30000
authorizer.class.name=kafka.security.authorizer.AclAuthorizer
super.users=User:ANONYMOUS
offsets.topic.num.partitions=2
offsets.topic.replication.factor=2
default.replication.factor=2
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
background.threads=2
log.cleaner.enable=false
log.segment.delete.delay.ms=0
replica.fetch.wait.max.ms=100
controlled.shutdown.retry.backoff.ms=200
"""


def java(main, *arguments, memory="128m", level="WARN"):
    return ["java", f"-Xmx{memory}", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            "-XX:-UsePerfData", f"-Dlog4j.configuration=file:{HERE}/log4j.properties", f"-Dlevel={level}",
            "-cp", os.environ["KAFKA_CLASSPATH"], main, *arguments]


class Broker:
    """One broker, with a port and a directory of its own; restarts keep both."""

    def __init__(self, number, servers, work):
        self.number = number
        self.directory = work / f"broker-{number}"
        self.directory.mkdir()
        self.port = server.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        (self.directory / "server.properties").write_text(BROKER.format(
            number=number, port=self.port, directory=self.directory, servers=servers,
            chroot=CHROOT, session=SESSION_SECONDS * 1000))

    def start(self):
        with open(self.directory / "broker.log", "ab") as log:
            self.process = subprocess.Popen(
                java("kafka.Kafka", str(self.directory / "server.properties"), memory="256m", level="INFO"),
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=server.die_with_parent)

    def log(self):
        return (self.directory / "broker.log").read_text(errors="replace")

    def end(self, number=signal.SIGKILL):
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(WITHIN_SECONDS)


class Tools:
    """Kafka's command line tools, in one process that is asked again and again."""

    def __init__(self, work):
        self.process = subprocess.Popen(
            java("Tools"), cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(work / "tools.log", "ab"), text=True, bufsize=1,
            preexec_fn=server.die_with_parent)

    def ask(self, tool, *arguments):
        self.process.stdin.write("\t".join([tool, *map(str, arguments)]) + "\n")
        printed = ""
        while not (end := re.fullmatch(r"exit (\d+)\n", line := self.process.stdout.readline())):
            if not line:
                raise AssertionError(f"the tools ended:\n{printed}")
            printed += line
        if end[1] != "0":
            raise AssertionError(f"{tool} {arguments} ended with {end[1]}:\n{printed}")
        return printed


class Producer:
    """Kafka's VerifiableProducer, which says of each message when it is acknowledged."""

    def __init__(self, work, brokers, topic):
        (work / "producer.properties").write_text(
            "retries=2147483647\nrequest.timeout.ms=2000\ndelivery.timeout.ms=120000\nlinger.ms=5\n")
        self.path = work / "producer.log"
        self.process = subprocess.Popen(
            java("org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", brokers,
                 "--topic", topic, "--throughput", str(MESSAGES_A_SECOND), "--producer.config",
                 str(work / "producer.properties")),
            stdin=subprocess.DEVNULL, stdout=open(self.path, "wb"), stderr=subprocess.STDOUT,
            preexec_fn=server.die_with_parent)

    def told(self, name):
        lines = self.path.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [it["value"] for it in found if it["name"] == name]

    @property
    def acknowledged(self):
        return self.told("producer_send_success")

    def goes_on(self):
        before = len(self.acknowledged)
        until("messages are acknowledged",
              lambda: len(self.acknowledged) > before + MESSAGES_A_SECOND)

    def end(self):
        self.process.terminate()
        self.process.wait(WITHIN_SECONDS)


class Cluster:
    def __init__(self, kind, work):
        self.work = work
        self.service = server.Service(kind)
        self.service.start()
        self.brokers = [Broker(n, self.service.addresses, work) for n in range(BROKERS)]
        self.names = ",".join(broker.address for broker in self.brokers)
        self.tools = Tools(work)
        retry = {"max_tries": -1, "max_delay": 0.2}
        self.kazoo = KazooClient(hosts=self.service.addresses, timeout=30, connection_retry=retry,
                                 command_retry=retry)
        self.producer = None

    def tool(self, name, *arguments):
        return self.tools.ask(name, "--bootstrap-server", self.names, *arguments)

    def get(self, path):
        return self.kazoo.retry(self.kazoo.get, CHROOT + path)

    def read(self, path):
        try:
            return json.loads(self.get(path)[0])
        except NoNodeError:
            return None

    def children(self, path):
        try:
            return sorted(self.kazoo.retry(self.kazoo.get_children, CHROOT + path))
        except NoNodeError:
            return []

    def registered(self):
        return self.children("/brokers/ids") == [str(broker.number) for broker in self.brokers]

    @property
    def controller(self):
        found = self.read("/controller")
        return self.brokers[found["brokerid"]] if found else None

    def isr(self, topic):
        partitions = self.children(f"/brokers/topics/{topic}/partitions")
        return [self.read(f"/brokers/topics/{topic}/partitions/{p}/state") for p in partitions]

    def in_sync(self, topic):
        states = self.isr(topic)
        return len(states) == PARTITIONS and all(it and len(it["isr"]) == BROKERS for it in states)

    def leader(self):
        return next((it for it in self.service.all if "Mode: leader" in it.word("srvr")), None)

    def expiries(self):
        return sum(len(re.findall(r"session 0x\w+ has expired", broker.log())) for broker in self.brokers)

    def end(self):
        if self.producer is not None:
            self.producer.process.kill()
        self.kazoo.stop()
        for broker in self.brokers:
            broker.end()
        self.tools.process.kill()
        self.service.destroy()


def begin(it):
    """Two brokers register, one controls; a topic is there, and messages are acknowledged."""
    for broker in it.brokers:
        broker.start()
    it.kazoo.start()
    until("both brokers are registered", it.registered)
    until("one controls", lambda: it.controller)
    it.tool(TOPICS, "--create", "--topic", "kept", "--partitions", PARTITIONS,
            "--replication-factor", BROKERS)
    until("the topic is in sync", lambda: it.in_sync("kept"))
    it.producer = Producer(it.work, it.names, "kept")
    it.producer.goes_on()


def administer(it):
    """What kafka-topics, kafka-configs and kafka-acls write is there, and both brokers follow it."""
    it.tool(TOPICS, "--create", "--topic", "gone", "--partitions", "2", "--replication-factor", "2",
            "--config", "retention.ms=60000")
    shown = it.tool(TOPICS, "--describe", "--topic", "gone")
    assert "retention.ms=60000" in shown and shown.count("Leader: ") == 2, shown
    it.tool(TOPICS, "--alter", "--topic", "gone", "--partitions", "4")
    until("four partitions lead", lambda: [p["leader"] for p in it.isr("gone") if p].count(-1) == 0
          and len(it.isr("gone")) == 4)
    it.tool(CONFIGS, "--alter", "--entity-type", "topics", "--entity-name", "gone",
            "--add-config", "max.message.bytes=4096")
    it.tool(CONFIGS, "--alter", "--entity-type", "brokers", "--entity-default",
            "--add-config", "log.cleaner.threads=2")
    for broker in it.brokers:
        it.tool(CONFIGS, "--alter", "--entity-type", "brokers", "--entity-name", broker.number,
                "--add-config", "num.io.threads=3")
        shown = it.tool(CONFIGS, "--describe", "--entity-type", "brokers",
                        "--entity-name", broker.number)
        assert "num.io.threads=3" in shown, shown
    shown = it.tool(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-default")
    assert "log.cleaner.threads=2" in shown, shown
    it.tool(CONFIGS, "--alter", "--entity-type", "users", "--entity-name", "alice", "--add-config",
            "SCRAM-SHA-256=[iterations=4096,password=secret]")
    it.tool(CONFIGS, "--alter", "--entity-type", "users", "--entity-name", "alice", "--add-config",
            "producer_byte_rate=1048576")
    shown = it.tool(CONFIGS, "--describe", "--entity-type", "users", "--entity-name", "alice")
    assert "producer_byte_rate=1048576" in shown and "SCRAM-SHA-256" in shown, shown
    it.tool(ACLS, "--add", "--allow-principal", "User:alice", "--operation", "Read", "--topic", "kept")
    it.tool(ACLS, "--add", "--deny-principal", "User:bob", "--operation", "All", "--topic", "ke",
            "--resource-pattern-type", "prefixed")
    for broker in it.brokers:
        until(f"broker {broker.number} knows the ACLs", lambda: all(user in it.tools.ask(
            ACLS, "--bootstrap-server", broker.address, "--list") for user in ("alice", "bob")))
    it.tool(ACLS, "--remove", "--force", "--allow-principal", "User:alice", "--operation", "Read",
            "--topic", "kept")
    it.tool(TOPICS, "--delete", "--topic", "gone")
    until("the topic is deleted", lambda: it.children("/brokers/topics") and
          "gone" not in it.children("/brokers/topics") and not it.children("/admin/delete_topics"))


def kill_the_leader(it):
    """The brokers keep their sessions, and topics are made while the third voter is missing."""
    before, epoch, leader = it.expiries(), it.read("/controller"), it.leader()
    leader.kill()
    until("another one leads", lambda: it.leader() not in (None, leader))
    it.tool(TOPICS, "--create", "--topic", "second", "--partitions", PARTITIONS,
            "--replication-factor", BROKERS)
    until("the second topic is in sync", lambda: it.in_sync("second"))
    it.producer.goes_on()
    it.service.start()
    assert it.registered() and it.read("/controller") == epoch and it.expiries() == before


def kill_the_controller(it):
    """Its ephemerals end with its session, the other broker controls and leads all, and it comes back."""
    killed, epoch = it.controller, int(it.get("/controller_epoch")[0])
    killed.end()
    until("it is no longer registered", lambda: str(killed.number) not in it.children("/brokers/ids"))
    until("the other one controls", lambda: it.controller not in (None, killed))
    assert int(it.get("/controller_epoch")[0]) == epoch + 1
    until("it leads all", lambda: all(p["leader"] == it.controller.number for p in it.isr("kept")))
    it.producer.goes_on()
    killed.start()
    until("the topic is in sync", lambda: it.registered() and it.in_sync("kept"))


def sleep_through_a_session(it):
    """A frozen controller loses its session, is succeeded, and registers anew when it wakes."""
    frozen = it.controller
    owner = it.get(f"/brokers/ids/{frozen.number}")[1]
    frozen.process.send_signal(signal.SIGSTOP)
    until("its session is over", lambda: str(frozen.number) not in it.children("/brokers/ids"))
    until("the other one controls", lambda: it.controller not in (None, frozen))
    until("it leads all", lambda: all(p["leader"] == it.controller.number for p in it.isr("kept")))
    # Before that the producer may wait for the frozen one alone, also with ZooKeeper.
    frozen.process.send_signal(signal.SIGCONT)
    until("the topic is in sync", lambda: it.registered() and it.in_sync("kept"))
    it.producer.goes_on()
    again = it.get(f"/brokers/ids/{frozen.number}")[1]
    assert again.ephemeralOwner != owner.ephemeralOwner and again.czxid > owner.czxid
    assert it.controller is not frozen


def kill_all_voters(it):
    """What was there is there again, and the brokers go on with their sessions."""
    before, epoch, sessions = it.expiries(), it.read("/controller"), owners(it)
    for voter in it.service.all:
        voter.kill()
    it.service.start()
    it.producer.goes_on()
    it.tool(TOPICS, "--create", "--topic", "third", "--partitions", PARTITIONS,
            "--replication-factor", BROKERS)
    until("the third topic is in sync", lambda: it.in_sync("third"))
    assert it.read("/controller") == epoch and owners(it) == sessions and it.expiries() == before


def owners(it):
    return [it.get(f"/brokers/ids/{b.number}")[1].ephemeralOwner for b in it.brokers]


def stop_a_broker(it):
    """A broker that is stopped hands its partitions on and leaves at once."""
    stopped = next(b for b in it.brokers if b is not it.controller)
    stopped.end(signal.SIGTERM)
    assert str(stopped.number) not in it.children("/brokers/ids")
    it.producer.goes_on()
    stopped.start()
    until("the topic is in sync", lambda: it.registered() and it.in_sync("kept"))


def read_all(it):
    """Each message that was acknowledged is read."""
    it.producer.end()
    written, failed = it.producer.acknowledged, it.producer.told("producer_send_error")
    shown = it.tool("org.apache.kafka.tools.GetOffsetShell", "--topic", "kept")
    count = sum(int(line.split(":")[2]) for line in shown.split())
    read = it.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", "kept",
                   "--group", "readers", "--from-beginning", "--max-messages", count,
                   "--timeout-ms", "30000").split()
    missing = set(map(str, written)) - set(read)
    print(f"      {len(written)} acknowledged, {len(failed)} failed, {count} read")
    assert not missing, f"{len(missing)} acknowledged messages are missing: {sorted(missing)[:10]}"


SCENES = [begin, administer, kill_the_leader, kill_the_controller, sleep_through_a_session,
          kill_all_voters, stop_a_broker, read_all]


if __name__ == "__main__":
    # It tells of every connection that a killed voter takes with it.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    server.play("Kafka", Cluster, SCENES)
