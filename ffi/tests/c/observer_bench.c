/* What a read of an embedded observer costs through C: observer_bench peers path */
#include <farwatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5000000

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void look(void *context, const fw_node *node) {
    size_t len = 0;
    const uint8_t *data = fw_node_data(node, &len);
    *(unsigned *)context += data ? data[0] : 0;
}

#define MEASURE(name, call)                                                                        \
    do {                                                                                           \
        double began = now();                                                                      \
        for (int round = 0; round < ROUNDS; round++)                                               \
            if ((call) != FW_OK) return 1;                                                         \
        printf("%-24s %6.1f ns\n", name, (now() - began) / ROUNDS);                                \
    } while (0)

int main(int count, char **arguments) {
    if (count != 3) return 2;
    const char *path = arguments[2];
    size_t path_len = 0;
    while (path[path_len]) path_len++;
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    fw_view *view = NULL;
    uint8_t buffer[4096];
    const uint8_t *data = NULL;
    size_t size = 0;
    int64_t len = 0;
    unsigned sum = 0;
    fw_stat stat = FW_STAT_INIT;

    if (fw_config_new(&config, NULL) != FW_OK
        || fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, NULL) != FW_OK
        || fw_observer_open(config, &observer, NULL) != FW_OK
        || fw_observer_wait_ready(observer, 0, 20000, NULL) != FW_OK
        || fw_observer_view(observer, &view, NULL) != FW_OK)
        return 1;
    MEASURE("get, copied", fw_observer_get(observer, path, path_len, buffer, sizeof(buffer), &len,
                                           NULL, NULL));
    MEASURE("get, copied, with stat", fw_observer_get(observer, path, path_len, buffer,
                                                      sizeof(buffer), &len, &stat, NULL));
    MEASURE("read in place", fw_observer_read(observer, path, path_len, look, &sum, NULL));
    MEASURE("exists", fw_observer_exists(observer, path, path_len, NULL, NULL));
    MEASURE("get in a view", fw_view_get(view, path, path_len, &data, &size, NULL, NULL));
    fw_view_free(view);
    fw_observer_free(observer);
    fw_config_free(config);
    return sum == 0;
}
