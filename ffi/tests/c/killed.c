/* A host that is killed. It opens an observer with a directory and says where that is; when it is told a
 * transaction it catches up with that, and tells the whole tree, and from then on every change, until it is killed.
 * What was missed must come as changes, which a snapshot in place of the log would not. Arguments: whom to learn
 * from, the directory. */
#include "check.h"
#include <inttypes.h>

static bool tell_node(void *context, const fw_node *node) {
    size_t path_len = 0, data_len = 0;
    fw_stat stat = FW_STAT_INIT;
    const char *path = fw_node_path(node, &path_len);
    const uint8_t *data = fw_node_data(node, &data_len);
    (void)context;
    OK(fw_node_stat(node, &stat, &error));
    printf("%.*s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId32 " %" PRId32 " ", (int)path_len, path,
           stat.czxid, stat.mzxid, stat.pzxid, stat.version, stat.cversion);
    for (size_t i = 0; i < data_len; i++) printf("%02x", data[i]);
    printf("\n");
    return true;
}

static int64_t next_change(fw_feed *feed) {
    fw_change *change = NULL;
    OK(fw_feed_next(feed, 60000, &change, &error));
    int64_t zxid = fw_change_zxid(change);
    fw_change_free(change);
    return zxid;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    fw_feed *feed = NULL;
    fw_lag lag = FW_LAG_INIT;
    char line[64];
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_config_set(config, "dataDir", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
    OK(fw_observer_lag(observer, &lag, &error));
    bool is_new = lag.zxid == 0;
    if (!is_new) OK(fw_observer_subscribe(observer, "/", FW_CSTR, lag.zxid, &feed, &error));
    printf("opened %" PRId64 "\n", lag.zxid);
    fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin) != NULL);
    int64_t level = strtoll(line, NULL, 10);
    OK(fw_observer_wait_ready(observer, level, 60000, &error));
    if (is_new) OK(fw_observer_subscribe(observer, "/", FW_CSTR, FW_FROM_NOW, &feed, &error));
    /* The one at the level is a change, so that this ends. */
    for (int64_t told = lag.zxid; !is_new && told < level;) {
        int64_t zxid = next_change(feed);
        CHECK(told <= zxid);
        told = zxid;
    }
    OK(fw_observer_scan(observer, "/", FW_CSTR, tell_node, NULL, &error));
    printf("told\n");
    fflush(stdout);
    for (;;) {
        printf("%" PRId64 "\n", next_change(feed));
        fflush(stdout);
    }
}
