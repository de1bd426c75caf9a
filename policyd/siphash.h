/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_SIPHASH_H
#define POLICYD_SIPHASH_H

/*
 * SipHash-2-4 (Aumasson and Bernstein 2012): where a table is keyed by what
 * clients send, nobody without the key can make its entries collide.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t words[2];
};

/* False when there are no random numbers to be had. */
bool siphash_make_key(struct siphash_key *key_r);

uint64_t siphash(const struct siphash_key *key, const void *bytes,
                 size_t len);

#endif
