/* An observer without a thread of its own, in a loop that has other things to do as well. The arguments:
 * whom to learn from, where clients connect. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

static fw_observer *observer;
static int pipes[2];

static void *from_elsewhere(void *nothing) {
    fw_error *why = NULL;
    (void)nothing;
    CHECK(fw_observer_drive(observer, 0, &why) == FW_BAD_ARGUMENT);
    CHECK(strstr(fw_error_text(why), "thread that opened it") != NULL);
    fw_error_free(why);
    /* Reads are anybody's. */
    CHECK(fw_observer_exists(observer, "/zookeeper", FW_CSTR, NULL, NULL) == FW_OK);
    CHECK(write(pipes[1], "x", 1) == 1);
    return NULL;
}

static bool counts(void *context, const fw_node *node) {
    CHECK(fw_node_path(node, NULL) != NULL);
    ++*(int *)context;
    return true;
}

/* A client blocks, so it has a thread; the loop serves it. */
static void *writes(void *raw) {
    fw_client *client = raw;
    fw_result *made = NULL;
    OK(fw_client_create(client, "/driven", FW_CSTR, (const uint8_t *)"value", 5, FW_PERSISTENT, 60000,
                        &made, &error));
    fw_result_free(made);
    CHECK(write(pipes[1], "y", 1) == 1);
    return NULL;
}

/* The host's loop: its own descriptors first, then the observer for what is left of 10 ms. */
static char turn_until_told(void) {
    for (;;) {
        struct pollfd waits = {.fd = pipes[0], .events = POLLIN};
        if (poll(&waits, 1, 0) == 1) {
            char told;
            CHECK(read(pipes[0], &told, 1) == 1);
            return told;
        }
        OK(fw_observer_drive(observer, 5, &error));
    }
}

static fw_config *settings(const char *upstream, const char *thread, const char *cpu) {
    fw_config *config = NULL;
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, upstream, FW_CSTR, &error));
    if (thread != NULL) OK(fw_config_set(config, "thread", FW_CSTR, thread, FW_CSTR, &error));
    if (cpu != NULL) OK(fw_config_set(config, "cpu", FW_CSTR, cpu, FW_CSTR, &error));
    return config;
}

static void refused(const char *upstream, const char *thread, const char *cpu) {
    fw_config *config = settings(upstream, thread, cpu);
    fw_observer *none = NULL;
    CHECK(fw_observer_open(config, &none, NULL) == FW_BAD_ARGUMENT);
    CHECK(none == NULL);
    fw_config_free(config);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    pthread_t thread;
    CHECK(pipe(pipes) == 0);
    refused(arguments[1], "some", NULL);
    refused(arguments[1], "pinned", NULL);
    refused(arguments[1], "none", "0");

    fw_config *config = settings(arguments[1], "own", NULL);
    OK(fw_observer_open(config, &observer, &error));
    CHECK(fw_observer_drive(observer, 0, NULL) == FW_BAD_ARGUMENT);
    fw_observer_free(observer);
    fw_config_free(config);

    config = settings(arguments[1], "none", NULL);
    OK(fw_observer_open(config, &observer, &error));
    /* Nothing happens on its own. */
    fw_lag lag = FW_LAG_INIT;
    OK(fw_observer_lag(observer, &lag, &error));
    CHECK(lag.linked == 0 && lag.stale_ms == -1);
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    OK(fw_observer_lag(observer, &lag, &error));
    CHECK(lag.linked == 1);

    CHECK(pthread_create(&thread, NULL, from_elsewhere, NULL) == 0);
    CHECK(turn_until_told() == 'x');
    CHECK(pthread_join(thread, NULL) == 0);

    fw_client *client = NULL;
    OK(fw_observer_client(observer, NULL, NULL, 0, &client, &error));
    CHECK(pthread_create(&thread, NULL, writes, client) == 0);
    CHECK(turn_until_told() == 'y');
    CHECK(pthread_join(thread, NULL) == 0);
    uint8_t data[8];
    int64_t len = 0;
    OK(fw_observer_get(observer, "/driven", FW_CSTR, data, sizeof data, &len, NULL, &error));
    CHECK(len == 5 && memcmp(data, "value", 5) == 0);

    int nodes = 0;
    OK(fw_observer_scan(observer, "/", FW_CSTR, counts, &nodes, &error));
    CHECK(nodes > 2);
    CHECK(fw_observer_scan(observer, "/nobody", FW_CSTR, counts, &nodes, NULL) == FW_NO_NODE);
    fw_stat wrong = {.size = 3};
    data[0] = 'x';
    CHECK(fw_observer_get(observer, "/driven", FW_CSTR, data, sizeof data, &len, &wrong, NULL) == FW_BAD_ARGUMENT);
    CHECK(data[0] == 'x');
    CHECK(fw_abi_version() == FW_ABI_VERSION);
    CHECK(fw_feature("drive", FW_CSTR) && fw_feature("observer", FW_CSTR) && !fw_feature("none", FW_CSTR));

    /* The host's signals are as they were. */
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    CHECK(sigismember(&mask, SIGINT) == 0 && sigismember(&mask, SIGUSR1) == 0);

    OK(fw_observer_close(observer, &error));
    CHECK(fw_observer_ended(observer, NULL) != NULL);
    CHECK(fw_observer_drive(observer, 0, NULL) == FW_CLOSED);
    CHECK(fw_observer_exists(observer, "/driven", FW_CSTR, NULL, NULL) == FW_OK);
    fw_client_free(client);
    fw_observer_free(observer);

    /* Two of one thread, and one that is freed while it works. */
    fw_observer *both[2];
    for (int i = 0; i < 2; i++) OK(fw_observer_open(config, &both[i], &error));
    for (int i = 0; i < 2; i++) OK(fw_observer_wait_ready(both[i], 0, 60000, &error));
    fw_observer_free(both[0]);
    OK(fw_observer_drive(both[1], 20, &error));
    fw_observer_free(both[1]);
    fw_config_free(config);
    return 0;
}
