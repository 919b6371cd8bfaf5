/* Creates, reads, changes and deletes a node: kv host:port[,host:port...][/chroot] */
#include <farwatch.h>
#include <stdio.h>

#define TRY(call)                                                                                  \
    if ((call) != FW_OK) goto failed

int main(int count, char **arguments) {
    const char *connect = count < 2 ? "127.0.0.1:2181" : arguments[1];
    fw_config *config = NULL;
    fw_client *client = NULL;
    fw_result *result = NULL;
    fw_error *error = NULL;
    fw_stat stat = FW_STAT_INIT;
    size_t size = 0;
    int code = 1;

    TRY(fw_config_new(&config, &error));
    TRY(fw_config_set(config, "connect", FW_CSTR, connect, FW_CSTR, &error));
    TRY(fw_client_open(config, &client, &error));

    TRY(fw_client_create(client, "/kv", FW_CSTR, (const uint8_t *)"one", 3, FW_EPHEMERAL,
                         FW_DEFAULT_TIMEOUT, NULL, &error));
    TRY(fw_client_get(client, "/kv", FW_CSTR, 0, FW_DEFAULT_TIMEOUT, &result, &error));
    const char *data = (const char *)fw_result_data(result, &size);
    TRY(fw_result_stat(result, &stat, &error));
    printf("/kv is %.*s, version %d\n", (int)size, data, (int)stat.version);

    TRY(fw_client_set(client, "/kv", FW_CSTR, (const uint8_t *)"two", 3, stat.version,
                      FW_DEFAULT_TIMEOUT, NULL, &error));
    TRY(fw_client_delete(client, "/kv", FW_CSTR, FW_ANY_VERSION, FW_DEFAULT_TIMEOUT, &error));
    puts("set and deleted");
    code = 0;

failed:
    if (error) fprintf(stderr, "kv: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_result_free(result);
    fw_client_free(client);
    fw_config_free(config);
    return code;
}
