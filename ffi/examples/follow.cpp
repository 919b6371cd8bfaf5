// One thread, one epoll loop, a replica in this process whose changes are followed: follow_cpp PEERS PATH [CHANGES]
//
// The observer and its feed tell a queue, whose descriptor is one of the loop's. Nothing else is waited for.
#include <farwatch.hpp>

#include <cerrno>
#include <iostream>
#include <optional>
#include <string>
#include <sys/epoll.h>
#include <unistd.h>

namespace {

char observer_tag, feed_tag; // their addresses tell what a completion is about

int fail(const farwatch::error &why) {
    std::cerr << "follow: " << why.text() << '\n';
    return 1;
}

class follower {
public:
    follower(farwatch::observer &observer, farwatch::queue &queue, std::string path, long changes)
        : observer_(observer), queue_(queue), path_(std::move(path)), left_(changes) {}

    bool is_done() const { return left_ <= 0; }

    // What is said of the observer and of the feed.
    farwatch::expected<farwatch::done> handle(const farwatch::completion &entry) {
        switch (entry.event().kind()) {
        case FW_EVENT_OBSERVER_LINKED: return feed_ ? nothing() : load();
        case FW_EVENT_FEED: return feed_ ? drain() : nothing();
        case FW_EVENT_OBSERVER_UNLINKED:
            std::cout << "not linked: what is known can be read" << std::endl;
            return farwatch::done{};
        case FW_EVENT_OBSERVER_ENDED: return farwatch::error(FW_CLOSED, "the observer ended", false);
        default: return farwatch::done{}; // of a newer library
        }
    }

private:
    static farwatch::expected<farwatch::done> nothing() { return farwatch::done{}; }

    // What is there now, and a feed of what comes. First the feed, then the view: so nothing lies between the two.
    farwatch::expected<farwatch::done> load() {
        auto feed = observer_.subscribe(path_);
        if (!feed) return std::move(feed).error();
        auto view = observer_.view();
        if (!view) return std::move(view).error();
        seen_ = view->zxid();
        (void)view->scan(path_, [](farwatch::node node) {
            std::cout << node.path() << " = " << node.data() << '\n';
            return true;
        });
        std::cout << "-- so far" << std::endl;
        feed_.emplace(std::move(*feed));
        return feed_->tell(queue_, &feed_tag);
    }

    // Takes all there is: only behind an FW_TIMEOUT the feed tells the queue again.
    farwatch::expected<farwatch::done> drain() {
        for (;;) {
            auto change = feed_->next(std::chrono::milliseconds(0));
            if (change) {
                if (seen_ < change->zxid() && 0 < left_--) print(*change);
                continue;
            }
            if (change.error().status() == FW_WINDOW_LOST) return load();
            if (change.error().status() == FW_TIMEOUT) return farwatch::done{};
            return std::move(change).error();
        }
    }

    static void print(const farwatch::change &change) {
        if (change.kind() == FW_CHANGE_DELETED)
            std::cout << change.path() << " is gone" << std::endl;
        else
            std::cout << change.path() << " is now " << change.data() << std::endl;
    }

    farwatch::observer &observer_;
    farwatch::queue &queue_;
    std::string path_;
    std::optional<farwatch::feed> feed_; // none until the observer was linked for the first time
    std::int64_t seen_ = 0;              // changes up to here were in what was printed
    long left_;
};

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

} // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::cerr << "usage: follow_cpp PEERS PATH [CHANGES]\n";
        return 2;
    }
    auto queue = farwatch::queue::make();
    if (!queue) return fail(queue.error());
    auto observer = farwatch::observer::open(arguments[1]);
    if (!observer) return fail(observer.error());
    if (auto told = observer->tell(*queue, &observer_tag); !told) return fail(told.error());

    descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event wanted = {}, ready = {};
    wanted.events = EPOLLIN;
    if (epoll_ctl(epoll.number(), EPOLL_CTL_ADD, queue->descriptor(), &wanted) != 0) return 1;
    follower follower(*observer, *queue, arguments[2], count < 4 ? 1 : std::stol(arguments[3]));
    while (!follower.is_done()) {
        if (epoll_wait(epoll.number(), &ready, 1, -1) < 0 && errno != EINTR) return 1;
        while (auto entry = queue->next(std::chrono::milliseconds(0)))
            if (auto handled = follower.handle(*entry); !handled) return fail(handled.error());
    }
    return 0;
}
