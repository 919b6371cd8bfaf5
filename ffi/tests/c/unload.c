/* A host that loads and unloads the library, while a thread of a freed client may still run:
 *
 *     unload LIBRARY CONNECT */
#include "check.h"
#include <dlfcn.h>

/* ISO C knows no way from an object's pointer to a function's. */
static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

static void once(const char *path, const char *connect) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    fw_status (*config_new)(fw_config **, fw_error **);
    fw_status (*set)(fw_config *, const char *, size_t, const char *, size_t, fw_error **);
    fw_status (*open)(const fw_config *, fw_client **, fw_error **);
    fw_status (*config_free)(fw_config *);
    fw_status (*client_free)(fw_client *);
    *(void **)&config_new = find(library, "fw_config_new");
    *(void **)&set = find(library, "fw_config_set");
    *(void **)&open = find(library, "fw_client_open");
    *(void **)&config_free = find(library, "fw_config_free");
    *(void **)&client_free = find(library, "fw_client_free");
    fw_config *config;
    fw_client *client;
    CHECK(config_new(&config, NULL) == FW_OK);
    CHECK(set(config, "connect", FW_CSTR, connect, FW_CSTR, NULL) == FW_OK);
    CHECK(open(config, &client, NULL) == FW_OK);
    config_free(config);
    client_free(client); /* not connected yet: its thread may be dialling */
    CHECK(dlclose(library) == 0);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    for (int i = 0; i < 50; i++) once(arguments[1], arguments[2]);
    return 0;
}
