/* Names, rounds of a selector and tasks that the library waits for: each by each way, and given up in each way.
 * Argument: whom to connect to. */
#include "waits.h"

/* What is held, whoever waits for it. */
struct kind {
    const char *name;
    const char *below; /* its path, where a node is seen of each who has it or stands in line */
    fw_op *(*op)(const char *path, int64_t timeout_ms);
    fw_status (*get)(const char *path, int64_t timeout_ms, fw_tenure **tenure); /* by the other client, blocking */
    fw_status at_deadline;                                                      /* while another one has it */
};

#define BYTES(text) (const uint8_t *)(text), strlen(text)

static fw_op *group_op(const char *path, int64_t timeout_ms) {
    fw_op *op = NULL;
    OK(fw_op_group_join(path, FW_CSTR, "name", FW_CSTR, BYTES("mine"), NULL, timeout_ms, &op, &error));
    return op;
}

static fw_status get_group(const char *path, int64_t timeout_ms, fw_tenure **tenure) {
    fw_group *group = NULL;
    OK(fw_group_new(other, path, FW_CSTR, NULL, &group, &error));
    fw_status status = fw_group_join(group, "name", FW_CSTR, BYTES("theirs"), timeout_ms, tenure, NULL);
    fw_group_free(group);
    return status;
}

static fw_op *service_op(const char *path, int64_t timeout_ms) {
    fw_op *op = NULL;
    OK(fw_op_service_directory_register(path, FW_CSTR, "web", FW_CSTR, "name", FW_CSTR, BYTES("mine"), NULL, timeout_ms,
                                        &op, &error));
    return op;
}

static fw_status get_service(const char *path, int64_t timeout_ms, fw_tenure **tenure) {
    fw_service_directory *services = NULL;
    OK(fw_service_directory_new(other, path, FW_CSTR, NULL, &services, &error));
    fw_status status = fw_service_directory_register(services, "web", FW_CSTR, "name", FW_CSTR, BYTES("theirs"),
                                                     timeout_ms, tenure, NULL);
    fw_service_directory_free(services);
    return status;
}

static fw_op *worker_op(const char *path, int64_t timeout_ms) {
    fw_op *op = NULL;
    OK(fw_op_task_board_work(path, FW_CSTR, "name", FW_CSTR, NULL, timeout_ms, &op, &error));
    return op;
}

static fw_task_board *board_at(const char *path) {
    fw_task_board *board = NULL;
    OK(fw_task_board_new(other, path, FW_CSTR, NULL, &board, &error));
    return board;
}

static fw_status get_worker(const char *path, int64_t timeout_ms, fw_tenure **tenure) {
    fw_task_board *board = board_at(path);
    fw_status status = fw_task_board_work(board, "name", FW_CSTR, timeout_ms, tenure, NULL);
    fw_task_board_free(board);
    return status;
}

static fw_op *selector_op(const char *path, int64_t timeout_ms) {
    fw_op *op = NULL;
    OK(fw_op_selector_lead(path, FW_CSTR, BYTES("mine"), NULL, timeout_ms, &op, &error));
    return op;
}

static fw_status get_selector(const char *path, int64_t timeout_ms, fw_tenure **tenure) {
    fw_selector *selector = NULL;
    OK(fw_selector_new(other, path, FW_CSTR, BYTES("theirs"), NULL, &selector, &error));
    fw_status status = fw_selector_lead(selector, timeout_ms, tenure, NULL, NULL);
    fw_selector_free(selector);
    return status == FW_OK && *tenure == NULL ? FW_TAKEN : status;
}

