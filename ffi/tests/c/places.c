/* Barriers, counters, queues of items, snowflakes; and the rights with which recipes make their nodes. */
#include "check.h"
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

static void *wait_at(void *barrier) {
    OK(fw_barrier_wait(barrier, 60000, &error));
    return NULL;
}

static void barriers(fw_client *client) {
    fw_barrier *barrier = NULL;
    int64_t first = 0, again = 0, second = 0;
    OK(fw_barrier_new(client, "/gate", FW_CSTR, NULL, &barrier, &error));
    OK(fw_barrier_wait(barrier, -1, &error)); /* nothing bars the way */
    OK(fw_barrier_set(barrier, -1, &first, &error));
    OK(fw_barrier_set(barrier, -1, &again, &error));
    CHECK(first > 0 && first == again);
    CHECK(fw_barrier_wait(barrier, 200, NULL) == FW_TIMEOUT);
    pthread_t thread;
    pthread_create(&thread, NULL, wait_at, barrier);
    OK(fw_barrier_lift(barrier, -1, &error));
    pthread_join(thread, NULL);
    OK(fw_barrier_lift(barrier, -1, &error));
    OK(fw_barrier_set(barrier, -1, NULL, &error));
    OK(fw_barrier_set(barrier, -1, &second, &error));
    CHECK(second > first);
    OK(fw_barrier_lift(barrier, -1, &error));
    CHECK(fw_barrier_free(barrier) == FW_OK);
}

static void counters(fw_client *client) {
    fw_counter *counter = NULL, *text = NULL;
    int64_t value = -1, token = -1, later = 0;
    OK(fw_counter_new(client, "/counter", FW_CSTR, NULL, &counter, &error));
    OK(fw_counter_get(counter, -1, &value, &token, &error));
    CHECK(value == 0 && token == 0);
    OK(fw_counter_add(counter, 5, -1, &value, &token, &error));
    CHECK(value == 5 && token > 0);
    OK(fw_counter_add(counter, -7, -1, NULL, &later, &error));
    CHECK(later > token);
    OK(fw_counter_get(counter, -1, &value, NULL, &error));
    CHECK(value == -2);
    CHECK(fw_counter_compare_and_set(counter, 5, 9, -1, &token, NULL) == FW_BAD_VERSION);
    OK(fw_counter_compare_and_set(counter, -2, INT64_MAX, -1, &token, &error));
    CHECK(token > later);
    CHECK(fw_counter_add(counter, 1, -1, &value, NULL, NULL) == FW_RECIPE_REFUSED && value == -2);
    OK(fw_counter_get(counter, -1, &value, NULL, &error));
    CHECK(value == INT64_MAX && fw_counter_get(counter, -1, NULL, NULL, NULL) == FW_NULL);
    OK(fw_client_create(client, "/text", FW_CSTR, (const uint8_t *)"text", 4, 0, -1, NULL, &error));
    OK(fw_counter_new(client, "/text", FW_CSTR, NULL, &text, &error));
    CHECK(fw_counter_add(text, 1, -1, NULL, NULL, NULL) == FW_RECIPE_REFUSED);
    CHECK(fw_counter_free(counter) == FW_OK && fw_counter_free(text) == FW_OK);
}

static void *take(void *fifo) {
    fw_result *item = NULL;
    OK(fw_fifo_take(fifo, 60000, &item, &error));
    return item;
}

static void is_item(fw_result *item, const char *data, int64_t token) {
    size_t size = 0;
    const uint8_t *found = fw_result_data(item, &size);
    CHECK(found != NULL && size == strlen(data) && memcmp(found, data, size) == 0);
    CHECK(fw_result_number(item) == token && token > 0);
    fw_result_free(item);
}

