// A configuration that is always at hand: observer_cpp PEER-HOST:PORT[,...] writes /config/limit through a client of
// its own, reads it as memory, and follows its changes.
#include <farwatch.hpp>

#include <iostream>

namespace {

using namespace std::chrono_literals;

int fail(const farwatch::error &why) {
    std::cerr << "observer: " << why.text() << '\n';
    return 1;
}

} // namespace

int main(int count, char **arguments) {
    auto observer = farwatch::observer::open(count < 2 ? "127.0.0.1:2888" : arguments[1]);
    if (!observer) return fail(observer.error());
    if (auto ready = observer->wait_ready(10s); !ready) return fail(ready.error());

    auto client = observer->client();
    if (!client) return fail(client.error());
    if (!observer->exists("/config"))
        if (auto made = client->create("/config", ""); !made) return fail(made.error());
    if (auto made = client->create("/config/limit", "10", FW_EPHEMERAL); !made)
        return fail(made.error());

    // What was acknowledged is here: no wait, no message.
    std::cout << "limit " << observer->get("/config/limit").value_or("?") << '\n';

    auto feed = observer->subscribe("/config");
    if (!feed) return fail(feed.error());
    auto view = observer->view();
    if (!view) return fail(view.error());
    if (auto set = client->set("/config/limit", "20"); !set) return fail(set.error());
    auto change = feed->next(5s);
    if (!change) return fail(change.error());
    std::cout << "changed to " << change->data() << ", the view still shows "
              << view->get("/config/limit").value_or("?") << '\n';

    std::size_t nodes = 0;
    auto scanned = view->scan("/", [&](farwatch::node) { return ++nodes < 1000; });
    if (!scanned) return fail(scanned.error());
    bool seen = observer->read("/config/limit", [](farwatch::node node) {
        std::cout << "in place: " << node.data() << ", version " << node.stat().version << '\n';
    });
    return seen && 4 < nodes ? 0 : 1;
}
