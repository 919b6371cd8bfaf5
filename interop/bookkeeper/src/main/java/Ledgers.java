import java.nio.charset.StandardCharsets;
import java.util.Enumeration;
import org.apache.bookkeeper.client.BookKeeper;
import org.apache.bookkeeper.client.BookKeeper.DigestType;
import org.apache.bookkeeper.client.LedgerEntry;
import org.apache.bookkeeper.client.LedgerHandle;
import org.apache.bookkeeper.conf.ClientConfiguration;

/**
 * Ledgers that stay: `Ledgers URI write COPIES ENTRIES COUNT` writes some and prints their ids, `Ledgers URI read ENTRIES ID...`
 * reads some, and fails where an entry is missing or another one.
 */
public final class Ledgers {
    private static final byte[] PASSWORD = "secret".getBytes(StandardCharsets.UTF_8);

    public static void main(String[] words) throws Exception {
        ClientConfiguration configuration = new ClientConfiguration();
        configuration.setMetadataServiceUri(words[0]);
        try (BookKeeper client = new BookKeeper(configuration)) {
            if (words[1].equals("write")) {
                int copies = Integer.parseInt(words[2]);
                for (int i = 0; i < Integer.parseInt(words[4]); i++) {
                    try (LedgerHandle ledger = client.createLedger(copies, copies, DigestType.CRC32C, PASSWORD)) {
                        for (int n = 0; n < Integer.parseInt(words[3]); n++) ledger.addEntry(entry(n));
                        System.out.println(ledger.getId());
                    }
                }
                return;
            }
            long entries = Long.parseLong(words[2]);
            for (int i = 3; i < words.length; i++) {
                try (LedgerHandle ledger = client.openLedger(Long.parseLong(words[i]), DigestType.CRC32C, PASSWORD)) {
                    if (ledger.getLastAddConfirmed() + 1 != entries)
                        throw new IllegalStateException(words[i] + " ends with " + ledger.getLastAddConfirmed());
                    long n = 0;
                    for (Enumeration<LedgerEntry> all = ledger.readEntries(0, entries - 1); all.hasMoreElements(); n++)
                        if (!java.util.Arrays.equals(all.nextElement().getEntry(), entry(n)))
                            throw new IllegalStateException(words[i] + ": another entry at " + n);
                    System.out.println(words[i] + " " + n);
                }
            }
        }
    }

    private static byte[] entry(long number) {
        return ("entry " + number).getBytes(StandardCharsets.UTF_8);
    }
}
