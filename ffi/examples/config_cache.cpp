// Keeps parsed settings at hand, one for each node below a path, and reads them from memory:
// config_cache_cpp PEER-HOST:PORT[,...] /config NAME [CHANGES]
//
// A program asks `setting::now` wherever it needs a number. That looks into the replica each time, which is a memory
// read; what takes longer, the parsing, is done again only when the node's mzxid has changed. No thread and no
// callback keeps this cache fresh, and it is never older than the replica. A `setting` belongs to one thread; others
// have their own. The feed is only for being told: here, for printing.
#include <farwatch.hpp>

#include <charconv>
#include <iostream>
#include <string>

namespace {

using namespace std::chrono_literals;

int fail(const farwatch::error &why) {
    std::cerr << "config_cache: " << why.text() << '\n';
    return 1;
}

class setting {
public:
    setting(std::string path, std::int64_t fallback)
        : path_(std::move(path)), fallback_(fallback), value_(fallback) {}

    // A node that is not there, or is no number, is the fallback. Where the replica cannot be asked the last value
    // stays.
    std::int64_t now(const farwatch::observer &observer) {
        auto is_there = observer.try_read(path_, [this](farwatch::node node) {
            std::int64_t mzxid = node.stat().mzxid;
            if (mzxid == mzxid_) return;
            mzxid_ = mzxid;
            parse(node.data());
        });
        if (is_there && !*is_there) mzxid_ = -1, value_ = fallback_;
        return value_;
    }
    const std::string &path() const { return path_; }
    int parsed() const { return parsed_; }

private:
    void parse(std::string_view text) {
        parsed_++;
        auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value_);
        if (failed != std::errc() || end != text.data() + text.size()) value_ = fallback_;
    }

    std::string path_;
    std::int64_t fallback_, value_;
    std::int64_t mzxid_ = -1; // of the text that was parsed; -1: none
    int parsed_ = 0;
};

} // namespace

int main(int count, char **arguments) {
    const std::string folder = count < 3 ? "/config" : arguments[2];
    setting setting(folder + "/" + (count < 4 ? "threads" : arguments[3]), 1);
    int changes = count < 5 ? 0 : std::stoi(arguments[4]);
    auto observer = farwatch::observer::open(count < 2 ? "127.0.0.1:2888" : arguments[1]);
    if (!observer) return fail(observer.error());
    if (auto ready = observer->wait_ready(10s); !ready) return fail(ready.error());
    auto feed = observer->subscribe(folder);
    if (!feed) return fail(feed.error());
    std::cout << setting.path() << " is " << setting.now(*observer) << std::endl;

    while (0 < changes) {
        auto change = feed->next(1s);
        if (change) {
            std::cout << setting.path() << " is now " << setting.now(*observer) << std::endl;
            changes--;
        } else if (change.error().status() == FW_WINDOW_LOST) {
            // Changes were missed; the settings were not, which are read from the replica.
            feed = observer->subscribe(folder);
            if (!feed) return fail(feed.error());
            std::cout << setting.path() << " is " << setting.now(*observer)
                      << ", after changes that were missed" << std::endl;
        } else if (change.error().status() != FW_TIMEOUT) {
            return fail(change.error()); // it has ended; what it knew last is still there to be read
        }
    }
    bool told = observer->each_child(folder, [](std::string_view name) {
        std::cout << "there is a setting " << name << '\n';
        return true;
    });
    std::int64_t sum = 0;
    for (int reads = 0; reads < 100000; reads++) sum += setting.now(*observer);
    std::cout << "a hundred thousand reads: sum " << sum << ", parsed " << setting.parsed() << " times\n";
    return told ? 0 : 1;
}
