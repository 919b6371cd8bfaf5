/*
 * libfarwatch: client of Farwatch and ZooKeeper servers. The rules are in docs/c-api.md; in short:
 *
 * - A function that can fail returns an fw_status and takes an `fw_error **` last, which may be
 *   null and is written on failure only. Other outputs are written on success only.
 * - Text and bytes are a pointer and a length. FW_CSTR as a length of text: it ends with a zero.
 * - What is received as a `type **` belongs to the receiver, who frees it with `fw_type_free`.
 *   What is received as a `const` pointer is valid as long as what it was asked of.
 * - A handle is freed once, when no other thread uses it. Freeing null is allowed.
 * - Callbacks run on the library's threads, without any lock held. They must return soon, must not
 *   throw or longjmp out, and may call every function that does not block.
 * - No thread is cancelled (pthread_cancel) or ends itself inside a function of the library or a
 *   callback: disable its cancellation there. What it held would stay locked, or the process ends.
 *
 * Written by cbindgen from the source: do not edit.
 */

#ifndef FARWATCH_H
#define FARWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/** The ABI that this header describes; a library that fits says the same: `fw_abi_version()`. */
#define FW_ABI_VERSION 0

/** As a length of text: the text ends with a zero byte. */
#define FW_CSTR ((size_t)-1)

/** As a time to wait: what the client was configured with. */
#define FW_DEFAULT_TIMEOUT ((int64_t)-1)

/** As the age that a read may show: any. */
#define FW_ANY_AGE ((int64_t)-1)

/** As a version: any. */
#define FW_ANY_VERSION (-1)

/** The beginning of an `fw_stat` that is to be filled. */
#define FW_STAT_INIT {(uint32_t)sizeof(fw_stat), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** The beginning of an `fw_lag` that is to be filled. */
#define FW_LAG_INIT {(uint32_t)sizeof(fw_lag), 0, 0, 0, 0, 0}

/** As a zxid to subscribe from: now. */
#define FW_FROM_NOW ((int64_t)-1)




/**
 * What ids count from unless a program has reasons of its own: the year 2020, milliseconds since 1970.
 */
#define FW_SNOWFLAKE_EPOCH_MS 1577836800000

/**
 * What became of a call. Numbers are never used again for something else; a program must expect
 * numbers that it does not know, from a newer library.
 */
enum fw_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Done; outputs are written.
   */
  FW_OK = 0,
  /**
   * A pointer that must not be null is null.
   */
  FW_NULL = 1,
  /**
   * An argument has a value that it cannot have; the error's text says which.
   */
  FW_BAD_ARGUMENT = 2,
  /**
   * The handle is of another type, or was freed. Found with certainty in debug builds only.
   */
  FW_BAD_HANDLE = 3,
  /**
   * An earlier call panicked inside the library: this handle can only be freed.
   */
  FW_POISONED = 4,
  /**
   * A bug of the library. The process lives, the handle can only be freed.
   */
  FW_PANIC = 5,
  /**
   * The handle comes from the process before `fork`: open a new one in the child.
   */
  FW_FORKED = 6,
  /**
   * A call that waits, from inside a callback: it would wait for itself.
   */
  FW_IN_CALLBACK = 7,
  /**
   * No memory for what the arguments ask for, or none at all: nothing was begun.
   */
  FW_NO_MEMORY = 8,
  /**
   * The system gave no thread or no descriptor.
   */
  FW_NO_RESOURCES = 9,
  /**
   * The path breaks the rules for names of nodes.
   */
  FW_BAD_PATH = 10,
  /**
   * More bytes than the library or the server accepts.
   */
  FW_TOO_LARGE = 11,
  /**
   * The data is longer than the buffer; its length was written.
   */
  FW_BUFFER_TOO_SMALL = 12,
  /**
   * The deadline passed.
   */
  FW_TIMEOUT = 20,
  /**
   * The connection broke before the answer came. `fw_error_maybe_applied` says what that means.
   */
  FW_CONNECTION_LOSS = 21,
  /**
   * The session is over and its ephemeral nodes are gone.
   */
  FW_SESSION_EXPIRED = 22,
  /**
   * The handle was closed.
   */
  FW_CLOSED = 23,
  /**
   * Too many calls are unanswered; repeat when some are answered.
   */
  FW_OVERLOADED = 24,
  /**
   * The server's answer does not decode: perhaps it is no server of this kind.
   */
  FW_BAD_REPLY = 25,
  /**
   * Changes were missed: read what is there, and subscribe again.
   */
  FW_WINDOW_LOST = 26,
  /**
   * The read must show a transaction that neither the server nor the leader knows.
   */
  FW_STALE = 27,
  /**
   * No such node, or no parent of the node to create.
   */
  FW_NO_NODE = 40,
  /**
   * The node exists already.
   */
  FW_NODE_EXISTS = 41,
  /**
   * The node has another version.
   */
  FW_BAD_VERSION = 42,
  /**
   * The node has children.
   */
  FW_NOT_EMPTY = 43,
  /**
   * This session's identities do not allow it.
   */
  FW_NO_AUTH = 44,
  /**
   * An ephemeral node cannot have children.
   */
  FW_NO_CHILDREN_FOR_EPHEMERALS = 45,
  /**
   * The server does not accept this access control list.
   */
  FW_INVALID_ACL = 46,
  /**
   * The server refused a credential.
   */
  FW_AUTH_FAILED = 47,
  /**
   * The server can only read at the moment.
   */
  FW_NOT_READ_ONLY = 48,
  /**
   * No such watch.
   */
  FW_NO_WATCHER = 49,
  /**
   * A quota would be passed.
   */
  FW_QUOTA_EXCEEDED = 50,
  /**
   * The server is too busy and has not executed it.
   */
  FW_THROTTLED = 51,
  /**
   * A local session cannot have ephemeral nodes here.
   */
  FW_EPHEMERAL_ON_LOCAL_SESSION = 52,
  /**
   * The server does not know this operation.
   */
  FW_UNIMPLEMENTED = 53,
  /**
   * The ensemble cannot be changed so, or not now; the error's text says why.
   */
  FW_RECONFIG_REFUSED = 54,
  /**
   * The server refused for another reason: `fw_error_code` and the error's text say which.
   */
  FW_SERVER_REFUSED = 55,
  /**
   * What was held is held no more: the session expired, the node was deleted, or it was released.
   */
  FW_LOST = 70,
  /**
   * No server has confirmed the session in time: it may have been lost. Stop for now.
   */
  FW_LEASE_OVER = 71,
  /**
   * Another one has it.
   */
  FW_TAKEN = 72,
  /**
   * A later holder has been here: the token's holder must stop.
   */
  FW_STALE_TOKEN = 73,
  /**
   * A recipe cannot do it; the error's text says why.
   */
  FW_RECIPE_REFUSED = 74,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_status fw_status;
#else
typedef int32_t fw_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a session can be.
 */
enum fw_session_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * There was no server yet.
   */
  FW_STATE_CONNECTING = 0,
  /**
   * A server serves it. What lasting watches would have told while it was suspended is lost:
   * read again what matters.
   */
  FW_STATE_CONNECTED = 1,
  /**
   * As connected, at a server that can only read now.
   */
  FW_STATE_CONNECTED_READ_ONLY = 2,
  /**
   * No server serves it at the moment. It may live on, or be over already: do not act on locks.
   */
  FW_STATE_SUSPENDED = 3,
  /**
   * It is over, and its ephemeral nodes are gone: `fw_event_lost`. Follows: nothing, or with
   * `renewExpired` a new session.
   */
  FW_STATE_EXPIRED = 4,
  /**
   * It was closed by this client.
   */
  FW_STATE_CLOSED = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_session_state fw_session_state;
#else
typedef int32_t fw_session_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How it stands with something held: a lock, leadership.
 */
enum fw_standing
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * A server serves the session.
   */
  FW_STANDING_HELD = 0,
  /**
   * No server serves the session at the moment, or one without a leader, which can only read. It may
   * come back as held or as lost: stop, or act only while `_check` agrees.
   */
  FW_STANDING_SUSPENDED = 1,
  /**
   * It is over: released, the session expired, or somebody deleted the node. Final.
   */
  FW_STANDING_LOST = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_standing fw_standing;
#else
typedef int32_t fw_standing;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What happened to a node.
 */
enum fw_change_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It was created.
   */
  FW_CHANGE_CREATED = 1,
  /**
   * It was deleted.
   */
  FW_CHANGE_DELETED = 2,
  /**
   * Its data was set.
   */
  FW_CHANGE_SET = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_change_kind fw_change_kind;
#else
typedef int32_t fw_change_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a node lives and is named.
 */
enum fw_create_mode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Until it is deleted.
   */
  FW_PERSISTENT = 0,
  /**
   * Until it is deleted or its session ends.
   */
  FW_EPHEMERAL = 1,
  /**
   * Persistent; the server appends a counter of ten digits.
   */
  FW_PERSISTENT_SEQUENTIAL = 2,
  /**
   * Ephemeral; the server appends a counter of ten digits.
   */
  FW_EPHEMERAL_SEQUENTIAL = 3,
  /**
   * The server removes it some time after its last child is gone.
   */
  FW_CONTAINER = 4,
  /**
   * The server removes it when it has no children and was not set for its time to live.
   */
  FW_PERSISTENT_TTL = 5,
  /**
   * As `FW_PERSISTENT_TTL`; the server appends a counter of ten digits.
   */
  FW_PERSISTENT_SEQUENTIAL_TTL = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_create_mode fw_create_mode;
#else
typedef uint32_t fw_create_mode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Bits of the flags of reads.
 */
enum fw_flag
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The next change of what is read is told once, as an event.
   */
  FW_WATCH = 1,
  /**
   * The server catches up with the leader before it reads: what was acknowledged to anybody
   * before the call is seen. Less is asked with `fw_op_fresh`.
   */
  FW_SYNC = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_flag fw_flag;
#else
typedef uint32_t fw_flag;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a lasting watch tells.
 */
enum fw_watch_mode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Every event of the node itself and of its list of children.
   */
  FW_WATCH_PERSISTENT = 0,
  /**
   * Creation, deletion and data of the node and of everything below it.
   */
  FW_WATCH_RECURSIVE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_watch_mode fw_watch_mode;
#else
typedef uint32_t fw_watch_mode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which watches to look for or to remove.
 */
enum fw_watch_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * One-shot watches of `children`.
   */
  FW_WATCHES_CHILDREN = 1,
  /**
   * One-shot watches of `get` and `exists`.
   */
  FW_WATCHES_DATA = 2,
  /**
   * All of them.
   */
  FW_WATCHES_ANY = 3,
  /**
   * Those of `FW_WATCH_PERSISTENT`.
   */
  FW_WATCHES_PERSISTENT = 4,
  /**
   * Those of `FW_WATCH_RECURSIVE`.
   */
  FW_WATCHES_RECURSIVE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_watch_kind fw_watch_kind;
#else
typedef uint32_t fw_watch_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Bits of the permissions of an entry.
 */
enum fw_perms
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Read the data, list the children, see the stat.
   */
  FW_PERM_READ = 1,
  /**
   * Set the data.
   */
  FW_PERM_WRITE = 2,
  /**
   * Create children.
   */
  FW_PERM_CREATE = 4,
  /**
   * Delete children.
   */
  FW_PERM_DELETE = 8,
  /**
   * Set the list itself.
   */
  FW_PERM_ADMIN = 16,
  /**
   * All five.
   */
  FW_PERM_ALL = 31,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_perms fw_perms;
#else
typedef uint32_t fw_perms;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What kind of event it is.
 */
enum fw_event_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * The session has another state: `fw_event_state`.
   */
  FW_EVENT_SESSION = 1,
  /**
   * The session expired, and the client has begun a new one in its place. Watches and
   * credentials went over to it; the ephemeral nodes of the old one are gone: `fw_event_lost`.
   */
  FW_EVENT_REPLACED = 2,
  /**
   * The server refused a credential, which will not be tried again.
   */
  FW_EVENT_AUTH_FAILED = 3,
  /**
   * The queue was too full, and events before this one were dropped: read again what matters.
   */
  FW_EVENT_OVERFLOW = 4,
  /**
   * A feed has something for `fw_feed_next`: see `fw_feed_queue`. Which one, the tag says.
   */
  FW_EVENT_FEED = 5,
  /**
   * An observer follows an upstream. From the first of these on it is ready: `fw_observer_wait_ready` for
   * transaction 0 succeeds. See `fw_observer_queue`.
   */
  FW_EVENT_OBSERVER_LINKED = 6,
  /**
   * An observer follows no upstream, and looks for one. Reads go on, and `fw_observer_lag` says how old they are.
   */
  FW_EVENT_OBSERVER_UNLINKED = 7,
  /**
   * An observer has ended, and `fw_observer_ended` says why. What it knew can still be read. Nothing follows.
   */
  FW_EVENT_OBSERVER_ENDED = 8,
  /**
   * A node came to be.
   */
  FW_EVENT_CREATED = 10,
  /**
   * A node is gone.
   */
  FW_EVENT_DELETED = 11,
  /**
   * A node's data was set.
   */
  FW_EVENT_DATA_CHANGED = 12,
  /**
   * A child of a node came or went.
   */
  FW_EVENT_CHILDREN_CHANGED = 13,
  /**
   * A one-shot watch on data was removed by this client.
   */
  FW_EVENT_DATA_WATCH_REMOVED = 14,
  /**
   * A one-shot watch on children was removed by this client.
   */
  FW_EVENT_CHILD_WATCH_REMOVED = 15,
  /**
   * A lasting watch was removed by this client.
   */
  FW_EVENT_LASTING_WATCH_REMOVED = 16,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_event_kind fw_event_kind;
#else
typedef int32_t fw_event_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An access control list. Operations copy it.
 */
typedef struct fw_acl fw_acl;

/**
 * A task that a worker has taken up. One that is only freed stays with its worker, which is not given it
 * again, until that leaves. All functions on it: any thread. Free assignments before their client; their
 * worker may go before.
 */
typedef struct fw_assignment fw_assignment;

/**
 * A node that bars the way for as long as it is there. All functions on it: any thread. Free it before
 * its client.
 */
typedef struct fw_barrier fw_barrier;

/**
 * One change of one node. All functions on it: any thread, never block.
 */
typedef struct fw_change fw_change;

/**
 * A session with a service, and its threads: one, one for each recipe that waits (`fw_op_lock_acquire`), and with
 * `serverChoice` set to `nearest` now and then one for each server, for a second at most. All functions on it:
 * any thread.
 */
typedef struct fw_client fw_client;

