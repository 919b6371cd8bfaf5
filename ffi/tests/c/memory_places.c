/* Barriers, counters, items, ids, and what is followed, without threads and without memory. Argument: whom to
 * connect to. */
#include "scarce.h"

static fw_client *client;

static const uint8_t *const data = (const uint8_t *)"data";

static void on_state(void *given, const fw_result *state) { (void)given, (void)state; }
static void on_standing(void *given, fw_standing standing) { (void)given, (void)standing; }
static uint64_t tell_time(void *given) {
    (void)given;
    return FW_SNOWFLAKE_EPOCH_MS + 1000;
}

static void drop(fw_result **result) { fw_result_free(*result), *result = NULL; }

static void barriers(void) {
    fw_barrier *barrier = NULL;
    SCARCE(fw_barrier_new(client, "/gate", FW_CSTR, NULL, &barrier, &error));
    SCARCE(fw_barrier_set(barrier, 20000, NULL, &error));
    SCARCE_UNTIL(FW_TIMEOUT, fw_barrier_wait(barrier, 5, &error));
    SCARCE(fw_barrier_lift(barrier, 20000, &error));
    SCARCE(fw_barrier_wait(barrier, 20000, &error));
    SCARCE(fw_barrier_free(barrier));
}

static void counters(void) {
    static int64_t expected;
    fw_counter *counter = NULL;
    int64_t value = 0;
    SCARCE(fw_counter_new(client, "/counter", FW_CSTR, NULL, &counter, &error));
    SCARCE(fw_counter_add(counter, 2, 20000, &value, NULL, &error));
    CHECK(value == (expected += 2)); /* each is added once, however often it was tried */
    SCARCE(fw_counter_compare_and_set(counter, expected, expected + 1, 20000, NULL, &error));
    SCARCE(fw_counter_get(counter, 20000, &value, NULL, &error));
    CHECK(value == (expected += 1));
    SCARCE(fw_counter_free(counter));
}

static void items(void) {
    fw_fifo *fifo = NULL;
    fw_result *item = NULL;
    SCARCE(fw_fifo_new(client, "/fifo", FW_CSTR, NULL, &fifo, &error));
    SCARCE(fw_fifo_put(fifo, data, 4, 20000, NULL, &error));
    SCARCE(fw_fifo_put(fifo, data, 4, 20000, NULL, &error));
    SCARCE(fw_fifo_take(fifo, 20000, &item, &error));
    drop(&item);
    SCARCE(fw_fifo_try_take(fifo, 20000, &item, &error));
    CHECK(fw_result_number(item) != 0);
    drop(&item);
    SCARCE(fw_fifo_try_take(fifo, 20000, &item, &error));
    CHECK(fw_result_number(item) == 0);
    drop(&item);
    SCARCE_UNTIL(FW_TIMEOUT, fw_fifo_take(fifo, 5, &item, &error));
    SCARCE(fw_fifo_free(fifo));
}

static void snowflakes(void) {
    fw_snowflake *flake = NULL;
    uint64_t id = 0;
    SCARCE(fw_snowflake_open(client, "/flakes", FW_CSTR, FW_SNOWFLAKE_EPOCH_MS, NULL, 20000, &flake, &error));
    SCARCE(fw_snowflake_try_next(flake, &id, &error));
    SCARCE(fw_snowflake_next(flake, 20000, &id, &error));
    SCARCE(fw_snowflake_check(flake, NULL, &error));
    SCARCE(fw_snowflake_on_change(flake, on_standing, context(), destroy, &error));
    SCARCE(fw_snowflake_close(flake, 20000, &error));
    SCARCE(fw_snowflake_free(flake));
    each_context_was_destroyed();
}

static void snowflakes_by_a_clock(void) {
    fw_snowflake *flake = NULL;
    SCARCE(fw_snowflake_open_by_clock(client, "/timed", FW_CSTR, FW_SNOWFLAKE_EPOCH_MS, NULL, tell_time,
                                      context(), destroy, 20000, &flake, &error));
    SCARCE(fw_snowflake_close(flake, 20000, &error));
    SCARCE(fw_snowflake_free(flake));
    each_context_was_destroyed();
}

/* A setting that is followed, as everything is that can be. */
static void cells(void) {
    fw_followed *cell = NULL;
    fw_result *state = NULL;
    uint64_t seen = 0;
    int64_t token = 0;
    SCARCE(fw_config_cell_open(client, "/cell", FW_CSTR, NULL, &cell, &error));
    SCARCE(fw_followed_on_change(cell, on_state, context(), destroy, &error));
    SCARCE(fw_followed_wait_beyond(cell, 0, 20000, &seen, &error));
    SCARCE(fw_config_cell_set(cell, data, 4, FW_ANY_VERSION, 20000, &token, &error));
    do {
        drop(&state);
        SCARCE(fw_followed_wait_beyond(cell, seen, 20000, &seen, &error));
        SCARCE(fw_followed_get(cell, &state, &error));
    } while (fw_result_number(state) < token);
    drop(&state);
    SCARCE(fw_followed_free(cell));
    each_context_was_destroyed();
}

/* One that is picked from those who are there. */
static void picks(void) {
    fw_group *group = NULL;
    fw_followed *members = NULL;
    fw_tenure *membership = NULL;
    fw_result *one = NULL;
    uint64_t seen = 0;
    OK(fw_group_new(client, "/group", FW_CSTR, NULL, &group, &error));
    OK(fw_group_join(group, "name", FW_CSTR, data, 4, 20000, &membership, &error));
    SCARCE(fw_group_follow(group, &members, &error));
    SCARCE(fw_followed_wait_beyond(members, 0, 20000, &seen, &error));
    SCARCE(fw_followed_pick(members, &one, &error));
    drop(&one);
    SCARCE(fw_followed_free(members));
    OK(fw_tenure_release(membership, 20000, &error));
    fw_tenure_free(membership), fw_group_free(group);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    find_library();
    client = opened(arguments[1]);
    tell("barriers", barriers);
    tell("counters", counters);
    tell("items", items);
    tell("snowflakes", snowflakes);
    tell("snowflakes by a clock", snowflakes_by_a_clock);
    tell("cells", cells);
    tell("picks", picks);
    fw_client_free(client);
    say_functions();
    return 0;
}
