/* Puts tasks on a board, leads those who hand them out, and works on them: tasks CONNECT PATH */
#include <farwatch.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

enum { TASKS = 5, PATIENCE_MS = 60000, HOUR_MS = 3600000 };

struct leader {
    fw_task_board *board;
    fw_election *election;
    fw_error *why; /* it hands out no more */
};

/* Returns when the leadership ends: below, where it is resigned. */
static void *lead(void *context) {
    struct leader *leader = context;
    fw_task_board_keep_assigning(leader->board, leader->election, HOUR_MS, &leader->why);
    return NULL;
}

/* On the client's own thread. */
static void on_standing(void *is_lost, fw_standing standing) {
    if (standing == FW_STANDING_LOST) atomic_store((atomic_bool *)is_lost, true);
}

static bool put(fw_task_board *board, fw_error **error) {
    for (int number = 0; number < TASKS; number++) {
        char task[16];
        int size = snprintf(task, sizeof task, "task %d", number);
        if (fw_task_board_put(board, (const uint8_t *)task, (size_t)size, FW_DEFAULT_TIMEOUT, NULL, error) != FW_OK)
            return false;
    }
    return true;
}

/* Takes tasks and does them, once each, until there have been all. */
static bool work(fw_tenure *worker, fw_snowflake *ids, fw_error **error) {
    bool works = true;
    for (int done = 0; done < TASKS && works; done++) {
        fw_assignment *task = NULL;
        uint64_t id = 0;
        works = fw_worker_take(worker, PATIENCE_MS, &task, error) == FW_OK &&
                fw_snowflake_next(ids, PATIENCE_MS, &id, error) == FW_OK;
        if (works) {
            size_t size = 0;
            const char *data = (const char *)fw_assignment_data(task, &size);
            printf("%.*s is %" PRIu64 " under token %" PRId64 "\n", (int)size, data, id, fw_assignment_token(task));
            works = fw_assignment_finish(task, FW_DEFAULT_TIMEOUT, error) == FW_OK;
        }
        fw_assignment_free(task);
    }
    return works;
}

/* Until all is done: the leader hands out on a thread of its own, and this one works. */
static bool hand_out_and_work(struct leader *leader, fw_tenure *worker, fw_snowflake *ids, fw_error **error) {
    pthread_t leading;
    if (pthread_create(&leading, NULL, lead, leader) != 0) return false;
    bool worked = put(leader->board, error) && work(worker, ids, error);
    bool resigned = fw_election_resign(leader->election, FW_DEFAULT_TIMEOUT, worked ? error : NULL) == FW_OK;
    pthread_join(leading, NULL);
    bool led = fw_error_status(leader->why) == FW_LOST; /* as it should: it was resigned */
    if (!led) fprintf(stderr, "tasks: nothing is handed out: %s\n", fw_error_text(leader->why));
    fw_error_free(leader->why);
    return worked && resigned && led;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: tasks CONNECT PATH\n");
        return 2;
    }
    char board[256], places[256], election[256];
    snprintf(board, sizeof board, "%s/board", arguments[2]);
    snprintf(places, sizeof places, "%s/ids", arguments[2]);
    snprintf(election, sizeof election, "%s/leader", arguments[2]);
    fw_config *settings = NULL;
    fw_client *client = NULL;
    fw_tenure *worker = NULL;
    fw_snowflake *ids = NULL;
    fw_result *left = NULL;
    fw_error *error = NULL;
    struct leader leader = {NULL, NULL, NULL};
    atomic_bool is_lost = false;
    int code = 1;

    if (fw_config_new(&settings, &error) == FW_OK &&
        fw_config_set(settings, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_client_open(settings, &client, &error) == FW_OK &&
        fw_task_board_new(client, board, FW_CSTR, NULL, &leader.board, &error) == FW_OK &&
        fw_task_board_work(leader.board, "this one", FW_CSTR, FW_DEFAULT_TIMEOUT, &worker, &error) == FW_OK &&
        fw_tenure_on_change(worker, on_standing, &is_lost, NULL, &error) == FW_OK &&
        fw_snowflake_open(client, places, FW_CSTR, FW_SNOWFLAKE_EPOCH_MS, NULL, PATIENCE_MS, &ids, &error) == FW_OK &&
        fw_election_join(client, election, FW_CSTR, (const uint8_t *)"this one", 8, FW_DEFAULT_TIMEOUT,
                         &leader.election, &error) == FW_OK &&
        fw_election_lead(leader.election, PATIENCE_MS, &error) == FW_OK &&
        hand_out_and_work(&leader, worker, ids, &error) &&
        fw_task_board_open_tasks(leader.board, FW_DEFAULT_TIMEOUT, &left, &error) == FW_OK) {
        printf("%zu tasks are left%s\n", fw_result_count(left), atomic_load(&is_lost) ? ", in vain" : "");
        code = fw_snowflake_close(ids, FW_DEFAULT_TIMEOUT, &error) != FW_OK ||
               fw_tenure_release(worker, FW_DEFAULT_TIMEOUT, &error) != FW_OK;
    }
    if (error) fprintf(stderr, "tasks: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_result_free(left);
    fw_snowflake_free(ids);
    fw_election_free(leader.election);
    fw_tenure_free(worker);
    fw_task_board_free(leader.board);
    fw_client_free(client);
    fw_config_free(settings);
    return code;
}