static void queues(fw_client *client) {
    fw_fifo *fifo = NULL;
    fw_result *item = NULL;
    int64_t first = 0, second = 0, third = 0;
    OK(fw_fifo_new(client, "/fifo", FW_CSTR, NULL, &fifo, &error));
    OK(fw_fifo_try_take(fifo, -1, &item, &error));
    CHECK(fw_result_data(item, NULL) == NULL && fw_result_number(item) == 0);
    fw_result_free(item);
    item = NULL;
    CHECK(fw_fifo_take(fifo, 200, &item, NULL) == FW_TIMEOUT && item == NULL);
    OK(fw_fifo_put(fifo, (const uint8_t *)"one", 3, -1, &first, &error));
    OK(fw_fifo_put(fifo, NULL, 0, -1, &second, &error));
    OK(fw_fifo_take(fifo, -1, &item, &error));
    is_item(item, "one", first);
    OK(fw_fifo_try_take(fifo, -1, &item, &error));
    is_item(item, "", second); /* empty, which is not the same as none */
    pthread_t thread;
    void *taken = NULL;
    pthread_create(&thread, NULL, take, fifo);
    OK(fw_fifo_put(fifo, (const uint8_t *)"three", 5, -1, &third, &error));
    pthread_join(thread, &taken);
    is_item(taken, "three", third);
    OK(fw_fifo_put(fifo, NULL, 0, -1, NULL, &error));
    CHECK(second > first && third > second && fw_fifo_free(fifo) == FW_OK);
}

static atomic_int standings_told, standings_destroyed;
static void on_standing(void *context, fw_standing standing) {
    (void)context;
    CHECK(standing == FW_STANDING_LOST);
    standings_told++;
}
static void destroy_standing(void *context) { (void)context, standings_destroyed++; }

/* Both are open, and the second was opened later; somebody deletes its claim. */
static void held_by_its_token(fw_client *client, fw_snowflake *flake, fw_snowflake *other) {
    int64_t token = 0, none = 77;
    uint64_t id = 0;
    char path[64];
    OK(fw_snowflake_check(flake, &token, &error));
    CHECK(token > 0 && token == fw_snowflake_token(flake) && fw_snowflake_token(other) > token);
    CHECK(fw_snowflake_standing(flake) == FW_STANDING_HELD && fw_snowflake_lease_ms(flake) > 0);
    OK(fw_snowflake_on_change(flake, on_standing, NULL, destroy_standing, &error));
    OK(fw_snowflake_on_change(other, on_standing, NULL, destroy_standing, &error));
    CHECK(fw_snowflake_on_change(other, NULL, NULL, destroy_standing, NULL) == FW_NULL);
    CHECK(standings_destroyed == 1);
    snprintf(path, sizeof path, "/flakes/claims/%d", (int)fw_snowflake_worker_id(other));
    OK(fw_client_delete(client, path, FW_CSTR, FW_ANY_VERSION, -1, &error));
    while (standings_told == 0) OK(fw_client_sync(client, "/", 1, -1, &error));
    CHECK(fw_snowflake_standing(other) == FW_STANDING_LOST && fw_snowflake_lease_ms(other) == 0);
    CHECK(fw_snowflake_check(other, &none, NULL) == FW_LOST && none == 77);
    CHECK(fw_snowflake_try_next(other, &id, NULL) == FW_LOST);
    OK(fw_snowflake_check(flake, NULL, &error));
    CHECK(standings_told == 1 && fw_snowflake_standing(flake) == FW_STANDING_HELD);
}

