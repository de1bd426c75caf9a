/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/pgconn.h"
#include "policyd/pipeline.h"
#include "policyd/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_CHANGED "0A000" /* SQLSTATE: a function was replaced meanwhile */

struct pipeline {
    const struct pipeline_events *events;
    void *context;
    struct pgconn *pg;
    enum pipeline_state state;
    struct queue sent;
    PGresult *rows; /* so far, of the first query sent */
    bool prepared[DB_STATEMENTS];
    unsigned int plans; /* how often all statements were prepared anew */
};

/* -- sending -------------------------------------------------------------- */

static bool
send_unnamed(PGconn *pq, const struct query *query)
{
    const struct statement *statement = &query_statements[query->statement];

    return PQsendQueryParams(pq, statement->sql, statement->params, NULL,
                             (const char *const *) query->params, NULL, NULL,
                             0)
           && PQpipelineSync(pq);
}

static bool
send_prepared(struct pipeline *pipeline, struct query *query)
{
    const struct statement *statement = &query_statements[query->statement];
    PGconn *pq = pgconn_pq(pipeline->pg);
    char name[64];

    snprintf(name, sizeof(name), "%s.%u", statement->name, pipeline->plans);
    if (!pipeline->prepared[query->statement]) {
        if (!PQsendPrepare(pq, name, statement->sql, 0, NULL))
            return false;
        pipeline->prepared[query->statement] = query->preparing = true;
    }
    return PQsendQueryPrepared(pq, name, statement->params,
                               (const char *const *) query->params, NULL,
                               NULL, 0)
           && PQpipelineSync(pq);
}

void
pipeline_send(struct pipeline *pipeline, struct query *query, bool unnamed)
{
    PGconn *pq = pgconn_pq(pipeline->pg);

    query->preparing = false;
    query->sent = true;
    queue_put(&pipeline->sent, query);
    if (!(unnamed ? send_unnamed(pq, query) : send_prepared(pipeline, query)))
        pgconn_break(pipeline->pg);
    else
        pgconn_flush(pipeline->pg);
    if (pgconn_pq(pipeline->pg) == NULL)
        pipeline->state = PIPELINE_BROKEN;
}

/* -- reading -------------------------------------------------------------- */

/* What is prepared on the connection is looked at as the answers come. */
static void
note_prepared(struct pipeline *pipeline, const struct query *query,
              const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (state == NULL)
        return;
    if (strcmp(state, PLAN_CHANGED) == 0) {
        memset(pipeline->prepared, 0, sizeof(pipeline->prepared));
        pipeline->plans++;
    } else if (query->preparing) {
        pipeline->prepared[query->statement] = false;
    }
}

/* The answer to the first query is whole. */
static void
complete(struct pipeline *pipeline)
{
    struct query *query = queue_take(&pipeline->sent);
    PGresult *rows = pipeline->rows;

    pipeline->rows = NULL;
    if (query != NULL) {
        note_prepared(pipeline, query, rows);
        pipeline->events->answered(pipeline->context, query, rows);
    }
    PQclear(rows);
}

/* An error wins over what comes behind it in the same query. */
static void
keep(struct pipeline *pipeline, PGresult *result)
{
    ExecStatusType kept = PQresultStatus(pipeline->rows);

    if (PQresultStatus(result) == PGRES_COMMAND_OK
        && pipeline->sent.first != NULL)
        pipeline->sent.first->preparing = false; /* that went well */
    if (pipeline->rows != NULL && kept != PGRES_TUPLES_OK
        && kept != PGRES_COMMAND_OK) {
        PQclear(result);
        return;
    }
    PQclear(pipeline->rows);
    pipeline->rows = result;
}

/* Takes results as they come: per query those of its statements, each ended
 * by NULL, then the Sync. An owner may close the connection from answered(). */
static void
on_input(void *context)
{
    struct pipeline *pipeline = context;
    PGconn *pq;
    int nulls = 0;

    while ((pq = pgconn_pq(pipeline->pg)) != NULL && !PQisBusy(pq)) {
        PGresult *result = PQgetResult(pq);

        if (result == NULL) {
            /* Two in a row: nothing is out. */
            if (++nulls > 1)
                break;
            continue;
        }
        nulls = 0;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            complete(pipeline);
        } else {
            keep(pipeline, result);
        }
    }
    if (pq != NULL && PQstatus(pq) == CONNECTION_BAD) {
        pgconn_break(pipeline->pg);
        pipeline->state = PIPELINE_BROKEN;
    }
    pipeline->events->idle(pipeline->context);
}

/* -- life ----------------------------------------------------------------- */

static void
on_ready(void *context)
{
    struct pipeline *pipeline = context;

    if (!PQenterPipelineMode(pgconn_pq(pipeline->pg))) {
        pgconn_break(pipeline->pg);
        pipeline->state = PIPELINE_BROKEN;
        return;
    }
    pipeline->state = PIPELINE_READY;
    pipeline->events->ready(pipeline->context);
}

static void
on_failed(void *context, const char *why)
{
    struct pipeline *pipeline = context;

    if (pipeline->state == PIPELINE_READY)
        pipeline->state = PIPELINE_BROKEN;
    pipeline->events->lost(pipeline->context, why);
}

static const struct pgconn_events connection_events = {
    .ready = on_ready,
    .failed = on_failed,
    .input = on_input,
};

struct pipeline *
pipeline_new(uv_loop_t *loop, const struct pipeline_events *events,
             void *context)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));

    if (pipeline == NULL)
        return NULL;
    pipeline->events = events;
    pipeline->context = context;
    queue_init(&pipeline->sent);
    pipeline->pg = pgconn_new(loop, &connection_events, pipeline);
    if (pipeline->pg == NULL)
        pipeline_free(&pipeline);
    return pipeline;
}

void
pipeline_free(struct pipeline **pipeline)
{
    if (*pipeline == NULL)
        return;
    pgconn_free(&(*pipeline)->pg);
    PQclear((*pipeline)->rows);
    free(*pipeline);
    *pipeline = NULL;
}

void
pipeline_connect(struct pipeline *pipeline, struct target *target,
                 unsigned int rotation, unsigned int timeout_ms)
{
    memset(pipeline->prepared, 0, sizeof(pipeline->prepared));
    pipeline->state = PIPELINE_CONNECTING;
    pgconn_connect(pipeline->pg, target, rotation, timeout_ms);
}

void
pipeline_close(struct pipeline *pipeline, struct queue *unanswered)
{
    pgconn_close(pipeline->pg);
    pipeline->state = PIPELINE_CLOSED;
    PQclear(pipeline->rows);
    pipeline->rows = NULL;
    queue_put_back(unanswered, &pipeline->sent);
}

enum pipeline_state
pipeline_state(const struct pipeline *pipeline)
{
    return pipeline->state;
}

size_t
pipeline_count(const struct pipeline *pipeline)
{
    return pipeline->sent.count;
}

uint64_t
pipeline_deadline(const struct pipeline *pipeline)
{
    return pipeline->sent.first != NULL ? pipeline->sent.first->deadline : 0;
}
