// Creates, reads, changes and deletes nodes, alone and in a transaction: kv_cpp CONNECT
#include <farwatch.hpp>

#include <iostream>
#include <string>

namespace {

int fail(const farwatch::error &why) {
    std::cerr << "kv: " << why.text() << '\n';
    return 1;
}

} // namespace

int main(int count, char **arguments) {
    farwatch::config config(count < 2 ? "127.0.0.1:2181" : arguments[1]);
    config.set("sessionTimeout", std::chrono::seconds(10)).set("renewExpired", true);
    config.on_event([](farwatch::event event) {
        if (event.kind() == FW_EVENT_REPLACED)
            std::cerr << event.lost_count() << " ephemeral nodes are lost\n";
    });
    auto client = farwatch::client::open(std::move(config));
    if (!client) return fail(client.error());

    // A transaction: both counters or neither.
    auto both = client->call(farwatch::op::multi(farwatch::op::create("/kv-a", "0", FW_EPHEMERAL),
                                                 farwatch::op::create("/kv-b", "0", FW_EPHEMERAL)));
    if (!both) return fail(both.error());
    std::cout << "created " << both->part(0).path() << " and " << both->part(1).path() << '\n';

    auto set = client->set("/kv-a", "1", 0);
    if (!set) return fail(set.error());
    auto stale = client->set("/kv-a", "2", 0);
    std::cout << "a second set of version 0: " << (stale ? "applied" : "refused") << '\n';

    // The same without waiting: what is chained is called with the result, and its own can be waited for.
    auto value = client->submit(farwatch::op::get_data("/kv-a", FW_SYNC))
                     .then([](farwatch::expected<farwatch::answer> node) {
                         return node ? std::string(node->data()) : std::string(node.error().text());
                     });
    std::cout << "/kv-a is " << value.get().value() << '\n';

    {
        auto lock = farwatch::lock::acquire(*client, "/kv-lock", std::chrono::seconds(10));
        if (!lock) return fail(lock.error());
        auto token = lock->check(); // before each act that the lock guards
        std::cout << "the lock is " << (token ? "held" : "in doubt") << '\n';
    } // released here

    auto closed = client->close();
    return closed ? 0 : fail(closed.error());
}
