/* A host that unloads the library: while a thread of a freed client may still run, with a client and an
 * observer that are open, and that are left so. Arguments: the library, or a plugin that has it inside; whom to
 * connect to; whom to learn from. */
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>

static void *library;

static fw_status (*config_new)(fw_config **, fw_error **);
static fw_status (*config_set)(fw_config *, const char *, size_t, const char *, size_t, fw_error **);
static fw_status (*config_free)(fw_config *);
static fw_status (*client_open)(const fw_config *, fw_client **, fw_error **);
static fw_status (*client_sync)(fw_client *, const char *, size_t, int64_t, fw_error **);
static fw_status (*client_free)(fw_client *);
static fw_status (*observer_open)(const fw_config *, fw_observer **, fw_error **);
static fw_status (*wait_ready)(const fw_observer *, int64_t, uint64_t, fw_error **);
static fw_status (*observer_exists)(const fw_observer *, const char *, size_t, fw_stat *, fw_error **);
static fw_status (*observer_free)(fw_observer *);

static void load(const char *path) {
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(library != NULL);
    /* ISO C knows no way from an object's pointer to a function's. */
#define FIND(name, function) CHECK((*(void **)&function = dlsym(library, name)) != NULL)
    FIND("fw_config_new", config_new);
    FIND("fw_config_set", config_set);
    FIND("fw_config_free", config_free);
    FIND("fw_client_open", client_open);
    FIND("fw_client_sync", client_sync);
    FIND("fw_client_free", client_free);
    FIND("fw_observer_open", observer_open);
    FIND("fw_observer_wait_ready", wait_ready);
    FIND("fw_observer_exists", observer_exists);
    FIND("fw_observer_free", observer_free);
}

static fw_config *config_of(const char *key, const char *value) {
    fw_config *config = NULL;
    CHECK(config_new(&config, NULL) == FW_OK);
    CHECK(config_set(config, key, FW_CSTR, value, FW_CSTR, NULL) == FW_OK);
    return config;
}

static fw_client *client_of(const char *connect) {
    fw_client *client = NULL;
    fw_config *config = config_of("connect", connect);
    CHECK(client_open(config, &client, NULL) == FW_OK);
    CHECK(config_free(config) == FW_OK);
    return client;
}

static fw_observer *observer_of(const char *upstreams) {
    fw_observer *observer = NULL;
    fw_config *config = config_of("upstreams", upstreams);
    CHECK(observer_open(config, &observer, NULL) == FW_OK);
    CHECK(config_free(config) == FW_OK);
    return observer;
}

/* In a thread of its own, as what the loader does at a thread's end would keep the file for one that lives. */
static void *come_and_go(void *connect) {
    fw_client *client = client_of(connect);
    CHECK(client_sync(client, "/", FW_CSTR, 60000, NULL) == FW_OK);
    CHECK(client_free(client) == FW_OK);
    return NULL;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    pthread_t thread;
    load(arguments[1]);
    CHECK(pthread_create(&thread, NULL, come_and_go, arguments[2]) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(dlclose(library) == 0);
    /* Nobody knows when the last thread is out of its code: it stays. */
    CHECK(dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD) == library && dlclose(library) == 0);
    for (int i = 0; i < 50; i++) {
        load(arguments[1]);
        fw_client *client = client_of(arguments[2]);
        CHECK(client_free(client) == FW_OK); /* not connected yet: its thread may be dialling */
        CHECK(dlclose(library) == 0);
    }
    for (int i = 0; i < 5; i++) {
        load(arguments[1]);
        fw_client *client = client_of(arguments[2]);
        fw_observer *observer = observer_of(arguments[3]);
        /* Unloaded while they begin, which goes on, and with which nothing was lost. */
        CHECK(dlclose(library) == 0);
        load(arguments[1]);
        CHECK(client_sync(client, "/", FW_CSTR, 60000, NULL) == FW_OK);
        CHECK(wait_ready(observer, 0, 60000, NULL) == FW_OK);
        CHECK(dlclose(library) == 0);
        load(arguments[1]);
        CHECK(observer_exists(observer, "/zookeeper", FW_CSTR, NULL, NULL) == FW_OK);
        if (i % 2 == 0) {
            CHECK(client_free(client) == FW_OK && observer_free(observer) == FW_OK);
        }
        CHECK(dlclose(library) == 0);
    }
    return 0; /* with what is open still */
}
