/* A client's own calls, and all that is made for them, without threads and without memory. Argument: whom to
 * connect to. */
#include "scarce.h"

static fw_config *config;
static fw_client *client;
static const char *address;

static const uint8_t *const data = (const uint8_t *)"data";

static void on_event(void *given, const fw_event *event) { (void)given, (void)event; }
static void on_answer(void *given, fw_status status, fw_result *result, fw_error *why) {
    (void)given, (void)status;
    fw_result_free(result), fw_error_free(why);
}

static void lists_and_settings(void) {
    fw_acl *acl = NULL;
    fw_config *own = NULL;
    fw_queue *queue = NULL;
    fw_fence *fence = NULL;
    SCARCE(fw_acl_new(&acl, &error));
    SCARCE(fw_acl_add(acl, FW_PERM_ALL, "world", FW_CSTR, "anyone", FW_CSTR, &error));
    SCARCE(fw_config_new(&own, &error));
    SCARCE(fw_config_set(own, "connect", FW_CSTR, "localhost", FW_CSTR, &error));
    SCARCE(fw_config_set_number(own, "requestTimeout", FW_CSTR, 1000, &error));
    SCARCE(fw_config_acl(own, acl, &error));
    SCARCE(fw_config_set_bool(own, "readOnly", FW_CSTR, true, &error));
    SCARCE(fw_config_on_event(own, on_event, context(), destroy, &error));
    SCARCE(fw_queue_new(&queue, &error));
    SCARCE(fw_config_event_queue(own, queue, NULL, &error));
    SCARCE(fw_fence_new(1, &fence, &error));
    SCARCE(fw_fence_admit(fence, 2, &error));
    SCARCE(fw_fence_free(fence));
    SCARCE(fw_config_free(own));
    SCARCE(fw_queue_free(queue));
    SCARCE(fw_acl_free(acl));
    each_context_was_destroyed();
}

/* An operation that is made, and not used. */
#define MADE(name, ...)                                                                            \
    do {                                                                                           \
        fw_op *op = NULL;                                                                          \
        SCARCE(name(__VA_ARGS__, &op, &error));                                                    \
        SCARCE(fw_op_free(op));                                                                    \
    } while (0)

static void operations(void) {
    MADE(fw_op_create, "/node", FW_CSTR, data, 4, FW_PERSISTENT, 0, NULL);
    MADE(fw_op_delete, "/node", FW_CSTR, -1);
    MADE(fw_op_exists, "/node", FW_CSTR, 0);
    MADE(fw_op_set, "/node", FW_CSTR, data, 4, -1);
    MADE(fw_op_children, "/node", FW_CSTR, 0);
    MADE(fw_op_get_acl, "/node", FW_CSTR);
    MADE(fw_op_sync, "/node", FW_CSTR);
    MADE(fw_op_check, "/node", FW_CSTR, -1);
    MADE(fw_op_add_watch, "/node", FW_CSTR, FW_WATCH_RECURSIVE);
    MADE(fw_op_remove_watches, "/node", FW_CSTR, FW_WATCHES_ANY);
    MADE(fw_op_check_watches, "/node", FW_CSTR, FW_WATCHES_ANY);
    MADE(fw_op_ephemerals, "/node", FW_CSTR);
    MADE(fw_op_count_descendants, "/node", FW_CSTR);
    MADE(fw_op_add_auth, "digest", FW_CSTR, data, 4);
    MADE(fw_op_get_config, 0);
    MADE(fw_op_reconfig, "server.2=a:1:2:participant;3", FW_CSTR, NULL, 0, NULL, 0, -1);
    fw_acl *acl = NULL;
    fw_op *op = NULL;
    OK(fw_acl_new(&acl, &error));
    OK(fw_acl_add(acl, FW_PERM_ALL, "world", FW_CSTR, "anyone", FW_CSTR, &error));
    MADE(fw_op_set_acl, "/node", FW_CSTR, acl, -1);
    fw_acl_free(acl);
    SCARCE(fw_op_whoami(&op, &error));
    SCARCE(fw_op_free(op));
}

static void transactions(void) {
    fw_op *get = NULL, *multi = NULL;
    fw_result *result = NULL;
    fw_stat stat = FW_STAT_INIT;
    SCARCE(fw_op_get("/memory", FW_CSTR, 0, &get, &error));
    SCARCE(fw_op_multi(&multi, &error));
    SCARCE(fw_op_multi_add(multi, get, &error));
    SCARCE(fw_op_fresh(multi, 0, 0, &error));
    SCARCE(fw_client_call(client, multi, 20000, &result, &error));
    CHECK(fw_result_count(result) == 1);
    SCARCE(fw_result_stat(fw_result_part(result, 0), &stat, &error));
    SCARCE(fw_result_free(result));
    SCARCE(fw_op_free(multi));
    SCARCE(fw_op_free(get));
}