/**
 * One entry of a queue: a result, an event, or what the program has posted itself. Belongs to whoever took it;
 * what is asked of it stays valid until `fw_completion_free`. All functions on it: any thread, never block; freeing it
 * is as `fw_result_free`.
 */
typedef struct fw_completion fw_completion;

/**
 * Settings for what is opened with it. Keys that `zoo.cfg` has too mean the same. Which keys there
 * are, each `_open` function says; an unknown one is refused there, by name.
 */
typedef struct fw_config fw_config;

/**
 * A number at a path, which each change changes once, also when its answer is lost. All functions on
 * it: any thread. Free it before its client.
 */
typedef struct fw_counter fw_counter;

/**
 * Nobody begins before all are there, and nobody ends before all are done. All functions on it: any
 * thread. Free it before its client.
 */
typedef struct fw_double_barrier fw_double_barrier;

/**
 * One that stands for election: in line from `fw_election_join` on, leading from the success of
 * `fw_election_lead` on, until it resigns, is freed, or is lost with its session. All functions on
 * it: any thread. Free elections before their client.
 */
typedef struct fw_election fw_election;

/**
 * Why a call failed. Belongs to whoever received it, until `fw_error_free`.
 */
typedef struct fw_error fw_error;

/**
 * Something that happened. Lent to a callback for the duration of the call, or owned by the
 * completion that it came with. All functions on it: any thread, never block.
 */
typedef struct fw_event fw_event;

/**
 * The changes at a node and below it, in the order of the history: for who waits for them (`fw_feed_next`), and for
 * a loop (`fw_feed_queue`). All functions on it: any thread; those that wait share the changes, each of which goes
 * to one of them.
 */
typedef struct fw_feed fw_feed;

/**
 * The resource's memory of the largest token. It belongs to the resource and is stored with it: a
 * fence that forgets lets a holder in that was overtaken before. All functions on it: any thread,
 * never block.
 */
typedef struct fw_fence fw_fence;

/**
 * First in, first out: Rust's `Queue`. Each item is put once and taken once, also when answers are
 * lost. All functions on it: any thread. Free it before its client.
 */
typedef struct fw_fifo fw_fifo;

/**
 * A state that is followed: who leads, who is in a group or offers a service, what a configuration
 * node holds. It is renewed by watches, across reconnects and, with `renewExpired`, across sessions.
 * States that follow each other fast may be skipped; the last one is not. All functions on it: any
 * thread. Free it before its client.
 */
typedef struct fw_followed fw_followed;

/**
 * A group at a path: its members' names are those of the ephemeral nodes there. All functions on it:
 * any thread. Free it before its client.
 */
typedef struct fw_group fw_group;

/**
 * A lock that is held, from the call that got it until it is released, freed, or lost with its
 * session. Pass its token with each use of what it guards, where an `fw_fence` refuses whoever was
 * overtaken. All functions on it: any thread. Free locks before their client.
 */
typedef struct fw_lock fw_lock;

/**
 * A node of an observer's replica, while a function looks at it. What is asked of it lies in the
 * replica's memory and is valid until the function returns, or, in a view, until the view is freed. All
 * functions on it: any thread, as long as it is lent; they never block.
 */
typedef struct fw_node fw_node;

/**
 * A replica of a service's whole tree in this process, and its threads. It learns from voters or from
 * other observers, serves reads from memory, survives the loss of its link and heals by itself. Access
 * control lists are not looked at: whoever has the replica has all of it. All functions on it: any
 * thread, at once; those that read take no lock, make no system call and wait for nobody, while no more than
 * 64 reads are under way at one instant. A further one gives its processor to others (`sched_yield`) until
 * one of them has ended. A read that a signal interrupted is under way until its thread goes on; one that another
 * thread had under way at a `fork` is so for ever in the child.
 */
typedef struct fw_observer fw_observer;

/**
 * An operation, to be given to `fw_client_call`, `fw_client_submit` or `fw_client_enqueue`, as
 * often as wanted, and freed then. It has copied what it was made of. All functions on it: any
 * thread, never block. They fail with `FW_NULL`, `FW_BAD_ARGUMENT`, `FW_TOO_LARGE`, `FW_BAD_HANDLE`;
 * a bad path shows at the call.
 */
typedef struct fw_op fw_op;

/**
 * A queue of results and events, for any number of clients and observers. All functions on it: any thread.
 */
typedef struct fw_queue fw_queue;

/**
 * The answer to an operation. Belongs to whoever received it; what is asked of it stays valid until
 * `fw_result_free`. All functions on it: any thread, never block, but as that one says. What the operation's
 * answer does not have is null, 0 or `FW_BAD_ARGUMENT`.
 */
typedef struct fw_result fw_result;

/**
 * One that leads now and then: Rust's `LeaderSelector`. Unlike an `fw_election` it is in line only while
 * `fw_selector_lead` waits, and who has lost is told to whom. All functions on it: any thread. Free it
 * before its client.
 */
typedef struct fw_selector fw_selector;

/**
 * So many permits at a path. All functions on it: any thread. Free it before its client.
 */
typedef struct fw_semaphore fw_semaphore;

/**
 * Services by name, and who offers them: a group for each, below one path. All functions on it: any
 * thread. Free it before its client.
 */
typedef struct fw_service_directory fw_service_directory;

/**
 * What takes a session up again, in another handle or another process. **It holds the session's
 * password**: who has it can act as the session, read and delete what only it may, and end it. All
 * functions on it: any thread, never block.
 */
typedef struct fw_session fw_session;

/**
 * Makes unique ids: 41 bits of milliseconds, 10 of a worker id that it holds, 12 of a counter. No two
 * are ever equal, also where a worker id passes to another owner. All functions on it: any thread.
 * Free snowflakes before their client.
 */
typedef struct fw_snowflake fw_snowflake;

/**
 * Tasks and workers at a path. What a worker had when its session ended goes to another. All functions
 * on it: any thread. Free it before its client.
 */
typedef struct fw_task_board fw_task_board;

/**
 * What is held: a permit, a place inside a double barrier, membership of a group, an offered
 * service, a selector's leadership, a worker id, a worker's name. It is held from the call that got it
 * until it is released, freed, or lost with its session. All functions on it: any thread. Free tenures
 * before their client.
 */
typedef struct fw_tenure fw_tenure;

/**
 * The replica as it was after one transaction, for as long as it is kept. What is replaced meanwhile and is of
 * this state stays in memory (`versions_kept` of `fw_lag` counts it), at most as much as the replica took: free it
 * when the reads are done. It outlives its observer. All functions on it: any thread, at once; they never block:
 * no lock and, up to 64 reads at once, no system call.
 */
typedef struct fw_view fw_view;

/**
 * A watch that lasts until it is freed, across reconnects and, with `renewExpired`, across sessions. Any
 * number may share a path. All functions on it: any thread. Free it before its client.
 */
typedef struct fw_watch fw_watch;

/**
 * The numbers below a bound, each of them one session's. All functions on it: any thread. Free it
 * before its client.
 */
typedef struct fw_worker_ids fw_worker_ids;

/**
 * Told a child's name, `len` bytes as they are, **not** ended by a zero; false ends the telling. Valid until
 * this returns, of a view until that is freed.
 */
typedef bool (*fw_child_fn)(void *context, const char *name, size_t len);

/**
 * Metadata of a node. Set `size` to `sizeof(fw_stat)` before it is filled, or begin with
 * `FW_STAT_INIT`: so a library that knows more fields than the program, or fewer, is understood.
 */
typedef struct {
  /**
   * `sizeof(fw_stat)` as the program knows it, bytes.
   */
  uint32_t size;
  /**
   * Changes of the data.
   */
  int32_t version;
  /**
   * Changes of the children.
   */
  int32_t cversion;
  /**
   * Changes of the access control list.
   */
  int32_t aversion;
  /**
   * Bytes of data; 0 also for null.
   */
  int32_t data_length;
  /**
   * Children.
   */
  int32_t num_children;
  /**
   * The transaction that created the node: fit to be a fencing token.
   */
  int64_t czxid;
  /**
   * The last transaction that set the data.
   */
  int64_t mzxid;
  /**
   * The last transaction that created or deleted a child.
   */
  int64_t pzxid;
  /**
   * Creation, milliseconds since 1970, by the leader's clock.
   */
  int64_t ctime;
  /**
   * Last change of the data, in the same way.
   */
  int64_t mtime;
  /**
   * The session that an ephemeral node belongs to, else 0.
   */
  int64_t ephemeral_owner;
} fw_stat;

/**
 * Called once with what became of a request, on the client's own thread: return soon, block never; of a recipe
 * (`fw_op_lock_acquire`) on the thread that waited, where it may block.
 * `result` is null unless `status` is `FW_OK`, `error` unless it is not; both are yours to free.
 */
typedef void (*fw_done_fn)(void *context, fw_status status, fw_result *result, fw_error *error);

/**
 * Ends the life of a `context`: called once, when nothing will be called with it any more, on
 * whichever thread finds out. Null when there is nothing to do.
 */
typedef void (*fw_destroy_fn)(void *context);

/**
 * Called at each change of standing, on the client's own thread: return soon, block never.
 */
typedef void (*fw_standing_fn)(void *context, fw_standing standing);

/**
 * Called with each event, in order, on the client's own thread: return soon, block never.
 */
typedef void (*fw_event_fn)(void *context, const fw_event *event);

/**
 * How far an observer is, and how sure of it. Set `size` to `sizeof(fw_lag)` before it is filled, or
 * begin with `FW_LAG_INIT`.
 */
typedef struct {
  /**
   * `sizeof(fw_lag)` as the program knows it, bytes.
   */
  uint32_t size;
  /**
   * 1 while it follows an upstream, else 0.
   */
  int32_t linked;
  /**
   * The last transaction that reads show.
   */
  int64_t zxid;
  /**
   * Since how many milliseconds it does not know itself to be current; -1 before it was for the first
   * time. By a clock that never goes back.
   */
  int64_t stale_ms;
  /**
   * Replaced versions that some view or read still keeps in memory.
   */
  uint64_t versions_kept;
  /**
   * What the replica takes, these included, bytes.
   */
  uint64_t tree_bytes;
} fw_lag;

/**
 * Looks at a node in place, without a copy. `node` is valid until the function returns.
 */
typedef void (*fw_read_fn)(void *context, const fw_node *node);

/**
 * Called with each new state, on the client's own thread: return soon, block never. `state` is what
 * `fw_followed_get` gives, and is lent for the call.
 */
typedef void (*fw_followed_fn)(void *context, const fw_result *state);

/**
 * What a snowflake counts time by instead of the system's clock: milliseconds since 1970. Called on any
 * thread, also on several at once, and on the client's own: return at once.
 */
typedef uint64_t (*fw_clock_fn)(void *context);

/**
 * Told a node; false ends the scan. `node` is valid until the view is freed only through what its
 * functions return; the pointer itself until this returns.
 */
typedef bool (*fw_scan_fn)(void *context, const fw_node *node);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes an empty list, which no server accepts before an entry is added. Any thread, never blocks.
 */
fw_status fw_acl_new(fw_acl **acl, fw_error **error);

/**
 * Adds an entry: `perms` are bits of `fw_perms`; ("world", "anyone") is everyone, ("auth", "") who
 * this client is. Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_ARGUMENT`,
 * `FW_TOO_LARGE`.
 */
fw_status fw_acl_add(fw_acl *acl,
                     uint32_t perms,
                     const char *scheme,
                     size_t scheme_len,
                     const char *id,
                     size_t id_len,
                     fw_error **error);

/**
 * Frees `acl`. Null is allowed. Any thread, never blocks.
 */
fw_status fw_acl_free(fw_acl *acl);

/**
 * Calls `told` with the name of each child of the node at `path`, in the order of their creation, in this thread,
 * until it says false, which is a success too. All of them are of one state. `stat` is filled before the first
 * call; it may be null, else its `size` must be set. `told` must return at once, and must not read from an
 * observer, as with `fw_observer_read`: that answers `FW_IN_CALLBACK`. Takes no lock and, up to 64 reads at once,
 * never blocks; allocates nothing, so also in a signal handler (where `error` is null); any thread. Fails with
 * `FW_NO_NODE`, `FW_NULL`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_observer_children_each(const fw_observer *observer,
                                    const char *path,
                                    size_t path_len,
                                    fw_child_fn told,
                                    void *context,
                                    fw_stat *stat,
                                    fw_error **error);

/**
 * Calls `told` with the name of each child that the node at `path` has in this state, in the order of their
 * creation, in this thread, until it says false, which is a success too. `stat` is filled before the first call; it
 * may be null, else its `size` must be set. `told` must not free `view`, and may read from it. Allocates nothing.
 * Fails with `FW_NO_NODE`, `FW_NULL`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_view_children_each(const fw_view *view,
                                const char *path,
                                size_t path_len,
                                fw_child_fn told,
                                void *context,
                                fw_stat *stat,
                                fw_error **error);

/**
 * Opens a client. Returns at once; the session is established in the background, and operations
 * wait for it. Settings, milliseconds where they are times:
 *
 * - `connect`: `host:port[,host:port...][/chroot]`, the only one that must be set. Names are
 *   resolved at every attempt;
 * - `sessionTimeout` (30000, or that of `session`): wanted; the server grants what lies within its limits;
 * - `requestTimeout` (30000): how long operations wait that are given a negative time;
 * - `closeTimeout` (2000): how long `fw_client_free` waits for the server's farewell;
 * - `renewExpired` (false): an expired session is replaced by a new one inside this client, with an
 *   event that says what was lost;
 * - `readOnly` (false): accepts a server that can only read at the moment;
 * - `jute.maxbuffer` (1048575): the servers' limit for a request, bytes;
 * - `serverChoice` (random): which server of `connect` is tried first. `random` spreads clients.
 *   `order` takes the first that serves, also after a loss. `nearest` asks all at once and takes the
 *   first that answers and serves; connected to another one, it goes back to one that is twice as near
 *   in two checks in a row, when no request waits and no lock or leadership is held, so that nothing
 *   fails of it: the session is told to be suspended and connected again;
 * - `nearestPause` (60000): how long a connection lasts before a nearer server is looked for, less up
 *   to half of it by chance. The pause doubles up to sixteen times that while nothing is found;
 * - `session`: the text of an `fw_session`, to go on with that session. It is a secret, and stays in
 *   `config` until that is freed. When the session is over, the client is told that it has expired;
 * - `seed`: fixes the order of the servers and the waits between attempts.
 *
 * Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT`,
 * `FW_NO_RESOURCES` (no thread to be had), `FW_NO_MEMORY`.
 */
