/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_PIPELINE_H
#define POLICYD_PIPELINE_H

/*
 * One connection to PostgreSQL in pipeline mode: queries go out as they come,
 * each with a Sync of its own, and are answered in their order. A statement is
 * prepared along with its first use.
 *
 * It owns the queries that it was given until they are answered, or taken back
 * by pipeline_close(). The callbacks come from the loop, never from within a
 * call. It never logs: what an error means is the owner's business.
 */

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

struct pipeline;
struct query;
struct queue;
struct target;

struct pipeline_events {
    /* Connected; queries may be sent. */
    void (*ready)(void *context);
    /* Could not connect, or broke; why is one line. To be closed now, which
     * gives back what was not answered. */
    void (*lost)(void *context, const char *why);
    /* The answer to a query, which is the owner's again: rows, or an error. */
    void (*answered)(void *context, struct query *query,
                     const PGresult *result);
    /* All input that there was is worked through. */
    void (*idle)(void *context);
};

enum pipeline_state {
    PIPELINE_CLOSED,
    PIPELINE_CONNECTING,
    PIPELINE_READY,
    PIPELINE_BROKEN /* lost() is about to be called */
};

/* NULL when out of memory. */
struct pipeline *pipeline_new(uv_loop_t *loop,
                              const struct pipeline_events *events,
                              void *context);

/* Frees *pipeline (may be NULL) and sets it to NULL; closed before, or no
 * query is out. */
void pipeline_free(struct pipeline **pipeline);

/* Begins to connect; ready or lost follows within timeout_ms. Only when
 * closed. */
void pipeline_connect(struct pipeline *pipeline, struct target *target,
                      unsigned int rotation, unsigned int timeout_ms);

/* Drops the connection at once. What was not answered goes, in its order, to
 * the front of unanswered. */
void pipeline_close(struct pipeline *pipeline, struct queue *unanswered);

/* Sends a query; only when ready. Without names, for a server that forgets
 * prepared statements, it is parsed each time. */
void pipeline_send(struct pipeline *pipeline, struct query *query,
                   bool unnamed);

enum pipeline_state pipeline_state(const struct pipeline *pipeline);

/* Queries that are out, and the deadline of the first; 0 for none. */
size_t pipeline_count(const struct pipeline *pipeline);
uint64_t pipeline_deadline(const struct pipeline *pipeline);

#endif
