/* What stands in C in docs/recipes.md, which the test has written to document.h, with two clients where two are
 * needed. Argument: whom to connect to. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "document.h"

static fw_client *first, *second;
static atomic_int calls;

static void count_one(void) { calls++; }

/* Whether each token is larger than all before it; three steps of each holder. */
static bool three_steps(int64_t token) {
    static int64_t largest;
    CHECK(largest <= token);
    largest = token;
    return ++calls % 3 != 0;
}

/* The same by two clients at once. */
typedef fw_status story(fw_client *client, fw_error **error);

static story *told;

static void *tell(void *client) {
    OK(told(client, &error));
    return NULL;
}

static int by_both(story *which) {
    pthread_t threads[2];
    told = which, calls = 0;
    CHECK(pthread_create(&threads[0], NULL, tell, first) == 0);
    CHECK(pthread_create(&threads[1], NULL, tell, second) == 0);
    CHECK(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[1], NULL) == 0);
    return calls;
}

static fw_status locked(fw_client *client, fw_error **error) { return nightly(client, three_steps, error); }
static fw_status reads(fw_client *client, fw_error **error) { return read_catalogue(client, count_one, error); }
static fw_status licensed(fw_client *client, fw_error **error) { return with_a_licence(client, count_one, error); }
static fw_status stands(fw_client *client, fw_error **error) { return standby(client, three_steps, error); }
static fw_status selects(fw_client *client, fw_error **error) {
    return once_somewhere(client, 60000, count_one, error);
}

/* Nobody is done before both are there. */
static void both_are_there(void) {
    calls++;
    while (calls < 2) OK(fw_client_sync(first, "/", 1, -1, &error));
}
static fw_status meets(fw_client *client, fw_error **error) { return together(client, 2, both_are_there, error); }

static void locks(void) {
    fw_lock *lock = NULL;
    CHECK(by_both(locked) == 6 && by_both(reads) == 2 && by_both(licensed) == 2);
    OK(fw_lock_acquire(first, "/locks/nightly", FW_CSTR, -1, &lock, &error));
    calls = 0;
    CHECK(unless_busy(second, count_one, NULL) == FW_TAKEN && calls == 0);
    OK(fw_lock_release(lock, -1, &error));
    OK(unless_busy(second, count_one, &error));
    CHECK(calls == 1);
    fw_lock_free(lock);
}

/* What comes to the loop's queue next, as its descriptor says. */
static fw_completion *next_entry(fw_queue *queue) {
    struct pollfd ready = {.fd = fw_queue_fd(queue), .events = POLLIN};
    fw_completion *entry = NULL;
    CHECK(poll(&ready, 1, 60000) == 1);
    OK(fw_queue_next(queue, 0, &entry, &error));
    CHECK(fw_completion_status(entry) == FW_OK && fw_completion_event(entry) == NULL);
    CHECK(poll(&ready, 1, 0) == 0);
    return entry;
}

static void delete_what_is_below(const char *folder) {
    fw_result *names = NULL;
    char path[256];
    OK(fw_client_children(second, folder, FW_CSTR, 0, -1, &names, &error));
    for (size_t i = 0; i < fw_result_count(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, fw_result_name(names, i, NULL));
        OK(fw_client_delete(second, path, FW_CSTR, FW_ANY_VERSION, -1, &error));
    }
    fw_result_free(names);
}

static void in_a_loop(void) {
    struct wanted wanted = {.client = first};
    fw_lock *held = NULL;
    fw_completion *none = NULL;
    fw_completion *entry;
    OK(fw_queue_new(&wanted.queue, &error));
    OK(fw_lock_acquire(second, "/locks/nightly", FW_CSTR, -1, &held, &error));
    int64_t token = fw_lock_token(held);
    OK(ask_for_the_lock(&wanted, &error));
    CHECK(fw_queue_next(wanted.queue, 50, &none, NULL) == FW_TIMEOUT);
    OK(fw_lock_release(held, -1, &error));
    entry = next_entry(wanted.queue);
    OK(take_the_lock(entry, &error));
    fw_completion_free(entry);
    CHECK(fw_lock_token(wanted.lock) > token);
    OK(fw_lock_on_change(wanted.lock, tell_the_loop, &wanted, NULL, &error));
    delete_what_is_below("/locks/nightly");
    entry = next_entry(wanted.queue);
    CHECK(fw_completion_result(entry) == NULL && fw_completion_tag(entry) == wanted.lock);
    CHECK(fw_lock_standing(wanted.lock) == FW_STANDING_LOST);
    fw_completion_free(entry);
    fw_lock_free(held), fw_lock_free(wanted.lock), fw_queue_free(wanted.queue);
}

