/*
 * libfarwatch for C++17: handles that free themselves, text as std::string_view, results instead of
 * status codes. Header only, over farwatch.h; no exception is thrown, none is needed.
 *
 *     auto client = farwatch::client::open("127.0.0.1:2181");
 *     if (!client) return fail(client.error().text());
 *     if (auto node = client->get("/config")) use(node->data());
 *
 * Handles can be moved and not copied. A std::string_view that a handle lends is valid as long as
 * the handle, unless it is moved over. Thread rules and errors are those of farwatch.h. A callback
 * must not throw: it is called from C, and the program ends if it does.
 */
#ifndef FARWATCH_HPP
#define FARWATCH_HPP

#include "farwatch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace farwatch {

/** The version of the library that runs, such as "0.1.0". */
inline std::string_view version() noexcept { return fw_version_string(); }
/** Whether the library that runs is one that this header describes. */
inline bool fits() noexcept { return fw_abi_version() == FW_ABI_VERSION; }
/** Whether the library that runs has the named part: see `fw_feature`. */
inline bool feature(std::string_view name) noexcept {
    return fw_feature(name.data() == nullptr ? "" : name.data(), name.size());
}

/** A C handle that is freed with this. */
template <class T, fw_status (*Free)(T *)> class handle {
public:
    handle() noexcept = default;
    explicit handle(T *raw) noexcept : raw_(raw) {}
    handle(handle &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    handle &operator=(handle &&other) noexcept {
        if (this != &other) reset(std::exchange(other.raw_, nullptr));
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle() { Free(raw_); }

    /** For the functions of farwatch.h; null if there is none. */
    T *get() const noexcept { return raw_; }
    /** Hands the C handle out, to be freed by whoever takes it. */
    T *release() noexcept { return std::exchange(raw_, nullptr); }
    void reset(T *raw = nullptr) noexcept { Free(std::exchange(raw_, raw)); }
    explicit operator bool() const noexcept { return raw_ != nullptr; }

private:
    T *raw_ = nullptr;
};

/** Why a call failed. */
class error {
public:
    explicit error(fw_status status, fw_error *raw) noexcept : status_(status), raw_(raw) {}
    /** One that C code has received, and hands over. */
    explicit error(fw_error *raw) noexcept : error(fw_error_status(raw), raw) {}
    /** What the library did not say, and this header does; `text` lives for ever. */
    error(fw_status status, const char *text, bool maybe_applied) noexcept
        : status_(status), text_(text), maybe_applied_(maybe_applied) {}
    fw_status status() const noexcept { return status_; }
    /** ZooKeeper's number for a refusal, or 0. */
    int code() const noexcept { return fw_error_code(raw_.get()); }
    std::string_view text() const noexcept { return raw_ ? fw_error_text(raw_.get()) : text_; }
    bool retriable() const noexcept { return fw_error_retriable(raw_.get()); }
    bool fatal() const noexcept { return fw_error_fatal(raw_.get()); }
    /** Whether it may have happened all the same: read back before you repeat a write. */
    bool maybe_applied() const noexcept {
        return maybe_applied_ || fw_error_maybe_applied(raw_.get());
    }
    /** The place of the operation of a transaction that failed, or -1. */
    std::int64_t index() const noexcept { return fw_error_index(raw_.get()); }
    /** For the functions of farwatch.h; null where memory for it was missing. */
    const fw_error *get() const noexcept { return raw_.get(); }

private:
    fw_status status_;
    handle<fw_error, fw_error_free> raw_;
    const char *text_ = "there is no memory to say what went wrong";
    bool maybe_applied_ = false;
};

/** Nothing, as the value of what only succeeds or fails. */
using done = std::monostate;

/** A value, or why there is none. Reading the one that is not there is undefined. */
template <class T> class [[nodiscard]] expected {
public:
    expected(T value) noexcept : either_(std::in_place_index<0>, std::move(value)) {}
    expected(farwatch::error why) noexcept : either_(std::in_place_index<1>, std::move(why)) {}

    bool has_value() const noexcept { return either_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    T &value() & noexcept { return *std::get_if<0>(&either_); }
    const T &value() const & noexcept { return *std::get_if<0>(&either_); }
    T &&value() && noexcept { return std::move(*std::get_if<0>(&either_)); }
    T &operator*() noexcept { return value(); }
    const T &operator*() const noexcept { return value(); }
    T *operator->() noexcept { return std::get_if<0>(&either_); }
    const T *operator->() const noexcept { return std::get_if<0>(&either_); }
    const farwatch::error &error() const & noexcept { return *std::get_if<1>(&either_); }
    farwatch::error &&error() && noexcept { return std::move(*std::get_if<1>(&either_)); }

private:
    std::variant<T, farwatch::error> either_;
};

/** How long to wait; without a value as long as the client was configured. */
using timeout = std::optional<std::chrono::milliseconds>;

/** What a read shows at the oldest, where its server may be behind: see `fw_op_fresh`. */
struct freshness {
    /** The state of this transaction or a later one; 0 is any. */
    std::int64_t zxid = 0;
    /** As it was so long ago or later; nothing is whenever. */
    std::optional<std::chrono::milliseconds> age;

    /** All that was acknowledged to anybody before the read is asked for. */
    static freshness now() noexcept { return {0, std::chrono::milliseconds(0)}; }
    static freshness at_least(std::int64_t zxid) noexcept { return {zxid, std::nullopt}; }
    static freshness at_most(std::chrono::milliseconds age) noexcept { return {0, age}; }
};

namespace detail {

inline std::int64_t age(const freshness &fresh) noexcept {
    if (!fresh.age) return FW_ANY_AGE;
    return fresh.age->count() < 0 ? 0 : static_cast<std::int64_t>(fresh.age->count());
}

inline std::int64_t wait(timeout patience) noexcept {
    if (!patience) return FW_DEFAULT_TIMEOUT;
    return patience->count() < 0 ? 0 : static_cast<std::int64_t>(patience->count());
}

inline const std::uint8_t *bytes(std::string_view data) noexcept {
    static const std::uint8_t none = 0; // empty is not null
    return data.empty() ? &none : reinterpret_cast<const std::uint8_t *>(data.data());
}

inline std::string_view lent(const char *text, std::size_t size) noexcept {
    return text == nullptr ? std::string_view() : std::string_view(text, size);
}

inline const char *chars(std::string_view text) noexcept {
    return text.data() == nullptr ? "" : text.data();
}

/** Calls `f(&raw, &error)` and makes what came of it. */
template <class T, class Raw, class F> expected<T> receive(F &&f) noexcept {
    Raw *raw = nullptr;
    fw_error *why = nullptr;
    fw_status status = f(&raw, &why);
    if (status != FW_OK) return farwatch::error(status, why);
    return T(raw);
}

/** Calls `f(&error)`. */
template <class F> expected<done> attempt(F &&f) noexcept {
    fw_error *why = nullptr;
    fw_status status = f(&why);
    if (status != FW_OK) return farwatch::error(status, why);
    return done();
}

/** Calls `f(&error)`, and `value()` for what it found; nothing if there is no such node. */
template <class V, class F, class G> expected<std::optional<V>> found(F &&f, G &&value) noexcept {
    auto answer = attempt(std::forward<F>(f));
    if (answer) return std::optional<V>(value());
    if (answer.error().status() == FW_NO_NODE) return std::optional<V>();
    return std::move(answer).error();
}

/** Calls `f(&error)`: whether it found something. */
template <class F> expected<bool> is_there(F &&f) noexcept {
    auto there = found<bool>(std::forward<F>(f), [] { return true; });
    if (!there) return std::move(there).error();
    return there->has_value();
}

/** Passes a child's name on to what `context_of` was given. */
template <class F> bool tell_name(void *context, const char *name, std::size_t size) noexcept {
    return (*static_cast<F *>(context))(std::string_view(name, size));
}

/** A callable that is called before its caller returns. */
template <class F> void *context_of(F &f) noexcept {
    return const_cast<void *>(static_cast<const void *>(std::addressof(f)));
}

/** Calls `f(&value, &error)`. */
template <class T, class F> expected<T> number(F &&f) noexcept {
    T value = 0;
    fw_error *why = nullptr;
    fw_status status = f(&value, &why);
    if (status != FW_OK) return farwatch::error(status, why);
    return value;
}

template <class F> void destroy(void *context) noexcept { delete static_cast<F *>(context); }

/** How many callbacks this thread is inside of: what would wait there could wait for itself. */
inline int &callbacks() noexcept {
    static thread_local int running = 0;
    return running;
}
struct in_callback {
    in_callback() noexcept { callbacks()++; }
    ~in_callback() { callbacks()--; }
    in_callback(const in_callback &) = delete;
    in_callback &operator=(const in_callback &) = delete;
};

/** Has `watch`, which is one of C's `_on_change` of standings, call `f(fw_standing)`. */
template <class Raw, class F>
expected<done> on_change(fw_status (*watch)(Raw *, fw_standing_fn, void *, fw_destroy_fn,
                                            fw_error **),
                         Raw *raw, F f) noexcept {
    F *context = new (std::nothrow) F(std::move(f));
    if (context == nullptr) return farwatch::error(FW_NO_MEMORY, nullptr);
    return attempt([&](fw_error **why) {
        return watch(
            raw,
            [](void *context, fw_standing standing) noexcept {
                in_callback here;
                (*static_cast<F *>(context))(standing);
            },
            context, destroy<F>, why);
    });
}

} // namespace detail

/** What a server answered. */
class answer {
public:
    explicit answer(fw_result *raw) noexcept : owned_(raw), raw_(raw) {}
    answer(answer &&other) noexcept
        : owned_(std::move(other.owned_)), raw_(std::exchange(other.raw_, nullptr)) {}
    answer &operator=(answer &&other) noexcept {
        if (this != &other) {
            owned_ = std::move(other.owned_);
            raw_ = std::exchange(other.raw_, nullptr);
        }
        return *this;
    }
    /** One that somebody else owns. */
    static answer borrowed(const fw_result *raw) noexcept { return answer(raw, 0); }

    std::string_view data() const noexcept {
        std::size_t size = 0;
        const std::uint8_t *data = fw_result_data(raw_, &size);
        return detail::lent(reinterpret_cast<const char *>(data), size);
    }
    /** Whether the data is null, which is not the same as empty. */
    bool is_null() const noexcept { return fw_result_data(raw_, nullptr) == nullptr; }
    std::string_view path() const noexcept {
        std::size_t size = 0;
        const char *path = fw_result_path(raw_, &size);
        return detail::lent(path, size);
    }
    bool exists() const noexcept { return fw_result_exists(raw_); }
    /** All zero where the answer has none. */
    fw_stat stat() const noexcept {
        fw_stat stat = FW_STAT_INIT;
        (void)fw_result_stat(raw_, &stat, nullptr);
        return stat;
    }
    /** Names, entries or parts. */
    std::size_t size() const noexcept { return fw_result_count(raw_); }
    std::string_view name(std::size_t index) const noexcept {
        std::size_t size = 0;
        const char *name = fw_result_name(raw_, index, &size);
        return detail::lent(name, size);
    }
    /** Of an entry of an access control list: bits of `fw_perms`. */
    std::uint32_t perms(std::size_t index) const noexcept { return fw_result_perms(raw_, index); }
    /** Of an entry, or of an identity. */
    std::string_view scheme(std::size_t index) const noexcept {
        std::size_t size = 0;
        const char *scheme = fw_result_scheme(raw_, index, &size);
        return detail::lent(scheme, size);
    }
    std::string_view id(std::size_t index) const noexcept {
        std::size_t size = 0;
        const char *id = fw_result_id(raw_, index, &size);
        return detail::lent(id, size);
    }
    /** The answer to one operation of a transaction; valid as long as this. */
    answer part(std::size_t index) const noexcept { return borrowed(fw_result_part(raw_, index)); }
    fw_status status() const noexcept { return fw_result_status(raw_); }
    std::int64_t number() const noexcept { return fw_result_number(raw_); }
    /** The version of the data, or -1. */
    std::int32_t version() const noexcept { return fw_result_version(raw_); }
    const fw_result *get() const noexcept { return raw_; }

private:
    answer(const fw_result *raw, int) noexcept : raw_(raw) {}
    handle<fw_result, fw_result_free> owned_;
    const fw_result *raw_;
};

/** Something that happened; lent to a callback. */
class event {
public:
    explicit event(const fw_event *raw) noexcept : raw_(raw) {}
    int kind() const noexcept { return fw_event_get_kind(raw_); }
    fw_session_state state() const noexcept { return fw_event_state(raw_); }
    std::string_view path() const noexcept {
        std::size_t size = 0;
        const char *path = fw_event_path(raw_, &size);
        return detail::lent(path, size);
    }
    std::int64_t zxid() const noexcept { return fw_event_zxid(raw_); }
    /** Ephemeral nodes that went with an expired session. */
    std::size_t lost_count() const noexcept { return fw_event_lost_count(raw_); }
    std::string_view lost(std::size_t index) const noexcept {
        std::size_t size = 0;
        const char *path = fw_event_lost(raw_, index, &size);
        return detail::lent(path, size);
    }

private:
    const fw_event *raw_;
};

/** A session on its way to another client. Its text and password are secrets. */
class session {
public:
    explicit session(fw_session *raw) noexcept : raw_(raw) {}
    /** One line, for `config::resume` here or in another process. */
    std::string_view text() const noexcept {
        std::size_t size = 0;
        const char *text = fw_session_text(raw_.get(), &size);
        return detail::lent(text, size);
    }
    std::int64_t id() const noexcept { return fw_session_id(raw_.get()); }
    /** 16 bytes, which ZooKeeper's clients take together with the id. */
    std::string_view password() const noexcept {
        std::size_t size = 0;
        const std::uint8_t *password = fw_session_password(raw_.get(), &size);
        return detail::lent(reinterpret_cast<const char *>(password), size);
    }
    std::int64_t zxid() const noexcept { return fw_session_zxid(raw_.get()); }
    std::chrono::milliseconds timeout() const noexcept {
        return std::chrono::milliseconds(fw_session_timeout_ms(raw_.get()));
    }
    fw_session *get() const noexcept { return raw_.get(); }

private:
    handle<fw_session, fw_session_free> raw_;
};

/**
 * An access control list: who may do what with a node. Where one is wanted it is passed as it is,
 * and copied. One that was moved from is refused, and never taken for everything for everyone.
 */
class acl {
public:
    explicit acl(fw_acl *raw) noexcept : raw_(raw) {}
    /** An empty one, which no server accepts before an entry is added. */
    static expected<acl> make() noexcept { return detail::receive<acl, fw_acl>(fw_acl_new); }
    /** One entry: ("world", "anyone") is everyone, ("auth", "") who the client is. */
    static expected<acl> make(std::uint32_t perms, std::string_view scheme,
                              std::string_view id) noexcept {
        auto list = make();
        if (!list) return list;
        if (auto added = list->add(perms, scheme, id); !added) return std::move(added).error();
        return list;
    }
    /** `perms` are bits of `fw_perms`. */
    expected<done> add(std::uint32_t perms, std::string_view scheme, std::string_view id) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_acl_add(raw_.get(), perms, detail::chars(scheme), scheme.size(),
                              detail::chars(id), id.size(), why);
        });
    }
    /** Never null, which would be everything for everyone. */
    const fw_acl *get() const noexcept {
        alignas(std::max_align_t) static const unsigned char no_handle[64] = {};
        return raw_ ? raw_.get() : reinterpret_cast<const fw_acl *>(no_handle);
    }
    operator const fw_acl *() const noexcept { return get(); }

private:
    handle<fw_acl, fw_acl_free> raw_;
};

