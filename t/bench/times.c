/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/bench/times.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t
read_clock(clockid_t clock, const char *what)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0)
        err(1, "%s", what);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

uint64_t
times_now(void)
{
    return read_clock(CLOCK_MONOTONIC, "clock");
}

uint64_t
times_cpu(pid_t pid)
{
    clockid_t clock;
    int status;

    if (pid == 0)
        return 0;
    status = clock_getcpuclockid(pid, &clock);
    if (status != 0)
        errx(1, "CPU time of process %d: %s", (int) pid, strerror(status));
    return read_clock(clock, "CPU time");
}

/* Powers of two, each in equal parts; below TIMES_SUB every number is one. */
static unsigned int
bucket_of(uint64_t ns)
{
    unsigned int power;

    if (ns < TIMES_SUB)
        return (unsigned int) ns;
    power = 63 - (unsigned int) __builtin_clzll(ns); /* 5 or more */
    return (power - 4) * TIMES_SUB
           + (unsigned int) ((ns >> (power - 5)) - TIMES_SUB);
}

/* The highest number in the bucket. */
static uint64_t
end_of(unsigned int bucket)
{
    unsigned int power = bucket / TIMES_SUB;

    if (power == 0)
        return bucket;
    return ((uint64_t) (bucket % TIMES_SUB + TIMES_SUB + 1) << (power - 1))
           - 1;
}

void
times_add(struct times *times, uint64_t ns)
{
    unsigned int bucket = bucket_of(ns);

    if (bucket >= TIMES_BUCKETS)
        bucket = TIMES_BUCKETS - 1;
    times->count[bucket]++;
    times->total++;
}

double
times_quantile(const struct times *times, double share)
{
    uint64_t sum = 0;
    unsigned int i;

    for (i = 0; i < TIMES_BUCKETS; i++) {
        sum += times->count[i];
        if (sum > 0 && (double) sum >= share * (double) times->total)
            return (double) end_of(i) / 1000;
    }
    return 0;
}
