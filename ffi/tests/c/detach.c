/* A session that goes from process to process: `detach.c CONNECT begin` makes an ephemeral node and
 * prints the session's text; `detach.c CONNECT go-on`, which reads it, finds the node, and detaches
 * again; `end` ends the session. */
#include "check.h"

static fw_client *resumed(const char *connect, const char *text, size_t size) {
    fw_config *config = configured(connect);
    fw_client *client = NULL;
    OK(fw_config_set(config, "session", FW_CSTR, text, size, &error));
    OK(fw_client_open(config, &client, &error));
    fw_config_free(config);
    return client;
}

static void detach(fw_client *client) {
    fw_session *session = NULL;
    fw_error *error = NULL;
    size_t size = 0;
    int64_t id = fw_client_session_id(client);
    OK(fw_client_detach(client, FW_DEFAULT_TIMEOUT, &session, &error));
    CHECK(id != 0 && fw_session_id(session) == id && fw_session_zxid(session) > 0);
    CHECK(fw_session_timeout_ms(session) == fw_client_session_timeout_ms(client));
    CHECK(fw_session_password(session, &size) != NULL && size == 16);
    /* The handle is of no more use, and freeing it ends nothing. */
    CHECK(fw_client_state(client) == FW_STATE_CLOSED);
    CHECK(fw_client_sync(client, "/", FW_CSTR, -1, &error) == FW_CLOSED && fw_error_fatal(error));
    fw_error_free(error);
    CHECK(fw_client_detach(client, FW_DEFAULT_TIMEOUT, &session, NULL) == FW_CLOSED);
    fw_client_free(client);
    const char *text = fw_session_text(session, &size);
    CHECK(size == strlen(text) && strchr(text, '\n') == NULL);
    printf("%s\n", text);
    fw_session_free(session);
}

static void refusals(const char *connect) {
    fw_config *config = configured(connect);
    fw_client *client = NULL;
    fw_error *error = NULL;
    OK(fw_config_set(config, "session", FW_CSTR, "farwatch-session-1:secret", FW_CSTR, &error));
    CHECK(fw_client_open(config, &client, &error) == FW_BAD_ARGUMENT);
    CHECK(strstr(fw_error_text(error), "secret") == NULL);
    fw_error_free(error);
    OK(fw_config_set(config, "session", FW_CSTR, "", 0, &error));
    CHECK(fw_client_open(config, &client, NULL) == FW_BAD_ARGUMENT);
    fw_config_free(config);
    config = configured(connect);
    OK(fw_config_set(config, "serverChoice", FW_CSTR, "best", FW_CSTR, &error));
    CHECK(fw_client_open(config, &client, NULL) == FW_BAD_ARGUMENT);
    fw_config_free(config);
    config = configured("127.0.0.1:1");
    OK(fw_client_open(config, &client, &error));
    fw_session *session = NULL;
    CHECK(fw_client_detach(client, 1000, &session, NULL) == FW_CLOSED && session == NULL);
    fw_client_free(client);
    fw_config_free(config);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    if (strcmp(arguments[2], "begin") == 0) {
        refusals(arguments[1]);
        fw_client *client = opened(arguments[1]);
        OK(fw_client_create(client, "/mine", FW_CSTR, NULL, 0, FW_EPHEMERAL, -1, NULL, &error));
        detach(client);
        return 0;
    }
    char line[256];
    CHECK(fgets(line, sizeof line, stdin) != NULL);
    size_t size = strcspn(line, "\n");
    fw_client *client = resumed(arguments[1], line, size);
    fw_result *result = NULL;
    fw_stat stat = FW_STAT_INIT;
    OK(fw_client_exists(client, "/mine", FW_CSTR, 0, -1, &result, &error));
    CHECK(fw_result_exists(result));
    OK(fw_result_stat(result, &stat, &error));
    CHECK(stat.ephemeral_owner == fw_client_session_id(client));
    fw_result_free(result);
    if (strcmp(arguments[2], "go-on") == 0) {
        detach(client);
        return 0;
    }
    OK(fw_client_close(client, -1, &error));
    fw_client_free(client);
    /* What is left of it is the news that it is over. */
    client = resumed(arguments[1], line, size);
    CHECK(fw_client_sync(client, "/", FW_CSTR, -1, NULL) == FW_SESSION_EXPIRED);
    fw_client_free(client);
    printf("ended\n");
    return 0;
}
