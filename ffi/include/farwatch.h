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
 *   throw, and may call every function that does not block.
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
   * No memory for what the arguments ask for.
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
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum fw_status fw_status;
#else
typedef int32_t fw_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Settings for what is opened with it. Keys that `zoo.cfg` has too mean the same. Which keys there
 * are, each `_open` function says; an unknown one is refused there, by name.
 */
typedef struct fw_config fw_config;

/**
 * Why a call failed. Belongs to whoever received it, until `fw_error_free`.
 */
typedef struct fw_error fw_error;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

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
 * Frees `config`. Null is allowed. Any thread, never blocks.
 */
fw_status fw_config_free(fw_config *config);

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
 * The version of the library that runs, such as "0.1.0". Never null, valid for ever. Any thread,
 * never blocks.
 */
const char *fw_version(void);

/**
 * The ABI of the library that runs: equal to `FW_ABI_VERSION` of a header that it fits. Any thread,
 * never blocks.
 */
uint32_t fw_abi_version(void);

/**
 * Whether the library that runs has the named part: "client", "queue", "renew", "multi". False for
 * what it does not know. Any thread, never blocks.
 */
bool fw_feature(const char *name, size_t name_len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FARWATCH_H */