static void snowflakes(fw_client *client) {
    fw_snowflake *flake = NULL, *other = NULL;
    uint64_t id = 0, last = 0;
    const uint64_t epoch = FW_SNOWFLAKE_EPOCH_MS;
    OK(fw_snowflake_open(client, "/flakes", FW_CSTR, epoch, NULL, -1, &flake, &error));
    OK(fw_snowflake_open(client, "/flakes", FW_CSTR, epoch, NULL, -1, &other, &error));
    CHECK(fw_snowflake_worker_id(flake) != fw_snowflake_worker_id(other));
    for (int i = 0; i < 10000; i++) {
        if (i % 2 == 0 || fw_snowflake_try_next(flake, &id, NULL) != FW_OK)
            OK(fw_snowflake_next(flake, -1, &id, &error));
        CHECK(id > last && (int64_t)(id >> 12 & 1023) == fw_snowflake_worker_id(flake));
        last = id;
    }
    CHECK(fw_snowflake_next(flake, -1, NULL, NULL) == FW_NULL);
    held_by_its_token(client, flake, other);
    OK(fw_snowflake_close(flake, -1, &error));
    CHECK(fw_snowflake_close(flake, -1, NULL) == FW_LOST && fw_snowflake_worker_id(flake) == -1);
    CHECK(fw_snowflake_try_next(flake, &id, NULL) == FW_LOST && id == last);
    CHECK(fw_snowflake_next(flake, -1, &id, NULL) == FW_LOST);
    CHECK(fw_snowflake_check(flake, NULL, NULL) == FW_LOST && fw_snowflake_token(flake) == 0);
    CHECK(fw_snowflake_lease_ms(flake) == 0 && fw_snowflake_standing(flake) == FW_STANDING_LOST);
    CHECK(fw_snowflake_free(flake) == FW_OK && fw_snowflake_free(other) == FW_OK);
    /* A time to count from that has not come yet. */
    OK(fw_snowflake_open(client, "/later", FW_CSTR, UINT64_MAX, NULL, -1, &flake, &error));
    CHECK(fw_snowflake_next(flake, -1, &id, NULL) == FW_RECIPE_REFUSED);
    fw_snowflake_free(flake);
}

static uint64_t told_time(void *context) { return atomic_load((atomic_uint_fast64_t *)context); }

static atomic_int clocks_destroyed;
static void destroy_clock(void *context) { (void)context, clocks_destroyed++; }

/* A snowflake by a clock of the program's own. */
static void clocks(fw_client *client) {
    fw_snowflake *flake = NULL;
    uint64_t id = 0;
    atomic_uint_fast64_t now = 5000;
    OK(fw_snowflake_open_by_clock(client, "/clock", FW_CSTR, 1000, NULL, told_time, &now,
                                  destroy_clock, -1, &flake, &error));
    OK(fw_snowflake_next(flake, -1, &id, &error));
    CHECK(id >> 22 == 4000);
    atomic_store(&now, 6000);
    OK(fw_snowflake_next(flake, -1, &id, &error));
    CHECK(id >> 22 == 5000);
    atomic_store(&now, 3000);
    CHECK(fw_snowflake_try_next(flake, &id, NULL) == FW_RECIPE_REFUSED && id >> 22 == 5000);
    CHECK(clocks_destroyed == 0 && fw_snowflake_free(flake) == FW_OK);
    while (clocks_destroyed == 0) OK(fw_client_sync(client, "/", 1, -1, &error));
    flake = NULL;
    CHECK(fw_snowflake_open_by_clock(client, NULL, 1, 0, NULL, told_time, &now, destroy_clock, -1,
                                     &flake, NULL) == FW_NULL);
    CHECK(clocks_destroyed == 2 && flake == NULL);
    /* At the end of time there is no id, and no sum that is too large. */
    atomic_store(&now, UINT64_MAX);
    OK(fw_snowflake_open_by_clock(client, "/end", FW_CSTR, 1000, NULL, told_time, &now, NULL, -1,
                                  &flake, &error));
    CHECK(fw_snowflake_try_next(flake, &id, NULL) == FW_RECIPE_REFUSED);
    CHECK(fw_snowflake_free(flake) == FW_OK);
    OK(fw_snowflake_open_by_clock(client, "/system", FW_CSTR, 0, NULL, NULL, NULL, NULL, -1, &flake,
                                  &error));
    OK(fw_snowflake_next(flake, -1, &id, &error));
    CHECK(id >> 22 > FW_SNOWFLAKE_EPOCH_MS && fw_snowflake_free(flake) == FW_OK);
}

#define RIGHTS (FW_PERM_ALL & ~FW_PERM_ADMIN)

