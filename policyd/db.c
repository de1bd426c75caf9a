/* SPDX-License-Identifier: MIT */
/*
 * Whether the database is there is judged by lookups that it answers, not by
 * connections that it accepts: a pooler accepts them with no server behind it,
 * and a table may be locked. So a connection made while the database is gone
 * is first asked for a user that cannot be.
 */
#include "config.h"

#include "policyd/db.h"
#include "policyd/health.h"
#include "policyd/histogram.h"
#include "policyd/pipeline.h"
#include "policyd/pool.h"
#include "policyd/query.h"
#include "lib/log.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 16384 /* queries waiting or out, in all */
#define TICK_MS 20      /* how late a deadline may be noticed */
/* SQLSTATEs of a pooler that lends another server connection each time. */
#define UNKNOWN_STATEMENT "26000"
#define DUPLICATE_STATEMENT "42P05"
#define PLAN_CHANGED "0A000" /* a function was replaced meanwhile */
#define CANCELED "57014"     /* by the statement timeout */
#define AGAIN_MAX 2

struct db {
    uv_loop_t *loop;
    uv_timer_t *tick;
    struct pool pool;
    struct queue waiting;
    size_t queries; /* waiting or out */
    bool unnamed;   /* prepared statements do not last here */
    struct health health;
    struct db_counts counts;
    struct histogram latency;
};

/* Answers a query and forgets it. */
static void
answer(struct db *db, struct query *query, const PGresult *rows)
{
    db->queries--;
    query_answer(query, rows);
}

/* -- sending -------------------------------------------------------------- */

/* Sends what waits, as far as there are connections for it. */
static void
dispatch(struct db *db)
{
    struct connection *connection;

    while (db->waiting.first != NULL
           && (connection = pool_pick(&db->pool)) != NULL) {
        struct query *query = queue_take(&db->waiting);

        if (query->sent && query_statements[query->statement].once)
            answer(db, query, NULL);
        else
            pipeline_send(connection->pipeline, query, db->unnamed);
    }
    if (!db->health.gone)
        pool_grow(&db->pool);
}

static void on_tick(uv_timer_t *timer);

/* Makes a query that runs against the clock from now on. */
static struct query *
new_query(struct db *db, enum db_statement statement,
          const char *const params[], db_done_fn *done, void *context)
{
    struct query *query = query_new(statement, params, done, context);

    if (query == NULL)
        return NULL;
    query->asked = uv_hrtime();
    query->deadline = uv_now(db->loop) + db->pool.timeout_ms;
    db->queries++;
    if (!uv_is_active((uv_handle_t *) db->tick))
        uv_timer_start(db->tick, on_tick, TICK_MS, TICK_MS);
    return query;
}

/* -- losing and finding connections --------------------------------------- */

static void
lose(struct connection *connection, const char *why)
{
    struct db *db = connection->owner;

    switch (pool_lost(&db->pool, connection, db->health.gone, &db->waiting)) {
    case POOL_OTHERS:
        health_connection_lost(&db->health, why);
        break;
    case POOL_AGAIN:
        break;
    case POOL_NONE:
        health_gone(&db->health, why);
        /* The tick answers all that waits, from the loop. */
        uv_timer_start(db->tick, on_tick, 0, TICK_MS);
        break;
    }
}

static void
on_lost(void *context, const char *why)
{
    struct connection *connection = context;

    lose(connection, why);
    dispatch(connection->owner);
}

static void
on_pong(void *context, const PGresult *rows)
{
    (void) context;
    (void) rows; /* on_answered() has seen what there is to see */
}

static bool
is_ping(const struct query *query)
{
    return query->done == on_pong;
}

static void
on_ready(void *context)
{
    static const char *const nobody[DB_PARAMS_MAX] = {""};
    struct connection *connection = context;
    struct db *db = connection->owner;
    struct query *ping;

    pool_ready(&db->pool, connection);
    if (db->health.gone || !db->health.ever) {
        ping = new_query(db, DB_LOOKUP, nobody, on_pong, db);
        if (ping != NULL)
            pipeline_send(connection->pipeline, ping, db->unnamed);
    }
    dispatch(db);
}

/* -- answers -------------------------------------------------------------- */

static bool
has_state(const PGresult *result, const char *state)
{
    const char *found = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return found != NULL && strcmp(found, state) == 0;
}

/* Whether the query is to be sent again, differently. */
static bool
send_again(struct db *db, struct query *query, const PGresult *error)
{
    if (query->again++ == AGAIN_MAX)
        return false;
    if (has_state(error, PLAN_CHANGED))
        return true;
    if (!has_state(error, UNKNOWN_STATEMENT)
        && !has_state(error, DUPLICATE_STATEMENT))
        return false;
    if (!db->unnamed)
        log_info("db: prepared statements do not last here (a pooler in "
                 "transaction mode?); doing without");
    db->unnamed = true;
    return true;
}