fw_status fw_client_open(const fw_config *config,
                         fw_client **client,
                         fw_error **error);

/**
 * Waits until a server serves the session, up to `timeout_ms` (negative: `requestTimeout`). May
 * block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_SESSION_EXPIRED`, `FW_CLOSED`,
 * `FW_IN_CALLBACK`.
 */
fw_status fw_client_wait_connected(fw_client *client, int64_t timeout_ms, fw_error **error);

/**
 * The session's state, as the last event said. Never blocks.
 */
fw_session_state fw_client_state(const fw_client *client);

/**
 * The session's id, 0 while there is none: the `ephemeral_owner` of its nodes. Never blocks.
 */
int64_t fw_client_session_id(const fw_client *client);

/**
 * The session timeout that the server granted, or the wanted one before that, milliseconds. Never
 * blocks.
 */
uint64_t fw_client_session_timeout_ms(const fw_client *client);

/**
 * The server that serves the session now, as `host:port` of the setting `connect`; ends with a zero and is valid
 * until the client is freed. Null while there is none. For a client of an embedded observer it names no
 * address. `len` may be null. Never blocks.
 */
const char *fw_client_server(const fw_client *client,
                             size_t *len);

/**
 * Ends the session: its ephemeral nodes are gone when this returns `FW_OK`. Operations that wait
 * fail with `FW_CLOSED`, recipes included. Waits up to `timeout_ms` (negative: `requestTimeout`) for the server's
 * word; without a server at hand it fails at once, and the session ends by its timeout. May block,
 * so not in a callback. Fails with `FW_TIMEOUT`, `FW_CONNECTION_LOSS`, `FW_IN_CALLBACK`.
 */
fw_status fw_client_close(fw_client *client,
                          int64_t timeout_ms,
                          fw_error **error);

/**
 * Ends the session unless that was done, and frees the client. Null is allowed. No callback begins
 * after it; one that is running is waited for, up to two seconds. May block, no longer than
 * `closeTimeout` and these two seconds; inside a callback it does not wait. Every context is
 * destroyed, at the latest when the client's threads have ended.
 */
fw_status fw_client_free(fw_client *client);

/**
 * Executes `op` and waits for the answer up to `timeout_ms` (negative: `requestTimeout`), connecting
 * included; a recipe's has its own time too, and waits on the calling thread. `result` may be null. May block, so
 * not in a callback.
 *
 * Fails with `FW_TIMEOUT` and `FW_CONNECTION_LOSS`, where `fw_error_maybe_applied` matters,
 * `FW_SESSION_EXPIRED`, `FW_CLOSED`, `FW_OVERLOADED`, `FW_BAD_PATH`, `FW_TOO_LARGE`,
 * `FW_IN_CALLBACK`, and what servers refuse with: the statuses from `FW_NO_NODE` on.
 */
fw_status fw_client_call(fw_client *client,
                         const fw_op *op,
                         int64_t timeout_ms,
                         fw_result **result,
                         fw_error **error);

/**
 * Asks for `op` and returns at once; `done` is called with what became of it, on the client's own
 * thread, in the order of the requests; of a recipe (`fw_op_lock_acquire`) on another one, when it is reached. It
 * is called exactly once, unless the request is abandoned or the client freed before. `destroy` is called with
 * `context` exactly once: after `done`, when it will not be called any more, or when this fails. `request` may be
 * null; else it names the request for `fw_client_abandon`. Never blocks longer than the socket takes to take the bytes.
 *
 * Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_SESSION_EXPIRED`, `FW_CLOSED`, `FW_OVERLOADED`,
 * `FW_BAD_PATH`, `FW_TOO_LARGE`, and for a recipe `FW_NO_RESOURCES`: then nothing was sent.
 */
fw_status fw_client_submit(fw_client *client,
                           const fw_op *op,
                           fw_done_fn done,
                           void *context,
                           fw_destroy_fn destroy,
                           uint64_t *request,
                           fw_error **error);

/**
 * Asks for `op` and returns at once; what became of it comes to `queue` as a completion with `tag`, in the
 * order of the requests, exactly once, unless the request is abandoned. Freeing the queue gives up the recipes
 * (`fw_op_lock_acquire`) that wait for it, as `fw_client_abandon` does. Otherwise as `fw_client_submit`.
 */
fw_status fw_client_enqueue(fw_client *client,
                            const fw_op *op,
                            fw_queue *queue,
                            void *tag,
                            uint64_t *request,
                            fw_error **error);

/**
 * Gives up waiting for `request`: its callback is not called any more, unless it is being called
 * already, and no completion comes. A recipe leaves the line in the background: it gets nothing any more, or gives
 * it up. `maybe_applied` may be null; else it says whether the request may have been, or may still be, applied; of
 * recipes only `fw_op_fifo_take` may have been. Never blocks. Fails with `FW_BAD_ARGUMENT` when it was completed
 * already.
 */
fw_status fw_client_abandon(fw_client *client,
                            uint64_t request,
                            bool *maybe_applied,
                            fw_error **error);

/**
 * Creates a node that everybody may do everything with: `fw_op_create` without the rarer wishes,
 * called as `fw_client_call` does. `mode` is an `fw_create_mode` without a time to live. The result
 * has a path and a stat. May block, so not in a callback.
 */
fw_status fw_client_create(fw_client *client,
                           const char *path,
                           size_t path_len,
                           const uint8_t *data,
                           size_t data_len,
                           uint32_t mode,
                           int64_t timeout_ms,
                           fw_result **result,
                           fw_error **error);

/**
 * Reads a node: `fw_op_get` and `fw_client_call`. May block, so not in a callback.
 */
fw_status fw_client_get(fw_client *client,
                        const char *path,
                        size_t path_len,
                        uint32_t flags,
                        int64_t timeout_ms,
                        fw_result **result,
                        fw_error **error);

/**
 * Reads a node, as fresh as `fw_op_fresh` says: `fw_op_get`, `fw_op_fresh` and `fw_client_call`.
 * May block, so not in a callback.
 */
fw_status fw_client_get_fresh(fw_client *client,
                              const char *path,
                              size_t path_len,
                              uint32_t flags,
                              int64_t at_least,
                              int64_t at_most_ms,
                              int64_t timeout_ms,
                              fw_result **result,
                              fw_error **error);

/**
 * Replaces a node's data: `fw_op_set` and `fw_client_call`. May block, so not in a callback.
 */
fw_status fw_client_set(fw_client *client,
                        const char *path,
                        size_t path_len,
                        const uint8_t *data,
                        size_t data_len,
                        int32_t version,
                        int64_t timeout_ms,
                        fw_result **result,
                        fw_error **error);

/**
 * Asks whether a node exists: `fw_op_exists` and `fw_client_call`. May block, so not in a callback.
 */
fw_status fw_client_exists(fw_client *client,
                           const char *path,
                           size_t path_len,
                           uint32_t flags,
                           int64_t timeout_ms,
                           fw_result **result,
                           fw_error **error);

/**
 * Asks whether a node exists, as fresh as `fw_op_fresh` says: `fw_op_exists`, `fw_op_fresh` and `fw_client_call`.
 * May block, so not in a callback.
 */
fw_status fw_client_exists_fresh(fw_client *client,
                                 const char *path,
                                 size_t path_len,
                                 uint32_t flags,
                                 int64_t at_least,
                                 int64_t at_most_ms,
                                 int64_t timeout_ms,
                                 fw_result **result,
                                 fw_error **error);

/**
 * Lists a node's children: `fw_op_children` and `fw_client_call`. May block, so not in a callback.
 */
fw_status fw_client_children(fw_client *client,
                             const char *path,
                             size_t path_len,
                             uint32_t flags,
                             int64_t timeout_ms,
                             fw_result **result,
                             fw_error **error);

/**
 * Lists a node's children, as fresh as `fw_op_fresh` says: `fw_op_children`, `fw_op_fresh` and `fw_client_call`.
 * May block, so not in a callback.
 */
fw_status fw_client_children_fresh(fw_client *client,
                                   const char *path,
                                   size_t path_len,
                                   uint32_t flags,
                                   int64_t at_least,
                                   int64_t at_most_ms,
                                   int64_t timeout_ms,
                                   fw_result **result,
                                   fw_error **error);

/**
 * Deletes a node: `fw_op_delete` and `fw_client_call`. May block, so not in a callback.
 */
fw_status fw_client_delete(fw_client *client,
                           const char *path,
                           size_t path_len,
                           int32_t version,
                           int64_t timeout_ms,
                           fw_error **error);

/**
 * Waits until the session's server has caught up with the leader: `fw_op_sync` and
 * `fw_client_call`. May block, so not in a callback.
 */
fw_status fw_client_sync(fw_client *client,
                         const char *path,
                         size_t path_len,
                         int64_t timeout_ms,
                         fw_error **error);

/**
 * Makes an empty configuration. Free it with `fw_config_free`; what was opened with it does not
 * need it any more. Any thread, never blocks. Fails with `FW_NULL`.
 */
fw_status fw_config_new(fw_config **config, fw_error **error);

/**
 * Sets `key` to `value`; the last one counts. Both are copied. Any thread, never blocks. Fails with
 * `FW_NULL`, `FW_BAD_ARGUMENT` (not UTF-8), `FW_TOO_LARGE`.
 */
fw_status fw_config_set(fw_config *config,
                        const char *key,
                        size_t key_len,
                        const char *value,
                        size_t value_len,
                        fw_error **error);

/**
 * Sets `key` to a number. As `fw_config_set`.
 */
fw_status fw_config_set_number(fw_config *config,
                               const char *key,
                               size_t key_len,
                               uint64_t value,
                               fw_error **error);

/**
 * Sets `key` to true or false. As `fw_config_set`.
 */
fw_status fw_config_set_bool(fw_config *config,
                             const char *key,
                             size_t key_len,
                             bool value,
                             fw_error **error);

/**
 * What locks, elections and all other recipes of clients opened with `config` create has the rights of
 * `acl`, which is copied, where a recipe is given none of its own; null is everything for everyone, as
 * without this call. Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`.
 */
fw_status fw_config_acl(fw_config *config,
                        const fw_acl *acl,
                        fw_error **error);

/**
 * Frees `config`, and overwrites its values before, of which one may be a secret. Null is allowed. Any thread,
 * never blocks.
 */
fw_status fw_config_free(fw_config *config);

/**
 * Stands for election at `path`; `id` is what others see of the one that leads. Returns when it is
 * in line. Nodes are made as needed, with the rights of `fw_config_acl`. Curator's `LeaderLatch` at the same path takes part. Waits up to `timeout_ms` (negative:
 * `requestTimeout`). May block, so not in a callback. Fails with `FW_TIMEOUT`, and as
 * `fw_client_call`; then nothing is left behind.
 */
fw_status fw_election_join(fw_client *client,
                           const char *path,
                           size_t path_len,
                           const uint8_t *id,
                           size_t id_len,
                           int64_t timeout_ms,
                           fw_election **election,
                           fw_error **error);

/**
 * Waits until this one leads, up to `timeout_ms` (negative: `requestTimeout`; 0: asks whether it
 * is its turn, for which a server has `requestTimeout`). After `FW_TIMEOUT` it is in line still.
 * May block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_LOST`, `FW_IN_CALLBACK`.
 */
fw_status fw_election_lead(fw_election *election, int64_t timeout_ms, fw_error **error);

/**
 * Who leads now, this one or the one that it lost to: the result's data is the leader's id, its
 * number the leader's token; null and 0 if nobody leads. May block, so not in a callback. Fails
 * with `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
 */
fw_status fw_election_leader(fw_election *election,
                             int64_t timeout_ms,
                             fw_result **result,
                             fw_error **error);

/**
 * The fencing token of this candidate: it grows from leader to leader. 0 once it resigned. Never
 * blocks.
 */
int64_t fw_election_token(const fw_election *election);

/**
 * How it stands with its place: leading, or in line. Never blocks.
 */
fw_standing fw_election_standing(const fw_election *election);

/**
 * For how many milliseconds from now nobody else can lead, by this machine's clock. 0 when nothing
 * is certain, or this one does not lead. Never blocks.
 */
uint64_t fw_election_lease_ms(const fw_election *election);

/**
 * Succeeds if it is certain at this moment that this one leads and nobody else: ask before each act.
 * `token` may be null. Never blocks. Fails with `FW_TAKEN` (in line), `FW_LEASE_OVER` (stop for
 * now), `FW_LOST`.
 */
fw_status fw_election_check(const fw_election *election,
                            int64_t *token,
                            fw_error **error);

/**
 * Calls `callback` at each change of standing: as `fw_lock_on_change`.
 */
fw_status fw_election_on_change(fw_election *election,
                                fw_standing_fn callback,
                                void *context,
                                fw_destroy_fn destroy,
                                fw_error **error);

/**
 * Steps back, from leading or from the line, and returns when the next one can lead; free the
 * handle afterwards. Another thread that waits in `fw_election_lead` is told `FW_LOST`. At the
 * deadline it goes on in the background, and `fw_error_maybe_applied` is true. May block, so not
 * in a callback. Fails with `FW_LOST` when it was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
 */
fw_status fw_election_resign(fw_election *election, int64_t timeout_ms, fw_error **error);

/**
 * Frees the handle, and steps back in the background unless that was done. Null is allowed. May block: waits
 * for a callback that is running, up to two seconds, unless it is called from one.
 */
fw_status fw_election_free(fw_election *election);

/**
 * The status that the call returned. `FW_OK` for null. Any thread, never blocks.
 */
fw_status fw_error_status(const fw_error *error);

/**
 * The server's own number for a refusal (ZooKeeper's codes, all below 0); 0 when the failure did
 * not come from a server. Any thread, never blocks.
 */
int32_t fw_error_code(const fw_error *error);

/**
 * What happened and what to do about it, for people: UTF-8 that ends with a zero byte. Never null;
 * valid until the error is freed. Any thread, never blocks.
 */
const char *fw_error_text(const fw_error *error);

/**
 * Whether the same call may succeed later without any other change. Look at
 * `fw_error_maybe_applied` before repeating a write. Any thread, never blocks.
 */
bool fw_error_retriable(const fw_error *error);

/**
 * Whether the handle is of no more use: free it and open a new one. Any thread, never blocks.
 */
bool fw_error_fatal(const fw_error *error);

/**
 * Whether what was asked for may have happened, or may still happen. False is a promise: it did
 * not and will not. When true, read back before you repeat a write. Any thread, never blocks.
 */
bool fw_error_maybe_applied(const fw_error *error);

/**
 * The place of the operation of a transaction that failed, from 0; -1 when it was no transaction.
 * Any thread, never blocks.
 */
