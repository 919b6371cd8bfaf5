// Futures: results, errors, what is chained to them, and what becomes of them when nobody waits or answers.
#include "check.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using farwatch::answer;
using farwatch::done;
using farwatch::expected;
using farwatch::future;
using farwatch::op;

constexpr const char *nobody = "127.0.0.1:1";

// What callables capture, so that it shows whether each of them was freed.
std::atomic<int> living{0};
class token {
public:
    token() { ++living; }
    token(token &&other) noexcept : is_own_(std::exchange(other.is_own_, false)) {}
    token(const token &) = delete;
    ~token() { living -= is_own_; }

private:
    bool is_own_ = true;
};

void results(farwatch::client &client) {
    CHECK(GOT(client.submit(op::create("/f", "zero")).get()).path() == "/f");
    CHECK(GOT(client.submit(op::get_data("/f")).get()).data() == "zero");
    CHECK(GOT(client.submit(op::set("/f", "one", 0)).get()).version() == 1);
    CHECK(GOT(client.submit(op::exists("/f")).get()).exists());
    CHECK(!GOT(client.submit(op::exists("/absent")).get()).exists());
    GOT(client.submit(op::sync()).get());
    CHECK(GOT(client.submit(op::whoami()).get()).size() > 0);
    auto both = client.submit(op::multi(op::create("/f/child", ""), op::check("/f", 1)));
    CHECK(GOT(both.get()).size() == 2);
    CHECK(GOT(client.submit(op::children("/f")).get()).name(0) == "child");
    // All at once, in order; each result stays with its own future, whichever is asked first.
    std::vector<future<answer>> under_way;
    for (int i = 0; i < 500; i++) under_way.push_back(client.submit(op::set("/f", std::to_string(i))));
    auto last = client.submit(op::get_data("/f"));
    CHECK(GOT(last.get(60s)).data() == "499");
    for (int i = 500; 0 < i--;) {
        CHECK(under_way[std::size_t(i)].ready()); // they were asked before
        CHECK(GOT(under_way[std::size_t(i)].get()).version() == i + 2);
    }
    GOT(client.submit(op::remove("/f/child")).get());
    GOT(client.submit(op::remove("/f")).get());
}

void errors(farwatch::client &client) {
    auto absent = client.submit(op::get_data("/absent")).get();
    CHECK(refused(absent) == FW_NO_NODE && absent.error().code() == -101);
    CHECK(!absent.error().maybe_applied());
    auto neither = client.submit(op::multi(op::create("/never", ""), op::check("/absent", 0))).get();
    CHECK(refused(neither) == FW_NO_NODE && neither.error().index() == 1);
    // What fails at once is a future, too.
    auto bad_path = client.submit(op::get_data("no slash"));
    CHECK(bad_path.ready() && refused(bad_path.get()) == FW_BAD_PATH);
    auto no_operation = client.submit(op::get_data("/", 1u << 20));
    CHECK(no_operation.ready() && refused(no_operation.get()) == FW_BAD_ARGUMENT);
    CHECK(refused(op::multi(op::sync())) == FW_BAD_ARGUMENT); // it has no place in a transaction
    CHECK(refused(op::multi(op::check("/", 0), op::get_data("/", 1u << 20))) == FW_BAD_ARGUMENT);
    // Of nothing: never made, moved from, or taken already.
    future<answer> none;
    CHECK(none.ready() && none.wait() && refused(none.get()) == FW_NULL);
    auto first = client.submit(op::get_data("/"));
    auto second = std::move(first);
    CHECK(refused(first.get()) == FW_NULL && GOT(second.get()).is_null() == false);
    CHECK(refused(second.get()) == FW_NULL);
    bool was_called = false;
    auto behind = none.then([&](expected<answer> result) { was_called = refused(result) == FW_NULL; });
    CHECK(was_called && behind.get());
}

// Keeps the client's thread in a callback: results come after it.
class hold {
public:
    explicit hold(farwatch::client &client) : go_on_(std::make_shared<std::atomic<bool>>(false)) {
        GOT(client.submit(GOT(op::sync()), [go_on = go_on_](expected<answer>) {
            while (!*go_on) std::this_thread::yield();
        }));
    }
    hold(const hold &) = delete;
    ~hold() { *go_on_ = true; }

private:
    std::shared_ptr<std::atomic<bool>> go_on_;
};

