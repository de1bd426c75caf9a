/* SPDX-License-Identifier: MIT */
#ifndef T_BENCH_TIMES_H
#define T_BENCH_TIMES_H

/*
 * What the load generators measure with: a clock, the CPU time of another
 * process, and a histogram of latencies whose buckets are 3 % wide. Nothing
 * is allocated; what cannot be read ends the program with a message.
 */

#include <stdint.h>
#include <sys/types.h>

#define TIMES_SUB 32 /* buckets in each power of two */
#define TIMES_BUCKETS (40 * TIMES_SUB)

struct times {
    uint64_t count[TIMES_BUCKETS];
    uint64_t total;
};

uint64_t times_now(void); /* nanoseconds of CLOCK_MONOTONIC */

/* Nanoseconds of CPU that all threads of the process have used; 0 when pid
 * is 0. */
uint64_t times_cpu(pid_t pid);

void times_add(struct times *times, uint64_t ns);

/* The latency, in microseconds, that this share of all (0 to 1) is within; 0
 * when there is none. */
double times_quantile(const struct times *times, double share);

#endif
