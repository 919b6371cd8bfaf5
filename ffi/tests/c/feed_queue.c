/* A loop that follows an observer and its feeds through a queue, and waits nowhere else. It says how far it is, and
 * the test cuts the way to the upstream meanwhile: feed_queue UPSTREAM-THROUGH-THE-TEST CONNECT */
#include "check.h"
#include <poll.h>
#include <pthread.h>

static char observer_tag, feed_tag, other_tag;
static fw_config *config;
static fw_observer *observer;
static fw_client *client;
static fw_queue *queue, *links;

static void say(const char *text) {
    puts(text);
    fflush(stdout);
}

/* The kind of the next event, with this tag; the descriptor is readable when it is there. */
static int takes_any(fw_queue *from, const void *tag) {
    struct pollfd waits = {.fd = fw_queue_fd(from), .events = POLLIN};
    fw_completion *entry = NULL;
    CHECK(poll(&waits, 1, 60000) == 1);
    OK(fw_queue_next(from, 0, &entry, &error));
    CHECK(fw_completion_tag(entry) == tag && fw_completion_status(entry) == FW_OK);
    CHECK(fw_completion_result(entry) == NULL && fw_completion_error(entry) == NULL);
    const fw_event *event = fw_completion_event(entry);
    int kind = fw_event_get_kind(event);
    CHECK(fw_event_path(event, NULL) == NULL && fw_event_zxid(event) == -1);
    fw_completion_free(entry);
    return kind;
}

static void takes(fw_queue *from, const void *tag) { CHECK(takes_any(from, tag) == FW_EVENT_FEED); }

/* Until it is linked so. On a busy machine a link may be lost by itself, and made again: each change is told. */
static void await_link(int wanted) {
    int kind = 0;
    while (kind != wanted) {
        int next = takes_any(links, &observer_tag);
        CHECK(next != kind && FW_EVENT_OBSERVER_LINKED <= next && next <= FW_EVENT_OBSERVER_ENDED);
        kind = next;
    }
}

static void is_empty(fw_queue *which) {
    struct pollfd waits = {.fd = fw_queue_fd(which), .events = POLLIN};
    fw_completion *none = NULL;
    CHECK(poll(&waits, 1, 0) == 0 && fw_queue_next(which, 0, &none, NULL) == FW_TIMEOUT);
}

/* What is acknowledged here has been told to every feed. */
static void set(const char *path) {
    OK(fw_client_set(client, path, FW_CSTR, NULL, 0, FW_ANY_VERSION, 60000, NULL, &error));
}

static void create(const char *path) {
    OK(fw_client_create(client, path, FW_CSTR, NULL, 0, FW_PERSISTENT, 60000, NULL, &error));
}

static fw_status takes_change(fw_feed *feed) {
    fw_change *change = NULL;
    fw_status status = fw_feed_next(feed, 0, &change, NULL);
    fw_change_free(change);
    return status;
}

/* So many changes, and nothing behind them. */
static void takes_changes(fw_feed *feed, int count) {
    for (int at = 0; at < count; at++) CHECK(takes_change(feed) == FW_OK);
    CHECK(takes_change(feed) == FW_TIMEOUT);
}

static fw_feed *subscribed(const char *path) {
    fw_feed *feed = NULL;
    OK(fw_observer_subscribe(observer, path, FW_CSTR, FW_FROM_NOW, &feed, &error));
    return feed;
}

static void queued(fw_feed *feed, fw_queue *to, void *tag) { OK(fw_feed_queue(feed, to, tag, &error)); }

/* Once for all that came behind the look that found nothing. */
static void tells_once(void) {
    fw_feed *feed = subscribed("/loop"), *other = subscribed("/elsewhere");
    queued(feed, queue, &feed_tag), queued(other, queue, &other_tag);
    is_empty(queue);
    for (int round = 0; round < 3; round++) {
        for (int changes = 0; changes < 3; changes++) set("/loop");
        takes(queue, &feed_tag);
        is_empty(queue);
        /* Not all of it was taken: so nothing is told. */
        for (int taken = 0; taken < 2; taken++) CHECK(takes_change(feed) == FW_OK);
        set("/loop");
        is_empty(queue);
        takes_changes(feed, 2);
        is_empty(queue);
    }
    /* What nobody took from the queue is there once, though all was taken from the feed meanwhile. */
    for (int round = 0; round < 3; round++) set("/loop"), takes_changes(feed, 1);
    takes(queue, &feed_tag);
    is_empty(queue);
    set("/elsewhere"), set("/loop");
    takes(queue, &other_tag);
    takes(queue, &feed_tag);
    takes_changes(other, 1);
    fw_feed_free(feed), fw_feed_free(other);
}

