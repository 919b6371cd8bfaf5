/* A server that takes everything and says nothing: every wait ends in time, closing too.
 *
 *     silent CONNECT answers|mute       whether the server answers until it is told to stop */
#include "check.h"
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    int answers = strcmp(arguments[2], "answers") == 0;
    fw_config *config = configured(arguments[1]);
    fw_client *client = NULL;
    fw_error *error = NULL;
    OK(fw_config_set_number(config, "closeTimeout", FW_CSTR, 300, &error));
    OK(fw_client_open(config, &client, &error));
    fw_config_free(config);
    if (answers) {
        OK(fw_client_sync(client, "/", 1, -1, &error));
        puts("connected");
        fflush(stdout);
        CHECK(getchar() == '\n'); /* now it is mute */
    }
    double begin = now();
    CHECK(fw_client_create(client, "/s", 2, NULL, 0, 0, 300, NULL, &error) == FW_TIMEOUT);
    CHECK(fw_error_retriable(error) && !fw_error_fatal(error));
    /* What was sent may have been applied; what never left was not. */
    CHECK(fw_error_maybe_applied(error) == (answers != 0));
    fw_error_free(error);
    CHECK(fw_client_get(client, "/s", 2, 0, 100, NULL, &error) == FW_TIMEOUT);
    CHECK(!fw_error_maybe_applied(error));
    fw_error_free(error);
    CHECK(now() - begin >= 0.4);
    begin = now();
    CHECK(fw_client_close(client, 500, NULL) == (answers ? FW_TIMEOUT : FW_CONNECTION_LOSS));
    fw_client_free(client);
    printf("closed in %.1f s\n", now() - begin);
    CHECK(now() - begin < 10); /* far more than its limits, for a busy machine */
    return 0;
}
