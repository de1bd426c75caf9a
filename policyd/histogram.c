/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/histogram.h"

#include <inttypes.h>

/* Upper ends of the buckets, from what the memory takes to what a hung
 * database does. */
static const struct {
    uint64_t ns;
    const char *seconds;
} ends[HISTOGRAM_BUCKETS] = {
    {5000, "5e-06"},       {10000, "1e-05"},      {25000, "2.5e-05"},
    {50000, "5e-05"},      {100000, "0.0001"},    {250000, "0.00025"},
    {500000, "0.0005"},    {1000000, "0.001"},    {2500000, "0.0025"},
    {5000000, "0.005"},    {10000000, "0.01"},    {25000000, "0.025"},
    {50000000, "0.05"},    {100000000, "0.1"},    {250000000, "0.25"},
    {500000000, "0.5"},    {1000000000, "1"},     {2500000000, "2.5"},
};

void
histogram_add(struct histogram *histogram, uint64_t ns)
{
    unsigned int i = 0;

    while (i < HISTOGRAM_BUCKETS && ns > ends[i].ns)
        i++;
    histogram->count[i]++;
    histogram->sum_ns += ns;
}

void
histogram_print(const struct histogram *histogram, const char *name, FILE *out)
{
    uint64_t sum = 0;
    unsigned int i;

    for (i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += histogram->count[i];
        fprintf(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name,
                ends[i].seconds, sum);
    }
    sum += histogram->count[i];
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, sum);
    fprintf(out, "%s_sum %.9f\n", name, (double) histogram->sum_ns / 1e9);
    fprintf(out, "%s_count %" PRIu64 "\n", name, sum);
}
