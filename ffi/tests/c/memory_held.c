/* What is held, by locks, elections and recipes, without threads and without memory. Argument: whom to connect
 * to. */
#include "scarce.h"

static fw_client *client;

static const uint8_t *const me = (const uint8_t *)"me";

static void on_change(void *given, fw_standing standing) { (void)given, (void)standing; }

static void drop(fw_result **result) { fw_result_free(*result), *result = NULL; }

static void give_back(fw_lock **lock) {
    SCARCE(fw_lock_check(*lock, NULL, &error));
    SCARCE(fw_lock_on_change(*lock, on_change, context(), destroy, &error));
    SCARCE(fw_lock_release(*lock, 20000, &error));
    SCARCE(fw_lock_free(*lock));
    *lock = NULL;
}

static void locks(void) {
    fw_lock *lock = NULL;
    SCARCE(fw_lock_acquire(client, "/lock", FW_CSTR, 20000, &lock, &error));
    give_back(&lock);
    SCARCE(fw_lock_try(client, "/lock", FW_CSTR, 20000, 20000, &lock, &error));
    give_back(&lock);
    SCARCE(fw_lock_read(client, "/shared", FW_CSTR, 20000, &lock, &error));
    give_back(&lock);
    SCARCE(fw_lock_write(client, "/shared", FW_CSTR, 20000, &lock, &error));
    SCARCE(fw_lock_free(lock)); /* which releases it in the background */
    each_context_was_destroyed();
}

static void elections(void) {
    fw_election *election = NULL;
    fw_followed *leader = NULL;
    fw_result *who = NULL;
    SCARCE(fw_election_follow(client, "/election", FW_CSTR, &leader, &error));
    SCARCE(fw_election_join(client, "/election", FW_CSTR, me, 2, 20000, &election, &error));
    SCARCE(fw_election_lead(election, 20000, &error));
    SCARCE(fw_election_check(election, NULL, &error));
    SCARCE(fw_election_on_change(election, on_change, context(), destroy, &error));
    SCARCE(fw_election_leader(election, 20000, &who, &error));
    drop(&who);
    SCARCE(fw_election_resign(election, 20000, &error));
    SCARCE(fw_election_free(election));
    SCARCE(fw_followed_free(leader));
    each_context_was_destroyed();
}

static void give_up(fw_tenure *tenure) {
    SCARCE(fw_tenure_check(tenure, NULL, &error));
    SCARCE(fw_tenure_on_change(tenure, on_change, context(), destroy, &error));
    SCARCE(fw_tenure_release(tenure, 20000, &error));
    SCARCE(fw_tenure_free(tenure));
}

static void selectors(void) {
    fw_selector *selector = NULL;
    fw_tenure *leadership = NULL;
    fw_result *leader = NULL;
    SCARCE(fw_selector_new(client, "/selector", FW_CSTR, me, 2, NULL, &selector, &error));
    SCARCE(fw_selector_lead(selector, 20000, &leadership, &leader, &error));
    CHECK(leadership != NULL);
    drop(&leader);
    SCARCE(fw_selector_leader(selector, 20000, &leader, &error));
    drop(&leader);
    give_up(leadership);
    SCARCE(fw_selector_free(selector));
    each_context_was_destroyed();
}

static void permits(void) {
    fw_semaphore *semaphore = NULL;
    fw_tenure *permit = NULL;
    SCARCE(fw_semaphore_new(client, "/semaphore", FW_CSTR, 2, NULL, &semaphore, &error));
    SCARCE(fw_semaphore_acquire(semaphore, 20000, &permit, &error));
    give_up(permit);
    SCARCE(fw_semaphore_free(semaphore));
}

static void meetings(void) {
    fw_double_barrier *barrier = NULL;
    fw_tenure *inside = NULL;
    SCARCE(fw_double_barrier_new(client, "/meeting", FW_CSTR, 1, NULL, &barrier, &error));
    SCARCE(fw_double_barrier_enter(barrier, 20000, &inside, &error));
    give_up(inside);
    SCARCE(fw_double_barrier_free(barrier));
}

static void groups(void) {
    fw_group *group = NULL;
    fw_followed *members = NULL;
    fw_tenure *membership = NULL;
    SCARCE(fw_group_new(client, "/group", FW_CSTR, NULL, &group, &error));
    SCARCE(fw_group_follow(group, &members, &error));
    SCARCE(fw_group_join(group, "name", FW_CSTR, me, 2, 20000, &membership, &error));
    give_up(membership);
    SCARCE(fw_followed_free(members));
    SCARCE(fw_group_free(group));
}

