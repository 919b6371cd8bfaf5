/* Reads that must be fresh, at an observer that is cut off: the first argument. Without their freshness
 * they would answer "old". The caller writes "new", says with which zxid, and lets the observer learn
 * when this program has said "asked". */
#include "check.h"
#include <inttypes.h>
#include <semaphore.h>

static int64_t number(void) {
    char line[64];
    CHECK(fgets(line, sizeof line, stdin) != NULL);
    return strtoll(line, NULL, 10);
}

static void is(const fw_result *result, const char *expected) {
    size_t size = 0;
    const uint8_t *data = fw_result_data(result, &size);
    if (size != strlen(expected) || memcmp(data, expected, size) != 0) {
        fprintf(stderr, "%.*s, and not %s\n", (int)size, (const char *)data, expected);
        exit(1);
    }
}

/* Blocking; returns the node's mzxid. */
static int64_t reads(fw_client *client, int64_t at_least, int64_t at_most_ms, const char *expected) {
    fw_result *result = NULL;
    fw_stat stat = FW_STAT_INIT;
    OK(fw_client_get_fresh(client, "/value", FW_CSTR, 0, at_least, at_most_ms, FW_DEFAULT_TIMEOUT,
                           &result, &error));
    is(result, expected);
    OK(fw_result_stat(result, &stat, &error));
    fw_result_free(result);
    return stat.mzxid;
}

/* Where the error is said, not what it is: that is read behind the call, which may be evaluated last. */
static void waits(fw_status status, fw_error **said) {
    fw_error *error = *said;
    if (status != FW_TIMEOUT) fprintf(stderr, "%d: %s\n", (int)status, fw_error_text(error));
    CHECK(status == FW_TIMEOUT && !fw_error_maybe_applied(error));
    fw_error_free(error);
    *said = NULL;
}

static fw_op *get(void) {
    fw_op *op = NULL;
    OK(fw_op_get("/value", FW_CSTR, 0, &op, &error));
    return op;
}

static fw_op *fresh(fw_op *op, int64_t at_least, int64_t at_most_ms) {
    OK(fw_op_fresh(op, at_least, at_most_ms, &error));
    return op;
}

static sem_t told;

static void is_new(void *context, fw_status status, fw_result *result, fw_error *error) {
    (void)context;
    CHECK(status == FW_OK && error == NULL);
    is(result, "new");
    fw_result_free(result);
    sem_post(&told);
}

static void enqueue(fw_client *client, fw_queue *queue, fw_op *op, void *tag) {
    OK(fw_client_enqueue(client, op, queue, tag, NULL, &error));
    fw_op_free(op);
}

static fw_op *both(void) {
    fw_op *multi = NULL, *part = get();
    OK(fw_op_multi(&multi, &error));
    OK(fw_op_multi_add(multi, part, &error));
    fw_op_free(part);
    return multi;
}

static fw_op *acl(void) {
    fw_op *op = NULL;
    OK(fw_op_get_acl("/value", FW_CSTR, &op, &error));
    return op;
}

static fw_completion *next(fw_queue *queue, char *tag) {
    fw_completion *completion = NULL;
    OK(fw_queue_next(queue, 60000, &completion, &error));
    CHECK(fw_completion_tag(completion) == tag);
    if (fw_completion_status(completion) != FW_OK)
        fprintf(stderr, "%s\n", fw_error_text(fw_completion_error(completion)));
    CHECK(fw_completion_status(completion) == FW_OK);
    return completion;
}

/* What cannot be fresh. */
static void refusals(void) {
    fw_op *op = NULL, *part = fresh(get(), 0, 0);
    OK(fw_op_set("/value", FW_CSTR, NULL, 0, FW_ANY_VERSION, &op, &error));
    CHECK(fw_op_fresh(op, 0, 0, NULL) == FW_BAD_ARGUMENT);
    fw_op_free(op);
    OK(fw_op_multi(&op, &error));
    CHECK(fw_op_fresh(op, 0, 0, NULL) == FW_BAD_ARGUMENT);
    CHECK(fw_op_multi_add(op, part, NULL) == FW_BAD_ARGUMENT);
    fw_op_free(op);
    fw_op_free(part);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_client *client = opened(arguments[1]);
    fw_queue *queue = NULL;
    fw_error *error = NULL;
    fw_result *result = NULL;
    fw_op *op;
    char tags[3];
    refusals();
    sem_init(&told, 0, 0);
    OK(fw_queue_new(&queue, &error));
    int64_t old = reads(client, 0, 0, "old");
    printf("ready\n");
    fflush(stdout);

    int64_t zxid = number();
    CHECK(old < zxid);
    reads(client, 0, FW_ANY_AGE, "old");
    reads(client, old, FW_ANY_AGE, "old");
    reads(client, 0, 3600 * 1000, "old"); /* it was made fresh within this hour */
    waits(fw_client_get_fresh(client, "/value", FW_CSTR, 0, zxid, FW_ANY_AGE, 200, NULL, &error), &error);
    waits(fw_client_get_fresh(client, "/value", FW_CSTR, 0, 0, 0, 200, NULL, &error), &error);
    waits(fw_client_exists_fresh(client, "/new", FW_CSTR, 0, zxid, FW_ANY_AGE, 200, NULL, &error), &error);
    waits(fw_client_children_fresh(client, "/", FW_CSTR, 0, 0, 0, 200, NULL, &error), &error);
    op = fresh(get(), zxid, FW_ANY_AGE);
    OK(fw_client_submit(client, op, is_new, NULL, NULL, NULL, &error));
    fw_op_free(op);
    enqueue(client, queue, fresh(get(), 0, 0), &tags[0]);
    enqueue(client, queue, fresh(both(), zxid, FW_ANY_AGE), &tags[1]);
    enqueue(client, queue, fresh(acl(), zxid, FW_ANY_AGE), &tags[2]);
    printf("asked\n");
    fflush(stdout);

    sem_wait(&told);
    fw_completion *completion = next(queue, &tags[0]);
    is(fw_completion_result(completion), "new");
    fw_completion_free(completion);
    completion = next(queue, &tags[1]);
    is(fw_result_part(fw_completion_result(completion), 0), "new");
    fw_completion_free(completion);
    fw_completion_free(next(queue, &tags[2]));
    CHECK(reads(client, zxid, 0, "new") == zxid);
    OK(fw_client_exists_fresh(client, "/value", FW_CSTR, 0, zxid, 1000, -1, &result, &error));
    CHECK(fw_result_exists(result));
    fw_result_free(result);
    error = NULL;
    CHECK(fw_client_get_fresh(client, "/value", FW_CSTR, 0, zxid + 1000, FW_ANY_AGE, -1, NULL, &error) ==
          FW_STALE);
    CHECK(fw_error_retriable(error));
    fw_error_free(error);
    fw_queue_free(queue);
    fw_client_free(client);
    sem_destroy(&told);
    printf("done\n");
    return 0;
}
