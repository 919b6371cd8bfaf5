// Stands for election, leads once and resigns: election_cpp CONNECT PATH NAME
#include <farwatch.hpp>

#include <iostream>

namespace {

using namespace std::chrono_literals;

int fail(const farwatch::error &why) {
    std::cerr << "election: " << why.text() << '\n';
    return 1;
}

void say_who_leads(farwatch::election &election) {
    auto leader = election.leader();
    if (!leader)
        std::cout << "who leads is not known: " << leader.error().text() << std::endl;
    else if (leader->is_null())
        std::cout << "nobody leads at the moment" << std::endl;
    else
        std::cout << leader->data() << " leads" << std::endl;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 4) {
        std::cerr << "usage: election CONNECT PATH NAME\n";
        return 2;
    }
    auto client = farwatch::client::open(arguments[1]);
    if (!client) return fail(client.error());
    auto election = farwatch::election::join(*client, arguments[2], arguments[3]);
    if (!election) return fail(election.error());
    auto told = election->on_change([](fw_standing standing) {
        if (standing == FW_STANDING_SUSPENDED) std::cout << "suspended: stop for now" << std::endl;
        if (standing == FW_STANDING_LOST) std::cout << "lost" << std::endl;
    });
    if (!told) return fail(told.error());

    // A candidate that did not win yet is told who did, and stays in line.
    for (;;) {
        auto leads = election->lead(1s);
        if (leads) break;
        if (leads.error().status() != FW_TIMEOUT) return fail(leads.error());
        say_who_leads(*election);
    }
    auto token = election->check(); // before each act of a leader
    if (!token) return fail(token.error());
    say_who_leads(*election);
    std::cout << "leading with token " << *token << ", for certain for " << election->lease().count()
              << " ms" << std::endl;
    auto resigned = election->resign();
    if (!resigned) return fail(resigned.error());
    std::cout << "resigned\n";
}
