/* What is followed: who leads, who is there, what is configured; and what callbacks may not do. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int destroyed;

static void destroy(void *context) {
    (void)context;
    destroyed++;
}

/* Waits for a state in which it is so, by revisions. */
#define AWAIT(followed, state, condition)                                                          \
    do {                                                                                           \
        uint64_t seen = 0;                                                                         \
        for (;;) {                                                                                 \
            OK(fw_followed_wait_beyond(followed, seen, 60000, &seen, &error));                     \
            OK(fw_followed_get(followed, &state, &error));                                         \
            if (condition) break;                                                                  \
            fw_result_free(state);                                                                 \
        }                                                                                          \
        CHECK(fw_followed_revision(followed) >= seen && fw_followed_is_current(followed));         \
    } while (0)

static bool holds(const fw_result *state, const char *data) {
    size_t size = 0;
    const uint8_t *found = fw_result_data(state, &size);
    if (data == NULL) return found == NULL;
    return found != NULL && size == strlen(data) && memcmp(found, data, size) == 0;
}

static void leaders(fw_client *one, fw_client *two) {
    fw_followed *view = NULL;
    fw_election *first = NULL, *second = NULL;
    fw_result *state = NULL, *picked = NULL;
    OK(fw_election_follow(two, "/leader", FW_CSTR, &view, &error));
    AWAIT(view, state, holds(state, NULL) && fw_result_number(state) == 0);
    fw_result_free(state);
    OK(fw_election_join(one, "/leader", FW_CSTR, (const uint8_t *)"one", 3, -1, &first, &error));
    AWAIT(view, state, holds(state, "one"));
    CHECK(fw_result_number(state) == fw_election_token(first));
    fw_result_free(state);
    OK(fw_election_join(two, "/leader", FW_CSTR, (const uint8_t *)"two", 3, -1, &second, &error));
    OK(fw_election_resign(first, -1, &error));
    AWAIT(view, state, holds(state, "two"));
    CHECK(fw_result_number(state) == fw_election_token(second));
    fw_result_free(state);
    CHECK(fw_followed_pick(view, &picked, NULL) == FW_BAD_ARGUMENT && picked == NULL);
    CHECK(fw_config_cell_set(view, NULL, 0, -1, -1, NULL, NULL) == FW_BAD_ARGUMENT);
    uint64_t seen = fw_followed_revision(view);
    CHECK(fw_followed_wait_beyond(view, seen, 100, &seen, NULL) == FW_TIMEOUT);
    fw_election_free(first), fw_election_free(second);
    CHECK(fw_followed_free(view) == FW_OK);
}

static void is_member(const fw_result *member, const char *name, const char *data, int64_t token) {
    CHECK(strcmp(fw_result_name(member, 0, NULL), name) == 0 && holds(member, data));
    CHECK(fw_result_number(member) == token && fw_result_version(member) == -1);
}

static void services(fw_client *one, fw_client *two) {
    fw_service_directory *here = NULL, *there = NULL;
    fw_followed *web = NULL, *group_of_web = NULL;
    fw_group *group = NULL;
    fw_tenure *a = NULL, *b = NULL;
    fw_result *state = NULL, *picked = NULL;
    OK(fw_service_directory_new(one, "/services", FW_CSTR, NULL, &here, &error));
    OK(fw_service_directory_new(two, "/services", FW_CSTR, NULL, &there, &error));
    OK(fw_service_directory_follow(there, "web", FW_CSTR, &web, &error));
    AWAIT(web, state, fw_result_count(state) == 0);
    fw_result_free(state);
    CHECK(fw_followed_pick(web, &picked, NULL) == FW_NO_NODE && picked == NULL);
    OK(fw_service_directory_register(here, "web", 3, "b", 1, (const uint8_t *)"B", 1, -1, &b, &error));
    OK(fw_service_directory_register(here, "web", 3, "a", 1, (const uint8_t *)"A", 1, -1, &a, &error));
    AWAIT(web, state, fw_result_count(state) == 2);
    is_member(fw_result_part(state, 0), "a", "A", fw_tenure_token(a));
    is_member(fw_result_part(state, 1), "b", "B", fw_tenure_token(b));
    fw_result_free(state);
    int picks[2] = {0, 0};
    for (int i = 0; i < 10; i++) {
        OK(fw_followed_pick(web, &picked, &error));
        picks[holds(picked, "A")]++;
        fw_result_free(picked);
    }
    CHECK(picks[0] == 5 && picks[1] == 5);
    /* A service is a group; and what is followed outlives the recipe. */
    OK(fw_group_new(two, "/services/web", FW_CSTR, NULL, &group, &error));
    OK(fw_group_follow(group, &group_of_web, &error));
    fw_group_free(group), fw_service_directory_free(there);
    OK(fw_tenure_release(a, -1, &error));
    AWAIT(web, state, fw_result_count(state) == 1);
    fw_result_free(state);
    AWAIT(group_of_web, state, fw_result_count(state) == 1);
    is_member(fw_result_part(state, 0), "b", "B", fw_tenure_token(b));
    fw_result_free(state);
    fw_tenure_free(a), fw_tenure_free(b), fw_service_directory_free(here);
    fw_followed_free(web), fw_followed_free(group_of_web);
}

