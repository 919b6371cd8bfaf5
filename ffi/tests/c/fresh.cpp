// As fresh.c, through farwatch.hpp. Then the session goes to another handle with its ephemeral node.
#include "check.hpp"

#include <iostream>
#include <string>

using namespace std::chrono_literals;
using farwatch::freshness;

int main(int count, char **arguments) {
    CHECK(count == 2);
    auto opened = farwatch::client::open(arguments[1]);
    auto line = farwatch::queue::make();
    CHECK(opened && line);
    farwatch::client &client = *opened;
    auto first = client.get("/value", freshness::now());
    CHECK(first && first->data() == "old");
    std::cout << "ready" << std::endl;

    std::string said;
    std::getline(std::cin, said);
    const std::int64_t zxid = std::stoll(said);
    CHECK(client.get("/value")->data() == "old");
    CHECK(client.get("/value", freshness::at_most(1h))->data() == "old");
    auto waited = client.get("/value", freshness::at_least(zxid), 0, 200ms);
    CHECK(!waited && waited.error().status() == FW_TIMEOUT);
    waited = client.exists("/value", freshness::now(), 0, 200ms);
    CHECK(!waited && waited.error().status() == FW_TIMEOUT);
    waited = client.children("/", freshness::at_least(zxid), 0, 200ms);
    CHECK(!waited && waited.error().status() == FW_TIMEOUT);
    auto read = farwatch::op::get_data("/value");
    CHECK(read && read->fresh(freshness::at_least(zxid)));
    CHECK(client.enqueue(*read, *line, nullptr));
    std::cout << "asked" << std::endl;

    auto answered = line->next(60s);
    CHECK(answered && answered->status() == FW_OK && answered->answer().data() == "new");
    auto stale = client.get("/value", freshness::at_least(zxid + 1000));
    CHECK(!stale && stale.error().status() == FW_STALE);

    CHECK(client.create("/mine", "", FW_EPHEMERAL));
    auto session = client.detach();
    CHECK(session && session->id() != 0 && session->timeout() > 0ms && session->zxid() >= zxid);
    CHECK(client.get("/value").error().status() == FW_CLOSED);
    farwatch::config settings(arguments[1]);
    auto resumed = farwatch::client::open(std::move(settings.resume(*session)));
    CHECK(resumed);
    auto mine = resumed->exists("/mine");
    CHECK(mine && mine->exists() && mine->stat().ephemeral_owner == session->id());
    CHECK(resumed->session_id() == session->id());
    CHECK(!resumed->server().empty() && client.server().empty());
    std::cout << "done" << std::endl;
    return 0;
}
