package org.apache.zookeeper.test;

import farwatch.zktests.RemotePeer;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.apache.zookeeper.PortAssignment;
import org.apache.zookeeper.TestableZooKeeper;
import org.apache.zookeeper.server.quorum.QuorumPeer;
import org.apache.zookeeper.server.quorum.QuorumPeer.LearnerType;
import org.apache.zookeeper.server.quorum.QuorumPeer.ServerState;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.BeforeEach;

/**
 * Takes the place of the class by which ZooKeeper's tests hold an ensemble of five in their hands;
 * here each of the five is a process. The names are those that the tests ask for.
 */
public class QuorumBase extends ClientBase {

    protected static final String LOCALADDR = "127.0.0.1";
    private static final int MEMBERS = 5;
    private static final int VOTERS_BESIDE_OBSERVERS = 3;

    File s1dir;
    File s2dir;
    File s3dir;
    File s4dir;
    File s5dir;
    QuorumPeer s1;
    QuorumPeer s2;
    QuorumPeer s3;
    QuorumPeer s4;
    QuorumPeer s5;
    protected int port1;
    protected int port2;
    protected int port3;
    protected int port4;
    protected int port5;
    protected int portLE1;
    protected int portLE2;
    protected int portLE3;
    protected int portLE4;
    protected int portLE5;
    protected int portClient1;
    protected int portClient2;
    protected int portClient3;
    protected int portClient4;
    protected int portClient5;
    protected boolean localSessionsEnabled = false;
    protected boolean localSessionsUpgradingEnabled = false;

    private boolean observers;

    @BeforeEach
    @Override
    public void setUp() throws Exception {
        setUp(false, false);
    }

    /** The oracle, a way to decide between two servers, is not played: no test here asks for it. */
    protected void setUp(boolean withObservers, boolean withOracle) throws Exception {
        setupTestEnv();
        setUpAll();
        port1 = PortAssignment.unique();
        port2 = PortAssignment.unique();
        port3 = PortAssignment.unique();
        port4 = PortAssignment.unique();
        port5 = PortAssignment.unique();
        portLE1 = PortAssignment.unique();
        portLE2 = PortAssignment.unique();
        portLE3 = PortAssignment.unique();
        portLE4 = PortAssignment.unique();
        portLE5 = PortAssignment.unique();
        portClient1 = PortAssignment.unique();
        portClient2 = PortAssignment.unique();
        portClient3 = PortAssignment.unique();
        portClient4 = PortAssignment.unique();
        portClient5 = PortAssignment.unique();
        hostPort = Arrays.stream(clientPorts())
            .mapToObj(port -> LOCALADDR + ":" + port)
            .collect(Collectors.joining(","));
        s1dir = createTmpDir();
        s2dir = createTmpDir();
        s3dir = createTmpDir();
        s4dir = createTmpDir();
        s5dir = createTmpDir();
        startServers(withObservers, withOracle);
    }

    private int[] clientPorts() {
        return new int[] {portClient1, portClient2, portClient3, portClient4, portClient5};
    }

    void startServers() throws Exception {
        startServers(false, false);
    }

    void startServers(boolean withObservers, boolean withOracle) throws Exception {
        observers = withObservers;
        setupServers();
        for (QuorumPeer peer : getPeerList()) {
            peer.enableLocalSessions(localSessionsEnabled);
            peer.enableLocalSessionsUpgrading(localSessionsUpgradingEnabled);
            peer.start();
        }
        for (String address : hostPort.split(",")) {
            Assertions.assertTrue(waitForServerUp(address, CONNECTION_TIMEOUT), address + " serves");
        }
    }

    public void setupServers() throws IOException {
        for (int number = 1; number <= MEMBERS; number++) {
            setupServer(number);
        }
    }

    public void setupServer(int number) throws IOException {
        switch (number) {
            case 1:
                s1 = member(1, s1dir);
                break;
            case 2:
                s2 = member(2, s2dir);
                break;
            case 3:
                s3 = member(3, s3dir);
                break;
            case 4:
                s4 = member(4, s4dir);
                break;
            default:
                s5 = member(5, s5dir);
        }
    }

