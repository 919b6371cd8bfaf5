import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

/** Checks a server through Curator's recipes. The address comes in SERVER. */
public final class Recipes {
    private static final int PATIENCE_SECONDS = 30;
    private static final List<CuratorFramework> CLIENTS = new ArrayList<>();
    private static int passed;

    private static void check(boolean holds, String claim) {
        if (!holds) {
            throw new AssertionError(claim);
        }
        passed++;
    }

    private static synchronized CuratorFramework connect() throws Exception {
        CuratorFramework client =
                CuratorFrameworkFactory.builder()
                        .connectString(System.getenv("SERVER"))
                        .sessionTimeoutMs(20_000)
                        .retryPolicy(new ExponentialBackoffRetry(100, 5))
                        .build();
        client.start();
        check(client.blockUntilConnected(PATIENCE_SECONDS, TimeUnit.SECONDS), "a session");
        CLIENTS.add(client);
        return client;
    }

    private static void framework(CuratorFramework client) throws Exception {
        client.create().creatingParentsIfNeeded().forPath("/curator/a/b", "x".getBytes());
        check(client.getData().forPath("/curator/a/b").length == 1, "parents are made");
        check(
                client.transaction()
                                .forOperations(
                                        client.transactionOp().create().forPath("/curator/t"),
                                        client.transactionOp()
                                                .setData()
                                                .forPath("/curator/t", "y".getBytes()))
                                .size()
                        == 2,
                "a transaction answers for each part");
        try {
            client.setData().withVersion(7).forPath("/curator/t", "z".getBytes());
            check(false, "a wrong version is refused");
        } catch (KeeperException.BadVersionException expected) {
            passed++;
        }
        String path =
                client.create()
                        .withProtection()
                        .withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                        .forPath("/curator/p-");
        check(path.endsWith("0000000002"), "a protected sequential node: " + path);
        client.delete().guaranteed().deletingChildrenIfNeeded().forPath("/curator/a");
        check(client.checkExists().forPath("/curator/a") == null, "a subtree is deleted");
    }

    /** Increments without any atomicity of their own, by four sessions under one lock. */
    private static void mutex() throws Exception {
        ExecutorService workers = Executors.newFixedThreadPool(4);
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger worst = new AtomicInteger();
        List<Future<?>> done = new ArrayList<>();
        for (int worker = 0; worker < 4; worker++) {
            CuratorFramework client = connect();
            done.add(
                    workers.submit(
                            () -> {
                                InterProcessMutex lock = new InterProcessMutex(client, "/mutex");
                                for (int i = 0; i < 10; i++) {
                                    lock.acquire();
                                    worst.accumulateAndGet(inside.incrementAndGet(), Math::max);
                                    client.checkExists().forPath("/mutex");
                                    inside.decrementAndGet();
                                    lock.release();
                                }
                                return null;
                            }));
        }
        for (Future<?> worker : done) {
            worker.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        }
        workers.shutdown();
        check(worst.get() == 1, "a mutex is held by one at a time");
    }

    private static void locks(CuratorFramework one, CuratorFramework two) throws Exception {
        InterProcessReadWriteLock first = new InterProcessReadWriteLock(one, "/rw");
        InterProcessReadWriteLock second = new InterProcessReadWriteLock(two, "/rw");
        first.readLock().acquire();
        check(second.readLock().acquire(5, TimeUnit.SECONDS), "two may read");
        second.readLock().release();
        check(!second.writeLock().acquire(200, TimeUnit.MILLISECONDS), "one reads, none writes");
        first.readLock().release();
        check(second.writeLock().acquire(5, TimeUnit.SECONDS), "nobody reads, one writes");
        second.writeLock().release();

        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(one, "/semaphore", 2);
        var leases = semaphore.acquire(2);
        check(semaphore.acquire(200, TimeUnit.MILLISECONDS) == null, "no third lease of two");
        semaphore.returnAll(leases);
        check(semaphore.acquire(5, TimeUnit.SECONDS) != null, "a returned lease is taken");
    }

