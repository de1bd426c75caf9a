/* SPDX-License-Identifier: MIT */
/*
 * libuv's pool also resolves names, on at most half of its threads, so it gets
 * twice as many as may hash: a resolver that hangs takes none of ours.
 */
#include "config.h"

#include "policyd/hash.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_PER_THREAD 64 /* a second or two of the default scheme */
#define CLIENT_SHARE 2        /* one client gets at most half of the queue */
#define ASKERS_MAX 64         /* of the same question at the same time */

struct asker {
    hash_done_fn *done;
    void *context;
};

struct job {
    struct job *next;
    struct hash_pool *pool;
    uv_work_t work;
    struct secret_policy policy;
    uint64_t client;
    bool has_secret, has_old, refuse_md5, upgrade_md5;
    char secret[SECRET_MAX];
    char old_secret[SECRET_MAX];
    char upgraded[SECRET_MAX];
    char password[SECRET_PASSWORD_MAX + 1];
    size_t len;
    enum secret_result result;
    const char *matched;
    bool has_upgraded;
    struct asker askers[ASKERS_MAX];
    size_t askers_count;
};

struct hash_pool {
    uv_loop_t *loop;
    struct secret_policy policy;
    unsigned int threads;
    bool dying;
    struct job *waiting; /* in the order they came */
    struct job *running;
    struct hash_counts counts;
};

static void
free_job(struct job *job)
{
    secret_wipe(job, sizeof(*job));
    free(job);
}

static void
append(struct job **list, struct job *job)
{
    while (*list != NULL)
        list = &(*list)->next;
    job->next = NULL;
    *list = job;
}

static void
take_out(struct job **list, const struct job *job)
{
    while (*list != job)
        list = &(*list)->next;
    *list = job->next;
}

static size_t
count_client(const struct job *list, uint64_t client)
{
    size_t n = 0;

    for (; list != NULL; list = list->next)
        n += list->client == client;
    return n;
}

/* -- on a worker thread --------------------------------------------------- */

static enum secret_result
check_one(const struct job *job, const char *secret)
{
    if (job->refuse_md5 && secret_form(secret) == SECRET_MD5)
        return SECRET_ERROR;
    return secret_check(secret, job->password, job->len);
}

/* A refusal may not be cheaper than one under the policy. */
static bool
too_cheap(const struct job *job)
{
    return !job->has_secret || job->result == SECRET_ERROR
           || !secret_costs_enough(&job->policy, job->secret);
}

/* Whether crypt(3) failed at the secret, which may be for want of memory: it
 * does not tell. */
static bool
crypt_failed(enum secret_result result, const char *secret)
{
    return result == SECRET_ERROR && secret_form(secret) == SECRET_CRYPT;
}

/* A refusal that memory ran out for is none; a password that takes as much
 * memory shows whether it did. */
static enum secret_result
refusal(const struct job *job, enum secret_result old)
{
    struct secret_policy policy = job->policy;

    if (job->result == SECRET_UNTOLD || old == SECRET_UNTOLD)
        return SECRET_UNTOLD;
    if ((job->has_secret && crypt_failed(job->result, job->secret))
        || (job->has_old && crypt_failed(old, job->old_secret)))
        policy.scheme = SECRET_YESCRYPT;
    else if (!too_cheap(job))
        return job->result;
    return secret_check_dummy(&policy, job->password, job->len)
               ? job->result
               : SECRET_UNTOLD;
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
    if (job->result != SECRET_MATCH && old != SECRET_MATCH) {
        job->result = refusal(job, old);
        return;
    }
    job->matched = job->result == SECRET_MATCH ? job->secret : job->old_secret;
    job->result = SECRET_MATCH;
    if (job->matched == job->secret && job->upgrade_md5
        && secret_form(job->secret) == SECRET_MD5)
        job->has_upgraded = secret_make(&job->policy, job->password, job->len,
                                        job->upgraded, &error);
}

/* -- on the loop ---------------------------------------------------------- */

static void start_next(struct hash_pool *pool);

