/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/clock.h"
#include "policyd/db.h"
#include "policyd/histogram.h"
#include "policyd/pgconn.h"
#include "lib/log.h"
#include "lib/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 64
#define PIPELINE_MAX 256    /* queries out on one connection */
#define PIPELINE_FULL 4     /* beyond this a further connection is opened */
#define QUEUE_MAX 16384     /* queries waiting or out, in all */
#define TICK_MS 20          /* how late a deadline may be noticed */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 1000
/* SQLSTATEs of a pooler that lends another server connection each time. */
#define UNKNOWN_STATEMENT "26000"
#define DUPLICATE_STATEMENT "42P05"
#define PLAN_CHANGED "0A000" /* a function was replaced meanwhile */
#define AGAIN_MAX 2
#define COMPLAINT_MS 60000  /* the same trouble is logged once a minute */

static const struct {
    const char *name, *sql;
    int params;
} statements[DB_STATEMENTS] = {
    [DB_LOOKUP] = {"lookup",
                   "SELECT counter, id, enabled, passwd, old_passwd,"
                   " old_until, heavy, grants"
                   " FROM public.emailing_lookup($1::pg_catalog.text)",
                   1},
    [DB_LOOKUP_SENDER] = {"lookup_sender",
                          "SELECT counter, id, enabled, passwd, old_passwd,"
                          " old_until, heavy, grants"
                          " FROM public.emailing_lookup_sender("
                          "$1::pg_catalog.text, $2::pg_catalog.text,"
                          " $3::pg_catalog.text, $4::pg_catalog.text)",
                          4},
    [DB_LOAD] = {"load",
                 "SELECT counter, id, enabled, passwd, old_passwd,"
                 " old_until, heavy, grants, name"
                 " FROM public.emailing_load("
                 "$1::pg_catalog.text, $2::pg_catalog.int4)",
                 2},
    [DB_UPGRADE_SECRET] = {"upgrade_secret",
                           "SELECT public.emailing_upgrade_secret("
                           "$1::pg_catalog.text, $2::pg_catalog.text,"
                           " $3::pg_catalog.text)",
                           3},
    [DB_MOCK_KEY] = {"mock_key",
                     "SELECT pg_catalog.encode("
                     "public.emailing_mock_key(), 'hex')",
                     0},
};

struct query {
    struct query *next;
    enum db_statement statement;
    bool preparing;    /* its statement was prepared along with it */
    unsigned int again; /* how often it was sent again for a reason below */
    uint64_t asked;    /* uv_hrtime() */
    uint64_t deadline; /* milliseconds of the loop's clock */
    db_done_fn *done;
    void *context;
    char *params[DB_PARAMS_MAX];
};

struct queue {
    struct query *first, **last;
    size_t count;
};

struct connection {
    struct db *db;
    struct pgconn *pg;
    bool ready, connecting;
    bool prepared[DB_STATEMENTS];
    unsigned int plans; /* how often all plans were made anew */
    PGresult *rows; /* so far, of the first query sent */
    struct queue sent;
};

struct db {
    uv_loop_t *loop;
    uv_timer_t *tick, *retry;
    struct target *target;
    struct db_options options;
    struct db_events events;
    struct connection connection[CONNECTIONS_MAX];
    struct queue waiting;
    size_t queries;
    unsigned int rotation, backoff_ms;
    bool unnamed;    /* prepared statements do not last here */
    bool gone;       /* known to be: nobody waits */
    bool ever;       /* it was there once */
    bool announced;  /* the owner knows that it is there */
    uint64_t last_good;
    struct db_counts counts;
    struct histogram latency;
    uint64_t complained[DB_STATEMENTS]; /* when the log was last told */
};

static void
queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
    queue->count = 0;
}

static void
queue_put(struct queue *queue, struct query *query)
{
    query->next = NULL;
    *queue->last = query;
    queue->last = &query->next;
    queue->count++;
}

static struct query *
queue_take(struct queue *queue)
{
    struct query *query = queue->first;

    if (query == NULL)
        return NULL;
    queue->first = query->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    queue->count--;
    return query;
}

