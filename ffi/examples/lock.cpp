// Does something that only one may do at a time: lock_cpp CONNECT PATH [SECONDS]
#include <farwatch.hpp>

#include <iostream>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;

int fail(const farwatch::error &why) {
    std::cerr << "lock: " << why.text() << '\n';
    return 1;
}

// Where the guarded thing lives: it refuses whoever was overtaken, however late they act.
farwatch::expected<farwatch::done> act(farwatch::fence &resource, std::int64_t token) {
    auto admitted = resource.admit(token);
    if (admitted) std::cout << "acted with token " << token << std::endl;
    return admitted;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::cerr << "usage: lock CONNECT PATH [SECONDS]\n";
        return 2;
    }
    int seconds = count < 4 ? 5 : std::stoi(arguments[3]);
    auto client = farwatch::client::open(arguments[1]);
    if (!client) return fail(client.error());
    auto resource = farwatch::fence::make();
    if (!resource) return fail(resource.error());
    auto lock = farwatch::lock::acquire(*client, arguments[2], 60s);
    if (!lock) return fail(lock.error());
    std::cout << "acquired" << std::endl;

    for (;;) {
        // Ask before each act: when no server confirms the session in time, this says so. Who is stopped or
        // refused has failed, and gives the lock up with the handle.
        auto token = lock->check();
        if (!token) return fail(token.error());
        if (auto acted = act(*resource, *token); !acted) return fail(acted.error());
        if (seconds-- <= 0) break;
        std::this_thread::sleep_for(1s);
    }
    auto released = lock->release(); // and the next one can have it
    if (!released) return fail(released.error());
    std::cout << "released\n";
}
