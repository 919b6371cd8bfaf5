/* Recipes that the library waits for: acquired, in order, at their deadlines, given up, and at the ends of clients
 * and queues. Argument: whom to connect to. */
#include "waits.h"

#define WAITS_MAX 256

static fw_op *lock_op(const char *path, int64_t timeout_ms) {
    fw_op *op = NULL;
    OK(fw_op_lock_acquire(path, FW_CSTR, timeout_ms, &op, &error));
    return op;
}

static fw_lock *lock_of(fw_completion *completion) {
    const fw_result *result = fw_completion_result(completion);
    fw_lock *lock = NULL, *again = NULL;
    fw_tenure *tenure = NULL;
    fw_election *election = NULL;
    CHECK(fw_result_tenure(result, &tenure, NULL) == FW_BAD_ARGUMENT && tenure == NULL);
    CHECK(fw_result_election(result, &election, NULL) == FW_BAD_ARGUMENT && election == NULL);
    CHECK(fw_result_lock(result, NULL, NULL) == FW_NULL);
    OK(fw_result_lock(result, &lock, &error));
    CHECK(fw_result_lock(result, &again, NULL) == FW_BAD_ARGUMENT && again == NULL);
    CHECK(fw_result_number(result) == fw_lock_token(lock) && fw_lock_token(lock) > 0);
    fw_completion_free(completion);
    return lock;
}

static void released(fw_lock *lock) {
    int64_t token = 0;
    OK(fw_lock_check(lock, &token, &error));
    CHECK(token == fw_lock_token(lock));
    OK(fw_lock_release(lock, -1, &error));
    CHECK(fw_lock_free(lock) == FW_OK);
}

static fw_lock *held_by_other(const char *path) {
    fw_lock *lock = NULL;
    OK(fw_lock_acquire(other, path, FW_CSTR, 60000, &lock, &error));
    return lock;
}

static void what_is_free_is_got_at_once(void) {
    fw_op *op = NULL;
    fw_election *election = NULL;
    fw_completion *completion;
    fw_fifo *fifo = NULL;
    int64_t token = 0;
    size_t size = 0;
    enqueued(client, lock_op("/free/lock", 60000), 0);
    released(lock_of(next(0, FW_OK)));
    OK(fw_op_lock_read("/free/shared", FW_CSTR, -1, &op, &error));
    enqueued(client, op, 1);
    fw_lock *first = lock_of(next(1, FW_OK)), *second = NULL;
    OK(fw_lock_read(other, "/free/shared", FW_CSTR, -1, &second, &error));
    released(first), released(second);
    OK(fw_op_lock_write("/free/shared", FW_CSTR, -1, &op, &error));
    enqueued(client, op, 2);
    first = lock_of(next(2, FW_OK));
    CHECK(fw_lock_try(other, "/free/shared", FW_CSTR, 0, 20000, &second, NULL) == FW_TAKEN);
    released(first);
    OK(fw_op_semaphore_acquire("/free/semaphore", FW_CSTR, 2, NULL, -1, &op, &error));
    enqueued(client, op, 3);
    given_up(tenure_of(next(3, FW_OK)));
    OK(fw_op_double_barrier_enter("/free/meeting", FW_CSTR, 1, NULL, -1, &op, &error));
    enqueued(client, op, 4);
    given_up(tenure_of(next(4, FW_OK)));
    OK(fw_op_worker_ids_claim("/free/ids", FW_CSTR, 4, NULL, -1, &op, &error));
    enqueued(client, op, 5);
    fw_tenure *id = tenure_of(next(5, FW_OK));
    CHECK(0 <= fw_tenure_worker_id(id) && fw_tenure_worker_id(id) < 4);
    given_up(id);
    OK(fw_op_barrier_wait("/free/barrier", FW_CSTR, -1, &op, &error));
    enqueued(client, op, 6);
    fw_completion_free(next(6, FW_OK));
    OK(fw_op_election_lead("/free/election", FW_CSTR, (const uint8_t *)"me", 2, -1, &op, &error));
    enqueued(client, op, 7);
    completion = next(7, FW_OK);
    OK(fw_result_election(fw_completion_result(completion), &election, &error));
    OK(fw_election_check(election, &token, &error));
    CHECK(token == fw_result_number(fw_completion_result(completion)));
    fw_completion_free(completion);
    OK(fw_election_resign(election, -1, &error));
    fw_election_free(election);
    OK(fw_fifo_new(other, "/free/fifo", FW_CSTR, NULL, &fifo, &error));
    OK(fw_op_fifo_take("/free/fifo", FW_CSTR, NULL, -1, &op, &error));
    enqueued(client, op, 0);
    OK(fw_fifo_put(fifo, (const uint8_t *)"item", 4, -1, &token, &error));
    completion = next(0, FW_OK);
    const uint8_t *item = fw_result_data(fw_completion_result(completion), &size);
    CHECK(size == 4 && memcmp(item, "item", 4) == 0 && fw_result_number(fw_completion_result(completion)) == token);
    fw_completion_free(completion);
    fw_fifo_free(fifo);
}

