/* What a signal handler may call allocates nothing, whatever the answer is, and a read that fails writes nothing
 * but what it says. Arguments: clients' address, whom to learn from. */
#define _GNU_SOURCE
#include "check.h"
#include <pthread.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Of this thread, whoever asks. */
static _Thread_local long allocated;

void *malloc(size_t size) { return allocated++, __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return allocated++, __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return allocated++, __libc_realloc(old, size); }
void *aligned_alloc(size_t align, size_t size) { return allocated++, __libc_memalign(align, size); }
int posix_memalign(void **place, size_t align, size_t size) {
    allocated++;
    return (*place = __libc_memalign(align, size)) == NULL;
}

/* The call has this status, and nothing was allocated. */
#define READ(wanted, call)                                                                         \
    do {                                                                                           \
        long before = allocated;                                                                   \
        fw_status status = (call);                                                                 \
        if (status != (wanted) || allocated != before) {                                           \
            fprintf(stderr, "%s:%d: %d, %ld allocations: %s\n", __FILE__, __LINE__, (int)status,   \
                    allocated - before, #call);                                                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static fw_observer *observer;
static char long_path[(1 << 20) + 2];

static void look(void *context, const fw_node *node) {
    fw_stat stat = FW_STAT_INIT, wrong = {.size = 1};
    size_t len = 0;
    int64_t got = 0;
    uint8_t buffer[8];
    READ(FW_OK, fw_node_data(node, &len) != NULL && len == 4 ? FW_OK : FW_PANIC);
    READ(FW_OK, fw_node_path(node, &len) != NULL && len == 6 ? FW_OK : FW_PANIC);
    READ(FW_OK, fw_node_stat(node, &stat, NULL));
    READ(FW_NULL, fw_node_stat(node, NULL, NULL));
    READ(FW_BAD_ARGUMENT, fw_node_stat(node, &wrong, NULL));
    READ(FW_IN_CALLBACK, fw_observer_get(observer, "/reads", 6, buffer, 8, &got, NULL, NULL));
    ++*(int *)context;
}

static void copies(void) {
    uint8_t buffer[8] = {0};
    int64_t len = 0;
    fw_stat stat = FW_STAT_INIT, wrong = {.size = 1};
    READ(FW_OK, fw_observer_get(observer, "/reads", FW_CSTR, buffer, 8, &len, &stat, NULL));
    CHECK(len == 4 && memcmp(buffer, "data", 4) == 0 && stat.data_length == 4);
    READ(FW_NO_NODE, fw_observer_get(observer, "/none", FW_CSTR, buffer, 8, &len, &stat, NULL));
    READ(FW_NULL, fw_observer_get(observer, NULL, 0, buffer, 8, &len, &stat, NULL));
    READ(FW_NULL, fw_observer_get(observer, "/reads", 6, buffer, 8, NULL, &stat, NULL));
    READ(FW_TOO_LARGE, fw_observer_get(observer, long_path, FW_CSTR, buffer, 8, &len, &stat, NULL));
    READ(FW_BAD_ARGUMENT, fw_observer_get(observer, "/reads", 6, buffer, 8, &len, &wrong, NULL));
    /* What is refused writes nothing, but how much room is needed. */
    stat.version = 77, len = 77, buffer[0] = 7;
    READ(FW_NULL, fw_observer_get(observer, "/reads", 6, NULL, 8, &len, &stat, NULL));
    CHECK(stat.version == 77 && len == 77);
    READ(FW_BUFFER_TOO_SMALL, fw_observer_get(observer, "/reads", 6, buffer, 3, &len, &stat, NULL));
    CHECK(stat.version == 77 && len == 4 && buffer[0] == 7);
    READ(FW_OK, fw_observer_exists(observer, "/reads", FW_CSTR, &stat, NULL));
    CHECK(stat.version == 0);
    READ(FW_NO_NODE, fw_observer_exists(observer, "/none", FW_CSTR, NULL, NULL));
    READ(FW_BAD_ARGUMENT, fw_observer_exists(observer, "/reads", FW_CSTR, &wrong, NULL));
}

static void lent(void) {
    int looks = 0;
    READ(FW_OK, fw_observer_read(observer, "/reads", FW_CSTR, look, &looks, NULL));
    READ(FW_NO_NODE, fw_observer_read(observer, "/none", FW_CSTR, look, &looks, NULL));
    READ(FW_NULL, fw_observer_read(observer, "/reads", FW_CSTR, NULL, NULL, NULL));
    CHECK(looks == 1);
}

/* Names that were told, one after the other. */
static char told[64];

static bool name_to(void *wanted, const char *name, size_t len) {
    CHECK(len < sizeof told - strlen(told));
    strncat(told, name, len);
    return --*(int *)wanted > 0;
}

/* The same of an observer and of a view. */
#define CHILDREN(each, of)                                                                         \
    do {                                                                                           \
        fw_stat stat = FW_STAT_INIT, wrong = {.size = 1};                                          \
        int all = 9, two = 2, none = 0;                                                            \
        told[0] = 0;                                                                               \
        READ(FW_OK, each(of, "/reads", FW_CSTR, name_to, &all, &stat, NULL));                      \
        CHECK(strcmp(told, "onetwothree") == 0 && stat.num_children == 3);                         \
        told[0] = 0;                                                                               \
        READ(FW_OK, each(of, "/reads", FW_CSTR, name_to, &two, NULL, NULL));                       \
        CHECK(strcmp(told, "onetwo") == 0 && two == 0);                                            \
        READ(FW_OK, each(of, "/reads/one", FW_CSTR, name_to, &none, NULL, NULL));                  \
        READ(FW_NO_NODE, each(of, "/none", FW_CSTR, name_to, &none, NULL, NULL));                  \
        READ(FW_NULL, each(of, "/reads", FW_CSTR, NULL, &none, NULL, NULL));                       \
        READ(FW_TOO_LARGE, each(of, long_path, FW_CSTR, name_to, &none, NULL, NULL));              \
        READ(FW_BAD_ARGUMENT, each(of, "/reads", FW_CSTR, name_to, &none, &wrong, NULL));          \
        CHECK(none == 0 && wrong.size == 1);                                                       \
    } while (0)

static void of_a_view(fw_view *view) {
    const uint8_t *data = NULL;
    size_t len = 0;
    fw_stat stat = FW_STAT_INIT, wrong = {.size = 1};
    READ(FW_OK, fw_view_get(view, "/reads", FW_CSTR, &data, &len, &stat, NULL));
    CHECK(len == 4 && memcmp(data, "data", 4) == 0 && stat.data_length == 4);
    READ(FW_OK, fw_view_zxid(view) > 0 ? FW_OK : FW_PANIC);
    READ(FW_NO_NODE, fw_view_get(view, "/none", FW_CSTR, &data, &len, &stat, NULL));
    READ(FW_NULL, fw_view_get(view, "/reads", FW_CSTR, NULL, &len, &stat, NULL));
    READ(FW_BAD_ARGUMENT, fw_view_get(view, "/reads", FW_CSTR, &data, &len, &wrong, NULL));
}

/* Also the first reads of a thread. */
static void *in_a_new_thread(void *view) {
    copies(), lent(), of_a_view(view);
    CHILDREN(fw_observer_children_each, observer);
    CHILDREN(fw_view_children_each, (fw_view *)view);
    return NULL;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    memset(long_path, '/', sizeof long_path - 1);
    fw_client *writer = opened(arguments[1]);
    fw_config *config = NULL;
    fw_view *view = NULL;
    fw_result *made = NULL;
    fw_stat stat = FW_STAT_INIT;
    const uint8_t *const data = (const uint8_t *)"data";
    OK(fw_client_create(writer, "/reads", FW_CSTR, data, 4, FW_PERSISTENT, 60000, &made, &error));
    fw_result_free(made);
    OK(fw_client_create(writer, "/reads/one", FW_CSTR, data, 4, FW_PERSISTENT, 60000, NULL, &error));
    OK(fw_client_create(writer, "/reads/two", FW_CSTR, data, 4, FW_PERSISTENT, 60000, NULL, &error));
    OK(fw_client_create(writer, "/reads/three", FW_CSTR, data, 4, FW_PERSISTENT, 60000, &made, &error));
    OK(fw_result_stat(made, &stat, &error));
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
    OK(fw_observer_wait_ready(observer, stat.czxid, 60000, &error));
    OK(fw_observer_view(observer, &view, &error));
    CHECK(allocated > 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, in_a_new_thread, view) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    in_a_new_thread(view);
    fw_view_free(view), fw_observer_free(observer), fw_config_free(config);
    fw_result_free(made), fw_client_free(writer);
    return 0;
}