int64_t fw_error_index(const fw_error *error);

/**
 * Frees `error`. Null is allowed. Any thread, never blocks.
 */
fw_status fw_error_free(fw_error *error);

/**
 * Events of clients that are opened with `config` go to `callback`, on each client's own thread.
 * `context` is passed on, and `destroy` is called with it when the configuration and all these
 * clients are gone, or at once when this fails. Replaces an earlier choice. Any thread, never
 * blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`.
 */
fw_status fw_config_on_event(fw_config *config,
                             fw_event_fn callback,
                             void *context,
                             fw_destroy_fn destroy,
                             fw_error **error);

/**
 * Events of clients that are opened with `config` go to `queue`, as completions with `tag`.
 * Replaces an earlier choice. Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`.
 */
fw_status fw_config_event_queue(fw_config *config, fw_queue *queue, void *tag, fw_error **error);

/**
 * What happened; 0 for null. Expect kinds that you do not know, from a newer library.
 */
int32_t fw_event_get_kind(const fw_event *event);

/**
 * The session's state with this event. Of an observer's: connected while it is linked, suspended while not, closed
 * when it has ended.
 */
fw_session_state fw_event_state(const fw_event *event);

/**
 * The node that it is about, null if it is about none; ends with a zero. `len` may be null.
 */
const char *fw_event_path(const fw_event *event, size_t *len);

/**
 * The transaction that caused it, or -1 where the server does not say.
 */
int64_t fw_event_zxid(const fw_event *event);

/**
 * How many ephemeral nodes went with an expired session: those that this handle's own operations created
 * and did not delete, up to 65 536. It does not know of nodes whose creation was never answered here
 * (`fw_error_maybe_applied`, or it was abandoned), nor of those from before a session was taken up. What
 * recipes held is told by their handles.
 */
size_t fw_event_lost_count(const fw_event *event);

/**
 * The path of lost ephemeral node `index`, null if there is none; ends with a zero. `len` may be
 * null.
 */
const char *fw_event_lost(const fw_event *event, size_t index, size_t *len);

/**
 * Subscribes to the changes at `path` and below it (`/`: all): those behind transaction `from_zxid`, or
 * from now on with `FW_FROM_NOW`. To miss nothing: subscribe first, take a view, and pass over the
 * changes up to the view's zxid. The feed outlives its observer. Takes a lock for an instant, any thread.
 * Fails with `FW_WINDOW_LOST` (changes behind `from_zxid` are not known any more), `FW_NULL`.
 */
fw_status fw_observer_subscribe(const fw_observer *observer,
                                const char *path,
                                size_t path_len,
                                int64_t from_zxid,
                                fw_feed **feed,
                                fw_error **error);

/**
 * Takes the next change and waits up to `timeout_ms` for it: 0 looks and does not wait. Free it with
 * `fw_change_free`. May block, any thread; in what `fw_observer_read` calls, which the observer may wait
 * for, it must not. Fails with `FW_TIMEOUT` (nothing so far), `FW_WINDOW_LOST` (changes were missed: read
 * what is there and subscribe again from that view's zxid), `FW_CLOSED` (the observer ended),
 * `FW_IN_CALLBACK`.
 */
fw_status fw_feed_next(fw_feed *feed,
                       uint64_t timeout_ms,
                       fw_change **change,
                       fw_error **error);

/**
 * Has `queue` told when `fw_feed_next` has something: a change, `FW_WINDOW_LOST` or `FW_CLOSED`. One completion
 * comes with `tag` and an `FW_EVENT_FEED`, at once if there is something now. Take all there is then, by
 * `fw_feed_next` with a `timeout_ms` of 0 until `FW_TIMEOUT`: that asks for the next completion, and before it
 * none comes, however much changes. Behind `FW_WINDOW_LOST` or `FW_CLOSED` none comes any more. A completion may
 * find nothing, where another thread took it; and one of a feed is in the queue at a time. Takes the place of an
 * earlier queue; a null `queue` takes it away. When that has returned, as when `fw_feed_free` has, nothing is put
 * into the earlier one any more, and what is there stays. Feed and queue may be freed in any order. Takes a lock
 * for an instant, any thread. Fails with `FW_NULL` (no feed), `FW_BAD_HANDLE`, `FW_FORKED`.
 */
fw_status fw_feed_queue(fw_feed *feed,
                        fw_queue *queue,
                        void *tag,
                        fw_error **error);

/**
 * Up to where everything was told; at first, where the feed begins. Takes a lock for an instant, any
 * thread, also while others wait in `fw_feed_next`.
 */
int64_t fw_feed_zxid(const fw_feed *feed);

/**
 * Frees `feed`; changes that it gave stay valid. Null is allowed. Takes a lock for an instant where it has a queue.
 */
fw_status fw_feed_free(fw_feed *feed);

/**
 * By which transaction. Changes of one transaction of several operations share it.
 */
int64_t fw_change_zxid(const fw_change *change);

/**
 * What happened.
 */
fw_change_kind fw_change_kind_of(const fw_change *change);

/**
 * The node's whole path; **not** ended by a zero. `len` may be null. Valid until the change is freed.
 */
const char *fw_change_path(const fw_change *change,
                           size_t *len);

/**
 * The node's data right behind the transaction; null if it is null, or if the node was deleted. `len` may
 * be null. Valid until the change is freed.
 */
const uint8_t *fw_change_data(const fw_change *change,
                              size_t *len);

/**
 * Fills `stat`, whose `size` must be set, with the node's right behind the transaction. Fails with
 * `FW_NO_NODE` (it was deleted), `FW_NULL`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_change_stat(const fw_change *change, fw_stat *stat, fw_error **error);

/**
 * Frees `change`. Null is allowed. Never blocks.
 */
fw_status fw_change_free(fw_change *change);

/**
 * Makes a fence that remembers `largest`: what the resource has stored, or 0. Any thread.
 */
fw_status fw_fence_new(int64_t largest, fw_fence **fence, fw_error **error);

/**
 * Lets a use with `token` in, unless a larger one was here: then it fails with `FW_STALE_TOKEN`, and
 * its holder must stop. What follows must be done before the next use is admitted, by a lock of the
 * resource's own or in one transaction with the stored token. Any thread.
 */
fw_status fw_fence_admit(fw_fence *fence,
                         int64_t token,
                         fw_error **error);

/**
 * The largest token that was admitted: what to store. 0 for null. Any thread.
 */
int64_t fw_fence_largest(const fw_fence *fence);

/**
 * Frees `fence`. Null is allowed. Any thread.
 */
fw_status fw_fence_free(fw_fence *fence);

/**
 * Hands over the lock that `fw_op_lock_acquire`, `_lock_read` or `_lock_write` waited for, once. Until then it
 * is the result's, and released in the background when that is freed. Free results before their client where
 * they hold one. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT` (there is none, or it was handed over).
 */
fw_status fw_result_lock(const fw_result *result,
                         fw_lock **lock,
                         fw_error **error);

/**
 * Hands over what `fw_op_semaphore_acquire`, `_double_barrier_enter`, `_group_join`,
 * `_service_directory_register`, `_task_board_work`, `_worker_ids_claim` or `_selector_lead` got: as
 * `fw_result_lock`. `tenure` becomes null, which is no failure, where another one won what
 * `fw_op_selector_lead` stood for.
 */
fw_status fw_result_tenure(const fw_result *result,
                           fw_tenure **tenure,
                           fw_error **error);

/**
 * Hands over the election in which `fw_op_election_lead` has won: as `fw_result_lock`.
 */
fw_status fw_result_election(const fw_result *result, fw_election **election, fw_error **error);

/**
 * Hands over the task that `fw_op_worker_take` has taken up: as `fw_result_lock`. One that nobody takes is the
 * worker's next, as if it had not been taken up.
 */
fw_status fw_result_assignment(const fw_result *result,
                               fw_assignment **assignment,
                               fw_error **error);

/**
 * Has `queue` told how the observer is linked: at once, and with each change from then on, by completions with
 * `tag` and an event, which is `FW_EVENT_OBSERVER_LINKED`, `_UNLINKED` or `_ENDED`, the last one. So a loop knows
 * when the observer is ready, without `fw_observer_wait_ready`. Takes the place of an earlier queue; a null
 * `queue` takes it away. When that has returned nothing is put into the earlier one any more, and what is there
 * stays. Observer and queue may be freed in any order; freeing the observer ends it, and is told. Of one without a
 * thread (`thread` is `none`) changes are told while it is driven. Takes a lock for an instant, any thread. Fails
 * with `FW_NULL` (no observer), `FW_BAD_HANDLE`, `FW_FORKED`.
 */
fw_status fw_observer_queue(const fw_observer *observer,
                            fw_queue *queue,
                            void *tag,
                            fw_error **error);

/**
 * Waits for the exclusive lock at `path` up to `timeout_ms` (negative: `requestTimeout`), in a fair
 * line of which each member is woken alone. Nodes are made as needed, with the rights of `fw_config_acl`; Curator's `InterProcessMutex`
 * at the same path contends, and so does kazoo's `Lock` where it is told what these nodes are called (docs/recipes.md). Not reentrant.
 * Nothing is left behind when it fails.
 * May block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
 */
fw_status fw_lock_acquire(fw_client *client,
                          const char *path,
                          size_t path_len,
                          int64_t timeout_ms,
                          fw_lock **lock,
                          fw_error **error);

/**
 * As `fw_lock_acquire`, and waits for others no longer than `patience_ms`, which may be 0: then it
 * fails with `FW_TAKEN`. `timeout_ms` bounds all of it, the requests included.
 */
fw_status fw_lock_try(fw_client *client,
                      const char *path,
                      size_t path_len,
                      uint64_t patience_ms,
                      int64_t timeout_ms,
                      fw_lock **lock,
                      fw_error **error);

/**
 * As `fw_lock_acquire`, for a lock that readers share: waits until nobody writes. Readers' tokens
 * are not ordered by who acts: a fence admits those of writers.
 */
fw_status fw_lock_read(fw_client *client,
                       const char *path,
                       size_t path_len,
                       int64_t timeout_ms,
                       fw_lock **lock,
                       fw_error **error);

/**
 * As `fw_lock_acquire`, for a lock that readers share: waits until nobody else reads or writes.
 */
fw_status fw_lock_write(fw_client *client,
                        const char *path,
                        size_t path_len,
                        int64_t timeout_ms,
                        fw_lock **lock,
                        fw_error **error);

/**
 * The fencing token: it grows from holder to holder. 0 once released. Never blocks.
 */
int64_t fw_lock_token(const fw_lock *lock);

/**
 * How it stands. Never blocks.
 */
fw_standing fw_lock_standing(const fw_lock *lock);

/**
 * For how many milliseconds from now nobody else can hold it, by this machine's clock; it is moved
 * on while servers confirm the session. 0 when nothing is certain. Never blocks.
 */
uint64_t fw_lock_lease_ms(const fw_lock *lock);

/**
 * Succeeds if it is certain at this moment that nobody else can hold it: ask before each act.
 * `token` may be null. Never blocks. Fails with `FW_LEASE_OVER` (stop for now) and `FW_LOST`.
 */
fw_status fw_lock_check(const fw_lock *lock, int64_t *token, fw_error **error);

/**
 * Calls `callback` at each change of standing, on the client's thread; when the lock is lost already,
 * at once, on this one. Not after the lock was released or freed. `destroy` is called with `context`
 * exactly once, when no call can come any more, or when this fails. Never blocks. Fails with
 * `FW_NULL`, `FW_LOST` (it was released).
 */
fw_status fw_lock_on_change(fw_lock *lock,
                            fw_standing_fn callback,
                            void *context,
                            fw_destroy_fn destroy,
                            fw_error **error);

/**
 * Releases the lock, and returns when the next one can have it; free the handle afterwards. At the
 * deadline it goes on in the background, and `fw_error_maybe_applied` is true. May block, so not
 * in a callback. Fails with `FW_LOST` when it was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
 */
fw_status fw_lock_release(fw_lock *lock, int64_t timeout_ms, fw_error **error);

/**
 * Frees the handle, and releases the lock in the background unless that was done. Null is allowed. May block:
 * waits for a callback that is running, up to two seconds, unless it is called from one.
 */
fw_status fw_lock_free(fw_lock *lock);

/**
 * The data, or null if it is null; not ended by a zero. `len` may be null.
 */
const uint8_t *fw_node_data(const fw_node *node, size_t *len);

/**
 * The whole path; **not** ended by a zero. Null for null. `len` may be null.
 */
const char *fw_node_path(const fw_node *node, size_t *len);

/**
 * Fills `stat`, whose `size` must be set. Fails with `FW_NULL`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_node_stat(const fw_node *node, fw_stat *stat, fw_error **error);

/**
 * Starts an observer. Blocks until what `dataDir` has was read; a link it does not wait for, see
 * `fw_observer_wait_ready`. May block, any thread. Settings, the first two also by a server's names
 * (`farwatch.observe`, `farwatch.upstreamChoice`):
 *
 * - `upstreams`: `host[:port][,host[:port]...]`, whom it learns from, by their peer ports (2888
 *   unless given), the first that can be reached and has in its log what was missed; the only one that must be set;
 * - `upstreamChoice` (`first`): `nearest` is the one of them with the shortest round trip instead;
 * - `dataDir`: where it keeps its history, so that it comes back with what it missed only; without
 *   it, everything is in memory;
 * - `thread` (`own`): where it works: on a thread of its `own`; `pinned` to processor `cpu`; or `none`: on
 *   the calling thread, in `fw_observer_drive` and while that waits, and nowhere else;
 * - `cpu`: the processor that its thread keeps to, from 0;
 * - `windowBytes` (16777216): changes that are kept for feeds that lag behind;
 * - `treeBytes`: the most that the replica may take, with what views keep of its past; beyond it the
 *   observer ends, and can still be read. So it does when the system has no memory to give.
 *
 * Fails with `FW_NULL`, `FW_BAD_ARGUMENT` (also when `dataDir` cannot be used as it is), `FW_TAKEN` (another
 * observer or server has `dataDir`), `FW_NO_RESOURCES` (also when its disk fails), `FW_NO_MEMORY`, `FW_CLOSED`
 * (it ended while it was opened: the error's text says why).
 */
fw_status fw_observer_open(const fw_config *config,
                           fw_observer **observer,
                           fw_error **error);

/**
 * Waits until the observer has followed an upstream and shows transaction `min_zxid` or a later one: 0
 * for any. `timeout_ms` 0 looks and does not wait. May block, any thread. Fails with `FW_TIMEOUT`,
 * `FW_CLOSED` (it ended: the error's text says why), `FW_FORKED`.
 */