/* Answers a query and forgets it. Parameters may be secrets. */
static void
answer(struct db *db, struct query *query, const PGresult *rows)
{
    size_t i;

    db->queries--;
    query->done(query->context, rows);
    for (i = 0; i < DB_PARAMS_MAX; i++) {
        if (query->params[i] != NULL)
            secret_wipe(query->params[i], strlen(query->params[i]));
        free(query->params[i]);
    }
    free(query);
}

/* Answers all in the queue with "unavailable". */
static void
fail_queue(struct db *db, struct queue *queue)
{
    struct query *query;

    while ((query = queue_take(queue)) != NULL)
        answer(db, query, NULL);
}

static void
set_gone(struct db *db, const char *why)
{
    if (!db->gone)
        log_warning("db: gone: %s", why);
    db->gone = true;
    if (db->announced && db->events.state_changed != NULL)
        db->events.state_changed(db->events.context, false);
    db->announced = false;
}

static void
set_good(struct db *db)
{
    db->last_good = clock_boot_ms();
    if (db->gone || !db->ever)
        log_info("db: %s", db->ever ? "back" : "connected");
    db->gone = false;
    db->ever = true;
    if (!db->announced && db->events.state_changed != NULL)
        db->events.state_changed(db->events.context, true);
    db->announced = true;
}

/* -- sending ------------------------------------------------------------- */

/* Prepares the statement along with its first use on a connection. */
static bool
send_query(struct connection *connection, struct query *query)
{
    PGconn *pq = pgconn_pq(connection->pg);
    const char *const *params = (const char *const *) query->params;
    char name[64];
    const char *sql = statements[query->statement].sql;
    int count = statements[query->statement].params;

    snprintf(name, sizeof(name), "%s.%u", statements[query->statement].name,
             connection->plans);
    query->preparing = false;
    if (connection->db->unnamed)
        return PQsendQueryParams(pq, sql, count, NULL, params, NULL, NULL, 0)
               && PQpipelineSync(pq);
    if (!connection->prepared[query->statement]) {
        if (!PQsendPrepare(pq, name, sql, 0, NULL))
            return false;
        connection->prepared[query->statement] = query->preparing = true;
    }
    return PQsendQueryPrepared(pq, name, count, params, NULL, NULL, 0)
           && PQpipelineSync(pq);
}

/* The ready connection with the least to do, or NULL. */
static struct connection *
pick(struct db *db)
{
    struct connection *best = NULL;
    size_t i;

    for (i = 0; i < db->options.connections; i++) {
        struct connection *connection = &db->connection[i];

        if (connection->ready && connection->sent.count < PIPELINE_MAX
            && (best == NULL || connection->sent.count < best->sent.count))
            best = connection;
    }
    return best;
}

static void
start_connecting(struct db *db, struct connection *connection)
{
    connection->connecting = true;
    db->counts.connects++;
    pgconn_connect(connection->pg, db->target, db->rotation,
                   db->options.timeout_ms);
}

/* Opens one more connection when those there are have enough to do. */
static void
grow(struct db *db)
{
    struct connection *closed = NULL;
    size_t i;

    for (i = 0; i < db->options.connections; i++) {
        struct connection *connection = &db->connection[i];

        if (connection->connecting)
            return;
        if (!connection->ready)
            closed = connection;
        else if (connection->sent.count < PIPELINE_FULL)
            return;
    }
    if (closed != NULL && !uv_is_active((uv_handle_t *) db->retry))
        start_connecting(db, closed);
}

static void lose(struct connection *connection, const char *why);
static void on_tick(uv_timer_t *timer);

/* Sends what waits, as far as there are connections for it. */
static void
dispatch(struct db *db)
{
    while (db->waiting.first != NULL) {
        struct connection *connection = pick(db);
        struct query *query;

        if (connection == NULL)
            break;
        query = queue_take(&db->waiting);
        queue_put(&connection->sent, query);
        if (!send_query(connection, query)) {
            lose(connection, PQerrorMessage(pgconn_pq(connection->pg)));
            continue;
        }
        if (!pgconn_flush(connection->pg))
            connection->ready = false; /* failed() follows */
    }
    if (!db->gone)
        grow(db);
}