    private static void leader(CuratorFramework one, CuratorFramework two) throws Exception {
        LeaderLatch first = new LeaderLatch(one, "/leader", "one");
        first.start();
        check(first.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the first leads");
        LeaderLatch second = new LeaderLatch(two, "/leader", "two");
        second.start();
        check(!second.await(200, TimeUnit.MILLISECONDS), "the second waits");
        first.close();
        check(second.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "and leads after it");
        check(second.getLeader().getId().equals("two"), "which both can see");
        second.close();
    }

    private static void caches(CuratorFramework reader, CuratorFramework writer) throws Exception {
        writer.create().forPath("/cache");
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        CountDownLatch ready = new CountDownLatch(1);
        // A recursive persistent watch underneath.
        try (CuratorCache cache = CuratorCache.build(reader, "/cache");
                PathChildrenCache children = new PathChildrenCache(reader, "/cache", true)) {
            cache.listenable()
                    .addListener(
                            CuratorCacheListener.builder()
                                    .forCreates(node -> events.add("+" + node.getPath()))
                                    .forChanges((old, node) -> events.add("~" + node.getPath()))
                                    .forDeletes(node -> events.add("-" + node.getPath()))
                                    .forInitialized(ready::countDown)
                                    .build());
            cache.start();
            check(ready.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the cache is filled");
            check("+/cache".equals(next(events)), "it tells its root");
            BlockingQueue<String> direct = new LinkedBlockingQueue<>();
            children.getListenable()
                    .addListener((client, event) -> direct.add(event.getType().name()));
            children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
            writer.create().forPath("/cache/a", "1".getBytes());
            check("+/cache/a".equals(next(events)), "a new child is told");
            check("CHILD_ADDED".equals(next(direct)), "by one-shot watches too");
            writer.create().forPath("/cache/a/b");
            check("+/cache/a/b".equals(next(events)), "a grandchild is told");
            writer.setData().forPath("/cache/a", "2".getBytes());
            check("~/cache/a".equals(next(events)), "a change is told");
            check("CHILD_UPDATED".equals(next(direct)), "by one-shot watches too");
            writer.delete().forPath("/cache/a/b");
            check("-/cache/a/b".equals(next(events)), "a deletion is told");
            writer.delete().forPath("/cache/a");
            check("-/cache/a".equals(next(events)), "and the next");
            check("CHILD_REMOVED".equals(next(direct)), "by one-shot watches too");
        }
    }

    private static String next(BlockingQueue<String> events) throws InterruptedException {
        return events.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    private static void counters(CuratorFramework one, CuratorFramework two) throws Exception {
        ExecutorService workers = Executors.newFixedThreadPool(2);
        List<Future<?>> done = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two)) {
            done.add(
                    workers.submit(
                            () -> {
                                var retry = new ExponentialBackoffRetry(5, 28, 50);
                                var value = new DistributedAtomicLong(client, "/long", retry);
                                for (int i = 0; i < 25; i++) {
                                    AtomicValue<Long> result = value.increment();
                                    if (!result.succeeded()) {
                                        throw new AssertionError("an increment failed");
                                    }
                                }
                                return null;
                            }));
        }
        for (Future<?> worker : done) {
            worker.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        }
        workers.shutdown();
        var retry = new ExponentialBackoffRetry(5, 5);
        long total = new DistributedAtomicLong(one, "/long", retry).get().postValue();
        check(total == 50, "no increment is lost: " + total);

        try (SharedCount mine = new SharedCount(one, "/shared", 3);
                SharedCount other = new SharedCount(two, "/shared", 3)) {
            mine.start();
            other.start();
            var old = other.getVersionedValue();
            mine.setCount(4);
            check(!other.trySetCount(old, 9), "an old version does not set a shared count");
        }
    }

    private static void queues(CuratorFramework one, CuratorFramework two) throws Exception {
        SimpleDistributedQueue in = new SimpleDistributedQueue(one, "/queue");
        SimpleDistributedQueue out = new SimpleDistributedQueue(two, "/queue");
        for (int i = 0; i < 20; i++) {
            in.offer(new byte[] {(byte) i});
        }
        for (int i = 0; i < 20; i++) {
            byte[] taken = out.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
            check(taken != null && taken[0] == i, "a queue keeps its order");
        }
        check(out.poll() == null, "and ends");
    }

    private static void barriers(CuratorFramework one, CuratorFramework two) throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(one, "/barrier");
        barrier.setBarrier();
        DistributedBarrier waiting = new DistributedBarrier(two, "/barrier");
        check(!waiting.waitOnBarrier(200, TimeUnit.MILLISECONDS), "a barrier holds");
        barrier.removeBarrier();
        check(waiting.waitOnBarrier(PATIENCE_SECONDS, TimeUnit.SECONDS), "until it is removed");

        DistributedDoubleBarrier first = new DistributedDoubleBarrier(one, "/double", 2);
        DistributedDoubleBarrier second = new DistributedDoubleBarrier(two, "/double", 2);
        ExecutorService worker = Executors.newSingleThreadExecutor();
        Future<Boolean> entered =
                worker.submit(() -> second.enter(PATIENCE_SECONDS, TimeUnit.SECONDS));
        check(first.enter(PATIENCE_SECONDS, TimeUnit.SECONDS) && entered.get(), "two enter");
        Future<Boolean> left =
                worker.submit(() -> second.leave(PATIENCE_SECONDS, TimeUnit.SECONDS));
        check(first.leave(PATIENCE_SECONDS, TimeUnit.SECONDS) && left.get(), "and leave");
        worker.shutdown();
    }

    private static void nodes(CuratorFramework one, CuratorFramework two) throws Exception {
        byte[] data = "here".getBytes();
        try (PersistentNode node =
                new PersistentNode(one, CreateMode.EPHEMERAL, false, "/member", data)) {
            node.start();
            check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "it is made");
            CountDownLatch again = new CountDownLatch(1);
            node.getListenable().addListener(path -> again.countDown());
            two.delete().forPath("/member");
            check(again.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "deleted, it is made again");
        }
        try (PersistentTtlNode node = new PersistentTtlNode(one, "/ttl", 60_000, data)) {
            node.start();
            check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "a TTL node");
        }
    }

    public static void main(String[] arguments) throws Exception {
        CuratorFramework one = connect();
        CuratorFramework two = connect();
        framework(one);
        mutex();
        locks(one, two);
        leader(one, two);
        caches(one, two);
        counters(one, two);
        queues(one, two);
        barriers(one, two);
        nodes(one, two);
        CLIENTS.forEach(CuratorFramework::close);
        System.out.println("Curator: " + passed + " passed, 0 failed");
        System.exit(0);
    }
}
