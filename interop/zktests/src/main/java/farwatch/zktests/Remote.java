package farwatch.zktests;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * A server in a process of its own: Farwatch, or Apache ZooKeeper for comparison.
 *
 * <p>The property {@code zktests.server} names the kind, {@code zktests.binary} the program of
 * Farwatch, {@code zktests.classpath} what ZooKeeper's server runs from. Thread-safe.
 */
public final class Remote {

    private static final boolean ZOOKEEPER = "zookeeper".equals(System.getProperty("zktests.server"));
    private static final String MODE = "Mode: ";
    private static final long READY_WITHIN_MS = 60_000;
    private static final long STOP_WITHIN_MS = 30_000;

    /** Whoever is still there when the tests end is ended with them. */
    private static final Set<Remote> RUNNING = new LinkedHashSet<>();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            synchronized (RUNNING) {
                RUNNING.forEach(remote -> remote.process.destroyForcibly());
            }
        }));
    }

    private final Path directory;
    private final InetSocketAddress address;
    private Process process;

    /**
     * @param directory where its data lives; a server that is started there again finds it
     * @param address   where it serves clients
     */
    public Remote(Path directory, InetSocketAddress address) {
        this.directory = directory;
        this.address = address;
    }

    /** Below a directory that a test made for a server: where the process keeps everything. */
    public static Path below(File directory) {
        return directory.toPath().resolve("remote");
    }

    /** Starts the process with the lines of a zoo.cfg; does not wait until it serves. */
    public synchronized void launch(Collection<String> lines) throws IOException {
        Files.createDirectories(directory.resolve("data"));
        List<String> config = new ArrayList<>(lines);
        config.add("dataDir=" + directory.resolve("data"));
        config.add("clientPort=" + address.getPort());
        if (!address.getAddress().isAnyLocalAddress()) {
            // Java appends the interface to an address of version 6.
            String host = address.getAddress().getHostAddress().split("%")[0];
            config.add("clientPortAddress=" + host);
        }
        Path file = directory.resolve("zoo.cfg");
        List<String> command = new ArrayList<>();
        if (ZOOKEEPER) {
            command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
            command.addAll(List.of("-Xmx256m", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1"));
            properties().forEach((key, value) -> command.add("-D" + key + "=" + value));
            command.addAll(List.of("-cp", System.getProperty("zktests.classpath")));
            command.add("org.apache.zookeeper.server.quorum.QuorumPeerMain");
            command.add(file.toString());
        } else {
            properties().forEach((key, value) ->
                config.add((key.startsWith("zookeeper.") ? key.substring(10) : key) + "=" + value));
            command.addAll(List.of(System.getProperty("zktests.binary"), "serve"));
            command.addAll(List.of("--config", file.toString()));
        }
        Files.write(file, config);
        process = new ProcessBuilder(command)
            .directory(directory.toFile())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
            .start();
        synchronized (RUNNING) {
            RUNNING.add(this);
        }
    }

    /** The number of a member of an ensemble; before it is launched. */
    public void name(long number) throws IOException {
        Files.createDirectories(directory.resolve("data"));
        Files.writeString(directory.resolve("data").resolve("myid"), number + "\n");
    }

    /** Waits until it says in which mode it is: a listening port alone does not serve yet. */
    public void awaitServing() throws IOException, InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(READY_WITHIN_MS);
        while (!serves()) {
            if (!isRunning() || System.nanoTime() > deadline) {
                stop();
                throw new IOException("the server does not serve:\n" + Files.readString(log()));
            }
            Thread.sleep(20);
        }
    }

    private boolean serves() {
        String answer = word("srvr");
        // Where a test forbids the word there is no better sign; clients try again anyway.
        return answer.contains(MODE) || answer.contains("not in the whitelist");
    }

    /** Ends the process as its operator would; returns when it is gone. */
    public synchronized void stop() throws InterruptedException {
        if (process == null) {
            return;
        }
        process.destroy();
        boolean obeyed = process.waitFor(STOP_WITHIN_MS, TimeUnit.MILLISECONDS);
        process.destroyForcibly().waitFor();
        synchronized (RUNNING) {
            RUNNING.remove(this);
        }
        process = null;
        if (!obeyed) {
            throw new AssertionError("the server ignored SIGTERM");
        }
    }

    /** Whether the process lives. */
    public synchronized boolean isRunning() {
        return process != null && process.isAlive();
    }

    /** What {@code srvr} calls it: standalone, leader, follower, observer; empty if nothing. */
    public String mode() {
        for (String line : word("srvr").split("\n")) {
            if (line.startsWith(MODE)) {
                return line.substring(MODE.length()).trim();
            }
        }
        return "";
    }

    private String word(String word) {
        InetSocketAddress to = address.getAddress().isAnyLocalAddress()
            ? new InetSocketAddress("127.0.0.1", address.getPort())
            : address;
        try (Socket socket = new Socket()) {
            socket.connect(to, 2_000);
            socket.setSoTimeout(2_000);
            socket.getOutputStream().write(word.getBytes(StandardCharsets.US_ASCII));
            InputStream answer = socket.getInputStream();
            return new String(answer.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException nobody) {
            return "";
        }
    }

    private Path log() {
        return directory.resolve("server.log");
    }

    /** What a test has set for the server of its own process. */
    private static Map<String, String> properties() {
        Map<String, String> chosen = new TreeMap<>();
        for (String key : System.getProperties().stringPropertyNames()) {
            boolean servers = key.startsWith("zookeeper.") || key.startsWith("jute.")
                || key.startsWith("znode.") || key.startsWith("readonlymode.");
            // Parsing a zoo.cfg leaves the lines of its members behind as properties.
            if (servers && !key.startsWith("zookeeper.server.")) {
                chosen.put(key, System.getProperty(key));
            }
        }
        return chosen;
    }
}
