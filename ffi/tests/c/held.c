/* What sessions hold: permits, places inside a barrier, memberships, worker ids. Each is one's own until
 * it is released, freed, or its session ends. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int lost, destroyed;

static void on_change(void *context, fw_standing standing) {
    (void)context;
    lost += standing == FW_STANDING_LOST;
}

static void destroy(void *context) {
    (void)context;
    destroyed++;
}

/* What holds for everything that is held, and for nothing once it is released. */
static void is_held_until_released(fw_tenure *tenure) {
    int64_t token = 0;
    OK(fw_tenure_check(tenure, &token, &error));
    OK(fw_tenure_check(tenure, NULL, &error));
    CHECK(token > 0 && token == fw_tenure_token(tenure));
    CHECK(fw_tenure_standing(tenure) == FW_STANDING_HELD && fw_tenure_lease_ms(tenure) > 0);
    OK(fw_tenure_on_change(tenure, on_change, NULL, destroy, &error));
    OK(fw_tenure_release(tenure, -1, &error));
    CHECK(fw_tenure_release(tenure, -1, NULL) == FW_LOST);
    CHECK(fw_tenure_check(tenure, &token, NULL) == FW_LOST && fw_tenure_token(tenure) == 0);
    CHECK(fw_tenure_standing(tenure) == FW_STANDING_LOST && fw_tenure_lease_ms(tenure) == 0);
    CHECK(fw_tenure_worker_id(tenure) == -1);
    destroyed = 0;
    CHECK(fw_tenure_on_change(tenure, on_change, NULL, destroy, NULL) == FW_LOST && destroyed == 1);
    CHECK(fw_tenure_free(tenure) == FW_OK && lost == 0);
}

static void permits(const char *connect) {
    fw_client *one = opened(connect), *two = opened(connect);
    fw_semaphore *first = NULL, *second = NULL;
    fw_tenure *a = NULL, *b = NULL, *c = NULL, *d = NULL, *e = NULL;
    CHECK(fw_semaphore_new(one, "/s", 2, 0, NULL, &first, NULL) == FW_BAD_ARGUMENT && !first);
    OK(fw_semaphore_new(one, "/semaphore", FW_CSTR, 2, NULL, &first, &error));
    OK(fw_semaphore_new(two, "/semaphore", FW_CSTR, 2, NULL, &second, &error));
    OK(fw_semaphore_acquire(first, -1, &a, &error));
    OK(fw_semaphore_acquire(second, -1, &b, &error));
    CHECK(fw_tenure_token(a) < fw_tenure_token(b) && fw_tenure_worker_id(a) == -1);
    CHECK(fw_semaphore_acquire(second, 200, &c, NULL) == FW_TIMEOUT && c == NULL);
    is_held_until_released(a);
    OK(fw_semaphore_acquire(second, -1, &c, &error));
    fw_tenure_free(b); /* given back in the background, which the next one waits for */
    OK(fw_semaphore_acquire(first, -1, &d, &error));
    destroyed = 0;
    OK(fw_tenure_on_change(d, on_change, NULL, destroy, &error));
    OK(fw_client_close(one, -1, &error));
    CHECK(lost == 1 && destroyed == 1 && fw_tenure_check(d, NULL, NULL) == FW_LOST);
    CHECK(fw_semaphore_acquire(first, -1, &e, NULL) == FW_CLOSED && e == NULL);
    OK(fw_semaphore_acquire(second, -1, &e, &error));
    CHECK(fw_tenure_token(e) > fw_tenure_token(d));
    lost = 0;
    fw_tenure_free(c), fw_tenure_free(d), fw_tenure_free(e);
    fw_client_free(one), fw_client_free(two);
    /* A recipe may outlive its client. */
    CHECK(fw_semaphore_acquire(second, -1, &a, NULL) == FW_CLOSED);
    fw_semaphore_free(first), fw_semaphore_free(second);
}

struct member {
    fw_client *client;
    fw_tenure *inside;
};

static fw_double_barrier *meeting(fw_client *client, const char *path) {
    fw_double_barrier *barrier = NULL;
    OK(fw_double_barrier_new(client, path, FW_CSTR, 2, NULL, &barrier, &error));
    return barrier;
}

static void *meet(void *context) {
    struct member *member = context;
    fw_double_barrier *barrier = meeting(member->client, "/meeting");
    OK(fw_double_barrier_enter(barrier, 60000, &member->inside, &error));
    OK(fw_tenure_release(member->inside, 60000, &error));
    fw_double_barrier_free(barrier);
    return NULL;
}

