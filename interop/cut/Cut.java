import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

/** The Java client at a server that is cut off; cut.py says when, on standard input. */
public final class Cut {
    private static final int TIMEOUT_MS = 4000;
    private static final int WITHIN_MS = 30_000;

    private interface Condition {
        boolean holds() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        var input = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        boolean readOnly = args[0].equals("readonly");
        boolean disconnects = args[0].equals("disconnect");
        var events = new java.util.concurrent.LinkedBlockingQueue<WatchedEvent>();
        ZooKeeper client = new ZooKeeper(args[1], TIMEOUT_MS, events::add, readOnly);
        until("it connects", () -> client.getState() == ZooKeeper.States.CONNECTED);
        client.create("/j", "1".getBytes(), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        client.create("/j-own", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        var fired = new CountDownLatch(1);
        client.exists("/j-new", event -> {
            if (event.getType() == EventType.NodeCreated) {
                fired.countDown();
            }
        });
        long session = client.getSessionId();
        System.out.println("connected");
        input.readLine();
        if (readOnly) {
            until("it reads", () -> client.getState() == ZooKeeper.States.CONNECTEDREADONLY);
            fails(KeeperException.Code.NOTREADONLY, () -> client.setData("/j", null, -1));
        } else if (disconnects) {
            until("it is hung up on", () -> client.getState() == ZooKeeper.States.CONNECTING);
            fails(KeeperException.Code.CONNECTIONLOSS, () -> client.getData("/j", false, null));
        } else {
            events.clear();
            fails(KeeperException.Code.CONNECTIONLOSS, () -> client.setData("/j", null, -1));
            for (int reads = 0; reads < 2 * TIMEOUT_MS / 100; reads++) {
                client.getData("/j", false, null);
                Thread.sleep(100);
            }
        }
        if (!disconnects) {
            check("the data is there", client.getData("/j", false, null)[0] == '1');
        }
        System.out.println("cut");
        input.readLine();
        until("it writes", () -> client.getState() == ZooKeeper.States.CONNECTED);
        client.setData("/j", "2".getBytes(), -1);
        client.create("/j-new", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        check("the watch fires", fired.await(WITHIN_MS, java.util.concurrent.TimeUnit.MILLISECONDS));
        check("its session is its own", client.getSessionId() == session);
        check("and has its ephemeral", client.exists("/j-own", false) != null);
        check("it noticed nothing", readOnly || disconnects || events.isEmpty());
        client.close();
        System.out.println("healed");
    }

    private static void fails(KeeperException.Code code, java.util.concurrent.Callable<?> ask)
            throws Exception {
        try {
            ask.call();
        } catch (KeeperException error) {
            check(code + ", not " + error.code(), error.code() == code);
            return;
        }
        check("a write was done without a leader", false);
    }

    private static void until(String what, Condition condition) throws Exception {
        long deadline = System.currentTimeMillis() + WITHIN_MS;
        while (!condition.holds()) {
            check(what, System.currentTimeMillis() < deadline);
            Thread.sleep(20);
        }
    }

    private static void check(String what, boolean holds) {
        if (!holds) {
            System.out.println("not so: " + what);
            System.exit(1);
        }
    }
}
