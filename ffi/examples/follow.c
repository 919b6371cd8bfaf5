/* One thread, one epoll loop, a replica in this process whose changes are followed:
 * follow peer-host:port[,peer-host:port...] /path [changes]
 *
 * The observer and its feed tell a queue, whose descriptor is one of the loop's. Nothing else is waited for. */
#include <farwatch.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static char observer_tag, feed_tag; /* their addresses tell what a completion is about */

struct follower {
    fw_observer *observer;
    fw_queue *queue;
    fw_feed *feed; /* null until the observer was linked for the first time */
    int64_t seen;  /* changes up to here were in what was printed */
    const char *path;
    long left;
    int is_over;
    fw_error *error;
};

static bool print_node(void *context, const fw_node *node) {
    size_t path_len = 0, data_len = 0;
    const char *path = fw_node_path(node, &path_len);
    const char *data = (const char *)fw_node_data(node, &data_len);
    (void)context;
    printf("%.*s = %.*s\n", (int)path_len, path, (int)data_len, data ? data : "");
    return true;
}

/* What is there now, and a feed of what comes. First the feed, then the view: so nothing lies between the two. */
static fw_status load(struct follower *it) {
    fw_view *view = NULL;
    fw_feed_free(it->feed);
    it->feed = NULL;
    fw_status status =
        fw_observer_subscribe(it->observer, it->path, FW_CSTR, FW_FROM_NOW, &it->feed, &it->error);
    if (status == FW_OK) status = fw_observer_view(it->observer, &view, &it->error);
    if (status == FW_OK) {
        it->seen = fw_view_zxid(view);
        status = fw_view_scan(view, it->path, FW_CSTR, print_node, NULL, &it->error);
        if (status == FW_NO_NODE) { /* it may come */
            fw_error_free(it->error);
            it->error = NULL, status = FW_OK;
        }
        puts("-- so far");
        fflush(stdout);
    }
    fw_view_free(view);
    if (status == FW_OK) status = fw_feed_queue(it->feed, it->queue, &feed_tag, &it->error);
    return status;
}

static void print_change(const fw_change *change) {
    size_t path_len = 0, data_len = 0;
    const char *path = fw_change_path(change, &path_len);
    const char *data = (const char *)fw_change_data(change, &data_len);
    if (fw_change_kind_of(change) == FW_CHANGE_DELETED)
        printf("%.*s is gone\n", (int)path_len, path);
    else
        printf("%.*s is now %.*s\n", (int)path_len, path, (int)data_len, data ? data : "");
    fflush(stdout);
}

/* Takes all there is: only behind a FW_TIMEOUT the feed tells the queue again. */
static fw_status drain(struct follower *it) {
    fw_status status;
    fw_change *change = NULL;
    while ((status = fw_feed_next(it->feed, 0, &change, NULL)) == FW_OK) {
        if (it->seen < fw_change_zxid(change) && it->left > 0) {
            print_change(change);
            it->left--;
        }
        fw_change_free(change);
    }
    if (status == FW_TIMEOUT || status == FW_CLOSED) return FW_OK; /* of the end the observer's own event tells */
    if (status != FW_WINDOW_LOST) return status;
    puts("changes were missed: all anew");
    return load(it);
}

static fw_status handle(struct follower *it, const fw_completion *entry) {
    const fw_event *event = fw_completion_event(entry);
    switch (fw_event_get_kind(event)) {
    case FW_EVENT_FEED: /* one of a feed that was freed may have been on its way */
        return it->feed == NULL ? FW_OK : drain(it);
    case FW_EVENT_OBSERVER_LINKED:
        return it->feed == NULL ? load(it) : FW_OK;
    case FW_EVENT_OBSERVER_UNLINKED:
        puts("not linked: what is known can be read");
        return FW_OK;
    case FW_EVENT_OBSERVER_ENDED:
        fprintf(stderr, "follow: the observer ended: %s\n", fw_observer_ended(it->observer, NULL));
        it->is_over = 1;
        return FW_OK;
    default: return FW_OK; /* of a newer library */
    }
}

static fw_status loop(struct follower *it, int epoll) {
    struct epoll_event seen;
    while (it->left > 0 && !it->is_over) {
        if (epoll_wait(epoll, &seen, 1, -1) < 0 && errno != EINTR) {
            perror("epoll");
            return FW_NO_RESOURCES;
        }
        fw_completion *entry = NULL;
        while (fw_queue_next(it->queue, 0, &entry, NULL) == FW_OK) {
            fw_status status = handle(it, entry);
            fw_completion_free(entry);
            if (status != FW_OK) return status;
        }
    }
    return FW_OK;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: follow PEERS PATH [CHANGES]\n");
        return 2;
    }
    struct follower it = {.path = arguments[2], .left = count > 3 ? atol(arguments[3]) : 1};
    struct epoll_event wanted = {.events = EPOLLIN};
    fw_config *config = NULL;
    int code = 1, epoll = epoll_create1(EPOLL_CLOEXEC);

    if (fw_config_new(&config, &it.error) == FW_OK &&
        fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &it.error) == FW_OK &&
        fw_queue_new(&it.queue, &it.error) == FW_OK &&
        epoll_ctl(epoll, EPOLL_CTL_ADD, fw_queue_fd(it.queue), &wanted) == 0 &&
        fw_observer_open(config, &it.observer, &it.error) == FW_OK &&
        fw_observer_queue(it.observer, it.queue, &observer_tag, &it.error) == FW_OK &&
        loop(&it, epoll) == FW_OK)
        code = it.left == 0 ? 0 : 1;
    if (it.error) fprintf(stderr, "follow: %s\n", fw_error_text(it.error));
    fw_error_free(it.error);
    fw_feed_free(it.feed);
    fw_observer_free(it.observer);
    fw_queue_free(it.queue);
    fw_config_free(config);
    if (epoll >= 0) close(epoll);
    return code;
}
