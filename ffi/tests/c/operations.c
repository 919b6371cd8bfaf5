/* Every operation, and what each answers. */
#include "check.h"

static fw_op *create(const char *path, const char *data, uint32_t mode) {
    fw_op *op = NULL;
    OK(fw_op_create(path, FW_CSTR, (const uint8_t *)data, strlen(data), mode, 0, NULL, &op, &error));
    return op;
}

static void nodes(fw_client *client) {
    fw_stat stat = FW_STAT_INIT;
    size_t size;
    fw_op *op;
    fw_result *result = called(client, create("/n-", "one", FW_PERSISTENT_SEQUENTIAL));
    CHECK(strcmp(fw_result_path(result, &size), "/n-0000000000") == 0 && size == 13);
    OK(fw_result_stat(result, &stat, &error));
    CHECK(stat.version == 0 && stat.data_length == 3 && stat.czxid == stat.mzxid);
    fw_result_free(result);

    OK(fw_op_get("/n-0000000000 and more", 13, FW_SYNC, &op, &error));
    result = called(client, op);
    CHECK(memcmp(fw_result_data(result, &size), "one", 3) == 0 && size == 3);
    CHECK(fw_result_path(result, NULL) == NULL && fw_result_count(result) == 0);
    fw_result_free(result);

    OK(fw_client_set(client, "/n-0000000000", FW_CSTR, NULL, 0, 0, -1, &result, &error));
    OK(fw_result_stat(result, &stat, &error));
    CHECK(stat.version == 1);
    fw_result_free(result);
    OK(fw_client_get(client, "/n-0000000000", FW_CSTR, 0, -1, &result, &error));
    size = 7;
    CHECK(fw_result_data(result, &size) == NULL && size == 0);
    fw_result_free(result);

    OK(fw_client_exists(client, "/absent", FW_CSTR, 0, -1, &result, &error));
    CHECK(!fw_result_exists(result));
    CHECK(fw_result_stat(result, &stat, NULL) == FW_BAD_ARGUMENT);
    fw_result_free(result);
    OK(fw_client_exists(client, "/n-0000000000", FW_CSTR, 0, -1, &result, &error));
    CHECK(fw_result_exists(result));
    stat.size = 8;
    CHECK(fw_result_stat(result, &stat, NULL) == FW_BAD_ARGUMENT);
    fw_result_free(result);

    OK(fw_client_children(client, "/", FW_CSTR, 0, -1, &result, &error));
    int found = 0;
    for (size_t i = 0; i < fw_result_count(result); i++)
        found += strcmp(fw_result_name(result, i, NULL), "n-0000000000") == 0;
    CHECK(found == 1 && fw_result_name(result, fw_result_count(result), NULL) == NULL);
    fw_result_free(result);
    OK(fw_op_count_descendants("/", FW_CSTR, &op, &error));
    result = called(client, op);
    CHECK(fw_result_number(result) >= 1);
    fw_result_free(result);
    OK(fw_client_sync(client, "/", FW_CSTR, -1, &error));
    OK(fw_client_delete(client, "/n-0000000000", FW_CSTR, 1, -1, &error));
}

static void refusals(fw_client *client) {
    fw_error *error = NULL;
    fw_result *result = NULL;
    CHECK(fw_client_get(client, "/absent", FW_CSTR, 0, -1, &result, &error) == FW_NO_NODE);
    CHECK(result == NULL && fw_error_status(error) == FW_NO_NODE && fw_error_code(error) == -101);
    CHECK(!fw_error_retriable(error) && !fw_error_fatal(error) && !fw_error_maybe_applied(error));
    fw_error_free(error);
    CHECK(fw_client_get(client, "no/slash", FW_CSTR, 0, -1, NULL, NULL) == FW_BAD_PATH);
    CHECK(fw_client_create(client, "/x", 2, NULL, 0, FW_PERSISTENT_TTL, -1, NULL, NULL) ==
          FW_BAD_ARGUMENT);
    static uint8_t much[2 << 20];
    CHECK(fw_client_create(client, "/x", 2, much, sizeof much, FW_PERSISTENT, -1, NULL, NULL) ==
          FW_TOO_LARGE);
}