void chains(farwatch::client &client) {
    // A value, nothing, an expected, a future.
    auto size = client.submit(op::create("/c", "four")).then([&](expected<answer> made) {
        return client.submit(op::get_data(GOT(std::move(made)).path()));
    }).then([](expected<answer> node) { return node ? node->data().size() : 0; });
    CHECK(GOT(size.get()) == 4);
    std::atomic<bool> was_called{false};
    GOT(client.submit(op::sync()).then([&](const expected<answer> &) { was_called = true; }).get());
    CHECK(was_called);
    auto refusal = client.submit(op::get_data("/absent")).then([](expected<answer> node) -> expected<int> {
        if (!node) return std::move(node).error();
        return 1;
    });
    auto other = refusal.then([](expected<int> number) { return refused(number); });
    CHECK(GOT(other.get()) == FW_NO_NODE);
    // A future that is there already, and one of nothing.
    auto there = client.submit(op::set("/c", "five", 7)).then([&](expected<answer> set) -> future<answer> {
        return set ? client.submit(op::get_data("/c")) : std::move(set).error();
    });
    CHECK(refused(there.get()) == FW_BAD_VERSION);
    auto nothing = client.submit(op::sync()).then([](expected<answer>) { return future<int>(); });
    CHECK(refused(nothing.get()) == FW_NULL);

    // On the client's thread, unless the result is there before: then here.
    std::thread::id told, here = std::this_thread::get_id();
    auto tell = [&](expected<answer>) { told = std::this_thread::get_id(); };
    auto ready = client.submit(op::sync());
    CHECK(ready.wait() && ready.then(tell).ready() && told == here);
    auto held = std::make_unique<hold>(client);
    auto behind = client.submit(op::sync()).then(tell);
    held.reset();
    GOT(behind.get());
    CHECK(told != here);

    // What would wait for itself is refused, and can be waited for later.
    held = std::make_unique<hold>(client);
    auto waited = client.submit(op::sync()).then([&](expected<answer>) {
        auto inner = client.submit(op::get_data("/c"));
        CHECK(!inner.ready() && !inner.wait() && !inner.wait(1s));
        auto result = inner.get();
        CHECK(refused(result) == FW_IN_CALLBACK && result.error().maybe_applied());
        return inner;
    });
    held.reset();
    CHECK(GOT(waited.get()).data() == "four");
    auto later = client.submit(op::sync());
    GOT(client.submit(GOT(op::sync()), [later = std::move(later)](expected<answer>) mutable {
        CHECK(later.get()); // it is there, and so it is not waited for
    }));
    GOT(client.remove("/c"));
}

// Neither do those wait that are told of events, of standings and of states, nor what is called here and now.
void callbacks(const char *connect) {
    auto idle = GOT(farwatch::client::open(nobody));
    std::atomic<int> told{0};
    auto ask = [&idle, &told] {
        auto never = idle.submit(op::get_data("/"));
        CHECK(!never.wait() && refused(never.get()) == FW_IN_CALLBACK);
        told++;
    };
    GOT(future<int>(0).then([&](expected<int>) { ask(); }).get());
    CHECK(told.exchange(0) == 1);
    {
        farwatch::config config(connect);
        config.on_event([&](farwatch::event) { ask(); });
        auto client = GOT(farwatch::client::open(std::move(config)));
        GOT(client.sync()); // an event comes before any result
        CHECK(0 < told);
    }
    auto client = GOT(farwatch::client::open(connect));
    {
        auto cell = GOT(farwatch::config_cell::open(client, "/callbacks/cell"));
        GOT(cell.on_change([&](const answer &) { ask(); }));
        GOT(cell.set("new"));
        while (told < 2) std::this_thread::yield(); // it is told, before or behind what set it
    }
    const int before = told;
    auto lock = GOT(farwatch::lock::acquire(client, "/callbacks/lock"));
    GOT(lock.on_change([&](fw_standing) { ask(); }));
    GOT(client.close());
    CHECK(before < told && lock.standing() == FW_STANDING_LOST);
    auto never = idle.submit(op::get_data("/"));
    CHECK(refused(never.get(1ms)) == FW_TIMEOUT); // here it is waited for
}

void times() {
    auto client = GOT(farwatch::client::open(nobody));
    auto never = client.submit(op::get_data("/"));
    CHECK(!never.ready() && !never.wait(0ms) && !never.wait(-1ms) && !never.wait(10ms));
    auto late = never.get(10ms);
    CHECK(refused(late) == FW_TIMEOUT && late.error().maybe_applied());
    // Given up, it is told so.
    CHECK(GOT(client.abandon(never.request())) == false);
    auto abandoned = never.get(std::chrono::milliseconds::max());
    CHECK(refused(abandoned) == FW_CLOSED && abandoned.error().maybe_applied());
    CHECK(!abandoned.error().text().empty());
}

