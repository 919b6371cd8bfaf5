/* A directory that an observer cannot use is no matter of resources: no repetition makes it another one.
 * Arguments: whom to learn from, an empty directory. */
#include "check.h"
#include <sys/stat.h>

static char path[4096];

static const char *in(const char *directory, const char *name) {
    CHECK((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) < sizeof path);
    return path;
}

static fw_status open_in(const char *upstreams, const char *directory, fw_observer **observer) {
    fw_config *config = NULL;
    fw_error *why = NULL;
    OK(fw_config_new(&config, &error));
    OK(fw_config_set(config, "upstreams", FW_CSTR, upstreams, FW_CSTR, &error));
    OK(fw_config_set(config, "dataDir", FW_CSTR, directory, FW_CSTR, &error));
    fw_status status = fw_observer_open(config, observer, &why);
    if (status != FW_OK) {
        CHECK(fw_error_status(why) == status && !fw_error_retriable(why) && !fw_error_fatal(why));
        CHECK(strstr(fw_error_text(why), directory) != NULL && *observer == NULL);
    }
    fw_error_free(why);
    fw_config_free(config);
    return status;
}

static void is_no_place(const char *upstreams, const char *directory) {
    fw_observer *observer = NULL;
    fw_status status = open_in(upstreams, directory, &observer);
    if (status != FW_BAD_ARGUMENT) fprintf(stderr, "%s: %d\n", directory, (int)status);
    CHECK(status == FW_BAD_ARGUMENT);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    const char *upstreams = arguments[1], *directory = arguments[2];
    fw_observer *observer = NULL, *other = NULL;
    FILE *file = fopen(in(directory, "file"), "w");
    CHECK(file != NULL && fclose(file) == 0);
    is_no_place(upstreams, path);
    is_no_place(upstreams, in(directory, "file/below"));
    CHECK(mkdir(in(directory, "shared"), 0777) == 0 && chmod(path, 0777) == 0);
    is_no_place(upstreams, path);
    in(directory, "own");
    CHECK(open_in(upstreams, path, &observer) == FW_OK);
    OK(fw_observer_wait_ready(observer, 0, 60000, &error)); /* its first link gives it a name, and it begins anew */
    fw_status status = open_in(upstreams, path, &other);
    if (status != FW_TAKEN) fprintf(stderr, "%s: %d\n", path, (int)status);
    CHECK(status == FW_TAKEN);
    fw_observer_free(observer), observer = NULL;
    CHECK(open_in(upstreams, path, &observer) == FW_OK); /* it was freed meanwhile */
    fw_observer_free(observer);
    return 0;
}