static void what_is_no_such_operation_is_refused(void) {
    fw_op *op = NULL, *multi = NULL, *lock = lock_op("/refused", -1);
    CHECK(fw_op_semaphore_acquire("/refused", FW_CSTR, 0, NULL, -1, &op, NULL) == FW_BAD_ARGUMENT);
    CHECK(fw_op_double_barrier_enter("/refused", FW_CSTR, 0, NULL, -1, &op, NULL) == FW_BAD_ARGUMENT);
    CHECK(fw_op_worker_ids_claim("/refused", FW_CSTR, 0, NULL, -1, &op, NULL) == FW_BAD_ARGUMENT);
    OK(fw_op_multi(&multi, &error));
    CHECK(fw_op_multi_add(multi, lock, NULL) == FW_BAD_ARGUMENT && fw_op_fresh(lock, 0, 0, NULL) == FW_BAD_ARGUMENT);
    fw_op_free(lock), fw_op_free(multi);
    enqueued(client, lock_op("no slash", -1), 0);
    fails(0, FW_BAD_PATH);
}

static void those_in_line_get_it_in_their_order(void) {
    fw_lock *held = held_by_other("/order");
    for (int at = 0; at < 3; at++) {
        enqueued(client, lock_op("/order", NEVER), at);
        await_children("/order", (size_t)at + 2);
    }
    nothing_comes();
    int64_t token = fw_lock_token(held);
    for (int at = 0; at < 3; at++) {
        released(held);
        held = lock_of(next(at, FW_OK));
        CHECK(token < fw_lock_token(held));
        token = fw_lock_token(held);
        nothing_comes();
    }
    released(held);
}

static void at_its_deadline_one_leaves_the_line(void) {
    fw_op *op = NULL;
    fw_lock *held = held_by_other("/deadline");
    enqueued(client, lock_op("/deadline", 100), 0);
    fails(0, FW_TIMEOUT);
    await_children("/deadline", 1);
    OK(fw_op_lock_read("/deadline", FW_CSTR, 0, &op, &error));
    enqueued(client, op, 1);
    fails(1, FW_TIMEOUT);
    /* A call has both times, and ends with the shorter one. */
    fw_op *endless = lock_op("/deadline", NEVER), *brief = lock_op("/deadline", 50);
    CHECK(fw_client_call(client, endless, 50, NULL, NULL) == FW_TIMEOUT);
    CHECK(fw_client_call(client, brief, NEVER, NULL, NULL) == FW_TIMEOUT);
    fw_op_free(endless), fw_op_free(brief);
    released(held);
    fw_result *result = called(client, lock_op("/deadline", NEVER));
    OK(fw_result_lock(result, &held, &error));
    fw_result_free(result);
    released(held);
}

