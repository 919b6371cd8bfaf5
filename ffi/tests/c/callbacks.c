/* Results and events by callback: once each, in order, contexts destroyed once. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int kinds[64];
    char paths[64][64];
    size_t count;
    fw_client *client;
};

static atomic_int destroyed;
static atomic_int answered;

static void destroy(void *context) {
    (void)context;
    destroyed++;
}

static void on_event(void *context, const fw_event *event) {
    struct seen *seen = context;
    const char *path = fw_event_path(event, NULL);
    pthread_mutex_lock(&seen->lock);
    CHECK(seen->count < 64);
    seen->kinds[seen->count] = fw_event_get_kind(event);
    snprintf(seen->paths[seen->count++], 64, "%s", path == NULL ? "" : path);
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

/* Waits for an event of a node, and forgets what came before it. */
static void await(struct seen *seen, int kind, const char *path) {
    pthread_mutex_lock(&seen->lock);
    for (size_t at = 0;; at++) {
        while (at == seen->count) pthread_cond_wait(&seen->changed, &seen->lock);
        if (seen->kinds[at] == kind && strcmp(seen->paths[at], path) == 0) break;
    }
    seen->count = 0;
    pthread_mutex_unlock(&seen->lock);
}

static void in_callback(void *context, fw_status status, fw_result *result, fw_error *error) {
    fw_client *client = context;
    CHECK(status == FW_OK && result != NULL && error == NULL);
    CHECK(fw_client_sync(client, "/", 1, -1, NULL) == FW_IN_CALLBACK);
    CHECK(fw_client_close(client, -1, NULL) == FW_IN_CALLBACK);
    CHECK(fw_client_wait_connected(client, -1, NULL) == FW_IN_CALLBACK);
    fw_queue *queue = NULL;
    fw_completion *completion = NULL;
    OK(fw_queue_new(&queue, &error));
    CHECK(fw_queue_next(queue, -1, &completion, NULL) == FW_IN_CALLBACK);
    CHECK(fw_queue_next(queue, 0, &completion, NULL) == FW_TIMEOUT);
    fw_queue_free(queue);
    CHECK(fw_client_state(client) == FW_STATE_CONNECTED);
    fw_result_free(result);
    answered++;
}

static void refused(void *context, fw_status status, fw_result *result, fw_error *error) {
    CHECK(context == NULL && status == FW_NO_NODE && result == NULL);
    CHECK(fw_error_code(error) == -101);
    fw_error_free(error);
    answered++;
}

static void free_inside(void *context, fw_status status, fw_result *result, fw_error *error) {
    CHECK(status == FW_OK && error == NULL);
    fw_result_free(result);
    CHECK(fw_client_free(context) == FW_OK);
    answered++;
}

static void never(void *context, fw_status status, fw_result *result, fw_error *error) {
    (void)context, (void)status, (void)result, (void)error;
    CHECK(!"called");
}

static fw_op *get(const char *path) {
    fw_op *op = NULL;
    OK(fw_op_get(path, FW_CSTR, 0, &op, &error));
    return op;
}

static void results(const char *connect) {
    fw_client *client = opened(connect);
    fw_op *root = get("/"), *absent = get("/absent"), *bad = get("no-slash");
    destroyed = answered = 0;
    CHECK(fw_client_submit(client, bad, never, NULL, destroy, NULL, NULL) == FW_BAD_PATH);
    CHECK(destroyed == 1);
    CHECK(fw_client_submit(client, root, NULL, NULL, destroy, NULL, NULL) == FW_NULL);
    CHECK(destroyed == 2);
    CHECK(fw_client_submit(NULL, root, never, NULL, destroy, NULL, NULL) == FW_NULL);
    CHECK(destroyed == 3);
    uint64_t request = 0;
    OK(fw_client_submit(client, root, in_callback, client, destroy, &request, &error));
    CHECK(request != 0);
    OK(fw_client_submit(client, absent, refused, NULL, destroy, NULL, &error));
    OK(fw_client_sync(client, "/", 1, -1, &error)); /* answered behind them */
    CHECK(answered == 2 && destroyed == 5);
    bool applied = true;
    CHECK(fw_client_abandon(client, request, &applied, NULL) == FW_BAD_ARGUMENT);
    fw_client_free(client);

    /* Never connected: the request is given up, or dropped with its client. */
    client = opened("127.0.0.1:1");
    OK(fw_client_submit(client, root, never, NULL, destroy, &request, &error));
    OK(fw_client_abandon(client, request, &applied, &error));
    CHECK(!applied && destroyed == 6);
    OK(fw_client_submit(client, root, never, NULL, destroy, NULL, &error));
    fw_client_free(client);

    client = opened(connect);
    OK(fw_client_submit(client, root, free_inside, client, destroy, NULL, &error));
    while (answered != 3 || destroyed != 8) usleep(1000); /* the threads end by themselves */
    fw_op_free(root), fw_op_free(absent), fw_op_free(bad);
}

