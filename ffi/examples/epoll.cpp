// One thread, one epoll loop, many requests under way: epoll_cpp CONNECT PATH [REQUESTS]
//
// Results and events come to a queue, whose descriptor is one of the loop's.
#include <farwatch.hpp>

#include <cerrno>
#include <iostream>
#include <string>
#include <sys/epoll.h>
#include <unistd.h>

namespace {

char events_tag, request_tag; // their addresses tell what a completion is about

int fail(const farwatch::error &why) {
    std::cerr << "epoll: " << why.text() << '\n';
    return 1;
}

// Closes it at the end, whichever that is.
class descriptor {
public:
    explicit descriptor(int number) noexcept : number_(number) {}
    descriptor(const descriptor &) = delete;
    descriptor &operator=(const descriptor &) = delete;
    ~descriptor() {
        if (0 <= number_) close(number_);
    }
    int number() const noexcept { return number_; }

private:
    int number_;
};

struct counts {
    long left = 0, failed = 0;
};

// Takes what is there.
void drain(farwatch::queue &queue, counts &counts) {
    while (auto entry = queue.next(std::chrono::milliseconds(0))) {
        if (entry->is_event() && entry->event().kind() == FW_EVENT_SESSION) {
            std::cout << "session state " << entry->event().state() << '\n';
        } else if (entry->tag() == &request_tag) {
            counts.left--;
            if (entry->status() == FW_OK) continue;
            counts.failed++;
            std::cout << "failed: " << fw_error_text(entry->error()) << '\n';
        }
    }
}

bool loop(farwatch::queue &queue, counts &counts) {
    descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event wanted = {}, seen = {};
    wanted.events = EPOLLIN;
    if (epoll_ctl(epoll.number(), EPOLL_CTL_ADD, queue.descriptor(), &wanted) != 0) return false;
    while (0 < counts.left) {
        int ready = epoll_wait(epoll.number(), &seen, 1, 30000);
        if (ready < 0 && errno == EINTR) continue; // a signal of the host's: nothing came of it
        if (ready <= 0) return false;              // or nothing came for 30 seconds
        drain(queue, counts);
    }
    return true;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::cerr << "usage: epoll CONNECT PATH [REQUESTS]\n";
        return 2;
    }
    counts counts;
    counts.left = count < 4 ? 1000 : std::stol(arguments[3]);
    auto queue = farwatch::queue::make();
    if (!queue) return fail(queue.error());
    farwatch::config config(arguments[1]);
    config.event_queue(queue->get(), &events_tag);
    auto client = farwatch::client::open(std::move(config));
    if (!client) return fail(client.error());
    auto made = client->create(arguments[2], "", FW_EPHEMERAL);
    if (!made) return fail(made.error());

    auto set = farwatch::op::set(arguments[2], "x");
    if (!set) return fail(set.error());
    for (long request = counts.left; 0 < request; request--)
        if (auto asked = client->enqueue(*set, *queue, &request_tag); !asked) return fail(asked.error());
    bool ended = loop(*queue, counts);
    std::cout << counts.left << " left, " << counts.failed << " failed\n";
    return ended && counts.failed == 0 ? 0 : 1;
}