/** Settings. The first failure is kept, and told by what is opened. */
class config {
public:
    config() noexcept {
        fw_config *raw = nullptr;
        keep(fw_config_new(&raw, &why_));
        raw_.reset(raw);
    }
    explicit config(std::string_view connect) noexcept : config() { set("connect", connect); }
    config(config &&other) noexcept
        : raw_(std::move(other.raw_)), status_(other.status_),
          why_(std::exchange(other.why_, nullptr)) {}
    config &operator=(config &&) = delete;
    ~config() { fw_error_free(why_); }

    config &set(std::string_view key, std::string_view value) noexcept {
        if (status_ == FW_OK)
            keep(fw_config_set(raw_.get(), detail::chars(key), key.size(), detail::chars(value),
                               value.size(), &why_));
        return *this;
    }
    config &set(std::string_view key, const char *value) noexcept {
        return set(key, std::string_view(value));
    }
    config &set(std::string_view key, bool value) noexcept {
        if (status_ == FW_OK)
            keep(fw_config_set_bool(raw_.get(), detail::chars(key), key.size(), value, &why_));
        return *this;
    }
    template <class N, std::enable_if_t<std::is_integral_v<N> && !std::is_same_v<N, bool>, int> = 0>
    config &set(std::string_view key, N value) noexcept {
        if constexpr (std::is_signed_v<N>) {
            if (value < 0) return set(key, "negative"); // told as what is no number
        }
        if (status_ == FW_OK)
            keep(fw_config_set_number(raw_.get(), detail::chars(key), key.size(),
                                      static_cast<std::uint64_t>(value), &why_));
        return *this;
    }
    config &set(std::string_view key, std::chrono::milliseconds value) noexcept {
        if (status_ == FW_OK)
            keep(fw_config_set_number(raw_.get(), detail::chars(key), key.size(),
                                      static_cast<std::uint64_t>(value.count()), &why_));
        return *this;
    }
    /** Goes on with a session that another client has detached. */
    config &resume(const session &session) noexcept { return set("session", session.text()); }
    /** Calls `f(farwatch::event)` with each event, on the client's thread: it must not wait. */
    template <class F> config &on_event(F f) noexcept {
        if (status_ != FW_OK) return *this;
        F *context = new (std::nothrow) F(std::move(f));
        if (context == nullptr) {
            status_ = FW_NO_MEMORY;
            return *this;
        }
        keep(fw_config_on_event(
            raw_.get(),
            [](void *context, const fw_event *raw) noexcept {
                detail::in_callback here;
                (*static_cast<F *>(context))(event(raw));
            },
            context, detail::destroy<F>, &why_));
        return *this;
    }
    /** Sends events to `queue`, with `tag`. */
    config &event_queue(fw_queue *queue, void *tag) noexcept {
        if (status_ == FW_OK) keep(fw_config_event_queue(raw_.get(), queue, tag, &why_));
        return *this;
    }
    /** The rights of what recipes create that are given none. */
    config &rights(const acl &rights) noexcept {
        if (status_ == FW_OK) keep(fw_config_acl(raw_.get(), rights.get(), &why_));
        return *this;
    }
    fw_config *get() const noexcept { return raw_.get(); }
    /** Takes the first failure; `FW_OK` if there was none. */
    fw_status failure(fw_error **why) noexcept {
        *why = std::exchange(why_, nullptr);
        return status_;
    }

private:
    void keep(fw_status status) noexcept { status_ = status; }
    handle<fw_config, fw_config_free> raw_;
    fw_status status_ = FW_OK;
    fw_error *why_ = nullptr;
};

class worker;

/** An operation as a value. */
class op {
public:
    explicit op(fw_op *raw) noexcept : raw_(raw) {}

