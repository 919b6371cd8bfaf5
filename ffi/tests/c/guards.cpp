// What keeps others out, through farwatch.hpp: fences, lists of access rights, locks that readers share.
#include "check.hpp"

#include <string>

namespace {

using namespace std::chrono_literals;
using farwatch::acl;
using farwatch::op;

// Whoever was overtaken is refused, also after the resource was started anew.
void fences(farwatch::client &one, farwatch::client &two) {
    auto resource = GOT(farwatch::fence::make());
    auto first = GOT(farwatch::lock::acquire(one, "/guards/fenced"));
    const std::int64_t older = GOT(first.check());
    CHECK(resource.admit(older) && resource.admit(older) && resource.largest() == older);
    GOT(first.release());
    auto second = GOT(farwatch::lock::acquire(two, "/guards/fenced"));
    CHECK(older < second.token() && resource.admit(second.token()));
    CHECK(refused(resource.admit(older)) == FW_STALE_TOKEN);
    CHECK(resource.largest() == second.token());
    auto restarted = GOT(farwatch::fence::make(resource.largest()));
    CHECK(refused(restarted.admit(older)) == FW_STALE_TOKEN && restarted.admit(second.token()));
}

// The entries of a node's list, as "perms scheme:id".
std::string entries(farwatch::client &client, std::string_view path) {
    auto list = GOT(client.call(op::get_acl(path)));
    std::string text;
    for (std::size_t i = 0; i < list.size(); i++)
        text += std::to_string(list.perms(i)) + " " + std::string(list.scheme(i)) + ":"
            + std::string(list.id(i)) + ";";
    return text;
}

void rights(farwatch::client &owner, farwatch::client &other) {
    GOT(owner.call(op::add_auth("digest", "owner:secret")));
    const auto own = GOT(acl::make(FW_PERM_ALL, "auth", ""));
    GOT(owner.create("/guards/own", "mine", own));
    CHECK(GOT(owner.get("/guards/own")).data() == "mine");
    CHECK(refused(other.get("/guards/own")) == FW_NO_AUTH);
    CHECK(refused(other.set("/guards/own", "theirs")) == FW_NO_AUTH);
    CHECK(refused(other.create("/guards/own/child", "")) == FW_NO_AUTH);
    CHECK(entries(owner, "/guards/own").rfind("31 digest:owner:", 0) == 0);

    auto shown = GOT(acl::make(FW_PERM_ALL, "auth", ""));
    GOT(shown.add(FW_PERM_READ, "world", "anyone"));
    const auto open = GOT(acl::make(FW_PERM_ALL, "world", "anyone"));
    CHECK(refused(other.call(op::set_acl("/guards/own", open))) == FW_NO_AUTH);
    CHECK(refused(owner.call(op::set_acl("/guards/own", shown, 7))) == FW_BAD_VERSION);
    CHECK(GOT(owner.call(op::set_acl("/guards/own", shown, 0))).stat().aversion == 1);
    CHECK(entries(owner, "/guards/own").find(";1 world:anyone;") != std::string::npos);
    CHECK(GOT(other.get("/guards/own")).data() == "mine");
    CHECK(refused(other.set("/guards/own", "theirs")) == FW_NO_AUTH);

    // Recipes make their nodes so, too.
    auto permits = GOT(farwatch::semaphore::make(owner, "/guards/permits", 1, own));
    auto permit = GOT(permits.acquire());
    auto closed = GOT(farwatch::semaphore::make(other, "/guards/permits", 1));
    CHECK(refused(closed.acquire()) == FW_NO_AUTH);

    // Who is the owner has the owner's rights.
    GOT(other.call(op::add_auth("digest", "owner:secret")));
    GOT(other.set("/guards/own", "ours"));

    // What is no list is refused, and never taken for one that lets all in.
    CHECK(refused(acl::make(0, "world", "anyone")) == FW_BAD_ARGUMENT);
    CHECK(refused(acl::make(FW_PERM_ALL << 1, "world", "anyone")) == FW_BAD_ARGUMENT);
    auto taken = std::move(shown);
    CHECK(taken.get() != nullptr && shown.get() != nullptr && shown.get() != taken.get());
    CHECK(refused(owner.create("/guards/none", "", shown)) == FW_BAD_HANDLE);
    CHECK(refused(shown.add(FW_PERM_READ, "world", "anyone")) == FW_NULL);
    CHECK(refused(owner.create("/guards/none", "", GOT(acl::make()))) == FW_INVALID_ACL);
    CHECK(!GOT(owner.exists("/guards/none")).exists());
}

void shared_locks(farwatch::client &one, farwatch::client &two) {
    auto first = GOT(farwatch::lock::read(one, "/guards/shared"));
    auto second = GOT(farwatch::lock::read(two, "/guards/shared"));
    CHECK(first.check() && second.check());
    CHECK(refused(farwatch::lock::write(two, "/guards/shared", 200ms)) == FW_TIMEOUT);
    GOT(first.release());
    CHECK(refused(farwatch::lock::write(one, "/guards/shared", 200ms)) == FW_TIMEOUT);
    GOT(second.release());
    auto writer = GOT(farwatch::lock::write(one, "/guards/shared"));
    CHECK(GOT(writer.check()) > second.token());
    CHECK(refused(farwatch::lock::read(two, "/guards/shared", 200ms)) == FW_TIMEOUT);
    CHECK(refused(farwatch::lock::write(two, "/guards/shared", 200ms)) == FW_TIMEOUT);
    GOT(writer.release());
    GOT(farwatch::lock::read(two, "/guards/shared"));
}

void leases(farwatch::client &one, farwatch::client &two) {
    auto leader = GOT(farwatch::election::join(one, "/guards/election", "one"));
    GOT(leader.lead());
    auto next = GOT(farwatch::election::join(two, "/guards/election", "two"));
    CHECK(0ms < leader.lease() && leader.lease() <= one.session_timeout());
    CHECK(next.lease() == 0ms && refused(next.check()) == FW_TAKEN);
    GOT(leader.resign());
    GOT(next.lead());
    CHECK(leader.lease() == 0ms && 0ms < next.lease());
}

} // namespace

int main(int count, char **arguments) {
    CHECK(count == 2);
    auto one = GOT(farwatch::client::open(arguments[1]));
    auto two = GOT(farwatch::client::open(arguments[1]));
    GOT(one.create("/guards", ""));
    fences(one, two);
    shared_locks(one, two);
    leases(one, two);
    rights(one, two);
    return 0;
}
