// Offers a service, follows who else does, and is told when its configuration changes:
// recipes_cpp CONNECT PATH NAME. Each run takes its part in one rollout, which it counts.
#include <farwatch.hpp>

#include <condition_variable>
#include <iostream>
#include <mutex>
#include <string>

namespace {

using namespace std::chrono_literals;

int fail(const farwatch::error &why) {
    std::cerr << "recipes: " << why.text() << '\n';
    return 1;
}

// The setting as this program was told it last.
class told {
public:
    void tell(std::string_view setting) {
        std::lock_guard held(lock_);
        setting_ = setting;
        changed_.notify_all();
    }
    bool await(std::string_view setting) {
        std::unique_lock held(lock_);
        bool is_told = changed_.wait_for(held, 60s, [&] { return setting_ == setting; });
        std::cout << (is_told ? "configured: " : "never configured: ") << setting << '\n';
        return is_told;
    }

private:
    std::mutex lock_;
    std::condition_variable changed_;
    std::string setting_;
};

// Offers "web" under `name`, and asks the instances in turn.
int serve(farwatch::client &client, const std::string &path, const char *name) {
    auto directory = farwatch::service_directory::make(client, path);
    if (!directory) return fail(directory.error());
    auto web = directory->follow("web");
    if (!web) return fail(web.error());
    auto offered = directory->offer("web", name, "10.0.0.7:80");
    if (!offered) return fail(offered.error());
    auto picked = web->pick();
    // What is followed hears of it as all others do, so it may take a moment.
    for (std::uint64_t seen = 0; !picked; picked = web->pick()) {
        auto revision = web->wait_beyond(seen);
        if (!revision) return fail(revision.error());
        seen = *revision;
    }
    std::cout << "ask " << picked->name(0) << " at " << picked->data() << '\n';
    // As with a lock: before each act, ask whether it is one's own still.
    auto held = offered->check();
    if (!held) return fail(held.error());
    auto released = offered->release();
    return released ? 0 : fail(released.error());
}

// Sets the configuration, and waits until this program, like all others, is told.
int configure(farwatch::client &client, const std::string &path) {
    told setting; // outlives the cell, which tells it
    auto cell = farwatch::config_cell::open(client, path);
    if (!cell) return fail(cell.error());
    auto heard = cell->on_change([&](const farwatch::answer &state) { setting.tell(state.data()); });
    if (!heard) return fail(heard.error());
    auto set = cell->set("threads=4");
    if (!set) return fail(set.error());
    if (!setting.await("threads=4")) return 1;
    auto now = cell->get();
    if (!now) return fail(now.error());
    // On top of what was read, and of nothing else: FW_BAD_VERSION if somebody was faster.
    set = cell->set("threads=8", now->version());
    if (!set) return fail(set.error());
    return setting.await("threads=8") ? 0 : 1;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 4) {
        std::cerr << "usage: recipes CONNECT PATH NAME\n";
        return 2;
    }
    const std::string path = arguments[2];
    auto client = farwatch::client::open(arguments[1]);
    if (!client) return fail(client.error());
    auto rollout = farwatch::semaphore::make(*client, path, 1);
    if (!rollout) return fail(rollout.error());
    auto permit = rollout->acquire(60s); // one at a time: the others wait in line
    if (!permit) return fail(permit.error());
    if (int failed = serve(*client, path + "/services", arguments[3])) return failed;
    if (int failed = configure(*client, path + "/config")) return failed;
    auto ours = permit->check(); // that may have taken a while: the rollout may be the next one's
    if (!ours) return fail(ours.error());
    auto counter = farwatch::counter::make(*client, path + "/runs");
    if (!counter) return fail(counter.error());
    auto runs = counter->add(1);
    if (!runs) return fail(runs.error());
    std::cout << "rollout " << *runs << " is done\n";
    auto released = permit->release();
    return released ? 0 : fail(released.error());
}
