/* What the programs that measure share: the middle and the tail of many samples. */
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A read of memory takes less than a look at the clock: a sample is the mean of so many. */
#define MEMORY_BATCH 100
#define SAMPLES_MAX 100000

static double bench_samples[SAMPLES_MAX];

static inline double bench_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static inline int bench_order(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Prints nanoseconds: NAME: p50 N, p99 N */
static inline void bench_report(const char *name, size_t samples) {
    qsort(bench_samples, samples, sizeof(double), bench_order);
    printf("%s: p50 %.1f, p99 %.1f\n", name, bench_samples[samples / 2],
           bench_samples[samples - 1 - samples / 100]);
}

/* Calls `call`, which must equal `good`, `samples` times `batch` times, and as often before it counts. */
#define MEASURE(name, samples, batch, good, call)                                                  \
    do {                                                                                           \
        for (size_t round = 0; round < 2 * (size_t)(samples); round++) {                           \
            double began = bench_now();                                                            \
            for (int time = 0; time < (batch); time++)                                             \
                if ((call) != (good)) return 1;                                                    \
            bench_samples[round % (samples)] = (bench_now() - began) / (batch);                    \
        }                                                                                          \
        bench_report(name, samples);                                                               \
    } while (0)

static inline size_t bench_count(const char *text) {
    size_t samples = strtoul(text, NULL, 10);
    return samples < 1 ? 1 : samples > SAMPLES_MAX ? SAMPLES_MAX : samples;
}

#endif