static void
refused(struct connection *connection, struct query *query,
        const PGresult *error)
{
    struct db *db = connection->owner;
    bool ping = is_ping(query), late = has_state(error, CANCELED);

    db->counts.failures++;
    health_refused(&db->health, query->statement, error);
    answer(db, query, NULL);
    if (ping && late)
        lose(connection, "lookups are not answered in time");
    else if (ping)
        health_back(&db->health); /* what is wrong with it is in the log */
}

static void
on_answered(void *context, struct query *query, const PGresult *result)
{
    struct connection *connection = context;
    struct db *db = connection->owner;

    if (result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK) {
        health_answered(&db->health, query->statement);
        health_back(&db->health);
        histogram_add(&db->latency, uv_hrtime() - query->asked);
        answer(db, query, result);
    } else if (send_again(db, query, result)) {
        query->sent = false;
        queue_put(&db->waiting, query);
    } else {
        refused(connection, query, result);
    }
}

static void
on_idle(void *context)
{
    struct connection *connection = context;

    dispatch(connection->owner);
}

/* -- deadlines ------------------------------------------------------------ */

/* Answers what has waited too long, or waits for what is gone. */
static void
expire_waiting(struct db *db, uint64_t now)
{
    struct queue all;
    struct query *query;

    queue_init(&all);
    queue_put_back(&all, &db->waiting);
    while ((query = queue_take(&all)) != NULL) {
        if ((db->health.gone && !is_ping(query)) || query->deadline <= now)
            answer(db, query, NULL);
        else
            queue_put(&db->waiting, query);
    }
}

static void
on_tick(uv_timer_t *timer)
{
    struct db *db = timer->data;
    uint64_t now = uv_now(db->loop);
    size_t i;

    for (i = 0; i < db->pool.size; i++) {
        struct connection *connection = &db->pool.connection[i];
        uint64_t deadline = pipeline_deadline(connection->pipeline);

        if (deadline != 0 && deadline <= now)
            lose(connection, "no answer to a query in time");
    }
    expire_waiting(db, now);
    dispatch(db);
    if (db->queries == 0)
        uv_timer_stop(timer);
}

/* -- the outside ---------------------------------------------------------- */

static const struct pipeline_events pipeline_events = {
    .ready = on_ready,
    .lost = on_lost,
    .answered = on_answered,
    .idle = on_idle,
};

struct db *
db_new(uv_loop_t *loop, struct target *target,
       const struct db_options *options, const struct db_events *events)
{
    struct db *db = calloc(1, sizeof(*db));

    if (db == NULL)
        return NULL;
    db->loop = loop;
    db->health.loop = loop;
    db->health.events = *events;
    queue_init(&db->waiting);
    db->tick = calloc(1, sizeof(*db->tick));
    if (db->tick != NULL) {
        uv_timer_init(loop, db->tick);
        db->tick->data = db;
    }
    if (db->tick == NULL
        || !pool_init(&db->pool, loop, options->connections, &pipeline_events,
                      db)) {
        db_free(&db);
        return NULL;
    }
    db->pool.timeout_ms = options->timeout_ms;
    pool_connect(&db->pool, target);
    return db;
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

void
db_free(struct db **db)
{
    struct db *old = *db;
    struct query *query;

    *db = NULL;
    if (old == NULL)
        return;
    old->health.gone = true;
    pool_close(&old->pool, &old->waiting);
    pool_free(&old->pool);
    while ((query = queue_take(&old->waiting)) != NULL)
        answer(old, query, NULL);
    if (old->tick != NULL)
        uv_close((uv_handle_t *) old->tick, free_handle);
    free(old);
}

void
db_reconfigure(struct db *db, struct target *target, unsigned int timeout_ms)
{
    db->pool.timeout_ms = timeout_ms;
    if (target == db->pool.target)
        return;
    db->unnamed = false;
    pool_close(&db->pool, &db->waiting);
    pool_connect(&db->pool, target);
}

bool
db_query(struct db *db, enum db_statement statement,
         const char *const params[], db_done_fn *done, void *context)
{
    struct query *query;

    if (db->health.gone || db->queries >= QUEUE_MAX)
        return false;
    query = new_query(db, statement, params, done, context);
    if (query == NULL)
        return false;
    queue_put(&db->waiting, query);
    dispatch(db);
    return true;
}

struct db_counts
db_counts(const struct db *db)
{
    struct db_counts counts = db->counts;

    counts.available = !db->health.gone && db->health.ever;
    counts.ever = db->health.ever;
    counts.latency = &db->latency;
    counts.waiting = db->queries;
    counts.connections = pool_count(&db->pool);
    counts.connects = db->pool.connects;
    return counts;
}

bool
db_available(const struct db *db)
{
    return !db->health.gone;
}

void
db_note_good(struct db *db)
{
    health_heard(&db->health);
}

uint64_t
db_last_good(const struct db *db)
{
    return db->health.last_good;
}