static void transactions(fw_client *client) {
    fw_op *multi, *part;
    fw_error *error = NULL;
    OK(fw_op_multi(&multi, &error));
    CHECK(fw_client_call(client, multi, -1, NULL, NULL) == FW_BAD_ARGUMENT);
    part = create("/t", "one", FW_PERSISTENT);
    OK(fw_op_multi_add(multi, part, &error));
    fw_op_free(part);
    OK(fw_op_set("/t", 2, (const uint8_t *)"two", 3, 0, &part, &error));
    OK(fw_op_multi_add(multi, part, &error));
    fw_op_free(part);
    OK(fw_op_check("/t", 2, 1, &part, &error));
    OK(fw_op_multi_add(multi, part, &error));
    fw_op_free(part);
    OK(fw_op_get("/t", 2, 0, &part, &error));
    CHECK(fw_op_multi_add(multi, part, NULL) == FW_BAD_ARGUMENT);
    CHECK(fw_op_multi_add(part, part, NULL) == FW_BAD_ARGUMENT);
    CHECK(fw_op_multi_add(multi, multi, NULL) == FW_BAD_ARGUMENT);

    fw_result *result = NULL;
    OK(fw_client_call(client, multi, -1, &result, &error));
    CHECK(fw_result_count(result) == 3);
    CHECK(strcmp(fw_result_path(fw_result_part(result, 0), NULL), "/t") == 0);
    fw_stat stat = FW_STAT_INIT;
    OK(fw_result_stat(fw_result_part(result, 1), &stat, &error));
    CHECK(stat.version == 1 && fw_result_part(result, 3) == NULL);
    fw_result_free(result);
    CHECK(fw_client_call(client, multi, -1, NULL, &error) == FW_NODE_EXISTS);
    CHECK(fw_error_index(error) == 0);
    fw_error_free(error);
    fw_op_free(multi);

    OK(fw_op_multi(&multi, &error));
    OK(fw_op_multi_add(multi, part, &error));
    fw_op_free(part);
    OK(fw_op_children("/absent", FW_CSTR, 0, &part, &error));
    OK(fw_op_multi_add(multi, part, &error));
    fw_op_free(part);
    result = called(client, multi);
    CHECK(fw_result_status(result) == FW_OK);
    CHECK(memcmp(fw_result_data(fw_result_part(result, 0), NULL), "two", 3) == 0);
    CHECK(fw_result_status(fw_result_part(result, 1)) == FW_NO_NODE);
    fw_result_free(result);
    OK(fw_client_delete(client, "/t", 2, FW_ANY_VERSION, -1, &error));
}

/* What is refused leaves a transaction as it was: it still takes the other kind. */
static void refused_parts(fw_client *client) {
    fw_op *multi, *wrong, *read;
    OK(fw_op_multi(&multi, &error));
    OK(fw_op_sync("/", FW_CSTR, &wrong, &error));
    CHECK(fw_op_multi_add(multi, wrong, NULL) == FW_BAD_ARGUMENT);
    fw_op_free(wrong);
    OK(fw_op_get("/", FW_CSTR, FW_WATCH, &wrong, &error));
    CHECK(fw_op_multi_add(multi, wrong, NULL) == FW_BAD_ARGUMENT);
    fw_op_free(wrong);
    CHECK(fw_client_call(client, multi, -1, NULL, NULL) == FW_BAD_ARGUMENT); /* nothing was added */
    OK(fw_op_get("/", FW_CSTR, 0, &read, &error));
    OK(fw_op_multi_add(multi, read, &error));
    fw_op_free(read);
    fw_result *result = called(client, multi);
    CHECK(fw_result_count(result) == 1 && fw_result_status(fw_result_part(result, 0)) == FW_OK);
    fw_result_free(result);
}

