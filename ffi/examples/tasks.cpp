// Puts tasks on a board, leads those who hand them out, and works on them: tasks_cpp CONNECT PATH
#include <farwatch.hpp>

#include <atomic>
#include <iostream>
#include <thread>

namespace {

constexpr int tasks = 5;

int fail(const farwatch::error &why) {
    std::cerr << "tasks: " << why.text() << '\n';
    return 1;
}

// Takes tasks and does them, once each, until there have been all.
int work(farwatch::worker &worker, farwatch::snowflake &ids) {
    for (int done = 0; done < tasks; done++) {
        auto task = worker.take(std::chrono::seconds(60));
        if (!task) return fail(task.error());
        auto id = ids.next();
        if (!id) return fail(id.error());
        std::cout << task->data() << " is " << *id << " under token " << task->token() << '\n';
        auto finished = task->finish();
        if (!finished) return fail(finished.error());
    }
    return 0;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::cerr << "usage: tasks CONNECT PATH\n";
        return 2;
    }
    const std::string path = arguments[2];
    auto client = farwatch::client::open(arguments[1]);
    if (!client) return fail(client.error());
    auto board = farwatch::task_board::make(*client, path + "/board");
    if (!board) return fail(board.error());
    auto worker = board->work("this one");
    if (!worker) return fail(worker.error());
    auto ids = farwatch::snowflake::open(*client, path + "/ids");
    if (!ids) return fail(ids.error());
    auto leadership = farwatch::election::join(*client, path + "/leader", "this one");
    if (!leadership) return fail(leadership.error());
    auto leads = leadership->lead();
    if (!leads) return fail(leads.error());

    // Who is told is told on the client's own thread.
    std::atomic<bool> is_lost{false};
    auto watched = worker->on_change(
        [&is_lost](fw_standing standing) { is_lost = standing == FW_STANDING_LOST; });
    if (!watched) return fail(watched.error());

    std::thread leader([&] {
        // Returns when the leadership ends: below, where it is resigned.
        (void)board->keep_assigning(*leadership, std::chrono::hours(1));
    });
    bool put_all = true;
    for (int number = 0; number < tasks; number++)
        put_all = put_all && board->put("task " + std::to_string(number)).has_value();
    int failed = work(*worker, *ids);
    auto resigned = leadership->resign();
    leader.join();
    if (failed) return failed;
    if (!resigned) return fail(resigned.error());

    auto left = board->open_tasks();
    if (!left) return fail(left.error());
    std::cout << left->size() << " tasks are left" << (put_all && !is_lost ? "" : ", in vain")
              << '\n';
    auto closed = ids->close();
    if (!closed) return fail(closed.error());
    auto released = worker->release();
    return released ? 0 : fail(released.error());
}
