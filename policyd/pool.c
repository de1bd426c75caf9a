/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/pipeline.h"
#include "policyd/pool.h"
#include "policyd/query.h"

#include <stdlib.h>
#include <string.h>

#define PIPELINE_MAX 256    /* queries out on one connection */
#define PIPELINE_FULL 4     /* beyond this a further connection is opened */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 1000 /* also: a connection that lives so long is good */

static enum pipeline_state
state_of(const struct connection *connection)
{
    return pipeline_state(connection->pipeline);
}

struct connection *
pool_pick(struct pool *pool)
{
    struct connection *best = NULL;
    size_t i, least = PIPELINE_MAX;

    for (i = 0; i < pool->size; i++) {
        struct connection *connection = &pool->connection[i];
        size_t count = pipeline_count(connection->pipeline);

        if (state_of(connection) == PIPELINE_READY && count < least) {
            best = connection;
            least = count;
        }
    }
    return best;
}

static void
connect_one(struct pool *pool, struct connection *connection)
{
    pool->connects++;
    pipeline_connect(connection->pipeline, pool->target, pool->rotation,
                     pool->timeout_ms);
}

void
pool_grow(struct pool *pool)
{
    struct connection *closed = NULL;
    size_t i;

    for (i = 0; i < pool->size; i++) {
        struct connection *connection = &pool->connection[i];
        enum pipeline_state state = state_of(connection);

        if (state == PIPELINE_CONNECTING || state == PIPELINE_BROKEN)
            return;
        if (state == PIPELINE_CLOSED)
            closed = connection;
        else if (pipeline_count(connection->pipeline) < PIPELINE_FULL)
            return;
    }
    if (closed != NULL && uv_now(pool->loop) >= pool->grow_after)
        connect_one(pool, closed);
}

static void
on_retry(uv_timer_t *timer)
{
    struct pool *pool = timer->data;
    struct connection *closed = NULL;
    size_t i;

    for (i = 0; i < pool->size; i++) {
        enum pipeline_state state = state_of(&pool->connection[i]);

        if (state == PIPELINE_READY || state == PIPELINE_CONNECTING)
            return;
        if (state == PIPELINE_CLOSED)
            closed = &pool->connection[i];
    }
    if (closed != NULL)
        connect_one(pool, closed);
}

/* Tries again after a pause that is never quite in step with others, and is
 * longer the next time. */
static void
retry_later(struct pool *pool)
{
    unsigned int random = 0, pause = pool->backoff_ms;

    uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
    pause += random % (pause / 4 + 1);
    uv_timer_start(pool->retry, on_retry, pause, 0);
    pool->backoff_ms *= 4; /* few at first: one a second is the aim */
    if (pool->backoff_ms > BACKOFF_MAX_MS)
        pool->backoff_ms = BACKOFF_MAX_MS;
}

/* Whether another connection can answer, or soon. */
static bool
any_usable(const struct pool *pool, bool gone)
{
    size_t i;

    for (i = 0; i < pool->size; i++) {
        enum pipeline_state state = state_of(&pool->connection[i]);

        if (state == PIPELINE_READY
            || (state == PIPELINE_CONNECTING && !gone))
            return true;
    }
    return false;
}

void
pool_ready(struct pool *pool, struct connection *connection)
{
    connection->since = uv_now(pool->loop);
}

enum pool_outlook
pool_lost(struct pool *pool, struct connection *connection, bool gone,
          struct queue *unanswered)
{
    uint64_t now = uv_now(pool->loop);
    enum pipeline_state state = state_of(connection);
    bool was_good = connection->since != 0
                    && now - connection->since >= BACKOFF_MAX_MS;

    if (state == PIPELINE_CONNECTING)
        pool->rotation++;
    connection->since = 0;
    pipeline_close(connection->pipeline, unanswered);
    if (was_good)
        pool->backoff_ms = BACKOFF_MIN_MS;
    if (any_usable(pool, gone)) {
        pool->grow_after = now + BACKOFF_MAX_MS;
        return POOL_OTHERS;
    }
    if (state == PIPELINE_BROKEN && was_good && !gone) {
        connect_one(pool, connection);
        return POOL_AGAIN;
    }
    retry_later(pool);
    return POOL_NONE;
}

size_t
pool_count(const struct pool *pool)
{
    size_t i, count = 0;

    for (i = 0; i < pool->size; i++)
        count += state_of(&pool->connection[i]) == PIPELINE_READY;
    return count;
}

/* -- life ---------------------------------------------------------------------- */

bool
pool_init(struct pool *pool, uv_loop_t *loop, unsigned int size,
          const struct pipeline_events *events, void *owner)
{
    memset(pool, 0, sizeof(*pool));
    pool->loop = loop;
    pool->retry = calloc(1, sizeof(*pool->retry));
    if (pool->retry == NULL)
        return false;
    uv_timer_init(loop, pool->retry);
    pool->retry->data = pool;
    for (; pool->size < size && pool->size < POOL_MAX; pool->size++) {
        struct connection *connection = &pool->connection[pool->size];

        connection->owner = owner;
        connection->pipeline = pipeline_new(loop, events, connection);
        if (connection->pipeline == NULL)
            return false;
    }
    return true;
}

void
pool_connect(struct pool *pool, struct target *target)
{
    pool->target = target;
    pool->rotation = 0;
    pool->backoff_ms = BACKOFF_MIN_MS;
    connect_one(pool, &pool->connection[0]);
}

void
pool_close(struct pool *pool, struct queue *unanswered)
{
    size_t i;

    for (i = 0; i < pool->size; i++) {
        pool->connection[i].since = 0;
        pipeline_close(pool->connection[i].pipeline, unanswered);
    }
    if (pool->retry != NULL)
        uv_timer_stop(pool->retry);
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

void
pool_free(struct pool *pool)
{
    size_t i;

    for (i = 0; i < pool->size; i++)
        pipeline_free(&pool->connection[i].pipeline);
    if (pool->retry != NULL)
        uv_close((uv_handle_t *) pool->retry, free_handle);
    pool->retry = NULL;
    pool->size = 0;
}
