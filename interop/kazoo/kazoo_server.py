"""A pytest plugin: kazoo's own tests against servers of ours instead of its Java cluster.

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
from server import Server, Service  # noqa: E402

KIND = os.environ["KAZOO_SERVER"]

# The harness insists on one of these; which version it is talking to it asks the server itself.
os.environ["ZOOKEEPER_VERSION"] = "3.9.4"
os.environ["ZOOKEEPER_CLUSTER_SIZE"] = "1"

# The names that kazoo's harness calls.
Server.client_port = property(lambda self: self.port)
Server.host = "127.0.0.1"
Server.run = Server.start
Server.get_logs = lambda self, num_lines=100: self.log().splitlines()[-num_lines:]


class Cluster(Service):
    """Stands in for kazoo.testing.common.ZookeeperCluster."""

    def __init__(self, size, **_unused):
        super().__init__(KIND)

    def __getitem__(self, index):
        return self.members[index]

    def __iter__(self):
        return iter(self.members)

    def terminate(self):
        self.stop()
        self.destroy()

    def get_logs(self):
        return [line for member in self.all for line in member.get_logs()]


harness.ZookeeperCluster = Cluster


# To which kinds of servers a line of `expected.txt` applies.
APPLIES = {
    "both": True,
    "farwatch": KIND.startswith("farwatch"),
    "zookeeper": not KIND.startswith("farwatch"),
    # A follower of which alone the tests know cannot be left for another server either.
    "alone": not KIND.endswith("-ensemble"),
    # An observer's sessions are its own.
    "observer": KIND.endswith("-observer"),
}


def expectations():
    """`{test: (outcome, reason)}` of the lines `fails|skips TEST  reason` that apply here."""
    expected = {}
    for line in (HERE / "expected.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        where, outcome, test, reason = line.split(maxsplit=3)
        assert where in APPLIES and outcome in ("fails", "skips"), line
        if APPLIES[where]:
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
        # It times its own mocked sockets, talks to no server, and fails on a busy machine.
        if name.endswith("TestCreateTCPConnection::test_slow_connect"):
            continue
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
