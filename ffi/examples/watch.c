/* Follows a subtree by a lasting watch, and reads what changed:
 *
 *     watch host:port[,host:port...][/chroot] PATH [CHANGES]
 *
 * Ends after that many changes, or never. The callback only passes paths on: it runs on the
 * client's thread and must not wait. The main thread reads, which may wait. */
#include <farwatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATHS_MAX 64

struct changes {
    pthread_mutex_t lock;
    pthread_cond_t there;
    char *paths[PATHS_MAX];
    size_t count;
    int read_all; /* events were missed: what is known may be old */
    int is_over;
};

static void on_event(void *context, const fw_event *event) {
    struct changes *changes = context;
    const char *path = fw_event_path(event, NULL);
    char *copy = path == NULL ? NULL : strdup(path);
    pthread_mutex_lock(&changes->lock);
    if (copy != NULL && changes->count < PATHS_MAX)
        changes->paths[changes->count++] = copy, copy = NULL;
    else if (path != NULL || fw_event_state(event) == FW_STATE_CONNECTED)
        changes->read_all = 1; /* too many, no memory, or reconnected: read again what matters */
    if (fw_event_state(event) == FW_STATE_EXPIRED || fw_event_state(event) == FW_STATE_CLOSED)
        changes->is_over = 1;
    pthread_cond_signal(&changes->there);
    pthread_mutex_unlock(&changes->lock);
    free(copy);
}

static void show(fw_client *client, const char *path) {
    fw_result *result = NULL;
    fw_error *error = NULL;
    size_t size = 0;
    if (fw_client_get(client, path, FW_CSTR, 0, FW_DEFAULT_TIMEOUT, &result, &error) == FW_OK) {
        const char *data = (const char *)fw_result_data(result, &size);
        printf("%s is %.*s\n", path, (int)size, data == NULL ? "" : data);
    } else if (fw_error_status(error) == FW_NO_NODE) {
        printf("%s is gone\n", path);
    } else {
        printf("%s is unknown: %s\n", path, fw_error_text(error));
    }
    fflush(stdout);
    fw_result_free(result);
    fw_error_free(error);
}

/* Waits for a change; the path is to be freed, and null when everything is to be read again, or it is over. */
static int next(struct changes *changes, char **path) {
    int is_over;
    pthread_mutex_lock(&changes->lock);
    while (changes->count == 0 && !changes->read_all && !changes->is_over)
        pthread_cond_wait(&changes->there, &changes->lock);
    *path = NULL;
    is_over = changes->is_over;
    if (changes->read_all) {
        changes->read_all = 0;
    } else if (!is_over) {
        *path = changes->paths[0];
        memmove(changes->paths, changes->paths + 1, --changes->count * sizeof(char *));
    }
    pthread_mutex_unlock(&changes->lock);
    return !is_over;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: watch CONNECT PATH [CHANGES]\n");
        return 2;
    }
    long left = count > 3 ? atol(arguments[3]) : -1;
    struct changes changes = {.lock = PTHREAD_MUTEX_INITIALIZER, .there = PTHREAD_COND_INITIALIZER};
    fw_config *config = NULL;
    fw_client *client = NULL;
    fw_watch *watch = NULL;
    fw_error *error = NULL;
    int code = 1;

    if (fw_config_new(&config, &error) == FW_OK &&
        fw_config_set(config, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_client_open(config, &client, &error) == FW_OK &&
        fw_client_watch(client, arguments[2], FW_CSTR, FW_WATCH_RECURSIVE, on_event, &changes, NULL,
                        FW_DEFAULT_TIMEOUT, &watch, &error) == FW_OK) {
        char *path;
        show(client, arguments[2]); /* what changes from here on is told */
        while (left != 0 && next(&changes, &path)) {
            show(client, path == NULL ? arguments[2] : path);
            left -= path != NULL && left > 0;
            free(path);
        }
        code = left == 0 ? 0 : 1;
        if (code != 0) fprintf(stderr, "watch: the session is over\n");
    }
    if (error) fprintf(stderr, "watch: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_watch_free(watch); /* no callback comes after this */
    fw_client_free(client);
    fw_config_free(config);
    while (changes.count > 0) free(changes.paths[--changes.count]);
    return code;
}