/* -- losing and finding connections ---------------------------------------- */

static void
on_retry(uv_timer_t *timer)
{
    struct db *db = timer->data;
    size_t i;

    for (i = 0; i < db->options.connections; i++)
        if (db->connection[i].ready || db->connection[i].connecting)
            return;
    start_connecting(db, &db->connection[0]);
}

/* Tries again after a pause that is never quite in step with others. */
static void
retry_after(struct db *db, uint64_t pause)
{
    unsigned int random = 0;

    if (uv_is_active((uv_handle_t *) db->retry))
        return;
    uv_random(NULL, NULL, &random, sizeof(random), 0, NULL);
    pause += random % (pause / 4 + 1);
    uv_timer_start(db->retry, on_retry, pause, 0);
}

static bool
any_usable(const struct db *db)
{
    size_t i;

    for (i = 0; i < db->options.connections; i++)
        if (db->connection[i].ready
            || (db->connection[i].connecting && !db->gone))
            return true;
    return false;
}

/* Closes a connection; its queries go to the front of the queue. */
static void
drop(struct connection *connection)
{
    struct db *db = connection->db;
    struct queue again = connection->sent;

    pgconn_close(connection->pg);
    connection->ready = connection->connecting = false;
    memset(connection->prepared, 0, sizeof(connection->prepared));
    PQclear(connection->rows);
    connection->rows = NULL;
    queue_init(&connection->sent);
    if (again.first == NULL)
        return;
    *again.last = db->waiting.first;
    if (db->waiting.first == NULL)
        db->waiting.last = again.last;
    db->waiting.first = again.first;
    db->waiting.count += again.count;
}

/* A connection broke or could not be made. */
static void
lose(struct connection *connection, const char *why)
{
    struct db *db = connection->db;
    char copy[256];

    snprintf(copy, sizeof(copy), "%.*s", (int) strcspn(why, "\n"), why);
    drop(connection);
    if (any_usable(db)) {
        /* grow() waits, too: a server at its limit is not to be pressed. */
        retry_after(db, BACKOFF_MAX_MS);
        return;
    }
    set_gone(db, copy);
    retry_after(db, db->backoff_ms);
    db->backoff_ms *= 2;
    if (db->backoff_ms > BACKOFF_MAX_MS)
        db->backoff_ms = BACKOFF_MAX_MS;
    /* The tick answers all that waits, from the loop. */
    uv_timer_start(db->tick, on_tick, 0, TICK_MS);
}

static void
on_failed(void *context, const char *why)
{
    struct connection *connection = context;

    if (connection->connecting)
        connection->db->rotation++;
    lose(connection, why);
    dispatch(connection->db);
}

static void
on_ready(void *context)
{
    struct connection *connection = context;

    connection->connecting = false;
    if (!PQenterPipelineMode(pgconn_pq(connection->pg))) {
        lose(connection, "cannot enter pipeline mode");
        return;
    }
    connection->ready = true;
    set_good(connection->db);
    dispatch(connection->db);
}

/* -- reading --------------------------------------------------------------- */

/* What the database refuses is told once a minute for each statement. */
static void
complain(struct db *db, const struct query *query, const PGresult *result)
{
    uint64_t now = uv_now(db->loop);
    uint64_t *last = &db->complained[query->statement];
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (*last != 0 && now - *last < COMPLAINT_MS)
        return;
    *last = now;
    log_error("db: statement \"%s\": %s: %s",
              statements[query->statement].name, state ? state : "-",
              text ? text : "no answer");
}

static bool
has_state(const PGresult *result, const char *state)
{
    const char *found = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return found != NULL && strcmp(found, state) == 0;
}

