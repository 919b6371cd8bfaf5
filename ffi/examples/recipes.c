/* Offers a service, follows who else does, and is told when its configuration changes:
 * recipes CONNECT PATH NAME. Each run takes its part in one rollout, which it counts. */
#include <farwatch.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct told {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char setting[64];
};

/* On the client's own thread: copy, signal, return. */
static void on_config(void *context, const fw_result *state) {
    struct told *told = context;
    size_t size = 0;
    const char *data = (const char *)fw_result_data(state, &size);
    pthread_mutex_lock(&told->lock);
    snprintf(told->setting, sizeof told->setting, "%.*s", (int)size, data == NULL ? "" : data);
    pthread_cond_signal(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static void await_setting(struct told *told, const char *setting) {
    pthread_mutex_lock(&told->lock);
    while (strcmp(told->setting, setting) != 0) pthread_cond_wait(&told->changed, &told->lock);
    printf("configured: %s\n", told->setting);
    pthread_mutex_unlock(&told->lock);
}

/* Offers "web" under `name`, and asks the instances in turn. */
static int serve(fw_client *client, const char *path, const char *name, fw_error **error) {
    fw_service_directory *directory = NULL;
    fw_tenure *offered = NULL;
    fw_followed *web = NULL;
    fw_result *picked = NULL;
    const uint8_t *address = (const uint8_t *)"10.0.0.7:80";
    int served = 0;
    if (fw_service_directory_new(client, path, FW_CSTR, NULL, &directory, error) == FW_OK &&
        fw_service_directory_follow(directory, "web", FW_CSTR, &web, error) == FW_OK &&
        fw_service_directory_register(directory, "web", FW_CSTR, name, FW_CSTR, address, 11,
                                      FW_DEFAULT_TIMEOUT, &offered, error) == FW_OK) {
        uint64_t seen = 0;
        /* What is followed hears of it as all others do, so it may take a moment. */
        while (fw_followed_pick(web, &picked, NULL) != FW_OK &&
               fw_followed_wait_beyond(web, seen, FW_DEFAULT_TIMEOUT, &seen, error) == FW_OK)
            continue;
        size_t size = 0;
        const char *where = (const char *)fw_result_data(picked, &size);
        if (where != NULL) printf("ask %s at %.*s\n", fw_result_name(picked, 0, NULL), (int)size, where);
        /* As with a lock: before each act, ask whether it is one's own still. */
        served = where != NULL && fw_tenure_check(offered, NULL, error) == FW_OK &&
                 fw_tenure_release(offered, FW_DEFAULT_TIMEOUT, error) == FW_OK;
    }
    fw_result_free(picked);
    fw_followed_free(web);
    fw_tenure_free(offered);
    fw_service_directory_free(directory);
    return served;
}

/* Sets the configuration, and waits until this program, like all others, is told. */
static int configure(fw_client *client, const char *path, fw_error **error) {
    struct told told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, ""};
    fw_followed *cell = NULL;
    fw_result *now = NULL;
    int set = 0;
    if (fw_config_cell_open(client, path, FW_CSTR, NULL, &cell, error) == FW_OK &&
        fw_followed_on_change(cell, on_config, &told, NULL, error) == FW_OK &&
        fw_config_cell_set(cell, (const uint8_t *)"threads=4", 9, FW_ANY_VERSION,
                           FW_DEFAULT_TIMEOUT, NULL, error) == FW_OK) {
        await_setting(&told, "threads=4");
        /* On top of what was read, and of nothing else: FW_BAD_VERSION if somebody was faster. */
        set = fw_followed_get(cell, &now, error) == FW_OK &&
              fw_config_cell_set(cell, (const uint8_t *)"threads=8", 9, fw_result_version(now),
                                 FW_DEFAULT_TIMEOUT, NULL, error) == FW_OK;
        if (set) await_setting(&told, "threads=8");
    }
    fw_result_free(now);
    fw_followed_free(cell);
    return set;
}

static int count_run(fw_client *client, const char *path, fw_error **error) {
    fw_counter *counter = NULL;
    int64_t runs = 0;
    int counted = fw_counter_new(client, path, FW_CSTR, NULL, &counter, error) == FW_OK &&
                  fw_counter_add(counter, 1, FW_DEFAULT_TIMEOUT, &runs, NULL, error) == FW_OK;
    if (counted) printf("rollout %lld is done\n", (long long)runs);
    fw_counter_free(counter);
    return counted;
}

int main(int count, char **arguments) {
    if (count < 4) {
        fprintf(stderr, "usage: recipes CONNECT PATH NAME\n");
        return 2;
    }
    char services[256], config[256], runs[256];
    snprintf(services, sizeof services, "%s/services", arguments[2]);
    snprintf(config, sizeof config, "%s/config", arguments[2]);
    snprintf(runs, sizeof runs, "%s/runs", arguments[2]);
    fw_config *settings = NULL;
    fw_client *client = NULL;
    fw_semaphore *rollout = NULL;
    fw_tenure *permit = NULL;
    fw_error *error = NULL;
    int code = 1;

    /* One at a time: the others wait in line. */
    if (fw_config_new(&settings, &error) == FW_OK &&
        fw_config_set(settings, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_client_open(settings, &client, &error) == FW_OK &&
        fw_semaphore_new(client, arguments[2], FW_CSTR, 1, NULL, &rollout, &error) == FW_OK &&
        fw_semaphore_acquire(rollout, 60000, &permit, &error) == FW_OK &&
        serve(client, services, arguments[3], &error) && configure(client, config, &error) &&
        count_run(client, runs, &error) &&
        fw_tenure_release(permit, FW_DEFAULT_TIMEOUT, &error) == FW_OK)
        code = 0;
    if (error) fprintf(stderr, "recipes: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_tenure_free(permit);
    fw_semaphore_free(rollout);
    fw_client_free(client);
    fw_config_free(settings);
    return code;
}