    static expected<op> create(std::string_view path, std::string_view data,
                               fw_create_mode mode = FW_PERSISTENT, std::uint64_t ttl_ms = 0,
                               const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_create(detail::chars(path), path.size(), detail::bytes(data), data.size(),
                                mode, ttl_ms, acl, op, why);
        });
    }
    static expected<op> remove(std::string_view path, std::int32_t version = FW_ANY_VERSION) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_delete(detail::chars(path), path.size(), version, op, why);
        });
    }
    static expected<op> exists(std::string_view path, std::uint32_t flags = 0) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_exists(detail::chars(path), path.size(), flags, op, why);
        });
    }
    static expected<op> get_data(std::string_view path, std::uint32_t flags = 0) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_get(detail::chars(path), path.size(), flags, op, why);
        });
    }
    static expected<op> set(std::string_view path, std::string_view data,
                            std::int32_t version = FW_ANY_VERSION) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_set(detail::chars(path), path.size(), detail::bytes(data), data.size(),
                             version, op, why);
        });
    }
    static expected<op> children(std::string_view path, std::uint32_t flags = 0) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_children(detail::chars(path), path.size(), flags, op, why);
        });
    }
    /** The answer has entries: `answer::perms`, `answer::scheme`, `answer::id`. */
    static expected<op> get_acl(std::string_view path) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_get_acl(detail::chars(path), path.size(), op, why);
        });
    }
    /** `version` is that of the list: `aversion` of the stat. */
    static expected<op> set_acl(std::string_view path, const acl &rights,
                                std::int32_t version = FW_ANY_VERSION) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_set_acl(detail::chars(path), path.size(), rights.get(), version, op, why);
        });
    }
    /** Reads behind it see all that was acknowledged before. */
    static expected<op> sync(std::string_view path = "/") noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_sync(detail::chars(path), path.size(), op, why);
        });
    }
    static expected<op> check(std::string_view path, std::int32_t version) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_check(detail::chars(path), path.size(), version, op, why);
        });
    }
    static expected<op> add_watch(std::string_view path,
                                  fw_watch_mode mode = FW_WATCH_RECURSIVE) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_add_watch(detail::chars(path), path.size(), mode, op, why);
        });
    }
    /** Fails with `FW_NO_WATCHER` where there was none. */
    static expected<op> remove_watches(std::string_view path,
                                       fw_watch_kind kind = FW_WATCHES_ANY) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_remove_watches(detail::chars(path), path.size(), kind, op, why);
        });
    }
    /** Whether the server keeps such a watch: `FW_NO_WATCHER` if not. */
    static expected<op> check_watches(std::string_view path,
                                      fw_watch_kind kind = FW_WATCHES_ANY) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_check_watches(detail::chars(path), path.size(), kind, op, why);
        });
    }
    /** This session's ephemeral nodes whose paths begin so: the answer's names. */
    static expected<op> ephemerals(std::string_view prefix = "/") noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_ephemerals(detail::chars(prefix), prefix.size(), op, why);
        });
    }
    /** The nodes below a node, at any depth: the answer's number. */
    static expected<op> count_descendants(std::string_view path) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_count_descendants(detail::chars(path), path.size(), op, why);
        });
    }
    /** Who the server takes this client for: entries without permissions. */
    static expected<op> whoami() noexcept { return make(fw_op_whoami); }
    /** The ensemble's configuration, as data. */
    static expected<op> get_config(std::uint32_t flags = 0) noexcept {
        return make([&](fw_op **op, fw_error **why) { return fw_op_get_config(flags, op, why); });
    }
    /** Changes the ensemble by who joins and who leaves; what is empty is not meant. */
    static expected<op> reconfig(std::string_view joining, std::string_view leaving,
                                 std::int64_t version = FW_ANY_VERSION) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_reconfig(meant(joining), joining.size(), meant(leaving), leaving.size(),
                                  nullptr, 0, version, op, why);
        });
    }
    /** Changes the ensemble to these members. */
    static expected<op> reconfig_to(std::string_view members,
                                    std::int64_t version = FW_ANY_VERSION) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_reconfig(nullptr, 0, nullptr, 0, detail::chars(members), members.size(),
                                  version, op, why);
        });
    }
    static expected<op> add_auth(std::string_view scheme, std::string_view auth) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_add_auth(detail::chars(scheme), scheme.size(), detail::bytes(auth),
                                  auth.size(), op, why);
        });
    }
    /** A transaction; add operations to it. */
    static expected<op> multi() noexcept { return make(fw_op_multi); }
    /** A transaction of these: `op::multi(op::check("/a", 3), op::set("/b", "x"))`. */
    template <class... More> static expected<op> multi(expected<op> first, More... more) noexcept {
        auto all = multi();
        if (!all) return all;
        expected<op> parts[] = {std::move(first), std::move(more)...};
        for (auto &part : parts) {
            if (!part) return std::move(part).error();
            if (auto added = all->add(*part); !added) return std::move(added).error();
        }
        return all;
    }
    expected<done> add(const op &part) noexcept {
        return detail::attempt(
            [&](fw_error **why) { return fw_op_multi_add(raw_.get(), part.get(), why); });
    }
    /**
     * What recipes wait for, so that a loop, or a future, has it without a thread: see `fw_op_lock_acquire`.
     * `patience` begins when it is asked for. `lock::of` takes the lock from the answer.
     */
    static expected<op> lock_acquire(std::string_view path, timeout patience = {}) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_lock_acquire(detail::chars(path), path.size(), detail::wait(patience), op, why);
        });
    }
    static expected<op> lock_read(std::string_view path, timeout patience = {}) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_lock_read(detail::chars(path), path.size(), detail::wait(patience), op, why);
        });
    }
    static expected<op> lock_write(std::string_view path, timeout patience = {}) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_lock_write(detail::chars(path), path.size(), detail::wait(patience), op, why);
        });
    }
    /** A permit: `tenure::of`. */
    static expected<op> semaphore_acquire(std::string_view path, std::uint32_t permits, timeout patience = {},
                                          const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_semaphore_acquire(detail::chars(path), path.size(), permits, acl, detail::wait(patience),
                                           op, why);
        });
    }
    /** Stands for election and waits until it leads: `election::of`. */
    static expected<op> election_lead(std::string_view path, std::string_view id, timeout patience = {}) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_election_lead(detail::chars(path), path.size(), detail::bytes(id), id.size(),
                                       detail::wait(patience), op, why);
        });
    }
    /** An item, as the answer's data. */
    static expected<op> fifo_take(std::string_view path, timeout patience = {},
                                  const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_fifo_take(detail::chars(path), path.size(), acl, detail::wait(patience), op, why);
        });
    }
    /** A place inside: `tenure::of`. */
    static expected<op> double_barrier_enter(std::string_view path, std::uint32_t members, timeout patience = {},
                                             const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_double_barrier_enter(detail::chars(path), path.size(), members, acl,
                                              detail::wait(patience), op, why);
        });
    }
    static expected<op> barrier_wait(std::string_view path, timeout patience = {}) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_barrier_wait(detail::chars(path), path.size(), detail::wait(patience), op, why);
        });
    }
    /** A number below `bound`: `tenure::of`, `tenure::worker_id`. */
    static expected<op> worker_ids_claim(std::string_view path, std::uint32_t bound, timeout patience = {},
                                         const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_worker_ids_claim(detail::chars(path), path.size(), bound, acl, detail::wait(patience),
                                          op, why);
        });
    }
    /** Membership of a group: `tenure::of`. */
    static expected<op> group_join(std::string_view path, std::string_view name, std::string_view data,
                                   timeout patience = {}, const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_group_join(detail::chars(path), path.size(), detail::chars(name), name.size(),
                                    detail::bytes(data), data.size(), acl, detail::wait(patience), op, why);
        });
    }
    /** A service that is offered: `tenure::of`. */
    static expected<op> service_directory_offer(std::string_view path, std::string_view service,
                                                std::string_view instance, std::string_view data,
                                                timeout patience = {}, const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_service_directory_register(detail::chars(path), path.size(), detail::chars(service),
                                                    service.size(), detail::chars(instance), instance.size(),
                                                    detail::bytes(data), data.size(), acl, detail::wait(patience),
                                                    op, why);
        });
    }
    /** Leads, or learns who does: `selector::of`. */
    static expected<op> selector_lead(std::string_view path, std::string_view id, timeout patience = {},
                                      const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_selector_lead(detail::chars(path), path.size(), detail::bytes(id), id.size(), acl,
                                       detail::wait(patience), op, why);
        });
    }
    /** One that works on a board's tasks: `worker::of`. */
    static expected<op> task_board_work(std::string_view path, std::string_view name, timeout patience = {},
                                        const fw_acl *acl = nullptr) noexcept {
        return make([&](fw_op **op, fw_error **why) {
            return fw_op_task_board_work(detail::chars(path), path.size(), detail::chars(name), name.size(), acl,
                                         detail::wait(patience), op, why);
        });
    }
    /** A task of this worker, which may be freed meanwhile: `assignment::of`. */
    static expected<op> worker_take(const worker &worker, timeout patience = {}) noexcept;
    /** How fresh the answer of a read must be, whichever way it is asked for. */
    expected<done> fresh(const freshness &fresh) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_op_fresh(raw_.get(), fresh.zxid, detail::age(fresh), why);
        });
    }
    fw_op *get() const noexcept { return raw_.get(); }

private:
    static const char *meant(std::string_view text) noexcept {
        return text.empty() ? nullptr : text.data();
    }
    template <class F> static expected<op> make(F &&f) noexcept {
        return detail::receive<op, fw_op>(std::forward<F>(f));
    }
    handle<fw_op, fw_op_free> raw_;
};

/** One entry of a queue: a result, an event, or what was posted. */
class completion {
public:
    explicit completion(fw_completion *raw) noexcept : raw_(raw) {}
    void *tag() const noexcept { return fw_completion_tag(raw_.get()); }
    bool is_event() const noexcept { return fw_completion_event(raw_.get()) != nullptr; }
    farwatch::event event() const noexcept {
        return farwatch::event(fw_completion_event(raw_.get()));
    }
    fw_status status() const noexcept { return fw_completion_status(raw_.get()); }
    /** The result; valid as long as this. */
    farwatch::answer answer() const noexcept {
        return farwatch::answer::borrowed(fw_completion_result(raw_.get()));
    }
    const fw_error *error() const noexcept { return fw_completion_error(raw_.get()); }

private:
    handle<fw_completion, fw_completion_free> raw_;
};

/** Results and events in a line, with a descriptor for the program's own loop. Its end gives up the recipes that wait
 *  for it. */
class queue {
public:
    explicit queue(fw_queue *raw) noexcept : raw_(raw) {}
    static expected<queue> make() noexcept { return detail::receive<queue, fw_queue>(fw_queue_new); }
    int descriptor() const noexcept { return fw_queue_fd(raw_.get()); }
    /** Puts an entry of the program's own at the end: from a thread that waited, from a callback. */
    expected<done> post(void *tag) noexcept {
        return detail::attempt([&](fw_error **why) { return fw_queue_post(raw_.get(), tag, why); });
    }
    /** The first entry, for which it waits at most so long. */
    expected<completion> next(std::chrono::milliseconds patience) noexcept {
        return detail::receive<completion, fw_completion>(
            [&](fw_completion **completion, fw_error **why) {
                return fw_queue_next(raw_.get(), detail::wait(patience), completion, why);
            });
    }
    fw_queue *get() const noexcept { return raw_.get(); }

private:
    handle<fw_queue, fw_queue_free> raw_;
};

template <class T> class future;

