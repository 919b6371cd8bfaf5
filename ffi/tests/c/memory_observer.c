/* An embedded observer, its views, its feeds and its clients, without threads and without memory. It may end
 * of that, and is opened again then. Arguments: clients' address, whom to learn from. */
#include "scarce.h"

static fw_config *learner, *driven;
static fw_client *writer, *inner;
static fw_observer *observer;
static fw_feed *feed;
static fw_queue *queue;
static fw_stat stat = FW_STAT_INIT;

static const uint8_t *const data = (const uint8_t *)"data";

static void look(void *given, const fw_node *node) {
    *(fw_status *)given = fw_node_stat(node, &stat, NULL);
    count_call("fw_node_stat", left <= 0, false, false);
}
static bool count_node(void *given, const fw_node *node) { return (void)node, ++*(int *)given < 2; }
static bool count_name(void *given, const char *name, size_t len) {
    return (void)name, (void)len, ++*(int *)given < 2;
}

static void open_one(void) {
    OK(fw_observer_open(learner, &observer, &error));
    OK(fw_observer_wait_ready(observer, 0, 20000, &error));
    OK(fw_observer_subscribe(observer, "/memory", FW_CSTR, FW_FROM_NOW, &feed, &error));
}

/* With whatever it was: null, open, or ended. */
static void close_one(void) {
    CHECK(fw_feed_free(feed) == FW_OK && fw_observer_free(observer) == FW_OK);
    feed = NULL, observer = NULL;
}

/* What ends an observer is told to who waits on it, a moment before it says itself that it has ended. */
static bool has_ended(void) {
    for (int i = 0; i < 5000 && fw_observer_ended(observer, NULL) == NULL; i++) usleep(1000);
    return fw_observer_ended(observer, NULL) != NULL;
}

static bool open_another(void) {
    if (!has_ended()) return false;
    close_one(), open_one();
    return true;
}

/* What blocks, from the opening to the end. */
static void lives(void) {
    SCARCE(fw_observer_open(learner, &observer, &error));
    was_replaced = open_another;
    SCARCE(fw_observer_wait_ready(observer, 0, 20000, &error));
    SCARCE(fw_observer_close(observer, &error));
    SCARCE(fw_observer_free(observer));
    observer = NULL, was_replaced = NULL;
    close_one();
}

static bool drive_another(void) {
    if (!has_ended()) return false;
    fw_observer_free(observer), observer = NULL;
    OK(fw_observer_open(driven, &observer, &error));
    return true;
}

static void is_driven(void) {
    SCARCE(fw_observer_open(driven, &observer, &error));
    was_replaced = drive_another;
    for (int turns = 0; turns < 8; turns++) SCARCE(fw_observer_drive(observer, 1, &error));
    was_replaced = NULL;
    SCARCE(fw_observer_free(observer));
    observer = NULL;
}

/* Reads show what is there, also where it has ended. */
static void reads(void) {
    uint8_t buffer[16];
    int64_t len = 0;
    int told = 0;
    fw_status seen = FW_PANIC;
    fw_lag lag = FW_LAG_INIT;
    fw_result *names = NULL;
    open_one();
    SCARCE(fw_observer_lag(observer, &lag, &error));
    SCARCE(fw_observer_queue(observer, queue, NULL, &error));
    SCARCE(fw_observer_queue(observer, NULL, NULL, &error));
    SCARCE(fw_observer_get(observer, "/memory", FW_CSTR, buffer, 16, &len, &stat, &error));
    SCARCE(fw_observer_read(observer, "/memory", FW_CSTR, look, &seen, &error));
    CHECK(seen == FW_OK && len >= -1); /* a read that has begun needs no memory to go on */
    SCARCE(fw_observer_exists(observer, "/memory", FW_CSTR, &stat, &error));
    SCARCE_UNTIL(FW_NO_NODE, fw_observer_exists(observer, "/none", FW_CSTR, &stat, &error));
    SCARCE(fw_observer_children(observer, "/", FW_CSTR, &names, &error));
    CHECK(fw_result_count(names) >= 2);
    fw_result_free(names);
    SCARCE(fw_observer_scan(observer, "/", FW_CSTR, count_node, &told, &error));
    CHECK(told == 2);
    SCARCE(fw_observer_children_each(observer, "/", FW_CSTR, count_name, &(int){0}, &stat, &error));
    SCARCE_UNTIL(FW_NO_NODE, fw_observer_children_each(observer, "/none", FW_CSTR, count_name, NULL, NULL, &error));
    close_one();
}

