/* Keeps a replica in this process and shows a node and its changes:
 * observer peer-host:port[,peer-host:port...] /path [changes] */
#include <farwatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TRY(call)                                                                                  \
    if ((call) != FW_OK) goto failed

static const char *kind_of(const fw_change *change) {
    switch (fw_change_kind_of(change)) {
    case FW_CHANGE_CREATED: return "created";
    case FW_CHANGE_DELETED: return "deleted";
    default: return "set";
    }
}

static bool print_node(void *context, const fw_node *node) {
    size_t path_len = 0, data_len = 0;
    const char *path = fw_node_path(node, &path_len);
    const char *data = (const char *)fw_node_data(node, &data_len);
    (void)context;
    printf("  %.*s = %.*s\n", (int)path_len, path, (int)data_len, data ? data : "");
    return true;
}

/* A feed and a state, and shows the state. First the feed, then the view: what the view shows already is passed over
 * when the feed tells it. */
static fw_status load(const fw_observer *observer, const char *path, fw_feed **feed, fw_view **view,
                      fw_error **error) {
    fw_lag lag = FW_LAG_INIT;
    fw_feed_free(*feed);
    fw_view_free(*view);
    *feed = NULL, *view = NULL;
    fw_status status = fw_observer_subscribe(observer, path, FW_CSTR, FW_FROM_NOW, feed, error);
    if (status == FW_OK) status = fw_observer_view(observer, view, error);
    if (status == FW_OK) status = fw_observer_lag(observer, &lag, error);
    if (status != FW_OK) return status;
    printf("at 0x%" PRIx64 ", current %" PRId64 " ms ago\n", (uint64_t)fw_view_zxid(*view), lag.stale_ms);
    status = fw_view_scan(*view, path, FW_CSTR, print_node, NULL, error);
    fflush(stdout);
    return status;
}

int main(int count, char **arguments) {
    const char *upstreams = count < 2 ? "127.0.0.1:2888" : arguments[1];
    const char *path = count < 3 ? "/" : arguments[2];
    int changes = count < 4 ? 0 : atoi(arguments[3]);
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    fw_view *view = NULL;
    fw_feed *feed = NULL;
    fw_error *error = NULL;
    int code = 1;

    TRY(fw_config_new(&config, &error));
    TRY(fw_config_set(config, "upstreams", FW_CSTR, upstreams, FW_CSTR, &error));
    TRY(fw_observer_open(config, &observer, &error));
    TRY(fw_observer_wait_ready(observer, 0, 10000, &error));

    TRY(load(observer, path, &feed, &view, &error));

    while (0 < changes) {
        fw_change *change = NULL;
        fw_status status = fw_feed_next(feed, 1000, &change, &error);
        if (status == FW_TIMEOUT || status == FW_WINDOW_LOST) {
            fw_error_free(error);
            error = NULL;
            if (status == FW_TIMEOUT) continue;
            puts("changes were missed: all anew");
            TRY(load(observer, path, &feed, &view, &error));
            continue;
        }
        if (status != FW_OK) goto failed; /* the observer has ended; what it knew can still be read */
        if (fw_view_zxid(view) < fw_change_zxid(change)) {
            size_t path_len = 0, data_len = 0;
            const char *changed = fw_change_path(change, &path_len);
            const char *data = (const char *)fw_change_data(change, &data_len);
            printf("%s %.*s = %.*s\n", kind_of(change), (int)path_len, changed, (int)data_len,
                   data ? data : "");
            fflush(stdout);
            changes--;
        }
        fw_change_free(change);
    }
    code = 0;

failed:
    if (error) fprintf(stderr, "observer: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_feed_free(feed);
    fw_view_free(view);
    fw_observer_free(observer);
    fw_config_free(config);
    return code;
}