namespace detail {

template <class T, class F> class step;

/** A pointer to what counts its owners. What std::make_shared does without memory is to throw. */
template <class T> class counted {
public:
    counted() noexcept = default;
    /** The first owner. */
    explicit counted(T *fresh) noexcept : raw_(fresh) {}
    counted(const counted &other) noexcept : raw_(other.raw_) {
        if (raw_ != nullptr) raw_->owners.fetch_add(1, std::memory_order_relaxed);
    }
    counted(counted &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    counted &operator=(counted other) noexcept {
        std::swap(raw_, other.raw_);
        return *this;
    }
    ~counted() {
        if (raw_ != nullptr && raw_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete raw_;
    }
    T *operator->() const noexcept { return raw_; }
    explicit operator bool() const noexcept { return raw_ != nullptr; }

private:
    T *raw_ = nullptr;
};

/** What was asked for goes on, and nobody can be told how it ends. */
inline farwatch::error no_memory_behind() noexcept {
    return farwatch::error(FW_NO_MEMORY, "there is no memory to wait for the result", true);
}

/** Takes a result at once, in place of who waits for it. Freed without one, it has none to pass on. */
template <class T> struct receiver {
    virtual ~receiver() = default;
    virtual void take(expected<T> result) noexcept = 0;
};

/** Where a result comes to, once. Nothing is locked while a receiver is called or freed. */
template <class T> class place {
public:
    std::atomic<std::size_t> owners{1};

    void fill(expected<T> result) noexcept {
        if (std::unique_ptr<receiver<T>> next = fill_or_next(result))
            next->take(std::move(result));
    }
    /** There will be no result. A receiver is freed, which tells those that wait behind it. */
    void drop() noexcept {
        expected<T> none = farwatch::error(
            FW_CLOSED, "the client was freed, or the request abandoned, before its result came", true);
        fill_or_next(none).reset();
    }
    void receive_by(std::unique_ptr<receiver<T>> next) noexcept {
        std::unique_lock<std::mutex> lock(mutex_);
        if (!result_) {
            next_ = std::move(next);
            return;
        }
        lock.unlock(); // filled once, and taken by who asks now
        next->take(std::move(*result_));
    }
    /** Whether it is there. Does not wait in a callback: what fills this could be that thread. */
    bool wait(timeout patience) noexcept {
        std::unique_lock<std::mutex> lock(mutex_);
        auto is_there = [this] { return result_.has_value(); };
        if (0 < callbacks()) return is_there();
        if (patience) return filled_.wait_for(lock, std::min(*patience, longest), is_there);
        filled_.wait(lock, is_there);
        return true;
    }
    /** What `wait` has found to be there. */
    expected<T> take() noexcept { return std::move(*result_); }

private:
    /** 49 days, as in the library: a clock's end is not passed. */
    static constexpr std::chrono::milliseconds longest{0xffffffff};

    std::unique_ptr<receiver<T>> fill_or_next(expected<T> &result) noexcept {
        std::lock_guard<std::mutex> lock(mutex_);
        if (next_ != nullptr) return std::move(next_);
        result_.emplace(std::move(result));
        filled_.notify_all();
        return nullptr;
    }

    std::mutex mutex_;
    std::condition_variable filled_;
    std::optional<expected<T>> result_;
    std::unique_ptr<receiver<T>> next_;
};

/** Fills a place, or says at its end that nothing will. */
template <class T> class promise {
public:
    explicit promise(counted<place<T>> place) noexcept : place_(std::move(place)) {}
    promise(promise &&) noexcept = default;
    promise &operator=(promise &&) = delete;
    ~promise() {
        if (place_) place_->drop();
    }
    void fill(expected<T> result) noexcept {
        counted<place<T>> filled = std::move(place_);
        filled->fill(std::move(result));
    }

private:
    counted<place<T>> place_;
};

} // namespace detail

/**
 * The result of an operation that nobody waits for yet: `client::submit` without a callback.
 *
 *     auto size = client->submit(op::get_data("/config"))
 *                     .then([](expected<answer> node) { return node ? node->data().size() : 0; });
 *     ...
 *     use(size.get());
 *
 * One that is freed lets its operation go on, and drops the result. When the client is freed, or
 * the request abandoned, before the result comes, it becomes `FW_CLOSED`. Inside callbacks nothing
 * is waited for. Any thread, one at a time; it may outlive its client.
 */
template <class T> class future {
public:
    /** Of nothing: ready, with `FW_NULL`. */
    future() noexcept = default;
    /** One that is there already: what a callable of `then` returns where it asks for nothing. */
    future(expected<T> there) noexcept : place_(new (std::nothrow) detail::place<T>) {
        if (place_)
            place_->fill(std::move(there));
        else
            why_not_ = FW_NO_MEMORY;
    }
    future(farwatch::error why) noexcept : future(expected<T>(std::move(why))) {}
    future(detail::counted<detail::place<T>> place, std::uint64_t request) noexcept
        : place_(std::move(place)), request_(request) {}

    bool ready() const noexcept { return wait(std::chrono::milliseconds(0)); }
    /** Waits, without a value for as long as it takes; whether the result is there. */
    bool wait(timeout patience = {}) const noexcept { return !place_ || place_->wait(patience); }
    /**
     * Waits as `wait` does and takes the result, after which this is of nothing. `FW_TIMEOUT`,
     * `FW_IN_CALLBACK`: it is not there so far, and this as before.
     */
    expected<T> get(timeout patience = {}) noexcept {
        if (!wait(patience)) {
            bool inside = 0 < detail::callbacks();
            return farwatch::error(inside ? FW_IN_CALLBACK : FW_TIMEOUT,
                                   "the result is not there so far", true);
        }
        if (!place_) return nothing();
        return std::exchange(place_, {})->take();
    }
    /**
     * Calls `f(expected<T>)` with the result, on the client's thread, where it must not wait (of
     * what a recipe waits for, on the thread that did), or here, if the result is there. The future that this returns is of what `f` returns: a value, an
     * `expected` or `future` of one, or `done` for nothing. When there will be no result, `f` is
     * freed without a call. This is of nothing then.
     */
    template <class F> auto then(F f) noexcept {
        using next = detail::step<T, F>;
        using value = typename next::value;
        detail::counted<detail::place<value>> target(new (std::nothrow) detail::place<value>);
        if (!target) return future<value>(detail::no_memory_behind());
        std::unique_ptr<next> step(new (std::nothrow) next(std::move(f), target));
        if (step == nullptr) return future<value>(detail::no_memory_behind());
        receive_by(std::move(step));
        return future<value>(std::move(target), 0);
    }
    /** Has `next` take the result. */
    void receive_by(std::unique_ptr<detail::receiver<T>> next) noexcept {
        auto place = std::exchange(place_, {});
        if (place)
            place->receive_by(std::move(next));
        else
            next->take(nothing());
    }
    /** For `client::abandon`; 0 for what `then` returns. */
    std::uint64_t request() const noexcept { return request_; }

private:
    farwatch::error nothing() const noexcept {
        if (why_not_ == FW_NO_MEMORY) return detail::no_memory_behind();
        return farwatch::error(why_not_, "this future is of nothing", false);
    }

    detail::counted<detail::place<T>> place_;
    std::uint64_t request_ = 0;
    fw_status why_not_ = FW_NULL;
};

namespace detail {

/** What a callable's result is a result of. */
template <class R> struct result_of { using value = R; };
template <> struct result_of<void> { using value = done; };
template <class T> struct result_of<expected<T>> { using value = T; };
template <class T> struct result_of<future<T>> { using value = T; };

/** Passes a result on. */
template <class T> struct relay final : receiver<T> {
    explicit relay(promise<T> to) noexcept : to_(std::move(to)) {}
    void take(expected<T> result) noexcept override { to_.fill(std::move(result)); }
    promise<T> to_;
};

/** Passes on what a callable makes of a result. */
template <class T, class F> class step final : public receiver<T> {
    using result = std::invoke_result_t<F &, expected<T>>;

public:
    using value = typename result_of<result>::value;
    step(F f, counted<place<value>> to) noexcept : f_(std::move(f)), to_(std::move(to)) {}
    void take(expected<T> from) noexcept override {
        in_callback here;
        if constexpr (std::is_void_v<result>) {
            f_(std::move(from));
            to_.fill(done());
        } else if constexpr (std::is_same_v<result, future<value>>) {
            future<value> made = f_(std::move(from));
            auto *next = new (std::nothrow) relay<value>(std::move(to_));
            if (next == nullptr)
                to_.fill(no_memory_behind());
            else
                made.receive_by(std::unique_ptr<receiver<value>>(next));
        } else {
            to_.fill(f_(std::move(from)));
        }
    }

private:
    F f_;
    promise<value> to_;
};

} // namespace detail

/** A lasting watch whose events go to one place, until this ends. Free it before its client. */
class watch {
public:
    explicit watch(fw_watch *raw) noexcept : raw_(raw) {}

private:
    handle<fw_watch, fw_watch_free> raw_;
};

/** A session. It ends with this. */
class client {
public:
    explicit client(fw_client *raw) noexcept : raw_(raw) {}

    static expected<client> open(config settings) noexcept {
        fw_error *why = nullptr;
        fw_status status = settings.failure(&why);
        if (status != FW_OK) return farwatch::error(status, why);
        return detail::receive<client, fw_client>([&](fw_client **client, fw_error **why) {
            return fw_client_open(settings.get(), client, why);
        });
    }
    static expected<client> open(std::string_view connect) noexcept { return open(config(connect)); }

    /** As the server granted it. */
    std::chrono::milliseconds session_timeout() const noexcept {
        return std::chrono::milliseconds(fw_client_session_timeout_ms(get_raw()));
    }
    expected<done> wait_connected(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_client_wait_connected(raw_.get(), detail::wait(patience), why);
        });
    }
    fw_session_state state() const noexcept { return fw_client_state(raw_.get()); }
    std::int64_t session_id() const noexcept { return fw_client_session_id(raw_.get()); }
    /** `host:port` of who serves the session now, empty while nobody does. Valid as long as this client. */
    std::string_view server() const noexcept {
        std::size_t length = 0;
        const char *text = fw_client_server(raw_.get(), &length);
        return text ? std::string_view(text, length) : std::string_view();
    }

    expected<answer> create(std::string_view path, std::string_view data,
                            fw_create_mode mode = FW_PERSISTENT, timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_create(raw_.get(), detail::chars(path), path.size(),
                                    detail::bytes(data), data.size(), mode, detail::wait(patience),
                                    result, why);
        });
    }
    /** With rights of its own. */
    expected<answer> create(std::string_view path, std::string_view data, const acl &rights,
                            fw_create_mode mode = FW_PERSISTENT, timeout patience = {}) noexcept {
        return call(op::create(path, data, mode, 0, rights), patience);
    }
    expected<answer> get(std::string_view path, std::uint32_t flags = 0,
                         timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_get(raw_.get(), detail::chars(path), path.size(), flags,
                                 detail::wait(patience), result, why);
        });
    }
    /** Reads that are as fresh as wanted. */
    expected<answer> get(std::string_view path, const freshness &fresh, std::uint32_t flags = 0,
                         timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_get_fresh(raw_.get(), detail::chars(path), path.size(), flags,
                                       fresh.zxid, detail::age(fresh), detail::wait(patience),
                                       result, why);
        });
    }
    expected<answer> exists(std::string_view path, const freshness &fresh, std::uint32_t flags = 0,
                         timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_exists_fresh(raw_.get(), detail::chars(path), path.size(), flags,
                                       fresh.zxid, detail::age(fresh), detail::wait(patience),
                                       result, why);
        });
    }
    expected<answer> children(std::string_view path, const freshness &fresh, std::uint32_t flags = 0,
                         timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_children_fresh(raw_.get(), detail::chars(path), path.size(), flags,
                                       fresh.zxid, detail::age(fresh), detail::wait(patience),
                                       result, why);
        });
    }
    expected<answer> set(std::string_view path, std::string_view data,
                         std::int32_t version = FW_ANY_VERSION, timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_set(raw_.get(), detail::chars(path), path.size(), detail::bytes(data),
                                 data.size(), version, detail::wait(patience), result, why);
        });
    }
    expected<answer> exists(std::string_view path, std::uint32_t flags = 0,
                            timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_exists(raw_.get(), detail::chars(path), path.size(), flags,
                                    detail::wait(patience), result, why);
        });
    }
    expected<answer> children(std::string_view path, std::uint32_t flags = 0,
                              timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_children(raw_.get(), detail::chars(path), path.size(), flags,
                                      detail::wait(patience), result, why);
        });
    }
    expected<done> remove(std::string_view path, std::int32_t version = FW_ANY_VERSION,
                          timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_client_delete(raw_.get(), detail::chars(path), path.size(), version,
                                    detail::wait(patience), why);
        });
    }
    expected<done> sync(std::string_view path = "/", timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_client_sync(raw_.get(), detail::chars(path), path.size(),
                                  detail::wait(patience), why);
        });
    }
    /** Any operation. */
    expected<answer> call(const op &operation, timeout patience = {}) noexcept {
        return receive([&](fw_result **result, fw_error **why) {
            return fw_client_call(raw_.get(), operation.get(), detail::wait(patience), result, why);
        });
    }
    /** The same, as it was made: `client.call(op::whoami())`. */
    expected<answer> call(expected<op> &&operation, timeout patience = {}) noexcept {
        if (!operation) return std::move(operation).error();
        return call(*operation, patience);
    }
    /** Any operation; `f(farwatch::expected<farwatch::answer>)` is called on the client's thread. */
    template <class F> expected<std::uint64_t> submit(const op &operation, F f) noexcept {
        F *context = new (std::nothrow) F(std::move(f));
        if (context == nullptr) return farwatch::error(FW_NO_MEMORY, nullptr);
        std::uint64_t request = 0;
        fw_error *why = nullptr;
        fw_status status = fw_client_submit(
            raw_.get(), operation.get(),
            [](void *context, fw_status status, fw_result *result, fw_error *why) noexcept {
                detail::in_callback here;
                F &f = *static_cast<F *>(context);
                if (status == FW_OK)
                    f(expected<answer>(answer(result)));
                else
                    f(expected<answer>(farwatch::error(status, why)));
            },
            context, detail::destroy<F>, &request, &why);
        if (status != FW_OK) return farwatch::error(status, why);
        return request;
    }
    /** Any operation, as a future: see there. */
    future<answer> submit(const op &operation) noexcept {
        detail::counted<detail::place<answer>> place(new (std::nothrow) detail::place<answer>);
        if (!place) return farwatch::error(FW_NO_MEMORY, nullptr);
        auto request = submit(operation, [promise = detail::promise<answer>(place)](
                                             expected<answer> result) mutable noexcept {
            promise.fill(std::move(result));
        });
        if (!request) return std::move(request).error();
        return future<answer>(std::move(place), *request);
    }
    /** The same, as it was made: `client.submit(op::get_data("/x"))`. */
    future<answer> submit(expected<op> &&operation) noexcept {
        if (!operation) return std::move(operation).error();
        return submit(*operation);
    }
    /** Gives up waiting for `request`, and tells whether it may have been, or may still be, applied. */
    expected<bool> abandon(std::uint64_t request) noexcept {
        return detail::number<bool>([&](bool *maybe_applied, fw_error **why) {
            return fw_client_abandon(raw_.get(), request, maybe_applied, why);
        });
    }
    /** Any operation; what becomes of it comes to `queue`. */
    expected<std::uint64_t> enqueue(const op &operation, const queue &queue, void *tag) noexcept {
        std::uint64_t request = 0;
        fw_error *why = nullptr;
        fw_status status =
            fw_client_enqueue(raw_.get(), operation.get(), queue.get(), tag, &request, &why);
        if (status != FW_OK) return farwatch::error(status, why);
        return request;
    }
    /**
     * Watches a node, or with `FW_WATCH_RECURSIVE` all below it, until what this gives is freed.
     * `f(farwatch::event)` is called on the client's thread, and must not wait; also with each state of the
     * session: behind `FW_STATE_CONNECTED` read again.
     */
    template <class F>
    expected<farwatch::watch> watch(std::string_view path, fw_watch_mode mode, F f,
                                    timeout patience = {}) noexcept {
        F *context = new (std::nothrow) F(std::move(f));
        if (context == nullptr) return farwatch::error(FW_NO_MEMORY, nullptr);
        return detail::receive<farwatch::watch, fw_watch>([&](fw_watch **watch, fw_error **why) {
            return fw_client_watch(
                raw_.get(), detail::chars(path), path.size(), mode,
                [](void *context, const fw_event *raw) noexcept {
                    detail::in_callback here;
                    (*static_cast<F *>(context))(event(raw));
                },
                context, detail::destroy<F>, detail::wait(patience), watch, why);
        });
    }
    /** The same; events come to `queue`, with `tag`. */
    expected<farwatch::watch> watch(std::string_view path, fw_watch_mode mode, const queue &queue,
                                    void *tag, timeout patience = {}) noexcept {
        return detail::receive<farwatch::watch, fw_watch>([&](fw_watch **watch, fw_error **why) {
            return fw_client_watch_queue(raw_.get(), detail::chars(path), path.size(), mode,
                                         queue.get(), tag, detail::wait(patience), watch, why);
        });
    }
    /** Ends this client and leaves its session alive, for another one: see `fw_client_detach`. */
    expected<session> detach(timeout patience = {}) noexcept {
        return detail::receive<session, fw_session>([&](fw_session **session, fw_error **why) {
            return fw_client_detach(raw_.get(), detail::wait(patience), session, why);
        });
    }
    /** Ends the session: its ephemeral nodes are gone when this succeeds. */
    expected<done> close(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_client_close(raw_.get(), detail::wait(patience), why);
        });
    }
    fw_client *get_raw() const noexcept { return raw_.get(); }

