/* Memory that runs out: the library's allocations fail from the first, the second, … a later and later one on, in
 * what opens, waits or asks. It is an answer, never the end of the process, and when there is
 * memory again everything goes on. Arguments: clients' address, whom to learn from. */
#include "scarce.h"
#include <unistd.h>

static fw_config *learner, *driven, *asker;
static fw_client *client;

static void on_answer(void *given, fw_status status, fw_result *result, fw_error *why) {
    (void)given, (void)status;
    fw_result_free(result), fw_error_free(why);
}

/* Whatever comes of it, the context is destroyed once. */
static fw_status submit(fw_error **why) {
    fw_op *op = NULL;
    fw_status status = fw_op_sync("/", FW_CSTR, &op, why);
    if (status == FW_OK) {
        status = fw_client_submit(client, op, on_answer, context(), destroy, NULL, why);
        CHECK(status == FW_OK || destroyed == contexts);
        each_context_was_destroyed();
    }
    fw_op_free(op);
    return status;
}

static fw_status open_client(fw_error **why) {
    fw_client *opened = NULL;
    fw_status status = fw_client_open(asker, &opened, why);
    if (status == FW_OK) status = fw_client_wait_connected(opened, 20000, why);
    CHECK(fw_client_free(opened) == FW_OK);
    return status;
}

static fw_status open_observer(fw_error **why) {
    fw_observer *opened = NULL;
    fw_status status = fw_observer_open(learner, &opened, why);
    if (status == FW_OK) {
        status = fw_observer_wait_ready(opened, 0, 20000, why);
        fw_status seen = fw_observer_exists(opened, "/", FW_CSTR, NULL, NULL);
        CHECK(seen == FW_OK || (seen == FW_NO_NODE && status != FW_OK));
    }
    CHECK(fw_observer_free(opened) == FW_OK);
    return status;
}

static fw_status ask(fw_error **why) {
    fw_result *result = NULL;
    fw_status status = fw_client_set(client, "/memory", FW_CSTR, (const uint8_t *)"data", 4, -1, 20000, &result, why);
    fw_result_free(result), result = NULL;
    if (status != FW_OK) return status;
    status = fw_client_get(client, "/memory", FW_CSTR, 0, 20000, &result, why);
    fw_result_free(result);
    return status;
}

/* Opens an observer while there is memory: what comes then is tried without. */
static fw_observer *ready(void) {
    fw_observer *observer = NULL;
    long limit = atomic_exchange(&left, PLENTY);
    OK(fw_observer_open(learner, &observer, &error));
    OK(fw_observer_wait_ready(observer, 0, 20000, &error));
    atomic_store(&left, limit);
    return observer;
}

static fw_status drive(fw_error **why) {
    fw_observer *opened = NULL;
    fw_status status = fw_observer_open(driven, &opened, why);
    for (int turns = 0; status == FW_OK && turns < 2000; turns++) {
        if (fw_observer_wait_ready(opened, 0, 0, NULL) == FW_OK) break;
        status = fw_observer_drive(opened, 10, why);
        CHECK(turns < 1999);
    }
    CHECK(fw_observer_free(opened) == FW_OK);
    return status;
}

static fw_status follow(fw_error **why) {
    fw_feed *feed = NULL;
    fw_change *change = NULL;
    fw_observer *observer = ready();
    fw_status status = fw_observer_subscribe(observer, "/memory", FW_CSTR, FW_FROM_NOW, &feed, why);
    if (status == FW_OK) status = ask(why);
    if (status == FW_OK) status = fw_feed_next(feed, 20000, &change, why);
    fw_change_free(change);
    fw_feed_free(feed);
    CHECK(fw_observer_free(observer) == FW_OK);
    return status;
}

static fw_status enqueue(fw_error **why) {
    fw_op *op = NULL;
    fw_queue *queue = NULL;
    fw_completion *completion = NULL;
    fw_status status = fw_queue_new(&queue, why);
    if (status == FW_OK) status = fw_op_sync("/", FW_CSTR, &op, why);
    if (status == FW_OK) status = fw_client_enqueue(client, op, queue, NULL, NULL, why);
    if (status == FW_OK) status = fw_queue_next(queue, 20000, &completion, why);
    fw_op_free(op);
    fw_completion_free(completion);
    fw_queue_free(queue);
    return status;
}

