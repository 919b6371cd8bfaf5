/* Checks of a server through ZooKeeper's own C client, libzookeeper_mt.
 *
 *     checks HOST:PORT [old]
 *
 * `old` is for servers before 3.9.2, where exists needs no permission.
 *
 * Prints one line per check and ends with the number of those that failed. Every wait is for a
 * callback and has a limit; nothing sleeps to let something happen. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

enum {
    WAIT_SECONDS = 30,
    SESSION_MILLIS = 20000,
    EVENTS_MAX = 64,
};

/* ZOOKEEPER-2590; Debian's server is older. */
static int exists_needs_read = 1;

static int checks_done;
static int checks_failed;

static void check(int holds, const char *claim, ...) {
    va_list arguments;
    checks_done++;
    checks_failed += !holds;
    printf("%s %d ", holds ? "ok" : "FAILED", checks_done);
    va_start(arguments, claim);
    vprintf(claim, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

static void check_code(int expected, int actual, const char *claim) {
    if (expected == actual) {
        check(1, "%s", claim);
    } else {
        check(0, "%s: %s, expected %s", claim, zerror(actual), zerror(expected));
    }
}

/* What watchers have been told, in order. */
struct journal {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct event {
        int type, state;
        char path[128];
    } events[EVENTS_MAX];
    int count;
};

#define JOURNAL {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}

static void note(zhandle_t *handle, int type, int state, const char *path, void *context) {
    struct journal *journal = context;
    (void)handle;
    pthread_mutex_lock(&journal->lock);
    if (journal->count < EVENTS_MAX) {
        struct event *event = &journal->events[journal->count++];
        event->type = type;
        event->state = state;
        snprintf(event->path, sizeof event->path, "%s", path ? path : "");
    }
    pthread_cond_broadcast(&journal->changed);
    pthread_mutex_unlock(&journal->lock);
}

static int find(struct journal *journal, int type, int state, const char *path) {
    int found = 0;
    for (int i = 0; i < journal->count; i++) {
        struct event *event = &journal->events[i];
        found += event->type == type && (state == 0 || event->state == state) &&
                 (!path || strcmp(event->path, path) == 0);
    }
    return found;
}

/* Waits until `count` such events have come; returns whether they have. */
static int await(struct journal *journal, int type, int state, const char *path, int count) {
    struct timespec deadline;
    int found, late = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&journal->lock);
    while ((found = find(journal, type, state, path)) < count && !late) {
        late = pthread_cond_timedwait(&journal->changed, &journal->lock, &deadline) == ETIMEDOUT;
    }
    pthread_mutex_unlock(&journal->lock);
    return found >= count;
}

static int seen(struct journal *journal, int type, const char *path) {
    pthread_mutex_lock(&journal->lock);
    int found = find(journal, type, 0, path);
    pthread_mutex_unlock(&journal->lock);
    return found;
}

static void await_connected(struct journal *journal, int times, const char *who) {
    check(await(journal, ZOO_SESSION_EVENT, ZOO_CONNECTED_STATE, NULL, times), "%s", who);
}

static zhandle_t *connect_as(const char *hosts, struct journal *journal, const clientid_t *id) {
    zhandle_t *handle = zookeeper_init(hosts, note, SESSION_MILLIS, id, journal, 0);
    if (!handle) {
        perror("zookeeper_init");
        exit(1);
    }
    return handle;
}

enum { DESCRIPTORS_MAX = 256 };

/* Which descriptors are connections over TCP. */
static void connections(char connected[DESCRIPTORS_MAX]) {
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        connected[fd] = getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
                        (peer.ss_family == AF_INET || peer.ss_family == AF_INET6);
    }
}

/* Connects as `connect_as`, waits for the session and finds the socket that it came with, which
 * the library does not tell: a shutdown of it is a connection that breaks. */
static zhandle_t *connect_breakable(const char *hosts, struct journal *journal, int *socket,
                                    const char *claim) {
    char before[DESCRIPTORS_MAX], after[DESCRIPTORS_MAX];
    connections(before);
    zhandle_t *handle = connect_as(hosts, journal, NULL);
    await_connected(journal, 1, claim);
    connections(after);
    *socket = -1;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        if (after[fd] && !before[fd]) {
            *socket = fd;
        }
    }
    return handle;
}