fw_status fw_observer_wait_ready(const fw_observer *observer,
                                 int64_t min_zxid,
                                 uint64_t timeout_ms,
                                 fw_error **error);

/**
 * Lets an observer without a thread (`thread` is `none`) go on, in the calling thread, which is the one that
 * opened it: for `timeout_ms` and about a millisecond, or until it has ended; for longer where a snapshot that
 * replaces its state is read. Who drives it sees what was learned since: call it at least every 10 ms for
 * reads that are new, and every second, or its upstream parts with it until it is driven again. Signals wait
 * meanwhile, for 10 ms at most; threads that it starts (for its disk, for names) have them blocked. A blocking call of a client of this observer needs another thread to
 * make it. May block. Fails with `FW_CLOSED` (it ended), `FW_BAD_ARGUMENT` (it has a thread, or another one
 * opened it), `FW_FORKED`.
 */
fw_status fw_observer_drive(const fw_observer *observer,
                            uint64_t timeout_ms,
                            fw_error **error);

/**
 * Fills `lag`, whose `size` must be set. Takes no lock and, up to 64 reads at once, never blocks; any thread.
 * Fails with `FW_NULL`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_observer_lag(const fw_observer *observer,
                          fw_lag *lag,
                          fw_error **error);

/**
 * Copies the data of a node to `buffer`, at most `capacity` bytes of it, and says in `len` how long the data is:
 * when that is more than `capacity`, the status is `FW_BUFFER_TOO_SMALL`, nothing else is written and the call can
 * be repeated with more room. `len` is -1 for null data. `stat` may be null, else its `size` must be set. Takes no
 * lock and, up to 64 reads at once, never blocks; any thread. Fails with `FW_NO_NODE`, `FW_NULL`,
 * `FW_BUFFER_TOO_SMALL`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_observer_get(const fw_observer *observer,
                          const char *path,
                          size_t path_len,
                          uint8_t *buffer,
                          size_t capacity,
                          int64_t *len,
                          fw_stat *stat,
                          fw_error **error);

/**
 * Calls `read` once with the node at `path`, in this thread, before it returns; what it is told lies in the
 * replica's own memory. It must return at once: what is replaced meanwhile stays in memory. It must not read from
 * an observer: 64 reads can be under way at once, and one within another could wait for a place that it holds
 * itself; so such calls answer `FW_IN_CALLBACK`. Views are free of that. Takes no lock and, up to 64 reads at
 * once, never blocks; any thread. Fails with `FW_NO_NODE`, `FW_NULL`.
 */
fw_status fw_observer_read(const fw_observer *observer,
                           const char *path,
                           size_t path_len,
                           fw_read_fn read,
                           void *context,
                           fw_error **error);

/**
 * Whether there is a node at `path`: `FW_OK`, or `FW_NO_NODE`. `stat` may be null, else its `size` must be set.
 * Takes no lock and, up to 64 reads at once, never blocks; any thread.
 */
fw_status fw_observer_exists(const fw_observer *observer,
                             const char *path,
                             size_t path_len,
                             fw_stat *stat,
                             fw_error **error);

/**
 * The names of a node's children, in the order of their creation, and its stat. Free the result with
 * `fw_result_free`. Takes no lock of the observer and, up to 64 reads at once, never blocks. Allocates the list,
 * so not in a signal handler, where `fw_observer_children_each` may be called; any thread. Fails with
 * `FW_NO_NODE`, `FW_NULL`.
 */
fw_status fw_observer_children(const fw_observer *observer,
                               const char *path,
                               size_t path_len,
                               fw_result **result,
                               fw_error **error);

/**
 * Opens a client of the observer, in this process: what it reads comes from the observer's memory, what it writes
 * goes upstream, and what was acknowledged to it every later read in the process shows. `config` is that of
 * `fw_client_open` without `connect`; null is an empty one. `chroot` may be null. Free it with `fw_client_free`,
 * before or after the observer, without which it is disconnected. Never blocks, any thread. Fails with `FW_NULL`,
 * `FW_BAD_ARGUMENT`, `FW_NO_RESOURCES`, `FW_NO_MEMORY`, `FW_FORKED`.
 */
fw_status fw_observer_client(const fw_observer *observer,
                             const fw_config *config,
                             const char *chroot,
                             size_t chroot_len,
                             fw_client **client,
                             fw_error **error);

/**
 * Why the observer ended, for people, or null while it has not: it can still be read then. Valid until
 * it is freed. Null in a forked process. `len` may be null. Takes a lock for an instant, any thread.
 */
const char *fw_observer_ended(const fw_observer *observer,
                              size_t *len);

/**
 * Stops the observer and waits for its threads; reads still show what it knew. Twice is once. In a
 * process that was forked from the one that opened it this does nothing. One without a thread ends here
 * when the thread that drives it calls, and otherwise when that thread ends, or drives or opens another.
 * May block, any thread. Fails with `FW_IN_CALLBACK` in what `fw_observer_read` and
 * `fw_observer_children_each` call: a thread of its could wait for that read.
 */
fw_status fw_observer_close(fw_observer *observer,
                            fw_error **error);

/**
 * Closes the observer and frees it; views and feeds of it stay valid. Null is allowed. May block. In what
 * `fw_observer_read` and `fw_observer_children_each` call it answers `FW_IN_CALLBACK`, and frees nothing.
 */
fw_status fw_observer_free(fw_observer *observer);

/**
 * Creates a node. Null data with length 0 is null, which is not the same as empty. `mode` is an
 * `fw_create_mode`; `ttl_ms` is 0 but for the two modes with a time to live. A null `acl` is
 * everything for everyone. The result has a path and a stat.
 */
fw_status fw_op_create(const char *path,
                       size_t path_len,
                       const uint8_t *data,
                       size_t data_len,
                       uint32_t mode,
                       uint64_t ttl_ms,
                       const fw_acl *acl,
                       fw_op **op,
                       fw_error **error);

/**
 * Deletes a node without children that has `version`, or any with -1. The result is empty.
 */
fw_status fw_op_delete(const char *path,
                       size_t path_len,
                       int32_t version,
                       fw_op **op,
                       fw_error **error);

/**
 * Asks whether a node exists: not to exist is an answer, not an error. `flags` are of `fw_flag`; a
 * watch tells its creation, deletion or next data. The result has a stat if the node exists.
 */
fw_status fw_op_exists(const char *path,
                       size_t path_len,
                       uint32_t flags,
                       fw_op **op,
                       fw_error **error);

/**
 * Reads a node. `flags` are of `fw_flag`; a watch tells its deletion or next data. The result has
 * data and a stat.
 */
fw_status fw_op_get(const char *path,
                    size_t path_len,
                    uint32_t flags,
                    fw_op **op,
                    fw_error **error);

/**
 * Replaces the data of a node that has `version`, or any with -1. Null data with length 0 is null.
 * The result has a stat.
 */
fw_status fw_op_set(const char *path,
                    size_t path_len,
                    const uint8_t *data,
                    size_t data_len,
                    int32_t version,
                    fw_op **op,
                    fw_error **error);

/**
 * Lists the children of a node. `flags` are of `fw_flag`; a watch tells the next child that comes
 * or goes, or the node's own deletion. The result has names and the node's stat.
 */
fw_status fw_op_children(const char *path,
                         size_t path_len,
                         uint32_t flags,
                         fw_op **op,
                         fw_error **error);

/**
 * Reads the access control list of a node. The result has entries and a stat.
 */
fw_status fw_op_get_acl(const char *path, size_t path_len, fw_op **op, fw_error **error);

/**
 * Replaces the access control list of a node whose list has `version`, or any with -1. The result
 * has a stat.
 */
fw_status fw_op_set_acl(const char *path,
                        size_t path_len,
                        const fw_acl *acl,
                        int32_t version,
                        fw_op **op,
                        fw_error **error);

/**
 * Waits until the session's server has caught up with the leader: reads behind it see all that
 * was acknowledged before. The result is empty.
 */
fw_status fw_op_sync(const char *path, size_t path_len, fw_op **op, fw_error **error);

/**
 * Checks that a node exists and has `version`, or any with -1: for transactions, or alone.
 */
fw_status fw_op_check(const char *path,
                      size_t path_len,
                      int32_t version,
                      fw_op **op,
                      fw_error **error);

/**
 * Begins a transaction: everything that is added to it is applied, or nothing; `fw_error_index`
 * says which operation it failed with. Or several reads that see one state, each with its own
 * status. The result has a part for each.
 */
fw_status fw_op_multi(fw_op **op, fw_error **error);

/**
 * Adds a copy of `part` to a transaction: create, set, delete and check; or get and children
 * without flags. Fails with `FW_BAD_ARGUMENT` when it is none of these, or reads and writes would
 * mix.
 */
fw_status fw_op_multi_add(fw_op *multi, const fw_op *part, fw_error **error);

/**
 * Sets a watch that stays until it is removed or the session ends; `mode` is an `fw_watch_mode`.
 * It survives reconnects; events that fall between two connections are lost. The result is empty.
 */
fw_status fw_op_add_watch(const char *path,
                          size_t path_len,
                          uint32_t mode,
                          fw_op **op,
                          fw_error **error);

/**
 * Removes watches; `kind` is an `fw_watch_kind`. Each kind that there was is told as an event. The
 * result is empty; the call fails with `FW_NO_WATCHER` when there was none.
 */
fw_status fw_op_remove_watches(const char *path,
                               size_t path_len,
                               uint32_t kind,
                               fw_op **op,
                               fw_error **error);

/**
 * Asks whether the server keeps such a watch; `kind` is an `fw_watch_kind`. The call fails with
 * `FW_NO_WATCHER` when not.
 */
fw_status fw_op_check_watches(const char *path,
                              size_t path_len,
                              uint32_t kind,
                              fw_op **op,
                              fw_error **error);

/**
 * Lists this session's ephemeral nodes whose paths begin with `prefix`. The result has names, which
 * are whole paths.
 */
fw_status fw_op_ephemerals(const char *prefix, size_t prefix_len, fw_op **op, fw_error **error);

/**
 * Counts the nodes below a node, at any depth. The result has a number.
 */
fw_status fw_op_count_descendants(const char *path, size_t path_len, fw_op **op, fw_error **error);

/**
 * Asks who the server takes this client for. The result has entries without permissions.
 */
fw_status fw_op_whoami(fw_op **op, fw_error **error);

/**
 * Adds an identity, now and after every reconnect, such as ("digest", "user:password"). A digest
 * password is not verified here: a wrong one shows as `FW_NO_AUTH` later. The result is empty.
 */
fw_status fw_op_add_auth(const char *scheme,
                         size_t scheme_len,
                         const uint8_t *auth,
                         size_t auth_len,
                         fw_op **op,
                         fw_error **error);

/**
 * Reads the ensemble's configuration. `flags` may hold `FW_WATCH`. The result has data and a stat.
 */
fw_status fw_op_get_config(uint32_t flags, fw_op **op, fw_error **error);

/**
 * Changes the ensemble's membership: `members` as a whole, or `joining` and `leaving`; what is not
 * meant is null. `version` is that of the expected configuration, or -1. The result has the new
 * configuration and a stat.
 */
fw_status fw_op_reconfig(const char *joining,
                         size_t joining_len,
                         const char *leaving,
                         size_t leaving_len,
                         const char *members,
                         size_t members_len,
                         int64_t version,
                         fw_op **op,
                         fw_error **error);

/**
 * Frees `op`. Null is allowed. Any thread, never blocks.
 */
fw_status fw_op_free(fw_op *op);

/**
 * Says how fresh the answer of a read must be, whichever way it is asked for: it shows the state of the
 * transaction `at_least` or a later one (0: any), as it was `at_most_ms` ago or later (0: all that was
 * acknowledged to anybody before the read was asked for, as with `FW_SYNC`; negative: whenever). The
 * server is made to catch up with the leader where it is not known to be that fresh, and only then.
 * Replaces what `FW_SYNC` said. `op` is of `fw_op_get`, `_exists`, `_children`, `_get_acl`,
 * `_ephemerals`, `_count_descendants`, or of `fw_op_multi` after reads were added. Any thread, never
 * blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT` (no such read).
 *
 * A read that no server can answer so fails with `FW_TIMEOUT` or `FW_CONNECTION_LOSS` where no leader
 * can be asked, and with `FW_STALE` where the transaction is not known there.
 */
fw_status fw_op_fresh(fw_op *op,
                      int64_t at_least,
                      int64_t at_most_ms,
                      fw_error **error);

/**
 * Waits for the exclusive lock at `path`, as `fw_lock_acquire` does, up to `timeout_ms` from when it is asked
 * for (negative: `requestTimeout`). The result has the lock (`fw_result_lock`), and its token as the number.
 *
 * This and the other operations of recipes (`fw_op_lock_read`, `_lock_write`, `_semaphore_acquire`, `_election_lead`,
 * `_selector_lead`, `_fifo_take`, `_double_barrier_enter`, `_barrier_wait`, `_group_join`,
 * `_service_directory_register`, `_worker_ids_claim`, `_task_board_work`, `_worker_take`) are more than one request.
 * Each that `fw_client_submit` or `fw_client_enqueue` was given has a thread of the library's, with all signals
 * blocked, until it is completed: 256 for each client, beyond which they fail with `FW_OVERLOADED`; with
 * `FW_NO_RESOURCES` where no thread is to be had. They complete when they have got what they wait for, and not in the
 * order in which they were asked for; `done` is called on the thread that waited, at the same time as other callbacks
 * may be, and may block. `fw_client_abandon` gives the place in line up, and so does freeing the queue that it was
 * enqueued for. `fw_client_close`, `_detach` and `_free` end them with `FW_CLOSED`. A lost session is told `FW_LOST`
 * or `FW_SESSION_EXPIRED`: ask again with `renewExpired`. Otherwise they fail as the function of the recipe does.
 * They are no part of `fw_op_multi`.
 *
 * What a result hands over and nobody took is given up when the result is freed, with its completion, or the
 * queue: an item is lost then, and a task its worker's next.
 */
fw_status fw_op_lock_acquire(const char *path,
                             size_t path_len,
                             int64_t timeout_ms,
                             fw_op **op,
                             fw_error **error);

