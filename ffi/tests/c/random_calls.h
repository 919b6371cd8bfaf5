/* Where the generated calls of random_calls.rs draw their arguments from, and what is held against them: a
 * pool of handles, live and freed; texts, bytes and numbers. What C's programmers promise is kept (guard.rs,
 * rules for pointers): lengths fit, and a handle is null or was one of this library's. */
#ifndef RANDOM_CALLS_H
#define RANDOM_CALLS_H

#include "check.h"
#include <signal.h>
#include <unistd.h>

#define HELD_MAX 5000
/* Of one type and alive at once: some have threads. */
#define LIVE_MAX 6
#define TYPES_MAX 63
#define FUNCTIONS_MAX 512
/* After so many calls other paths are used: what is at the old ones may be nobody's to change any more. */
#define ERA_CALLS 1000
/* How long a call that is meant well waits, milliseconds: much longer than a free server takes. */
#define PATIENCE 20
/* Of the last calls, which are told when something goes wrong. */
#define TOLD 24
/* After this a call hangs, seconds. */
#define CALL_SECONDS_MAX 60

static uint64_t draws;
static struct {
    void *at;
    int type;
    bool freed;
} held[HELD_MAX];
static size_t held_count;
static size_t live[TYPES_MAX + 1], ever[TYPES_MAX + 1];
static const char *address, *peers;
/* Whether this call is meant well: half of them are, or nothing would come of what takes many arguments. */
static bool is_kind;
static uint64_t last_request;
static uint64_t called_back, destroyable, destroyed;
static const char *volatile calls[TOLD];
static volatile size_t calls_made;
static volatile bool is_well;


static void tell_calls(void) {
    if (is_well) return;
    dprintf(2, "after %zu calls, the last of them:\n", calls_made);
    for (size_t i = calls_made < TOLD ? 0 : calls_made - TOLD; i < calls_made; i++) dprintf(2, "  %s\n", calls[i % TOLD]);
}

static void on_signal(int number) {
    dprintf(2, "signal %d\n", number);
    tell_calls();
    _exit(9);
}

static void watch_over_calls(void) {
    int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], on_signal);
    atexit(tell_calls);
}

/* How often each function of the header was called, and how often it did what it is for, by its number. */
static uint64_t times_called[FUNCTIONS_MAX], times_reached[FUNCTIONS_MAX];

static void reached(size_t number) { __atomic_fetch_add(&times_reached[number], 1, __ATOMIC_RELAXED); }

static void tell_how_often(const char *name, size_t number) {
    unsigned long long done = __atomic_load_n(&times_reached[number], __ATOMIC_RELAXED);
    printf("function %s %llu %llu\n", name, (unsigned long long)times_called[number], done);
}

/* What was returned can be read, all of it. Only then is its length looked at, if one was asked for. */
static void read_all(const void *bytes, const size_t *len) {
    const volatile unsigned char *at = bytes;
    for (size_t i = 0; at != NULL && len != NULL && i < *len; i++) (void)at[i];
}

/* Ask what is lent for all it can tell: generated. */
static void look_at_fw_error(const fw_error *error);
static void look_at_fw_event(const fw_event *event);
static void look_at_fw_node(const fw_node *node);
static void look_at_fw_result(const fw_result *result);

