/* Memory and threads that run out for the library, and for nobody else. Include it first. A call is tried with
 * none, with one allocation, two, … until it succeeds: `SCARCE(fw_thing_do(thing, &error))`. What became of each
 * function is printed at the end, for the test that asks for all of them. */
#ifndef SCARCE_H
#define SCARCE_H

#define _GNU_SOURCE
#include "check.h"
#include "threads.h"
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

/* Where the library's code is: only what it asks for fails, as libc ends the process for its own wants. */
static uintptr_t code_begin, code_end;

#define PLENTY (1L << 40)

/* How many allocations of the library still succeed. */
static atomic_long left = PLENTY;

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

static int find_code(struct dl_phdr_info *info, size_t size, void *context) {
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

static void find_library(void) {
    dl_iterate_phdr(find_code, NULL);
    CHECK(code_begin < code_end);
}

/* What every call of this round begins with, and whether any had too little. Each round and each further try
 * has more by this part. */
static long first_memory, part = 4;
static bool was_short;

/* Whether an observer has ended for want of memory; then there is another one for the next try. */
static bool (*was_replaced)(void);

static struct {
    char name[64];
    int starved, refused, threadless;
} functions[256];

static inline void count_call(const char *call, bool is_starved, bool is_refused, bool is_threadless) {
    size_t len = strcspn(call, "("), at = 0;
    CHECK(len < sizeof functions[0].name);
    char name[sizeof functions[0].name] = {0};
    memcpy(name, call, len);
    while (functions[at].name[0] != 0 && strcmp(functions[at].name, name) != 0) at++;
    CHECK(at + 1 < sizeof functions / sizeof functions[0]);
    memcpy(functions[at].name, name, sizeof name);
    functions[at].starved += is_starved, functions[at].refused += is_refused;
    functions[at].threadless += is_threadless;
}

/* Whether the call has succeeded; if not, it was refused for want of what there was too little of. */
static inline bool came_through(const char *call, fw_status status, fw_status wanted, fw_error *why) {
    long rest = atomic_exchange(&left, PLENTY);
    bool had_threads = 0 < atomic_exchange(&threads_left, MANY_THREADS);
    was_short = was_short || rest <= 0;
    count_call(call, rest <= 0, status != wanted, status == FW_NO_RESOURCES && !had_threads);
    if (status == wanted) {
        fw_error_free(why);
        return true;
    }
    bool is_told = (status == FW_NO_MEMORY && rest <= 0)
                   || (status == FW_NO_RESOURCES && (rest <= 0 || !had_threads))
                   || (was_replaced != NULL && was_replaced());
    if (!is_told)
        fprintf(stderr, "%s with %ld left: %d, %s\n", call, rest, (int)status, fw_error_text(why));
    CHECK(is_told && (why == NULL || strlen(fw_error_text(why)) > 0));
    fw_error_free(why);
    return false;
}

/* The call with ever more memory, until it has the status. `wanted` is FW_OK for most. */
#define SCARCE_UNTIL(wanted, call)                                                                 \
    for (long memory = first_memory < 0 ? PLENTY : first_memory;; memory += 1 + memory / part) {      \
        fw_error *error = NULL;                                                                    \
        threads_left = first_memory < 0 && memory == PLENTY ? 0 : MANY_THREADS;                    \
        atomic_store(&left, memory);                                                               \
        fw_status status = (call);                                                                 \
        if (came_through(#call, status, wanted, error)) break;                                     \
    }
#define SCARCE(call) SCARCE_UNTIL(FW_OK, call)

/* Contexts that were handed over, and those that were destroyed: each is, also when nothing came of its call. */
static atomic_int contexts, destroyed;

static inline void *context(void) {
    contexts++;
    return &contexts;
}
static inline void destroy(void *given) { destroyed += given == &contexts; }
static inline void each_context_was_destroyed(void) {
    while (destroyed != contexts) usleep(100); /* by the client's thread, at the latest when it ends */
}

/* What the calls of a story do without threads, and from no memory on up to as much as all of them take. */
static inline void tell(const char *name, void (*story)(void)) {
    int rounds = 0;
    first_memory = -1;
    do {
        was_short = false;
        story();
        first_memory += 1 + (first_memory < 0 ? 0 : first_memory / part);
        rounds++;
    } while (was_short || rounds < 2);
    printf("%s: %d rounds, up to %ld allocations\n", name, rounds, first_memory);
    fflush(stdout);
}

static inline void say_functions(void) {
    for (size_t at = 0; functions[at].name[0] != 0; at++)
        printf("function %s starved %d refused %d threadless %d\n", functions[at].name, functions[at].starved,
               functions[at].refused, functions[at].threadless);
}

#endif