/**
 * Waits until nobody writes, as `fw_lock_read` does; otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_lock_read(const char *path,
                          size_t path_len,
                          int64_t timeout_ms,
                          fw_op **op,
                          fw_error **error);

/**
 * Waits until nobody else reads or writes, as `fw_lock_write` does; otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_lock_write(const char *path,
                           size_t path_len,
                           int64_t timeout_ms,
                           fw_op **op,
                           fw_error **error);

/**
 * Waits for one of `permits` at `path`, as `fw_semaphore_new` and `fw_semaphore_acquire` do. The result has the
 * permit (`fw_result_tenure`); otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_semaphore_acquire(const char *path,
                                  size_t path_len,
                                  uint32_t permits,
                                  const fw_acl *acl,
                                  int64_t timeout_ms,
                                  fw_op **op,
                                  fw_error **error);

/**
 * Stands for election at `path` and waits until this one leads, as `fw_election_join` and `fw_election_lead` do;
 * `id` is what others see. When it fails, `FW_TIMEOUT` included, it is not in line any more. The result has the
 * election, which leads (`fw_result_election`); otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_election_lead(const char *path,
                              size_t path_len,
                              const uint8_t *id,
                              size_t id_len,
                              int64_t timeout_ms,
                              fw_op **op,
                              fw_error **error);

/**
 * Waits for an item of the queue at `path` and takes it, as `fw_fifo_new` and `fw_fifo_take` do: the result's data
 * is the item, its number the token. One that is abandoned may have taken an item, which is lost then, where
 * `fw_client_abandon` says `maybe_applied`; it does not while it waits for one. Otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_fifo_take(const char *path,
                          size_t path_len,
                          const fw_acl *acl,
                          int64_t timeout_ms,
                          fw_op **op,
                          fw_error **error);

/**
 * Waits until `members` are at `path`, as `fw_double_barrier_new` and `fw_double_barrier_enter` do. The result has
 * the place inside (`fw_result_tenure`); otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_double_barrier_enter(const char *path,
                                     size_t path_len,
                                     uint32_t members,
                                     const fw_acl *acl,
                                     int64_t timeout_ms,
                                     fw_op **op,
                                     fw_error **error);

/**
 * Waits until no barrier is at `path`, as `fw_barrier_new` and `fw_barrier_wait` do. The result is empty; otherwise
 * as `fw_op_lock_acquire`.
 */
fw_status fw_op_barrier_wait(const char *path,
                             size_t path_len,
                             int64_t timeout_ms,
                             fw_op **op,
                             fw_error **error);

/**
 * Takes a number from 0 to below `bound` at `path` that nobody has, as `fw_worker_ids_new` and
 * `fw_worker_ids_claim` do. The result has it (`fw_result_tenure`, `fw_tenure_worker_id`); otherwise as
 * `fw_op_lock_acquire`.
 */
fw_status fw_op_worker_ids_claim(const char *path,
                                 size_t path_len,
                                 uint32_t bound,
                                 const fw_acl *acl,
                                 int64_t timeout_ms,
                                 fw_op **op,
                                 fw_error **error);

/**
 * Becomes the member `name` of the group at `path`, as `fw_group_new` and `fw_group_join` do: waits for a name that is
 * taken, and fails with `FW_TAKEN` where it is so still at the end of its time. The result has the membership
 * (`fw_result_tenure`); otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_group_join(const char *path,
                           size_t path_len,
                           const char *name,
                           size_t name_len,
                           const uint8_t *data,
                           size_t data_len,
                           const fw_acl *acl,
                           int64_t timeout_ms,
                           fw_op **op,
                           fw_error **error);

/**
 * Offers `service` in the directory at `path`, as `fw_service_directory_new` and `fw_service_directory_register` do;
 * otherwise as `fw_op_group_join`.
 */
fw_status fw_op_service_directory_register(const char *path,
                                           size_t path_len,
                                           const char *service,
                                           size_t service_len,
                                           const char *instance,
                                           size_t instance_len,
                                           const uint8_t *data,
                                           size_t data_len,
                                           const fw_acl *acl,
                                           int64_t timeout_ms,
                                           fw_op **op,
                                           fw_error **error);

/**
 * Stands for election at `path` and waits until this one leads, as `fw_selector_new` and `fw_selector_lead` do, and as
 * there succeeds for who lost, too: the result's data is the id of who leads, its number the token, and what
 * `fw_result_tenure` hands over is the leadership of who won, or null. Otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_selector_lead(const char *path,
                              size_t path_len,
                              const uint8_t *id,
                              size_t id_len,
                              const fw_acl *acl,
                              int64_t timeout_ms,
                              fw_op **op,
                              fw_error **error);

/**
 * Begins to work under `name` at the board at `path`, as `fw_task_board_new` and `fw_task_board_work` do. The result
 * has the worker (`fw_result_tenure`), for `fw_op_worker_take`; otherwise as `fw_op_group_join`.
 */
fw_status fw_op_task_board_work(const char *path,
                                size_t path_len,
                                const char *name,
                                size_t name_len,
                                const fw_acl *acl,
                                int64_t timeout_ms,
                                fw_op **op,
                                fw_error **error);

/**
 * Waits for a task that is assigned to `worker` and takes it up, as `fw_worker_take` does; the operation is for the
 * client whose worker that is, else it fails with `FW_BAD_ARGUMENT`. The result has the task
 * (`fw_result_assignment`), and its token as the number. It does not keep `worker`, which may be released and freed
 * while it waits: it is told `FW_LOST` then, as it is from then on. Of one that is abandoned, the task is the
 * worker's next. This function itself fails with `FW_LOST` (it was released), `FW_FORKED` and `FW_BAD_ARGUMENT` (that
 * is no worker). Otherwise as `fw_op_lock_acquire`.
 */
fw_status fw_op_worker_take(const fw_tenure *worker,
                            int64_t timeout_ms,
                            fw_op **op,
                            fw_error **error);

/**
 * Makes a queue. Never blocks. Fails with `FW_NULL`, `FW_NO_RESOURCES`.
 */
fw_status fw_queue_new(fw_queue **queue, fw_error **error);

/**
 * A descriptor for poll, epoll, libuv or asio that is readable while the queue is not empty; -1 for
 * null. It belongs to the queue: wait for it, and do not read, write or close it. Never blocks.
 */
int32_t fw_queue_fd(const fw_queue *queue);

/**
 * Puts an entry of the program's own at the end: a completion with `tag` and `FW_OK`, without a result and without an
 * event. So a thread that waits in a recipe tells a loop that it has what it waited for, and a callback that
 * something has changed. Never blocks. Fails with `FW_NULL`, `FW_OVERLOADED` (100,000 of them wait).
 */
fw_status fw_queue_post(fw_queue *queue,
                        void *tag,
                        fw_error **error);

/**
 * Takes the first entry, for which it waits up to `timeout_ms`: 0 does not wait, and a negative one
 * has no limit. May block, any thread, and within a callback only looks. Fails with `FW_TIMEOUT` when there
 * is none, `FW_NULL`, `FW_BAD_HANDLE`, `FW_IN_CALLBACK`.
 */
fw_status fw_queue_next(fw_queue *queue,
                        int64_t timeout_ms,
                        fw_completion **completion,
                        fw_error **error);

/**
 * Frees `queue` and what is in it; what clients, feeds and observers would still put there is dropped. Recipes
 * that wait for it (`fw_op_lock_acquire`) are given up as by `fw_client_abandon`: their places in line are
 * taken back in the background, and so is what they have got and nobody has taken. Null is allowed. Never
 * blocks longer than the socket takes to take the bytes.
 */
fw_status fw_queue_free(fw_queue *queue);

/**
 * The tag that was given with the request, the choice of the queue for events, a feed or an observer, or the post.
 */
void *fw_completion_tag(const fw_completion *completion);

/**
 * The event, if this is one, else null: then it is a result, or was posted.
 */
const fw_event *fw_completion_event(const fw_completion *completion);

/**
 * What became of the request.
 */
fw_status fw_completion_status(const fw_completion *completion);

/**
 * The request's result, null if it failed.
 */
const fw_result *fw_completion_result(const fw_completion *completion);

/**
 * Why the request failed, null if it did not.
 */
const fw_error *fw_completion_error(const fw_completion *completion);

/**
 * Frees `completion`. Null is allowed.
 */
fw_status fw_completion_free(fw_completion *completion);

/**
 * The barrier at `path`; `acl` as in `fw_semaphore_new`. Curator's `DistributedBarrier` and kazoo's
 * `Barrier` at the same path are the same barrier. Never blocks, and asks no server.
 */
fw_status fw_barrier_new(fw_client *client,
                         const char *path,
                         size_t path_len,
                         const fw_acl *acl,
                         fw_barrier **barrier,
                         fw_error **error);

/**
 * Bars the way; it may be barred already. It is not bound to the session: somebody has to lift it.
 * `token` may be null; it grows from one barring to the next. May block, so not in a callback.
 * Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the way may be barred
 * all the same, and as `fw_client_call`.
 */
fw_status fw_barrier_set(fw_barrier *barrier, int64_t timeout_ms, int64_t *token, fw_error **error);

/**
 * Frees the way for all that wait; it may be free already. May block, so not in a callback. Fails
 * with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the way may be free all the
 * same, and as `fw_client_call`.
 */
fw_status fw_barrier_lift(fw_barrier *barrier, int64_t timeout_ms, fw_error **error);

/**
 * Waits until the way is free, up to `timeout_ms` (negative: `requestTimeout`). May block, so not in
 * a callback. Fails with `FW_TIMEOUT`, and as `fw_client_call`.
 */
fw_status fw_barrier_wait(fw_barrier *barrier,
                          int64_t timeout_ms,
                          fw_error **error);

/**
 * Frees `barrier`; the way stays as it is. Null is allowed. Never blocks.
 */
fw_status fw_barrier_free(fw_barrier *barrier);

/**
 * For so many members at `path`; `acl` as in `fw_semaphore_new`. The same members may meet there round
 * after round; where one has died, take a fresh path. Never blocks, and asks no server. Fails with
 * `FW_BAD_ARGUMENT` (no members).
 */
fw_status fw_double_barrier_new(fw_client *client,
                                const char *path,
                                size_t path_len,
                                uint32_t members,
                                const fw_acl *acl,
                                fw_double_barrier **barrier,
                                fw_error **error);

/**
 * Waits until all members are there, up to `timeout_ms` (negative: `requestTimeout`); after a failure
 * this one is a member no more. `fw_tenure_release` of `inside` waits until all are done. May block, so
 * not in a callback. Fails with `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
 */
fw_status fw_double_barrier_enter(fw_double_barrier *barrier,
                                  int64_t timeout_ms,
                                  fw_tenure **inside,
                                  fw_error **error);

/**
 * Frees `barrier`; who is inside stays there. Null is allowed. Never blocks.
 */
fw_status fw_double_barrier_free(fw_double_barrier *barrier);

/**
 * Follows the data of the node at `path` from now on. `fw_config_cell_set` makes the node where it is
 * missing; `acl` as in `fw_semaphore_new`. Any thread, never blocks longer than the socket
 * takes to take the bytes.
 */
fw_status fw_config_cell_open(fw_client *client,
                              const char *path,
                              size_t path_len,
                              const fw_acl *acl,
                              fw_followed **cell,
                              fw_error **error);

/**
 * Sets the data of a cell of `fw_config_cell_open`, once, where the version is `version`, which is that
 * of the state that was read (`fw_result_version`), or `FW_ANY_VERSION`; null is empty. `token` may be
 * null; it grows from change to change. Like all others, this cell has the new value when it is told
 * of it. Any thread; may block, so not in a callback. Fails with `FW_BAD_VERSION` (somebody was
 * faster), `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether it may have been set,
 * `FW_BAD_ARGUMENT` (it follows something else), and as `fw_client_call`.
 */
fw_status fw_config_cell_set(fw_followed *cell,
                             const uint8_t *data,
                             size_t data_len,
                             int32_t version,
                             int64_t timeout_ms,
                             int64_t *token,
                             fw_error **error);

/**
 * The counter at `path`, which begins at 0; `acl` as in `fw_semaphore_new`. kazoo's `Counter` counts in
 * the same node. Never blocks, and asks no server.
 */
fw_status fw_counter_new(fw_client *client,
                         const char *path,
                         size_t path_len,
                         const fw_acl *acl,
                         fw_counter **counter,
                         fw_error **error);

/**
 * The value as the connected server has it. `token` may be null; it grows with every change. May
 * block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_RECIPE_REFUSED` (the node holds no number),
 * and as `fw_client_call`.
 */
fw_status fw_counter_get(fw_counter *counter,
                         int64_t timeout_ms,
                         int64_t *value,
                         int64_t *token,
                         fw_error **error);

/**
 * Adds `delta`, which may be negative, once. `value` is what that makes; it and `token` may be null. May
 * block, so not in a callback. Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether
 * it may have been added, `FW_RECIPE_REFUSED` (the node holds no number, or it would leave its range),
 * and as `fw_client_call`.
 */
fw_status fw_counter_add(fw_counter *counter,
                         int64_t delta,
                         int64_t timeout_ms,
                         int64_t *value,
                         int64_t *token,
                         fw_error **error);

/**
 * Sets the counter to `desired` if it is `expected`, once. `token` may be null. May block, so not in a
 * callback. Fails with `FW_BAD_VERSION` if it is not, and as `fw_counter_add`.
 */
fw_status fw_counter_compare_and_set(fw_counter *counter,
                                     int64_t expected,
                                     int64_t desired,
                                     int64_t timeout_ms,
                                     int64_t *token,
                                     fw_error **error);

/**
 * Frees `counter`; its value stays. Null is allowed. Never blocks.
 */
fw_status fw_counter_free(fw_counter *counter);

/**
 * The queue at `path`, for hundreds of items; `acl` as in `fw_semaphore_new`. Never blocks, and asks
 * no server.
 */
fw_status fw_fifo_new(fw_client *client,
                      const char *path,
                      size_t path_len,
                      const fw_acl *acl,
                      fw_fifo **fifo,
                      fw_error **error);

/**
 * Puts an item behind all others. `token` may be null; it grows from item to item. May block, so not
 * in a callback. Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the item may
 * have been put, and as `fw_client_call`.
 */
fw_status fw_fifo_put(fw_fifo *fifo,
                      const uint8_t *data,
                      size_t data_len,
                      int64_t timeout_ms,
                      int64_t *token,
                      fw_error **error);

/**
 * Takes the first item if there is one: the result's data is the item, its number the token; null
 * and 0 if there is none. May block, so not in a callback. Fails as `fw_fifo_take`.
 */
fw_status fw_fifo_try_take(fw_fifo *fifo, int64_t timeout_ms, fw_result **item, fw_error **error);

