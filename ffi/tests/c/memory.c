/* Memory that runs out: the library's allocations fail from the first, the second, … the last on, in every
 * function that opens, waits or asks. It is an answer, never the end of the process, and when there is
 * memory again everything goes on. Arguments: clients' address, whom to learn from. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Where the library's code is: only what it asks for fails, as libc ends the process for its own wants. */
static uintptr_t code_begin, code_end;

/* How many allocations of the library still succeed; without a limit, and counted down, before the first. */
static atomic_long left = 1L << 40;

/* What Rust's standard library asks the system for by itself when it starts a thread, bytes: nobody stands
 * between them, and without it the process ends. Opening looks for memory right before. */
enum { THREAD_BYTES = 48 };

static int fails(void *caller, size_t size) {
    uintptr_t at = (uintptr_t)caller;
    int is_ours = code_begin <= at && at < code_end && size != THREAD_BYTES;
    return is_ours && atomic_fetch_sub(&left, 1) <= 0;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size) {
    return fails(CALLER, size) ? errno = ENOMEM, NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    return fails(CALLER, size) ? errno = ENOMEM, NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    return fails(CALLER, size) ? errno = ENOMEM, NULL : __libc_realloc(old, size);
}
int posix_memalign(void **place, size_t align, size_t size) {
    void *memory = fails(CALLER, size) ? NULL : __libc_memalign(align, size);
    return memory == NULL ? ENOMEM : (*place = memory, 0);
}
void *aligned_alloc(size_t align, size_t size) {
    return fails(CALLER, size) ? errno = ENOMEM, NULL : __libc_memalign(align, size);
}

static int look(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size, (void)context;
    if (strstr(info->dlpi_name, "libfarwatch") == NULL) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
        code_begin = info->dlpi_addr + part->p_vaddr;
        code_end = code_begin + part->p_memsz;
    }
    return 1;
}

static fw_config *learner, *asker;
static fw_client *client;

static atomic_int destroyed;
static void on_answer(void *context, fw_status status, fw_result *result, fw_error *why) {
    (void)context, (void)status;
    fw_result_free(result), fw_error_free(why);
}
static void destroy(void *context) { (void)context, destroyed++; }

/* Whatever comes of it, the context is destroyed once. */
static fw_status submit(fw_error **why) {
    fw_op *op = NULL;
    int before = destroyed;
    fw_status status = fw_op_sync("/", FW_CSTR, &op, why);
    if (status == FW_OK) {
        status = fw_client_submit(client, op, on_answer, NULL, destroy, NULL, why);
        CHECK(status == FW_OK || destroyed == before + 1);
        while (destroyed == before) usleep(100);
    }
    fw_op_free(op);
    return status;
}

static fw_status open_client(fw_error **why) {
    fw_client *opened = NULL;
    fw_status status = fw_client_open(asker, &opened, why);
    if (status == FW_OK) status = fw_client_wait_connected(opened, 20000, why);
    CHECK(fw_client_free(opened) == FW_OK);
    return status;
}

static fw_status open_observer(fw_error **why) {
    fw_observer *opened = NULL;
    fw_status status = fw_observer_open(learner, &opened, why);
    if (status == FW_OK) {
        status = fw_observer_wait_ready(opened, 0, 20000, why);
        fw_status seen = fw_observer_exists(opened, "/", FW_CSTR, NULL, NULL);
        CHECK(seen == FW_OK || (seen == FW_NO_NODE && status != FW_OK));
    }
    CHECK(fw_observer_free(opened) == FW_OK);
    return status;
}

static fw_status ask(fw_error **why) {
    fw_result *result = NULL;
    fw_status status = fw_client_set(client, "/memory", FW_CSTR, (const uint8_t *)"data", 4, -1, 20000, &result, why);
    fw_result_free(result), result = NULL;
    if (status != FW_OK) return status;
    status = fw_client_get(client, "/memory", FW_CSTR, 0, 20000, &result, why);
    fw_result_free(result);
    return status;
}

/* Tries it with ever more memory until it takes no more than there is; returns how often it was refused. */
static int exhaust(const char *name, fw_status (*try_it)(fw_error **)) {
    int refused = 0, tried = 0;
    for (long memory = 0;; memory += 1 + memory / 16, tried++) {
        fw_error *why = NULL;
        atomic_store(&left, memory);
        fw_status status = try_it(&why);
        int was_enough = 0 < atomic_exchange(&left, 1L << 40);
        if (status != FW_OK) {
            if (status != FW_NO_MEMORY && status != FW_NO_RESOURCES && status != FW_CLOSED)
                fprintf(stderr, "%s with %ld: %d, %s\n", name, memory, (int)status, fw_error_text(why));
            CHECK(status == FW_NO_MEMORY || status == FW_NO_RESOURCES || status == FW_CLOSED);
            CHECK(strlen(fw_error_text(why)) > 0);
            refused++;
        }
        fw_error_free(why);
        /* What one had too little for does not harm the next one. */
        OK(try_it(&error));
        if (was_enough) break;
    }
    printf("%s: %d of %d refused\n", name, refused, tried);
    return refused;
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    dl_iterate_phdr(look, NULL);
    CHECK(code_begin < code_end);
    OK(fw_config_new(&asker, &error));
    OK(fw_config_set(asker, "connect", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_config_new(&learner, &error));
    OK(fw_config_set(learner, "upstreams", FW_CSTR, arguments[2], FW_CSTR, &error));
    OK(fw_client_open(asker, &client, &error));
    fw_result *made = NULL;
    OK(fw_client_create(client, "/memory", FW_CSTR, NULL, 0, FW_PERSISTENT, 20000, &made, &error));
    fw_result_free(made);
    CHECK(exhaust("ask", ask) > 0);
    CHECK(exhaust("submit", submit) > 0);
    CHECK(exhaust("open a client", open_client) > 0);
    CHECK(exhaust("open an observer", open_observer) > 0);
    CHECK(fw_client_free(client) == FW_OK);
    fw_config_free(asker), fw_config_free(learner);
    return 0;
}
