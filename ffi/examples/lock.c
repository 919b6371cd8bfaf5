/* Does something that only one may do at a time: lock CONNECT PATH [SECONDS] */
#include <farwatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Where the guarded thing lives: it refuses whoever was overtaken, however late they act. */
static fw_status act(fw_fence *resource, int64_t token, fw_error **error) {
    fw_status status = fw_fence_admit(resource, token, error);
    if (status == FW_OK) printf("acted with token %#llx\n", (unsigned long long)token);
    return status;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: lock CONNECT PATH [SECONDS]\n");
        return 2;
    }
    int seconds = count > 3 ? atoi(arguments[3]) : 5;
    fw_config *config = NULL;
    fw_client *client = NULL;
    fw_lock *lock = NULL;
    fw_fence *resource = NULL;
    fw_error *error = NULL;
    int code = 1;

    if (fw_config_new(&config, &error) == FW_OK &&
        fw_config_set(config, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_client_open(config, &client, &error) == FW_OK &&
        fw_fence_new(0, &resource, &error) == FW_OK &&
        fw_lock_acquire(client, arguments[2], FW_CSTR, 60000, &lock, &error) == FW_OK) {
        int64_t token;
        puts("acquired");
        /* Ask before each act: when no server confirms the session in time, this says so. */
        while (fw_lock_check(lock, &token, &error) == FW_OK && act(resource, token, &error) == FW_OK &&
               seconds-- > 0)
            sleep(1);
        /* Who was stopped or refused has failed, and gives the lock up by freeing it. */
        if (error == NULL && fw_lock_release(lock, FW_DEFAULT_TIMEOUT, &error) == FW_OK) {
            puts("released");
            code = 0;
        }
    }
    if (error) fprintf(stderr, "lock: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_lock_free(lock);
    fw_fence_free(resource);
    fw_client_free(client);
    fw_config_free(config);
    return code;
}
