/* One thread, one epoll loop, which waits for a lock and to lead: waiting CONNECT LOCK ELECTION [ID]
 *
 * Both are waited for by the library. A program has its sockets and timers in the same loop; here there is a
 * timer, which says that the loop goes on while others have what is waited for. */
#include <farwatch.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TEN_MINUTES_MS 600000

static char lock_tag, election_tag; /* their addresses tell what a completion is about */

static struct {
    fw_lock *lock;
    fw_election *election;
} held;

/* The result hands over what was waited for, which is ours from then on. */
static fw_status take(const fw_completion *completion, fw_error **error) {
    const fw_result *result = fw_completion_result(completion);
    long long token = (long long)fw_result_number(result);
    if (fw_completion_tag(completion) == &lock_tag) {
        printf("locked, under token %lld\n", token);
        return fw_result_lock(result, &held.lock, error);
    }
    printf("leads, under token %lld\n", token);
    return fw_result_election(result, &held.election, error);
}

static fw_status drain(fw_queue *queue, fw_error **error) {
    fw_completion *completion;
    fw_status status = FW_OK;
    while (status == FW_OK && fw_queue_next(queue, 0, &completion, NULL) == FW_OK) {
        status = fw_completion_status(completion);
        if (status == FW_OK)
            status = take(completion, error);
        else
            fprintf(stderr, "waiting: %s\n", fw_error_text(fw_completion_error(completion)));
        fw_completion_free(completion);
    }
    return status;
}

static bool add(int epoll, int descriptor) {
    struct epoll_event wanted = {.events = EPOLLIN, .data = {.fd = descriptor}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &wanted) == 0;
}

static bool loop(int epoll, int timer, fw_queue *queue, fw_error **error) {
    struct itimerspec each_second = {{1, 0}, {1, 0}};
    if (!add(epoll, timer) || !add(epoll, fw_queue_fd(queue)) || timerfd_settime(timer, 0, &each_second, NULL) != 0) {
        perror("waiting");
        return false;
    }
    while (held.lock == NULL || held.election == NULL) {
        struct epoll_event seen;
        int ready = epoll_wait(epoll, &seen, 1, -1);
        if (ready < 0 && errno == EINTR) continue; /* a signal of the host's: nothing came of it */
        if (ready < 0) return perror("waiting"), false;
        uint64_t ticks;
        if (seen.data.fd == timer && read(timer, &ticks, sizeof ticks) > 0)
            puts("in line");
        else if (seen.data.fd != timer && drain(queue, error) != FW_OK)
            return false;
    }
    return true;
}

/* Asks for both, in whichever order they come. */
static fw_status ask(fw_client *client, fw_queue *queue, char **arguments, const char *id, fw_error **error) {
    fw_op *lock = NULL, *lead = NULL;
    fw_status status = fw_op_lock_acquire(arguments[2], FW_CSTR, TEN_MINUTES_MS, &lock, error);
    if (status == FW_OK)
        status = fw_op_election_lead(arguments[3], FW_CSTR, (const uint8_t *)id, strlen(id), TEN_MINUTES_MS, &lead,
                                     error);
    if (status == FW_OK) status = fw_client_enqueue(client, lock, queue, &lock_tag, NULL, error);
    if (status == FW_OK) status = fw_client_enqueue(client, lead, queue, &election_tag, NULL, error);
    fw_op_free(lock);
    fw_op_free(lead);
    return status;
}

int main(int count, char **arguments) {
    if (count < 4) {
        fprintf(stderr, "usage: waiting CONNECT LOCK ELECTION [ID]\n");
        return 2;
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    fw_config *config = NULL;
    fw_client *client = NULL;
    fw_queue *queue = NULL;
    fw_error *error = NULL;
    int code = 1;

    if (fw_config_new(&config, &error) == FW_OK &&
        fw_config_set(config, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_queue_new(&queue, &error) == FW_OK &&
        fw_client_open(config, &client, &error) == FW_OK &&
        ask(client, queue, arguments, count > 4 ? arguments[4] : "somebody", &error) == FW_OK &&
        loop(epoll, timer, queue, &error)) {
        puts("has both");
        code = 0;
    }
    if (error) fprintf(stderr, "waiting: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_election_free(held.election); /* which resigns, and releases, in the background */
    fw_lock_free(held.lock);
    fw_client_free(client); /* what still waits is ended */
    fw_queue_free(queue);
    fw_config_free(config);
    if (timer >= 0) close(timer);
    if (epoll >= 0) close(epoll);
    return code;
}
