/* What a host process does to an embedded observer: threads that come and go, signals in the middle of
 * reads, forks, views kept over changes, hostile arguments; while somebody else writes to /stress.
 *
 *     observer_stress peers seconds
 *
 * /stress/left and /stress/right always hold the same number, set by one transaction. */
#include <farwatch.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8

static fw_observer *observer;
static atomic_bool stopping;
static atomic_ulong reads, signals, bad;

static void fail(const char *what) {
    fprintf(stderr, "observer_stress: %s\n", what);
    atomic_fetch_add(&bad, 1);
}

static int64_t number(const uint8_t *data, size_t len) {
    char text[32] = {0};
    if (sizeof(text) <= len) return -1;
    memcpy(text, data, len);
    return strtoll(text, NULL, 10);
}

static void look(void *context, const fw_node *node) {
    size_t len = 0;
    const uint8_t *data = fw_node_data(node, &len);
    *(int64_t *)context = data ? number(data, len) : -1;
}

/* Signal handlers may read: nothing is locked and nothing allocated. */
static void on_signal(int signal) {
    uint8_t buffer[32];
    int64_t len = 0;
    (void)signal;
    /* It may have come while `look` was called. */
    fw_status status =
        fw_observer_get(observer, "/stress/left", FW_CSTR, buffer, sizeof(buffer), &len, NULL, NULL);
    if (status != FW_OK && status != FW_IN_CALLBACK) atomic_fetch_add(&bad, 1);
    atomic_fetch_add(&signals, 1);
}

static void read_once(int64_t *last) {
    uint8_t buffer[32];
    int64_t len = 0, seen = -1;
    fw_stat stat = FW_STAT_INIT;
    if (fw_observer_get(observer, "/stress/left", FW_CSTR, buffer, sizeof(buffer), &len, &stat, NULL)
        != FW_OK)
        fail("a read failed");
    else {
        int64_t value = number(buffer, (size_t)len);
        if (value < *last) fail("a read went back");
        if (stat.data_length != len) fail("a stat is of another data");
        *last = value;
    }
    if (fw_observer_read(observer, "/stress/right", FW_CSTR, look, &seen, NULL) != FW_OK
        || seen < *last)
        fail("right is older than left was");
    if (fw_observer_exists(observer, "/stress/no", FW_CSTR, NULL, NULL) != FW_NO_NODE)
        fail("there is what is not there");
}

static void read_view(void) {
    fw_view *view = NULL;
    const uint8_t *left = NULL, *right = NULL;
    size_t left_len = 0, right_len = 0;
    if (fw_observer_view(observer, &view, NULL) != FW_OK) {
        fail("no view");
        return;
    }
    for (int turn = 0; turn < 3; turn++) {
        if (fw_view_get(view, "/stress/left", FW_CSTR, &left, &left_len, NULL, NULL) != FW_OK
            || fw_view_get(view, "/stress/right", FW_CSTR, &right, &right_len, NULL, NULL) != FW_OK
            || left_len != right_len || memcmp(left, right, left_len) != 0)
            fail("a view is of two states");
        if (turn == 1) usleep(2000); /* changes go on, the view does not */
    }
    fw_view_free(view);
}

static void *reader(void *argument) {
    int64_t last = 0;
    (void)argument;
    for (int round = 0; round < 2000 && !atomic_load(&stopping); round++) {
        for (int turn = 0; turn < 50; turn++) read_once(&last);
        if (round % 16 == 0) read_view();
        atomic_fetch_add(&reads, 50);
    }
    return NULL;
}

/* Threads that end and are made anew. */
static void *churn(void *argument) {
    while (!atomic_load(&stopping)) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, reader, argument) != 0) continue;
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void fork_once(fw_feed *feed) {
    fw_view *kept = NULL;
    const uint8_t *data = NULL;
    size_t size = 0;
    if (fw_observer_view(observer, &kept, NULL) != FW_OK) fail("no view to keep");
    pid_t child = fork();
    if (child == 0) {
        int64_t last = 0;
        unsigned long before = atomic_load(&bad);
        alarm(20);
        read_once(&last);
        fw_view *view = NULL;
        if (fw_observer_wait_ready(observer, 0, 1000, NULL) != FW_FORKED
            || fw_observer_view(observer, &view, NULL) != FW_FORKED
            || fw_observer_ended(observer, NULL) != NULL
            || fw_view_get(kept, "/stress/left", FW_CSTR, &data, &size, NULL, NULL) != FW_OK
            || fw_view_free(kept) != FW_OK || fw_feed_next(feed, 0, NULL, NULL) == FW_OK
            || fw_feed_free(feed) != FW_FORKED)
            _exit(2);
        fw_observer_free(observer);
        _exit(atomic_load(&bad) == before ? 0 : 3);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status)
        || WEXITSTATUS(status) != 0)
        fail("a forked child could not read, or did not end");
    fw_view_free(kept);
}

