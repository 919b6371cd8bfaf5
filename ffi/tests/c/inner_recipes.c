/* Locks and elections by clients of an embedded observer, whose sessions are its own until they create the first
 * ephemeral node. The way to the upstream is cut meanwhile: shortly, and for longer than a session lives. The program says
 * how far it is, for the test: inner_recipes UPSTREAM-THROUGH-THE-TEST CONNECT */
#include "check.h"
#include <pthread.h>
#include <unistd.h>

enum { SHORT_MS = 6000 };

static char link_tag;
static fw_observer *observer;
static fw_queue *queue;
static fw_client *direct;

static void say(const char *text) {
    puts(text);
    fflush(stdout);
}

/* The call until it succeeds: behind a cut it may fail for that, and be repeated. */
#define ASK(call)                                                                                  \
    for (int tries = 0;; tries++) {                                                                \
        fw_error *error = NULL;                                                                    \
        if ((call) == FW_OK) break;                                                                \
        if (!fw_error_retriable(error) || tries == 3000) {                                          \
            fprintf(stderr, "%s: %s\n", #call, fw_error_text(error));                              \
            exit(1);                                                                               \
        }                                                                                          \
        fw_error_free(error);                                                                      \
        usleep(10000);                                                                             \
    }

static void await_link(int kind) {
    int seen = 0;
    while (seen != kind) {
        fw_completion *entry = NULL;
        OK(fw_queue_next(queue, 60000, &entry, &error));
        seen = fw_event_get_kind(fw_completion_event(entry));
        fw_completion_free(entry);
    }
}

static fw_client *inner(int64_t timeout_ms) {
    fw_config *config = NULL;
    fw_client *client = NULL;
    OK(fw_config_new(&config, &error));
    OK(fw_config_set_number(config, "sessionTimeout", FW_CSTR, timeout_ms, &error));
    OK(fw_config_set_bool(config, "renewExpired", FW_CSTR, true, &error));
    OK(fw_observer_client(observer, config, NULL, 0, &client, &error));
    fw_config_free(config);
    return client;
}

struct held {
    fw_client *client;
    fw_lock *lock;
    fw_election *election;
    int64_t token, place;
};

/* The lock, and the leadership. */
static struct held hold(int64_t timeout_ms, const char *lock, const char *election) {
    struct held held = {.client = inner(timeout_ms)};
    OK(fw_lock_acquire(held.client, lock, FW_CSTR, 60000, &held.lock, &error));
    OK(fw_election_join(held.client, election, FW_CSTR, NULL, 0, 60000, &held.election, &error));
    OK(fw_election_lead(held.election, 60000, &error));
    ASK(fw_lock_check(held.lock, &held.token, &error));
    ASK(fw_election_check(held.election, &held.place, &error));
    return held;
}

static fw_lock *in_line, *begun_in_the_cut;
static fw_election *candidate;
static fw_client *waits, *late;

static void *waits_for_the_lock(void *nothing) {
    ASK(fw_lock_acquire(waits, "/lock", FW_CSTR, 120000, &in_line, &error));
    return nothing;
}

static void *waits_for_the_lead(void *nothing) {
    ASK(fw_election_lead(candidate, 120000, &error));
    return nothing;
}

/* Its session begins at the observer alone, and becomes one of the ensemble's when there is a way again. */
static void *asks_in_the_cut(void *nothing) {
    ASK(fw_lock_acquire(late, "/late", FW_CSTR, 120000, &begun_in_the_cut, &error));
    return nothing;
}

/* Somebody else is in line, which the children of the place say. */
static void await_line(const char *path, size_t members) {
    size_t seen = 0;
    while (seen < members) {
        fw_result *names = NULL;
        OK(fw_client_children(direct, path, FW_CSTR, 0, 60000, &names, &error));
        seen = fw_result_count(names);
        fw_result_free(names);
    }
}

/* What was held before is held behind it, and who waited in line is woken. */
static void a_short_cut(void) {
    pthread_t threads[3];
    struct held held = hold(30000, "/lock", "/election");
    waits = inner(30000), late = inner(30000);
    OK(fw_election_join(waits, "/election", FW_CSTR, NULL, 0, 60000, &candidate, &error));
    CHECK(pthread_create(&threads[0], NULL, waits_for_the_lock, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, waits_for_the_lead, NULL) == 0);
    OK(fw_client_wait_connected(late, 60000, &error));
    await_line("/lock", 2);
    say("held");
    await_link(FW_EVENT_OBSERVER_UNLINKED);
    CHECK(pthread_create(&threads[2], NULL, asks_in_the_cut, NULL) == 0);
    say("cut off");
    await_link(FW_EVENT_OBSERVER_LINKED);

    /* The holder is it still, and knows so as soon as the leader has confirmed its session. */
    int64_t token = 0, place = 0;
    ASK(fw_lock_check(held.lock, &token, &error));
    ASK(fw_election_check(held.election, &place, &error));
    CHECK(token == held.token && place == held.place);
    fw_lock *taken = NULL;
    CHECK(fw_lock_try(direct, "/lock", FW_CSTR, 0, 60000, &taken, NULL) == FW_TAKEN && taken == NULL);

    ASK(fw_lock_release(held.lock, 60000, &error));
    ASK(fw_election_resign(held.election, 60000, &error));
    for (int at = 0; at < 3; at++) CHECK(pthread_join(threads[at], NULL) == 0);
    CHECK(held.token < fw_lock_token(in_line) && held.place < fw_election_token(candidate));
    OK(fw_election_check(candidate, NULL, &error));
    CHECK(fw_lock_token(begun_in_the_cut) > 0);
    OK(fw_lock_release(begun_in_the_cut, 60000, &error));
    fw_lock_free(held.lock), fw_election_free(held.election), fw_client_free(held.client);
    fw_lock_free(in_line), fw_lock_free(begun_in_the_cut), fw_election_free(candidate);
    fw_client_free(waits), fw_client_free(late);
}

/* Another one gets it when the session is over, and no sooner than the holder has stopped. */
static void a_long_cut(void) {
    struct held held = hold(SHORT_MS, "/short/lock", "/short/election");
    fw_election *next = NULL;
    fw_lock *passed_on = NULL;
    OK(fw_election_join(direct, "/short/election", FW_CSTR, NULL, 0, 60000, &next, &error));
    say("held for a while");
    OK(fw_lock_acquire(direct, "/short/lock", FW_CSTR, 120000, &passed_on, &error));
    CHECK(fw_lock_check(held.lock, NULL, NULL) == FW_LEASE_OVER && fw_lock_lease_ms(held.lock) == 0);
    int64_t token = fw_lock_token(passed_on);
    CHECK(held.token < token);
    OK(fw_election_lead(next, 120000, &error));
    CHECK(fw_election_check(held.election, NULL, NULL) == FW_LEASE_OVER);
    CHECK(held.place < fw_election_token(next));
    CHECK(fw_lock_standing(held.lock) != FW_STANDING_LOST); /* what it cannot know so far */
    say("passed on");

    while (fw_lock_standing(held.lock) != FW_STANDING_LOST) usleep(1000);
    while (fw_election_standing(held.election) != FW_STANDING_LOST) usleep(1000);
    CHECK(fw_lock_check(held.lock, NULL, NULL) == FW_LOST && fw_election_check(held.election, NULL, NULL) == FW_LOST);
    fw_lock *again = NULL;
    OK(fw_lock_check(passed_on, NULL, &error)); /* nothing of it was taken along */
    OK(fw_lock_release(passed_on, 60000, &error));
    ASK(fw_lock_acquire(held.client, "/short/lock", FW_CSTR, 60000, &again, &error));
    CHECK(token < fw_lock_token(again));
    fw_lock_free(again), fw_lock_free(passed_on), fw_lock_free(held.lock);
    fw_election_free(held.election), fw_election_free(next), fw_client_free(held.client);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    fw_config *config = NULL;
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_queue_new(&queue, &error));
    OK(fw_observer_open(config, &observer, &error));
    OK(fw_observer_queue(observer, queue, &link_tag, &error));
    await_link(FW_EVENT_OBSERVER_LINKED);
    direct = opened(arguments[2]);
    a_short_cut();
    a_long_cut();
    fw_client_free(direct), fw_observer_free(observer);
    fw_queue_free(queue), fw_config_free(config);
    say("done");
    return 0;
}