void nobody_waits(farwatch::client &client) {
    { auto dropped = client.submit(op::create("/dropped", "")); }
    client.submit(op::create("/dropped/then", "")).then([own = token()](expected<answer> made) {
        CHECK(made);
    });
    GOT(client.sync());
    CHECK(GOT(client.exists("/dropped/then")).exists());
    GOT(client.remove("/dropped/then"));
    GOT(client.remove("/dropped"));
    while (living != 0) GOT(client.sync()); // it is freed behind its call
}

// Closed, a client answers what was asked; those that chained are called.
void closed() {
    auto client = GOT(farwatch::client::open(nobody));
    std::atomic<int> calls{0};
    auto plain = client.submit(op::get_data("/"));
    auto chained = client.submit(op::get_data("/")).then([&, own = token()](expected<answer> result) {
        calls++;
        return refused(result);
    });
    CHECK(refused(client.close()) == FW_CONNECTION_LOSS); // there was no session to end
    CHECK(refused(plain.get()) == FW_CLOSED && GOT(chained.get()) == FW_CLOSED && calls == 1);
    auto after = client.submit(op::get_data("/"));
    CHECK(after.ready() && refused(after.get()) == FW_CLOSED);
    while (living != 0) std::this_thread::yield(); // on the client's thread, behind the call
}

// Freed, it calls nobody any more. What waited is told, and what it captured is freed.
void freed() {
    future<answer> plain;
    future<done> chained;
    future<int> nested;
    {
        auto client = GOT(farwatch::client::open(nobody));
        plain = client.submit(op::get_data("/"));
        chained = client.submit(op::get_data("/")).then([own = token()](expected<answer>) {
            CHECK(!"called");
        }).then([own = token()](expected<done>) { CHECK(!"called"); });
        auto inner = client.submit(op::get_data("/")).then([own = token()](expected<answer>) {
            CHECK(!"called");
            return 1;
        });
        nested = future<int>(0).then([&](expected<int>) { return std::move(inner); });
        client.submit(op::get_data("/")).then([own = token()](expected<answer>) { CHECK(!"called"); });
        CHECK(!plain.ready() && !chained.ready() && !nested.ready() && living == 4);
    }
    std::thread elsewhere([&] { CHECK(refused(nested.get()) == FW_CLOSED); });
    auto result = plain.get();
    CHECK(refused(result) == FW_CLOSED && result.error().maybe_applied());
    CHECK(refused(chained.get()) == FW_CLOSED);
    elsewhere.join();
    while (living != 0) std::this_thread::yield(); // by the client's thread
    // Chained behind that, a callable is called, here.
    auto client = std::make_unique<farwatch::client>(GOT(farwatch::client::open(nobody)));
    auto lost = client->submit(op::get_data("/"));
    client.reset();
    lost.wait();
    CHECK(GOT(lost.then([](expected<answer> none) { return refused(none); }).get()) == FW_CLOSED);
}

// A client may end in what is called with its result.
void freed_inside(const char *connect) {
    auto *client = new farwatch::client(GOT(farwatch::client::open(connect)));
    auto ended = client->submit(op::sync()).then([client, own = token()](expected<answer> result) {
        delete client;
        return GOT(std::move(result)).size();
    });
    CHECK(GOT(ended.get()) == 0);
    while (living != 0) std::this_thread::yield(); // by the client's thread, behind the call
}

void threads(farwatch::client &client) {
    GOT(client.create("/threads", ""));
    constexpr auto patience = std::chrono::milliseconds::max(); // beyond what a clock can count to
    std::vector<std::thread> running;
    for (int thread = 0; thread < 4; thread++)
        running.emplace_back([&, thread] {
            const std::string path = "/threads/" + std::to_string(thread);
            GOT(client.submit(op::create(path, "")).get());
            for (int round = 0; round < 100; round++) {
                auto set = client.submit(op::set(path, std::to_string(round)));
                auto read = client.submit(op::get_data(path));
                if (round % 2 == 0) CHECK(GOT(set.get(patience)).version() == round + 1);
                auto data = read.then([own = token()](expected<answer> node) {
                    return std::string(GOT(std::move(node)).data());
                });
                CHECK(GOT(data.get()) == std::to_string(round));
            }
        });
    for (auto &thread : running) thread.join();
    while (living != 0) GOT(client.sync());
}

