package org.apache.zookeeper.test;

import farwatch.zktests.RemotePeer;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.zookeeper.PortAssignment;
import org.apache.zookeeper.server.quorum.QuorumPeer;
import org.apache.zookeeper.server.quorum.QuorumPeer.ServerState;
import org.junit.jupiter.api.Assertions;

/**
 * Takes the place of the class by which ZooKeeper's tests start, stop and start again the members
 * of an ensemble; here each is a process. The names are those that the tests ask for.
 */
public class QuorumUtil {

    /** A member. */
    public static class PeerStruct {
        public int id;
        public QuorumPeer peer;
        public File dataDir;
        public int clientPort;
    }

    /** How many may be lost. */
    public final int N;
    /** How many there are. */
    public final int ALL;
    public boolean disableJMXTest = false;

    private final List<PeerStruct> members = new ArrayList<>();
    private final List<String> lines = new ArrayList<>();
    private final int syncLimit;
    private boolean localSessions;

    public QuorumUtil(int n) {
        this(n, 3);
    }

    public QuorumUtil(int n, int syncLimit) {
        N = n;
        ALL = 2 * n + 1;
        this.syncLimit = syncLimit;
        ClientBase.setupTestEnv();
        try {
            for (int number = 1; number <= ALL; number++) {
                PeerStruct member = new PeerStruct();
                member.id = number;
                member.dataDir = ClientBase.createTmpDir();
                member.clientPort = PortAssignment.unique();
                members.add(member);
                lines.add(String.format("server.%d=127.0.0.1:%d:%d", number,
                    PortAssignment.unique(), PortAssignment.unique()));
            }
            for (PeerStruct member : members) {
                member.peer = peer(member);
            }
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private QuorumPeer peer(PeerStruct member) throws IOException {
        QuorumPeer peer = new RemotePeer(member.id, member.dataDir, member.clientPort, lines);
        peer.setSyncLimit(syncLimit);
        peer.enableLocalSessions(localSessions);
        return peer;
    }

    public PeerStruct getPeer(int id) {
        PeerStruct member = members.get(id - 1);
        ((RemotePeer) member.peer).look();
        return member;
    }

    public void enableLocalSession(boolean enabled) {
        localSessions = enabled;
    }

    public void startAll() throws IOException {
        startFirst(ALL);
    }

    public void startQuorum() throws IOException {
        startFirst(N + 1);
    }

    private void startFirst(int count) throws IOException {
        shutdownAll();
        for (int id = 1; id <= count; id++) {
            start(id);
        }
        for (int id = 1; id <= count; id++) {
            awaitUp(id);
        }
    }

    private void awaitUp(int id) {
        String address = getConnectionStringForServer(id);
        Assertions.assertTrue(
            ClientBase.waitForServerUp(address, ClientBase.CONNECTION_TIMEOUT), address + " serves");
    }

    public void start(int id) throws IOException {
        PeerStruct member = getPeer(id);
        member.peer = peer(member);
        member.peer.start();
    }

    public void restart(int id) throws IOException {
        start(id);
        awaitUp(id);
    }

    public void startThenShutdown(int id) throws IOException {
        restart(id);
        shutdown(id);
    }

    public void shutdown(int id) {
        getPeer(id).peer.shutdown();
    }

    public void shutdownAll() {
        members.forEach(member -> member.peer.shutdown());
    }

    public void tearDown() throws Exception {
        shutdownAll();
        members.forEach(member -> ClientBase.recursiveDelete(member.dataDir));
    }

    public String getConnString() {
        return members.stream()
            .map(member -> getConnectionStringForServer(member.id))
            .collect(Collectors.joining(","));
    }

    public String getConnectString(QuorumPeer peer) {
        return "127.0.0.1:" + peer.getClientPort();
    }

    public String getConnectionStringForServer(int id) {
        return "127.0.0.1:" + getPeer(id).clientPort;
    }

    public boolean allPeersAreConnected() {
        return members.stream()
            .noneMatch(member -> member.peer.getPeerState() == ServerState.LOOKING);
    }

    private static boolean leads(PeerStruct member) {
        return member.peer.getPeerState() == ServerState.LEADING;
    }

    public boolean leaderExists() {
        return members.stream().anyMatch(QuorumUtil::leads);
    }

    public int getLeaderServer() {
        return members.stream().filter(QuorumUtil::leads).findFirst()
            .orElseThrow(() -> new AssertionError("nobody leads")).id;
    }

    public QuorumPeer getLeaderQuorumPeer() {
        return getPeer(getLeaderServer()).peer;
    }

    public List<QuorumPeer> getFollowerQuorumPeers() {
        return members.stream()
            .filter(member -> !leads(member))
            .map(member -> member.peer)
            .collect(Collectors.toList());
    }
}
