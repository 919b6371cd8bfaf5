// What stands in C++ in docs/recipes.md, which the test has written to document.hpp. Argument: whom to connect to.
#include "check.hpp"

using namespace std::chrono_literals;

#include "document.hpp"

namespace {

std::int64_t last;
int acts;

bool lead(std::int64_t token) {
    CHECK(acts == 0 || token == last);
    last = token;
    return ++acts < 3;
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    auto client = GOT(farwatch::client::open(arguments[1]));
    GOT(standby(client, lead));
    CHECK(acts == 3 && last > 0);
    auto election = GOT(farwatch::election::join(client, "/leader", "next")); // the first one has stepped back
    GOT(election.lead(60s));
    CHECK(election.token() > last);
}
