"""A pytest plugin: kazoo's own tests against one server of ours instead of its Java cluster.

Every test that fails or skips must be named, with the reason, in `expected.txt`; a test named
there that passes fails the run too, so that the list stays true.
"""

import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import kazoo.testing.harness as harness  # noqa: E402
from server import Server  # noqa: E402

KIND = os.environ["KAZOO_SERVER"]

# The harness insists on one of these; which version it is talking to it asks the server itself.
os.environ["ZOOKEEPER_VERSION"] = "3.9.4"
os.environ["ZOOKEEPER_CLUSTER_SIZE"] = "1"


class Member(Server):
    """A server with the names that kazoo's harness calls."""

    def __init__(self):
        super().__init__(KIND)
        self.client_port = self.port
        self.host = "127.0.0.1"

    def run(self):
        self.start()

    def get_logs(self, num_lines=100):
        return self.log().splitlines()[-num_lines:]


class Cluster:
    """Stands in for kazoo.testing.common.ZookeeperCluster, with a single server."""

    def __init__(self, size, **_unused):
        assert size == 1
        self.members = [Member()]

    def __getitem__(self, index):
        return self.members[index]

    def __iter__(self):
        return iter(self.members)

    def start(self):
        for member in self.members:
            member.start()

    def stop(self):
        for member in self.members:
            member.stop()

    def terminate(self):
        for member in self.members:
            member.stop()
            member.destroy()

    def get_logs(self):
        return [line for member in self.members for line in member.get_logs()]


harness.ZookeeperCluster = Cluster


def expectations():
    """`{test: (outcome, reason)}` of the lines `fails|skips TEST  reason` that apply here."""
    expected = {}
    for line in (HERE / "expected.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        where, outcome, test, reason = line.split(maxsplit=3)
        assert where in ("both", "farwatch", "zookeeper") and outcome in ("fails", "skips"), line
        if where == "both" or (where == "farwatch") == (KIND == "farwatch"):
            expected[test] = (outcome, reason)
    return expected


EXPECTED = expectations()
SURPRISES = []
OUTCOMES = {}
EXIT_STATUS = [1]


def name_of(nodeid):
    """`test_lock.py::KazooLockTests::test_lock`, wherever the tests were unpacked."""
    return nodeid.rsplit("/", 1)[-1]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    name = name_of(item.nodeid)
    # A failure in setup or teardown counts as the test's own.
    if report.failed:
        OUTCOMES[name] = "fails"
    elif report.skipped and OUTCOMES.get(name) != "fails":
        OUTCOMES[name] = "skips"
    elif report.when == "call":
        OUTCOMES.setdefault(name, "passes")


def pytest_collection_finish(session):
    collected = {name_of(item.nodeid) for item in session.items}
    if not session.config.option.keyword and len(session.config.args) == 1:
        for name in sorted(set(EXPECTED) - collected):
            SURPRISES.append(f"{name}: named in expected.txt, but no such test")


def pytest_sessionfinish(session):
    for name, outcome in sorted(OUTCOMES.items()):
        expected = EXPECTED.get(name, ("passes", ""))[0]
        if outcome != expected:
            SURPRISES.append(f"{name}: {outcome}, expected: {expected}")
    session.exitstatus = 1 if SURPRISES or not OUTCOMES else 0
    EXIT_STATUS.append(session.exitstatus)


def pytest_terminal_summary(terminalreporter):
    write = terminalreporter.write_line
    for name, outcome in sorted(OUTCOMES.items()):
        if outcome != "passes" and name in EXPECTED:
            write(f"not applicable: {name} {outcome}: {EXPECTED[name][1]}")
    for surprise in SURPRISES:
        write(f"SURPRISE {surprise}")
    passes = sum(outcome == "passes" for outcome in OUTCOMES.values())
    named = sum(OUTCOMES[name] != "passes" for name in OUTCOMES if name in EXPECTED)
    write(f"kazoo against {KIND}: {passes} pass, {named} named in expected.txt, "
          f"{len(SURPRISES)} surprises")


def pytest_unconfigure(config):
    # A test that fails may leave a client that tries for ever to connect, in a thread that keeps
    # the process alive; its report is complete by now.
    sys.stdout.flush()
    sys.stderr.flush()
    if harness.CLUSTER is not None:
        harness.CLUSTER.terminate()
    os._exit(EXIT_STATUS[-1])