static void services(void) {
    fw_service_directory *services = NULL;
    fw_followed *instances = NULL;
    fw_tenure *offer = NULL;
    SCARCE(fw_service_directory_new(client, "/services", FW_CSTR, NULL, &services, &error));
    SCARCE(fw_service_directory_follow(services, "web", FW_CSTR, &instances, &error));
    SCARCE(fw_service_directory_register(services, "web", FW_CSTR, "a", FW_CSTR, me, 2, 20000, &offer, &error));
    give_up(offer);
    SCARCE(fw_followed_free(instances));
    SCARCE(fw_service_directory_free(services));
}

static void worker_ids(void) {
    fw_worker_ids *ids = NULL;
    fw_tenure *id = NULL;
    SCARCE(fw_worker_ids_new(client, "/ids", FW_CSTR, 16, NULL, &ids, &error));
    SCARCE(fw_worker_ids_claim(ids, 20000, &id, &error));
    give_up(id);
    SCARCE(fw_worker_ids_free(ids));
}

static void tasks(void) {
    fw_task_board *board = NULL;
    fw_tenure *worker = NULL;
    fw_election *leader = NULL;
    fw_assignment *task = NULL;
    fw_result *names = NULL;
    OK(fw_election_join(client, "/foreman", FW_CSTR, me, 2, 20000, &leader, &error));
    OK(fw_election_lead(leader, 20000, &error));
    SCARCE(fw_task_board_new(client, "/board", FW_CSTR, NULL, &board, &error));
    SCARCE(fw_task_board_put(board, me, 2, 20000, NULL, &error));
    SCARCE(fw_task_board_open_tasks(board, 20000, &names, &error));
    CHECK(fw_result_count(names) == 1);
    drop(&names);
    SCARCE(fw_task_board_work(board, "worker", FW_CSTR, 20000, &worker, &error));
    SCARCE(fw_task_board_assign(board, leader, 20000, NULL, &error));
    SCARCE(fw_worker_take(worker, 20000, &task, &error));
    SCARCE(fw_assignment_finish(task, 20000, &error));
    SCARCE(fw_assignment_free(task));
    SCARCE_UNTIL(FW_TIMEOUT, fw_task_board_keep_assigning(board, leader, 20, &error));
    give_up(worker);
    SCARCE(fw_task_board_free(board));
    OK(fw_election_resign(leader, 20000, &error));
    fw_election_free(leader);
}

static atomic_int reached;

static void on_reached(void *given, fw_status status, fw_result *result, fw_error *why) {
    (void)given;
    CHECK(status == FW_OK && why == NULL);
    fw_result_free(result);
    reached++;
}

/* The result of what was enqueued by the call before. */
static fw_completion *next(fw_queue *queue, fw_op **op) {
    fw_completion *completion = NULL;
    OK(fw_queue_next(queue, 60000, &completion, &error));
    CHECK(fw_completion_status(completion) == FW_OK);
    fw_op_free(*op), *op = NULL;
    return completion;
}

static void waits(void) {
    fw_queue *queue = NULL;
    fw_op *op = NULL;
    fw_completion *completion;
    fw_lock *lock = NULL;
    fw_tenure *permit = NULL;
    fw_election *election = NULL;
    OK(fw_queue_new(&queue, &error));
    SCARCE(fw_op_lock_acquire("/waited", FW_CSTR, 20000, &op, &error));
    SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
    completion = next(queue, &op);
    SCARCE(fw_result_lock(fw_completion_result(completion), &lock, &error));
    fw_completion_free(completion);
    give_back(&lock);
    SCARCE(fw_op_semaphore_acquire("/permits", FW_CSTR, 1, NULL, 20000, &op, &error));
    SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
    completion = next(queue, &op);
    SCARCE(fw_result_tenure(fw_completion_result(completion), &permit, &error));
    fw_completion_free(completion);
    give_up(permit);
    SCARCE(fw_op_election_lead("/led", FW_CSTR, me, 2, 20000, &op, &error));
    SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
    completion = next(queue, &op);
    SCARCE(fw_result_election(fw_completion_result(completion), &election, &error));
    fw_completion_free(completion);
    SCARCE(fw_election_free(election));
    SCARCE(fw_op_barrier_wait("/free", FW_CSTR, 20000, &op, &error));
    int before = reached;
    SCARCE(fw_client_submit(client, op, on_reached, context(), destroy, NULL, &error));
    each_context_was_destroyed();
    CHECK(reached == before + 1);
    fw_op_free(op);
    fw_queue_free(queue);
}

