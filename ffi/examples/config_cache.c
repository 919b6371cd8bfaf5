/* Keeps parsed settings at hand, one for each node below a path, and reads them from memory:
 * config_cache peer-host:port[,...] /config name [changes]
 *
 * A program asks `setting_now` wherever it needs a number. That looks into the replica each time, which is a
 * memory read; what takes longer, the parsing, is done again only when the node's mzxid has changed. No
 * thread and no callback keeps this cache fresh, and it is never older than the replica. A `struct setting`
 * belongs to one thread; others have their own. The feed is only for being told: here, for printing. */
#include <farwatch.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRY(call)                                                                                  \
    if ((call) != FW_OK) goto failed

struct setting {
    char path[256];
    int64_t mzxid; /* of the text that was parsed; -1: none */
    int64_t value;
    int64_t fallback;
    int parsed; /* how often */
};

/* A node that is not there, or is no number, is the fallback. Where the replica cannot be asked the last value
 * stays. */
static int64_t setting_now(const fw_observer *observer, struct setting *setting) {
    fw_stat stat = FW_STAT_INIT;
    char text[32];
    int64_t len = 0;
    fw_status status = fw_observer_get(observer, setting->path, FW_CSTR, (uint8_t *)text, sizeof text - 1,
                                       &len, &stat, NULL);
    if (status == FW_NO_NODE || status == FW_BUFFER_TOO_SMALL) {
        setting->mzxid = -1;
        return setting->value = setting->fallback;
    }
    if (status != FW_OK) return setting->value;
    if (stat.mzxid == setting->mzxid) return setting->value;
    setting->mzxid = stat.mzxid, setting->parsed++;
    text[len < 0 ? 0 : len] = 0; /* null data has the length -1 */
    char *end = text;
    errno = 0;
    setting->value = strtoll(text, &end, 10);
    if (end == text || *end != 0 || errno != 0) setting->value = setting->fallback;
    return setting->value;
}

int main(int count, char **arguments) {
    const char *upstreams = count < 2 ? "127.0.0.1:2888" : arguments[1];
    const char *folder = count < 3 ? "/config" : arguments[2];
    int changes = count < 5 ? 0 : atoi(arguments[4]);
    struct setting setting = {.mzxid = -1, .value = 1, .fallback = 1};
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    fw_feed *feed = NULL;
    fw_error *error = NULL;
    int64_t sum = 0;
    int code = 1;

    snprintf(setting.path, sizeof setting.path, "%s/%s", folder, count < 4 ? "threads" : arguments[3]);
    TRY(fw_config_new(&config, &error));
    TRY(fw_config_set(config, "upstreams", FW_CSTR, upstreams, FW_CSTR, &error));
    TRY(fw_observer_open(config, &observer, &error));
    TRY(fw_observer_wait_ready(observer, 0, 10000, &error));
    TRY(fw_observer_subscribe(observer, folder, FW_CSTR, FW_FROM_NOW, &feed, &error));
    printf("%s is %" PRId64 "\n", setting.path, setting_now(observer, &setting));
    fflush(stdout);

    while (0 < changes) {
        fw_change *change = NULL;
        fw_status status = fw_feed_next(feed, 1000, &change, &error);
        if (status == FW_WINDOW_LOST || status == FW_TIMEOUT) {
            fw_error_free(error);
            error = NULL;
        }
        if (status == FW_WINDOW_LOST) {
            /* Changes were missed; the settings were not, which are read from the replica. */
            fw_feed_free(feed);
            feed = NULL;
            TRY(fw_observer_subscribe(observer, folder, FW_CSTR, FW_FROM_NOW, &feed, &error));
            printf("%s is %" PRId64 ", after changes that were missed\n", setting.path,
                   setting_now(observer, &setting));
            fflush(stdout);
        } else if (status == FW_OK) {
            printf("%s is now %" PRId64 "\n", setting.path, setting_now(observer, &setting));
            fflush(stdout);
            fw_change_free(change);
            changes--;
        } else if (status != FW_TIMEOUT) {
            goto failed; /* the observer has ended; what it knew last is still there to be read */
        }
    }
    for (int reads = 0; reads < 100000; reads++) sum += setting_now(observer, &setting);
    printf("a hundred thousand reads: sum %" PRId64 ", parsed %d times\n", sum, setting.parsed);
    code = 0;

failed:
    if (error) fprintf(stderr, "config_cache: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_feed_free(feed);
    fw_observer_free(observer);
    fw_config_free(config);
    return code;
}