/* What waits already is told at once, and from then on to the queue that was given last. */
static void moves_to_another_queue(void) {
    fw_queue *later = NULL;
    fw_feed *feed = subscribed("/loop");
    OK(fw_queue_new(&later, &error));
    set("/loop");
    queued(feed, queue, &feed_tag);
    takes(queue, &feed_tag);
    queued(feed, later, &other_tag);
    takes(later, &other_tag);
    takes_changes(feed, 1);
    set("/loop");
    takes(later, &other_tag);
    is_empty(queue);
    /* A queue may go first: the feed can still be read. */
    takes_changes(feed, 1);
    fw_queue_free(later);
    set("/loop");
    takes_changes(feed, 1);
    queued(feed, queue, &feed_tag);
    is_empty(queue);
    /* The feed may, too: nothing is told behind that. What was told stays. */
    fw_feed_free(feed);
    set("/loop");
    is_empty(queue);
    feed = subscribed("/loop");
    queued(feed, queue, &feed_tag);
    set("/loop");
    fw_feed_free(feed);
    takes(queue, &feed_tag);
    is_empty(queue);
}

/* What lies in the queue stays there, nothing comes behind it, and the feed can be read, and told of anew. */
static void is_taken_away_from_its_queue(void) {
    fw_feed *feed = subscribed("/loop");
    queued(feed, NULL, &feed_tag); /* which had none */
    queued(feed, queue, &feed_tag);
    set("/loop");
    queued(feed, NULL, NULL);
    takes(queue, &feed_tag);
    takes_changes(feed, 1); /* which would ask for the next word */
    set("/loop");
    is_empty(queue);
    takes_changes(feed, 1);
    is_empty(queue);
    set("/loop");
    queued(feed, queue, &other_tag);
    takes(queue, &other_tag);
    takes_changes(feed, 1);
    set("/loop");
    takes(queue, &other_tag);
    queued(feed, NULL, NULL);
    fw_feed_free(feed);
    is_empty(queue);
    CHECK(fw_feed_queue(NULL, NULL, NULL, NULL) == FW_NULL && fw_observer_queue(NULL, NULL, NULL, NULL) == FW_NULL);
}

enum { LARGE_BYTES = 30000, LARGE_SETS = 20 }; /* more than a window */

static void set_large(const char *path) {
    static const uint8_t data[LARGE_BYTES];
    for (int at = 0; at < LARGE_SETS; at++)
        OK(fw_client_set(client, path, FW_CSTR, data, LARGE_BYTES, FW_ANY_VERSION, 60000, NULL, &error));
}

/* Who lags is told that changes were missed. Who does not is not, however much changes elsewhere. */
static void loses_its_window(void) {
    fw_feed *feed = subscribed("/loop"), *quiet = subscribed("/quiet");
    queued(feed, queue, &feed_tag), queued(quiet, queue, &other_tag);
    set_large("/loop");
    takes(queue, &feed_tag);
    is_empty(queue);
    CHECK(takes_change(feed) == FW_WINDOW_LOST);
    set("/loop");
    CHECK(takes_change(feed) == FW_WINDOW_LOST);
    is_empty(queue);
    fw_feed_free(feed);
    feed = subscribed("/loop");
    queued(feed, queue, &feed_tag);
    set("/loop");
    takes(queue, &feed_tag);
    takes_changes(feed, 1);
    set("/quiet");
    takes(queue, &other_tag);
    takes_changes(quiet, 1);
    fw_feed_free(feed), fw_feed_free(quiet);
}

enum { CHANGES = 500 };

static void *writes(void *direct) {
    for (int at = 0; at < CHANGES; at++)
        OK(fw_client_set(direct, "/loop", FW_CSTR, NULL, 0, FW_ANY_VERSION, 60000, NULL, &error));
    return NULL;
}

/* While another thread brings them no change is missed, and none waits for the next. */
static void follows_a_writer(const char *connect) {
    fw_client *direct = opened(connect);
    fw_feed *feed = subscribed("/loop");
    pthread_t writer;
    int changes = 0;
    queued(feed, queue, &feed_tag);
    CHECK(pthread_create(&writer, NULL, writes, direct) == 0);
    while (changes < CHANGES) {
        takes(queue, &feed_tag);
        while (takes_change(feed) == FW_OK) changes++;
    }
    CHECK(changes == CHANGES && pthread_join(writer, NULL) == 0);
    is_empty(queue);
    fw_feed_free(feed), fw_client_free(direct);
}

static void open_one(const char *thread) {
    OK(fw_config_set(config, "thread", FW_CSTR, thread, FW_CSTR, &error));
    OK(fw_observer_open(config, &observer, &error));
}

static void is_cut_and_healed(void) {
    say("linked");
    await_link(FW_EVENT_OBSERVER_UNLINKED);
    fw_lag lag = FW_LAG_INIT;
    OK(fw_observer_lag(observer, &lag, &error));
    CHECK(lag.linked == 0);
    say("unlinked");
    await_link(FW_EVENT_OBSERVER_LINKED);
}

