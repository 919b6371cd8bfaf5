/* Reads within a read, which could wait for themselves, and a view that is freed while it tells what it has. The
 * argument: whom to learn from. */
#include "check.h"

static fw_observer *observer;
static fw_feed *feed;
static int calls;

static void nothing(void *context, const fw_node *node) {
    (void)context, (void)node;
    CHECK(!"a read within a read was answered");
}

static bool no_name(void *context, const char *name, size_t len) {
    (void)context, (void)name, (void)len;
    CHECK(!"a read within a read was answered");
    return false;
}

/* Everything that reads, and what else could wait for this very read. */
static void within(void) {
    uint8_t buffer[8];
    int64_t len;
    fw_lag lag = FW_LAG_INIT;
    fw_view *view = NULL;
    fw_error *error = NULL;
    CHECK(fw_observer_get(observer, "/", 1, buffer, sizeof buffer, &len, NULL, &error) == FW_IN_CALLBACK);
    CHECK(strstr(fw_error_text(error), "view") != NULL);
    fw_error_free(error);
    CHECK(fw_observer_read(observer, "/", 1, nothing, NULL, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_exists(observer, "/", 1, NULL, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_children(observer, "/", 1, &(fw_result *){NULL}, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_children_each(observer, "/", 1, no_name, NULL, NULL, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_lag(observer, &lag, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_wait_ready(observer, 0, 0, NULL) == FW_IN_CALLBACK);
    /* Its threads, which these wait for, may wait for this very read. */
    CHECK(fw_observer_close(observer, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_free(observer) == FW_IN_CALLBACK && fw_observer_free(NULL) == FW_OK);
    fw_change *change = NULL;
    CHECK(fw_feed_next(feed, 1, &change, NULL) == FW_IN_CALLBACK);
    CHECK(fw_feed_next(feed, 0, &change, NULL) == FW_TIMEOUT);
    OK(fw_observer_view(observer, &view, &error));
    CHECK(fw_view_get(view, "/", 1, &(const uint8_t *){NULL}, &(size_t){0}, NULL, NULL) == FW_OK);
    fw_view_free(view);
    calls++;
}

static void reads(void *context, const fw_node *node) {
    (void)context;
    CHECK(fw_node_path(node, NULL) != NULL);
    within();
}

static bool reads_too(void *context, const char *name, size_t len) {
    (void)context;
    CHECK(len == 9 && memcmp(name, "zookeeper", len) == 0);
    within();
    return false;
}

static fw_view *scanned;
static int nodes;

/* A scan whose view was freed would go on in memory that is somebody else's. */
static bool frees(void *context, const fw_node *node) {
    fw_view *other = NULL;
    CHECK(fw_view_free(scanned) == FW_IN_CALLBACK);
    if (context == NULL) OK(fw_view_scan(scanned, "/", 1, frees, &nodes, &error));
    CHECK(fw_view_free(scanned) == FW_IN_CALLBACK);
    OK(fw_observer_view(observer, &other, &error));
    CHECK(fw_view_free(other) == FW_OK && fw_node_path(node, NULL) != NULL);
    return ++nodes < 4;
}

static bool frees_too(void *context, const char *name, size_t len) {
    int64_t zxid = fw_view_zxid(scanned);
    CHECK(fw_view_free(scanned) == FW_IN_CALLBACK && fw_view_zxid(scanned) == zxid);
    memcpy(context, name, len); /* it is there still */
    return false;
}

static void a_view_outlives_its_scans(void) {
    OK(fw_observer_view(observer, &scanned, &error));
    OK(fw_view_scan(scanned, "/", 1, frees, NULL, &error));
    CHECK(nodes >= 4);
    CHECK(fw_view_scan(scanned, "/none", 5, frees, NULL, NULL) == FW_NO_NODE);
    char name[16] = {0};
    OK(fw_view_children_each(scanned, "/", 1, frees_too, name, NULL, &error));
    CHECK(strcmp(name, "zookeeper") == 0);
    CHECK(fw_view_free(scanned) == FW_OK && fw_view_free(NULL) == FW_OK);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_config *config = NULL;
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "farwatch.observe", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
    /* A setting has one value, by whichever of its names. */
    fw_observer *other = NULL;
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    CHECK(fw_observer_open(config, &other, NULL) == FW_BAD_ARGUMENT);
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    OK(fw_observer_subscribe(observer, "/nobody", FW_CSTR, FW_FROM_NOW, &feed, &error));
    for (int i = 0; i < 2; i++) OK(fw_observer_read(observer, "/", 1, reads, NULL, &error));
    OK(fw_observer_exists(observer, "/", 1, NULL, &error));
    CHECK(calls == 2);
    for (int i = 0; i < 2; i++)
        OK(fw_observer_children_each(observer, "/", 1, reads_too, NULL, NULL, &error));
    OK(fw_observer_exists(observer, "/", 1, NULL, &error));
    CHECK(calls == 4);
    a_view_outlives_its_scans();
    fw_feed_free(feed);
    fw_observer_free(observer);
    fw_config_free(config);
    return 0;
}