static void takes(void) {
    fw_queue *queue = NULL;
    fw_op *op = NULL;
    fw_completion *completion;
    fw_task_board *board = NULL;
    fw_tenure *worker = NULL, *leadership = NULL;
    fw_election *leader = NULL;
    fw_assignment *task = NULL;
    OK(fw_queue_new(&queue, &error));
    OK(fw_election_join(client, "/foreman", FW_CSTR, me, 2, 20000, &leader, &error));
    OK(fw_election_lead(leader, 20000, &error));
    OK(fw_task_board_new(client, "/taken", FW_CSTR, NULL, &board, &error));
    OK(fw_task_board_put(board, me, 2, 20000, NULL, &error));
    SCARCE(fw_op_task_board_work("/taken", FW_CSTR, "worker", FW_CSTR, NULL, 20000, &op, &error));
    SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
    completion = next(queue, &op);
    SCARCE(fw_result_tenure(fw_completion_result(completion), &worker, &error));
    fw_completion_free(completion);
    OK(fw_task_board_assign(board, leader, 20000, NULL, &error));
    SCARCE(fw_op_worker_take(worker, 20000, &op, &error));
    for (int round = 0; round < 2; round++) { /* of the first result nobody takes it */
        SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
        OK(fw_queue_next(queue, 60000, &completion, &error));
        CHECK(fw_completion_status(completion) == FW_OK);
        if (round == 1) SCARCE(fw_result_assignment(fw_completion_result(completion), &task, &error));
        fw_completion_free(completion);
    }
    fw_op_free(op), op = NULL;
    OK(fw_assignment_finish(task, 20000, &error));
    fw_assignment_free(task);
    give_up(worker);
    SCARCE(fw_op_selector_lead("/round", FW_CSTR, me, 2, NULL, 20000, &op, &error));
    SCARCE(fw_client_enqueue(client, op, queue, NULL, NULL, &error));
    completion = next(queue, &op);
    SCARCE(fw_result_tenure(fw_completion_result(completion), &leadership, &error));
    fw_completion_free(completion);
    give_up(leadership);
    OK(fw_election_resign(leader, 20000, &error));
    fw_election_free(leader);
    fw_task_board_free(board);
    fw_queue_free(queue);
}

/* Those of which nothing but the operation itself is made. */
static void operations(void) {
    fw_op *op = NULL;
    SCARCE(fw_op_lock_read("/shared", FW_CSTR, 0, &op, &error));
    fw_op_free(op);
    SCARCE(fw_op_lock_write("/shared", FW_CSTR, 0, &op, &error));
    fw_op_free(op);
    SCARCE(fw_op_fifo_take("/fifo", FW_CSTR, NULL, 0, &op, &error));
    fw_op_free(op);
    SCARCE(fw_op_double_barrier_enter("/meeting", FW_CSTR, 1, NULL, 0, &op, &error));
    fw_op_free(op);
    SCARCE(fw_op_worker_ids_claim("/ids", FW_CSTR, 1, NULL, 0, &op, &error));
    fw_op_free(op);
    SCARCE(fw_op_group_join("/group", FW_CSTR, "name", FW_CSTR, me, 2, NULL, 0, &op, &error));
    fw_op_free(op);
    SCARCE(fw_op_service_directory_register("/services", FW_CSTR, "web", FW_CSTR, "a", FW_CSTR, me, 2, NULL, 0, &op,
                                            &error));
    fw_op_free(op);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    find_library();
    client = opened(arguments[1]);
    tell("locks", locks);
    tell("elections", elections);
    tell("selectors", selectors);
    tell("permits", permits);
    tell("meetings", meetings);
    tell("groups", groups);
    tell("services", services);
    tell("worker ids", worker_ids);
    tell("tasks", tasks);
    tell("operations", operations);
    tell("waits", waits);
    tell("takes", takes);
    each_context_was_destroyed();
    fw_client_free(client);
    say_functions();
    return 0;
}
