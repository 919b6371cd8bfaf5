// What is asked more rarely, through farwatch.hpp: rarer.cpp CONNECT UPSTREAM, of one ensemble.
#include "check.hpp"

#include <atomic>
#include <string>

namespace {

using namespace std::chrono_literals;
using farwatch::op;

void about_the_library() {
    CHECK(farwatch::fits() && !farwatch::version().empty());
    CHECK(farwatch::feature("client") && farwatch::feature("observer"));
    CHECK(!farwatch::feature("") && !farwatch::feature("clientele") && !farwatch::feature({}));
    // What C code has received becomes an error as any other.
    fw_error *raw = nullptr;
    fw_op *none = nullptr;
    CHECK(fw_op_get(nullptr, 1, 0, &none, &raw) == FW_NULL);
    const farwatch::error why(raw);
    CHECK(why.status() == FW_NULL && why.get() == raw && !why.text().empty());
    CHECK(!farwatch::error(FW_NO_MEMORY, nullptr).text().empty());
}

void rarer_operations(farwatch::client &client) {
    GOT(client.call(op::add_auth("digest", "me:secret")));
    auto who = GOT(client.call(op::whoami()));
    bool is_me = false;
    for (std::size_t i = 0; i < who.size(); i++)
        is_me = is_me || (who.scheme(i) == "digest" && who.id(i).substr(0, 2) == "me");
    CHECK(is_me && who.scheme(who.size()).empty() && who.id(who.size()).empty());

    GOT(client.create("/rarer", ""));
    GOT(client.create("/rarer/one", "", FW_EPHEMERAL));
    GOT(client.create("/rarer/two", ""));
    GOT(client.create("/rarer/two/three", ""));
    GOT(client.call(op::sync()));
    CHECK(GOT(client.call(op::count_descendants("/rarer"))).number() == 3);
    CHECK(refused(client.call(op::count_descendants("/absent"))) == FW_NO_NODE);
    auto mine = GOT(client.call(op::ephemerals("/rarer")));
    CHECK(mine.size() == 1 && mine.name(0) == "/rarer/one");
    CHECK(GOT(client.call(op::ephemerals("/elsewhere"))).size() == 0);

    CHECK(refused(client.call(op::check_watches("/rarer"))) == FW_NO_WATCHER);
    GOT(client.call(op::add_watch("/rarer", FW_WATCH_RECURSIVE)));
    GOT(client.call(op::check_watches("/rarer", FW_WATCHES_RECURSIVE)));
    CHECK(refused(client.call(op::check_watches("/rarer", FW_WATCHES_DATA))) == FW_NO_WATCHER);
    GOT(client.call(op::remove_watches("/rarer", FW_WATCHES_RECURSIVE)));
    CHECK(refused(client.call(op::remove_watches("/rarer"))) == FW_NO_WATCHER);

    auto ensemble = GOT(client.call(op::get_config()));
    CHECK(ensemble.data().find("server.1=") != std::string_view::npos);
    CHECK(refused(op::get_config(FW_SYNC)) == FW_BAD_ARGUMENT);
    // It was not allowed to this server; what is asked for arrives as what it is.
    CHECK(refused(client.call(op::reconfig("server.2=h:1:1;1", ""))) == FW_RECONFIG_REFUSED);
    CHECK(refused(client.call(op::reconfig("", "1"))) == FW_RECONFIG_REFUSED);
    CHECK(refused(client.call(op::reconfig_to("server.1=h:1:1;1", 7))) == FW_RECONFIG_REFUSED);
    // An operation that could not be made is refused where it is asked for.
    auto bad = client.call(op::create("/rarer/ttl", "", FW_PERSISTENT_TTL, 0));
    CHECK(refused(bad) == FW_BAD_ARGUMENT && !bad.error().text().empty());
}

void given_up() {
    auto client = GOT(farwatch::client::open("127.0.0.1:1")); // nobody is there
    auto read = GOT(op::get_data("/"));
    auto request = GOT(client.submit(read, [](farwatch::expected<farwatch::answer>) { CHECK(!"called"); }));
    CHECK(GOT(client.abandon(request)) == false);
    CHECK(refused(client.abandon(request)) == FW_BAD_ARGUMENT);
}

// Counts its copies that live.
class counted {
public:
    explicit counted(std::atomic<int> &living) : living_(&living) { ++*living_; }
    counted(const counted &other) : living_(other.living_) { ++*living_; }
    counted &operator=(const counted &) = delete;
    ~counted() { --*living_; }

private:
    std::atomic<int> *living_;
};

void own_clock(farwatch::client &client) {
    std::atomic<int> living{0};
    std::atomic<std::uint64_t> now{5000};
    {
        auto clock = [&now, here = counted(living)] { return now.load(); };
        auto flake = GOT(farwatch::snowflake::open_by_clock(client, "/flakes", clock, 1000));
        CHECK(living == 2 && GOT(flake.next()) >> 22 == 4000);
        now = 6000;
        CHECK(GOT(flake.next()) >> 22 == 5000);
        now = 3000;
        CHECK(refused(flake.try_next()) == FW_RECIPE_REFUSED);
        auto none = farwatch::snowflake::open_by_clock(client, "no path", clock);
        CHECK(refused(none) == FW_BAD_PATH);
    }
    while (living != 0) GOT(client.sync()); // what asked by that clock is answered first
}

void sessions(const char *connect) {
    auto client = GOT(farwatch::client::open(connect));
    GOT(client.wait_connected());
    auto session = GOT(client.detach());
    CHECK(session.password().size() == 16 && session.id() != 0);
    auto ended = GOT(farwatch::client::open(std::move(farwatch::config(connect).resume(session))));
    CHECK(refused(ended.get("/")) == FW_OK && ended.session_id() == session.id());
    GOT(ended.close());
}

// Names are told in place, by an observer and by a view, as long as the callable wants more.
template <class Replica> void children_of(const Replica &replica) {
    std::string told;
    const auto all = [&](std::string_view name) { return told.append(name).append(";"), true; };
    CHECK(replica.each_child("/rarer", all) && told == "one;two;");
    CHECK(GOT(replica.try_each_child("/rarer", [&](std::string_view name) {
        told = name;
        return false;
    })) && told == "one");
    CHECK(replica.each_child("/seen", all) && told == "one");
    CHECK(!replica.each_child("/absent", all) && !GOT(replica.try_each_child("/absent", all)));
}

void children(const farwatch::observer &observer, const farwatch::view &view) {
    children_of(observer);
    children_of(view);
    const auto none = [](std::string_view) { return true; };
    bool is_refused = false;
    CHECK(observer.each_child("/", [&](std::string_view) {
        is_refused = refused(observer.try_each_child("/", none)) == FW_IN_CALLBACK
            && !observer.each_child("/", none) && view.each_child("/", none);
        return false;
    }));
    CHECK(is_refused);
}

// That a node is not there is an answer; that it cannot be read is told.
void reads(const farwatch::observer &observer, const farwatch::view &view) {
    char buffer[4] = "xyz";
    CHECK(GOT(observer.get("/seen", buffer, sizeof buffer)) == 0u && buffer[0] == 'x');
    CHECK(!GOT(observer.get("/absent", buffer, sizeof buffer)));
    const std::string config = *GOT(observer.try_get("/zookeeper/config"));
    CHECK(config.find("server.1=") != std::string::npos && observer.get("/zookeeper/config") == config);
    CHECK(GOT(observer.get("/zookeeper/config", buffer, 4)) == config.size() && buffer[0] == 'x');
    std::string copy(config.size(), ' ');
    CHECK(GOT(observer.get("/zookeeper/config", copy.data(), copy.size())) == config.size());
    CHECK(copy == config && *GOT(view.try_get("/zookeeper/config")) == config);
    CHECK(GOT(observer.try_exists("/seen")) && !GOT(observer.try_exists("/absent")));
    CHECK(GOT(observer.try_stat("/seen"))->cversion == 2 && GOT(view.try_stat("/seen"))->cversion == 2);
    CHECK(!GOT(observer.try_get("/absent")) && !GOT(observer.try_stat("/absent")));
    CHECK(!GOT(view.try_get("/absent")) && !GOT(view.try_stat("/absent")));
    bool is_refused = false;
    CHECK(GOT(observer.try_read("/seen", [&](farwatch::node) {
        // A read within a read is refused, and is not the absence of a node.
        auto within = observer.try_get("/seen");
        is_refused = refused(within) == FW_IN_CALLBACK && !within.error().text().empty()
            && refused(observer.get("/seen", buffer, 4)) == FW_IN_CALLBACK
            && refused(observer.try_exists("/seen")) == FW_IN_CALLBACK
            && refused(observer.try_stat("/seen")) == FW_IN_CALLBACK
            && refused(observer.try_read("/seen", [](farwatch::node) {})) == FW_IN_CALLBACK
            && !observer.get("/seen") && !observer.exists("/seen");
    })));
    CHECK(is_refused && !GOT(observer.try_read("/absent", [](farwatch::node) {})));
    children(observer, view);
    const std::string much((1 << 20) + 1, '/');
    CHECK(refused(view.try_each_child(much, [](std::string_view) { return true; })) == FW_TOO_LARGE);
    CHECK(refused(view.try_get(much)) == FW_TOO_LARGE && refused(view.try_stat(much)) == FW_TOO_LARGE);
}

void observers(const char *upstream) {
    auto observer = GOT(farwatch::observer::open(upstream));
    GOT(observer.wait_ready(60s));
    farwatch::config settings;
    settings.set("sessionTimeout", 7s).set("requestTimeout", 60s);
    auto client = GOT(observer.client(std::move(settings)));
    GOT(client.wait_connected());
    CHECK(client.session_timeout() == 7s);
    GOT(client.create("/seen", ""));
    auto feed = GOT(observer.subscribe("/seen"));
    farwatch::config below;
    auto inner = GOT(observer.client(std::move(below.set("sessionTimeout", 8s)), "/seen"));
    GOT(inner.create("/inner", "one"));
    GOT(inner.set("/inner", "two"));
    GOT(inner.remove("/inner"));
    auto next = [&] { return GOT(feed.next(60s)); };
    auto created = next(), set = next(), deleted = next();
    CHECK(created.path() == "/seen/inner" && created.stat().version == 0);
    CHECK(created.stat().data_length == 3 && created.stat().czxid == created.zxid());
    CHECK(set.kind() == FW_CHANGE_SET && set.stat().version == 1 && set.stat().mzxid == set.zxid());
    CHECK(deleted.kind() == FW_CHANGE_DELETED && deleted.stat().czxid == 0);
    CHECK(deleted.stat().size == sizeof(fw_stat));
    auto view = GOT(observer.view());
    CHECK(observer.stat("/seen")->cversion == 2 && view.stat("/seen")->pzxid == deleted.zxid());
    CHECK(!observer.stat("/absent") && !view.stat("/absent"));
    reads(observer, view);

    // Who is silenced tells a queue nothing of what comes behind that.
    auto queue = GOT(farwatch::queue::make());
    GOT(observer.tell(queue, &observer));
    GOT(observer.silence());
    CHECK(GOT(queue.next(0s)).tag() == &observer);
    GOT(feed.tell(queue, &feed));
    GOT(feed.silence());
    GOT(inner.create("/more", ""));
    CHECK(refused(queue.next(0s)) == FW_TIMEOUT && next().path() == "/seen/more");

    CHECK(refused(observer.client(farwatch::config("127.0.0.1:1"))) == FW_BAD_ARGUMENT);
    farwatch::config unknown;
    unknown.set("noSuchKey", 1);
    CHECK(refused(observer.client(std::move(unknown))) == FW_BAD_ARGUMENT);
}

// Watches with a place of their own, and rights that recipes are not told.
void watches(const char *connect) {
    auto rights = GOT(farwatch::acl::make(FW_PERM_ALL & ~FW_PERM_ADMIN, "world", "anyone"));
    farwatch::config settings(connect);
    settings.rights(rights);
    auto client = GOT(farwatch::client::open(std::move(settings)));
    GOT(client.create("/watched", ""));
    int told = 0, tag = 0;
    {
        auto watch = GOT(client.watch("/watched", FW_WATCH_PERSISTENT, [&](farwatch::event event) {
            CHECK(event.path() == "/watched" && event.kind() == FW_EVENT_DATA_CHANGED);
            told++;
        }));
        GOT(client.set("/watched", "1"));
    }
    GOT(client.set("/watched", "2"));
    CHECK(told == 1);
    auto queue = GOT(farwatch::queue::make());
    auto tree = GOT(client.watch("/", FW_WATCH_RECURSIVE, queue, &tag));
    GOT(client.create("/watched/below", ""));
    auto entry = GOT(queue.next(60s));
    CHECK(entry.tag() == &tag && entry.is_event() && entry.event().path() == "/watched/below");
    CHECK(refused(client.watch("no", FW_WATCH_RECURSIVE, queue, &tag)) == FW_BAD_PATH);

    auto lock = GOT(farwatch::lock::acquire(client, "/watched/lock"));
    CHECK(GOT(client.call(op::get_acl("/watched/lock"))).perms(0) == (FW_PERM_ALL & ~FW_PERM_ADMIN));
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 3);
    auto client = GOT(farwatch::client::open(arguments[1]));
    about_the_library();
    rarer_operations(client);
    given_up();
    own_clock(client);
    sessions(arguments[1]);
    watches(arguments[1]);
    observers(arguments[2]);
    return 0;
}
