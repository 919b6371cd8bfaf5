/* Stands for election, leads once and resigns: election CONNECT PATH NAME */
#include <farwatch.h>
#include <stdio.h>
#include <string.h>

static void on_change(void *context, fw_standing standing) {
    static const char *const names[] = {"held", "suspended: stop for now", "lost"};
    (void)context;
    printf("standing: %s\n", names[standing]);
}

static void say_who_leads(fw_election *election) {
    fw_result *leader = NULL;
    fw_error *error = NULL;
    size_t size = 0;
    if (fw_election_leader(election, FW_DEFAULT_TIMEOUT, &leader, &error) == FW_OK) {
        const char *id = (const char *)fw_result_data(leader, &size);
        if (id == NULL)
            puts("nobody leads at the moment");
        else
            printf("%.*s leads\n", (int)size, id);
    } else {
        printf("who leads is not known: %s\n", fw_error_text(error));
    }
    fw_error_free(error);
    fw_result_free(leader);
}

int main(int count, char **arguments) {
    if (count < 4) {
        fprintf(stderr, "usage: election CONNECT PATH NAME\n");
        return 2;
    }
    const uint8_t *name = (const uint8_t *)arguments[3];
    fw_config *config = NULL;
    fw_client *client = NULL;
    fw_election *election = NULL;
    fw_error *error = NULL;
    fw_status status;
    int64_t token = 0;
    int code = 1;

    if (fw_config_new(&config, &error) == FW_OK &&
        fw_config_set(config, "connect", FW_CSTR, arguments[1], FW_CSTR, &error) == FW_OK &&
        fw_client_open(config, &client, &error) == FW_OK &&
        fw_election_join(client, arguments[2], FW_CSTR, name, strlen(arguments[3]),
                         FW_DEFAULT_TIMEOUT, &election, &error) == FW_OK &&
        fw_election_on_change(election, on_change, NULL, NULL, &error) == FW_OK) {
        /* A candidate that did not win yet is told who did, and stays in line. */
        while ((status = fw_election_lead(election, 1000, &error)) == FW_TIMEOUT) {
            fw_error_free(error);
            error = NULL;
            say_who_leads(election);
        }
        if (status == FW_OK && fw_election_check(election, &token, &error) == FW_OK) {
            say_who_leads(election);
            printf("leading with token %#llx\n", (unsigned long long)token);
            if (fw_election_resign(election, FW_DEFAULT_TIMEOUT, &error) == FW_OK) {
                puts("resigned");
                code = 0;
            }
        }
    }
    if (error) fprintf(stderr, "election: %s\n", fw_error_text(error));
    fw_error_free(error);
    fw_election_free(election);
    fw_client_free(client);
    fw_config_free(config);
    return code;
}