static void what_is_abandoned_leaves_its_line(void) {
    fw_op *op = NULL;
    fw_lock *held = held_by_other("/given/lock");
    uint64_t request = enqueued(client, lock_op("/given/lock", NEVER), 0);
    await_children("/given/lock", 2);
    abandon(request);
    await_children("/given/lock", 1);
    OK(fw_op_election_lead("/given/lock", FW_CSTR, NULL, 0, NEVER, &op, &error));
    request = enqueued(client, op, 1);
    await_children("/given/lock", 2);
    abandon(request);
    await_children("/given/lock", 1);
    OK(fw_op_lock_write("/given/lock", FW_CSTR, NEVER, &op, &error));
    request = enqueued(client, op, 2);
    await_children("/given/lock", 2);
    abandon(request);
    await_children("/given/lock", 1);
    released(held);

    fw_tenure *permit = NULL;
    fw_semaphore *semaphore = NULL;
    OK(fw_semaphore_new(other, "/given/semaphore", FW_CSTR, 1, NULL, &semaphore, &error));
    OK(fw_semaphore_acquire(semaphore, -1, &permit, &error));
    OK(fw_op_semaphore_acquire("/given/semaphore", FW_CSTR, 1, NULL, NEVER, &op, &error));
    request = enqueued(client, op, 3);
    await_children("/given/semaphore/leases", 2);
    abandon(request);
    await_children("/given/semaphore/leases", 1);
    await_children("/given/semaphore/locks", 0);
    given_up(permit);
    fw_semaphore_free(semaphore);

    OK(fw_op_double_barrier_enter("/given/meeting", FW_CSTR, 2, NULL, NEVER, &op, &error));
    request = enqueued(client, op, 4);
    await_children("/given/meeting", 1);
    abandon(request);
    await_children("/given/meeting", 0);
    nothing_comes();
}

/* One that waits for an item takes none when it is given up, and says so. */
static void an_abandoned_take_loses_nothing(void) {
    fw_op *op = NULL;
    fw_fifo *fifo = NULL;
    fw_result *item = NULL;
    bool maybe_applied = true;
    OK(fw_op_fifo_take("/given/fifo", FW_CSTR, NULL, NEVER, &op, &error));
    for (int rounds = 1; maybe_applied; rounds *= 2) { /* until it is past its requests, and waits */
        uint64_t request = 0;
        OK(fw_client_enqueue(client, op, queue, &tags[0], &request, &error));
        await_children("/given/fifo/takers", 1);
        for (int i = 0; i < rounds; i++) OK(fw_client_sync(other, "/", 1, -1, &error));
        OK(fw_client_abandon(client, request, &maybe_applied, &error));
        await_children("/given/fifo/takers", 0);
    }
    fw_op_free(op);
    OK(fw_fifo_new(other, "/given/fifo", FW_CSTR, NULL, &fifo, &error));
    OK(fw_fifo_put(fifo, (const uint8_t *)"kept", 4, -1, NULL, &error));
    OK(fw_fifo_take(fifo, 20000, &item, &error));
    fw_result_free(item);
    fw_fifo_free(fifo);
    nothing_comes();
}

/* Nobody takes the lock out of its result: it is released with that. */
static void what_nobody_takes_is_given_up(void) {
    enqueued(client, lock_op("/untaken", NEVER), 0);
    fw_completion_free(next(0, FW_OK));
    await_children("/untaken", 0);
    fw_op *op = lock_op("/untaken", NEVER);
    OK(fw_client_call(client, op, -1, NULL, &error));
    fw_op_free(op);
    await_children("/untaken", 0);
}

static atomic_int done_called, destroyed;
static fw_lock *handed_over;

static void destroy(void *context) {
    CHECK(context == &destroyed);
    destroyed++;
}

/* On a thread of its own, which may block. */
static void done(void *context, fw_status status, fw_result *result, fw_error *why) {
    CHECK(context == &destroyed && status == FW_OK && why == NULL);
    OK(fw_client_sync(client, "/", 1, -1, &error));
    OK(fw_result_lock(result, &handed_over, &error));
    fw_result_free(result);
    done_called++;
}

