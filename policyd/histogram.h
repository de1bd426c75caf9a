/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_HISTOGRAM_H
#define POLICYD_HISTOGRAM_H

/*
 * How long things took, in buckets for Prometheus. Zeroed, it is empty.
 */

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_BUCKETS 18

struct histogram {
    uint64_t count[HISTOGRAM_BUCKETS + 1]; /* the last is for the rest */
    uint64_t sum_ns;
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* Writes its lines in the Prometheus text format, in seconds. */
void histogram_print(const struct histogram *histogram, const char *name,
                     FILE *out);

#endif
