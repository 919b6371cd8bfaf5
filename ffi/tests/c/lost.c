/* A session that holds everything there is to hold is cut off and expires. The program says how far it is,
 * and the test cuts its connection meanwhile: lost CONNECT-THROUGH-THE-TEST CONNECT */
#include "check.h"
#include <pthread.h>

enum { PERMIT, INSIDE, MEMBER, SERVICE, WORKER_ID, WORKER, KINDS };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int told[KINDS][3];

static void on_change(void *context, fw_standing standing) {
    pthread_mutex_lock(&lock);
    ((int *)context)[standing]++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

/* Waits until each was told so, once. */
static void await(fw_standing standing) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < KINDS; i++) {
        while (told[i][standing] == 0) pthread_cond_wait(&changed, &lock);
        CHECK(told[i][standing] == 1);
    }
    pthread_mutex_unlock(&lock);
}

/* One of each, in the session of `client`. */
static void hold(fw_client *client, fw_tenure **held) {
    fw_semaphore *semaphore = NULL;
    fw_double_barrier *barrier = NULL;
    fw_group *group = NULL;
    fw_service_directory *directory = NULL;
    fw_worker_ids *ids = NULL;
    fw_task_board *board = NULL;
    OK(fw_semaphore_new(client, "/semaphore", FW_CSTR, 1, NULL, &semaphore, &error));
    OK(fw_semaphore_acquire(semaphore, 60000, &held[PERMIT], &error));
    OK(fw_double_barrier_new(client, "/meeting", FW_CSTR, 1, NULL, &barrier, &error));
    OK(fw_double_barrier_enter(barrier, 60000, &held[INSIDE], &error));
    OK(fw_group_new(client, "/group", FW_CSTR, NULL, &group, &error));
    OK(fw_group_join(group, "me", 2, NULL, 0, 60000, &held[MEMBER], &error));
    OK(fw_service_directory_new(client, "/services", FW_CSTR, NULL, &directory, &error));
    OK(fw_service_directory_register(directory, "web", 3, "me", 2, NULL, 0, 60000, &held[SERVICE],
                                     &error));
    OK(fw_worker_ids_new(client, "/ids", FW_CSTR, 1, NULL, &ids, &error));
    OK(fw_worker_ids_claim(ids, 60000, &held[WORKER_ID], &error));
    CHECK(fw_tenure_worker_id(held[WORKER_ID]) == 0);
    OK(fw_task_board_new(client, "/board", FW_CSTR, NULL, &board, &error));
    OK(fw_task_board_work(board, "me", 2, 60000, &held[WORKER], &error));
    fw_semaphore_free(semaphore), fw_double_barrier_free(barrier), fw_group_free(group);
    fw_service_directory_free(directory), fw_worker_ids_free(ids), fw_task_board_free(board);
}

/* What the session that expires was asked for meanwhile. The client lives: whatever fails may be repeated. */
static fw_client *asked;

static bool is_done(fw_status status, fw_error *error) {
    if (status == FW_OK) return true;
    CHECK(status == FW_SESSION_EXPIRED || status == FW_LOST || status == FW_CONNECTION_LOSS);
    CHECK(fw_error_status(error) == status && fw_error_retriable(error) && !fw_error_fatal(error));
    fw_error_free(error);
    return false;
}

/* The call until it is done, of which each try may fail once for the connection and once for the session. */
#define ASK(call)                                                                                  \
    for (int tries = 0;; tries++) {                                                                \
        fw_error *error = NULL;                                                                    \
        CHECK(tries < 20);                                                                         \
        fw_status status = (call);                                                                 \
        if (is_done(status, error)) break;                                                         \
    }

static void *add_one(void *counter) {
    ASK(fw_counter_add(counter, 1, 60000, NULL, NULL, &error));
    return NULL;
}

static void *acquire(void *acquired) {
    ASK(fw_lock_acquire(asked, "/lock", FW_CSTR, 60000, acquired, &error));
    return NULL;
}

static void ignore(void *context, const fw_event *event) { (void)context, (void)event; }

static void *watch(void *watched) {
    ASK(fw_client_watch(asked, "/config", FW_CSTR, FW_WATCH_PERSISTENT, ignore, NULL, NULL, 60000, watched,
                        &error));
    return NULL;
}

static void *stand(void *election) {
    ASK(fw_election_join(asked, "/stand", FW_CSTR, NULL, 0, 60000, election, &error));
    return NULL;
}

static void *put(void *fifo) {
    ASK(fw_fifo_put(fifo, NULL, 0, 60000, NULL, &error));
    return NULL;
}

static void say(const char *text) {
    puts(text);
    fflush(stdout);
}