/* A server that takes connections and never says a word: returns its socket, and writes the first of `hosts`
 * and its address behind it into `beside`. Closing the socket breaks the connections. */
static int mute_server(const char *hosts, char *beside, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        perror("a listening socket");
        exit(1);
    }
    snprintf(beside, size, "%.*s,127.0.0.1:%d", (int)strcspn(hosts, ","), hosts,
             ntohs(address.sin_port));
    return listener;
}

/* The answer to an asynchronous call. */
struct answer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done, code, count;
    char text[256];
    struct Stat stat;
};

#define ANSWER {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}

static void settle(struct answer *answer, int code, const char *text, int length,
                   const struct Stat *stat) {
    pthread_mutex_lock(&answer->lock);
    answer->done++;
    answer->code = code;
    if (text && length >= 0) {
        snprintf(answer->text, sizeof answer->text, "%.*s", length, text);
    }
    if (stat) {
        answer->stat = *stat;
    }
    pthread_cond_broadcast(&answer->changed);
    pthread_mutex_unlock(&answer->lock);
}

static int settled(struct answer *answer, int times) {
    struct timespec deadline;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&answer->lock);
    while (answer->done < times && !late) {
        late = pthread_cond_timedwait(&answer->changed, &answer->lock, &deadline) == ETIMEDOUT;
    }
    int done = answer->done;
    pthread_mutex_unlock(&answer->lock);
    return done >= times;
}

static void on_string(int code, const char *value, const void *data) {
    settle((struct answer *)data, code, value, value ? (int)strlen(value) : -1, NULL);
}
static void on_data(int code, const char *value, int length, const struct Stat *stat,
                    const void *data) {
    settle((struct answer *)data, code, value, length, stat);
}
static void on_stat(int code, const struct Stat *stat, const void *data) {
    settle((struct answer *)data, code, NULL, -1, stat);
}
static void on_void(int code, const void *data) {
    settle((struct answer *)data, code, NULL, -1, NULL);
}
static void on_children(int code, const struct String_vector *children, const struct Stat *stat,
                        const void *data) {
    struct answer *answer = (struct answer *)data;
    answer->count = children ? children->count : -1;
    settle(answer, code, NULL, -1, stat);
}
static void on_acl(int code, struct ACL_vector *acl, struct Stat *stat, const void *data) {
    struct answer *answer = (struct answer *)data;
    answer->count = acl ? acl->count : -1;
    settle(answer, code, NULL, -1, stat);
}

static int create(zhandle_t *handle, const char *path, const char *value, int mode) {
    return zoo_create(handle, path, value, value ? (int)strlen(value) : -1, &ZOO_OPEN_ACL_UNSAFE,
                      mode, NULL, 0);
}

