/* SPDX-License-Identifier: MIT */
/*
 * libuv's pool also resolves names, on at most half of its threads, so it gets
 * twice as many as may hash: a resolver that hangs takes none of ours.
 */
#include "config.h"

#include "policyd/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_PER_THREAD 64 /* a second or two of the default scheme */

struct job {
    struct job *next;
    struct hash_pool *pool;
    uv_work_t work;
    struct secret_policy policy;
    bool has_secret, has_old, refuse_md5, upgrade_md5;
    char secret[SECRET_MAX];
    char old_secret[SECRET_MAX];
    char upgraded[SECRET_MAX];
    char password[SECRET_PASSWORD_MAX + 1];
    size_t len;
    enum secret_result result;
    const char *matched;
    bool has_upgraded;
    hash_done_fn *done;
    void *context;
};

struct hash_pool {
    uv_loop_t *loop;
    struct secret_policy policy;
    unsigned int threads;
    bool dying;
    struct job *first, **last;
    struct hash_counts counts;
};

static void
free_job(struct job *job)
{
    secret_wipe(job, sizeof(*job));
    free(job);
}

/* -- on a worker thread ------------------------------------------------------- */

static enum secret_result
check_one(const struct job *job, const char *secret)
{
    if (job->refuse_md5 && secret_form(secret) == SECRET_MD5)
        return SECRET_ERROR;
    return secret_check(secret, job->password, job->len);
}

/* Both secrets are always checked, so that time does not tell which matched. */
static void
check(uv_work_t *work)
{
    struct job *job = work->data;
    enum secret_result old = SECRET_MISMATCH;
    const char *error;

    job->result = SECRET_MISMATCH;
    if (job->has_secret)
        job->result = check_one(job, job->secret);
    if (job->has_old)
        old = check_one(job, job->old_secret);
    if (job->result == SECRET_MATCH) {
        job->matched = job->secret;
    } else if (old == SECRET_MATCH) {
        job->matched = job->old_secret;
        job->result = SECRET_MATCH;
    }
    if (job->matched == job->secret && job->upgrade_md5
        && secret_form(job->secret) == SECRET_MD5)
        job->has_upgraded = secret_make(&job->policy, job->password, job->len,
                                        job->upgraded, &error);
    if (job->result != SECRET_MATCH
        && !(job->has_secret && job->result == SECRET_MISMATCH
             && secret_costs_enough(&job->policy, job->secret)))
        secret_check_dummy(&job->policy, job->password, job->len);
}

/* -- on the loop ----------------------------------------------------------------- */

static void start_next(struct hash_pool *pool);

static void
on_checked(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct hash_pool *pool = job->pool;
    struct hash_answer answer = {
        .result = status == 0 ? job->result : SECRET_ERROR,
        .matched = job->matched,
        .upgraded = job->has_upgraded ? job->upgraded : NULL,
    };

    pool->counts.running--;
    pool->counts.checked++;
    if (!pool->dying)
        job->done(job->context, &answer);
    free_job(job);
    if (!pool->dying)
        start_next(pool);
    else if (pool->counts.running == 0)
        free(pool);
}

static void
start_next(struct hash_pool *pool)
{
    struct job *job = pool->first;

    if (job == NULL || pool->counts.running >= pool->threads)
        return;
    pool->first = job->next;
    if (pool->first == NULL)
        pool->last = &pool->first;
    pool->counts.waiting--;
    pool->counts.running++;
    uv_queue_work(pool->loop, &job->work, check, on_checked);
}

struct hash_pool *
hash_pool_new(uv_loop_t *loop, unsigned int threads,
              const struct secret_policy *policy)
{
    struct hash_pool *pool = calloc(1, sizeof(*pool));
    char size[16];

    if (pool == NULL)
        return NULL;
    snprintf(size, sizeof(size), "%u", 2 * threads);
    setenv("UV_THREADPOOL_SIZE", size, 1);
    pool->loop = loop;
    pool->threads = threads;
    pool->policy = *policy;
    pool->last = &pool->first;
    return pool;
}

void
hash_pool_free(struct hash_pool **pool)
{
    struct hash_pool *old = *pool;
    struct job *job;

    *pool = NULL;
    if (old == NULL)
        return;
    while ((job = old->first) != NULL) {
        old->first = job->next;
        free_job(job);
    }
    old->dying = true;
    if (old->counts.running == 0)
        free(old);
}

void
hash_pool_set_policy(struct hash_pool *pool,
                     const struct secret_policy *policy)
{
    pool->policy = *policy;
}

/* Copies a secret; one too long to be one is as good as unusable. */
static bool
copy_secret(char dst[static SECRET_MAX], const char *secret)
{
    if (secret == NULL)
        return false;
    snprintf(dst, SECRET_MAX, "%s", strlen(secret) < SECRET_MAX ? secret : "");
    return true;
}

bool
hash_check(struct hash_pool *pool, const struct hash_question *question,
           hash_done_fn *done, void *context)
{
    struct job *job;

    if (pool->counts.waiting >= (size_t) pool->threads * WAITING_PER_THREAD
        || question->len > SECRET_PASSWORD_MAX) {
        pool->counts.refused++;
        return false;
    }
    job = calloc(1, sizeof(*job));
    if (job == NULL)
        return false;
    job->pool = pool;
    job->work.data = job;
    job->policy = pool->policy;
    job->has_secret = copy_secret(job->secret, question->secret);
    job->has_old = copy_secret(job->old_secret, question->old_secret);
    job->refuse_md5 = question->refuse_md5;
    job->upgrade_md5 = question->upgrade_md5;
    memcpy(job->password, question->password, question->len);
    job->len = question->len;
    job->done = done;
    job->context = context;
    *pool->last = job;
    pool->last = &job->next;
    pool->counts.waiting++;
    start_next(pool);
    return true;
}

struct hash_counts
hash_counts(const struct hash_pool *pool)
{
    return pool->counts;
}
