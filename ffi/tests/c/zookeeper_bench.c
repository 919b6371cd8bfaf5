/* What a read costs through Apache's C client:
 *
 *     zookeeper_bench NAME CONNECT PATH SAMPLES
 */
#define THREADED
#include <zookeeper/zookeeper.h>

#include <string.h>

#include "bench.h"

static int get(zhandle_t *handle, const char *path) {
    char buffer[4096];
    int len = sizeof(buffer);
    return zoo_get(handle, path, 0, buffer, &len, NULL);
}

/* Says what went wrong. */
static int told(int status) {
    if (status != ZOK) fprintf(stderr, "%s\n", zerror(status));
    return status;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    size_t samples = bench_count(arguments[4]);
    zoo_set_debug_level((ZooLogLevel)0);
    zhandle_t *handle = zookeeper_init(arguments[2], NULL, 30000, NULL, NULL, 0);
    if (!handle) return 1;
    /* The first call waits until there is a connection, or fails at its loss. */
    int status = ZCONNECTIONLOSS;
    for (int attempt = 0; attempt < 100 && status == ZCONNECTIONLOSS; attempt++)
        status = get(handle, arguments[3]);
    if (status == ZNONODE) {
        char data[100];
        memset(data, 'v', sizeof(data));
        status = zoo_create(handle, arguments[3], data, sizeof(data), &ZOO_OPEN_ACL_UNSAFE, 0,
                            NULL, 0);
    }
    if (told(status) != ZOK) return 1;
    MEASURE(arguments[1], samples, 1, ZOK, told(get(handle, arguments[3])));
    return told(zookeeper_close(handle)) == ZOK ? 0 : 1;
}
