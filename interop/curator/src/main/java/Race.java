import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.CreateMode;

/**
 * Takes part in races of recipes with Curator's; interop/recipes/race.py says what the nodes are. The same as
 * client/examples/recipe_race.rs does with ours.
 *
 * <p>Arguments: host:port /directory name contenders rounds recipe...
 */
public final class Race {
    private static final int PATIENCE_SECONDS = 60;
    /** As all contenders have it. */
    private static final int PERMITS = 2;

    private static final int BARRED_FOR_MILLIS = 100;
    private static final int PAUSE_MILLIS = 2;

    private final CuratorFramework client;
    private final String directory;
    private final String name;
    private final int rounds;
    private final List<String> names;
    private int taken;
    private boolean isDone;
    /** Whether another library's contender was alone between two times that this one was. */
    private boolean hasAlternated;
    /** Whether another library's contender was seen to stand for election. */
    private boolean hasSeen;

    private static void require(boolean holds, String claim) {
        if (!holds) {
            throw new AssertionError(claim);
        }
    }

    /** Returns when all contenders are there. */
    private Race(CuratorFramework client, String directory, String name, int contenders, int rounds)
            throws Exception {
        this.client = client;
        this.directory = directory;
        this.name = name;
        this.rounds = rounds;
        create("contenders/" + name, CreateMode.PERSISTENT);
        until("all contend", () -> children("contenders").size() == contenders);
        names = new ArrayList<>(children("contenders"));
        names.sort(null);
    }

    private String at(String node) {
        return directory + "/" + node;
    }

    private void create(String node, CreateMode mode) throws Exception {
        client.create().withMode(mode).forPath(at(node), new byte[0]);
    }

    private void delete(String node) throws Exception {
        client.delete().forPath(at(node));
    }

    private boolean exists(String node) throws Exception {
        return client.checkExists().forPath(at(node)) != null;
    }

    private List<String> children(String node) throws Exception {
        return client.getChildren().forPath(at(node));
    }