static void
on_checked(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct hash_pool *pool = job->pool;
    struct hash_answer answer = {
        .result = status == 0 ? job->result : SECRET_UNTOLD,
        .matched = job->matched,
        .upgraded = job->has_upgraded ? job->upgraded : NULL,
    };
    size_t i;

    take_out(&pool->running, job);
    pool->counts.running--;
    pool->counts.checked++;
    for (i = 0; !pool->dying && i < job->askers_count; i++) {
        job->askers[i].done(job->askers[i].context, &answer);
        answer.upgraded = NULL; /* one of them stores it */
    }
    free_job(job);
    if (!pool->dying)
        start_next(pool);
    else if (pool->running == NULL)
        free(pool);
}

/* Starts the first job whose client may have one more running. */
static void
start_next(struct hash_pool *pool)
{
    struct job *job = pool->waiting;

    while (job != NULL
           && count_client(pool->running, job->client) >= HASH_PER_CLIENT)
        job = job->next;
    if (job == NULL || pool->counts.running >= pool->threads)
        return;
    take_out(&pool->waiting, job);
    append(&pool->running, job);
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
    while ((job = old->waiting) != NULL) {
        old->waiting = job->next;
        free_job(job);
    }
    old->dying = true;
    if (old->running == NULL)
        free(old);
}

void
hash_pool_set_policy(struct hash_pool *pool,
                     const struct secret_policy *policy)
{
    pool->policy = *policy;
}

/* Whether the secret is the one copied; NULL is one, too. */
static bool
same_secret(bool has, const char *copy, const char *secret)
{
    if (!has || secret == NULL)
        return !has && secret == NULL;
    return strcmp(copy, secret) == 0;
}

static bool
same_question(const struct job *job, const struct hash_question *question)
{
    /* Without a secret there is only time to be spent, each for himself. */
    return job->has_secret && job->len == question->len
           && job->refuse_md5 == question->refuse_md5
           && job->upgrade_md5 == question->upgrade_md5
           && same_secret(job->has_secret, job->secret, question->secret)
           && same_secret(job->has_old, job->old_secret, question->old_secret)
           && CRYPTO_memcmp(job->password, question->password, job->len) == 0;
}

/* Joins those who ask the same. */
static bool
join(struct hash_pool *pool, struct job *list,
     const struct hash_question *question, struct asker asker)
{
    for (; list != NULL; list = list->next)
        if (list->askers_count < ASKERS_MAX
            && same_question(list, question)) {
            list->askers[list->askers_count++] = asker;
            pool->counts.shared++;
            return true;
        }
    return false;
}

static bool
has_room(const struct hash_pool *pool, const struct hash_question *question)
{
    size_t room = (size_t) pool->threads * WAITING_PER_THREAD;

    return question->len <= SECRET_PASSWORD_MAX && pool->counts.waiting < room
           && count_client(pool->waiting, question->client)
                  < room / CLIENT_SHARE;
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

static struct job *
new_job(struct hash_pool *pool, const struct hash_question *question,
        struct asker asker)
{
    struct job *job = calloc(1, sizeof(*job));

    if (job == NULL)
        return NULL;
    job->pool = pool;
    job->work.data = job;
    job->policy = pool->policy;
    job->client = question->client;
    job->has_secret = copy_secret(job->secret, question->secret);
    job->has_old = copy_secret(job->old_secret, question->old_secret);
    job->refuse_md5 = question->refuse_md5;
    job->upgrade_md5 = question->upgrade_md5;
    memcpy(job->password, question->password, question->len);
    job->len = question->len;
    job->askers[job->askers_count++] = asker;
    return job;
}

bool
hash_check(struct hash_pool *pool, const struct hash_question *question,
           hash_done_fn *done, void *context)
{
    struct asker asker = {done, context};
    struct job *job = NULL;

    if (join(pool, pool->running, question, asker)
        || join(pool, pool->waiting, question, asker))
        return true;
    if (has_room(pool, question))
        job = new_job(pool, question, asker);
    if (job == NULL) {
        pool->counts.refused++;
        return false;
    }
    append(&pool->waiting, job);
    pool->counts.waiting++;
    start_next(pool);
    return true;
}

struct hash_counts
hash_counts(const struct hash_pool *pool)
{
    return pool->counts;
}
