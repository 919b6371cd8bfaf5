/* What a read costs through C, from memory and from a server:
 *
 *     observer_bench PEERS CONNECT PATH SAMPLES
 */
#include <farwatch.h>
#include <string.h>

#include "bench.h"

static void look(void *context, const fw_node *node) {
    size_t len = 0;
    const uint8_t *data = fw_node_data(node, &len);
    *(unsigned *)context += data ? data[0] : 0;
}

static fw_status get(fw_client *client, const char *path, size_t path_len) {
    fw_result *result = NULL;
    fw_status status =
        fw_client_get(client, path, path_len, 0, FW_DEFAULT_TIMEOUT, &result, NULL);
    fw_result_free(result);
    return status;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const char *path = arguments[3];
    size_t path_len = strlen(path), samples = bench_count(arguments[4]), size = 0;
    fw_config *config = NULL;
    fw_observer *observer = NULL;
    fw_client *client = NULL;
    fw_view *view = NULL;
    uint8_t buffer[4096];
    const uint8_t *data = NULL;
    int64_t len = 0;
    unsigned sum = 0;
    fw_stat stat = FW_STAT_INIT;

    if (fw_config_new(&config, NULL) != FW_OK
        || fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, NULL) != FW_OK
        || fw_observer_open(config, &observer, NULL) != FW_OK
        || fw_observer_wait_ready(observer, 0, 60000, NULL) != FW_OK
        || fw_observer_view(observer, &view, NULL) != FW_OK)
        return 1;
    fw_config_free(config);
    MEASURE("C get, copied", samples, MEMORY_BATCH, FW_OK,
            fw_observer_get(observer, path, path_len, buffer, sizeof(buffer), &len, NULL, NULL));
    MEASURE("C get, copied, with stat", samples, MEMORY_BATCH, FW_OK,
            fw_observer_get(observer, path, path_len, buffer, sizeof(buffer), &len, &stat, NULL));
    MEASURE("C read in place", samples, MEMORY_BATCH, FW_OK,
            fw_observer_read(observer, path, path_len, look, &sum, NULL));
    MEASURE("C exists", samples, MEMORY_BATCH, FW_OK,
            fw_observer_exists(observer, path, path_len, NULL, NULL));
    MEASURE("C get in a view", samples, MEMORY_BATCH, FW_OK,
            fw_view_get(view, path, path_len, &data, &size, NULL, NULL));
    fw_view_free(view);
    fw_observer_free(observer);

    if (fw_config_new(&config, NULL) != FW_OK
        || fw_config_set(config, "connect", FW_CSTR, arguments[2], FW_CSTR, NULL) != FW_OK
        || fw_client_open(config, &client, NULL) != FW_OK)
        return 1;
    fw_config_free(config);
    MEASURE("fw_client, Farwatch", samples, 1, FW_OK, get(client, path, path_len));
    fw_client_free(client);
    return sum == 0;
}
