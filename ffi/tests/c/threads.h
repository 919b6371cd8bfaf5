/* A process in which only `threads_left` more threads can be had. Needs _GNU_SOURCE. */
#ifndef THREADS_H
#define THREADS_H

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define MANY_THREADS (1 << 30)

static atomic_int threads_left = MANY_THREADS;

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *context) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return atomic_fetch_sub(&threads_left, 1) <= 0 ? EAGAIN : create(thread, how, run, context);
}

#endif
