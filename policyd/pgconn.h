/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_PGCONN_H
#define POLICYD_PGCONN_H

/*
 * One libpq connection on the event loop: resolve, connect with a deadline of
 * our own, wait for input and output. Nothing here blocks. What is sent and
 * what results mean is the owner's business (pipeline.c, changes.c).
 *
 * The owner's callbacks come from the loop, never from within a call, and
 * none comes after pgconn_close().
 */

#include <stdbool.h>

#include <libpq-fe.h>
#include <uv.h>

struct pgconn;
struct target;

struct pgconn_events {
    /* Connected and idle. */
    void (*ready)(void *context);
    /* Could not connect, or the connection broke; it is closed already. why is
     * one line for the log. */
    void (*failed)(void *context, const char *why);
    /* Input was read; PQisBusy() and PQgetResult() tell what. */
    void (*input)(void *context);
};

/* NULL when out of memory. The target outlives the connection. */
struct pgconn *pgconn_new(uv_loop_t *loop, const struct pgconn_events *events,
                          void *context);

/* Closes and frees *conn (may be NULL), sets it to NULL. */
void pgconn_free(struct pgconn **conn);

/* Begins to connect; ready or failed follows within timeout_ms. Only when
 * closed. */
void pgconn_connect(struct pgconn *conn, struct target *target,
                    unsigned int rotation, unsigned int timeout_ms);

/* Drops the connection at once; the server is not asked. */
void pgconn_close(struct pgconn *conn);

/* NULL unless ready. */
PGconn *pgconn_pq(const struct pgconn *conn);

/* To be called after PQsend...(): flushes now, and later what does not fit.
 * False when the connection broke; failed follows. */
bool pgconn_flush(struct pgconn *conn);

/* Gives the connection up for what libpq says of it; only when ready. failed
 * follows. */
void pgconn_break(struct pgconn *conn);

#endif
