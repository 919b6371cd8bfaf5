/* An observer for which there is a thread or a descriptor too few, however many it takes: it is refused
 * in words, and nothing of it stays behind. Arguments: whom to learn from, a directory for one that keeps
 * its history. */
#define _GNU_SOURCE
#include "check.h"
#include "threads.h"
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

static int entries(const char *directory, const char *part) {
    int count = 0;
    DIR *stream = opendir(directory);
    CHECK(stream != NULL);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        count += entry->d_name[0] != '.' && strstr(entry->d_name, part) != NULL;
    closedir(stream);
    return count;
}

static int descriptors(void) { return entries("/proc/self/fd", ""); }

/* The limit under which there is not one descriptor, whichever numbers this process was given open. */
static rlim_t none_free(void) {
    int lowest = dup(2);
    CHECK(lowest >= 0 && close(lowest) == 0);
    return (rlim_t)lowest;
}

/* Directories of this process's observers in shared memory. */
static int directories(void) {
    char part[64];
    snprintf(part, sizeof part, ".%d-", (int)getpid());
    return entries("/dev/shm", part);
}

/* What came of it under the limit: it was refused, or it is there and learns, waits, or has ended with a
 * reason. Whatever it was, it can be asked and freed. */
enum outcome { REFUSED, WAITS, ENDED, LEARNS };

static enum outcome tried(const fw_config *config, int resource, rlim_t limit) {
    struct rlimit before, few;
    fw_error *error = NULL;
    fw_observer *observer = NULL;
    fw_status waited = FW_OK;
    CHECK(getrlimit(resource, &before) == 0);
    few = before, few.rlim_cur = limit;
    CHECK(setrlimit(resource, &few) == 0);
    fw_status status = fw_observer_open(config, &observer, &error);
    if (status == FW_OK) waited = fw_observer_wait_ready(observer, 0, 300, NULL);
    CHECK(setrlimit(resource, &before) == 0);
    if (status != FW_OK) {
        if (status != FW_NO_RESOURCES)
            fprintf(stderr, "limit %d: %d, %s\n", (int)limit, (int)status, fw_error_text(error));
        CHECK(status == FW_NO_RESOURCES && fw_error_retriable(error) && observer == NULL);
        CHECK(strlen(fw_error_text(error)) > 0);
        fw_error_free(error);
        return REFUSED;
    }
    status = fw_observer_exists(observer, "/", 1, NULL, NULL);
    CHECK(status == FW_OK || status == FW_NO_NODE);
    if (waited == FW_CLOSED) CHECK(strlen(fw_observer_ended(observer, NULL)) > 0);
    CHECK(waited == FW_OK || waited == FW_TIMEOUT || waited == FW_CLOSED);
    CHECK(fw_observer_free(observer) == FW_OK);
    return waited == FW_OK ? LEARNS : waited == FW_CLOSED ? ENDED : WAITS;
}

/* What comes of it with no thread, one, two, … until it learns. */
static void threads_run_out(const fw_config *config) {
    int outcomes[4] = {0};
    for (int threads = 0; outcomes[LEARNS] < 2; threads++) {
        CHECK(threads < 50);
        threads_left = threads;
        enum outcome outcome = tried(config, RLIMIT_NOFILE, 1000);
        threads_left = MANY_THREADS;
        CHECK(threads > 0 || outcome == REFUSED);
        CHECK(directories() == 0);
        outcomes[outcome]++;
    }
    printf("few threads: refused %d, waits %d, ended %d\n", outcomes[REFUSED], outcomes[WAITS],
           outcomes[ENDED]);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    int outcomes[4] = {0};
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    threads_run_out(config);
    fw_config *durable = NULL;
    OK(fw_config_new(&durable, &error));
    OK(fw_config_set(durable, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_config_set(durable, "dataDir", FW_CSTR, arguments[2], FW_CSTR, &error));
    threads_run_out(durable);
    fw_config_free(durable);
    int used = descriptors();
    for (int more = 0; outcomes[LEARNS] < 2 && more < 100; more++) {
        outcomes[tried(config, RLIMIT_NOFILE, none_free() + (rlim_t)more)]++;
        /* Its directory is gone when the call returns; threads of its server may still be on their way out. */
        CHECK(directories() == 0);
        for (int i = 0; i < 5000 && descriptors() != used; i++) usleep(1000);
        if (descriptors() != used || directories() != 0)
            fprintf(stderr, "%d more: %d descriptors of %d, %d directories\n", more, descriptors(),
                    used, directories());
        CHECK(descriptors() == used && directories() == 0);
    }
    printf("refused %d, waits %d, ended %d, learns %d\n", outcomes[REFUSED], outcomes[WAITS],
           outcomes[ENDED], outcomes[LEARNS]);
    CHECK(outcomes[REFUSED] > 0 && outcomes[LEARNS] == 2);
    OK(fw_observer_open(config, &observer, &error));
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    fw_observer_free(observer);
    CHECK(directories() == 0);
    fw_config_free(config);
    return 0;
}
