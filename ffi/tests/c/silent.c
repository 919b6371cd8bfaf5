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

/* What is given up goes on in the background, and what bars the way may do so all the same. A lift looks first
 * what is there, and has asked for nothing. */
static void in_doubt(fw_status status, fw_error *error, bool maybe_applied) {
    CHECK(status == FW_TIMEOUT && fw_error_retriable(error) && !fw_error_fatal(error));
    CHECK(fw_error_maybe_applied(error) == maybe_applied);
    fw_error_free(error);
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
    fw_lock *lock = NULL;
    fw_election *election = NULL;
    fw_barrier *barrier = NULL;
    OK(fw_barrier_new(client, "/b", 2, NULL, &barrier, &error));
    if (answers) {
        OK(fw_lock_acquire(client, "/l", 2, -1, &lock, &error));
        OK(fw_election_join(client, "/e", 2, NULL, 0, -1, &election, &error));
        OK(fw_client_sync(client, "/", 1, -1, &error));
        puts("connected");
        fflush(stdout);
        CHECK(getchar() == '\n'); /* now it is mute */
    }
    double mute = now(), begin = mute;
    CHECK(fw_client_create(client, "/s", 2, NULL, 0, 0, 300, NULL, &error) == FW_TIMEOUT);
    CHECK(fw_error_retriable(error) && !fw_error_fatal(error));
    /* What was sent may have been applied; what never left was not. */
    CHECK(fw_error_maybe_applied(error) == (answers != 0));
    fw_error_free(error);
    CHECK(fw_client_get(client, "/s", 2, 0, 100, NULL, &error) == FW_TIMEOUT);
    CHECK(!fw_error_maybe_applied(error));
    fw_error_free(error);
    CHECK(now() - begin >= 0.4);
    if (answers) {
        fw_status status = fw_lock_release(lock, 100, &error);
        in_doubt(status, error, true);
        status = fw_election_resign(election, 100, &error);
        in_doubt(status, error, true);
    }
    fw_status status = fw_barrier_set(barrier, 100, NULL, &error);
    in_doubt(status, error, answers);
    status = fw_barrier_lift(barrier, 100, &error);
    in_doubt(status, error, false);
    fw_lock_free(lock), fw_election_free(election), fw_barrier_free(barrier);
    begin = now();
    status = fw_client_close(client, 500, NULL);
    /* Behind two thirds of its session's timeout of 2 s, on a busy machine, it has given the connection up. */
    int is_given_up = !answers || 1.2 < now() - mute;
    CHECK((status == FW_TIMEOUT && answers) || (status == FW_CONNECTION_LOSS && is_given_up));
    fw_client_free(client);
    printf("closed in %.1f s\n", now() - begin);
    CHECK(now() - begin < 10); /* far more than its limits, for a busy machine */
    return 0;
}