static fw_status lock(fw_error **why) {
    fw_lock *lock = NULL;
    fw_status status = fw_lock_acquire(client, "/lock", FW_CSTR, 20000, &lock, why);
    if (status == FW_OK) status = fw_lock_release(lock, 20000, why);
    CHECK(fw_lock_free(lock) == FW_OK);
    return status;
}

static fw_status lead(fw_error **why) {
    fw_election *election = NULL;
    const uint8_t *id = (const uint8_t *)"me";
    fw_status status = fw_election_join(client, "/election", FW_CSTR, id, 2, 20000, &election, why);
    if (status == FW_OK) status = fw_election_lead(election, 20000, why);
    if (status == FW_OK) status = fw_election_resign(election, 20000, why);
    CHECK(fw_election_free(election) == FW_OK);
    return status;
}

static fw_status cross(fw_error **why) {
    fw_double_barrier *barrier = NULL;
    fw_tenure *inside = NULL;
    fw_status status = fw_double_barrier_new(client, "/barrier", FW_CSTR, 1, NULL, &barrier, why);
    if (status == FW_OK) status = fw_double_barrier_enter(barrier, 20000, &inside, why);
    if (status == FW_OK) status = fw_tenure_release(inside, 20000, why);
    CHECK(fw_tenure_free(inside) == FW_OK);
    CHECK(fw_double_barrier_free(barrier) == FW_OK);
    return status;
}

/* Tries it with ever more memory, by a part each time, until it takes no more than there is; returns how often it
 * was refused. */
static int exhaust(const char *name, fw_status (*try_it)(fw_error **), long part) {
    int refused = 0, tried = 0;
    for (long memory = 0;; memory += 1 + memory / part, tried++) {
        fw_error *why = NULL;
        atomic_store(&left, memory);
        fw_status status = try_it(&why);
        int was_enough = 0 < atomic_exchange(&left, PLENTY);
        if (status != FW_OK) {
            bool is_told = status == FW_NO_MEMORY || status == FW_NO_RESOURCES || status == FW_CLOSED
                           || (status == FW_WINDOW_LOST && try_it == follow);
            if (!is_told)
                fprintf(stderr, "%s with %ld: %d, %s\n", name, memory, (int)status, fw_error_text(why));
            CHECK(is_told);
            CHECK(strlen(fw_error_text(why)) > 0);
            refused++;
        }
        fw_error_free(why);
        /* What one had too little for does not harm the next one. */
        OK(try_it(&error));
        if (was_enough) break;
    }
    printf("%s: %d of %d refused\n", name, refused, tried);
    fflush(stdout);
    return refused;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    find_library();
    OK(fw_config_new(&asker, &error));
    OK(fw_config_set(asker, "connect", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_config_new(&learner, &error));
    OK(fw_config_set(learner, "upstreams", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_config_new(&driven, &error));
    OK(fw_config_set(driven, "upstreams", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_config_set(driven, "thread", FW_CSTR, "none", FW_CSTR, &error));
    OK(fw_client_open(asker, &client, &error));
    fw_result *made = NULL;
    OK(fw_client_create(client, "/memory", FW_CSTR, NULL, 0, FW_PERSISTENT, 20000, &made, &error));
    fw_result_free(made);
    CHECK(exhaust("ask", ask, 16) > 0);
    CHECK(exhaust("submit", submit, 16) > 0);
    CHECK(exhaust("open a client", open_client, 16) > 0);
    CHECK(exhaust("open an observer", open_observer, 8) > 0);
    CHECK(exhaust("drive an observer", drive, 3) > 0);
    CHECK(exhaust("follow", follow, 2) > 0);
    CHECK(exhaust("enqueue", enqueue, 16) > 0);
    CHECK(exhaust("lock", lock, 4) > 0);
    CHECK(exhaust("lead", lead, 4) > 0);
    CHECK(exhaust("cross a barrier", cross, 4) > 0);
    CHECK(fw_client_free(client) == FW_OK);
    fw_config_free(asker), fw_config_free(learner), fw_config_free(driven);
    return 0;
}
