/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/siphash.h"

#include <openssl/rand.h>

#include <string.h>

static inline uint64_t
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

static inline void
take_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
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
    const char *at = bytes;
    uint64_t word;
    size_t left;

    /* Of a known length, for else each copy is a call. */
    for (left = len; left >= sizeof(word); left -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        take_word(v, word);
        at += sizeof(word);
    }
    word = (uint64_t) len << 56;
    while (left-- > 0)
        word |= (uint64_t) (unsigned char) at[left] << (8 * left);
    take_word(v, word);
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