    private void until(String what, Callable<Boolean> holds) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (!holds.call()) {
            require(System.nanoTime() < deadline, "waited in vain until " + what);
            Thread.sleep(PAUSE_MILLIS);
        }
    }

    private static String library(String name) {
        return name.split("-")[0];
    }

    private boolean isForeign(String other) {
        require(names.contains(other), "nobody is called '" + other + "'");
        return !library(other).equals(library(name));
    }

    /** What only one may do at a time, and nobody while others share. */
    private void alone() throws Exception {
        create("inside", CreateMode.EPHEMERAL);
        String log = new String(client.getData().forPath(at("log")), StandardCharsets.UTF_8);
        if (0 < taken) {
            String between = log.substring(log.lastIndexOf(name + "\n") + name.length() + 1);
            hasAlternated |= between.lines().anyMatch(this::isForeign);
        }
        client.setData().forPath(at("log"), (log + name + "\n").getBytes(StandardCharsets.UTF_8));
        List<String> sharing = children("sharing");
        require(sharing.isEmpty(), sharing + " share what one has alone");
        delete("inside");
        taken++;
    }

    private void share() throws Exception {
        create("sharing/" + name, CreateMode.EPHEMERAL);
        require(!exists("inside"), "somebody writes while others read");
        delete("sharing/" + name);
    }

    private boolean allAreDone() throws Exception {
        return children("done").size() == names.size();
    }

    /** Whether all have had their rounds and seen what is to be {@code seen}. Nobody stops before. */
    private boolean isOver(boolean seen) throws Exception {
        if (!isDone && seen && rounds <= taken) {
            create("done/" + name, CreateMode.PERSISTENT);
            isDone = true;
        }
        return allAreDone();
    }

    private void end() throws Exception {
        client.create().forPath(at("rounds/" + name), Integer.toString(taken).getBytes());
    }

    private static void acquire(InterProcessMutex lock) throws Exception {
        require(lock.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "the lock does not come");
    }

    private void lock() throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client, at("place"));
        while (!isOver(hasAlternated)) {
            acquire(lock);
            alone();
            lock.release();
        }
    }

    /** All at once, having come one after the other: each behind readers of its own and of another library. */
    private void allRead(InterProcessMutex reading, int before, String together) throws Exception {
        until("it is its turn to read", () -> children(together).size() == before);
        acquire(reading);
        create(together + "/" + name, CreateMode.PERSISTENT);
        until("all read", () -> children(together).size() == names.size());
        reading.release();
    }

    private void readWrite() throws Exception {
        InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, at("place"));
        allRead(lock.readLock(), names.indexOf(name), "together/forwards");
        allRead(lock.readLock(), names.size() - 1 - names.indexOf(name), "together/backwards");
        while (!isOver(hasAlternated)) {
            acquire(lock.readLock());
            share();
            lock.readLock().release();

            acquire(lock.writeLock());
            alone();
            // Every other writer becomes a reader in its place, whose node has the same counter.
            if (taken % 2 == 0) {
                acquire(lock.readLock());
                lock.writeLock().release();
                share();
                lock.readLock().release();
            } else {
                lock.writeLock().release();
            }
        }
    }

    /** The counter in the name of a sequential node. */
    private static String counterOf(String name) {
        return name.substring(name.lastIndexOf('.') + 1);
    }

    /**
     * Who holds a permit gives it back when all others have a permit, wait for one and wait in line, as the
     * recipe's own nodes say; and then the one that has had its own for longest, so that all meet in turn.
     */
    private void semaphore() throws Exception {
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, at("place"), PERMITS);
        boolean[] hasShared = {false};
        while (!isOver(hasShared[0])) {
            Lease permit = semaphore.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS);
            require(permit != null, "no permit comes");
            String own =
                    client.create()
                            .withMode(CreateMode.EPHEMERAL_SEQUENTIAL)
                            .forPath(at("sharing/" + name + "."), new byte[0]);
            until(
                    "all permits are held, and all others wait",
                    () -> {
                        List<String> held = children("sharing");
                        require(held.size() <= PERMITS, held + " have one of " + PERMITS + " permits");
                        hasShared[0] |= held.stream().anyMatch(it -> isForeign(it.split("[.]")[0]));
                        String oldest = Collections.min(held, Comparator.comparing(Race::counterOf));
                        boolean isCrowded =
                                held.size() == PERMITS
                                        && children("place/leases").size() == PERMITS + 1
                                        && children("place/locks").size() == names.size() - PERMITS;
                        return isCrowded && own.endsWith(oldest) || allAreDone();
                    });
            client.delete().forPath(own);
            semaphore.returnLease(permit);
            taken++;
        }
    }

    /** What a leader does, and what the election then says of who leads and who would like to. */
    private void lead(Callable<Collection<Participant>> candidates) throws Exception {
        alone();
        boolean isFirst = true;
        for (Participant candidate : candidates.call()) {
            hasSeen |= isForeign(candidate.getId());
            require(!isFirst || candidate.getId().equals(name), candidate + " leads instead");
            isFirst = false;
        }
        require(!isFirst, "nobody leads");
    }

    private void latch() throws Exception {
        while (!isOver(hasAlternated && hasSeen)) {
            try (LeaderLatch latch = new LeaderLatch(client, at("place"), name)) {
                latch.start();
                require(latch.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "this one never leads");
                lead(latch::getParticipants);
            }
        }
    }

    private void selector() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        AtomicReference<LeaderSelector> own = new AtomicReference<>();
        LeaderSelectorListenerAdapter listener =
                new LeaderSelectorListenerAdapter() {
                    @Override
                    public void takeLeadership(CuratorFramework client) {
                        try {
                            if (end.getCount() == 0) {
                                return;
                            }
                            lead(own.get()::getParticipants);
                            if (isOver(hasAlternated && hasSeen)) {
                                end.countDown();
                            }
                        } catch (Throwable error) {
                            failure.set(error);
                            end.countDown();
                        }
                    }
                };
        try (LeaderSelector selector = new LeaderSelector(client, at("place"), listener)) {
            own.set(selector);
            selector.setId(name);
            selector.autoRequeue();
            selector.start();
            require(end.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the race has no end");
        }
        if (failure.get() != null) {
            throw new AssertionError(failure.get());
        }
    }

    private boolean othersAre(String node, String setter) throws Exception {
        long arrived = children(node).stream().filter(it -> it.startsWith(setter + ".")).count();
        return arrived == names.size() - 1;
    }

    /** Each bars the way once, and all others wait. */
    private void barrier() throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(client, at("place"));
        for (String setter : names) {
            if (setter.equals(name)) {
                barrier.setBarrier();
                create("set/" + setter, CreateMode.PERSISTENT);
                until("all others are barred", () -> othersAre("barred", setter));
                create("lifted/" + setter, CreateMode.PERSISTENT);
                barrier.removeBarrier();
            } else {
                until("the way is barred", () -> exists("set/" + setter));
                boolean isFree = barrier.waitOnBarrier(BARRED_FOR_MILLIS, TimeUnit.MILLISECONDS);
                require(!isFree, "the barrier does not bar the way");
                create("barred/" + setter + "." + name, CreateMode.PERSISTENT);
                isFree = barrier.waitOnBarrier(PATIENCE_SECONDS, TimeUnit.SECONDS);
                require(isFree, "the barrier is never lifted");
                require(exists("lifted/" + setter), "the way is free before it is lifted");
                create("passed/" + setter + "." + name, CreateMode.PERSISTENT);
            }
            until("all others have passed", () -> othersAre("passed", setter));
            taken++;
        }
    }

    private void contend(String recipe) throws Exception {
        switch (recipe) {
            case "lock":
                lock();
                break;
            case "read_write":
                readWrite();
                break;
            case "semaphore":
                semaphore();
                break;
            case "latch":
                latch();
                break;
            case "selector":
                selector();
                break;
            case "barrier":
                barrier();
                break;
            default:
                throw new AssertionError("there is no such recipe");
        }
    }

    public static void main(String[] arguments) throws Exception {
        String name = arguments[2];
        int contenders = Integer.parseInt(arguments[3]);
        int rounds = Integer.parseInt(arguments[4]);
        try (CuratorFramework client =
                CuratorFrameworkFactory.builder()
                        .connectString(arguments[0])
                        .sessionTimeoutMs(20_000)
                        .retryPolicy(new ExponentialBackoffRetry(100, 5))
                        .build()) {
            client.start();
            for (String recipe : Arrays.copyOfRange(arguments, 5, arguments.length)) {
                Race race = new Race(client, arguments[1] + "/" + recipe, name, contenders, rounds);
                try {
                    race.contend(recipe);
                } catch (Throwable error) {
                    throw new AssertionError(name + " at " + recipe, error);
                }
                race.end();
            }
        }
    }
}