static fw_client *short_lived(const char *connect) {
    fw_config *config = configured(connect);
    fw_client *client = NULL;
    OK(fw_config_set_bool(config, "renewExpired", FW_CSTR, true, &error));
    OK(fw_config_set_number(config, "sessionTimeout", FW_CSTR, 2000, &error));
    OK(fw_client_open(config, &client, &error));
    fw_config_free(config);
    return client;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    fw_client *cut = short_lived(arguments[1]), *other = opened(arguments[2]);
    fw_tenure *held[KINDS] = {NULL}, *taken[KINDS] = {NULL};
    fw_snowflake *flake = NULL;
    fw_followed *cell = NULL;
    fw_result *value = NULL;
    uint64_t id = 0, seen = 0;
    hold(cut, held);
    OK(fw_snowflake_open(cut, "/flakes", FW_CSTR, 0, NULL, -1, &flake, &error));
    OK(fw_snowflake_next(flake, -1, &id, &error));
    OK(fw_config_cell_open(cut, "/config", FW_CSTR, NULL, &cell, &error));
    OK(fw_followed_wait_beyond(cell, 0, -1, &seen, &error));
    for (int i = 0; i < KINDS; i++) {
        OK(fw_tenure_on_change(held[i], on_change, told[i], NULL, &error));
        OK(fw_tenure_check(held[i], NULL, &error));
    }
    say("held");

    await(FW_STANDING_SUSPENDED);
    CHECK(!fw_followed_is_current(cell));
    /* Whoever asks stops before somebody else can begin. */
    for (int i = 0; i < KINDS; i++) {
        while (fw_tenure_check(held[i], NULL, NULL) == FW_OK) continue;
        CHECK(fw_tenure_check(held[i], NULL, NULL) == FW_LEASE_OVER);
        CHECK(fw_tenure_lease_ms(held[i]) == 0);
        CHECK(fw_tenure_standing(held[i]) == FW_STANDING_SUSPENDED && told[i][FW_STANDING_LOST] == 0);
    }
    while (fw_snowflake_check(flake, NULL, NULL) == FW_OK) continue;
    CHECK(fw_snowflake_check(flake, NULL, NULL) == FW_LEASE_OVER && fw_snowflake_lease_ms(flake) == 0);
    CHECK(fw_snowflake_standing(flake) == FW_STANDING_SUSPENDED && fw_snowflake_token(flake) > 0);
    hold(other, taken);
    for (int i = 0; i < KINDS; i++) CHECK(fw_tenure_token(taken[i]) > fw_tenure_token(held[i]));
    OK(fw_client_create(other, "/config", FW_CSTR, NULL, 0, 0, -1, NULL, &error));
    enum { ASKERS = 5 };
    pthread_t askers[ASKERS];
    fw_counter *counter = NULL;
    fw_lock *line = NULL;
    fw_watch *watched = NULL;
    fw_election *election = NULL;
    fw_fifo *fifo = NULL;
    asked = cut;
    OK(fw_counter_new(cut, "/counter", FW_CSTR, NULL, &counter, &error));
    OK(fw_fifo_new(cut, "/fifo", FW_CSTR, NULL, &fifo, &error));
    CHECK(pthread_create(&askers[0], NULL, add_one, counter) == 0);
    CHECK(pthread_create(&askers[1], NULL, acquire, &line) == 0);
    CHECK(pthread_create(&askers[2], NULL, watch, &watched) == 0);
    CHECK(pthread_create(&askers[3], NULL, stand, &election) == 0);
    CHECK(pthread_create(&askers[4], NULL, put, fifo) == 0);
    /* Until they wait, mostly: who comes later asks the next session. */
    OK(fw_client_sync(other, "/", 1, -1, &error));
    say("passed on");

    await(FW_STANDING_LOST);
    OK(fw_client_wait_connected(cut, 60000, &error)); /* by a new session */
    for (int i = 0; i < ASKERS; i++) CHECK(pthread_join(askers[i], NULL) == 0);
    CHECK(fw_lock_token(line) > 0 && fw_election_token(election) > 0);
    fw_lock_free(line), fw_watch_free(watched), fw_election_free(election);
    fw_counter_free(counter), fw_fifo_free(fifo);
    fw_assignment *none = NULL;
    CHECK(fw_worker_take(held[WORKER], -1, &none, NULL) == FW_LOST);
    CHECK(fw_snowflake_try_next(flake, &id, NULL) == FW_LOST);
    CHECK(fw_snowflake_check(flake, NULL, NULL) == FW_LOST && fw_snowflake_standing(flake) == FW_STANDING_LOST);
    for (int i = 0; i < KINDS; i++) {
        CHECK(fw_tenure_check(held[i], NULL, NULL) == FW_LOST);
        CHECK(fw_tenure_release(held[i], -1, NULL) == FW_LOST);
        CHECK(fw_tenure_free(held[i]) == FW_OK);
        OK(fw_tenure_check(taken[i], NULL, &error)); /* of which nothing was taken along */
    }
    /* What is followed goes on in the new session. */
    OK(fw_followed_wait_beyond(cell, seen, 60000, &seen, &error));
    OK(fw_followed_get(cell, &value, &error));
    CHECK(fw_result_version(value) == 0 && fw_result_data(value, NULL) != NULL);
    for (int i = 0; i < KINDS; i++) OK(fw_tenure_release(taken[i], -1, &error));
    hold(cut, held);
    for (int i = 0; i < KINDS; i++) {
        CHECK(fw_tenure_token(held[i]) > 0 && fw_tenure_free(held[i]) == FW_OK);
        CHECK(fw_tenure_free(taken[i]) == FW_OK && told[i][FW_STANDING_LOST] == 1);
    }
    fw_result_free(value), fw_followed_free(cell), fw_snowflake_free(flake);
    fw_client_free(cut), fw_client_free(other);
    say("done");
    return 0;
}
