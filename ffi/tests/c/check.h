/* What the test programs share: a check that says where it failed. */
#ifndef CHECK_H
#define CHECK_H

#include <farwatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Says what the error says, when one was not expected. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        fw_error *error = NULL;                                                                    \
        if ((call) != FW_OK) {                                                                     \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, fw_error_text(error));   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static inline fw_config *configured(const char *connect) {
    fw_config *config = NULL;
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "connect", FW_CSTR, connect, FW_CSTR, &error));
    return config;
}

static inline fw_client *opened(const char *connect) {
    fw_config *config = configured(connect);
    fw_client *client = NULL;
    OK(fw_client_open(config, &client, &error));
    fw_config_free(config);
    return client;
}

static inline fw_result *called(fw_client *client, fw_op *op) {
    fw_result *result = NULL;
    OK(fw_client_call(client, op, FW_DEFAULT_TIMEOUT, &result, &error));
    fw_op_free(op);
    return result;
}

#endif
