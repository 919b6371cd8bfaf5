/* Locks and elections: one at a time, tokens that grow, and what is said of those who lost. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4
#define ROUNDS 5

static atomic_int inside, destroyed, lost;
static fw_fence *resource;

static void destroy(void *context) {
    (void)context;
    destroyed++;
}

static void *contend(void *connect) {
    fw_client *client = opened(connect);
    for (int round = 0; round < ROUNDS; round++) {
        fw_lock *lock = NULL;
        int64_t token = 0;
        OK(fw_lock_acquire(client, "/lock", FW_CSTR, 60000, &lock, &error));
        CHECK(atomic_fetch_add(&inside, 1) == 0);
        OK(fw_lock_check(lock, &token, &error));
        CHECK(token == fw_lock_token(lock) && token > 0);
        CHECK(fw_lock_standing(lock) == FW_STANDING_HELD && fw_lock_lease_ms(lock) > 0);
        OK(fw_fence_admit(resource, token, &error));
        CHECK(fw_fence_largest(resource) == token);
        CHECK(fw_fence_admit(resource, token - 1, NULL) == FW_STALE_TOKEN);
        atomic_fetch_sub(&inside, 1);
        if (round % 2 == 0) OK(fw_lock_release(lock, -1, &error));
        CHECK(fw_lock_free(lock) == FW_OK);
    }
    fw_client_free(client);
    return NULL;
}

static void one_at_a_time(char *connect) {
    pthread_t threads[THREADS];
    OK(fw_fence_new(0, &resource, &error));
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, contend, connect);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(fw_fence_largest(resource) > 0);
    fw_fence_free(resource);
}

static void tries_and_shares(const char *connect) {
    fw_client *one = opened(connect), *two = opened(connect);
    fw_lock *held = NULL, *other = NULL, *third = NULL;
    fw_error *error = NULL;
    OK(fw_lock_try(one, "/try", FW_CSTR, 0, -1, &held, &error));
    CHECK(fw_lock_try(two, "/try", FW_CSTR, 0, -1, &other, &error) == FW_TAKEN && other == NULL);
    CHECK(fw_error_retriable(error) && !fw_error_maybe_applied(error));
    fw_error_free(error);
    CHECK(fw_lock_acquire(two, "/try", FW_CSTR, 200, &other, NULL) == FW_TIMEOUT);
    OK(fw_lock_release(held, -1, &error));
    CHECK(fw_lock_release(held, -1, NULL) == FW_LOST && fw_lock_token(held) == 0);
    CHECK(fw_lock_check(held, NULL, NULL) == FW_LOST && fw_lock_lease_ms(held) == 0);
    fw_lock_free(held);
    OK(fw_lock_try(two, "/try", FW_CSTR, 0, -1, &other, &error));
    fw_lock_free(other);

    OK(fw_lock_read(one, "/shared", FW_CSTR, -1, &held, &error));
    OK(fw_lock_read(two, "/shared", FW_CSTR, -1, &other, &error));
    CHECK(fw_lock_write(two, "/shared", FW_CSTR, 200, &third, NULL) == FW_TIMEOUT);
    OK(fw_lock_release(held, -1, &error));
    OK(fw_lock_release(other, -1, &error));
    OK(fw_lock_write(two, "/shared", FW_CSTR, -1, &third, &error));
    fw_lock_free(held), fw_lock_free(other), fw_lock_free(third);
    fw_client_free(one), fw_client_free(two);
}

static void on_change(void *context, fw_standing standing) {
    (void)context;
    lost += standing == FW_STANDING_LOST;
}

static void *wait_until_lost(void *election) {
    CHECK(fw_election_lead(election, 60000, NULL) == FW_LOST);
    return NULL;
}

static void leaders(const char *connect) {
    fw_client *one = opened(connect), *two = opened(connect);
    fw_election *first = NULL, *second = NULL;
    fw_result *leader = NULL;
    int64_t token = 0;
    size_t size = 0;
    OK(fw_election_join(one, "/e", 2, (const uint8_t *)"one", 3, -1, &first, &error));
    CHECK(fw_election_check(first, &token, NULL) == FW_TAKEN && fw_election_lease_ms(first) == 0);
    OK(fw_election_lead(first, 0, &error)); /* it is its turn */
    OK(fw_election_join(two, "/e", 2, (const uint8_t *)"two", 3, -1, &second, &error));
    CHECK(fw_election_lead(second, 100, NULL) == FW_TIMEOUT);
    CHECK(fw_election_lead(second, 0, NULL) == FW_TIMEOUT);
    OK(fw_election_leader(second, -1, &leader, &error));
    CHECK(memcmp(fw_result_data(leader, &size), "one", 3) == 0 && size == 3);
    OK(fw_election_check(first, &token, &error));
    CHECK(fw_result_number(leader) == token && token == fw_election_token(first));
    fw_result_free(leader);

    /* Who waits with what another thread gives up is told. */
    fw_election *third = NULL;
    pthread_t waiting;
    OK(fw_election_join(two, "/e", 2, NULL, 0, -1, &third, &error));
    pthread_create(&waiting, NULL, wait_until_lost, third);
    OK(fw_election_resign(third, -1, &error));
    pthread_join(waiting, NULL);
    fw_election_free(third);

    /* The leader's session ends: it is told, and the next one leads with a larger token. */
    CHECK(fw_election_on_change(first, NULL, NULL, destroy, NULL) == FW_NULL && destroyed == 1);
    OK(fw_election_on_change(first, on_change, NULL, destroy, &error));
    OK(fw_client_close(one, -1, &error));
    CHECK(lost == 1 && fw_election_standing(first) == FW_STANDING_LOST);
    CHECK(fw_election_check(first, &token, NULL) == FW_LOST);
    OK(fw_election_lead(second, -1, &error));
    CHECK(fw_election_standing(second) == FW_STANDING_HELD);
    CHECK(fw_election_token(second) > token && fw_election_lease_ms(second) > 0);
    OK(fw_election_resign(second, -1, &error));
    CHECK(fw_election_resign(second, -1, NULL) == FW_LOST);
    fw_election_free(first), fw_election_free(second);
    fw_client_free(one), fw_client_free(two);
    CHECK(destroyed == 2);
}

