import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.CreateMode;

/** What client/examples/lock_race.rs does, with Curator's lock. SERVER, DIRECTORY, ROUNDS. */
public final class Race {
    public static void main(String[] arguments) throws Exception {
        String directory = System.getenv("DIRECTORY");
        int rounds = Integer.parseInt(System.getenv("ROUNDS"));
        try (CuratorFramework client =
                CuratorFrameworkFactory.builder()
                        .connectString(System.getenv("SERVER"))
                        .sessionTimeoutMs(20_000)
                        .retryPolicy(new ExponentialBackoffRetry(100, 5))
                        .build()) {
            client.start();
            InterProcessMutex lock = new InterProcessMutex(client, directory + "/lock");
            for (int round = 0; round < rounds; round++) {
                if (!lock.acquire(120, TimeUnit.SECONDS)) {
                    throw new AssertionError("the lock does not come");
                }
                client.create().withMode(CreateMode.EPHEMERAL).forPath(directory + "/inside");
                String count = new String(client.getData().forPath(directory + "/count"));
                String next = Long.toString(Long.parseLong(count) + 1);
                client.setData().forPath(directory + "/count", next.getBytes());
                client.delete().forPath(directory + "/inside");
                lock.release();
            }
        }
    }
}