static const struct kind kinds[] = {
    {"group", "", group_op, get_group, FW_TAKEN},
    {"service", "/web", service_op, get_service, FW_TAKEN},
    {"worker", "/workers", worker_op, get_worker, FW_TAKEN},
    {"selector", "", selector_op, get_selector, FW_OK},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *kind; /* the one that a test is about */
static char path[64], nodes[80];

static void about(const struct kind *it, const char *test) {
    kind = it;
    snprintf(path, sizeof path, "/%s/%s", test, it->name);
    snprintf(nodes, sizeof nodes, "%s%s", path, it->below);
}

/* An operation's result by one of the three ways, and what it is freed with. */
enum { CALLED, SUBMITTED, ENQUEUED, WAYS };

struct got {
    const fw_result *result;
    fw_result *own;
    fw_completion *completion;
};

static atomic_int ended;
static fw_result *told;

static void done(void *context, fw_status status, fw_result *result, fw_error *why) {
    CHECK(context == &ended && status == FW_OK && why == NULL);
    told = result;
}

static void end(void *context) {
    CHECK(context == &ended);
    ended++;
}

/* Frees `op`. */
static struct got got_by(int way, fw_op *op) {
    struct got got = {NULL, NULL, NULL};
    int before = ended;
    switch (way) {
    case CALLED: got.own = called(client, op); break;
    case SUBMITTED:
        OK(fw_client_submit(client, op, done, &ended, end, NULL, &error));
        fw_op_free(op);
        while (ended == before) OK(fw_client_sync(client, "/", 1, -1, &error));
        got.own = told;
        break;
    default:
        enqueued(client, op, 0);
        got.completion = next(0, FW_OK);
    }
    got.result = got.own ? got.own : fw_completion_result(got.completion);
    return got;
}

static void let_go(struct got got) {
    CHECK(fw_result_free(got.own) == FW_OK && fw_completion_free(got.completion) == FW_OK);
}

static fw_tenure *held_by_other(void) {
    fw_tenure *held = NULL;
    CHECK(kind->get(path, 60000, &held) == FW_OK);
    return held;
}

static bool says(const fw_result *result, const char *text) {
    size_t size = 0;
    const uint8_t *data = fw_result_data(result, &size);
    return size == strlen(text) && memcmp(data, text, size) == 0;
}

/* What others see of who has it. */
static void is_seen_as(const char *text) {
    fw_result *names = NULL, *node = NULL;
    char one[200];
    await_children(nodes, 1);
    OK(fw_client_children(other, nodes, FW_CSTR, 0, -1, &names, &error));
    snprintf(one, sizeof one, "%s/%s", nodes, fw_result_name(names, 0, NULL));
    OK(fw_client_get(other, one, FW_CSTR, 0, -1, &node, &error));
    CHECK(says(node, text));
    fw_result_free(names), fw_result_free(node);
}

static void what_is_free_is_got_by_each_way(void) {
    for (int way = 0; way < WAYS; way++) {
        fw_tenure *mine = NULL, *none = NULL;
        fw_lock *lock = NULL;
        fw_assignment *task = NULL;
        struct got got = got_by(way, kind->op(path, 60000));
        CHECK(fw_result_lock(got.result, &lock, NULL) == FW_BAD_ARGUMENT && lock == NULL);
        CHECK(fw_result_assignment(got.result, &task, NULL) == FW_BAD_ARGUMENT && task == NULL);
        OK(fw_result_tenure(got.result, &mine, &error));
        CHECK(fw_result_tenure(got.result, &none, NULL) == FW_BAD_ARGUMENT && none == NULL);
        CHECK(mine != NULL && fw_result_number(got.result) == fw_tenure_token(mine));
        CHECK(kind->op == selector_op ? says(got.result, "mine") : fw_result_data(got.result, NULL) == NULL);
        let_go(got);
        is_seen_as(kind->op == worker_op ? "" : "mine");
        CHECK(kind->get(path, 50, &none) != FW_OK && none == NULL);
        given_up(mine);
        await_children(nodes, 0);
    }
}

static void what_another_has_is_waited_for(void) {
    fw_tenure *theirs = held_by_other();
    int64_t token = fw_tenure_token(theirs);
    enqueued(client, kind->op(path, NEVER), 1);
    while (threads_that_wait() != 1) continue;
    nothing_comes();
    given_up(theirs);
    fw_tenure *mine = tenure_of(next(1, FW_OK));
    CHECK(token < fw_tenure_token(mine));
    given_up(mine);
    await_children(nodes, 0);
}

static void at_its_deadline_it_says_that_another_has_it(void) {
    fw_tenure *theirs = held_by_other(), *none = theirs;
    fw_completion *completion = NULL;
    fw_status status = FW_TIMEOUT; /* too little time to find out that it is taken */
    for (int64_t time = 50; status == FW_TIMEOUT; time *= 2) {
        fw_completion_free(completion);
        enqueued(client, kind->op(path, time), 2);
        OK(fw_queue_next(queue, 60000, &completion, &error));
        status = fw_completion_status(completion);
    }
    CHECK(status == kind->at_deadline);
    const fw_result *round = fw_completion_result(completion);
    if (round != NULL) { /* who has lost learns who leads */
        CHECK(says(round, "theirs") && fw_result_number(round) == fw_tenure_token(theirs));
        OK(fw_result_tenure(round, &none, &error));
        CHECK(none == NULL);
    }
    fw_completion_free(completion);
    await_children(nodes, 1);
    given_up(theirs);
    await_children(nodes, 0);
}

static void what_is_abandoned_leaves_nothing_behind(void) {
    fw_tenure *theirs = held_by_other();
    uint64_t request = enqueued(client, kind->op(path, NEVER), 3);
    while (threads_that_wait() != 1) continue;
    abandon(request);
    while (threads_that_wait() != 0) continue;
    await_children(nodes, 1);
    given_up(theirs);
    await_children(nodes, 0);
    for (int round = 0; round < 20; round++) { /* at any time, and when it has come already */
        request = enqueued(client, kind->op(path, NEVER), 3);
        for (int at = 0; at < round % 10; at++) OK(fw_client_sync(other, "/", 1, -1, &error));
        if (fw_client_abandon(client, request, NULL, NULL) != FW_OK) fw_completion_free(next(3, FW_OK));
    }
    while (threads_that_wait() != 0) continue;
    await_children(nodes, 0);
    nothing_comes();
}

static void a_freed_queue_leaves_nothing_behind(void) {
    fw_queue *gone = new_queue();
    fw_tenure *theirs = held_by_other();
    await_in(gone, kind->op(path, NEVER));
    while (threads_that_wait() != 1) continue;
    CHECK(fw_queue_free(gone) == FW_OK);
    while (threads_that_wait() != 0) continue;
    given_up(theirs);
    await_children(nodes, 0);
    gone = new_queue(); /* what has come already is given back, and who waits behind it has it */
    await_in(gone, kind->op(path, NEVER));
    struct pollfd filled = {.fd = fw_queue_fd(gone), .events = POLLIN};
    CHECK(poll(&filled, 1, 60000) == 1);
    enqueued(client, kind->op(path, NEVER), 4);
    CHECK(fw_queue_free(gone) == FW_OK);
    given_up(tenure_of(next(4, FW_OK)));
    await_children(nodes, 0);
}

static void a_closed_client_leaves_nothing_behind(void) {
    fw_client *closed = another();
    fw_tenure *theirs = held_by_other();
    enqueued(closed, kind->op(path, NEVER), 5);
    while (threads_that_wait() != 1) continue;
    OK(fw_client_close(closed, 60000, &error));
    fw_completion_free(next(5, FW_CLOSED));
    given_up(theirs);
    await_children(nodes, 0);
    CHECK(fw_client_free(closed) == FW_OK);
}

static fw_election *leader;
static fw_task_board *board;

/* A board at a path of its own, and one who works there. */
static fw_tenure *office(const char *test) {
    snprintf(path, sizeof path, "/tasks/%s", test);
    fw_task_board_free(board);
    board = board_at(path);
    enqueued(client, worker_op(path, 60000), 0);
    return tenure_of(next(0, FW_OK));
}

static void hand_out(const char *task) {
    size_t count = 0;
    OK(fw_task_board_put(board, BYTES(task), -1, NULL, &error));
    OK(fw_task_board_assign(board, leader, -1, &count, &error));
    CHECK(count == 1);
}

static fw_op *take_op(const fw_tenure *worker, int64_t timeout_ms) {
    fw_op *op = NULL;
    OK(fw_op_worker_take(worker, timeout_ms, &op, &error));
    return op;
}

static fw_assignment *task_of(const fw_result *result, const char *wanted) {
    fw_assignment *task = NULL, *again = NULL;
    fw_tenure *tenure = NULL;
    size_t size = 0;
    CHECK(fw_result_tenure(result, &tenure, NULL) == FW_BAD_ARGUMENT && tenure == NULL);
    CHECK(fw_result_assignment(result, NULL, NULL) == FW_NULL);
    OK(fw_result_assignment(result, &task, &error));
    CHECK(fw_result_assignment(result, &again, NULL) == FW_BAD_ARGUMENT && again == NULL);
    CHECK(fw_result_number(result) == fw_assignment_token(task));
    const uint8_t *data = fw_assignment_data(task, &size);
    CHECK(size == strlen(wanted) && memcmp(data, wanted, size) == 0);
    return task;
}

static void finished(fw_assignment *task) {
    OK(fw_assignment_finish(task, -1, &error));
    CHECK(fw_assignment_free(task) == FW_OK);
}

/* Frees the completion. */
static void finishes(fw_completion *completion, const char *wanted) {
    fw_assignment *task = task_of(fw_completion_result(completion), wanted);
    fw_completion_free(completion); /* which it outlives */
    finished(task);
}

/* On the thread that waited, which may block. */
static void finish_it(void *context, fw_status status, fw_result *result, fw_error *why) {
    CHECK(context == &ended && status == FW_OK && why == NULL);
    fw_assignment *task = task_of(result, "called");
    fw_result_free(result);
    finished(task);
}

static void a_task_is_taken_by_each_way(void) {
    fw_tenure *worker = office("ways");
    for (int way = 0; way < WAYS; way++) {
        hand_out("task");
        struct got got = got_by(way, take_op(worker, 60000));
        fw_assignment *task = task_of(got.result, "task");
        let_go(got);
        /* It is whose it was handed to: another take has none. */
        enqueued(client, take_op(worker, 50), 1);
        fails(1, FW_TIMEOUT);
        finished(task);
    }
    enqueued(client, take_op(worker, NEVER), 1);
    while (threads_that_wait() != 1) continue;
    nothing_comes();
    hand_out("late");
    finishes(next(1, FW_OK), "late");
    int before = ended;
    fw_op *op = take_op(worker, NEVER);
    OK(fw_client_submit(client, op, finish_it, &ended, end, NULL, &error));
    fw_op_free(op);
    hand_out("called");
    while (ended == before) OK(fw_client_sync(client, "/", 1, -1, &error));
    fw_result *names = NULL;
    OK(fw_task_board_open_tasks(board, -1, &names, &error));
    CHECK(fw_result_count(names) == 0);
    fw_result_free(names);
    given_up(worker);
}

static void a_task_that_nobody_took_is_its_workers_next(void) {
    fw_tenure *worker = office("untaken");
    fw_assignment *task = NULL;
    uint64_t request = enqueued(client, take_op(worker, NEVER), 2);
    while (threads_that_wait() != 1) continue;
    abandon(request);
    while (threads_that_wait() != 0) continue;
    hand_out("abandoned");
    OK(fw_worker_take(worker, 20000, &task, &error));
    finished(task);

    hand_out("at any time");
    for (int round = 0; round < 20; round++) {
        request = enqueued(client, take_op(worker, NEVER), 2);
        for (int at = 0; at < round % 10; at++) OK(fw_client_sync(other, "/", 1, -1, &error));
        if (fw_client_abandon(client, request, NULL, NULL) != FW_OK) fw_completion_free(next(2, FW_OK));
    }
    /* Who waits gets it as soon as it is freed. */
    enqueued(client, take_op(worker, NEVER), 2);
    fw_completion *untaken = next(2, FW_OK);
    enqueued(client, take_op(worker, NEVER), 3);
    while (threads_that_wait() != 1) continue;
    nothing_comes();
    fw_completion_free(untaken);
    fw_completion *taken = next(3, FW_OK);
    int64_t token = fw_result_number(fw_completion_result(taken));
    CHECK(token > 0);
    finishes(taken, "at any time");

    fw_queue *gone = new_queue();
    hand_out("gone");
    await_in(gone, take_op(worker, NEVER));
    struct pollfd filled = {.fd = fw_queue_fd(gone), .events = POLLIN};
    CHECK(poll(&filled, 1, 60000) == 1);
    await_in(gone, take_op(worker, NEVER)); /* one that waits, which gets nothing any more */
    enqueued(client, take_op(worker, NEVER), 4);
    nothing_comes();
    CHECK(fw_queue_free(gone) == FW_OK);
    finishes(next(4, FW_OK), "gone");
    fw_op *unheard = take_op(worker, 20000);
    hand_out("unheard");
    OK(fw_client_call(client, unheard, -1, NULL, &error)); /* nobody wants the result */
    enqueued(client, unheard, 4);
    finishes(next(4, FW_OK), "unheard");
    given_up(worker);
}

/* An operation keeps nobody at work. */
static void a_worker_that_ends_is_waited_for_no_more(void) {
    fw_tenure *worker = office("ended");
    char workers[80];
    snprintf(workers, sizeof workers, "%s/workers", path);
    fw_op *op = take_op(worker, NEVER);
    OK(fw_client_enqueue(client, op, queue, &tags[0], NULL, &error));
    while (threads_that_wait() != 1) continue;
    OK(fw_tenure_release(worker, -1, &error));
    fails(0, FW_LOST);
    fw_op *none = NULL;
    CHECK(fw_op_worker_take(worker, NEVER, &none, NULL) == FW_LOST && none == NULL);
    fw_tenure_free(worker);
    OK(fw_client_enqueue(client, op, queue, &tags[0], NULL, &error));
    fails(0, FW_LOST);
    CHECK(fw_client_call(client, op, -1, NULL, NULL) == FW_LOST);
    fw_op_free(op);

    worker = office("ended");
    op = take_op(worker, NEVER);
    OK(fw_client_enqueue(client, op, queue, &tags[1], NULL, &error));
    while (threads_that_wait() != 1) continue;
    await_children(workers, 1);
    CHECK(fw_tenure_free(worker) == FW_OK);
    fails(1, FW_LOST);
    await_children(workers, 0);
    fw_op_free(op);
}

static void only_a_workers_own_client_takes_its_tasks(void) {
    fw_tenure *worker = office("own"), *member = NULL;
    fw_op *none = NULL, *op = take_op(worker, NEVER);
    CHECK(fw_client_call(other, op, -1, NULL, NULL) == FW_BAD_ARGUMENT);
    enqueued(other, op, 0);
    fails(0, FW_BAD_ARGUMENT);
    CHECK(get_group("/tasks/group", -1, &member) == FW_OK);
    CHECK(fw_op_worker_take(member, NEVER, &none, NULL) == FW_BAD_ARGUMENT && none == NULL);
    given_up(member), given_up(worker);
}

static void what_a_closed_client_waited_for_goes_to_another_worker(void) {
    given_up(office("closed"));
    fw_client *closed = another();
    fw_tenure *theirs = NULL;
    fw_assignment *task = NULL;
    size_t count = 0;
    enqueued(closed, worker_op(path, 60000), 0);
    fw_tenure *dying = tenure_of(next(0, FW_OK));
    hand_out("passed on");
    enqueued(closed, take_op(dying, NEVER), 1);
    fw_completion *untaken = next(1, FW_OK);
    int64_t token = fw_result_number(fw_completion_result(untaken));
    enqueued(closed, take_op(dying, NEVER), 2);
    while (threads_that_wait() != 1) continue;
    OK(fw_client_close(closed, 60000, &error));
    fw_completion_free(next(2, FW_CLOSED));
    fw_completion_free(untaken);
    OK(fw_task_board_work(board, "second", FW_CSTR, 60000, &theirs, &error));
    OK(fw_task_board_assign(board, leader, -1, &count, &error));
    CHECK(count == 1);
    OK(fw_worker_take(theirs, 60000, &task, &error));
    CHECK(token < fw_assignment_token(task));
    finished(task);
    given_up(theirs);
    fw_tenure_free(dying);
    CHECK(fw_client_free(closed) == FW_OK);
}

static void what_is_no_such_operation_is_refused(void) {
    fw_op *op = NULL, *multi = NULL, *join = group_op("no slash", -1);
    CHECK(fw_op_group_join("/refused", FW_CSTR, NULL, 0, NULL, 0, NULL, -1, &op, NULL) == FW_NULL);
    fw_status nameless =
        fw_op_service_directory_register("/refused", FW_CSTR, "web", FW_CSTR, NULL, 0, NULL, 0, NULL, -1, &op, NULL);
    CHECK(nameless == FW_NULL && op == NULL);
    CHECK(fw_op_task_board_work("/refused", FW_CSTR, NULL, 0, NULL, -1, &op, NULL) == FW_NULL);
    CHECK(fw_op_worker_take(NULL, -1, &op, NULL) == FW_NULL && op == NULL);
    OK(fw_op_multi(&multi, &error));
    CHECK(fw_op_multi_add(multi, join, NULL) == FW_BAD_ARGUMENT && fw_op_fresh(join, 0, 0, NULL) == FW_BAD_ARGUMENT);
    fw_op_free(multi);
    enqueued(client, join, 0);
    fails(0, FW_BAD_PATH);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    address = arguments[1];
    client = another(), other = another();
    OK(fw_queue_new(&queue, &error));
    for (int at = 0; at < KINDS; at++) {
        about(&kinds[at], "free"), what_is_free_is_got_by_each_way();
        about(&kinds[at], "waited"), what_another_has_is_waited_for();
        about(&kinds[at], "deadline"), at_its_deadline_it_says_that_another_has_it();
        about(&kinds[at], "abandoned"), what_is_abandoned_leaves_nothing_behind();
        about(&kinds[at], "gone"), a_freed_queue_leaves_nothing_behind();
        about(&kinds[at], "closed"), a_closed_client_leaves_nothing_behind();
    }
    OK(fw_election_join(other, "/leader", FW_CSTR, NULL, 0, -1, &leader, &error));
    OK(fw_election_lead(leader, -1, &error));
    a_task_is_taken_by_each_way();
    a_task_that_nobody_took_is_its_workers_next();
    a_worker_that_ends_is_waited_for_no_more();
    only_a_workers_own_client_takes_its_tasks();
    what_a_closed_client_waited_for_goes_to_another_worker();
    what_is_no_such_operation_is_refused();
    fw_task_board_free(board);
    fw_election_free(leader);
    fw_client_free(client);
    fw_client_free(other);
    fw_queue_free(queue);
    return 0;
}