static void *wait_to_select(void *selector) {
    fw_tenure *leadership = NULL;
    OK(fw_selector_lead(selector, 60000, &leadership, NULL, &error));
    return leadership;
}

static void says(fw_result *leader, const char *id, int64_t token) {
    size_t size = 0;
    const uint8_t *data = fw_result_data(leader, &size);
    CHECK(size == strlen(id) && fw_result_number(leader) == token);
    CHECK(size == 0 || memcmp(data, id, size) == 0);
    fw_result_free(leader);
}

/* Who has lost is told to whom, and stands in line no more. */
static void selectors(const char *connect) {
    fw_client *one = opened(connect), *two = opened(connect);
    fw_selector *first = NULL, *second = NULL;
    fw_tenure *leads = NULL, *lost_one = (fw_tenure *)connect;
    fw_result *leader = NULL;
    int64_t token = 0;
    void *woken = NULL;
    pthread_t waiting;
    OK(fw_selector_new(one, "/sel", FW_CSTR, (const uint8_t *)"one", 3, NULL, &first, &error));
    OK(fw_selector_new(two, "/sel", FW_CSTR, (const uint8_t *)"two", 3, NULL, &second, &error));
    OK(fw_selector_leader(second, -1, &leader, &error));
    says(leader, "", 0);
    OK(fw_selector_lead(first, -1, &leads, &leader, &error));
    OK(fw_tenure_check(leads, &token, &error));
    says(leader, "one", token);
    CHECK(token > 0 && fw_tenure_lease_ms(leads) > 0 && fw_tenure_worker_id(leads) == -1);
    OK(fw_selector_lead(second, 100, &lost_one, &leader, &error));
    CHECK(lost_one == NULL);
    says(leader, "one", token);
    OK(fw_selector_leader(second, -1, &leader, &error));
    says(leader, "one", token);
    CHECK(fw_selector_lead(second, 100, NULL, NULL, NULL) == FW_NULL);
    CHECK(fw_selector_lead(NULL, 100, &lost_one, NULL, NULL) == FW_NULL);

    /* Its session ends while another waits. */
    pthread_create(&waiting, NULL, wait_to_select, second);
    OK(fw_client_close(one, -1, &error));
    pthread_join(waiting, &woken);
    CHECK(woken && fw_tenure_token(woken) > token);
    CHECK(fw_tenure_check(leads, &token, NULL) == FW_LOST);
    CHECK(fw_selector_lead(first, 100, &lost_one, NULL, NULL) == FW_CLOSED);
    OK(fw_tenure_release(woken, -1, &error));
    OK(fw_selector_leader(second, -1, &leader, &error));
    says(leader, "", 0);
    fw_tenure_free(leads), fw_tenure_free(woken);
    fw_selector_free(first), fw_selector_free(second);
    fw_client_free(one), fw_client_free(two);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    one_at_a_time(arguments[1]);
    tries_and_shares(arguments[1]);
    leaders(arguments[1]);
    selectors(arguments[1]);
    return 0;
}