static void synchronous(zhandle_t *handle) {
    char path[128], value[64];
    int length = sizeof value;
    struct Stat stat;
    struct String_vector children;

    check_code(ZOK, create(handle, "/sync", "one", 0), "create answers ok");
    check_code(ZNODEEXISTS, create(handle, "/sync", "two", 0), "a second create is refused");
    check_code(ZNONODE, create(handle, "/none/child", "", 0), "a parent must exist");
    check_code(ZOK, zoo_get(handle, "/sync", 0, value, &length, &stat), "get answers ok");
    check(length == 3 && memcmp(value, "one", 3) == 0, "get returns what create stored");
    check(stat.version == 0 && stat.dataLength == 3 && stat.numChildren == 0 &&
              stat.czxid == stat.mzxid && stat.ephemeralOwner == 0,
          "the stat of a new node is a new node's");
    check_code(ZOK, zoo_set2(handle, "/sync", "three", 5, 0, &stat), "set with the right version");
    check(stat.version == 1 && stat.mzxid > stat.czxid, "set raises version and mzxid");
    check_code(ZBADVERSION, zoo_set(handle, "/sync", "four", 4, 0), "set with an old version");
    check_code(ZNONODE, zoo_set(handle, "/none", "", 0, -1), "set of a missing node");

    check_code(ZOK, create(handle, "/sync/null", NULL, 0), "create with null data");
    length = sizeof value;
    check_code(ZOK, zoo_get(handle, "/sync/null", 0, value, &length, NULL), "get of null data");
    check(length == -1, "null data is not empty data");
    check_code(ZOK, create(handle, "/sync/empty", "", 0), "create with empty data");
    length = sizeof value;
    check_code(ZOK, zoo_get(handle, "/sync/empty", 0, value, &length, NULL), "get of empty data");
    check(length == 0, "empty data is not null data");

    check_code(ZOK,
               zoo_create(handle, "/sync/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path,
                          sizeof path),
               "create of a sequential node");
    check(strcmp(path, "/sync/s-0000000002") == 0, "its number counts the creates below: %s", path);
    check_code(ZOK, zoo_get_children(handle, "/sync", 0, &children), "get_children answers ok");
    check(children.count == 3, "get_children lists every child");
    deallocate_String_vector(&children);
    check_code(ZOK, zoo_get_children2(handle, "/sync", 0, &children, &stat), "get_children2");
    check(stat.numChildren == 3 && stat.cversion == 3, "its stat counts children and changes");
    deallocate_String_vector(&children);
    check_code(ZNOTEMPTY, zoo_delete(handle, "/sync", -1), "delete of a node with children");
    check_code(ZBADVERSION, zoo_delete(handle, "/sync/null", 7), "delete with a wrong version");
    check_code(ZOK, zoo_delete(handle, "/sync/null", 0), "delete with the right version");
    check_code(ZNONODE, zoo_exists(handle, "/sync/null", 0, &stat), "exists of a deleted node");
    check_code(ZOK, zoo_exists(handle, "/sync/empty", 0, &stat), "exists of a node");
    check_code(ZBADARGUMENTS, create(handle, "no-slash", "", 0), "a relative path");

    memset(&stat, 0, sizeof stat);
    check_code(ZOK,
               zoo_create2(handle, "/sync/two", "ab", 2, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path,
                           &stat),
               "create2 answers ok");
    check(stat.dataLength == 2 && stat.czxid > 0, "create2 returns the stat");
    check_code(ZOK,
               zoo_create2_ttl(handle, "/sync/ttl", "", 0, &ZOO_OPEN_ACL_UNSAFE,
                               ZOO_PERSISTENT_WITH_TTL, 3600000, path, sizeof path, &stat),
               "create of a node with a time to live");
    check_code(ZOK, create(handle, "/sync/container", "", ZOO_CONTAINER), "create of a container");
    check_code(ZOK, create(handle, "/sync/container/in", "", 0), "a container has children");
}

static void asynchronous(zhandle_t *handle) {
    struct answer created = ANSWER, got = ANSWER, set = ANSWER, listed = ANSWER, synced = ANSWER;
    struct answer acl = ANSWER, gone = ANSWER, many = ANSWER, missing = ANSWER;

    check_code(ZOK,
               zoo_acreate(handle, "/async", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, &created),
               "acreate is queued");
    check_code(ZOK, zoo_aset(handle, "/async", "yz", 2, 0, on_stat, &set), "aset is queued");
    check_code(ZOK, zoo_aget(handle, "/async", 0, on_data, &got), "aget is queued");
    check_code(ZOK, zoo_aget_children2(handle, "/", 0, on_children, &listed), "aget_children2");
    check_code(ZOK, zoo_aget_acl(handle, "/async", on_acl, &acl), "aget_acl is queued");
    check_code(ZOK, zoo_async(handle, "/async", on_string, &synced), "async (sync) is queued");
    check_code(ZOK, zoo_aexists(handle, "/absent", 0, on_stat, &missing), "aexists is queued");
    check_code(ZOK, zoo_adelete(handle, "/async", 1, on_void, &gone), "adelete is queued");
    check(settled(&gone, 1) && gone.code == ZOK, "the last of a pipeline is answered");
    check(settled(&created, 1) && created.code == ZOK && strcmp(created.text, "/async") == 0,
          "acreate is answered with the path");
    check(settled(&set, 1) && set.code == ZOK && set.stat.version == 1, "aset with a stat");
    check(settled(&got, 1) && got.code == ZOK && strcmp(got.text, "yz") == 0,
          "a read after a write of one pipeline sees it");
    check(settled(&listed, 1) && listed.code == ZOK && listed.count >= 2, "children of the root");
    check(settled(&acl, 1) && acl.code == ZOK && acl.count == 1, "aget_acl returns one entry");
    check(settled(&synced, 1) && synced.code == ZOK, "sync is answered");
    check(settled(&missing, 1) && missing.code == ZNONODE, "aexists of a missing node");

    enum { PIPELINED = 500 };
    check_code(ZOK, create(handle, "/many", "", 0), "a parent for many");
    for (int i = 0; i < PIPELINED; i++) {
        zoo_acreate(handle, "/many/n-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, on_string,
                    &many);
    }
    check(settled(&many, PIPELINED), "%d pipelined creates are answered", PIPELINED);
    check(strcmp(many.text, "/many/n-0000000499") == 0, "in order: %s is the last", many.text);
}