static void a_callback_may_block_on_the_thread_that_waited(void) {
    fw_op *op = lock_op("/called", NEVER);
    uint64_t request = 0;
    OK(fw_client_submit(client, op, done, &destroyed, destroy, &request, &error));
    while (destroyed == 0) OK(fw_client_sync(client, "/", 1, -1, &error));
    CHECK(done_called == 1 && destroyed == 1);
    CHECK(fw_client_abandon(client, request, NULL, NULL) == FW_BAD_ARGUMENT);
    /* Of one that is abandoned the context is destroyed at once, and nobody is called. */
    OK(fw_client_submit(client, op, done, &destroyed, destroy, &request, &error));
    await_children("/called", 2);
    abandon(request);
    CHECK(destroyed == 2);
    await_children("/called", 1);
    CHECK(fw_client_submit(client, op, NULL, &destroyed, destroy, NULL, NULL) == FW_NULL && destroyed == 3);
    fw_op_free(op);
    released(handed_over);
    CHECK(done_called == 1);
}

static void a_closed_client_ends_all_that_wait(void) {
    fw_client *closed = another();
    fw_lock *held = held_by_other("/closed");
    fw_op *op = NULL;
    enqueued(closed, lock_op("/closed", NEVER), 0);
    await_children("/closed", 2);
    OK(fw_client_close(closed, 60000, &error));
    fails(0, FW_CLOSED); /* it is there already */
    await_children("/closed", 1);
    OK(fw_op_barrier_wait("/closed", FW_CSTR, NEVER, &op, &error));
    CHECK(fw_client_enqueue(closed, op, queue, &tags[0], NULL, NULL) == FW_CLOSED);
    fw_op_free(op);
    CHECK(fw_client_free(closed) == FW_OK);
    released(held);
}

static void a_freed_client_ends_all_that_wait(void) {
    fw_client *freed = another();
    fw_lock *held = held_by_other("/freed");
    fw_op *op = lock_op("/freed", NEVER);
    int before = destroyed;
    enqueued(freed, lock_op("/freed", NEVER), 0);
    OK(fw_client_submit(freed, op, done, &destroyed, destroy, NULL, &error));
    fw_op_free(op);
    await_children("/freed", 3);
    CHECK(fw_client_free(freed) == FW_OK);
    fails(0, FW_CLOSED);
    CHECK(done_called == 1);
    while (destroyed != before + 1) usleep(100); /* by the thread that waited, when it ends */
    await_children("/freed", 1);
    released(held);
}

static void free_it(void *context, fw_status status, fw_result *result, fw_error *why) {
    CHECK(status == FW_OK && fw_client_free(context) == FW_OK);
    fw_result_free(result), fw_error_free(why);
}

/* There nothing can be waited for: the session ends when those that waited have ended. */
static void a_client_that_is_freed_in_a_callback_ends_them_too(void) {
    fw_client *freed = another();
    fw_lock *held = held_by_other("/inside");
    fw_op *op = NULL;
    enqueued(freed, lock_op("/inside", NEVER), 0);
    await_children("/inside", 2);
    OK(fw_op_sync("/", 1, &op, &error));
    OK(fw_client_submit(freed, op, free_it, freed, NULL, NULL, &error));
    fw_op_free(op);
    fails(0, FW_CLOSED);
    await_children("/inside", 1);
    released(held);
    /* And in the callback of one that waited. */
    held = held_by_other("/inside");
    op = lock_op("/inside", NEVER);
    freed = another();
    OK(fw_client_submit(freed, op, free_it, freed, NULL, NULL, &error));
    fw_op_free(op);
    await_children("/inside", 2);
    released(held);
    await_children("/inside", 0);
}