/* splitmix64 */
static uint64_t draw(uint64_t below) {
    uint64_t z = draws += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

/* The next call. */
static void calling(const char *name, size_t number) {
    calls[calls_made++ % TOLD] = name;
    times_called[number]++;
    is_kind = draw(2);
    alarm(CALL_SECONDS_MAX);
}

/* The next function: now and then one that runs operations, which are many, and every fourth time one of those that
 * did not yet do what they are for. */
static uint64_t next_function(uint64_t count, const uint64_t *runners, uint64_t runner_count) {
    uint64_t next = draw(8) ? draw(count) : runners[draw(runner_count)], found = 0;
    if (draw(4)) return next;
    for (uint64_t i = 0; i < count; i++)
        if (__atomic_load_n(&times_reached[i], __ATOMIC_RELAXED) == 0 && draw(++found) == 0) next = i;
    return next;
}

static void keep(int type, void *at) {
    if (at == NULL) return;
    size_t place = held_count;
    if (held_count < HELD_MAX) {
        held_count++;
    } else { /* in the place of one that was freed */
        do place = draw(HELD_MAX);
        while (!held[place].freed);
    }
    held[place].at = at, held[place].type = type, held[place].freed = false;
    live[type]++, ever[type]++;
}

/* One of those that `type`, if not -1, and `freed` say; null if there is none. */
static void *one_of(int type, bool freed) {
    size_t found = 0;
    void *one = NULL;
    for (size_t i = 0; i < held_count; i++)
        if ((type == -1 || held[i].type == type) && held[i].freed == freed && draw(++found) == 0)
            one = held[i].at;
    return one;
}

/* A handle of this type that was not freed, which a call just worked on. */
static bool is_live(int type, const void *at) {
    for (size_t i = 0; at != NULL && i < held_count; i++)
        if (held[i].at == at && !held[i].freed && held[i].type == type) return true;
    return false;
}

/* Whether it can still do something. */
static bool works(int type, const void *at) {
    if (type == CLIENT_TYPE) return fw_client_state(at) == FW_STATE_CONNECTED;
    return type != OBSERVER_TYPE || fw_observer_ended(at, NULL) == NULL;
}

/* Often the newest, of which something is to come. */
static void *one_that_works(int type) {
    size_t found = 0;
    void *one = NULL;
    bool is_newest = draw(2);
    for (size_t i = 0; i < held_count; i++) {
        if (held[i].type != type || held[i].freed || !works(type, held[i].at)) continue;
        if (is_newest || draw(++found) == 0) one = held[i].at;
    }
    return one;
}

static void *handle(int type) {
    if (is_kind) return one_that_works(type);
    switch (draw(24)) {
    case 0: return NULL;
    case 1: return one_of(-1, false);
    case 2: return one_of(-1, true);
    case 3: return one_of(type, true);
    default: return one_of(type, false);
    }
}

/* A handle's free function returned FW_OK. */
static void freed(void *at) {
    for (size_t i = held_count; at != NULL && i-- > 0;) {
        if (held[i].at != at || held[i].freed) continue;
        held[i].freed = true, live[held[i].type]--;
        return;
    }
    CHECK(at == NULL);
}

/* Frees a handle by its type's function: generated. */
static fw_status end(int type, void *at);

/* For one more of this type. */
static void make_room(int type) {
    if (live[type] < LIVE_MAX) return;
    void *at = one_of(type, false);
    CHECK(end(type, at) == FW_OK);
    freed(at);
}

static struct {
    const char *at;
    size_t len;
} text;

/* A text and its length, which the next call of `text_len` returns. */
static const char *any_text(void) {
    static char much[9000];
    static const char *const texts[] = {
        "/", "/a", "/a", "/a/b", "/b", "/a/b/c", "a", "", "/a/", "//", "/a/../b", "/.", "/\xff\xfe", "/\x01",
        "/zookeeper/quota", "world", "anyone", "digest", "user:password", "/a0000000000",
        "server.1=127.0.0.1:1:2:participant;0.0.0.0:3", "4294967297", "-1", "true", "%s%n", "nonsense",
    };
    if (much[0] == 0) memset(much, 'x', sizeof much - 1), much[0] = '/';
    /* Half of them are paths, or nothing would come of most calls. */
    static const char *const paths[] = {"/", "/a", "/b", "/a/b"};
    if (draw(2)) return text.len = FW_CSTR, text.at = paths[draw(4)];
    switch (draw(16)) {
    case 0: text.at = NULL, text.len = draw(2) ? 0 : 1; break;
    case 1: text.at = much, text.len = draw(sizeof much); break;
    case 2: text.at = "/a\0b", text.len = 4; break;
    default:
        text.at = texts[draw(sizeof texts / sizeof *texts)];
        text.len = draw(4) ? FW_CSTR : draw(strlen(text.at) + 1);
    }
    return text.at;
}

/* A path of this era, maybe of a family of functions that wants one for itself. */
static const char *path_of(const char *family) {
    static char path[64];
    static const char *const below[] = {"", "/a", "/b"};
    snprintf(path, sizeof path, "/%zu%s%s", calls_made / ERA_CALLS, family, *family ? "" : below[draw(3)]);
    return text.len = FW_CSTR, text.at = path;
}

static const char *any_path(const char *family) { return is_kind ? path_of(family) : any_text(); }

static const char *any_name(void) {
    static const char *const names[] = {"a", "b"};
    if (!is_kind) return any_text();
    return text.len = FW_CSTR, text.at = names[draw(2)];
}

/* The name of a setting, and now and then something else. */
static const char *any_key(void) {
    static const char *const keys[] = {
        "connect", "sessionTimeout", "requestTimeout", "closeTimeout", "readOnly", "renewExpired",
        "jute.maxbuffer", "seed", "serverChoice", "nearestPause", "upstreams", "upstreamChoice", "thread", "cpu", "windowBytes",
        "treeBytes",
    };
    if (draw(16) == 0) return any_text();
    text.at = keys[draw(sizeof keys / sizeof *keys)], text.len = FW_CSTR;
    return text.at;
}

static const char *any_value(void) {
    static const char *const values[] = {"none", "own", "pinned", "nearest", "true", "1", "0", "5000", "1048576"};
    if (draw(4) == 0) return any_text();
    text.at = draw(3) ? values[draw(sizeof values / sizeof *values)] : address, text.len = FW_CSTR;
    return text.at;
}

static size_t text_len(void) { return text.len; }

static size_t bytes_len;

static const uint8_t *any_bytes(void) {
    static uint8_t bytes[2 << 20];
    static const size_t lengths[] = {0, 1, 7, 100, 1000, 1 << 20, sizeof bytes};
    if (draw(8) == 0) return bytes_len = draw(2), NULL;
    bytes_len = lengths[draw(draw(20) ? 5 : 7)];
    return bytes;
}

static uint64_t any_number(void) {
    static const uint64_t numbers[] = {
        0, 0, 0, 1, 1, 2, 3, 4, 5, 7, 16, 31, 100, 1000, 65536, INT32_MAX, (uint64_t)INT32_MIN, UINT32_MAX,
        INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX, UINT64_MAX - 1, 4294967297u,
    };
    return is_kind || draw(2) ? draw(4) : numbers[draw(sizeof numbers / sizeof *numbers)];
}

/* Of a node, or any. */
static uint64_t any_version(void) { return draw(2) ? (uint64_t)-1 : any_number(); }

/* Milliseconds that a call may take. */
static uint64_t any_time(void) {
    if (is_kind) return PATIENCE;
    static const uint64_t times[] = {0, 1, 2, 20};
    return times[draw(4)];
}

static void call_back(void) { __atomic_fetch_add(&called_back, 1, __ATOMIC_RELAXED); }

static void on_fw_done_fn(void *context, fw_status status, fw_result *result, fw_error *error) {
    (void)context, call_back();
    CHECK((status == FW_OK) == (error == NULL) && (status == FW_OK || result == NULL));
    look_at_fw_result(result);
    look_at_fw_error(error);
    fw_result_free(result);
    fw_error_free(error);
}
static void on_fw_destroy_fn(void *context) {
    (void)context;
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}
static void on_fw_standing_fn(void *context, fw_standing standing) { (void)context, (void)standing, call_back(); }
static void on_fw_event_fn(void *context, const fw_event *event) {
    (void)context, call_back();
    look_at_fw_event(event);
}
static void on_fw_read_fn(void *context, const fw_node *node) {
    (void)context, call_back();
    look_at_fw_node(node);
}
static void on_fw_followed_fn(void *context, const fw_result *state) {
    (void)context, call_back();
    look_at_fw_result(state);
}
static uint64_t on_fw_clock_fn(void *context) {
    (void)context, call_back();
    return 1800000000000u;
}
static bool on_fw_scan_fn(void *context, const fw_node *node) {
    on_fw_read_fn(context, node);
    return draw(4) != 0;
}

static bool on_fw_child_fn(void *context, const char *name, size_t len) {
    (void)context, call_back();
    CHECK(len > 0 && memchr(name, '/', len) == NULL);
    return draw(4) != 0;
}

#define CALLBACK(type) (draw(8) ? on_##type : NULL)

/* Outputs, which stay as they are when a call fails: what of them is written is looked at afterwards. */
static unsigned char outputs[16][1024];
static fw_error *error;

static void *output(size_t at) {
    memset(outputs[at], 0x5a, sizeof outputs[at]);
    return outputs[at];
}

/* One that begins with its size. */
static void *sized_output(size_t at, uint32_t size) {
    uint32_t sizes[] = {size, size, size, 0, 4, 12, size - 1, 1000};
    memset(output(at), 0, sizeof(uint64_t));
    memcpy(outputs[at], &sizes[draw(8)], sizeof(uint32_t));
    return outputs[at];
}

/* From a byte of it on. */
static bool unwritten(size_t at, size_t from) {
    for (size_t i = from; i < sizeof outputs[at]; i++)
        if (outputs[at][i] != 0x5a) return false;
    return true;
}

/* What came of a call that took `&error`. */
static void settle(const char *name, fw_status status, bool asked) {
    CHECK(status != FW_PANIC && status != FW_POISONED);
    if (!asked || (status == FW_OK) != (error == NULL) || (error != NULL && fw_error_text(error)[0] == 0)) {
        if (!asked && error == NULL) return;
        fprintf(stderr, "%s: status %d, %s\n", name, (int)status, error ? "an error" : "no error");
        exit(1);
    }
    if (error == NULL) return;
    CHECK(fw_error_status(error) == status);
    look_at_fw_error(error);
    fw_error_free(error);
    error = NULL;
}

#endif