static void has_rights(fw_client *client, const char *path) {
    fw_op *op = NULL;
    OK(fw_op_get_acl(path, FW_CSTR, &op, &error));
    fw_result *result = called(client, op);
    if (fw_result_perms(result, 0) != RIGHTS) fprintf(stderr, "%s\n", path);
    CHECK(fw_result_count(result) == 1 && fw_result_perms(result, 0) == RIGHTS);
    fw_result_free(result);
}

static void rights(fw_client *client) {
    fw_acl *acl = NULL;
    fw_semaphore *semaphore = NULL;
    fw_barrier *barrier = NULL;
    fw_double_barrier *meeting = NULL;
    fw_fifo *fifo = NULL;
    fw_counter *counter = NULL;
    fw_group *group = NULL;
    fw_service_directory *directory = NULL;
    fw_followed *cell = NULL;
    fw_worker_ids *ids = NULL;
    fw_snowflake *flake = NULL;
    fw_task_board *board = NULL;
    fw_selector *selector = NULL;
    fw_tenure *held[7] = {NULL};
    OK(fw_acl_new(&acl, &error));
    OK(fw_acl_add(acl, RIGHTS, "world", FW_CSTR, "anyone", FW_CSTR, &error));
    OK(fw_semaphore_new(client, "/r/semaphore", FW_CSTR, 1, acl, &semaphore, &error));
    OK(fw_semaphore_acquire(semaphore, -1, &held[0], &error));
    has_rights(client, "/r/semaphore/leases");
    OK(fw_barrier_new(client, "/r/barrier", FW_CSTR, acl, &barrier, &error));
    OK(fw_barrier_set(barrier, -1, NULL, &error));
    has_rights(client, "/r/barrier");
    OK(fw_double_barrier_new(client, "/r/meeting", FW_CSTR, 1, acl, &meeting, &error));
    OK(fw_double_barrier_enter(meeting, -1, &held[1], &error));
    has_rights(client, "/r/meeting/ready");
    OK(fw_fifo_new(client, "/r/fifo", FW_CSTR, acl, &fifo, &error));
    OK(fw_fifo_put(fifo, NULL, 0, -1, NULL, &error));
    has_rights(client, "/r/fifo/items");
    OK(fw_counter_new(client, "/r/counter", FW_CSTR, acl, &counter, &error));
    OK(fw_counter_add(counter, 1, -1, NULL, NULL, &error));
    has_rights(client, "/r/counter");
    OK(fw_group_new(client, "/r/group", FW_CSTR, acl, &group, &error));
    OK(fw_group_join(group, "a", 1, NULL, 0, -1, &held[2], &error));
    has_rights(client, "/r/group/a");
    OK(fw_service_directory_new(client, "/r/services", FW_CSTR, acl, &directory, &error));
    OK(fw_service_directory_register(directory, "web", 3, "a", 1, NULL, 0, -1, &held[3], &error));
    has_rights(client, "/r/services/web/a");
    OK(fw_config_cell_open(client, "/r/cell", FW_CSTR, acl, &cell, &error));
    OK(fw_config_cell_set(cell, NULL, 0, FW_ANY_VERSION, -1, NULL, &error));
    has_rights(client, "/r/cell");
    OK(fw_worker_ids_new(client, "/r/ids", FW_CSTR, 1, acl, &ids, &error));
    OK(fw_worker_ids_claim(ids, -1, &held[4], &error));
    has_rights(client, "/r/ids/claims/0");
    OK(fw_snowflake_open(client, "/r/flakes", FW_CSTR, 0, acl, -1, &flake, &error));
    has_rights(client, "/r/flakes/marks");
    OK(fw_task_board_new(client, "/r/board", FW_CSTR, acl, &board, &error));
    OK(fw_task_board_work(board, "a", 1, -1, &held[5], &error));
    has_rights(client, "/r/board/workers/a");
    OK(fw_selector_new(client, "/r/selector", FW_CSTR, NULL, 0, acl, &selector, &error));
    OK(fw_selector_lead(selector, -1, &held[6], NULL, &error));
    has_rights(client, "/r/selector");
    for (int i = 0; i < 7; i++) CHECK(fw_tenure_free(held[i]) == FW_OK);
    fw_acl_free(acl), fw_semaphore_free(semaphore), fw_barrier_free(barrier);
    fw_double_barrier_free(meeting), fw_fifo_free(fifo), fw_counter_free(counter);
    fw_group_free(group), fw_service_directory_free(directory), fw_followed_free(cell);
    fw_worker_ids_free(ids), fw_snowflake_free(flake), fw_task_board_free(board);
    fw_selector_free(selector);
}