static void be_hostile(void) {
    uint8_t buffer[1];
    int64_t len = 0;
    size_t size = 0;
    fw_lag lag = {0, 0, 0, 0, 0, 0};
    fw_observer *other = NULL;
    fw_config *config = NULL;
    if (fw_observer_get(NULL, "/", 1, buffer, 1, &len, NULL, NULL) != FW_NULL
        || fw_observer_get(observer, NULL, 1, buffer, 1, &len, NULL, NULL) != FW_NULL
        || fw_observer_get(observer, "/", 1, NULL, 0, NULL, NULL, NULL) != FW_NULL
        || fw_observer_get(observer, "/", (size_t)-2, buffer, 1, &len, NULL, NULL) != FW_TOO_LARGE
        || fw_observer_get(observer, "/stress/long", FW_CSTR, buffer, 1, &len, NULL, NULL)
               != FW_BUFFER_TOO_SMALL
        || len != 10 || fw_observer_read(observer, "/", 1, NULL, NULL, NULL) != FW_NULL
        || fw_observer_lag(observer, &lag, NULL) != FW_BAD_ARGUMENT
        || fw_view_get((fw_view *)observer, "/", 1, NULL, &size, NULL, NULL) != FW_BAD_HANDLE
        || fw_feed_next(NULL, 0, NULL, NULL) != FW_NULL || fw_observer_free(NULL) != FW_OK)
        fail("a hostile argument was taken");
    if (fw_config_new(&config, NULL) != FW_OK
        || fw_observer_open(config, &other, NULL) != FW_BAD_ARGUMENT
        || fw_config_set(config, "upstreams", FW_CSTR, "127.0.0.1:1", FW_CSTR, NULL) != FW_OK)
        fail("a configuration without upstreams was taken");
    for (int turn = 0; turn < 3; turn++) {
        if (fw_observer_open(config, &other, NULL) != FW_OK) fail("no second observer");
        fw_observer_free(other);
        other = NULL;
    }
    fw_config_free(config);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    fw_config *config = NULL;
    fw_feed *feed = NULL;
    fw_error *error = NULL;
    pthread_t threads[THREADS];
    struct sigaction action;
    unsigned long changes = 0, forks = 0;
    int64_t told = 0;

    if (fw_config_new(&config, &error) != FW_OK
        || fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error) != FW_OK
        || fw_observer_open(config, &observer, &error) != FW_OK
        || fw_observer_wait_ready(observer, 0, 20000, &error) != FW_OK
        || fw_observer_subscribe(observer, "/stress/left", FW_CSTR, FW_FROM_NOW, &feed, &error)
               != FW_OK) {
        fprintf(stderr, "observer_stress: %s\n", fw_error_text(error));
        return 1;
    }
    fw_config_free(config);
    be_hostile();
    for (int at = 0; at < THREADS; at++) pthread_create(&threads[at], NULL, churn, NULL);
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval storm = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &storm, NULL);

    time_t until = time(NULL) + atoi(arguments[2]);
    while (time(NULL) < until) {
        fw_change *change = NULL;
        fw_status status = fw_feed_next(feed, 100, &change, NULL);
        if (status == FW_OK) {
            size_t len = 0;
            const uint8_t *data = fw_change_data(change, &len);
            if (fw_change_zxid(change) <= told) fail("changes are not in order");
            if (!data || number(data, len) < 0) fail("a change has no value");
            told = fw_change_zxid(change);
            changes++;
        } else if (status != FW_TIMEOUT)
            fail("the feed broke");
        fw_change_free(change);
        if (changes % 64 == 0) {
            fork_once(feed);
            forks++;
        }
    }
    memset(&storm, 0, sizeof(storm));
    setitimer(ITIMER_REAL, &storm, NULL);
    atomic_store(&stopping, true);
    for (int at = 0; at < THREADS; at++) pthread_join(threads[at], NULL);
    printf("%lu reads, %lu signals, %lu changes, %lu forks, %lu bad\n", atomic_load(&reads),
           atomic_load(&signals), changes, forks, atomic_load(&bad));
    if (atomic_load(&reads) == 0 || atomic_load(&signals) == 0 || changes == 0 || forks == 0)
        fail("something never happened");
    fw_feed_free(feed);
    fw_observer_free(observer);
    return atomic_load(&bad) == 0 ? 0 : 1;
}