struct told {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char data[16];
    int32_t version;
    int calls;
};

static void on_state(void *context, const fw_result *state) {
    struct told *told = context;
    size_t size = 0;
    const char *data = (const char *)fw_result_data(state, &size);
    pthread_mutex_lock(&told->lock);
    snprintf(told->data, sizeof told->data, "%.*s", (int)size, data == NULL ? "" : data);
    told->version = fw_result_version(state);
    told->calls++;
    pthread_cond_signal(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static void await_told(struct told *told, const char *data, int32_t version) {
    pthread_mutex_lock(&told->lock);
    while (strcmp(told->data, data) != 0) pthread_cond_wait(&told->changed, &told->lock);
    CHECK(told->version == version);
    pthread_mutex_unlock(&told->lock);
}

static void set(fw_followed *cell, const char *text, int32_t version, fw_status expected) {
    const uint8_t *data = (const uint8_t *)text;
    int64_t token = 0;
    CHECK(fw_config_cell_set(cell, data, strlen(text), version, -1, &token, NULL) == expected);
    CHECK((token > 0) == (expected == FW_OK));
}

static void cells(fw_client *one, fw_client *two) {
    fw_followed *cell = NULL, *same = NULL;
    fw_result *state = NULL;
    struct told told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", 0, 0};
    OK(fw_config_cell_open(one, "/config/web", FW_CSTR, NULL, &cell, &error));
    OK(fw_config_cell_open(two, "/config/web", FW_CSTR, NULL, &same, &error));
    destroyed = 0;
    CHECK(fw_followed_on_change(same, NULL, NULL, destroy, NULL) == FW_NULL && destroyed == 1);
    OK(fw_followed_on_change(same, on_state, &told, destroy, &error));
    AWAIT(cell, state, holds(state, NULL) && fw_result_version(state) == -1);
    fw_result_free(state);
    set(cell, "none yet", 0, FW_BAD_VERSION);
    set(cell, "first", FW_ANY_VERSION, FW_OK);
    await_told(&told, "first", 0);
    set(same, "second", 0, FW_OK);
    AWAIT(cell, state, holds(state, "second") && fw_result_version(state) == 1);
    CHECK(fw_result_number(state) > 0);
    fw_result_free(state);
    set(cell, "too late", 0, FW_BAD_VERSION);
    await_told(&told, "second", 1);
    CHECK(fw_followed_free(same) == FW_OK);
    while (destroyed == 1) OK(fw_client_sync(two, "/", 1, -1, &error)); /* by the thread that called */
    CHECK(destroyed == 2);
    int calls = told.calls;
    set(cell, "unseen", FW_ANY_VERSION, FW_OK);
    AWAIT(cell, state, holds(state, "unseen"));
    fw_result_free(state);
    CHECK(told.calls == calls); /* nothing is told once it is freed */
    OK(fw_client_delete(one, "/config/web", FW_CSTR, FW_ANY_VERSION, -1, &error));
    AWAIT(cell, state, holds(state, NULL));
    fw_result_free(state), fw_followed_free(cell);
}

static struct {
    fw_client *client;
    fw_semaphore *semaphore;
    fw_barrier *barrier;
    fw_double_barrier *meeting;
    fw_fifo *fifo;
    fw_counter *counter;
    fw_group *group;
    fw_service_directory *directory;
    fw_worker_ids *ids;
    fw_snowflake *flake;
    fw_selector *selector;
    fw_task_board *board;
    fw_election *election;
    fw_tenure *worker;
    fw_assignment *assignment;
    fw_followed *cell;
    atomic_int refused;
} all;

#define REFUSED(call) CHECK((call) == FW_IN_CALLBACK)

/* Everything that blocks is refused here, and everything else works; so does freeing. */
static void inside(void *context, const fw_result *state) {
    (void)context, (void)state;
    fw_tenure *held = NULL;
    fw_result *result = NULL;
    fw_assignment *assignment = NULL;
    fw_snowflake *flake = NULL;
    int64_t value = 0;
    uint64_t id = 0;
    REFUSED(fw_semaphore_acquire(all.semaphore, -1, &held, NULL));
    REFUSED(fw_barrier_set(all.barrier, -1, NULL, NULL));
    REFUSED(fw_barrier_lift(all.barrier, -1, NULL));
    REFUSED(fw_barrier_wait(all.barrier, -1, NULL));
    REFUSED(fw_double_barrier_enter(all.meeting, -1, &held, NULL));
    REFUSED(fw_fifo_put(all.fifo, NULL, 0, -1, NULL, NULL));
    REFUSED(fw_fifo_take(all.fifo, -1, &result, NULL));
    REFUSED(fw_fifo_try_take(all.fifo, -1, &result, NULL));
    REFUSED(fw_counter_get(all.counter, -1, &value, NULL, NULL));
    REFUSED(fw_counter_add(all.counter, 1, -1, NULL, NULL, NULL));
    REFUSED(fw_counter_compare_and_set(all.counter, 0, 1, -1, NULL, NULL));
    REFUSED(fw_group_join(all.group, "x", 1, NULL, 0, -1, &held, NULL));
    REFUSED(fw_service_directory_register(all.directory, "x", 1, "x", 1, NULL, 0, -1, &held, NULL));
    REFUSED(fw_worker_ids_claim(all.ids, -1, &held, NULL));
    REFUSED(fw_snowflake_open(all.client, "/x", 2, 0, NULL, -1, &flake, NULL));
    REFUSED(fw_snowflake_next(all.flake, -1, &id, NULL));
    REFUSED(fw_snowflake_close(all.flake, -1, NULL));
    REFUSED(fw_selector_lead(all.selector, -1, &held, &result, NULL));
    REFUSED(fw_selector_leader(all.selector, -1, &result, NULL));
    REFUSED(fw_task_board_put(all.board, NULL, 0, -1, NULL, NULL));
    REFUSED(fw_task_board_open_tasks(all.board, -1, &result, NULL));
    REFUSED(fw_task_board_work(all.board, "x", 1, -1, &held, NULL));
    REFUSED(fw_task_board_assign(all.board, all.election, -1, NULL, NULL));
    REFUSED(fw_task_board_keep_assigning(all.board, all.election, -1, NULL));
    REFUSED(fw_worker_take(all.worker, -1, &assignment, NULL));
    REFUSED(fw_assignment_finish(all.assignment, -1, NULL));
    REFUSED(fw_tenure_release(all.worker, -1, NULL));
    REFUSED(fw_followed_wait_beyond(all.cell, 0, -1, NULL, NULL));
    REFUSED(fw_config_cell_set(all.cell, NULL, 0, -1, -1, NULL, NULL));
    CHECK(held == NULL && result == NULL && assignment == NULL && flake == NULL);
    OK(fw_tenure_check(all.worker, NULL, &error));
    OK(fw_followed_get(all.cell, &result, &error));
    fw_result_free(result);
    CHECK(fw_snowflake_try_next(all.flake, &id, NULL) != FW_IN_CALLBACK);
    CHECK(fw_followed_free(all.cell) == FW_OK);
    all.refused = 1;
}

#define FORKED(call) CHECK((call) == FW_FORKED)

/* A forked child is told so by every handle, and frees nothing of its parent's. */
static void a_child_is_told(void) {
    pid_t child = fork();
    if (child == 0) {
        fw_tenure *held = NULL;
        fw_result *result = NULL;
        uint64_t id = 0;
        FORKED(fw_semaphore_acquire(all.semaphore, -1, &held, NULL));
        FORKED(fw_snowflake_try_next(all.flake, &id, NULL));
        FORKED(fw_followed_get(all.cell, &result, NULL));
        FORKED(fw_tenure_check(all.worker, NULL, NULL));
        FORKED(fw_assignment_finish(all.assignment, -1, NULL));
        CHECK(fw_tenure_standing(all.worker) == FW_STANDING_LOST && fw_tenure_token(all.worker) == 0);
        CHECK(!fw_followed_is_current(all.cell) && fw_followed_revision(all.cell) == 0);
        CHECK(fw_assignment_task(all.assignment, NULL) == NULL);
        FORKED(fw_semaphore_free(all.semaphore));
        FORKED(fw_barrier_free(all.barrier));
        FORKED(fw_double_barrier_free(all.meeting));
        FORKED(fw_fifo_free(all.fifo));
        FORKED(fw_counter_free(all.counter));
        FORKED(fw_group_free(all.group));
        FORKED(fw_service_directory_free(all.directory));
        FORKED(fw_worker_ids_free(all.ids));
        FORKED(fw_snowflake_free(all.flake));
        FORKED(fw_selector_free(all.selector));
        FORKED(fw_task_board_free(all.board));
        FORKED(fw_tenure_free(all.worker));
        FORKED(fw_assignment_free(all.assignment));
        FORKED(fw_followed_free(all.cell));
        _exit(0);
    }
    int code;
    CHECK(waitpid(child, &code, 0) == child && code == 0);
    OK(fw_tenure_check(all.worker, NULL, &error));
}

static void callbacks(fw_client *client) {
    all.client = client;
    OK(fw_semaphore_new(client, "/c/s", FW_CSTR, 1, NULL, &all.semaphore, &error));
    OK(fw_barrier_new(client, "/c/b", FW_CSTR, NULL, &all.barrier, &error));
    OK(fw_double_barrier_new(client, "/c/m", FW_CSTR, 1, NULL, &all.meeting, &error));
    OK(fw_fifo_new(client, "/c/f", FW_CSTR, NULL, &all.fifo, &error));
    OK(fw_counter_new(client, "/c/c", FW_CSTR, NULL, &all.counter, &error));
    OK(fw_group_new(client, "/c/g", FW_CSTR, NULL, &all.group, &error));
    OK(fw_service_directory_new(client, "/c/d", FW_CSTR, NULL, &all.directory, &error));
    OK(fw_worker_ids_new(client, "/c/i", FW_CSTR, 1, NULL, &all.ids, &error));
    OK(fw_snowflake_open(client, "/c/n", FW_CSTR, 0, NULL, -1, &all.flake, &error));
    OK(fw_selector_new(client, "/c/l", FW_CSTR, NULL, 0, NULL, &all.selector, &error));
    OK(fw_task_board_new(client, "/c/t", FW_CSTR, NULL, &all.board, &error));
    OK(fw_election_join(client, "/c/e", FW_CSTR, NULL, 0, -1, &all.election, &error));
    OK(fw_election_lead(all.election, -1, &error));
    OK(fw_task_board_work(all.board, "w", 1, -1, &all.worker, &error));
    OK(fw_task_board_put(all.board, NULL, 0, -1, NULL, &error));
    OK(fw_task_board_assign(all.board, all.election, -1, NULL, &error));
    OK(fw_worker_take(all.worker, -1, &all.assignment, &error));
    OK(fw_config_cell_open(client, "/c/cell", FW_CSTR, NULL, &all.cell, &error));
    OK(fw_followed_wait_beyond(all.cell, 0, -1, NULL, &error));
    a_child_is_told();
    destroyed = 0;
    OK(fw_followed_on_change(all.cell, inside, NULL, destroy, &error));
    OK(fw_client_create(client, "/c/cell", FW_CSTR, NULL, 0, 0, -1, NULL, &error));
    while (destroyed == 0) OK(fw_client_sync(client, "/", 1, -1, &error));
    CHECK(all.refused == 1 && destroyed == 1);
    fw_semaphore_free(all.semaphore), fw_barrier_free(all.barrier), fw_fifo_free(all.fifo);
    fw_double_barrier_free(all.meeting), fw_counter_free(all.counter), fw_group_free(all.group);
    fw_service_directory_free(all.directory), fw_worker_ids_free(all.ids);
    fw_snowflake_free(all.flake), fw_task_board_free(all.board), fw_election_free(all.election);
    fw_tenure_free(all.worker), fw_assignment_free(all.assignment);
    fw_selector_free(all.selector);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_client *one = opened(arguments[1]), *two = opened(arguments[1]);
    leaders(one, two);
    services(one, two);
    cells(one, two);
    callbacks(one);
    fw_client_free(one), fw_client_free(two);
    return 0;
}
