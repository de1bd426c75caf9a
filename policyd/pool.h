/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_POOL_H
#define POLICYD_POOL_H

/*
 * The connections that queries go out on, and when they are made: one at
 * first, more while there is enough to do for them, again after a pause that
 * grows when there is none. Embedded by its owner, who hears of every loss
 * (pool_lost() then says what follows) and keeps the queries.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct pipeline;
struct pipeline_events;
struct queue;
struct target;

#define POOL_MAX 64

struct connection {
    void *owner;
    struct pipeline *pipeline;
    uint64_t since; /* uv_now() when it became ready; 0: it is not */
};

struct pool {
    uv_loop_t *loop;
    uv_timer_t *retry;
    struct target *target;
    unsigned int size, timeout_ms;
    unsigned int rotation, backoff_ms;
    uint64_t grow_after; /* uv_now(): a server at its limit is not pressed */
    unsigned long connects;
    struct connection connection[POOL_MAX];
};

/* Makes the connections, none of them connected; each has owner, and is the
 * context of events. False when out of memory; pool_free() is due anyway. */
bool pool_init(struct pool *pool, uv_loop_t *loop, unsigned int size,
               const struct pipeline_events *events, void *owner);

/* Closes all; what was not answered goes to the front of unanswered. */
void pool_close(struct pool *pool, struct queue *unanswered);
void pool_free(struct pool *pool);

/* Begins to connect, to this target; all are closed. */
void pool_connect(struct pool *pool, struct target *target);

/* The ready connection with the least to do, or NULL. */
struct connection *pool_pick(struct pool *pool);

/* Opens one more connection when those there are have enough to do. */
void pool_grow(struct pool *pool);

void pool_ready(struct pool *pool, struct connection *connection);

/* What follows from a loss. */
enum pool_outlook {
    POOL_OTHERS, /* there are others */
    POOL_AGAIN,  /* it was good, and is being made again at once */
    POOL_NONE    /* there is none; one is made after a pause */
};

/* Closes the connection, which broke, could not be made, or is of no use any
 * more. gone: the database is known to be, so that one that is being made is
 * none to count on. */
enum pool_outlook pool_lost(struct pool *pool, struct connection *connection,
                            bool gone, struct queue *unanswered);

/* Connections that are ready. */
size_t pool_count(const struct pool *pool);

#endif
