/* Reads within a read, which could wait for themselves. The argument: whom to learn from. */
#include "check.h"

static fw_observer *observer;
static fw_feed *feed;
static int calls;

static void nothing(void *context, const fw_node *node) {
    (void)context, (void)node;
    CHECK(!"a read within a read was answered");
}

static void reads(void *context, const fw_node *node) {
    uint8_t buffer[8];
    int64_t len;
    fw_lag lag = FW_LAG_INIT;
    fw_view *view = NULL;
    fw_error *error = NULL;
    (void)context;
    CHECK(fw_node_path(node, NULL) != NULL);
    CHECK(fw_observer_get(observer, "/", 1, buffer, sizeof buffer, &len, NULL, &error) == FW_IN_CALLBACK);
    CHECK(strstr(fw_error_text(error), "view") != NULL);
    fw_error_free(error);
    CHECK(fw_observer_read(observer, "/", 1, nothing, NULL, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_exists(observer, "/", 1, NULL, NULL) == FW_IN_CALLBACK);
    CHECK(fw_observer_children(observer, "/", 1, &(fw_result *){NULL}, NULL) == FW_IN_CALLBACK);
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
    fw_feed_free(feed);
    fw_observer_free(observer);
    fw_config_free(config);
    return 0;
}
