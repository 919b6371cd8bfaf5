/* What the library must not do to its host: signals, fork, threads that are not to be had. */
#define _GNU_SOURCE
#include "check.h"
#include "threads.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void signals_as_they_were(const char *connect) {
    struct sigaction before[65], now;
    for (int signal = 1; signal <= 64; signal++) sigaction(signal, NULL, &before[signal]);
    fw_client *client = opened(connect);
    OK(fw_client_sync(client, "/", 1, -1, &error));
    fw_client_free(client);
    for (int signal = 1; signal <= 64; signal++) {
        if (sigaction(signal, NULL, &now) != 0) continue; /* one of libc's own */
        CHECK(now.sa_handler == before[signal].sa_handler);
    }
}

static volatile sig_atomic_t storms;

static void count_storm(int signal) {
    (void)signal;
    storms++;
}

static void *storm(void *running) {
    while (*(volatile int *)running) {
        kill(getpid(), SIGUSR1);
        usleep(200);
    }
    return NULL;
}

/* Signals without SA_RESTART interrupt every system call, on every thread. */
static void a_storm_of_signals(const char *connect) {
    struct sigaction action = {.sa_handler = count_storm};
    sigaction(SIGUSR1, &action, NULL);
    volatile int running = 1;
    pthread_t thread;
    pthread_create(&thread, NULL, storm, (void *)&running);
    fw_client *client = opened(connect);
    for (int i = 0; i < 200 || storms < 100; i++) OK(fw_client_sync(client, "/", 1, -1, &error));
    fw_client_free(client);
    running = 0;
    pthread_join(thread, NULL);
}

/* The library's threads take none of the host's signals: one that the host blocks stays pending. */
static void signals_are_the_hosts(const char *connect) {
    struct sigaction action = {.sa_handler = count_storm};
    sigset_t blocked, pending;
    sigaction(SIGUSR2, &action, NULL);
    fw_client *client = opened(connect);
    OK(fw_client_sync(client, "/", 1, -1, &error));
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    storms = 0;
    kill(getpid(), SIGUSR2);
    for (int i = 0; i < 20; i++) OK(fw_client_sync(client, "/", 1, -1, &error));
    CHECK(storms == 0 && sigpending(&pending) == 0 && sigismember(&pending, SIGUSR2) == 1);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) == 0 && storms == 1);
    fw_client_free(client);
}

static void a_child_is_told(const char *connect) {
    fw_client *client = opened(connect), *own = NULL;
    fw_queue *queue = NULL;
    OK(fw_queue_new(&queue, &error));
    OK(fw_client_sync(client, "/", 1, -1, &error));
    pid_t child = fork();
    if (child == 0) {
        CHECK(fw_client_sync(client, "/", 1, -1, NULL) == FW_FORKED);
        CHECK(fw_client_free(client) == FW_FORKED);
        CHECK(fw_queue_free(queue) == FW_FORKED);
        own = opened(connect);
        OK(fw_client_sync(own, "/", 1, -1, &error));
        fw_client_free(own);
        _exit(0);
    }
    int code;
    CHECK(waitpid(child, &code, 0) == child && code == 0);
    OK(fw_client_sync(client, "/", 1, -1, &error));
    fw_client_free(client);
    fw_queue_free(queue);
}

static void no_thread_to_be_had(const char *connect) {
    fw_error *error = NULL;
    fw_client *client = (fw_client *)connect;
    fw_config *config = configured(connect);
    threads_left = 0;
    fw_status status = fw_client_open(config, &client, &error);
    threads_left = MANY_THREADS;
    CHECK(status == FW_NO_RESOURCES && client == (fw_client *)connect);
    CHECK(fw_error_retriable(error) && strlen(fw_error_text(error)) > 0);
    fw_error_free(error);
    OK(fw_client_open(config, &client, &error));
    OK(fw_client_sync(client, "/", 1, -1, &error));
    fw_client_free(client);
    /* Its own thread is there, and none of those that would ask servers beside it. */
    OK(fw_config_set(config, "serverChoice", FW_CSTR, "nearest", FW_CSTR, &error));
    threads_left = 1;
    OK(fw_client_open(config, &client, &error));
    status = fw_client_sync(client, "/", 1, 300, &error);
    CHECK(status == FW_OK || (status == FW_TIMEOUT && !fw_error_maybe_applied(error)));
    if (status != FW_OK) fw_error_free(error);
    threads_left = MANY_THREADS;
    OK(fw_client_sync(client, "/", 1, -1, &error));
    fw_client_free(client);
    fw_config_free(config);
}

static void no_descriptor_to_be_had(const char *connect) {
    struct rlimit before, none;
    fw_error *error = NULL;
    fw_queue *queue = (fw_queue *)&before;
    fw_config *config = configured(connect);

    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before, none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(fw_queue_new(&queue, &error) == FW_NO_RESOURCES && queue == (fw_queue *)&before);
    CHECK(fw_error_retriable(error));
    fw_error_free(error);
    /* A client without a descriptor keeps trying, and answers in time. */
    fw_client *trying = NULL;
    OK(fw_client_open(config, &trying, &error));
    CHECK(fw_client_sync(trying, "/", 1, 200, &error) == FW_TIMEOUT);
    CHECK(!fw_error_maybe_applied(error));
    fw_error_free(error);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    OK(fw_client_sync(trying, "/", 1, -1, &error));
    fw_client_free(trying);
    fw_config_free(config);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    no_thread_to_be_had(arguments[1]);
    signals_as_they_were(arguments[1]);
    a_child_is_told(arguments[1]);
    no_descriptor_to_be_had(arguments[1]);
    signals_are_the_hosts(arguments[1]);
    a_storm_of_signals(arguments[1]);
    return 0;
}
