/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_CLOCK_H
#define POLICYD_CLOCK_H

/*
 * Time for judging how old knowledge is: CLOCK_BOOTTIME goes on while the
 * machine sleeps, which the loop's clock does not.
 */

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_boot_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static inline uint64_t
clock_ms(uint64_t ns)
{
    return ns / 1000000;
}

static inline uint64_t
clock_boot_ms(void)
{
    return clock_ms(clock_boot_ns());
}

#endif
