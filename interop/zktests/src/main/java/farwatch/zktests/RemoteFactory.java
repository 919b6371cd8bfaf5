package farwatch.zktests;

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.apache.zookeeper.server.ServerCnxn;
import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;

/**
 * What ZooKeeper's tests take for the part of a server that has the connections. It starts a
 * process where they believe to start a server in their own.
 *
 * <p>{@link #getZooKeeperServer()} stays null: whoever wants to look inside of the server fails.
 */
public class RemoteFactory extends ServerCnxnFactory {

    private InetSocketAddress address;
    private int connectionsPerClient;
    private Remote remote;

    @Override
    public void configure(InetSocketAddress addr, int maxcc, int backlog, boolean secure)
        throws IOException {
        if (secure) {
            throw inside("TLS");
        }
        address = addr;
        if (addr.getPort() == 0) {
            try (ServerSocket free = new ServerSocket()) {
                free.bind(addr);
                address = new InetSocketAddress(addr.getAddress(), free.getLocalPort());
            }
        }
        connectionsPerClient = Math.max(0, maxcc);
    }

    @Override
    public void startup(ZooKeeperServer server, boolean startServer)
        throws IOException, InterruptedException {
        remote = new Remote(directory(server), address);
        remote.launch(List.of(
            "tickTime=" + server.getTickTime(),
            "minSessionTimeout=" + server.getMinSessionTimeout(),
            "maxSessionTimeout=" + server.getMaxSessionTimeout(),
            "maxClientCnxns=" + connectionsPerClient,
            "reconfigEnabled=" + QuorumPeerConfig.isReconfigEnabled()));
        remote.awaitServing();
    }

    private static Path directory(ZooKeeperServer server) throws IOException {
        if (server.getTxnLogFactory() == null) {
            return Files.createTempDirectory("zktests");
        }
        // The server's own folder for its format lies in the directory that the test named.
        File format = server.getTxnLogFactory().getSnapDir();
        return Remote.below(format.getParentFile());
    }

    @Override
    public void shutdown() {
        try {
            if (remote != null) {
                remote.stop();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public int getLocalPort() {
        return address.getPort();
    }

    @Override
    public InetSocketAddress getLocalAddress() {
        return address;
    }

    @Override
    public int getMaxClientCnxnsPerHost() {
        return connectionsPerClient;
    }

    @Override
    public void setMaxClientCnxnsPerHost(int max) {
        if (remote != null) {
            throw inside("setMaxClientCnxnsPerHost");
        }
        connectionsPerClient = Math.max(0, max);
    }

    @Override
    public int getSocketListenBacklog() {
        return -1;
    }

    @Override
    public void start() {
        // The process accepts as soon as it is started.
    }

    @Override
    public void join() {
        // There is no thread to wait for.
    }

    @Override
    public void reconfigure(InetSocketAddress addr) {
        throw inside("reconfigure");
    }

    @Override
    public Iterable<ServerCnxn> getConnections() {
        throw inside("getConnections");
    }

    @Override
    public int getNumAliveConnections() {
        throw inside("getNumAliveConnections");
    }

    @Override
    public void closeAll(ServerCnxn.DisconnectReason reason) {
        throw inside("closeAll");
    }

    @Override
    public void resetAllConnectionStats() {
        throw inside("resetAllConnectionStats");
    }

    @Override
    public Iterable<Map<String, Object>> getAllConnectionInfo(boolean brief) {
        throw inside("getAllConnectionInfo");
    }

    private static UnsupportedOperationException inside(String what) {
        return new UnsupportedOperationException(what + ": inside of the server's process");
    }
}
