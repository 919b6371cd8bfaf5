/* One thread, one epoll loop, many requests under way: epoll CONNECT PATH [REQUESTS]
 *
 * Results and events come to a queue, whose descriptor is one of the loop's. */
#include <farwatch.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static char events_tag, request_tag; /* their addresses tell what a completion is about */

static int enqueue_sets(fw_client *client, fw_queue *queue, const char *path, long count,
                        fw_error **error) {
    fw_op *op = NULL;
    fw_status status = fw_op_set(path, FW_CSTR, (const uint8_t *)"x", 1, FW_ANY_VERSION, &op, error);
    while (status == FW_OK && count-- > 0)
        status = fw_client_enqueue(client, op, queue, &request_tag, NULL, error);
    fw_op_free(op);
    return status == FW_OK;
}

/* Takes what is there, and returns how many requests are done. */
static long drain(fw_queue *queue, long *failed) {
    long done = 0;
    fw_completion *completion;
    while (fw_queue_next(queue, 0, &completion, NULL) == FW_OK) {
        const fw_event *event = fw_completion_event(completion);
        if (event != NULL && fw_event_get_kind(event) == FW_EVENT_SESSION) {
            printf("session state %d\n", (int)fw_event_state(event));
        } else if (fw_completion_tag(completion) == &request_tag) {
            done++;
            if (fw_completion_status(completion) != FW_OK) {
                const fw_error *error = fw_completion_error(completion);
                printf("failed%s: %s\n", fw_error_maybe_applied(error) ? ", perhaps applied" : "",
                       fw_error_text(error));
                ++*failed;
            }
        }
        fw_completion_free(completion);
    }
    return done;
}

static int loop(fw_queue *queue, long left) {
    long failed = 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wanted = {.events = EPOLLIN}, seen;
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fw_queue_fd(queue), &wanted) != 0) {
        perror("epoll");
        if (epoll >= 0) close(epoll);
        return 1;
    }
    while (left > 0) {
        int ready = epoll_wait(epoll, &seen, 1, 30000);
        if (ready < 0 && errno == EINTR) continue; /* a signal of the host's: nothing came of it */
        if (ready < 0) perror("epoll");
        if (ready == 0) fprintf(stderr, "epoll: nothing came for 30 seconds\n");
        if (ready <= 0) break;
        left -= drain(queue, &failed);
    }
    close(epoll);
    printf("%ld left, %ld failed\n", left, failed);
    return left != 0 || failed != 0;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: epoll CONNECT PATH [REQUESTS]\n");
        return 2;
    }
    const char *path = arguments[2];
    long requests = count > 3 ? atol(arguments[3]) : 1000;
    fw_config *config = NULL;
    fw_client *client = NULL;
    fw_queue *queue = NULL;
    fw_error *error = NULL;
    int code = 1;

    if (fw_config_new(&config, &error) == FW_OK &&
        fw_config_set(config, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_queue_new(&queue, &error) == FW_OK &&
        fw_config_event_queue(config, queue, &events_tag, &error) == FW_OK &&
        fw_client_open(config, &client, &error) == FW_OK &&
        fw_client_create(client, path, FW_CSTR, NULL, 0, FW_EPHEMERAL, FW_DEFAULT_TIMEOUT, NULL,
                         &error) == FW_OK &&
        enqueue_sets(client, queue, path, requests, &error))
        code = loop(queue, requests);
    if (error) fprintf(stderr, "epoll: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_client_free(client);
    fw_queue_free(queue);
    fw_config_free(config);
    return code;
}