/**
 * Waits for an item up to `timeout_ms` (negative: `requestTimeout`) and takes it: the result's data is
 * the item, its number the token. Those that wait are served in order. An item is gone once it is
 * taken: if its taker may die with it, use an `fw_task_board`. May block, so not in a callback. Fails
 * with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether an item may have been taken, and as
 * `fw_client_call`.
 */
fw_status fw_fifo_take(fw_fifo *fifo,
                       int64_t timeout_ms,
                       fw_result **item,
                       fw_error **error);

/**
 * Frees `fifo`, and no item. Null is allowed. Never blocks.
 */
fw_status fw_fifo_free(fw_fifo *fifo);

/**
 * Follows who leads the election at `path` from now on, for those who lost and those who do not stand:
 * the state is that of `fw_election_leader`. Each new leader wakes all who follow, once. Any thread,
 * never blocks longer than the socket takes to take the bytes, and needs no `fw_election`.
 */
fw_status fw_election_follow(fw_client *client,
                             const char *path,
                             size_t path_len,
                             fw_followed **leader,
                             fw_error **error);

/**
 * The state that was read last. Of a leader: data is its id, the number its token, null and 0 while
 * nobody leads. Of a group or a service: a part for each member, with its name (`fw_result_name` at
 * 0), data, and token as the number. Of a configuration cell: data, `fw_result_version`, and a number
 * that grows with every change; null, -1 and 0 where there is no node. Before the first read it is as
 * if there were nothing: `fw_followed_revision` is 0 then. Never blocks.
 */
fw_status fw_followed_get(const fw_followed *followed,
                          fw_result **state,
                          fw_error **error);

/**
 * One member of a group or instance of a service, each in its turn, so that the load is spread: as
 * one part of `fw_followed_get`. Never blocks. Fails with `FW_NO_NODE` (nobody is there, as far as is
 * known), `FW_BAD_ARGUMENT` (it follows something else).
 */
fw_status fw_followed_pick(fw_followed *followed,
                           fw_result **picked,
                           fw_error **error);

/**
 * Whether a server serves the session, so that a change is told. While none does, the state stays as
 * it was. Never blocks.
 */
bool fw_followed_is_current(const fw_followed *followed);

/**
 * How many states were seen; 0 before the first. Never blocks.
 */
uint64_t fw_followed_revision(const fw_followed *followed);

/**
 * Waits for a state beyond `seen`, 0 for the first, up to `timeout_ms` (negative: `requestTimeout`).
 * `revision` is that of the state that came, and may be null. May block, so not in a callback. Fails
 * with `FW_TIMEOUT`, and as `fw_client_call` when the state cannot be read.
 */
fw_status fw_followed_wait_beyond(fw_followed *followed,
                                  uint64_t seen,
                                  int64_t timeout_ms,
                                  uint64_t *revision,
                                  fw_error **error);

/**
 * Calls `callback` with each new state, on the client's thread. What is known already is not told: set
 * the callback first, then get. Not after it was freed. `destroy` is called with `context` exactly
 * once, when no call can come any more, or when this fails. Never blocks. Fails with `FW_NULL`.
 */
fw_status fw_followed_on_change(fw_followed *followed,
                                fw_followed_fn callback,
                                void *context,
                                fw_destroy_fn destroy,
                                fw_error **error);

/**
 * Frees it: nothing is followed any more. Null is allowed. May block: waits for a callback that is running, up
 * to two seconds, unless it is called from one.
 */
fw_status fw_followed_free(fw_followed *followed);

/**
 * The group at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks no server.
 */
fw_status fw_group_new(fw_client *client,
                       const char *path,
                       size_t path_len,
                       const fw_acl *acl,
                       fw_group **group,
                       fw_error **error);

/**
 * Becomes the member `name`, of which `data` says what others should know. A name that is taken, by a
 * former session of this program perhaps, is waited for up to `timeout_ms` (negative:
 * `requestTimeout`). A membership is lost with its session: join again. May block, so not in a
 * callback. Fails with `FW_TAKEN` (still at the deadline), `FW_TIMEOUT`, `FW_LOST`, and as
 * `fw_client_call`.
 */
fw_status fw_group_join(fw_group *group,
                        const char *name,
                        size_t name_len,
                        const uint8_t *data,
                        size_t data_len,
                        int64_t timeout_ms,
                        fw_tenure **membership,
                        fw_error **error);

/**
 * Follows who is there from now on: `fw_followed_get` has a part for each member, by name. Never
 * blocks longer than the socket takes to take the bytes.
 */
fw_status fw_group_follow(fw_group *group, fw_followed **members, fw_error **error);

/**
 * Frees `group`; memberships and what is followed go on. Null is allowed. Never blocks.
 */
fw_status fw_group_free(fw_group *group);

/**
 * The directory at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks no server.
 */
fw_status fw_service_directory_new(fw_client *client,
                                   const char *path,
                                   size_t path_len,
                                   const fw_acl *acl,
                                   fw_service_directory **directory,
                                   fw_error **error);

/**
 * Offers `service` under the name of an instance; `data` says where it is, in a form that those who
 * use it know. Waits, blocks and fails as `fw_group_join`.
 */
fw_status fw_service_directory_register(fw_service_directory *directory,
                                        const char *service,
                                        size_t service_len,
                                        const char *instance,
                                        size_t instance_len,
                                        const uint8_t *data,
                                        size_t data_len,
                                        int64_t timeout_ms,
                                        fw_tenure **membership,
                                        fw_error **error);

/**
 * Follows who offers `service` from now on: `fw_followed_pick` gives one after the other. Never
 * blocks longer than the socket takes to take the bytes.
 */
fw_status fw_service_directory_follow(fw_service_directory *directory,
                                      const char *service,
                                      size_t service_len,
                                      fw_followed **instances,
                                      fw_error **error);

/**
 * Frees `directory`; what is offered and followed goes on. Null is allowed. Never blocks.
 */
fw_status fw_service_directory_free(fw_service_directory *directory);

/**
 * The fencing token: it grows from holder to holder. 0 once released. Never blocks.
 */
int64_t fw_tenure_token(const fw_tenure *tenure);

/**
 * The number that `fw_worker_ids_claim` got; -1 for what is no worker id, and once released. Never
 * blocks.
 */
int64_t fw_tenure_worker_id(const fw_tenure *tenure);

/**
 * How it stands. Never blocks.
 */
fw_standing fw_tenure_standing(const fw_tenure *tenure);

/**
 * For how many milliseconds from now it cannot have passed to anybody else: as `fw_lock_lease_ms`.
 */
uint64_t fw_tenure_lease_ms(const fw_tenure *tenure);

/**
 * Succeeds if it is certain at this moment that it is held still: ask before each act. `token` may be
 * null. Never blocks. Fails with `FW_LEASE_OVER` (stop for now) and `FW_LOST`.
 */
fw_status fw_tenure_check(const fw_tenure *tenure,
                          int64_t *token,
                          fw_error **error);

/**
 * Calls `callback` at each change of standing: as `fw_lock_on_change`.
 */
fw_status fw_tenure_on_change(fw_tenure *tenure,
                              fw_standing_fn callback,
                              void *context,
                              fw_destroy_fn destroy,
                              fw_error **error);

/**
 * Gives it up, and returns when others can have it; who is inside a double barrier waits until all
 * have left. Free the handle afterwards. At the deadline it goes on in the background, and
 * `fw_error_maybe_applied` is true. May block, so not in a callback. Fails with `FW_LOST` when it
 * was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
 */
fw_status fw_tenure_release(fw_tenure *tenure, int64_t timeout_ms, fw_error **error);

/**
 * Frees the handle, and gives up what is held in the background unless that was done. Null is allowed. May
 * block: waits for a callback that is running, up to two seconds, unless it is called from one.
 */
fw_status fw_tenure_free(fw_tenure *tenure);

/**
 * For the election at `path`; `id` is what others see of the one that leads; `acl` as in
 * `fw_semaphore_new`. Curator's `LeaderSelector` at the same path takes part. Never blocks, and asks no
 * server.
 */
fw_status fw_selector_new(fw_client *client,
                          const char *path,
                          size_t path_len,
                          const uint8_t *id,
                          size_t id_len,
                          const fw_acl *acl,
                          fw_selector **selector,
                          fw_error **error);

/**
 * Stands for election and waits until this one leads, up to `timeout_ms` (negative: `requestTimeout`).
 * It succeeds for who won and for who did not: `leadership` becomes what the winner has until it releases
 * it, and null for the others, who are not in line any more. `leader` may be null; its data is the id of
 * who leads, its number the token. Who lost may wait a session timeout more to learn that. May block, so
 * not in a callback. Fails with `FW_TIMEOUT` (nobody leads either), `FW_LOST`, and as `fw_client_call`;
 * then nothing is left behind.
 */
fw_status fw_selector_lead(fw_selector *selector,
                           int64_t timeout_ms,
                           fw_tenure **leadership,
                           fw_result **leader,
                           fw_error **error);

/**
 * Who leads now: the result's data is the leader's id, its number the leader's token; null and 0 if
 * nobody leads. `fw_election_follow` at the same path tells of each new one. May block, so not in a
 * callback. Fails with `FW_TIMEOUT`, and as `fw_client_call`.
 */
fw_status fw_selector_leader(fw_selector *selector,
                             int64_t timeout_ms,
                             fw_result **leader,
                             fw_error **error);

/**
 * Frees `selector`; who leads by it goes on. Null is allowed. Never blocks.
 */
fw_status fw_selector_free(fw_selector *selector);

/**
 * The semaphore at `path` with `permits`, as all who use it must agree. What is created is made as
 * needed, with the rights of `acl`, or when that is null with those of `fw_config_acl`. Curator's
 * `InterProcessSemaphoreV2` at the same path contends. Never blocks, and asks no server. Fails with
 * `FW_BAD_ARGUMENT` (no permits).
 */
fw_status fw_semaphore_new(fw_client *client,
                           const char *path,
                           size_t path_len,
                           uint32_t permits,
                           const fw_acl *acl,
                           fw_semaphore **semaphore,
                           fw_error **error);

/**
 * Waits for a permit up to `timeout_ms` (negative: `requestTimeout`), in a fair line of which one at
 * a time looks. Nothing is left behind when it fails. May block, so not in a callback. Fails with
 * `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
 */
fw_status fw_semaphore_acquire(fw_semaphore *semaphore,
                               int64_t timeout_ms,
                               fw_tenure **permit,
                               fw_error **error);

/**
 * Frees `semaphore`, and no permit. Null is allowed. Never blocks.
 */
fw_status fw_semaphore_free(fw_semaphore *semaphore);

/**
 * Takes a worker id at `path` whose former owners made no id in this clock's future. Ids count from
 * `epoch_ms`, milliseconds since 1970, the same for all who must not share an id:
 * `FW_SNOWFLAKE_EPOCH_MS`. `acl` as in `fw_semaphore_new`. Waits up to `timeout_ms` (negative:
 * `requestTimeout`). May block, so not in a callback. Fails with `FW_TAKEN` (all 1024 ids),
 * `FW_RECIPE_REFUSED` (this clock is behind, or all free ids were in use in the last seconds),
 * `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
 */
fw_status fw_snowflake_open(fw_client *client,
                            const char *path,
                            size_t path_len,
                            uint64_t epoch_ms,
                            const fw_acl *acl,
                            int64_t timeout_ms,
                            fw_snowflake **snowflake,
                            fw_error **error);

/**
 * As `fw_snowflake_open`, by a clock of the program's own; null is the system's. `destroy` is called with
 * `context` exactly once, when no call can come any more, or when this fails.
 */
fw_status fw_snowflake_open_by_clock(fw_client *client,
                                     const char *path,
                                     size_t path_len,
                                     uint64_t epoch_ms,
                                     const fw_acl *acl,
                                     fw_clock_fn clock,
                                     void *context,
                                     fw_destroy_fn destroy,
                                     int64_t timeout_ms,
                                     fw_snowflake **snowflake,
                                     fw_error **error);

/**
 * An id that nobody else has or will have, larger than all that this has made before. From memory; every few
 * seconds it asks in the background for the next ones. Never blocks longer than the socket takes to take the
 * bytes. Fails with `FW_TAKEN` (not at this moment: the ids of this millisecond are made, or the servers have not
 * confirmed the next seconds yet), `FW_RECIPE_REFUSED` (the clock went back), `FW_LOST` (the worker id is another's,
 * or it was closed).
 */
fw_status fw_snowflake_try_next(fw_snowflake *snowflake,
                                uint64_t *id,
                                fw_error **error);

/**
 * The same, and waits up to `timeout_ms` (negative: `requestTimeout`) where there is none at this
 * moment. May block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_RECIPE_REFUSED`, `FW_LOST`,
 * `FW_IN_CALLBACK`.
 */
fw_status fw_snowflake_next(fw_snowflake *snowflake,
                            int64_t timeout_ms,
                            uint64_t *id,
                            fw_error **error);

/**
 * The worker id that is in these ids; -1 once closed. Never blocks.
 */
int64_t fw_snowflake_worker_id(const fw_snowflake *snowflake);

/**
 * The fencing token of its worker id: it grows from owner to owner. 0 once closed. Ids need none, as no two are
 * equal; what else is marked with the worker id is sent along with it. Never blocks.
 */
int64_t fw_snowflake_token(const fw_snowflake *snowflake);

/**
 * How it stands with the worker id. While it is suspended, ids go on for the seconds that were confirmed. Never
 * blocks.
 */
fw_standing fw_snowflake_standing(const fw_snowflake *snowflake);

/**
 * For how many milliseconds from now the worker id cannot have passed to anybody else: as `fw_lock_lease_ms`.
 */
uint64_t fw_snowflake_lease_ms(const fw_snowflake *snowflake);

/**
 * Succeeds if it is certain at this moment that the worker id is nobody else's: ask before what is done under
 * it, which making ids is not. `token` may be null. Never blocks. Fails with `FW_LEASE_OVER` (stop for now) and
 * `FW_LOST`.
 */
fw_status fw_snowflake_check(const fw_snowflake *snowflake,
                             int64_t *token,
                             fw_error **error);

/**
 * Calls `callback` at each change of the worker id's standing, until it is closed: as `fw_lock_on_change`. One
 * that is lost makes no ids: open another one.
 */
fw_status fw_snowflake_on_change(fw_snowflake *snowflake,
                                 fw_standing_fn callback,
                                 void *context,
                                 fw_destroy_fn destroy,
                                 fw_error **error);

/**
 * Gives the worker id back so that its next owner need not wait, and makes no more ids; free the
 * handle afterwards. One that is only freed leaves its worker id unused for some seconds. Another
 * thread that waits for an id is told `FW_LOST`. At the deadline it goes on in the background, and
 * `fw_error_maybe_applied` is true. May block, so not in a callback. Fails with `FW_LOST` when it
 * was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
 */