/* Who waits for a queue that is gone leaves its line before its turn comes, and whoever stands behind it gets there. */
static void a_freed_queue_takes_its_waits_out_of_their_lines(void) {
    fw_op *op = NULL;
    fw_queue *gone = new_queue();
    fw_lock *held = held_by_other("/gone/lock"), *written = NULL;
    await_in(gone, lock_op("/gone/lock", NEVER));
    OK(fw_op_election_lead("/gone/lock", FW_CSTR, NULL, 0, NEVER, &op, &error));
    await_in(gone, op);
    await_children("/gone/lock", 3);
    enqueued(client, lock_op("/gone/lock", NEVER), 0); /* for a queue that stays */
    await_children("/gone/lock", 4);
    OK(fw_lock_write(other, "/gone/shared", FW_CSTR, -1, &written, &error));
    OK(fw_op_lock_read("/gone/shared", FW_CSTR, NEVER, &op, &error));
    await_in(gone, op);
    OK(fw_op_lock_write("/gone/shared", FW_CSTR, NEVER, &op, &error));
    await_in(gone, op);
    await_children("/gone/shared", 3);

    fw_tenure *permit = NULL;
    fw_semaphore *semaphore = NULL;
    OK(fw_semaphore_new(other, "/gone/semaphore", FW_CSTR, 1, NULL, &semaphore, &error));
    OK(fw_semaphore_acquire(semaphore, -1, &permit, &error));
    OK(fw_op_semaphore_acquire("/gone/semaphore", FW_CSTR, 1, NULL, NEVER, &op, &error));
    await_in(gone, op);
    await_children("/gone/semaphore/leases", 2);
    OK(fw_op_double_barrier_enter("/gone/meeting", FW_CSTR, 2, NULL, NEVER, &op, &error));
    await_in(gone, op);
    await_children("/gone/meeting", 1);
    fw_barrier *barrier = NULL;
    OK(fw_barrier_new(other, "/gone/barrier", FW_CSTR, NULL, &barrier, &error));
    OK(fw_barrier_set(barrier, -1, NULL, &error));
    OK(fw_op_barrier_wait("/gone/barrier", FW_CSTR, NEVER, &op, &error));
    await_in(gone, op);
    OK(fw_op_fifo_take("/gone/fifo", FW_CSTR, NULL, NEVER, &op, &error));
    await_in(gone, op);
    await_children("/gone/fifo/takers", 1);
    while (threads_that_wait() != 9) continue;

    CHECK(fw_queue_free(gone) == FW_OK);
    await_children("/gone/lock", 2);
    await_children("/gone/shared", 1);
    await_children("/gone/semaphore/leases", 1);
    await_children("/gone/semaphore/locks", 0);
    await_children("/gone/meeting", 0);
    await_children("/gone/fifo/takers", 0);
    while (threads_that_wait() != 1) continue;
    nothing_comes();
    released(held), released(written);
    released(lock_of(next(0, FW_OK)));
    await_children("/gone/lock", 0);
    given_up(permit);
    fw_semaphore_free(semaphore), fw_barrier_free(barrier);
    /* An item that is put now is taken by nobody who is gone. */
    fw_fifo *fifo = NULL;
    fw_result *item = NULL;
    OK(fw_fifo_new(other, "/gone/fifo", FW_CSTR, NULL, &fifo, &error));
    OK(fw_fifo_put(fifo, (const uint8_t *)"kept", 4, -1, NULL, &error));
    OK(fw_fifo_take(fifo, 20000, &item, &error));
    fw_result_free(item), fw_fifo_free(fifo);
}

/* What has come already and was not taken is given up with the queue. */
static void a_freed_queue_gives_back_what_nobody_took(void) {
    fw_op *op = NULL;
    fw_queue *gone = new_queue();
    await_in(gone, lock_op("/untaken/lock", NEVER));
    OK(fw_op_election_lead("/untaken/election", FW_CSTR, NULL, 0, NEVER, &op, &error));
    await_in(gone, op);
    OK(fw_op_worker_ids_claim("/untaken/ids", FW_CSTR, 4, NULL, -1, &op, &error));
    await_in(gone, op);
    await_children("/untaken/lock", 1);
    await_children("/untaken/election", 1);
    await_children("/untaken/ids/claims", 1);
    while (threads_that_wait() != 0) continue; /* what they have got lies in the queue */
    struct pollfd filled = {.fd = fw_queue_fd(gone), .events = POLLIN};
    CHECK(poll(&filled, 1, 0) == 1);
    enqueued(client, lock_op("/untaken/lock", NEVER), 0);
    await_children("/untaken/lock", 2);
    nothing_comes();
    CHECK(fw_queue_free(gone) == FW_OK);
    released(lock_of(next(0, FW_OK)));
    await_children("/untaken/election", 0);
    await_children("/untaken/ids/claims", 0);
}