static void watches(zhandle_t *handle, zhandle_t *writer) {
    static struct journal data = JOURNAL, exist = JOURNAL, child = JOURNAL;
    static struct journal removed = JOURNAL, deleted = JOURNAL;
    struct String_vector children;
    struct Stat stat;
    char value[16];
    int length = sizeof value;

    check_code(ZNONODE, zoo_wexists(handle, "/w", note, &exist, &stat), "watch a missing node");
    check_code(ZOK, create(writer, "/w", "1", 0), "another session creates it");
    check(await(&exist, ZOO_CREATED_EVENT, 0, "/w", 1), "the exist watch fires");
    check_code(ZOK, zoo_wget(handle, "/w", note, &data, value, &length, NULL), "watch its data");
    check_code(ZOK, zoo_wget_children(handle, "/w", note, &child, &children), "and its children");
    deallocate_String_vector(&children);
    check_code(ZOK, create(writer, "/w/c", "", 0), "another session creates a child");
    check(await(&child, ZOO_CHILD_EVENT, 0, "/w", 1), "the child watch fires");
    check(seen(&data, ZOO_CHANGED_EVENT, "/w") == 0, "the data watch does not");
    check_code(ZOK, zoo_set(writer, "/w", "2", 1, -1), "another session sets the data");
    check(await(&data, ZOO_CHANGED_EVENT, 0, "/w", 1), "the data watch fires");
    check_code(ZOK, zoo_set(writer, "/w", "3", 1, -1), "and sets them again");
    check_code(ZOK, zoo_exists(handle, "/w", 0, &stat), "a read after it");
    check(seen(&data, ZOO_CHANGED_EVENT, "/w") == 1, "a watch fires once");

    length = sizeof value;
    check_code(ZOK, zoo_wget(handle, "/w", note, &removed, value, &length, NULL), "watch again");
    check_code(ZOK, zoo_remove_watches(handle, "/w", ZWATCHTYPE_DATA, note, &removed, 0),
               "remove the watch");
    check_code(ZNOWATCHER, zoo_remove_watches(handle, "/w", ZWATCHTYPE_DATA, note, &removed, 0),
               "remove it twice");
    check_code(ZOK, zoo_set(writer, "/w", "4", 1, -1), "a change without a watch");
    check_code(ZOK, zoo_exists(handle, "/w", 0, &stat), "a read after that");
    check(seen(&removed, ZOO_CHANGED_EVENT, "/w") == 0, "a removed watch does not fire");

    length = sizeof value;
    check_code(ZOK, zoo_wget(handle, "/w/c", note, &deleted, value, &length, NULL), "watch /w/c");
    check_code(ZOK, zoo_delete(writer, "/w/c", -1), "another session deletes it");
    check(await(&deleted, ZOO_DELETED_EVENT, 0, "/w/c", 1), "its data watch tells the deletion");
}

