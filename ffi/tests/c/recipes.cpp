// Every recipe through farwatch.hpp, once. What they promise is tested in C.
#include "check.hpp"

#include <condition_variable>
#include <mutex>

namespace {

// What a callback has told, to be waited for.
class told {
public:
    void tell(std::string text) {
        std::lock_guard<std::mutex> lock(mutex_);
        text_ = std::move(text);
        changed_.notify_all();
    }
    void await(const std::string &text) {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return text_ == text; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::string text_;
};

// Waits for so many members, and gives the first.
std::string first_of(farwatch::followed &members, std::size_t count) {
    for (std::uint64_t seen = 0;;) {
        seen = GOT(members.wait_beyond(seen));
        auto state = GOT(members.get());
        if (state.size() == count) return count == 0 ? "" : std::string(state.part(0).name(0));
    }
}

void what_is_held(farwatch::client &client) {
    auto semaphore = GOT(farwatch::semaphore::make(client, "/cpp/semaphore", 1));
    auto permit = GOT(semaphore.acquire());
    CHECK(GOT(permit.check()) == permit.token() && permit.worker_id() == -1);
    CHECK(permit.standing() == FW_STANDING_HELD && permit.lease().count() > 0);
    auto none = semaphore.acquire(std::chrono::milliseconds(100));
    CHECK(!none && none.error().status() == FW_TIMEOUT);
    GOT(permit.release());
    CHECK(permit.release().error().status() == FW_LOST);
    { auto freed = GOT(semaphore.acquire()); } // given up at its end
    permit = GOT(semaphore.acquire());
    auto meeting = GOT(farwatch::double_barrier::make(client, "/cpp/meeting", 1));
    GOT(GOT(meeting.enter()).release());
    auto ids = GOT(farwatch::worker_ids::make(client, "/cpp/ids", 1));
    CHECK(GOT(ids.claim()).worker_id() == 0);
    auto flake = GOT(farwatch::snowflake::open(client, "/cpp/flakes"));
    CHECK(GOT(flake.next()) < GOT(flake.next()) && flake.worker_id() >= 0);
    CHECK(GOT(flake.check()) == flake.token() && flake.token() > permit.token());
    CHECK(flake.standing() == FW_STANDING_HELD && flake.lease().count() > 0);
    auto queue = GOT(farwatch::queue::make());
    GOT(queue.post(&queue));
    auto posted = GOT(queue.next(std::chrono::milliseconds(0)));
    CHECK(posted.tag() == &queue && !posted.is_event() && posted.status() == FW_OK);
    GOT(flake.on_change([](fw_standing) { CHECK(!"closed is not lost"); }));
    auto id = flake.try_next();
    CHECK(id || id.error().status() == FW_TAKEN);
    GOT(flake.close());
    CHECK(flake.check().error().status() == FW_LOST && flake.token() == 0);
    auto selector = GOT(farwatch::selector::make(client, "/cpp/selector", "me"));
    CHECK(GOT(selector.leader()).is_null());
    auto round = GOT(selector.lead());
    CHECK(round.leader.data() == "me" && round.leader.number() == round.leadership->token());
    auto other = GOT(farwatch::selector::make(client, "/cpp/selector", "not me"));
    auto lost = GOT(other.lead(std::chrono::milliseconds(100)));
    CHECK(!lost.leadership && lost.leader.data() == "me");
    GOT(round.leadership->release());
}

// Moved from, an answer shows nothing of what its new owner frees; a number is a number and no yes.
void what_is_moved_and_set(const char *connect) {
    farwatch::config config(connect);
    config.set("sessionTimeout", 1500).set("readOnly", true);
    auto client = GOT(farwatch::client::open(std::move(config)));
    GOT(client.wait_connected());
    CHECK(client.session_timeout() == std::chrono::milliseconds(1500));
    auto first = GOT(client.get("/"));
    auto second = std::move(first);
    CHECK(first.get() == nullptr && second.get() != nullptr && first.data().empty());
    auto &itself = second; // or a compiler sees it and refuses
    second = std::move(itself);
    first = std::move(second);
    CHECK(first.stat().size == sizeof(fw_stat) && second.get() == nullptr);
    farwatch::config negative(connect);
    negative.set("sessionTimeout", -1);
    CHECK(!farwatch::client::open(std::move(negative)));
}

// What is lost is told to who asked for it.
void what_is_lost_is_told(farwatch::client &client, farwatch::client &other) {
    told locked, led;
    auto lock = GOT(farwatch::lock::acquire(client, "/cpp/lock"));
    GOT(lock.on_change([&](fw_standing now) { locked.tell(now == FW_STANDING_LOST ? "lost" : ""); }));
    auto election = GOT(farwatch::election::join(client, "/cpp/election", "me"));
    GOT(election.lead());
    GOT(election.on_change([&](fw_standing now) { led.tell(now == FW_STANDING_LOST ? "lost" : ""); }));
    for (const char *place : {"/cpp/lock", "/cpp/election"}) {
        auto members = GOT(other.children(place));
        std::string path = std::string(place) + "/" + std::string(members.name(0));
        GOT(other.remove(path));
    }
    locked.await("lost");
    led.await("lost");
}

void what_is_shared(farwatch::client &client) {
    auto barrier = GOT(farwatch::barrier::make(client, "/cpp/barrier"));
    CHECK(GOT(barrier.set()) > 0);
    CHECK(barrier.wait(std::chrono::milliseconds(100)).error().status() == FW_TIMEOUT);
    GOT(barrier.lift());
    GOT(barrier.wait());
    auto items = GOT(farwatch::fifo::make(client, "/cpp/items"));
    CHECK(GOT(items.try_take()).is_null());
    auto token = GOT(items.put("item"));
    auto item = GOT(items.take());
    CHECK(item.data() == "item" && item.number() == token);
    auto counter = GOT(farwatch::counter::make(client, "/cpp/counter"));
    CHECK(GOT(counter.add(3)) == 3 && GOT(counter.get()) == 3);
    CHECK(GOT(counter.compare_and_set(3, 4)) > 0);
    CHECK(counter.compare_and_set(3, 4).error().status() == FW_BAD_VERSION);
}

void what_is_followed(farwatch::client &client) {
    auto group = GOT(farwatch::group::make(client, "/cpp/group"));
    auto members = GOT(group.follow());
    CHECK(first_of(members, 0).empty() && members.is_current() && members.revision() > 0);
    auto member = GOT(group.join("me", "data"));
    CHECK(first_of(members, 1) == "me" && GOT(members.pick()).data() == "data");
    auto services = GOT(farwatch::service_directory::make(client, "/cpp/services"));
    auto web = GOT(services.follow("web"));
    told changes;
    GOT(web.on_change([&changes](const farwatch::answer &state) {
        changes.tell(state.size() == 0 ? "nobody" : std::string(state.part(0).data()));
    }));
    auto offered = GOT(services.offer("web", "me", "10.0.0.7:80"));
    changes.await("10.0.0.7:80");
    GOT(client.remove("/cpp/services/web/me"));
    changes.await("nobody");
    auto leader = GOT(farwatch::election::follow(client, "/cpp/leader"));
    GOT(leader.on_change([&changes](const farwatch::answer &state) {
        changes.tell(std::string(state.data()));
    }));
    auto candidate = GOT(farwatch::election::join(client, "/cpp/leader", "number one"));
    changes.await("number one");
    auto cell = GOT(farwatch::config_cell::open(client, "/cpp/config"));
    GOT(cell.on_change([&changes](const farwatch::answer &state) {
        changes.tell(std::string(state.data()) + " of version " + std::to_string(state.version()));
    }));
    CHECK(GOT(cell.set("one")) > 0);
    changes.await("one of version 0");
    GOT(cell.set("two", GOT(cell.get()).version()));
    changes.await("two of version 1");
    CHECK(cell.set("three", 0).error().status() == FW_BAD_VERSION);
}

void tasks(farwatch::client &client) {
    auto board = GOT(farwatch::task_board::make(client, "/cpp/board"));
    auto election = GOT(farwatch::election::join(client, "/cpp/assigning", ""));
    GOT(election.lead());
    auto worker = GOT(board.work("me"));
    told lost;
    GOT(worker.on_change([&lost](fw_standing standing) {
        lost.tell(standing == FW_STANDING_LOST ? "lost" : "");
    }));
    GOT(board.put("task"));
    CHECK(GOT(board.assign(election)) == 1 && GOT(board.open_tasks()).size() == 1);
    auto assignment = GOT(worker.take());
    CHECK(assignment.data() == "task" && assignment.token() > 0);
    CHECK(assignment.task() == GOT(board.open_tasks()).name(0));
    GOT(assignment.finish());
    CHECK(assignment.finish().error().status() == FW_LOST);
    auto assigned = board.keep_assigning(election, std::chrono::milliseconds(100));
    CHECK(assigned.error().status() == FW_TIMEOUT);
    GOT(client.remove("/cpp/board/workers/me"));
    lost.await("lost");
    CHECK(worker.take().error().status() == FW_LOST);
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    auto client = GOT(farwatch::client::open(arguments[1]));
    auto other = GOT(farwatch::client::open(arguments[1]));
    what_is_moved_and_set(arguments[1]);
    what_is_lost_is_told(client, other);
    what_is_held(client);
    what_is_shared(client);
    what_is_followed(client);
    tasks(client);
    return 0;
}