static void set(fw_client *client, const char *path) {
    OK(fw_client_set(client, path, FW_CSTR, NULL, 0, FW_ANY_VERSION, -1, NULL, &error));
}

static void create(fw_client *client, const char *path) {
    OK(fw_client_create(client, path, FW_CSTR, NULL, 0, FW_PERSISTENT, -1, NULL, &error));
}

static void watch(fw_client *client, const char *path, uint32_t mode) {
    fw_op *op = NULL;
    OK(fw_op_add_watch(path, FW_CSTR, mode, &op, &error));
    fw_result_free(called(client, op));
}

static void events(const char *connect) {
    static struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    fw_config *config = configured(connect);
    fw_client *client = NULL;
    fw_op *op = NULL;
    destroyed = 0;
    OK(fw_config_on_event(config, on_event, &seen, destroy, &error));
    OK(fw_client_open(config, &client, &error));
    await(&seen, FW_EVENT_SESSION, "");
    fw_config_free(config);
    CHECK(destroyed == 0);

    OK(fw_client_exists(client, "/e", FW_CSTR, FW_WATCH, -1, NULL, &error));
    create(client, "/e");
    await(&seen, FW_EVENT_CREATED, "/e");
    OK(fw_client_get(client, "/e", FW_CSTR, FW_WATCH | FW_SYNC, -1, NULL, &error));
    set(client, "/e");
    await(&seen, FW_EVENT_DATA_CHANGED, "/e");
    OK(fw_client_children(client, "/e", FW_CSTR, FW_WATCH, -1, NULL, &error));
    create(client, "/e/c");
    await(&seen, FW_EVENT_CHILDREN_CHANGED, "/e");

    watch(client, "/e", FW_WATCH_PERSISTENT);
    set(client, "/e"), await(&seen, FW_EVENT_DATA_CHANGED, "/e");
    set(client, "/e"), await(&seen, FW_EVENT_DATA_CHANGED, "/e");
    OK(fw_op_check_watches("/e", FW_CSTR, FW_WATCHES_PERSISTENT, &op, &error));
    fw_result_free(called(client, op));
    OK(fw_op_remove_watches("/e", FW_CSTR, FW_WATCHES_ANY, &op, &error));
    fw_result_free(called(client, op));
    await(&seen, FW_EVENT_LASTING_WATCH_REMOVED, "/e");
    OK(fw_op_check_watches("/e", FW_CSTR, FW_WATCHES_ANY, &op, &error));
    CHECK(fw_client_call(client, op, -1, NULL, NULL) == FW_NO_WATCHER);
    fw_op_free(op);

    watch(client, "/e", FW_WATCH_RECURSIVE);
    set(client, "/e/c"), await(&seen, FW_EVENT_DATA_CHANGED, "/e/c");
    OK(fw_client_delete(client, "/e/c", FW_CSTR, -1, -1, &error));
    await(&seen, FW_EVENT_DELETED, "/e/c");
    OK(fw_client_delete(client, "/e", FW_CSTR, -1, -1, &error));
    await(&seen, FW_EVENT_DELETED, "/e");
    fw_client_free(client);
    CHECK(destroyed == 1);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    results(arguments[1]);
    events(arguments[1]);
    return 0;
}
