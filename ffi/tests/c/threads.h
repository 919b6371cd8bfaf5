/* A process in which no thread can be had while `no_threads` is set. Needs _GNU_SOURCE. */
#ifndef THREADS_H
#define THREADS_H

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

static int no_threads;

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *context) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : create(thread, how, run, context);
}

#endif