static void identities(fw_client *client) {
    fw_op *op;
    fw_acl *acl;
    OK(fw_op_add_auth("digest", FW_CSTR, (const uint8_t *)"u:p", 3, &op, &error));
    fw_result_free(called(client, op));
    OK(fw_op_whoami(&op, &error));
    fw_result *result = called(client, op);
    int found = 0;
    for (size_t i = 0; i < fw_result_count(result); i++)
        found += strcmp(fw_result_scheme(result, i, NULL), "digest") == 0;
    CHECK(found == 1);
    fw_result_free(result);

    OK(fw_acl_new(&acl, &error));
    CHECK(fw_acl_add(acl, 0, "world", FW_CSTR, "anyone", FW_CSTR, NULL) == FW_BAD_ARGUMENT);
    OK(fw_acl_add(acl, FW_PERM_ALL, "auth", FW_CSTR, "", 0, &error));
    OK(fw_op_create("/own", FW_CSTR, NULL, 0, FW_EPHEMERAL, 0, acl, &op, &error));
    fw_result_free(called(client, op));
    OK(fw_op_get_acl("/own", FW_CSTR, &op, &error));
    result = called(client, op);
    CHECK(fw_result_count(result) == 1 && fw_result_perms(result, 0) == FW_PERM_ALL);
    CHECK(strncmp(fw_result_id(result, 0, NULL), "u:", 2) == 0);
    fw_result_free(result);
    OK(fw_op_set_acl("/own", FW_CSTR, NULL, 0, &op, &error));
    fw_result_free(called(client, op));
    fw_acl_free(acl);
    OK(fw_op_ephemerals("/", FW_CSTR, &op, &error));
    result = called(client, op);
    CHECK(fw_result_count(result) == 1 && strcmp(fw_result_name(result, 0, NULL), "/own") == 0);
    fw_result_free(result);
    OK(fw_client_exists(client, "/own", FW_CSTR, 0, -1, &result, &error));
    fw_stat stat = FW_STAT_INIT;
    OK(fw_result_stat(result, &stat, &error));
    CHECK(stat.ephemeral_owner == fw_client_session_id(client) && stat.ephemeral_owner != 0);
    fw_result_free(result);
}

static void kinds(fw_client *client) {
    fw_op *op;
    OK(fw_op_create("/ttl", FW_CSTR, NULL, 0, FW_PERSISTENT_TTL, 60000, NULL, &op, &error));
    fw_result_free(called(client, op));
    OK(fw_op_create("/container", FW_CSTR, NULL, 0, FW_CONTAINER, 0, NULL, &op, &error));
    fw_result_free(called(client, op));
    OK(fw_client_delete(client, "/ttl", FW_CSTR, -1, -1, &error));
    OK(fw_client_delete(client, "/container", FW_CSTR, -1, -1, &error));
    OK(fw_op_get_config(0, &op, &error));
    fw_result_free(called(client, op));
    CHECK(fw_op_get_config(FW_SYNC, &op, NULL) == FW_BAD_ARGUMENT);
    OK(fw_op_reconfig(NULL, 0, NULL, 0, "server.1=h:1:1", FW_CSTR, -1, &op, &error));
    CHECK(fw_client_call(client, op, -1, NULL, NULL) != FW_OK);
    fw_op_free(op);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    fw_client *client = opened(arguments[1]);
    OK(fw_client_wait_connected(client, -1, &error));
    CHECK(fw_client_session_id(client) != 0 && fw_client_session_timeout_ms(client) > 0);
    size_t length = 0;
    const char *server = fw_client_server(client, &length);
    CHECK(server && strlen(server) == length && strncmp(arguments[1], server, length) == 0);
    nodes(client);
    refusals(client);
    transactions(client);
    refused_parts(client);
    identities(client);
    kinds(client);
    OK(fw_client_close(client, -1, &error));
    CHECK(fw_client_state(client) == FW_STATE_CLOSED && !fw_client_server(client, NULL));
    fw_error *error = NULL;
    CHECK(fw_client_get(client, "/", 1, 0, -1, NULL, &error) == FW_CLOSED);
    CHECK(fw_error_fatal(error));
    fw_error_free(error);
    fw_client_free(client);
    return 0;
}