private:
    template <class F> static expected<answer> receive(F &&f) noexcept {
        return detail::receive<answer, fw_result>(std::forward<F>(f));
    }
    handle<fw_client, fw_client_free> raw_;
};

/** A node where it lies in an observer's memory; lent for as long as its source says. */
class node {
public:
    explicit node(const fw_node *raw) noexcept : raw_(raw) {}
    std::string_view data() const noexcept {
        std::size_t size = 0;
        const std::uint8_t *data = fw_node_data(raw_, &size);
        return detail::lent(reinterpret_cast<const char *>(data), size);
    }
    bool is_null() const noexcept { return fw_node_data(raw_, nullptr) == nullptr; }
    std::string_view path() const noexcept {
        std::size_t size = 0;
        const char *path = fw_node_path(raw_, &size);
        return detail::lent(path, size);
    }
    fw_stat stat() const noexcept {
        fw_stat stat = FW_STAT_INIT;
        (void)fw_node_stat(raw_, &stat, nullptr);
        return stat;
    }

private:
    const fw_node *raw_;
};

/** One state of an observer's replica, for as long as this lives. */
class view {
public:
    explicit view(fw_view *raw) noexcept : raw_(raw) {}
    std::int64_t zxid() const noexcept { return fw_view_zxid(raw_.get()); }
    /** The data of a node, in place, valid as long as this; nothing if there is none, or it cannot be read. */
    std::optional<std::string_view> get(std::string_view path) const noexcept {
        const std::uint8_t *data = nullptr;
        std::size_t size = 0;
        fw_status status = fw_view_get(raw_.get(), detail::chars(path), path.size(), &data, &size,
                                       nullptr, nullptr);
        if (status != FW_OK) return std::nullopt;
        return detail::lent(reinterpret_cast<const char *>(data), size);
    }
    /** The same; nothing only if there is no node, and why where it cannot be read. */
    expected<std::optional<std::string_view>> try_get(std::string_view path) const noexcept {
        const std::uint8_t *data = nullptr;
        std::size_t size = 0;
        return detail::found<std::string_view>(
            [&](fw_error **why) {
                return fw_view_get(raw_.get(), detail::chars(path), path.size(), &data, &size,
                                   nullptr, why);
            },
            [&] { return detail::lent(reinterpret_cast<const char *>(data), size); });
    }
    /** Nothing only if there is no node, and why where it cannot be read. */
    expected<std::optional<fw_stat>> try_stat(std::string_view path) const noexcept {
        const std::uint8_t *data = nullptr;
        fw_stat stat = FW_STAT_INIT;
        return detail::found<fw_stat>(
            [&](fw_error **why) {
                return fw_view_get(raw_.get(), detail::chars(path), path.size(), &data, nullptr,
                                   &stat, why);
            },
            [&] { return stat; });
    }
    /** Nothing if there is no node, or it cannot be read. */
    std::optional<fw_stat> stat(std::string_view path) const noexcept {
        const std::uint8_t *data = nullptr;
        std::size_t size = 0;
        fw_stat stat = FW_STAT_INIT;
        fw_status status = fw_view_get(raw_.get(), detail::chars(path), path.size(), &data, &size,
                                       &stat, nullptr);
        return status == FW_OK ? std::optional<fw_stat>(stat) : std::nullopt;
    }
    expected<answer> children(std::string_view path) const noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **result, fw_error **why) {
            return fw_view_children(raw_.get(), detail::chars(path), path.size(), result, why);
        });
    }
    /** Calls `told(std::string_view name)` with each child's name, in place, until it returns false; false if there is
     * no node, or it cannot be read. Allocates nothing. Names are valid as long as this. */
    template <class F> bool each_child(std::string_view path, F &&told) const noexcept {
        return children_in_place(path, told, nullptr) == FW_OK;
    }
    /** The same; false only if there is no node, and why where it cannot be read. */
    template <class F> expected<bool> try_each_child(std::string_view path, F &&told) const noexcept {
        return detail::is_there([&](fw_error **why) { return children_in_place(path, told, why); });
    }
    /** Calls `told(node)` with the node at `path` and all below it, until it returns false. */
    template <class F> expected<done> scan(std::string_view path, F &&told) const noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_view_scan(
                raw_.get(), detail::chars(path), path.size(),
                [](void *context, const fw_node *raw) noexcept -> bool {
                    return (*static_cast<std::remove_reference_t<F> *>(context))(node(raw));
                },
                detail::context_of(told), why);
        });
    }

private:
    template <class F>
    fw_status children_in_place(std::string_view path, F &told, fw_error **why) const noexcept {
        return fw_view_children_each(raw_.get(), detail::chars(path), path.size(), detail::tell_name<F>,
                                   detail::context_of(told), nullptr, why);
    }
    handle<fw_view, fw_view_free> raw_;
};

/** One change of one node. */
class change {
public:
    explicit change(fw_change *raw) noexcept : raw_(raw) {}
    std::int64_t zxid() const noexcept { return fw_change_zxid(raw_.get()); }
    fw_change_kind kind() const noexcept { return fw_change_kind_of(raw_.get()); }
    std::string_view path() const noexcept {
        std::size_t size = 0;
        const char *path = fw_change_path(raw_.get(), &size);
        return detail::lent(path, size);
    }
    std::string_view data() const noexcept {
        std::size_t size = 0;
        const std::uint8_t *data = fw_change_data(raw_.get(), &size);
        return detail::lent(reinterpret_cast<const char *>(data), size);
    }
    /** The node's, right behind the transaction; all zero where it was deleted. */
    fw_stat stat() const noexcept {
        fw_stat stat = FW_STAT_INIT;
        (void)fw_change_stat(raw_.get(), &stat, nullptr);
        return stat;
    }

private:
    handle<fw_change, fw_change_free> raw_;
};

/** The changes at a node and below it, in order. */
class feed {
public:
    explicit feed(fw_feed *raw) noexcept : raw_(raw) {}
    /** The next change. `FW_TIMEOUT`: nothing so far; `FW_WINDOW_LOST`: read anew and subscribe again. */
    expected<change> next(std::chrono::milliseconds patience) noexcept {
        std::uint64_t wait = patience.count() < 0 ? 0 : static_cast<std::uint64_t>(patience.count());
        return detail::receive<change, fw_change>([&](fw_change **change, fw_error **why) {
            return fw_feed_next(raw_.get(), wait, change, why);
        });
    }
    /** Has `queue` told, with `tag`, when `next` has something; again each time it said `FW_TIMEOUT`. */
    expected<done> tell(const queue &queue, void *tag) noexcept {
        return detail::attempt(
            [&](fw_error **why) { return fw_feed_queue(raw_.get(), queue.get(), tag, why); });
    }
    /** Takes the queue away that `tell` was given: nothing comes to it any more. */
    expected<done> silence() noexcept {
        return detail::attempt(
            [&](fw_error **why) { return fw_feed_queue(raw_.get(), nullptr, nullptr, why); });
    }
    std::int64_t zxid() const noexcept { return fw_feed_zxid(raw_.get()); }

private:
    handle<fw_feed, fw_feed_free> raw_;
};

/** A replica in this process. Everything on it: any thread. */
class observer {
public:
    explicit observer(fw_observer *raw) noexcept : raw_(raw) {}