/* Whether the query is to be sent again, differently. */
static bool
send_again(struct connection *connection, struct query *query,
           const PGresult *error)
{
    struct db *db = connection->db;

    if (query->again++ == AGAIN_MAX)
        return false;
    if (has_state(error, PLAN_CHANGED)) {
        memset(connection->prepared, 0, sizeof(connection->prepared));
        connection->plans++;
        return true;
    }
    if (!has_state(error, UNKNOWN_STATEMENT)
        && !has_state(error, DUPLICATE_STATEMENT))
        return false;
    if (!db->unnamed)
        log_info("db: prepared statements do not last here (a pooler in "
                 "transaction mode?); doing without");
    db->unnamed = true;
    return true;
}

/* The answer to the first query is whole. */
static void
complete(struct connection *connection)
{
    struct db *db = connection->db;
    struct query *query = queue_take(&connection->sent);
    PGresult *rows = connection->rows;

    connection->rows = NULL;
    if (query == NULL) {
        PQclear(rows);
        return;
    }
    if (rows != NULL && PQresultStatus(rows) == PGRES_TUPLES_OK) {
        db->backoff_ms = BACKOFF_MIN_MS;
        set_good(db);
        histogram_add(&db->latency, uv_hrtime() - query->asked);
        answer(db, query, rows);
    } else if (send_again(connection, query, rows)) {
        queue_put(&db->waiting, query);
    } else {
        /* A statement that could not be prepared is prepared again. */
        if (query->preparing)
            connection->prepared[query->statement] = false;
        db->counts.failures++;
        complain(db, query, rows);
        answer(db, query, NULL);
    }
    PQclear(rows);
}

/* An error wins over what comes behind it in the same query. */
static void
keep(struct connection *connection, PGresult *result)
{
    ExecStatusType kept = PQresultStatus(connection->rows);

    if (PQresultStatus(result) == PGRES_COMMAND_OK
        && connection->sent.first != NULL)
        connection->sent.first->preparing = false; /* that went well */
    if (connection->rows != NULL && kept != PGRES_TUPLES_OK
        && kept != PGRES_COMMAND_OK) {
        PQclear(result);
        return;
    }
    PQclear(connection->rows);
    connection->rows = result;
}

/* Takes results as they come: per query those of its statements, each ended
 * by NULL, then the Sync. */
static void
on_input(void *context)
{
    struct connection *connection = context;
    PGconn *pq;
    int nulls = 0;

    while ((pq = pgconn_pq(connection->pg)) != NULL && !PQisBusy(pq)) {
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
            complete(connection);
        } else {
            keep(connection, result);
        }
    }
    if (pq != NULL && PQstatus(pq) == CONNECTION_BAD)
        lose(connection, PQerrorMessage(pq));
    dispatch(connection->db);
}

/* -- deadlines ------------------------------------------------------------- */

/* Answers what has waited too long, or waits for what is gone. */
static void
expire_waiting(struct db *db, uint64_t now)
{
    struct queue kept;
    struct query *query;

    queue_init(&kept);
    while ((query = queue_take(&db->waiting)) != NULL) {
        if (db->gone || query->deadline <= now)
            answer(db, query, NULL);
        else
            queue_put(&kept, query);
    }
    db->waiting = kept;
    if (kept.first == NULL)
        queue_init(&db->waiting);
}

static void
on_tick(uv_timer_t *timer)
{
    struct db *db = timer->data;
    uint64_t now = uv_now(db->loop);
    size_t i;

    for (i = 0; i < db->options.connections; i++) {
        struct connection *connection = &db->connection[i];
        const struct query *first = connection->sent.first;

        if (first != NULL && first->deadline <= now)
            lose(connection, "no answer to a query in time");
    }
    expire_waiting(db, now);
    dispatch(db);
    if (db->queries == 0)
        uv_timer_stop(timer);
}

/* -- the outside ----------------------------------------------------------- */

static const struct pgconn_events connection_events = {
    .ready = on_ready,
    .failed = on_failed,
    .input = on_input,
};

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

static uv_timer_t *
new_timer(struct db *db)
{
    uv_timer_t *timer = calloc(1, sizeof(*timer));

    if (timer != NULL) {
        uv_timer_init(db->loop, timer);
        timer->data = db;
    }
    return timer;
}

