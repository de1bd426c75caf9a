/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_HASH_H
#define POLICYD_HASH_H

/*
 * Checks of passwords against stored secrets, off the loop: on libuv's worker
 * threads, at most so many at a time, behind a bounded queue of which one
 * client gets a part. The same question asked twice at the same time is
 * computed once. Every check of a password that is refused costs at least what
 * one under the policy does, whether there was a secret or not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "lib/secret.h"

#define HASH_PER_CLIENT 2 /* that run at the same time */

struct hash_pool;

struct hash_question {
    const char *secret;     /* NULL: there is none; spend the time anyway */
    const char *old_secret; /* another that is as good, or NULL */
    const char *password;
    size_t len;
    uint64_t client; /* who asks; any number that tells clients apart */
    bool refuse_md5;
    bool upgrade_md5; /* make a new secret when an MD5 one matched */
};

struct hash_answer {
    enum secret_result result; /* of secret or old_secret, whichever matched */
    const char *matched;  /* the stored secret that did, else NULL */
    const char *upgraded; /* the new secret to be stored, or NULL */
};

/* NULL when out of memory. Before the first use of libuv's thread pool. */
struct hash_pool *hash_pool_new(uv_loop_t *loop, unsigned int threads,
                                const struct secret_policy *policy);

/* Frees *pool once nothing runs any more; no callback comes after this. */
void hash_pool_free(struct hash_pool **pool);

void hash_pool_set_policy(struct hash_pool *pool,
                          const struct secret_policy *policy);

/* Copies the question. done is called once from the loop; answer is valid
 * during the call. False when there is no room: too much waits already. */
typedef void hash_done_fn(void *context, const struct hash_answer *answer);
bool hash_check(struct hash_pool *pool, const struct hash_question *question,
                hash_done_fn *done, void *context);

struct hash_counts {
    size_t waiting, running;
    unsigned long checked, shared, refused;
};
struct hash_counts hash_counts(const struct hash_pool *pool);

#endif
