// Creates, reads, changes and deletes nodes, alone and in a transaction: kv_cpp CONNECT
#include <farwatch.hpp>

#include <future>
#include <iostream>

namespace {

int fail(const farwatch::error &why) {
    std::cerr << "kv: " << why.text() << '\n';
    return 1;
}

// A transaction: both counters or neither.
farwatch::expected<farwatch::answer> create_both(farwatch::client &client) {
    auto multi = farwatch::op::multi();
    if (!multi) return farwatch::error(multi.error().status(), nullptr);
    for (std::string_view path : {"/kv-a", "/kv-b"}) {
        auto create = farwatch::op::create(path, "0", FW_EPHEMERAL);
        if (create) (void)multi->add(*create);
    }
    return client.call(*multi);
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

    auto both = create_both(*client);
    if (!both) return fail(both.error());
    std::cout << "created " << both->part(0).path() << " and " << both->part(1).path() << '\n';

    auto set = client->set("/kv-a", "1", 0);
    if (!set) return fail(set.error());
    auto stale = client->set("/kv-a", "2", 0);
    std::cout << "a second set of version 0: " << (stale ? "applied" : "refused") << '\n';

    // The same without waiting: the result comes to the client's own thread.
    std::promise<std::string> value;
    auto get = farwatch::op::get_data("/kv-a", FW_SYNC);
    if (!get) return fail(get.error());
    auto request = client->submit(*get, [&value](farwatch::expected<farwatch::answer> node) {
        value.set_value(node ? std::string(node->data()) : std::string(node.error().text()));
    });
    if (!request) return fail(request.error());
    std::cout << "/kv-a is " << value.get_future().get() << '\n';

    {
        auto lock = farwatch::lock::acquire(*client, "/kv-lock", std::chrono::seconds(10));
        if (!lock) return fail(lock.error());
        auto token = lock->check(); // before each act that the lock guards
        std::cout << "the lock is " << (token ? "held" : "in doubt") << '\n';
    } // released here

    auto closed = client->close();
    return closed ? 0 : fail(closed.error());
}
