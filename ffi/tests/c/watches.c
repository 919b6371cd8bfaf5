/* Lasting watches whose events go to one place each. The argument: where to connect. */
#include "check.h"
#include <stdatomic.h>

static atomic_int destroyed, called_back;

static void destroy(void *context) {
    (void)context;
    destroyed++;
}

static void never(void *context, const fw_event *event) {
    (void)context, (void)event;
    CHECK(!"called");
}

static void on_event(void *context, const fw_event *event) {
    CHECK(strcmp(fw_event_path(event, NULL), "/w") == 0);
    CHECK(fw_event_get_kind(event) == FW_EVENT_DATA_CHANGED && fw_event_zxid(event) != 0);
    CHECK(fw_event_state(event) == FW_STATE_CONNECTED);
    /* Nothing that waits, but what only looks and what ends. */
    fw_watch *other = NULL;
    CHECK(fw_client_watch(context, "/w", FW_CSTR, 0, never, NULL, NULL, -1, &other, NULL)
          == FW_IN_CALLBACK);
    called_back++;
}

static void end(void *context, const fw_event *event) {
    (void)event;
    CHECK(fw_watch_free(*(fw_watch **)context) == FW_OK);
    called_back++;
}

static void create(fw_client *client, const char *path) {
    OK(fw_client_create(client, path, FW_CSTR, NULL, 0, FW_PERSISTENT, -1, NULL, &error));
}

static void set(fw_client *client, const char *path) {
    OK(fw_client_set(client, path, FW_CSTR, NULL, 0, FW_ANY_VERSION, -1, NULL, &error));
}

/* The next entry of the queue is this event of this watch. */
static void told(fw_queue *queue, int *tag, int kind, const char *path) {
    fw_completion *completion = NULL;
    OK(fw_queue_next(queue, 60000, &completion, &error));
    const fw_event *event = fw_completion_event(completion);
    const char *found = fw_event_path(event, NULL);
    if (fw_completion_tag(completion) != tag || fw_event_get_kind(event) != kind)
        fprintf(stderr, "kind %d of %s\n", fw_event_get_kind(event), found);
    CHECK(fw_completion_tag(completion) == tag && fw_event_get_kind(event) == kind);
    CHECK(path == NULL ? found == NULL : strcmp(found, path) == 0);
    fw_completion_free(completion);
}

static void callbacks(fw_client *client) {
    fw_watch *watch = NULL, *other = NULL;
    CHECK(fw_client_watch(client, "/w", FW_CSTR, 9, never, NULL, destroy, -1, &watch, NULL)
          == FW_BAD_ARGUMENT);
    CHECK(fw_client_watch(client, "bad", FW_CSTR, 0, never, NULL, destroy, -1, &watch, NULL)
          == FW_BAD_PATH);
    CHECK(fw_client_watch(client, "/w", FW_CSTR, 0, NULL, NULL, destroy, -1, &watch, NULL) == FW_NULL);
    CHECK(fw_client_watch(NULL, "/w", FW_CSTR, 0, never, NULL, destroy, -1, &watch, NULL) == FW_NULL);
    CHECK(destroyed == 4 && watch == NULL);
    OK(fw_client_watch(client, "/w", FW_CSTR, FW_WATCH_PERSISTENT, on_event, client, destroy, -1,
                       &watch, &error));
    set(client, "/w");
    CHECK(called_back == 1 && destroyed == 4); /* an event comes before the answer that shows its change */
    CHECK(fw_watch_free(watch) == FW_OK && destroyed == 5);
    set(client, "/w");
    CHECK(called_back == 1);
    OK(fw_client_watch(client, "/w", FW_CSTR, FW_WATCH_RECURSIVE, end, &other, destroy, -1, &other,
                       &error));
    set(client, "/w"), set(client, "/w");
    CHECK(called_back == 2 && destroyed == 6);
    CHECK(fw_watch_free(NULL) == FW_OK);
}

static void queues(const char *connect) {
    int left = 0, right = 0;
    fw_client *client = opened(connect), *writer = opened(connect);
    fw_queue *queue = NULL;
    fw_watch *node = NULL, *tree = NULL;
    fw_completion *completion = NULL;
    OK(fw_queue_new(&queue, &error));
    OK(fw_client_watch_queue(client, "/w", FW_CSTR, FW_WATCH_PERSISTENT, queue, &left, -1, &node, &error));
    OK(fw_client_watch_queue(client, "/w", FW_CSTR, FW_WATCH_RECURSIVE, queue, &right, -1, &tree, &error));
    create(writer, "/w/a"), set(writer, "/w/a"), set(writer, "/w");
    OK(fw_client_delete(writer, "/w/a", FW_CSTR, FW_ANY_VERSION, -1, &error));
    told(queue, &right, FW_EVENT_CREATED, "/w/a");
    told(queue, &left, FW_EVENT_CHILDREN_CHANGED, "/w");
    told(queue, &right, FW_EVENT_DATA_CHANGED, "/w/a");
    told(queue, &left, FW_EVENT_DATA_CHANGED, "/w");
    told(queue, &right, FW_EVENT_DATA_CHANGED, "/w");
    told(queue, &right, FW_EVENT_DELETED, "/w/a");
    told(queue, &left, FW_EVENT_CHILDREN_CHANGED, "/w");
    fw_watch_free(node);
    OK(fw_client_close(client, -1, &error));
    told(queue, &right, FW_EVENT_SESSION, NULL);
    CHECK(fw_queue_next(queue, 0, &completion, NULL) == FW_TIMEOUT);
    CHECK(fw_client_watch_queue(client, "/w", FW_CSTR, 0, queue, NULL, -1, &node, NULL) == FW_CLOSED);
    fw_watch_free(tree);
    fw_client_free(client), fw_client_free(writer);
    fw_queue_free(queue);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_client *client = opened(arguments[1]);
    create(client, "/w");
    callbacks(client);
    queues(arguments[1]);
    fw_client_free(client);
    return 0;
}