    private boolean observes(int number) {
        return observers && number > VOTERS_BESIDE_OBSERVERS;
    }

    private QuorumPeer member(int number, File directory) throws IOException {
        int[] learners = {port1, port2, port3, port4, port5};
        int[] elections = {portLE1, portLE2, portLE3, portLE4, portLE5};
        List<String> lines = new ArrayList<>();
        for (int other = 1; other <= MEMBERS; other++) {
            lines.add(String.format("server.%d=%s:%d:%d:%s", other, LOCALADDR,
                learners[other - 1], elections[other - 1],
                observes(other) ? "observer" : "participant"));
        }
        QuorumPeer peer = new RemotePeer(number, directory, clientPorts()[number - 1], lines);
        if (observes(number)) {
            peer.setLearnerType(LearnerType.OBSERVER);
        }
        return peer;
    }

    public ArrayList<QuorumPeer> getPeerList() {
        return new ArrayList<>(Arrays.asList(s1, s2, s3, s4, s5));
    }

    /** The place of the first member of which something holds, from 0; -1 without one. */
    private int first(Predicate<QuorumPeer> holds) {
        List<QuorumPeer> peers = getPeerList();
        for (int place = 0; place < peers.size(); place++) {
            if (holds.test(peers.get(place))) {
                return place;
            }
        }
        return -1;
    }

    private static boolean leads(QuorumPeer peer) {
        return peer.getPeerState() == ServerState.LEADING;
    }

    public int getLeaderIndex() {
        return first(QuorumBase::leads);
    }

    public QuorumPeer getLeaderQuorumPeer() {
        int place = getLeaderIndex();
        return place < 0 ? null : getPeerList().get(place);
    }

    public int getLeaderClientPort() {
        int place = getLeaderIndex();
        return place < 0 ? -1 : clientPorts()[place];
    }

    public File getLeaderDataDir() {
        int place = getLeaderIndex();
        return place < 0 ? null : Arrays.asList(s1dir, s2dir, s3dir, s4dir, s5dir).get(place);
    }

    private int firstObserver() {
        return first(peer -> peer.getLearnerType() == LearnerType.OBSERVER);
    }

    public QuorumPeer getFirstObserver() {
        int place = firstObserver();
        return place < 0 ? null : getPeerList().get(place);
    }

    public int getFirstObserverClientPort() {
        int place = firstObserver();
        return place < 0 ? -1 : clientPorts()[place];
    }

    public QuorumPeer getPeerByClientPort(int clientPort) {
        int place = first(peer -> peer.getClientPort() == clientPort);
        return place < 0 ? null : getPeerList().get(place);
    }

    /** The addresses of those in a state, each with a comma behind it. */
    public String getPeersMatching(ServerState state) {
        return getPeerList().stream()
            .filter(peer -> peer.getPeerState() == state)
            .map(peer -> LOCALADDR + ":" + peer.getClientPort() + ",")
            .collect(Collectors.joining());
    }

    @AfterEach
    @Override
    public void tearDown() throws Exception {
        tearDownAll();
        shutdownServers();
        for (File directory : Arrays.asList(s1dir, s2dir, s3dir, s4dir, s5dir)) {
            recursiveDelete(directory);
        }
    }

    public void shutdownServers() {
        getPeerList().forEach(QuorumBase::shutdown);
    }

    public static void shutdown(QuorumPeer peer) {
        if (peer != null) {
            peer.shutdown();
        }
    }

    @Override
    protected TestableZooKeeper createClient() throws IOException, InterruptedException {
        return createClient(hostPort);
    }

    @Override
    protected TestableZooKeeper createClient(String addresses)
        throws IOException, InterruptedException {
        return createClient(new CountdownWatcher(), addresses);
    }

    protected TestableZooKeeper createClient(CountdownWatcher watcher, ServerState state)
        throws IOException, InterruptedException {
        return createClient(watcher, getPeersMatching(state));
    }
}