/* Feeds are told first, and the observer's own end is the last of all. */
static void ends(void) {
    fw_feed *feed = subscribed("/"), *behind = NULL;
    bool is_feed_told = false;
    OK(fw_observer_queue(observer, links, &observer_tag, &error));
    queued(feed, links, &observer_tag);
    OK(fw_observer_close(observer, &error));
    for (int kind = 0; kind != FW_EVENT_OBSERVER_ENDED; kind = takes_any(links, &observer_tag)) {
        CHECK(kind != FW_EVENT_FEED || !is_feed_told);
        is_feed_told = is_feed_told || kind == FW_EVENT_FEED;
    }
    CHECK(is_feed_told);
    is_empty(links);
    CHECK(takes_change(feed) == FW_CLOSED && fw_observer_ended(observer, NULL) != NULL);
    /* Who asks later is told at once. */
    OK(fw_observer_queue(observer, queue, &other_tag, &error));
    CHECK(takes_any(queue, &other_tag) == FW_EVENT_OBSERVER_ENDED);
    behind = subscribed("/");
    queued(behind, queue, &other_tag);
    takes(queue, &other_tag);
    CHECK(takes_change(behind) == FW_CLOSED);
    CHECK(fw_observer_free(observer) == FW_OK);
    queued(feed, queue, &feed_tag); /* which outlives its observer */
    takes(queue, &feed_tag);
    is_empty(queue);
    fw_feed_free(feed), fw_feed_free(behind);
}

/* The one that is driven has no thread to tell anything: it does so while it is driven. */
static void is_driven(void) {
    open_one("none");
    OK(fw_observer_queue(observer, links, &observer_tag, &error));
    await_link(FW_EVENT_OBSERVER_UNLINKED);
    is_empty(links);
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    await_link(FW_EVENT_OBSERVER_LINKED);
    CHECK(fw_observer_free(observer) == FW_OK);
    await_link(FW_EVENT_OBSERVER_ENDED);
    is_empty(links);
}

/* Of what comes behind that it is told nothing: neither the link nor the end. What was told stays. */
static void is_told_no_more(void) {
    open_one("none");
    OK(fw_observer_queue(observer, NULL, NULL, &error)); /* which had none */
    OK(fw_observer_queue(observer, links, &observer_tag, &error));
    OK(fw_observer_queue(observer, NULL, NULL, &error));
    CHECK(takes_any(links, &observer_tag) == FW_EVENT_OBSERVER_UNLINKED);
    OK(fw_observer_wait_ready(observer, 0, 60000, &error));
    is_empty(links);
    OK(fw_observer_queue(observer, queue, &other_tag, &error));
    CHECK(takes_any(queue, &other_tag) == FW_EVENT_OBSERVER_LINKED);
    OK(fw_observer_queue(observer, NULL, NULL, &error));
    CHECK(fw_observer_free(observer) == FW_OK);
    is_empty(queue), is_empty(links);
}

/* A queue that is freed before those who fill it is nothing to them. */
static void outlives_its_queue(void) {
    open_one("own");
    fw_queue *gone = NULL;
    OK(fw_queue_new(&gone, &error));
    OK(fw_observer_queue(observer, gone, NULL, &error));
    OK(fw_observer_wait_ready(observer, 0, 60000, &error)); /* or the feed loses what is shown then */
    fw_feed *feed = subscribed("/");
    queued(feed, gone, NULL);
    fw_queue_free(gone);
    CHECK(fw_observer_free(observer) == FW_OK && takes_change(feed) == FW_CLOSED);
    fw_feed_free(feed);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    OK(fw_queue_new(&queue, &error));
    OK(fw_queue_new(&links, &error));
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, arguments[1], FW_CSTR, &error));
    OK(fw_config_set(config, "windowBytes", FW_CSTR, "400000", FW_CSTR, &error));
    is_driven();
    is_told_no_more();
    outlives_its_queue();

    open_one("own");
    OK(fw_observer_queue(observer, links, &observer_tag, &error));
    await_link(FW_EVENT_OBSERVER_LINKED);
    OK(fw_observer_wait_ready(observer, 0, 0, &error));
    OK(fw_observer_client(observer, NULL, NULL, 0, &client, &error));
    create("/loop"), create("/elsewhere"), create("/quiet");
    tells_once();
    moves_to_another_queue();
    is_taken_away_from_its_queue();
    loses_its_window();
    follows_a_writer(arguments[2]);
    is_cut_and_healed();
    fw_client_free(client);
    ends();
    fw_config_free(config);
    fw_queue_free(queue), fw_queue_free(links);
    say("done");
    return 0;
}