    /** `settings` of `fw_observer_open`: `upstreams` and more. */
    static expected<observer> open(config settings) noexcept {
        fw_error *why = nullptr;
        fw_status status = settings.failure(&why);
        if (status != FW_OK) return farwatch::error(status, why);
        return detail::receive<observer, fw_observer>([&](fw_observer **raw, fw_error **why) {
            return fw_observer_open(settings.get(), raw, why);
        });
    }
    /** In memory, from `host[:port][,host[:port]...]`. */
    static expected<observer> open(std::string_view upstreams) noexcept {
        config settings;
        settings.set("upstreams", upstreams);
        return open(std::move(settings));
    }
    expected<done> wait_ready(std::chrono::milliseconds patience,
                              std::int64_t min_zxid = 0) const noexcept {
        std::uint64_t wait = patience.count() < 0 ? 0 : static_cast<std::uint64_t>(patience.count());
        return detail::attempt([&](fw_error **why) {
            return fw_observer_wait_ready(raw_.get(), min_zxid, wait, why);
        });
    }
    /** Has `queue` told, with `tag`, how it is linked: now, and with each change. */
    expected<done> tell(const queue &queue, void *tag) const noexcept {
        return detail::attempt(
            [&](fw_error **why) { return fw_observer_queue(raw_.get(), queue.get(), tag, why); });
    }
    /** Takes the queue away that `tell` was given: nothing comes to it any more. */
    expected<done> silence() const noexcept {
        return detail::attempt(
            [&](fw_error **why) { return fw_observer_queue(raw_.get(), nullptr, nullptr, why); });
    }
    fw_lag lag() const noexcept {
        fw_lag lag = FW_LAG_INIT;
        (void)fw_observer_lag(raw_.get(), &lag, nullptr);
        return lag;
    }
    /** Calls `read(node)` with the node where it lies; false if there is none, or it cannot be read. It must return
     * at once. */
    template <class F> bool read(std::string_view path, F &&read) const noexcept {
        return read_in_place(path, read, nullptr) == FW_OK;
    }
    /** The same; false only if there is no node, and why where it cannot be read. */
    template <class F> expected<bool> try_read(std::string_view path, F &&read) const noexcept {
        return detail::is_there([&](fw_error **why) { return read_in_place(path, read, why); });
    }
    /** A copy of the data; nothing if there is no node, or it cannot be read. */
    std::optional<std::string> get(std::string_view path) const {
        auto copy = try_get(path);
        return copy ? std::move(copy).value() : std::nullopt;
    }
    /** A copy of the data; nothing only if there is no node, and why where it cannot be read. */
    expected<std::optional<std::string>> try_get(std::string_view path) const {
        std::size_t room = 256;
        for (;;) {
            std::string copy(room, '\0');
            auto size = get(path, copy.data(), copy.size());
            if (!size) return std::move(size).error();
            if (!*size) return std::optional<std::string>();
            room = **size;
            if (copy.size() < room) continue;
            copy.resize(room);
            return std::optional<std::string>(std::move(copy));
        }
    }
    /** Copies the data to `buffer`, and says how long it is: longer than `capacity`, and nothing was copied. Nothing
     * only if there is no node. Allocates nothing but for who is told why it cannot be read. */
    expected<std::optional<std::size_t>> get(std::string_view path, char *buffer,
                                             std::size_t capacity) const noexcept {
        std::int64_t size = 0;
        auto ask = [&](fw_error **why) {
            return fw_observer_get(raw_.get(), detail::chars(path), path.size(),
                                   reinterpret_cast<std::uint8_t *>(buffer), capacity, &size, nullptr,
                                   why);
        };
        fw_status status = ask(nullptr);
        if (status == FW_OK || status == FW_BUFFER_TOO_SMALL)
            return std::optional<std::size_t>(size < 0 ? 0 : static_cast<std::size_t>(size));
        if (status == FW_NO_NODE) return std::optional<std::size_t>();
        fw_error *why = nullptr;
        (void)ask(&why); // once more, for the words
        return farwatch::error(status, why);
    }
    /** Whether there is a node, and why where that cannot be read. */
    expected<bool> try_exists(std::string_view path) const noexcept {
        return detail::is_there([&](fw_error **why) {
            return fw_observer_exists(raw_.get(), detail::chars(path), path.size(), nullptr, why);
        });
    }
    /** Nothing only if there is no node, and why where it cannot be read. */
    expected<std::optional<fw_stat>> try_stat(std::string_view path) const noexcept {
        fw_stat stat = FW_STAT_INIT;
        return detail::found<fw_stat>(
            [&](fw_error **why) {
                return fw_observer_exists(raw_.get(), detail::chars(path), path.size(), &stat, why);
            },
            [&] { return stat; });
    }
    /** False if there is no node, or it cannot be read. */
    bool exists(std::string_view path) const noexcept {
        return fw_observer_exists(raw_.get(), detail::chars(path), path.size(), nullptr, nullptr)
            == FW_OK;
    }
    /** Nothing if there is no node, or it cannot be read. */
    std::optional<fw_stat> stat(std::string_view path) const noexcept {
        fw_stat stat = FW_STAT_INIT;
        fw_status status =
            fw_observer_exists(raw_.get(), detail::chars(path), path.size(), &stat, nullptr);
        return status == FW_OK ? std::optional<fw_stat>(stat) : std::nullopt;
    }
    expected<answer> children(std::string_view path) const noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **result, fw_error **why) {
            return fw_observer_children(raw_.get(), detail::chars(path), path.size(), result, why);
        });
    }
    /** Calls `told(std::string_view name)` with each child's name, in place, until it returns false; false if there is
     * no node, or it cannot be read. It must return at once. Allocates nothing. */
    template <class F> bool each_child(std::string_view path, F &&told) const noexcept {
        return children_in_place(path, told, nullptr) == FW_OK;
    }
    /** The same; false only if there is no node, and why where it cannot be read. */
    template <class F> expected<bool> try_each_child(std::string_view path, F &&told) const noexcept {
        return detail::is_there([&](fw_error **why) { return children_in_place(path, told, why); });
    }
    /** Calls `told(node)` with the node at `path` and all below it, as they are now, until it returns false. */
    template <class F> expected<done> scan(std::string_view path, F &&told) const noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_observer_scan(
                raw_.get(), detail::chars(path), path.size(),
                [](void *context, const fw_node *raw) noexcept -> bool {
                    return (*static_cast<std::remove_reference_t<F> *>(context))(node(raw));
                },
                detail::context_of(told), why);
        });
    }
    /** Keeps the present state. */
    expected<farwatch::view> view() const noexcept {
        return detail::receive<farwatch::view, fw_view>([&](fw_view **view, fw_error **why) {
            return fw_observer_view(raw_.get(), view, why);
        });
    }
    expected<feed> subscribe(std::string_view path,
                             std::int64_t from_zxid = FW_FROM_NOW) const noexcept {
        return detail::receive<feed, fw_feed>([&](fw_feed **feed, fw_error **why) {
            return fw_observer_subscribe(raw_.get(), detail::chars(path), path.size(), from_zxid,
                                         feed, why);
        });
    }
    /** A client in this process that writes through the observer. */
    expected<farwatch::client> client(std::string_view chroot = {}) const noexcept {
        return client_with(nullptr, chroot);
    }
    /** The same, with settings of `fw_client_open` but for `connect`. */
    expected<farwatch::client> client(config settings, std::string_view chroot = {}) const noexcept {
        fw_error *why = nullptr;
        fw_status status = settings.failure(&why);
        if (status != FW_OK) return farwatch::error(status, why);
        return client_with(settings.get(), chroot);
    }
    /** Lets an observer without a thread go on, in the thread that opened it. */
    expected<done> drive(std::chrono::milliseconds at_most) const noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_observer_drive(raw_.get(), static_cast<std::uint64_t>(detail::wait(at_most)),
                                     why);
        });
    }
    /** Why it ended; empty while it has not. */
    std::string_view ended() const noexcept {
        std::size_t size = 0;
        const char *reason = fw_observer_ended(raw_.get(), &size);
        return detail::lent(reason, size);
    }
    expected<done> close() noexcept {
        return detail::attempt([&](fw_error **why) { return fw_observer_close(raw_.get(), why); });
    }
    fw_observer *get_raw() const noexcept { return raw_.get(); }

private:
    template <class F>
    fw_status children_in_place(std::string_view path, F &told, fw_error **why) const noexcept {
        return fw_observer_children_each(raw_.get(), detail::chars(path), path.size(), detail::tell_name<F>,
                                   detail::context_of(told), nullptr, why);
    }
    template <class F>
    fw_status read_in_place(std::string_view path, F &read, fw_error **why) const noexcept {
        return fw_observer_read(
            raw_.get(), detail::chars(path), path.size(),
            [](void *context, const fw_node *raw) noexcept {
                (*static_cast<F *>(context))(node(raw));
            },
            detail::context_of(read), why);
    }
    expected<farwatch::client> client_with(const fw_config *settings,
                                           std::string_view chroot) const noexcept {
        return detail::receive<farwatch::client, fw_client>(
            [&](fw_client **client, fw_error **why) {
                return fw_observer_client(raw_.get(), settings, detail::chars(chroot),
                                          chroot.size(), client, why);
            });
    }
    handle<fw_observer, fw_observer_free> raw_;
};

/** A state that is kept and renewed: who leads, who is there, what is configured. Free it before its client. */
class followed {
public:
    explicit followed(fw_followed *raw) noexcept : raw_(raw) {}
    /** The state as it was read last: `fw_followed_get` says how it is laid out. */
    expected<answer> get() const noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **state, fw_error **why) {
            return fw_followed_get(raw_.get(), state, why);
        });
    }
    /** One member of a group or instance of a service, each in its turn; `FW_NO_NODE` if there is none. */
    expected<answer> pick() noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **picked, fw_error **why) {
            return fw_followed_pick(raw_.get(), picked, why);
        });
    }
    bool is_current() const noexcept { return fw_followed_is_current(raw_.get()); }
    /** How many states were seen; 0 before the first. */
    std::uint64_t revision() const noexcept { return fw_followed_revision(raw_.get()); }
    /** Waits for a state beyond `seen`, 0 for the first, and returns its revision. */
    expected<std::uint64_t> wait_beyond(std::uint64_t seen, timeout patience = {}) noexcept {
        return detail::number<std::uint64_t>([&](std::uint64_t *revision, fw_error **why) {
            return fw_followed_wait_beyond(raw_.get(), seen, detail::wait(patience), revision, why);
        });
    }
    /** Calls `f(const farwatch::answer &)` with each new state, on the client's thread: it must not wait. */
    template <class F> expected<done> on_change(F f) noexcept {
        F *context = new (std::nothrow) F(std::move(f));
        if (context == nullptr) return farwatch::error(FW_NO_MEMORY, nullptr);
        return detail::attempt([&](fw_error **why) {
            return fw_followed_on_change(
                raw_.get(),
                [](void *context, const fw_result *state) noexcept {
                    detail::in_callback here;
                    (*static_cast<F *>(context))(answer::borrowed(state));
                },
                context, detail::destroy<F>, why);
        });
    }
    fw_followed *get_raw() const noexcept { return raw_.get(); }

private:
    handle<fw_followed, fw_followed_free> raw_;
};

/** What a session holds; it is given up with this. Free it before its client. */
class tenure {
public:
    explicit tenure(fw_tenure *raw) noexcept : raw_(raw) {}
    /** What the answer to an operation that waits for one hands over, once. */
    static expected<tenure> of(const answer &answer) noexcept {
        return detail::receive<tenure, fw_tenure>([&](fw_tenure **tenure, fw_error **why) {
            return fw_result_tenure(answer.get(), tenure, why);
        });
    }
    std::int64_t token() const noexcept { return fw_tenure_token(raw_.get()); }
    /** The number that was claimed from `worker_ids`, else -1. */
    std::int64_t worker_id() const noexcept { return fw_tenure_worker_id(raw_.get()); }
    fw_standing standing() const noexcept { return fw_tenure_standing(raw_.get()); }
    std::chrono::milliseconds lease() const noexcept {
        return std::chrono::milliseconds(fw_tenure_lease_ms(raw_.get()));
    }
    /** The token, if it is held for certain at this moment: ask before each act. */
    expected<std::int64_t> check() const noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_tenure_check(raw_.get(), token, why);
        });
    }
    /** Calls `f(fw_standing)` at each change, on the client's thread: it must not wait. */
    template <class F> expected<done> on_change(F f) noexcept {
        return detail::on_change(fw_tenure_on_change, raw_.get(), std::move(f));
    }
    /** Returns when others can have it; inside a double barrier, when all have left. */
    expected<done> release(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_tenure_release(raw_.get(), detail::wait(patience), why);
        });
    }
    fw_tenure *get() const noexcept { return raw_.get(); }

private:
    handle<fw_tenure, fw_tenure_free> raw_;
};

/**
 * The resource's memory of the largest token, which is stored with it: whoever was overtaken is
 * refused. What follows an admission must be done before the next one.
 */
class fence {
public:
    explicit fence(fw_fence *raw) noexcept : raw_(raw) {}
    /** One that remembers `largest`: what the resource has stored. */
    static expected<fence> make(std::int64_t largest = 0) noexcept {
        return detail::receive<fence, fw_fence>([&](fw_fence **made, fw_error **why) {
            return fw_fence_new(largest, made, why);
        });
    }
    /** `FW_STALE_TOKEN`: a larger one was here, and the token's holder must stop. */
    expected<done> admit(std::int64_t token) noexcept {
        return detail::attempt(
            [&](fw_error **why) { return fw_fence_admit(raw_.get(), token, why); });
    }
    /** What to store. */
    std::int64_t largest() const noexcept { return fw_fence_largest(raw_.get()); }

private:
    handle<fw_fence, fw_fence_free> raw_;
};