static void meetings(const char *connect) {
    fw_client *one = opened(connect);
    fw_double_barrier *barrier = meeting(one, "/meeting"), *alone = meeting(one, "/alone");
    fw_tenure *inside = NULL;
    CHECK(fw_double_barrier_new(one, "/m", 2, 0, NULL, &barrier, NULL) == FW_BAD_ARGUMENT);
    CHECK(fw_double_barrier_enter(alone, 200, &inside, NULL) == FW_TIMEOUT && inside == NULL);
    struct member other = {opened(connect), NULL};
    pthread_t thread;
    pthread_create(&thread, NULL, meet, &other);
    OK(fw_double_barrier_enter(barrier, 60000, &inside, &error));
    is_held_until_released(inside);
    pthread_join(thread, NULL);
    CHECK(fw_tenure_free(other.inside) == FW_OK);
    fw_double_barrier_free(barrier), fw_double_barrier_free(alone);
    fw_client_free(one), fw_client_free(other.client);
}

static void memberships(const char *connect) {
    fw_client *one = opened(connect), *two = opened(connect);
    fw_group *group = NULL, *same = NULL;
    fw_tenure *member = NULL, *late = NULL;
    const uint8_t *data = (const uint8_t *)"rack 3";
    OK(fw_group_new(one, "/group", FW_CSTR, NULL, &group, &error));
    OK(fw_group_new(two, "/group", FW_CSTR, NULL, &same, &error));
    OK(fw_group_join(group, "host", FW_CSTR, data, 6, -1, &member, &error));
    int64_t token = fw_tenure_token(member);
    CHECK(fw_group_join(same, "host", 4, NULL, 0, 200, &late, NULL) == FW_TAKEN && late == NULL);
    CHECK(fw_worker_take(member, -1, NULL, NULL) == FW_NULL);
    fw_assignment *assignment = NULL;
    CHECK(fw_worker_take(member, -1, &assignment, NULL) == FW_BAD_ARGUMENT);
    is_held_until_released(member);
    OK(fw_group_join(same, "host", 4, NULL, 0, -1, &late, &error));
    CHECK(fw_tenure_token(late) > token);
    /* Somebody deletes the node. */
    OK(fw_client_delete(one, "/group/host", FW_CSTR, FW_ANY_VERSION, -1, &error));
    OK(fw_group_join(group, "host", 4, NULL, 0, -1, &member, &error));
    while (fw_tenure_standing(late) != FW_STANDING_LOST) OK(fw_client_sync(two, "/", 1, -1, &error));
    CHECK(fw_tenure_check(late, NULL, NULL) == FW_LOST);
    fw_tenure_free(late), fw_tenure_free(member);
    fw_group_free(group), fw_group_free(same);
    fw_client_free(one), fw_client_free(two);
}

static void worker_ids(const char *connect) {
    fw_client *client = opened(connect);
    fw_worker_ids *ids = NULL;
    fw_tenure *a = NULL, *b = NULL, *c = NULL;
    CHECK(fw_worker_ids_new(client, "/i", 2, 0, NULL, &ids, NULL) == FW_BAD_ARGUMENT && !ids);
    OK(fw_worker_ids_new(client, "/ids", FW_CSTR, 2, NULL, &ids, &error));
    OK(fw_worker_ids_claim(ids, -1, &a, &error));
    OK(fw_worker_ids_claim(ids, -1, &b, &error));
    int64_t id = fw_tenure_worker_id(a);
    CHECK(id + fw_tenure_worker_id(b) == 1 && (id == 0 || id == 1));
    CHECK(fw_worker_ids_claim(ids, -1, &c, NULL) == FW_TAKEN && c == NULL);
    is_held_until_released(a);
    OK(fw_worker_ids_claim(ids, -1, &c, &error));
    CHECK(fw_tenure_worker_id(c) == id);
    fw_tenure_free(b), fw_tenure_free(c);
    fw_worker_ids_free(ids);
    fw_client_free(client);
}

static fw_lock *looked_at;
static atomic_int is_over;

static void *look(void *none) {
    while (!is_over) fw_lock_check(looked_at, NULL, NULL);
    return none;
}

/* A release is done when it returns, also while other threads look at the handle. */
static void releases(const char *connect) {
    fw_client *one = opened(connect), *two = opened(connect);
    for (int round = 0; round < 20; round++) {
        pthread_t threads[2];
        fw_result *line = NULL;
        is_over = 0;
        OK(fw_lock_acquire(one, "/looked-at", FW_CSTR, -1, &looked_at, &error));
        for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, look, NULL) == 0);
        OK(fw_lock_release(looked_at, -1, &error));
        fw_status found = fw_client_children(two, "/looked-at", FW_CSTR, 0, -1, &line, NULL);
        /* It is a container, which goes some time after its last child. */
        CHECK(found == FW_NO_NODE || (found == FW_OK && fw_result_count(line) == 0));
        fw_result_free(line);
        is_over = 1;
        for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        fw_lock_free(looked_at);
    }
    fw_client_free(one), fw_client_free(two);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    permits(arguments[1]);
    meetings(arguments[1]);
    memberships(arguments[1]);
    worker_ids(arguments[1]);
    releases(arguments[1]);
    return 0;
}
