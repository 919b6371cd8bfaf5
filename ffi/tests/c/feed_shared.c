/* One thread waits at a feed; others ask where it stands, look, and wait there too. The argument: whom to
 * learn from. */
#include "check.h"
#include <pthread.h>

#define FOREVER_MS 3600000

static fw_feed *feed;

/* Waits for one change and returns its transaction. */
static void *take(void *zxid) {
    fw_change *change = NULL;
    OK(fw_feed_next(feed, FOREVER_MS, &change, &error));
    *(int64_t *)zxid = fw_change_zxid(change);
    fw_change_free(change);
    return NULL;
}

static int64_t create(fw_client *client, const char *path) {
    fw_result *made = NULL;
    fw_stat stat = FW_STAT_INIT;
    OK(fw_client_create(client, path, FW_CSTR, NULL, 0, FW_PERSISTENT, -1, &made, &error));
    OK(fw_result_stat(made, &stat, &error));
    fw_result_free(made);
    return stat.czxid;
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    fw_client *client = NULL;
    fw_change *change = NULL;
    pthread_t threads[2];
    int64_t taken[2] = {0, 0};
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    OK(fw_observer_client(observer, NULL, NULL, 0, &client, &error));
    create(client, "/wanted");
    OK(fw_observer_subscribe(observer, "/wanted", FW_CSTR, FW_FROM_NOW, &feed, &error));
    for (int at = 0; at < 2; at++) CHECK(pthread_create(&threads[at], NULL, take, &taken[at]) == 0);

    /* Only who waits there moves the feed past what it does not tell: so somebody waits, and is not waited
     * for. */
    int64_t other = create(client, "/other");
    while (fw_feed_zxid(feed) < other) {}
    CHECK(fw_feed_next(feed, 0, &change, NULL) == FW_TIMEOUT);

    int64_t first = create(client, "/wanted/1"), second = create(client, "/wanted/2");
    for (int at = 0; at < 2; at++) CHECK(pthread_join(threads[at], NULL) == 0);
    CHECK((taken[0] == first && taken[1] == second) || (taken[0] == second && taken[1] == first));

    fw_feed_free(feed);
    fw_client_free(client);
    fw_observer_free(observer);
    fw_config_free(config);
    return 0;
}