struct db *
db_new(uv_loop_t *loop, struct target *target,
       const struct db_options *options, const struct db_events *events)
{
    struct db *db = calloc(1, sizeof(*db));
    bool ok;
    size_t i;

    if (db == NULL)
        return NULL;
    db->loop = loop;
    db->target = target;
    db->options = *options;
    db->events = *events;
    db->backoff_ms = BACKOFF_MIN_MS;
    queue_init(&db->waiting);
    db->tick = new_timer(db);
    db->retry = new_timer(db);
    ok = db->tick != NULL && db->retry != NULL;
    for (i = 0; ok && i < options->connections; i++) {
        db->connection[i].db = db;
        queue_init(&db->connection[i].sent);
        db->connection[i].pg =
            pgconn_new(loop, &connection_events, &db->connection[i]);
        ok = db->connection[i].pg != NULL;
    }
    if (ok)
        start_connecting(db, &db->connection[0]);
    else
        db_free(&db);
    return db;
}

void
db_free(struct db **db)
{
    struct db *old = *db;
    size_t i;

    *db = NULL;
    if (old == NULL)
        return;
    old->gone = true;
    for (i = 0; i < old->options.connections; i++) {
        struct connection *connection = &old->connection[i];

        pgconn_free(&connection->pg);
        PQclear(connection->rows);
        if (connection->db != NULL)
            fail_queue(old, &connection->sent);
    }
    fail_queue(old, &old->waiting);
    if (old->tick != NULL)
        uv_close((uv_handle_t *) old->tick, free_handle);
    if (old->retry != NULL)
        uv_close((uv_handle_t *) old->retry, free_handle);
    free(old);
}

void
db_reconfigure(struct db *db, struct target *target, unsigned int timeout_ms)
{
    size_t i;

    db->options.timeout_ms = timeout_ms;
    if (target == db->target)
        return;
    db->target = target;
    db->rotation = 0;
    db->backoff_ms = BACKOFF_MIN_MS;
    db->unnamed = false;
    for (i = 0; i < db->options.connections; i++)
        drop(&db->connection[i]);
    uv_timer_stop(db->retry);
    start_connecting(db, &db->connection[0]);
}

static char *
copy_param(const char *param, bool *ok)
{
    char *copy = param == NULL ? NULL : strdup(param);

    if (param != NULL && copy == NULL)
        *ok = false;
    return copy;
}

bool
db_query(struct db *db, enum db_statement statement,
         const char *const params[], db_done_fn *done, void *context)
{
    struct query *query;
    bool ok = true;
    int i;

    if (db->gone || db->queries >= QUEUE_MAX)
        return false;
    query = calloc(1, sizeof(*query));
    if (query == NULL)
        return false;
    for (i = 0; i < statements[statement].params; i++)
        query->params[i] = copy_param(params[i], &ok);
    if (!ok) {
        for (i = 0; i < DB_PARAMS_MAX; i++)
            free(query->params[i]);
        free(query);
        return false;
    }
    query->statement = statement;
    query->done = done;
    query->context = context;
    query->asked = uv_hrtime();
    query->deadline = uv_now(db->loop) + db->options.timeout_ms;
    db->queries++;
    queue_put(&db->waiting, query);
    if (!uv_is_active((uv_handle_t *) db->tick))
        uv_timer_start(db->tick, on_tick, TICK_MS, TICK_MS);
    dispatch(db);
    return true;
}

struct db_counts
db_counts(const struct db *db)
{
    struct db_counts counts = db->counts;
    size_t i;

    counts.available = !db->gone && db->ever;
    counts.ever = db->ever;
    counts.latency = &db->latency;
    counts.waiting = db->queries;
    for (i = 0; i < db->options.connections; i++)
        counts.connections += db->connection[i].ready;
    return counts;
}

bool
db_available(const struct db *db)
{
    return !db->gone;
}

void
db_note_good(struct db *db)
{
    db->last_good = clock_boot_ms();
}

uint64_t
db_last_good(const struct db *db)
{
    return db->last_good;
}
