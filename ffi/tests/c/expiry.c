/* A session that expires is replaced inside its client; the program says what it is told, and the
 * test cuts the connection meanwhile. */
#include "check.h"

static void say(const fw_event *event) {
    static const char *const states[] = {"connecting", "connected", "read only",
                                         "suspended",  "expired",   "closed"};
    if (fw_event_get_kind(event) == FW_EVENT_SESSION)
        printf("%s", states[fw_event_state(event)]);
    else
        printf(fw_event_get_kind(event) == FW_EVENT_REPLACED ? "replaced" : "other");
    for (size_t i = 0; i < fw_event_lost_count(event); i++)
        printf(" %s", fw_event_lost(event, i, NULL));
    printf("\n");
    fflush(stdout);
}

static void create(fw_client *client, const char *path, uint32_t mode) {
    OK(fw_client_create(client, path, FW_CSTR, NULL, 0, mode, -1, NULL, &error));
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_config *config = configured(arguments[1]);
    fw_queue *queue = NULL;
    fw_client *client = NULL;
    fw_completion *completion = NULL;
    OK(fw_queue_new(&queue, &error));
    OK(fw_config_set_bool(config, "renewExpired", FW_CSTR, true, &error));
    OK(fw_config_set_number(config, "sessionTimeout", FW_CSTR, 400, &error));
    OK(fw_config_event_queue(config, queue, NULL, &error));
    OK(fw_client_open(config, &client, &error));
    fw_config_free(config);
    create(client, "/lasting", FW_PERSISTENT);
    create(client, "/lost-1", FW_EPHEMERAL);
    create(client, "/deleted", FW_EPHEMERAL);
    create(client, "/lost-2", FW_EPHEMERAL);
    OK(fw_client_delete(client, "/deleted", FW_CSTR, -1, -1, &error));
    int64_t session = fw_client_session_id(client);
    int kind = 0;
    while (kind != FW_EVENT_REPLACED) {
        OK(fw_queue_next(queue, -1, &completion, &error));
        const fw_event *event = fw_completion_event(completion);
        say(event);
        kind = fw_event_get_kind(event);
        fw_completion_free(completion);
    }
    CHECK(fw_client_session_id(client) != session);
    create(client, "/lost-1", FW_EPHEMERAL);
    OK(fw_client_close(client, -1, &error));
    fw_client_free(client);
    fw_queue_free(queue);
    puts("done");
    return 0;
}