static void selectors(void) {
    fw_selector *selector = NULL;
    fw_tenure *leadership = NULL;
    CHECK(by_both(selects) == 2);
    OK(fw_selector_new(first, "/reports", FW_CSTR, (const uint8_t *)"winner", 6, NULL, &selector, &error));
    OK(fw_selector_lead(selector, -1, &leadership, NULL, &error));
    printf("%lld\n", (long long)fw_tenure_token(leadership));
    OK(once_somewhere(second, 100, count_one, &error)); /* and says who leads */
    CHECK(calls == 2);
    fw_tenure_free(leadership), fw_selector_free(selector);
}

static void queues(void) {
    int64_t mails = 0;
    OK(hand_over(first, &mails, &error));
    OK(hand_over(second, &mails, &error));
    CHECK(mails == 2);
}

static void is_asked_for(void) {
    fw_service_directory *directory = NULL;
    fw_followed *web = NULL;
    fw_result *instance = NULL;
    size_t size = 0;
    OK(fw_service_directory_new(second, "/services", FW_CSTR, NULL, &directory, &error));
    OK(fw_service_directory_follow(directory, "web", FW_CSTR, &web, &error));
    OK(ask_somebody(web, &instance, &error));
    CHECK(fw_result_data(instance, &size) != NULL && size == 11);
    CHECK(memcmp(fw_result_data(instance, NULL), "10.0.0.7:80", size) == 0);
    fw_result_free(instance), fw_followed_free(web), fw_service_directory_free(directory);
}

static void on_value(void *context, const fw_result *value) {
    size_t size = 0;
    const void *data = fw_result_data(value, &size);
    if (size == 9 && memcmp(data, "threads=8", 9) == 0) ++*(atomic_int *)context;
}

static void followed(void) {
    atomic_int pushed = 0, ignored = 0;
    fw_followed *cell = NULL;
    OK(serve(first, is_asked_for, &error));
    OK(fw_config_cell_open(second, "/config/web", FW_CSTR, NULL, &cell, &error));
    OK(fw_followed_on_change(cell, on_value, &pushed, NULL, &error));
    OK(set_threads(first, on_value, &ignored, &error));
    while (pushed == 0) OK(fw_client_sync(second, "/", 1, -1, &error));
    fw_followed_free(cell);
}

static void is_a_shard(int64_t shard, int64_t token) { calls += 0 <= shard && shard < 16 && 0 < token; }

static void ids(void) {
    uint64_t one = 0, other = 0;
    calls = 0;
    OK(be_a_shard(first, is_a_shard, &error));
    CHECK(calls == 1);
    OK(next_id(first, &one, &error));
    OK(next_id(second, &other, &error));
    CHECK(one != 0 && one != other);
}

static void resizes(const uint8_t *data, size_t size, int64_t token) {
    CHECK(size == 13 && memcmp(data, "resize 17.png", size) == 0 && 0 < token);
    calls++;
}

static void *lead(void *leadership) {
    CHECK(hand_out(first, leadership, NULL) == FW_LOST);
    return NULL;
}

static void tasks(void) {
    fw_election *leadership = NULL;
    pthread_t leader;
    calls = 0;
    OK(fw_election_join(first, "/foreman", FW_CSTR, NULL, 0, -1, &leadership, &error));
    OK(fw_election_lead(leadership, -1, &error));
    CHECK(pthread_create(&leader, NULL, lead, leadership) == 0);
    OK(work(second, resizes, &error));
    OK(fw_election_resign(leadership, -1, &error));
    CHECK(pthread_join(leader, NULL) == 0 && calls == 1);
    fw_election_free(leadership);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    first = opened(arguments[1]), second = opened(arguments[1]);
    locks();
    in_a_loop();
    CHECK(by_both(stands) == 6);
    selectors();
    CHECK(by_both(meets) == 2);
    queues();
    followed();
    ids();
    tasks();
    fw_client_free(first), fw_client_free(second);
    return 0;
}