fw_status fw_snowflake_close(fw_snowflake *snowflake, int64_t timeout_ms, fw_error **error);

/**
 * Frees `snowflake`. Null is allowed. May block: waits for a callback that is running, up to two seconds,
 * unless it is called from one.
 */
fw_status fw_snowflake_free(fw_snowflake *snowflake);

/**
 * The board at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks no server.
 */
fw_status fw_task_board_new(fw_client *client,
                            const char *path,
                            size_t path_len,
                            const fw_acl *acl,
                            fw_task_board **board,
                            fw_error **error);

/**
 * Puts a task on the board, once. `token` may be null; it grows from task to task. May block, so not in
 * a callback. Fails with `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether the task may have
 * been put, and as `fw_client_call`.
 */
fw_status fw_task_board_put(fw_task_board *board,
                            const uint8_t *data,
                            size_t data_len,
                            int64_t timeout_ms,
                            int64_t *token,
                            fw_error **error);

/**
 * The names of the tasks that are not done, the oldest first. May block, so not in a callback. Fails
 * with `FW_TIMEOUT`, and as `fw_client_call`.
 */
fw_status fw_task_board_open_tasks(fw_task_board *board,
                                   int64_t timeout_ms,
                                   fw_result **names,
                                   fw_error **error);

/**
 * Begins to work under `name`: `fw_worker_take` gives tasks to `worker`, until it is released. Waits,
 * blocks and fails as `fw_group_join`.
 */
fw_status fw_task_board_work(fw_task_board *board,
                             const char *name,
                             size_t name_len,
                             int64_t timeout_ms,
                             fw_tenure **worker,
                             fw_error **error);

/**
 * Hands out what nobody has and what the dead had, to those who have least, as the leader of an
 * election. `handed_out` is how many tasks went to somebody, and may be null. May block, so not in a
 * callback. Fails with `FW_TAKEN` (`leadership` is in line), `FW_LOST` (it leads no more, says it or a
 * server), `FW_TIMEOUT`, and as `fw_client_call`.
 */
fw_status fw_task_board_assign(fw_task_board *board,
                               const fw_election *leadership,
                               int64_t timeout_ms,
                               size_t *handed_out,
                               fw_error **error);

/**
 * Does so again whenever a task or a worker comes or goes, until the leadership ends or the time is
 * over, which is how it returns. May block, so not in a callback: give it a thread. Fails with
 * `FW_TIMEOUT`, and as `fw_task_board_assign`; never succeeds.
 */
fw_status fw_task_board_keep_assigning(fw_task_board *board,
                                       const fw_election *leadership,
                                       int64_t timeout_ms,
                                       fw_error **error);

/**
 * Frees `board`; tasks and workers stay. Null is allowed. Never blocks.
 */
fw_status fw_task_board_free(fw_task_board *board);

/**
 * Waits for a task that is assigned to a worker of `fw_task_board_work`, the oldest first, up to
 * `timeout_ms` (negative: `requestTimeout`), and takes it up. Any thread; may block, so not in a
 * callback. Fails with `FW_TIMEOUT`, `FW_LOST` (also when the worker is released meanwhile),
 * `FW_BAD_ARGUMENT` (that is no worker), and as `fw_client_call`.
 */
fw_status fw_worker_take(fw_tenure *worker,
                         int64_t timeout_ms,
                         fw_assignment **assignment,
                         fw_error **error);

/**
 * The task's name; ends with a zero. Null for null. `len` may be null. Never blocks.
 */
const char *fw_assignment_task(const fw_assignment *assignment, size_t *len);

/**
 * The task, as it was put; not ended by a zero. Null for null. `len` may be null. Never blocks.
 */
const uint8_t *fw_assignment_data(const fw_assignment *assignment, size_t *len);

/**
 * Larger than that of any former assignment of this task: what the task does elsewhere goes through an
 * `fw_fence` of its own there. 0 for null. Never blocks.
 */
int64_t fw_assignment_token(const fw_assignment *assignment);

/**
 * The task is done and leaves the board; free the handle afterwards. May block, so not in a callback.
 * Fails with `FW_LOST` (it is another's by now, or done already), `FW_TIMEOUT`, and as
 * `fw_client_call`; after every failure but `FW_LOST` it may be tried again.
 */
fw_status fw_assignment_finish(fw_assignment *assignment,
                               int64_t timeout_ms,
                               fw_error **error);

/**
 * Frees `assignment`. Null is allowed. Never blocks.
 */
fw_status fw_assignment_free(fw_assignment *assignment);

/**
 * The numbers from 0 to below `bound` at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks
 * no server. Fails with `FW_BAD_ARGUMENT` (no numbers).
 */
fw_status fw_worker_ids_new(fw_client *client,
                            const char *path,
                            size_t path_len,
                            uint32_t bound,
                            const fw_acl *acl,
                            fw_worker_ids **ids,
                            fw_error **error);

/**
 * Takes a number that nobody has: `fw_tenure_worker_id`. It comes back when it is released or its
 * session ends, which its owner may learn late: what is marked with it needs the token too, or an
 * `fw_snowflake`. May block, so not in a callback. Fails with `FW_TAKEN` (all of them), `FW_TIMEOUT`,
 * `FW_LOST`, and as `fw_client_call`.
 */
fw_status fw_worker_ids_claim(fw_worker_ids *ids,
                              int64_t timeout_ms,
                              fw_tenure **worker_id,
                              fw_error **error);

/**
 * Frees `ids`, and no number. Null is allowed. Never blocks.
 */
fw_status fw_worker_ids_free(fw_worker_ids *ids);

/**
 * The status of one part of several reads; `FW_OK` for every other result.
 */
fw_status fw_result_status(const fw_result *result);

/**
 * Whether the node exists: the answer to `fw_op_exists`.
 */
bool fw_result_exists(const fw_result *result);

/**
 * Fills `stat`, whose `size` must be set. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT`.
 */
fw_status fw_result_stat(const fw_result *result, fw_stat *stat, fw_error **error);

/**
 * The data, or null if it is null or the result has none; not ended by a zero. `len` may be null.
 */
const uint8_t *fw_result_data(const fw_result *result, size_t *len);

/**
 * The version of the data, to be given to what sets it next; -1 if the result has none.
 */
int32_t fw_result_version(const fw_result *result);

/**
 * The path of a created node, the counter of a sequential one included; ends with a zero. Null if
 * the result has none. `len` may be null.
 */
const char *fw_result_path(const fw_result *result, size_t *len);

/**
 * How many names, entries or parts there are.
 */
size_t fw_result_count(const fw_result *result);

/**
 * The name of child `index`, or the path of ephemeral node `index`; ends with a zero. Null if there
 * is none. `len` may be null.
 */
const char *fw_result_name(const fw_result *result, size_t index, size_t *len);

/**
 * The permissions of entry `index`, 0 if there is none.
 */
uint32_t fw_result_perms(const fw_result *result, size_t index);

/**
 * The scheme of entry `index`; ends with a zero. Null if there is none. `len` may be null.
 */
const char *fw_result_scheme(const fw_result *result, size_t index, size_t *len);

/**
 * The id of entry `index`; ends with a zero. Null if there is none. `len` may be null.
 */
const char *fw_result_id(const fw_result *result, size_t index, size_t *len);

/**
 * The answer to operation `index` of a transaction; valid as long as `result`. Null if there is
 * none.
 */
const fw_result *fw_result_part(const fw_result *result, size_t index);

/**
 * The number that was counted, else 0.
 */
int64_t fw_result_number(const fw_result *result);

/**
 * Frees `result`, and gives up in the background what it hands over and nobody took. Null is allowed. Any thread,
 * never blocks longer than the socket takes to take the bytes.
 */
fw_status fw_result_free(fw_result *result);

/**
 * Ends `client` and leaves its session, with its ephemeral nodes, alive at the servers, until its
 * timeout: whoever opens a client with the setting `session` within that time goes on with it. Requests
 * without an answer fail with `FW_CONNECTION_LOSS`, recipes that wait and later ones with `FW_CLOSED`; the
 * handle can then only be freed, which does not end the session. Watches do not go along: set them again. Release locks
 * and elections before, or their nodes stay until the session ends. Two clients must not have one
 * session: each would cut the other off.
 *
 * Waits until what was given up is removed at the servers, where that is under way, and until the client's
 * thread has ended, behind a callback that is running, up to `timeout_ms` (negative: `requestTimeout`) in all, and
 * succeeds either way: what is not removed by then stays until the session ends. May block, so not in a callback.
 * Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_IN_CALLBACK`, and with `FW_CLOSED` when there is no session (it has
 * expired, was closed, or was never established), which also ends the client.
 */
fw_status fw_client_detach(fw_client *client,
                           int64_t timeout_ms,
                           fw_session **session,
                           fw_error **error);

/**
 * All of it as one line of ASCII, for the setting `session` of `fw_client_open`, here or in another
 * process. `size` may be null. **It is a secret**: pass it through a pipe or a file that only its user
 * can read, not in arguments or in the environment, which others can see.
 */
const char *fw_session_text(const fw_session *session,
                            size_t *size);

/**
 * The session's id: the `ephemeral_owner` of its nodes.
 */
int64_t fw_session_id(const fw_session *session);

/**
 * The session's password, 16 bytes: what ZooKeeper's clients take together with the id. `size` may be
 * null.
 */
const uint8_t *fw_session_password(const fw_session *session,
                                   size_t *size);

/**
 * The last transaction that the session has seen: a server behind it is not accepted.
 */
int64_t fw_session_zxid(const fw_session *session);

/**
 * How long the session lives without a client, milliseconds: the timeout that was granted.
 */
uint64_t fw_session_timeout_ms(const fw_session *session);

/**
 * Frees `session`, and overwrites its password before. Null is allowed.
 */
fw_status fw_session_free(fw_session *session);

/**
 * The version of the library that runs, such as "0.1.0". Never null, valid for ever. Any thread,
 * never blocks.
 */
const char *fw_version_string(void);

/**
 * The ABI of the library that runs: equal to `FW_ABI_VERSION` of a header that it fits. Any thread,
 * never blocks.
 */
uint32_t fw_abi_version(void);

/**
 * Whether the library that runs has the named part: "client", "queue", "renew", "multi", "lock",
 * "election", "recipes" (all others), "fresh" (`fw_op_fresh`), "observer", "view", "feed", "drive"
 * (`fw_observer_drive`). False for what it does not know. Any thread, never blocks.
 */
bool fw_feature(const char *name, size_t name_len);

/**
 * Keeps the present state. Takes a lock for an instant, any thread. Fails with `FW_NULL`, `FW_FORKED`.
 */
fw_status fw_observer_view(const fw_observer *observer,
                           fw_view **view,
                           fw_error **error);

/**
 * The transaction that the state is of.
 */
int64_t fw_view_zxid(const fw_view *view);

/**
 * The data of a node, where it lies: `data` (null for null) and `len` are valid until the view is freed.
 * `stat` may be null, else its `size` must be set. Fails with `FW_NO_NODE`, `FW_NULL`,
 * `FW_BAD_ARGUMENT`.
 */
fw_status fw_view_get(const fw_view *view,
                      const char *path,
                      size_t path_len,
                      const uint8_t **data,
                      size_t *len,
                      fw_stat *stat,
                      fw_error **error);

/**
 * The names of a node's children, in the order of their creation, and its stat. Free the result with
 * `fw_result_free`. Fails with `FW_NO_NODE`, `FW_NULL`.
 */
fw_status fw_view_children(const fw_view *view,
                           const char *path,
                           size_t path_len,
                           fw_result **result,
                           fw_error **error);

/**
 * Calls `told` with the node at `path` and with all below it, parents first, children in the order of
 * their creation, in this thread, until it says false. It must not free `view`. Fails with `FW_NO_NODE`,
 * `FW_NULL`.
 */
fw_status fw_view_scan(const fw_view *view,
                       const char *path,
                       size_t path_len,
                       fw_scan_fn told,
                       void *context,
                       fw_error **error);

/**
 * `fw_view_scan` of a view of the present state, which is kept until this returns. Takes a lock for an
 * instant, any thread. Fails with `FW_NO_NODE`, `FW_NULL`, `FW_FORKED`.
 */
fw_status fw_observer_scan(const fw_observer *observer,
                           const char *path,
                           size_t path_len,
                           fw_scan_fn told,
                           void *context,
                           fw_error **error);

/**
 * Frees `view`, and what only it kept in memory. Null is allowed. Never blocks for long. In what
 * `fw_view_scan` and `fw_view_children_each` call for this view it answers `FW_IN_CALLBACK`, and frees nothing.
 */
fw_status fw_view_free(fw_view *view);

/**
 * Watches the node at `path`; `mode` is an `fw_watch_mode`. `callback` is called on the client's own thread
 * with each event of the watch, and with each state of the session (`FW_EVENT_SESSION`): what happens while
 * no server serves it is told by nobody, so behind `FW_STATE_CONNECTED` read again what matters. `destroy`
 * is called with `context` exactly once, when no call can come any more, or when this fails. Waits up to
 * `timeout_ms` (negative: `requestTimeout`) until the server has the watch: what happens from then on is
 * told. Events go to what `fw_config_on_event` set as well; that alone is told of what an expired session took
 * along. A server has one watch of a path and a mode: what `fw_op_add_watch` set so goes with the last of these,
 * and `fw_op_remove_watches` silences them. Any thread; may block, so not in a callback.
 * Fails with `FW_TIMEOUT`, `FW_BAD_ARGUMENT` (no such mode), `FW_NULL`, and as `fw_client_call`.
 */
fw_status fw_client_watch(fw_client *client,
                          const char *path,
                          size_t path_len,
                          uint32_t mode,
                          fw_event_fn callback,
                          void *context,
                          fw_destroy_fn destroy,
                          int64_t timeout_ms,
                          fw_watch **watch,
                          fw_error **error);

/**
 * As `fw_client_watch`, and events come to `queue` as completions with `tag`. What is in the queue when
 * the watch is freed stays there.
 */
fw_status fw_client_watch_queue(fw_client *client,
                                const char *path,
                                size_t path_len,
                                uint32_t mode,
                                fw_queue *queue,
                                void *tag,
                                int64_t timeout_ms,
                                fw_watch **watch,
                                fw_error **error);

/**
 * Removes the watch, in the background, and frees it. Null is allowed. May block: waits for a callback that is
 * running, up to two seconds, unless it is called from one.
 */
fw_status fw_watch_free(fw_watch *watch);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FARWATCH_H */