/* What came is freed, to make room for the next. */
static void drop(fw_result **result) { fw_result_free(*result), *result = NULL; }

static void reads_and_writes(void) {
    fw_result *result = NULL;
    SCARCE(fw_client_create(client, "/memory/node", FW_CSTR, data, 4, FW_PERSISTENT, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_get(client, "/memory/node", FW_CSTR, FW_WATCH, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_get_fresh(client, "/memory/node", FW_CSTR, 0, 0, 0, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_exists(client, "/memory/node", FW_CSTR, 0, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_exists_fresh(client, "/memory/node", FW_CSTR, 0, 0, 0, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_children(client, "/memory", FW_CSTR, 0, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_children_fresh(client, "/memory", FW_CSTR, 0, 0, 0, 20000, &result, &error));
    CHECK(fw_result_count(result) == 1);
    drop(&result);
    SCARCE(fw_client_set(client, "/memory/node", FW_CSTR, data, 4, -1, 20000, &result, &error));
    drop(&result);
    SCARCE(fw_client_sync(client, "/memory", FW_CSTR, 20000, &error));
    SCARCE(fw_client_delete(client, "/memory/node", FW_CSTR, -1, 20000, &error));
}

static void answers_elsewhere(void) {
    fw_op *op = NULL;
    fw_queue *queue = NULL;
    fw_completion *completion = NULL;
    uint64_t request = 0;
    OK(fw_op_sync("/", FW_CSTR, &op, &error));
    SCARCE(fw_client_submit(client, op, on_answer, context(), destroy, NULL, &error));
    SCARCE(fw_queue_new(&queue, &error));
    SCARCE(fw_queue_post(queue, NULL, &error));
    SCARCE(fw_queue_next(queue, 0, &completion, &error));
    fw_completion_free(completion);
    SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
    SCARCE(fw_queue_next(queue, 20000, &completion, &error));
    CHECK(fw_completion_status(completion) == FW_OK);
    SCARCE(fw_completion_free(completion));
    /* One that was answered before is not given up any more: what is told is that, or that it was. */
    OK(fw_client_enqueue(client, op, queue, NULL, &request, &error));
    SCARCE(fw_client_abandon(client, request, NULL, &error) == FW_NO_MEMORY ? FW_NO_MEMORY : FW_OK);
    SCARCE(fw_queue_free(queue));
    fw_op_free(op);
    each_context_was_destroyed();
}

static void watches(void) {
    fw_watch *node = NULL, *tree = NULL;
    fw_queue *queue = NULL;
    SCARCE(fw_client_watch(client, "/memory", FW_CSTR, FW_WATCH_PERSISTENT, on_event, context(), destroy,
                           20000, &node, &error));
    OK(fw_queue_new(&queue, &error));
    SCARCE(fw_client_watch_queue(client, "/memory", FW_CSTR, FW_WATCH_RECURSIVE, queue, NULL, 20000, &tree,
                                 &error));
    SCARCE(fw_watch_free(node));
    SCARCE(fw_watch_free(tree));
    fw_queue_free(queue);
    each_context_was_destroyed();
}

/* A session that is begun, handed on, and ended. */
static void sessions(void) {
    fw_client *first = NULL, *second = NULL;
    fw_session *session = NULL;
    fw_config *resuming = NULL;
    size_t size = 0;
    SCARCE(fw_client_open(config, &first, &error));
    SCARCE(fw_client_wait_connected(first, 20000, &error));
    SCARCE(fw_client_detach(first, 20000, &session, &error));
    SCARCE(fw_client_free(first));
    const char *text = fw_session_text(session, &size);
    OK(fw_config_new(&resuming, &error));
    OK(fw_config_set(resuming, "connect", FW_CSTR, address, FW_CSTR, &error));
    OK(fw_config_set(resuming, "session", FW_CSTR, text, size, &error));
    SCARCE(fw_client_open(resuming, &second, &error));
    SCARCE(fw_client_wait_connected(second, 20000, &error));
    CHECK(fw_client_session_id(second) == fw_session_id(session));
    SCARCE(fw_session_free(session));
    SCARCE(fw_client_close(second, 20000, &error));
    SCARCE(fw_client_free(second));
    fw_config_free(resuming);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    find_library();
    address = arguments[1];
    config = configured(address);
    client = opened(address);
    OK(fw_client_create(client, "/memory", FW_CSTR, NULL, 0, FW_PERSISTENT, 20000, NULL, &error));
    tell("lists and settings", lists_and_settings);
    tell("operations", operations);
    tell("transactions", transactions);
    tell("reads and writes", reads_and_writes);
    tell("answers elsewhere", answers_elsewhere);
    tell("watches", watches);
    tell("sessions", sessions);
    SCARCE(fw_client_free(client));
    fw_config_free(config);
    say_functions();
    return 0;
}
