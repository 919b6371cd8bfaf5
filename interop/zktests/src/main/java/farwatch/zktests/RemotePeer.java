package farwatch.zktests;

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import javax.security.sasl.SaslException;
import org.apache.zookeeper.server.quorum.Leader;
import org.apache.zookeeper.server.quorum.QuorumPeer;
import org.objenesis.ObjenesisStd;

/** A member of an ensemble in a process of its own, for tests that hold members in their hands. */
public final class RemotePeer extends QuorumPeer {

    private static final int TICK_MS = 2_000;

    /** Stands for the object by which a server leads: it is there, and nothing is in it. */
    private static final Leader HOLLOW = new ObjenesisStd().newInstance(Leader.class);

    private final Remote remote;
    private final long number;
    private final InetSocketAddress address;
    private final List<String> ensemble;

    /**
     * @param number   its number, from 1
     * @param ensemble the lines of a zoo.cfg that name all members
     */
    public RemotePeer(long number, File directory, int clientPort, List<String> ensemble)
        throws SaslException {
        this.number = number;
        this.address = new InetSocketAddress("127.0.0.1", clientPort);
        this.remote = new Remote(Remote.below(directory), address);
        this.ensemble = ensemble;
        setMyid(number);
        setTickTime(TICK_MS);
        setInitLimit(3);
        setSyncLimit(3);
    }

    @Override
    public synchronized void start() {
        List<String> lines = new ArrayList<>(ensemble);
        lines.add("tickTime=" + getTickTime());
        lines.add("initLimit=" + getInitLimit());
        lines.add("syncLimit=" + getSyncLimit());
        lines.add("maxClientCnxns=0");
        lines.add("localSessionsEnabled=" + areLocalSessionsEnabled());
        lines.add("localSessionsUpgradingEnabled=" + isLocalSessionsUpgradingEnabled());
        if (getLearnerType() == LearnerType.OBSERVER) {
            lines.add("peerType=observer");
        }
        try {
            remote.name(number);
            remote.launch(lines);
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void shutdown() {
        try {
            remote.stop();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public synchronized ServerState getPeerState() {
        switch (remote.mode()) {
            case "leader":
                return ServerState.LEADING;
            case "follower":
                return ServerState.FOLLOWING;
            case "observer":
                return ServerState.OBSERVING;
            default:
                return ServerState.LOOKING;
        }
    }

    /** Brings the field {@code leader} up to date, by which tests look for the one that leads. */
    public void look() {
        leader = getPeerState() == ServerState.LEADING ? HOLLOW : null;
    }

    @Override
    public int getClientPort() {
        return address.getPort();
    }

    @Override
    public InetSocketAddress getClientAddress() {
        return address;
    }
}