static void multi(zhandle_t *handle) {
    char first[64], second[64];
    struct Stat stat;
    zoo_op_t ops[4];
    zoo_op_result_t results[4];

    zoo_create_op_init(&ops[0], "/m", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, first, sizeof first);
    zoo_create_op_init(&ops[1], "/m/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, second,
                       sizeof second);
    zoo_set_op_init(&ops[2], "/m", "22", 2, 0, &stat);
    zoo_check_op_init(&ops[3], "/m", 1);
    check_code(ZOK, zoo_multi(handle, 4, ops, results), "a multi of create, set and check");
    check(strcmp(first, "/m") == 0 && strcmp(second, "/m/s-0000000000") == 0,
          "its creates return their paths");
    check(stat.version == 1 && stat.dataLength == 2, "its set returns the stat");
    check(results[0].err == ZOK && results[3].err == ZOK, "every part is ok");

    zoo_delete_op_init(&ops[0], "/m/s-0000000000", -1);
    zoo_check_op_init(&ops[1], "/m", 9);
    zoo_delete_op_init(&ops[2], "/m", -1);
    check_code(ZBADVERSION, zoo_multi(handle, 3, ops, results), "a multi that fails in the middle");
    check(results[0].err == ZOK && results[1].err == ZBADVERSION &&
              results[2].err == ZRUNTIMEINCONSISTENCY,
          "says which part failed: %d %d %d", results[0].err, results[1].err, results[2].err);
    check_code(ZOK, zoo_exists(handle, "/m/s-0000000000", 0, &stat), "and changes nothing");

    struct answer answer = ANSWER;
    zoo_delete_op_init(&ops[0], "/m/s-0000000000", 0);
    zoo_delete_op_init(&ops[1], "/m", 1);
    check_code(ZOK, zoo_amulti(handle, 2, ops, results, on_void, &answer), "amulti is queued");
    check(settled(&answer, 1) && answer.code == ZOK, "amulti is answered");
    check_code(ZNONODE, zoo_exists(handle, "/m", 0, &stat), "and has deleted both");
}

/* The session's server may be another one than that of the session which wrote, and behind it. */
static void catch_up(zhandle_t *handle) {
    struct answer synced = ANSWER;
    zoo_async(handle, "/", on_string, &synced);
    check(settled(&synced, 1) && synced.code == ZOK, "another session's server catches up");
}

