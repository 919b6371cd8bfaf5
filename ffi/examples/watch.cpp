// Follows a subtree by a lasting watch, and reads what changed: watch_cpp CONNECT PATH [CHANGES]
//
// Ends after that many changes, or never. The watch puts its events into a queue, from which this thread takes
// them: it may wait and read, which a callback on the client's thread must not.
#include <farwatch.hpp>

#include <iostream>
#include <string>

namespace {

int fail(const farwatch::error &why) {
    std::cerr << "watch: " << why.text() << '\n';
    return 1;
}

void show(farwatch::client &client, std::string_view path) {
    auto node = client.get(path);
    if (node)
        std::cout << path << " is " << node->data() << std::endl;
    else if (node.error().status() == FW_NO_NODE)
        std::cout << path << " is gone" << std::endl;
    else
        std::cout << path << ": " << node.error().text() << std::endl;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::cerr << "usage: watch CONNECT PATH [CHANGES]\n";
        return 2;
    }
    const std::string path = arguments[2];
    long left = count < 4 ? -1 : std::stol(arguments[3]);
    auto client = farwatch::client::open(arguments[1]);
    if (!client) return fail(client.error());
    auto queue = farwatch::queue::make();
    if (!queue) return fail(queue.error());
    auto watch = client->watch(path, FW_WATCH_RECURSIVE, *queue, nullptr);
    if (!watch) return fail(watch.error());
    show(*client, path); // what changes from here on is told

    while (left != 0) {
        auto entry = queue->next(std::chrono::hours(24));
        if (!entry) {
            if (entry.error().status() == FW_TIMEOUT) continue; // a quiet day
            return fail(entry.error());
        }
        auto event = entry->event();
        if (!event.path().empty()) {
            show(*client, event.path());
            left -= 0 < left;
        } else if (event.state() == FW_STATE_EXPIRED || event.state() == FW_STATE_CLOSED) {
            std::cerr << "watch: the session is over\n";
            return 1;
        } else if (event.kind() == FW_EVENT_OVERFLOW || event.state() == FW_STATE_CONNECTED) {
            show(*client, path); // events were missed: what matters is read again
        }
    }
}
