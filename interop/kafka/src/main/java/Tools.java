import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's own command line tools, one after the other in one process: a machine starts a JVM in seconds and
 * a tool does its work in a moment. A line of the input is a class and its arguments, with tabs between them; the
 * answer is what the tool printed, and then a line with its exit code.
 */
public final class Tools {
    private static final class Exited extends RuntimeException {
        Exited() {
            super(null, null, false, false);
        }
    }

    /** With what the tool ended: the first code, as some tools catch what ends them and end once more. */
    private static Integer code;

    public static void main(String[] none) throws Exception {
        Exit.Procedure exit = (wanted, message) -> {
            if (message != null) System.out.println(message);
            if (code == null) code = wanted;
            throw new Exited();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        PrintStream answers = System.out;
        // One for all of them: Scala remembers the first that it sees.
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        System.setErr(System.out);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] words = line.split("\t");
            printed.reset();
            int ended = run(words[0], Arrays.copyOfRange(words, 1, words.length));
            System.out.flush();
            answers.write(printed.toByteArray());
            answers.println("\nexit " + ended);
            answers.flush();
        }
    }

    private static int run(String tool, String[] arguments) throws Exception {
        code = null;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return code == null ? 0 : code;
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof Exited) return code;
            e.getCause().printStackTrace(System.out);
            return 1;
        }
    }
}