// What recipes wait for.
void recipes(farwatch::client &client) {
    auto first = client.submit(op::lock_acquire("/recipes/lock", 60s)).get();
    auto held = GOT(farwatch::lock::of(GOT(std::move(first))));
    auto token = GOT(held.check());
    auto next = client.submit(op::lock_acquire("/recipes/lock", 60s)).then([own = ::token()](expected<answer> result) {
        auto lock = farwatch::lock::of(GOT(std::move(result)));
        CHECK(lock && GOT(lock->check()) == lock->token());
        return lock;
    });
    CHECK(refused(client.submit(op::lock_write("/recipes/lock", 10ms)).get()) == FW_TIMEOUT);
    auto abandoned = client.submit(op::lock_read("/recipes/lock"));
    CHECK(!next.wait(10ms) && !GOT(client.abandon(abandoned.request())));
    CHECK(refused(abandoned.get()) == FW_CLOSED);
    GOT(held.release());
    auto second = GOT(next.get());
    CHECK(token < second.token());
    GOT(second.release());

    auto leads = GOT(client.submit(op::election_lead("/recipes/election", "me", 60s)).get());
    CHECK(refused(farwatch::lock::of(leads)) == FW_BAD_ARGUMENT);
    GOT(GOT(farwatch::election::of(leads)).check());
    CHECK(refused(farwatch::election::of(leads)) == FW_BAD_ARGUMENT); // handed over already
    for (auto &&wanted :
         {op::semaphore_acquire("/recipes/semaphore", 2, 60s), op::double_barrier_enter("/recipes/both", 1),
          op::worker_ids_claim("/recipes/ids", 2)}) {
        CHECK(wanted);
        auto reached = GOT(client.submit(*wanted).get());
        CHECK(GOT(GOT(farwatch::tenure::of(reached)).check()) == reached.number());
    }
    for (auto &&wanted : {op::group_join("/recipes/group", "me", "data", 60s),
                          op::service_directory_offer("/recipes/services", "web", "me", "10.0.0.7:80")}) {
        CHECK(wanted);
        auto joined = GOT(client.submit(*wanted).get());
        CHECK(GOT(GOT(farwatch::tenure::of(joined)).check()) == joined.number());
    }
    {
        auto won = GOT(farwatch::selector::of(GOT(client.submit(op::selector_lead("/recipes/round", "me")).get())));
        CHECK(won.leadership && GOT(won.leadership->check()) == won.leader.number() && won.leader.data() == "me");
        auto lost = client.submit(op::selector_lead("/recipes/round", "another", 10ms)).then([](expected<answer> who) {
            return farwatch::selector::of(GOT(std::move(who)));
        });
        auto round = GOT(lost.get());
        CHECK(!round.leadership && round.leader.data() == "me" && round.leader.number() == won.leader.number());
        CHECK(refused(farwatch::selector::of(std::move(round.leader))) == FW_BAD_ARGUMENT);
    }
    auto board = GOT(farwatch::task_board::make(client, "/recipes/board"));
    auto hands_out = GOT(farwatch::election::join(client, "/recipes/foreman", "me"));
    GOT(hands_out.lead());
    auto worker = GOT(farwatch::worker::of(GOT(client.submit(op::task_board_work("/recipes/board", "me")).get())));
    auto task = client.submit(op::worker_take(worker, 60s));
    GOT(board.put("task"));
    CHECK(GOT(board.assign(hands_out)) == 1);
    auto assignment = GOT(farwatch::assignment::of(GOT(task.get())));
    CHECK(assignment.data() == "task");
    GOT(assignment.finish());
    GOT(client.submit(op::barrier_wait("/recipes/free")).get());
    auto item = client.submit(op::fifo_take("/recipes/fifo", 60s));
    auto fifo = GOT(farwatch::fifo::make(client, "/recipes/fifo"));
    GOT(fifo.put("item"));
    CHECK(GOT(item.get()).data() == "item");
    while (living != 0) GOT(client.sync()); // by the thread that waited, behind the call
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    auto client = GOT(farwatch::client::open(arguments[1]));
    results(client);
    errors(client);
    chains(client);
    callbacks(arguments[1]);
    times();
    nobody_waits(client);
    closed();
    freed();
    freed_inside(arguments[1]);
    threads(client);
    recipes(client);
    CHECK(living == 0);
    return 0;
}