static void acls(const char *hosts, zhandle_t *handle) {
    static struct journal journal = JOURNAL;
    struct answer answer = ANSWER;
    struct ACL_vector acl;
    struct Stat stat;
    char value[16];
    int length = sizeof value;

    zhandle_t *owner = connect_as(hosts, &journal, NULL);
    await_connected(&journal, 1, "a session for an owner");
    check_code(ZINVALIDACL,
               zoo_create(owner, "/mine", "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0),
               "the creator's ACL needs a credential");
    check_code(ZOK, zoo_add_auth(owner, "digest", "ann:pw", 6, on_void, &answer), "add_auth");
    check(settled(&answer, 1) && answer.code == ZOK, "a digest credential is accepted");
    check_code(ZOK, zoo_create(owner, "/mine", "s", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0),
               "now the creator's ACL is taken");
    check_code(ZOK, zoo_get_acl(owner, "/mine", &acl, &stat), "get_acl answers ok");
    check(acl.count == 1 && strcmp(acl.data[0].id.scheme, "digest") == 0 &&
              strncmp(acl.data[0].id.id, "ann:", 4) == 0 && acl.data[0].perms == ZOO_PERM_ALL,
          "auth is stored as the digest of the creator");
    deallocate_ACL_vector(&acl);
    catch_up(handle);
    check_code(ZNOAUTH, zoo_get(handle, "/mine", 0, value, &length, NULL), "others may not read");
    check_code(ZNOAUTH, zoo_set(handle, "/mine", "", 0, -1), "others may not write");
    check_code(ZNOAUTH, create(handle, "/mine/c", "", 0), "others may not create below");
    check_code(exists_needs_read ? ZNOAUTH : ZOK, zoo_exists(handle, "/mine", 0, &stat),
               "nor, since 3.9.2, see that it exists");
    length = sizeof value;
    check_code(ZOK, zoo_get(owner, "/mine", 0, value, &length, NULL), "the owner reads");
    check_code(ZBADVERSION, zoo_set_acl(owner, "/mine", 5, &ZOO_READ_ACL_UNSAFE),
               "set_acl with a wrong version");
    check_code(ZOK, zoo_set_acl(owner, "/mine", 0, &ZOO_READ_ACL_UNSAFE), "set_acl answers ok");
    length = sizeof value;
    catch_up(handle);
    check_code(ZOK, zoo_get(handle, "/mine", 0, value, &length, &stat), "others may read now");
    check(stat.aversion == 1, "the ACL version has gone up");
    check_code(ZNOAUTH, zoo_set(owner, "/mine", "", 0, -1), "but nobody may write");
    check_code(ZOK, zookeeper_close(owner), "the owner's session closes");

    static struct journal refused = JOURNAL;
    struct answer denial = ANSWER;
    zhandle_t *stranger = connect_as(hosts, &refused, NULL);
    await_connected(&refused, 1, "a session for a stranger");
    zoo_add_auth(stranger, "nonsense", "x", 1, on_void, &denial);
    check(settled(&denial, 1) && denial.code == ZAUTHFAILED, "an unknown scheme is refused");
    check(await(&refused, ZOO_SESSION_EVENT, ZOO_AUTH_FAILED_STATE, NULL, 1),
          "and ends the session");
    zookeeper_close(stranger);
}

static void sessions(const char *hosts, zhandle_t *handle) {
    static struct journal first = JOURNAL, second = JOURNAL, third = JOURNAL, gone = JOURNAL;
    struct Stat stat;

    /* Its second server takes connections and says nothing: there its client is when it has lost the first
     * one. Else it would come back at once and take the session from its new connection. */
    char beside[256];
    int mute = mute_server(hosts, beside, sizeof beside), socket;
    zoo_deterministic_conn_order(1);
    zhandle_t *old = connect_breakable(beside, &first, &socket, "a session to be moved");
    check_code(ZOK, create(old, "/eph", "", ZOO_EPHEMERAL), "create of an ephemeral node");
    check_code(ZNOCHILDRENFOREPHEMERALS, create(old, "/eph/c", "", 0), "it takes no children");
    clientid_t id = *zoo_client_id(old);
    check(id.client_id != 0, "the session has an id");
    check(zoo_recv_timeout(old) == SESSION_MILLIS, "its timeout is the one asked for");
    catch_up(handle);
    check_code(ZOK, zoo_exists(handle, "/eph", 0, &stat), "another session sees the ephemeral");
    check(stat.ephemeralOwner == id.client_id, "and whose it is");

    check(shutdown(socket, SHUT_RDWR) == 0, "its connection breaks");
    check(await(&first, ZOO_SESSION_EVENT, ZOO_CONNECTING_STATE, NULL, 1),
          "which its client is told");
    zhandle_t *moved = connect_as(hosts, &second, &id);
    await_connected(&second, 1, "the session moves to a new connection");
    check(zoo_client_id(moved)->client_id == id.client_id, "and keeps its id");
    check_code(ZOK, zoo_exists(moved, "/eph", 0, &stat), "its ephemeral has survived");

    check_code(ZOK, zoo_wexists(handle, "/eph", note, &gone, &stat), "watch the ephemeral");
    check_code(ZOK, zookeeper_close(moved), "close of the session");
    check(await(&gone, ZOO_DELETED_EVENT, 0, "/eph", 1), "takes its ephemerals with it");
    check(close(mute) == 0, "the first client is left alone");
    /* Not before: this closes the client's socket under its thread, whose number may be another's then. */
    check_code(ZOK, zoo_set_servers(old, hosts), "and comes back");
    check(await(&first, ZOO_SESSION_EVENT, ZOO_EXPIRED_SESSION_STATE, NULL, 1),
          "and is told that its session is over");
    zookeeper_close(old);
    zoo_deterministic_conn_order(0);

    /* On a session of its own: ZooKeeper drops the owner's connection before it looks at the
     * password, so that nothing after it would be certain. */
    static struct journal fourth = JOURNAL;
    zhandle_t *victim = connect_as(hosts, &fourth, NULL);
    await_connected(&fourth, 1, "a session that another tries to take");
    clientid_t forged = *zoo_client_id(victim);
    memset(forged.passwd, 0, sizeof forged.passwd);
    zhandle_t *thief = connect_as(hosts, &third, &forged);
    check(await(&third, ZOO_SESSION_EVENT, ZOO_EXPIRED_SESSION_STATE, NULL, 1),
          "a wrong password does not open it");
    zookeeper_close(thief);
    zookeeper_close(victim);
}

static void chroots(const char *hosts, zhandle_t *handle) {
    static struct journal journal = JOURNAL, child = JOURNAL;
    char inside[256], path[128];
    struct Stat stat;
    struct String_vector children;

    check_code(ZOK, create(handle, "/app", "", 0), "a node to live below");
    snprintf(inside, sizeof inside, "%s/app", hosts);
    zhandle_t *rooted = connect_as(inside, &journal, NULL);
    await_connected(&journal, 1, "a session below a chroot");
    check_code(ZOK,
               zoo_create(rooted, "/a", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path),
               "create below the chroot");
    check(strcmp(path, "/a") == 0, "its path is told without the chroot");
    catch_up(handle);
    check_code(ZOK, zoo_exists(handle, "/app/a", 0, &stat), "it is there for others");
    check_code(ZOK, zoo_wget_children(rooted, "/", note, &child, &children), "watch the chroot");
    check(children.count == 1, "the chroot is its root");
    deallocate_String_vector(&children);
    check_code(ZOK, create(handle, "/app/b", "", 0), "another creates below the chroot");
    check(await(&child, ZOO_CHILD_EVENT, 0, "/", 1), "the event names the path without it");
    zookeeper_close(rooted);
}

static void reconnects(const char *hosts) {
    static struct journal journal = JOURNAL, data = JOURNAL;
    struct Stat stat;
    char value[16], twice[256];
    int length = sizeof value;

    snprintf(twice, sizeof twice, "%s,%s", hosts, hosts);
    int socket;
    zhandle_t *handle =
        connect_breakable(twice, &journal, &socket, "a session that will lose its connection");
    int64_t id = zoo_client_id(handle)->client_id;
    check_code(ZOK, create(handle, "/re", "", ZOO_EPHEMERAL), "an ephemeral of it");
    check_code(ZOK, zoo_wget(handle, "/re", note, &data, value, &length, &stat), "a watch on it");
    check(shutdown(socket, SHUT_RDWR) == 0, "its connection breaks");
    check(await(&journal, ZOO_SESSION_EVENT, ZOO_CONNECTING_STATE, NULL, 1),
          "the client is told of the loss");
    check(await(&journal, ZOO_SESSION_EVENT, ZOO_CONNECTED_STATE, NULL, 2),
          "and connects again by itself");
    check(zoo_client_id(handle)->client_id == id, "with the same session");
    check_code(ZOK, zoo_set(handle, "/re", "x", 1, -1), "it can write");
    check(await(&data, ZOO_CHANGED_EVENT, 0, "/re", 1), "and its watch was armed again");
    zookeeper_close(handle);
}

int main(int argc, char **argv) {
    static struct journal journal = JOURNAL, writers = JOURNAL;
    if (argc < 2) {
        fprintf(stderr, "usage: checks HOST:PORT [old]\n");
        return 2;
    }
    exists_needs_read = argc == 2;
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *handle = connect_as(argv[1], &journal, NULL);
    await_connected(&journal, 1, "a session");
    zhandle_t *writer = connect_as(argv[1], &writers, NULL);
    await_connected(&writers, 1, "a second session");
    synchronous(handle);
    asynchronous(handle);
    watches(handle, writer);
    multi(handle);
    acls(argv[1], handle);
    sessions(argv[1], handle);
    chroots(argv[1], handle);
    reconnects(argv[1]);
    check_code(ZOK, zookeeper_close(writer), "the second session closes");
    check_code(ZOK, zookeeper_close(handle), "the session closes");
    printf("%d passed, %d failed\n", checks_done - checks_failed, checks_failed);
    return checks_failed != 0;
}