static void views(void) {
    fw_view *view = NULL;
    fw_result *names = NULL;
    const uint8_t *found = NULL;
    size_t size = 0;
    int told = 0;
    open_one();
    SCARCE(fw_observer_view(observer, &view, &error));
    SCARCE(fw_view_get(view, "/memory", FW_CSTR, &found, &size, &stat, &error));
    SCARCE(fw_view_children(view, "/", FW_CSTR, &names, &error));
    fw_result_free(names);
    SCARCE(fw_view_scan(view, "/", FW_CSTR, count_node, &told, &error));
    CHECK(told == 2);
    SCARCE(fw_view_children_each(view, "/", FW_CSTR, count_name, &(int){0}, &stat, &error));
    SCARCE_UNTIL(FW_NO_NODE, fw_view_children_each(view, "/none", FW_CSTR, count_name, NULL, NULL, &error));
    SCARCE(fw_view_free(view));
    close_one();
}

/* One that was opened since has not seen what changed before. */
static bool open_another_and_change(void) {
    if (!open_another()) return false;
    OK(fw_client_set(writer, "/memory", FW_CSTR, data, 4, -1, 20000, NULL, &error));
    return true;
}

static void feeds(void) {
    fw_feed *changes = NULL;
    fw_change *change = NULL;
    open_one();
    was_replaced = open_another;
    SCARCE(fw_observer_subscribe(observer, "/memory", FW_CSTR, FW_FROM_NOW, &changes, &error));
    SCARCE(fw_feed_zxid(changes) >= 0 ? FW_OK : FW_PANIC);
    SCARCE(fw_feed_queue(changes, queue, NULL, &error));
    SCARCE(fw_feed_queue(changes, NULL, NULL, &error));
    SCARCE(fw_feed_free(changes));
    OK(fw_client_set(writer, "/memory", FW_CSTR, data, 4, -1, 20000, NULL, &error));
    was_replaced = open_another_and_change;
    SCARCE(fw_feed_next(feed, 20000, &change, &error));
    SCARCE(fw_change_stat(change, &stat, &error));
    SCARCE(fw_change_free(change));
    close_one();
}

/* Its client is one of whatever observer there is. */
static bool open_another_with_client(void) {
    if (!has_ended()) return false;
    CHECK(fw_client_free(inner) == FW_OK);
    inner = NULL;
    CHECK(open_another());
    OK(fw_observer_client(observer, NULL, NULL, 0, &inner, &error));
    return true;
}

/* A client waits for its observer, also for one that is no more: it is asked for as long as there is one. */
static fw_status ask_inner(fw_error **why) {
    for (int turn = 0; turn < 200; turn++) {
        fw_status status = fw_client_wait_connected(inner, 100, NULL);
        if (status == FW_OK)
            status = fw_client_set(inner, "/memory", FW_CSTR, data, 4, -1, 20000, NULL, NULL);
        bool may_come = status == FW_TIMEOUT || status == FW_CONNECTION_LOSS;
        if (!may_come || fw_observer_ended(observer, NULL) != NULL) return status;
    }
    return fw_client_wait_connected(inner, 100, why);
}

static void clients(void) {
    open_one();
    was_replaced = open_another;
    SCARCE(fw_observer_client(observer, NULL, NULL, 0, &inner, &error));
    was_replaced = open_another_with_client;
    SCARCE(ask_inner(&error));
    SCARCE(fw_client_free(inner));
    inner = NULL;
    close_one();
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    find_library();
    writer = opened(arguments[1]);
    OK(fw_config_new(&learner, &error));
    OK(fw_config_set(learner, "upstreams", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_config_new(&driven, &error));
    OK(fw_config_set(driven, "upstreams", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_config_set(driven, "thread", FW_CSTR, "none", FW_CSTR, &error));
    OK(fw_client_create(writer, "/memory", FW_CSTR, data, 4, FW_PERSISTENT, 20000, NULL, &error));
    OK(fw_queue_new(&queue, &error));
    part = 1; /* in `memory.c` observers are opened with every little */
    tell("a life", lives);
    tell("a driven one", is_driven);
    tell("reads", reads);
    tell("views", views);
    tell("feeds", feeds);
    tell("clients", clients);
    fw_client_free(writer), fw_queue_free(queue);
    fw_config_free(learner), fw_config_free(driven);
    say_functions();
    return 0;
}
