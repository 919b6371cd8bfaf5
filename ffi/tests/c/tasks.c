/* Tasks: done once each, handed on when a worker ends, handed out by who leads and by nobody else. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

#define TASKS 12
#define WORKERS 3

static atomic_int done;

static fw_task_board *board_of(fw_client *client, const char *path) {
    fw_task_board *board = NULL;
    OK(fw_task_board_new(client, path, FW_CSTR, NULL, &board, &error));
    return board;
}

static fw_tenure *worker_of(fw_task_board *board, const char *name) {
    fw_tenure *worker = NULL;
    OK(fw_task_board_work(board, name, FW_CSTR, -1, &worker, &error));
    return worker;
}

static fw_election *leader_of(fw_client *client) {
    fw_election *election = NULL;
    OK(fw_election_join(client, "/leader", FW_CSTR, NULL, 0, -1, &election, &error));
    OK(fw_election_lead(election, -1, &error));
    return election;
}

static size_t open_tasks(fw_task_board *board) {
    fw_result *names = NULL;
    OK(fw_task_board_open_tasks(board, -1, &names, &error));
    size_t count = fw_result_count(names);
    fw_result_free(names);
    return count;
}

static void *work(void *worker) {
    for (int i = 0; i < TASKS / WORKERS; i++) {
        fw_assignment *assignment = NULL;
        size_t size = 0;
        OK(fw_worker_take(worker, 60000, &assignment, &error));
        CHECK(strncmp(fw_assignment_task(assignment, &size), "task-", 5) == 0 && size == 15);
        const uint8_t *data = fw_assignment_data(assignment, &size);
        CHECK(size == 1 && *data < TASKS && fw_assignment_token(assignment) > 0);
        done |= 1 << *data;
        CHECK(fw_assignment_finish(assignment, 0, NULL) == FW_TIMEOUT);
        OK(fw_assignment_finish(assignment, -1, &error));
        CHECK(fw_assignment_finish(assignment, -1, NULL) == FW_LOST);
        CHECK(fw_assignment_free(assignment) == FW_OK);
    }
    return NULL;
}

static void every_task_is_done_once(fw_client *client) {
    fw_task_board *board = board_of(client, "/board");
    fw_election *election = leader_of(client), *candidate = NULL;
    fw_tenure *workers[WORKERS];
    const char *const names[WORKERS] = {"a", "b", "c"};
    pthread_t threads[WORKERS];
    int64_t last = 0, token = 0;
    size_t count = 0;
    for (uint8_t i = 0; i < TASKS; i++, last = token) {
        OK(fw_task_board_put(board, &i, 1, -1, &token, &error));
        CHECK(token > last);
    }
    for (int i = 0; i < WORKERS; i++) workers[i] = worker_of(board, names[i]);
    /* Who is in line hands out nothing. */
    OK(fw_election_join(client, "/leader", FW_CSTR, NULL, 0, -1, &candidate, &error));
    CHECK(fw_task_board_assign(board, candidate, -1, &count, NULL) == FW_TAKEN && count == 0);
    CHECK(fw_task_board_keep_assigning(board, candidate, -1, NULL) == FW_TAKEN);
    OK(fw_election_resign(candidate, -1, &error));
    CHECK(fw_task_board_assign(board, candidate, -1, &count, NULL) == FW_LOST);
    OK(fw_task_board_assign(board, election, -1, &count, &error));
    CHECK(count == TASKS && open_tasks(board) == TASKS);
    for (int i = 0; i < WORKERS; i++) pthread_create(&threads[i], NULL, work, workers[i]);
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    CHECK(done == (1 << TASKS) - 1 && open_tasks(board) == 0);
    CHECK(fw_task_board_keep_assigning(board, election, 100, NULL) == FW_TIMEOUT);
    for (int i = 0; i < WORKERS; i++) CHECK(fw_tenure_free(workers[i]) == FW_OK);
    fw_election_free(election), fw_election_free(candidate);
    fw_task_board_free(board);
}

struct leader {
    fw_task_board *board;
    fw_election *election;
};

static void *assign_until_lost(void *context) {
    struct leader *leader = context;
    CHECK(fw_task_board_keep_assigning(leader->board, leader->election, 60000, NULL) == FW_LOST);
    return NULL;
}

static void *wait_until_lost(void *worker) {
    fw_assignment *none = NULL;
    CHECK(fw_worker_take(worker, 60000, &none, NULL) == FW_LOST && none == NULL);
    return NULL;
}

static void what_the_dead_had_goes_to_others(fw_client *client, const char *connect) {
    fw_client *dying = opened(connect);
    fw_task_board *board = board_of(client, "/handed"), *same = board_of(dying, "/handed");
    fw_tenure *first = worker_of(same, "first"), *second = NULL;
    struct leader leader = {board, leader_of(client)};
    fw_assignment *early = NULL, *late = NULL;
    pthread_t assigning, waiting;
    OK(fw_task_board_put(board, NULL, 0, -1, NULL, &error));
    pthread_create(&assigning, NULL, assign_until_lost, &leader);
    OK(fw_worker_take(first, 60000, &early, &error));
    OK(fw_client_close(dying, -1, &error));
    CHECK(fw_tenure_check(first, NULL, NULL) == FW_LOST);
    CHECK(fw_worker_take(first, -1, &late, NULL) != FW_OK);
    second = worker_of(board, "second");
    OK(fw_worker_take(second, 60000, &late, &error));
    CHECK(fw_assignment_token(late) > fw_assignment_token(early));
    CHECK(strcmp(fw_assignment_task(late, NULL), fw_assignment_task(early, NULL)) == 0);
    CHECK(fw_assignment_finish(early, -1, NULL) != FW_OK && open_tasks(board) == 1);
    OK(fw_assignment_finish(late, -1, &error));
    CHECK(open_tasks(board) == 0);
    /* Who waits with what another thread gives up is told. */
    pthread_create(&waiting, NULL, wait_until_lost, second);
    OK(fw_tenure_release(second, -1, &error));
    OK(fw_election_resign(leader.election, -1, &error));
    pthread_join(waiting, NULL), pthread_join(assigning, NULL);
    fw_assignment_free(early), fw_assignment_free(late);
    fw_tenure_free(first), fw_tenure_free(second);
    fw_election_free(leader.election);
    fw_task_board_free(board), fw_task_board_free(same);
    fw_client_free(dying);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_client *client = opened(arguments[1]);
    every_task_is_done_once(client);
    what_the_dead_had_goes_to_others(client, arguments[1]);
    fw_client_free(client);
    return 0;
}
