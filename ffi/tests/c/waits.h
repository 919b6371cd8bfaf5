/* What the programs share in which the library waits: two clients, a queue, and what is seen of those that wait. */
#ifndef WAITS_H
#define WAITS_H

#include "check.h"
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define NEVER 100000000

static const char *address;
static fw_client *client, *other; /* who waits, and who has what is waited for */
static fw_queue *queue;
static char tags[8];

/* Frees `op`. */
static inline uint64_t enqueued(fw_client *by, fw_op *op, int tag) {
    uint64_t request = 0;
    OK(fw_client_enqueue(by, op, queue, &tags[tag], &request, &error));
    fw_op_free(op);
    return request;
}

static inline fw_completion *next(int tag, fw_status status) {
    fw_completion *completion = NULL;
    OK(fw_queue_next(queue, 60000, &completion, &error));
    if (fw_completion_status(completion) != status)
        fprintf(stderr, "%d: %s\n", tag, fw_error_text(fw_completion_error(completion)));
    CHECK(fw_completion_status(completion) == status && fw_completion_tag(completion) == &tags[tag]);
    CHECK((fw_completion_result(completion) == NULL) == (status != FW_OK) && fw_completion_event(completion) == NULL);
    return completion;
}

static inline void fails(int tag, fw_status status) {
    fw_completion *completion = next(tag, status);
    CHECK(!fw_error_maybe_applied(fw_completion_error(completion)));
    fw_completion_free(completion);
}

static inline void nothing_comes(void) {
    fw_completion *none = NULL;
    OK(fw_client_sync(client, "/", 1, -1, &error));
    CHECK(fw_queue_next(queue, 0, &none, NULL) == FW_TIMEOUT);
}

static inline fw_tenure *tenure_of(fw_completion *completion) {
    fw_tenure *tenure = NULL;
    OK(fw_result_tenure(fw_completion_result(completion), &tenure, &error));
    CHECK(fw_result_number(fw_completion_result(completion)) == fw_tenure_token(tenure));
    fw_completion_free(completion);
    return tenure;
}

static inline void given_up(fw_tenure *tenure) {
    OK(fw_tenure_check(tenure, NULL, &error));
    OK(fw_tenure_release(tenure, -1, &error));
    CHECK(fw_tenure_free(tenure) == FW_OK);
}

static inline size_t children(const char *path) {
    fw_result *names = NULL;
    fw_status status = fw_client_children(other, path, FW_CSTR, 0, -1, &names, NULL);
    CHECK(status == FW_OK || status == FW_NO_NODE);
    size_t count = status == FW_OK ? fw_result_count(names) : 0;
    fw_result_free(names);
    return count;
}

/* Until so many are in a line. */
static inline void await_children(const char *path, size_t count) {
    while (children(path) != count) OK(fw_client_sync(other, "/", 1, -1, &error));
}

static inline void abandon(uint64_t request) {
    bool maybe_applied = true;
    OK(fw_client_abandon(client, request, &maybe_applied, &error));
    CHECK(!maybe_applied);
    CHECK(fw_client_abandon(client, request, NULL, NULL) == FW_BAD_ARGUMENT);
}

static inline fw_client *another(void) {
    fw_client *more = opened(address);
    OK(fw_client_wait_connected(more, 60000, &error));
    return more;
}

/* Whether a thread of this process waits in a recipe, and which signals are blocked on it. */
static inline bool waits_there(const char *thread, unsigned long long *blocked) {
    char path[300], line[200];
    bool waits = false;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *status = fopen(path, "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        waits = waits || strcmp(line, "Name:\tfarwatch-wait\n") == 0;
        if (strncmp(line, "SigBlk:", 7) == 0) *blocked = strtoull(line + 7, NULL, 16);
    }
    if (status != NULL) fclose(status);
    return waits;
}

/* All signals are blocked on those threads, but for what libc needs: a tool that runs the program may have others
 * blocked between two of a thread's system calls. */
static inline int threads_that_wait(void) {
    const unsigned long long all = 0x7fffffff & ~(1ull << (SIGKILL - 1)) & ~(1ull << (SIGSTOP - 1));
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        unsigned long long blocked = all;
        bool waits = waits_there(task->d_name, &blocked);
        for (int looks = 0; waits && (blocked & all) != all; looks++) {
            CHECK(looks < 100000);
            waits = waits_there(task->d_name, &blocked);
        }
        count += waits;
    }
    closedir(tasks);
    return count;
}

static inline fw_queue *new_queue(void) {
    fw_queue *made = NULL;
    OK(fw_queue_new(&made, &error));
    return made;
}

/* Frees `op`. */
static inline void await_in(fw_queue *where, fw_op *op) {
    OK(fw_client_enqueue(client, op, where, &tags[1], NULL, &error));
    fw_op_free(op);
}

#endif