/** A lock that is held; it is released with this. Free it before its client. */
class lock {
public:
    explicit lock(fw_lock *raw) noexcept : raw_(raw) {}
    /** The lock that the answer to `op::lock_acquire`, `lock_read` or `lock_write` hands over, once. */
    static expected<lock> of(const answer &answer) noexcept {
        return detail::receive<lock, fw_lock>([&](fw_lock **lock, fw_error **why) {
            return fw_result_lock(answer.get(), lock, why);
        });
    }
    static expected<lock> acquire(client &client, std::string_view path,
                                  timeout patience = {}) noexcept {
        return detail::receive<lock, fw_lock>([&](fw_lock **lock, fw_error **why) {
            return fw_lock_acquire(client.get_raw(), detail::chars(path), path.size(),
                                   detail::wait(patience), lock, why);
        });
    }
    /** Fails with `FW_TAKEN` when others have it for longer than `patience`. */
    static expected<lock> attempt(client &client, std::string_view path,
                                  std::chrono::milliseconds patience = {}) noexcept {
        return detail::receive<lock, fw_lock>([&](fw_lock **lock, fw_error **why) {
            return fw_lock_try(client.get_raw(), detail::chars(path), path.size(),
                               static_cast<std::uint64_t>(detail::wait(patience)),
                               FW_DEFAULT_TIMEOUT, lock, why);
        });
    }
    /** One that readers share: waits until nobody writes. A fence admits the tokens of writers. */
    static expected<lock> read(client &client, std::string_view path,
                               timeout patience = {}) noexcept {
        return detail::receive<lock, fw_lock>([&](fw_lock **lock, fw_error **why) {
            return fw_lock_read(client.get_raw(), detail::chars(path), path.size(),
                                detail::wait(patience), lock, why);
        });
    }
    /** Among those of `read`: waits until nobody else reads or writes. */
    static expected<lock> write(client &client, std::string_view path,
                                timeout patience = {}) noexcept {
        return detail::receive<lock, fw_lock>([&](fw_lock **lock, fw_error **why) {
            return fw_lock_write(client.get_raw(), detail::chars(path), path.size(),
                                 detail::wait(patience), lock, why);
        });
    }
    std::int64_t token() const noexcept { return fw_lock_token(raw_.get()); }
    fw_standing standing() const noexcept { return fw_lock_standing(raw_.get()); }
    std::chrono::milliseconds lease() const noexcept {
        return std::chrono::milliseconds(fw_lock_lease_ms(raw_.get()));
    }
    /** The token, if nobody else can hold the lock at this moment: ask before each act. */
    expected<std::int64_t> check() const noexcept {
        std::int64_t token = 0;
        fw_error *why = nullptr;
        fw_status status = fw_lock_check(raw_.get(), &token, &why);
        if (status != FW_OK) return farwatch::error(status, why);
        return token;
    }
    /** Calls `f(fw_standing)` at each change, on the client's thread: it must not wait. */
    template <class F> expected<done> on_change(F f) noexcept {
        return detail::on_change(fw_lock_on_change, raw_.get(), std::move(f));
    }
    /** Returns when the next one can have it. */
    expected<done> release(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_lock_release(raw_.get(), detail::wait(patience), why);
        });
    }
    fw_lock *get() const noexcept { return raw_.get(); }

private:
    handle<fw_lock, fw_lock_free> raw_;
};

/** One that stands for election, and leads when it is its turn. Free it before its client. */
class election {
public:
    explicit election(fw_election *raw) noexcept : raw_(raw) {}
    /** The election that the answer to `op::election_lead` hands over, once. */
    static expected<election> of(const answer &answer) noexcept {
        return detail::receive<election, fw_election>([&](fw_election **election, fw_error **why) {
            return fw_result_election(answer.get(), election, why);
        });
    }
    static expected<election> join(client &client, std::string_view path, std::string_view id,
                                   timeout patience = {}) noexcept {
        return detail::receive<election, fw_election>([&](fw_election **election, fw_error **why) {
            return fw_election_join(client.get_raw(), detail::chars(path), path.size(),
                                    detail::bytes(id), id.size(), detail::wait(patience), election,
                                    why);
        });
    }
    /** Follows who leads, whether or not this program stands: its id is the data, its token the number. */
    static expected<followed> follow(client &client, std::string_view path) noexcept {
        return detail::receive<followed, fw_followed>([&](fw_followed **leader, fw_error **why) {
            return fw_election_follow(client.get_raw(), detail::chars(path), path.size(), leader,
                                      why);
        });
    }
    /** Waits until this one leads; after `FW_TIMEOUT` it is in line still. */
    expected<done> lead(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_election_lead(raw_.get(), detail::wait(patience), why);
        });
    }
    /** Who leads now: its id is the answer's data, its token the number. */
    expected<answer> leader(timeout patience = {}) noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **leader, fw_error **why) {
            return fw_election_leader(raw_.get(), detail::wait(patience), leader, why);
        });
    }
    std::int64_t token() const noexcept { return fw_election_token(raw_.get()); }
    fw_standing standing() const noexcept { return fw_election_standing(raw_.get()); }
    /** For how long from now nobody else can lead; 0 when nothing is certain, or another one leads. */
    std::chrono::milliseconds lease() const noexcept {
        return std::chrono::milliseconds(fw_election_lease_ms(raw_.get()));
    }
    /** The token, if this one leads and nobody else can at this moment: ask before each act. */
    expected<std::int64_t> check() const noexcept {
        std::int64_t token = 0;
        fw_error *why = nullptr;
        fw_status status = fw_election_check(raw_.get(), &token, &why);
        if (status != FW_OK) return farwatch::error(status, why);
        return token;
    }
    /** Calls `f(fw_standing)` at each change, on the client's thread: it must not wait. */
    template <class F> expected<done> on_change(F f) noexcept {
        return detail::on_change(fw_election_on_change, raw_.get(), std::move(f));
    }
    expected<done> resign(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_election_resign(raw_.get(), detail::wait(patience), why);
        });
    }
    fw_election *get() const noexcept { return raw_.get(); }

private:
    handle<fw_election, fw_election_free> raw_;
};

/** Leads now and then; who has lost is told to whom. Free it before its client. */
class selector {
public:
    /** A round: `leadership` is there for who won; the leader's id is the data, its token the number. */
    struct round {
        std::optional<tenure> leadership;
        answer leader;
    };
    explicit selector(fw_selector *raw) noexcept : raw_(raw) {}
    static expected<selector> make(client &client, std::string_view path, std::string_view id,
                                   const fw_acl *acl = nullptr) noexcept {
        return detail::receive<selector, fw_selector>([&](fw_selector **made, fw_error **why) {
            return fw_selector_new(client.get_raw(), detail::chars(path), path.size(),
                                   detail::bytes(id), id.size(), acl, made, why);
        });
    }
    /** Waits until this one leads, or for as long as that, and tells who does. */
    expected<round> lead(timeout patience = {}) noexcept {
        fw_tenure *leadership = nullptr;
        fw_result *leader = nullptr;
        fw_error *why = nullptr;
        fw_status status =
            fw_selector_lead(raw_.get(), detail::wait(patience), &leadership, &leader, &why);
        if (status != FW_OK) return farwatch::error(status, why);
        round found{std::nullopt, answer(leader)};
        if (leadership) found.leadership.emplace(leadership);
        return found;
    }
    /** The round that the answer to `op::selector_lead` tells of; it hands the leadership over once. */
    static expected<round> of(answer leader) noexcept {
        fw_tenure *leadership = nullptr;
        fw_error *why = nullptr;
        fw_status status = fw_result_tenure(leader.get(), &leadership, &why);
        if (status != FW_OK) return farwatch::error(status, why);
        round found{std::nullopt, std::move(leader)};
        if (leadership) found.leadership.emplace(leadership);
        return found;
    }
    /** Who leads now: its id is the answer's data, its token the number. */
    expected<answer> leader(timeout patience = {}) noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **leader, fw_error **why) {
            return fw_selector_leader(raw_.get(), detail::wait(patience), leader, why);
        });
    }

private:
    handle<fw_selector, fw_selector_free> raw_;
};

/** So many permits at a path. */
class semaphore {
public:
    explicit semaphore(fw_semaphore *raw) noexcept : raw_(raw) {}
    static expected<semaphore> make(client &client, std::string_view path, std::uint32_t permits,
                                    const fw_acl *acl = nullptr) noexcept {
        return detail::receive<semaphore, fw_semaphore>([&](fw_semaphore **made, fw_error **why) {
            return fw_semaphore_new(client.get_raw(), detail::chars(path), path.size(), permits, acl,
                                    made, why);
        });
    }
    expected<tenure> acquire(timeout patience = {}) noexcept {
        return detail::receive<tenure, fw_tenure>([&](fw_tenure **permit, fw_error **why) {
            return fw_semaphore_acquire(raw_.get(), detail::wait(patience), permit, why);
        });
    }

private:
    handle<fw_semaphore, fw_semaphore_free> raw_;
};

/** A node that bars the way for as long as it is there. */
class barrier {
public:
    explicit barrier(fw_barrier *raw) noexcept : raw_(raw) {}
    static expected<barrier> make(client &client, std::string_view path,
                                  const fw_acl *acl = nullptr) noexcept {
        return detail::receive<barrier, fw_barrier>([&](fw_barrier **made, fw_error **why) {
            return fw_barrier_new(client.get_raw(), detail::chars(path), path.size(), acl, made, why);
        });
    }
    /** Bars the way, and returns the token of that. */
    expected<std::int64_t> set(timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_barrier_set(raw_.get(), detail::wait(patience), token, why);
        });
    }
    expected<done> lift(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_barrier_lift(raw_.get(), detail::wait(patience), why);
        });
    }
    /** Waits until the way is free. */
    expected<done> wait(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_barrier_wait(raw_.get(), detail::wait(patience), why);
        });
    }

private:
    handle<fw_barrier, fw_barrier_free> raw_;
};

/** Nobody begins before all are there, and nobody ends before all are done. */
class double_barrier {
public:
    explicit double_barrier(fw_double_barrier *raw) noexcept : raw_(raw) {}
    static expected<double_barrier> make(client &client, std::string_view path,
                                         std::uint32_t members,
                                         const fw_acl *acl = nullptr) noexcept {
        return detail::receive<double_barrier, fw_double_barrier>(
            [&](fw_double_barrier **made, fw_error **why) {
                return fw_double_barrier_new(client.get_raw(), detail::chars(path), path.size(),
                                             members, acl, made, why);
            });
    }
    /** Waits until all are there; the release of what this returns waits until all are done. */
    expected<tenure> enter(timeout patience = {}) noexcept {
        return detail::receive<tenure, fw_tenure>([&](fw_tenure **inside, fw_error **why) {
            return fw_double_barrier_enter(raw_.get(), detail::wait(patience), inside, why);
        });
    }

private:
    handle<fw_double_barrier, fw_double_barrier_free> raw_;
};

/** First in, first out; `queue` is where completions come to. */
class fifo {
public:
    explicit fifo(fw_fifo *raw) noexcept : raw_(raw) {}
    static expected<fifo> make(client &client, std::string_view path,
                               const fw_acl *acl = nullptr) noexcept {
        return detail::receive<fifo, fw_fifo>([&](fw_fifo **made, fw_error **why) {
            return fw_fifo_new(client.get_raw(), detail::chars(path), path.size(), acl, made, why);
        });
    }
    expected<std::int64_t> put(std::string_view data, timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_fifo_put(raw_.get(), detail::bytes(data), data.size(), detail::wait(patience),
                               token, why);
        });
    }
    /** An item, whose token is the number; its data is null if there is none. */
    expected<answer> try_take(timeout patience = {}) noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **item, fw_error **why) {
            return fw_fifo_try_take(raw_.get(), detail::wait(patience), item, why);
        });
    }
    /** Waits for an item. */
    expected<answer> take(timeout patience = {}) noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **item, fw_error **why) {
            return fw_fifo_take(raw_.get(), detail::wait(patience), item, why);
        });
    }

private:
    handle<fw_fifo, fw_fifo_free> raw_;
};

/** A number that all can change. */
class counter {
public:
    explicit counter(fw_counter *raw) noexcept : raw_(raw) {}
    static expected<counter> make(client &client, std::string_view path,
                                  const fw_acl *acl = nullptr) noexcept {
        return detail::receive<counter, fw_counter>([&](fw_counter **made, fw_error **why) {
            return fw_counter_new(client.get_raw(), detail::chars(path), path.size(), acl, made, why);
        });
    }
    expected<std::int64_t> get(timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *value, fw_error **why) {
            return fw_counter_get(raw_.get(), detail::wait(patience), value, nullptr, why);
        });
    }
    /** Adds, and returns what that makes. */
    expected<std::int64_t> add(std::int64_t delta, timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *value, fw_error **why) {
            return fw_counter_add(raw_.get(), delta, detail::wait(patience), value, nullptr, why);
        });
    }
    /** Fails with `FW_BAD_VERSION` if the value is not `expected_value`; returns the token. */
    expected<std::int64_t> compare_and_set(std::int64_t expected_value, std::int64_t desired,
                                           timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_counter_compare_and_set(raw_.get(), expected_value, desired,
                                              detail::wait(patience), token, why);
        });
    }

private:
    handle<fw_counter, fw_counter_free> raw_;
};

