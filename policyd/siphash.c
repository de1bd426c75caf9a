/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/siphash.h"

#include <openssl/rand.h>

#include <string.h>

static uint64_t
rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t
siphash(const struct siphash_key *key, const void *bytes, size_t len)
{
    uint64_t v[4] = {
        key->words[0] ^ UINT64_C(0x736f6d6570736575),
        key->words[1] ^ UINT64_C(0x646f72616e646f6d),
        key->words[0] ^ UINT64_C(0x6c7967656e657261),
        key->words[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t at = 0;
    bool last = false;

    while (!last) {
        uint64_t word = 0;
        size_t n = len - at < 8 ? len - at : 8;

        memcpy(&word, (const char *) bytes + at, n);
        last = n < 8;
        if (last)
            word |= (uint64_t) len << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
        at += n;
    }
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

bool
siphash_make_key(struct siphash_key *key_r)
{
    return RAND_bytes((unsigned char *) key_r->words, sizeof(key_r->words))
           == 1;
}
