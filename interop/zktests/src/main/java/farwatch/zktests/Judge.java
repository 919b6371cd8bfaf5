package farwatch.zktests;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.PrintStream;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs one class of tests without some of its methods, and prints a line for each test:
 * {@code Judge CLASS METHOD...} with the methods that are left out.
 */
public final class Judge implements TestExecutionListener {

    private static final int FRAMES = 12;

    private final PrintStream out = System.out;
    private long startedAt;

    public static void main(String[] arguments) throws ClassNotFoundException {
        Set<String> leftOut = new HashSet<>(Arrays.asList(arguments).subList(1, arguments.length));
        PostDiscoveryFilter filter = test -> test.getSource()
            .filter(source -> source instanceof MethodSource)
            .map(source -> FilterResult.includedIf(
                !leftOut.contains(((MethodSource) source).getMethodName())))
            .orElse(FilterResult.included("no method"));
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
            .selectors(selectClass(Class.forName(arguments[0])))
            .filters(filter)
            .build();
        LauncherFactory.create().execute(request, new Judge());
        // Tests leave threads behind.
        System.exit(0);
    }

    @Override
    public void executionStarted(TestIdentifier test) {
        startedAt = System.nanoTime();
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
        say("skip", test, reason.replace('\n', ' '));
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        boolean good = result.getStatus() == TestExecutionResult.Status.SUCCESSFUL;
        if (test.isTest() || !good) {
            long took = (System.nanoTime() - startedAt) / 1_000_000;
            say(good ? "ok" : "FAIL", test, took + " ms");
        }
        result.getThrowable().ifPresent(this::explain);
    }

    private void say(String verdict, TestIdentifier test, String more) {
        String name = test.getSource()
            .filter(source -> source instanceof MethodSource)
            .map(source -> ((MethodSource) source).getMethodName())
            .orElse("(class)");
        // Of a test with parameters, which of its runs.
        String display = test.getDisplayName().startsWith("[") ? " " + test.getDisplayName() : "";
        out.println(verdict + "\t" + name + display + "\t" + more);
        out.flush();
    }

    private void explain(Throwable why) {
        for (Throwable cause = why; cause != null; cause = cause.getCause()) {
            out.println("    " + cause);
            Arrays.stream(cause.getStackTrace())
                .filter(frame -> !frame.getClassName().startsWith("org.junit.")
                    && !frame.getClassName().startsWith("java."))
                .limit(FRAMES)
                .forEach(frame -> out.println("        " + frame));
        }
        out.flush();
    }
}