/* The node of whoever stands in the line at `path`, and the line itself. */
static void line_has_rights(fw_client *client, const char *path) {
    char child[256];
    fw_result *children = NULL;
    OK(fw_client_children(client, path, FW_CSTR, 0, -1, &children, &error));
    CHECK(fw_result_count(children) == 1);
    snprintf(child, sizeof child, "%s/%s", path, fw_result_name(children, 0, NULL));
    fw_result_free(children);
    has_rights(client, path), has_rights(client, child);
}

/* Rights that the client's configuration has, for recipes that are told none. */
static void default_rights(const char *connect) {
    fw_config *config = configured(connect);
    fw_client *client = NULL;
    fw_acl *acl = NULL;
    fw_lock *locks[4] = {NULL};
    fw_election *election = NULL;
    fw_semaphore *semaphore = NULL;
    fw_tenure *permit = NULL;
    OK(fw_acl_new(&acl, &error));
    OK(fw_acl_add(acl, RIGHTS, "world", FW_CSTR, "anyone", FW_CSTR, &error));
    CHECK(fw_config_acl(NULL, acl, NULL) == FW_NULL);
    CHECK(fw_config_acl(config, (fw_acl *)config, NULL) == FW_BAD_HANDLE);
    OK(fw_config_acl(config, acl, &error));
    OK(fw_client_open(config, &client, &error));
    OK(fw_lock_acquire(client, "/d/lock", FW_CSTR, -1, &locks[0], &error));
    OK(fw_lock_try(client, "/d/try", FW_CSTR, 0, -1, &locks[1], &error));
    OK(fw_lock_read(client, "/d/read", FW_CSTR, -1, &locks[2], &error));
    OK(fw_lock_write(client, "/d/write", FW_CSTR, -1, &locks[3], &error));
    OK(fw_election_join(client, "/d/election", FW_CSTR, (const uint8_t *)"me", 2, -1, &election, &error));
    const char *lines[] = {"/d/lock", "/d/try", "/d/read", "/d/write", "/d/election"};
    for (int at = 0; at < 5; at++) line_has_rights(client, lines[at]);
    OK(fw_semaphore_new(client, "/d/semaphore", FW_CSTR, 1, NULL, &semaphore, &error));
    OK(fw_semaphore_acquire(semaphore, -1, &permit, &error));
    has_rights(client, "/d/semaphore/leases");
    for (int at = 0; at < 4; at++) fw_lock_free(locks[at]);
    fw_election_free(election), fw_tenure_free(permit), fw_semaphore_free(semaphore);
    fw_client_free(client);

    client = NULL;
    OK(fw_config_acl(config, NULL, &error));
    OK(fw_client_open(config, &client, &error));
    OK(fw_lock_acquire(client, "/open", FW_CSTR, -1, &locks[0], &error));
    fw_op *op = NULL;
    OK(fw_op_get_acl("/open", FW_CSTR, &op, &error));
    fw_result *result = called(client, op);
    CHECK(fw_result_perms(result, 0) == FW_PERM_ALL);
    fw_result_free(result), fw_lock_free(locks[0]);
    fw_acl_free(acl), fw_config_free(config);
    fw_client_free(client);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_client *client = opened(arguments[1]);
    barriers(client);
    counters(client);
    queues(client);
    snowflakes(client);
    clocks(client);
    rights(client);
    default_rights(arguments[1]);
    fw_client_free(client);
    return 0;
}