/* Those who get it, or give up, while their queue is being freed leave nothing behind either. */
static void a_queue_may_be_freed_at_any_time(void) {
    fw_op *op = lock_op("/any/lock", NEVER);
    for (int round = 0; round < 40; round++) {
        fw_queue *gone = new_queue();
        for (int at = 0; at < 3; at++) OK(fw_client_enqueue(client, op, gone, NULL, NULL, &error));
        for (int at = 0; at < round % 8; at++) OK(fw_client_sync(other, "/", 1, -1, &error));
        CHECK(fw_queue_free(gone) == FW_OK);
    }
    await_in(queue, op);
    released(lock_of(next(1, FW_OK)));
    await_children("/any/lock", 0);
}

static void a_session_that_is_handed_on_is_in_no_line(void) {
    fw_client *left = another();
    fw_session *session = NULL;
    fw_lock *held = held_by_other("/handed");
    enqueued(left, lock_op("/handed", NEVER), 0);
    await_children("/handed", 2);
    OK(fw_client_create(left, "/lives", FW_CSTR, NULL, 0, FW_EPHEMERAL, -1, NULL, &error));
    OK(fw_client_detach(left, 60000, &session, &error));
    CHECK(children("/handed") == 1);
    fails(0, FW_CLOSED);
    fw_result *lives = NULL;
    OK(fw_client_get(other, "/lives", FW_CSTR, 0, -1, &lives, &error));
    fw_result_free(lives);
    fw_session_free(session);
    fw_client_free(left);
    released(held);
}

static void beyond_so_many_none_is_begun(void) {
    fw_client *many = another();
    fw_barrier *barrier = NULL;
    fw_op *op = NULL;
    uint64_t requests[WAITS_MAX];
    fw_completion *completion = NULL;
    OK(fw_barrier_new(other, "/many", FW_CSTR, NULL, &barrier, &error));
    OK(fw_barrier_set(barrier, -1, NULL, &error));
    OK(fw_op_barrier_wait("/many", FW_CSTR, NEVER, &op, &error));
    for (int at = 0; at < WAITS_MAX; at++) {
        OK(fw_client_enqueue(many, op, queue, &tags[0], &requests[at], &error));
        CHECK(at == 0 || requests[at - 1] < requests[at]);
    }
    CHECK(fw_client_enqueue(many, op, queue, &tags[1], NULL, NULL) == FW_OVERLOADED);
    while (threads_that_wait() != WAITS_MAX) continue; /* until each has its name */
    OK(fw_client_abandon(many, requests[3], NULL, &error));
    fw_status again; /* its thread ends at once, and makes room */
    while ((again = fw_client_enqueue(many, op, queue, &tags[0], NULL, NULL)) == FW_OVERLOADED) continue;
    CHECK(again == FW_OK);
    fw_op_free(op);
    OK(fw_barrier_lift(barrier, -1, &error));
    for (int at = 0; at < WAITS_MAX; at++) {
        OK(fw_queue_next(queue, 60000, &completion, &error));
        CHECK(fw_completion_status(completion) == FW_OK && fw_completion_tag(completion) == &tags[0]);
        fw_completion_free(completion);
    }
    fw_barrier_free(barrier);
    CHECK(fw_client_free(many) == FW_OK);
    nothing_comes();
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    address = arguments[1];
    client = another(), other = another();
    OK(fw_queue_new(&queue, &error));
    what_is_free_is_got_at_once();
    what_is_no_such_operation_is_refused();
    those_in_line_get_it_in_their_order();
    at_its_deadline_one_leaves_the_line();
    what_is_abandoned_leaves_its_line();
    an_abandoned_take_loses_nothing();
    what_nobody_takes_is_given_up();
    a_callback_may_block_on_the_thread_that_waited();
    a_closed_client_ends_all_that_wait();
    a_freed_client_ends_all_that_wait();
    a_client_that_is_freed_in_a_callback_ends_them_too();
    a_freed_queue_takes_its_waits_out_of_their_lines();
    a_freed_queue_gives_back_what_nobody_took();
    a_queue_may_be_freed_at_any_time();
    a_session_that_is_handed_on_is_in_no_line();
    beyond_so_many_none_is_begun();
    fw_client_free(client);
    fw_client_free(other);
    fw_queue_free(queue);
    return 0;
}