/** Who is there. */
class group {
public:
    explicit group(fw_group *raw) noexcept : raw_(raw) {}
    static expected<group> make(client &client, std::string_view path,
                                const fw_acl *acl = nullptr) noexcept {
        return detail::receive<group, fw_group>([&](fw_group **made, fw_error **why) {
            return fw_group_new(client.get_raw(), detail::chars(path), path.size(), acl, made, why);
        });
    }
    expected<tenure> join(std::string_view name, std::string_view data,
                          timeout patience = {}) noexcept {
        return detail::receive<tenure, fw_tenure>([&](fw_tenure **membership, fw_error **why) {
            return fw_group_join(raw_.get(), detail::chars(name), name.size(), detail::bytes(data),
                                 data.size(), detail::wait(patience), membership, why);
        });
    }
    expected<followed> follow() noexcept {
        return detail::receive<followed, fw_followed>([&](fw_followed **members, fw_error **why) {
            return fw_group_follow(raw_.get(), members, why);
        });
    }

private:
    handle<fw_group, fw_group_free> raw_;
};

/** Services by name, and who offers them. */
class service_directory {
public:
    explicit service_directory(fw_service_directory *raw) noexcept : raw_(raw) {}
    static expected<service_directory> make(client &client, std::string_view path,
                                            const fw_acl *acl = nullptr) noexcept {
        return detail::receive<service_directory, fw_service_directory>(
            [&](fw_service_directory **made, fw_error **why) {
                return fw_service_directory_new(client.get_raw(), detail::chars(path), path.size(),
                                                acl, made, why);
            });
    }
    /** Offers `service` for as long as what this returns lives. */
    expected<tenure> offer(std::string_view service, std::string_view instance,
                            std::string_view data, timeout patience = {}) noexcept {
        return detail::receive<tenure, fw_tenure>([&](fw_tenure **membership, fw_error **why) {
            return fw_service_directory_register(
                raw_.get(), detail::chars(service), service.size(), detail::chars(instance),
                instance.size(), detail::bytes(data), data.size(), detail::wait(patience),
                membership, why);
        });
    }
    expected<followed> follow(std::string_view service) noexcept {
        return detail::receive<followed, fw_followed>([&](fw_followed **instances, fw_error **why) {
            return fw_service_directory_follow(raw_.get(), detail::chars(service), service.size(),
                                               instances, why);
        });
    }

private:
    handle<fw_service_directory, fw_service_directory_free> raw_;
};

/** A value that is pushed to all who follow it. */
class config_cell : public followed {
public:
    explicit config_cell(fw_followed *raw) noexcept : followed(raw) {}
    static expected<config_cell> open(client &client, std::string_view path,
                                      const fw_acl *acl = nullptr) noexcept {
        return detail::receive<config_cell, fw_followed>([&](fw_followed **cell, fw_error **why) {
            return fw_config_cell_open(client.get_raw(), detail::chars(path), path.size(), acl, cell,
                                       why);
        });
    }
    /** Sets it where the version is so, and returns the token; else fails with `FW_BAD_VERSION`. */
    expected<std::int64_t> set(std::string_view data, std::int32_t version = FW_ANY_VERSION,
                               timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_config_cell_set(get_raw(), detail::bytes(data), data.size(), version,
                                      detail::wait(patience), token, why);
        });
    }
};

/** Small numbers, each handed out to one at a time. */
class worker_ids {
public:
    explicit worker_ids(fw_worker_ids *raw) noexcept : raw_(raw) {}
    static expected<worker_ids> make(client &client, std::string_view path, std::uint32_t bound,
                                     const fw_acl *acl = nullptr) noexcept {
        return detail::receive<worker_ids, fw_worker_ids>([&](fw_worker_ids **made, fw_error **why) {
            return fw_worker_ids_new(client.get_raw(), detail::chars(path), path.size(), bound, acl,
                                     made, why);
        });
    }
    /** The number is `tenure::worker_id`. */
    expected<tenure> claim(timeout patience = {}) noexcept {
        return detail::receive<tenure, fw_tenure>([&](fw_tenure **worker_id, fw_error **why) {
            return fw_worker_ids_claim(raw_.get(), detail::wait(patience), worker_id, why);
        });
    }

private:
    handle<fw_worker_ids, fw_worker_ids_free> raw_;
};

/** Makes unique ids from memory. Free it before its client. */
class snowflake {
public:
    explicit snowflake(fw_snowflake *raw) noexcept : raw_(raw) {}
    static expected<snowflake> open(client &client, std::string_view path,
                                    std::uint64_t epoch_ms = FW_SNOWFLAKE_EPOCH_MS,
                                    const fw_acl *acl = nullptr, timeout patience = {}) noexcept {
        return detail::receive<snowflake, fw_snowflake>([&](fw_snowflake **made, fw_error **why) {
            return fw_snowflake_open(client.get_raw(), detail::chars(path), path.size(), epoch_ms,
                                     acl, detail::wait(patience), made, why);
        });
    }
    /** By a clock of the program's own: `std::uint64_t f()`, milliseconds since 1970, on any thread. */
    template <class F>
    static expected<snowflake> open_by_clock(client &client, std::string_view path, F f,
                                             std::uint64_t epoch_ms = FW_SNOWFLAKE_EPOCH_MS,
                                             const fw_acl *acl = nullptr,
                                             timeout patience = {}) noexcept {
        F *context = new (std::nothrow) F(std::move(f));
        if (context == nullptr) return farwatch::error(FW_NO_MEMORY, nullptr);
        return detail::receive<snowflake, fw_snowflake>([&](fw_snowflake **made, fw_error **why) {
            return fw_snowflake_open_by_clock(
                client.get_raw(), detail::chars(path), path.size(), epoch_ms, acl,
                [](void *context) noexcept -> std::uint64_t {
                    detail::in_callback here;
                    return (*static_cast<F *>(context))();
                },
                context, detail::destroy<F>, detail::wait(patience), made, why);
        });
    }
    /** Fails with `FW_TAKEN` where there is none at this moment. */
    expected<std::uint64_t> try_next() noexcept {
        return detail::number<std::uint64_t>([&](std::uint64_t *id, fw_error **why) {
            return fw_snowflake_try_next(raw_.get(), id, why);
        });
    }
    expected<std::uint64_t> next(timeout patience = {}) noexcept {
        return detail::number<std::uint64_t>([&](std::uint64_t *id, fw_error **why) {
            return fw_snowflake_next(raw_.get(), detail::wait(patience), id, why);
        });
    }
    std::int64_t worker_id() const noexcept { return fw_snowflake_worker_id(raw_.get()); }
    /** Of the worker id, for what else is marked with it: ids need none. */
    std::int64_t token() const noexcept { return fw_snowflake_token(raw_.get()); }
    fw_standing standing() const noexcept { return fw_snowflake_standing(raw_.get()); }
    std::chrono::milliseconds lease() const noexcept {
        return std::chrono::milliseconds(fw_snowflake_lease_ms(raw_.get()));
    }
    /** The token, if the worker id is nobody else's for certain at this moment. */
    expected<std::int64_t> check() const noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_snowflake_check(raw_.get(), token, why);
        });
    }
    /** Calls `f(fw_standing)` at each change, on the client's thread: it must not wait. */
    template <class F> expected<done> on_change(F f) noexcept {
        return detail::on_change(fw_snowflake_on_change, raw_.get(), std::move(f));
    }
    /** Gives the worker id back so that its next owner need not wait. */
    expected<done> close(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_snowflake_close(raw_.get(), detail::wait(patience), why);
        });
    }

private:
    handle<fw_snowflake, fw_snowflake_free> raw_;
};

/** A task that a worker has taken up. Free it before its client. */
class assignment {
public:
    explicit assignment(fw_assignment *raw) noexcept : raw_(raw) {}
    /** The task that the answer to `op::worker_take` hands over, once. */
    static expected<assignment> of(const answer &answer) noexcept {
        return detail::receive<assignment, fw_assignment>([&](fw_assignment **task, fw_error **why) {
            return fw_result_assignment(answer.get(), task, why);
        });
    }
    std::string_view task() const noexcept {
        std::size_t size = 0;
        const char *task = fw_assignment_task(raw_.get(), &size);
        return detail::lent(task, size);
    }
    std::string_view data() const noexcept {
        std::size_t size = 0;
        const std::uint8_t *data = fw_assignment_data(raw_.get(), &size);
        return detail::lent(reinterpret_cast<const char *>(data), size);
    }
    /** For a fence where the task has its effects. */
    std::int64_t token() const noexcept { return fw_assignment_token(raw_.get()); }
    /** `FW_LOST`: it is another's by now. */
    expected<done> finish(timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_assignment_finish(raw_.get(), detail::wait(patience), why);
        });
    }

private:
    handle<fw_assignment, fw_assignment_free> raw_;
};

/** One that works on tasks, until it is released. */
class worker : public tenure {
public:
    explicit worker(fw_tenure *raw) noexcept : tenure(raw) {}
    /** The worker that the answer to `op::task_board_work` hands over, once. */
    static expected<worker> of(const answer &answer) noexcept {
        return detail::receive<worker, fw_tenure>([&](fw_tenure **works, fw_error **why) {
            return fw_result_tenure(answer.get(), works, why);
        });
    }
    /** Waits for a task that is assigned to this one. */
    expected<assignment> take(timeout patience = {}) noexcept {
        return detail::receive<assignment, fw_assignment>([&](fw_assignment **task, fw_error **why) {
            return fw_worker_take(get(), detail::wait(patience), task, why);
        });
    }
};

inline expected<op> op::worker_take(const worker &worker, timeout patience) noexcept {
    return make([&](fw_op **op, fw_error **why) {
        return fw_op_worker_take(worker.get(), detail::wait(patience), op, why);
    });
}

/** Tasks that a leader hands out to workers. */
class task_board {
public:
    explicit task_board(fw_task_board *raw) noexcept : raw_(raw) {}
    static expected<task_board> make(client &client, std::string_view path,
                                     const fw_acl *acl = nullptr) noexcept {
        return detail::receive<task_board, fw_task_board>([&](fw_task_board **made, fw_error **why) {
            return fw_task_board_new(client.get_raw(), detail::chars(path), path.size(), acl, made,
                                     why);
        });
    }
    expected<std::int64_t> put(std::string_view data, timeout patience = {}) noexcept {
        return detail::number<std::int64_t>([&](std::int64_t *token, fw_error **why) {
            return fw_task_board_put(raw_.get(), detail::bytes(data), data.size(),
                                     detail::wait(patience), token, why);
        });
    }
    /** The names of the tasks that are not done. */
    expected<answer> open_tasks(timeout patience = {}) noexcept {
        return detail::receive<answer, fw_result>([&](fw_result **names, fw_error **why) {
            return fw_task_board_open_tasks(raw_.get(), detail::wait(patience), names, why);
        });
    }
    expected<worker> work(std::string_view name, timeout patience = {}) noexcept {
        return detail::receive<worker, fw_tenure>([&](fw_tenure **works, fw_error **why) {
            return fw_task_board_work(raw_.get(), detail::chars(name), name.size(),
                                      detail::wait(patience), works, why);
        });
    }
    /** Hands out what nobody has, as the leader; returns how many tasks went to somebody. */
    expected<std::size_t> assign(const election &leadership, timeout patience = {}) noexcept {
        return detail::number<std::size_t>([&](std::size_t *handed_out, fw_error **why) {
            return fw_task_board_assign(raw_.get(), leadership.get(), detail::wait(patience),
                                        handed_out, why);
        });
    }
    /** Does so again at each change, until the leadership or the time is over: never succeeds. */
    expected<done> keep_assigning(const election &leadership, timeout patience = {}) noexcept {
        return detail::attempt([&](fw_error **why) {
            return fw_task_board_keep_assigning(raw_.get(), leadership.get(),
                                                detail::wait(patience), why);
        });
    }

private:
    handle<fw_task_board, fw_task_board_free> raw_;
};

} // namespace farwatch

#endif /* FARWATCH_HPP */
