/* SPDX-License-Identifier: MIT */
/*
 * While it connects libpq may go through several sockets, and the next one may
 * get the number of the one before. So each step of connecting has a uv_poll_t
 * of its own, stopped before libpq touches the socket.
 */
#include "config.h"

#include "policyd/pgconn.h"
#include "policyd/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What PgBouncer says to start-up options; it has no code of its own. */
#define NO_OPTIONS "unsupported startup parameter: options"

enum state { CLOSED, RESOLVING, CONNECTING, READY, FAILING };

struct pgconn {
    uv_loop_t *loop;
    const struct pgconn_events *events;
    void *context;
    enum state state;
    PGconn *pq;
    struct target *target;
    unsigned int rotation;
    struct target_wait wait;
    uv_poll_t *poll; /* on the heap: it outlives us while it closes */
    int watching;    /* the events it watches for */
    uv_timer_t *timer;
    char why[256];
    char last_words[256]; /* what the server said before it closed, or "" */
};

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void
drop_poll(struct pgconn *conn)
{
    if (conn->poll == NULL)
        return;
    uv_poll_stop(conn->poll);
    conn->poll->data = NULL;
    uv_close((uv_handle_t *) conn->poll, free_handle);
    conn->poll = NULL;
}

static void
explain(struct pgconn *conn, const char *why)
{
    snprintf(conn->why, sizeof(conn->why), "%s", why);
    conn->why[strcspn(conn->why, "\n")] = '\0';
}

static void on_timer(uv_timer_t *timer);

/* Closes, and tells the owner from the loop. */
static void
fail(struct pgconn *conn, const char *why)
{
    explain(conn, why);
    pgconn_close(conn);
    conn->state = FAILING;
    uv_timer_start(conn->timer, on_timer, 0, 0);
}

void
pgconn_break(struct pgconn *conn)
{
    const char *message = PQerrorMessage(conn->pq);
    char copy[sizeof(conn->why)];

    if (strstr(message, NO_OPTIONS) != NULL)
        target_drop_options(conn->target);
    if (conn->last_words[0] != '\0')
        message = conn->last_words;
    snprintf(copy, sizeof(copy), "%s",
             message[0] != '\0' ? message : "connection lost");
    fail(conn, copy);
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Waits for the events on libpq's present socket. */
static bool
wait_for(struct pgconn *conn, int events)
{
    if (conn->poll == NULL) {
        conn->poll = calloc(1, sizeof(*conn->poll));
        if (conn->poll == NULL)
            return false;
        if (uv_poll_init(conn->loop, conn->poll, PQsocket(conn->pq)) != 0) {
            free(conn->poll);
            conn->poll = NULL;
            return false;
        }
        conn->poll->data = conn;
        conn->watching = 0;
    }
    /* libuv would take three system calls to find out that nothing changed. */
    if (conn->watching == events)
        return true;
    conn->watching = events;
    return uv_poll_start(conn->poll, events, on_poll) == 0;
}

static void
become_ready(struct pgconn *conn)
{
    uv_timer_stop(conn->timer);
    if (PQsetnonblocking(conn->pq, 1) != 0 || !wait_for(conn, UV_READABLE)) {
        fail(conn, "cannot watch the connection");
        return;
    }
    conn->state = READY;
    conn->events->ready(conn->context);
}

static void
connect_step(struct pgconn *conn)
{
    PostgresPollingStatusType next;
    bool waiting = true;

    drop_poll(conn);
    next = PQconnectPoll(conn->pq);
    if (next == PGRES_POLLING_READING)
        waiting = wait_for(conn, UV_READABLE);
    else if (next == PGRES_POLLING_WRITING)
        waiting = wait_for(conn, UV_WRITABLE);
    else if (next == PGRES_POLLING_OK)
        become_ready(conn);
    else
        pgconn_break(conn);
    if (!waiting)
        fail(conn, "cannot watch the connection");
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct pgconn *conn = poll->data;

    if (conn == NULL)
        return;
    if (conn->state == CONNECTING) {
        connect_step(conn);
        return;
    }
    if ((events & UV_WRITABLE) && !pgconn_flush(conn))
        return;
    if (status == 0 && !(events & UV_READABLE))
        return;
    if (!PQconsumeInput(conn->pq)) {
        pgconn_break(conn);
        return;
    }
    conn->events->input(conn->context);
}

/* Called for what no query asked for; libpq would write it to standard error.
 * A server that closes says why. */
static void
on_notice(void *context, const char *message)
{
    struct pgconn *conn = context;

    if (strncmp(message, "FATAL", strlen("FATAL")) == 0)
        snprintf(conn->last_words, sizeof(conn->last_words), "%s", message);
}

static void
on_resolved(struct target_wait *wait, const char *error)
{
    struct pgconn *conn =
        (struct pgconn *) ((char *) wait - offsetof(struct pgconn, wait));
    const char *const *values;

    if (error != NULL) {
        fail(conn, error);
        return;
    }
    values = target_values(conn->target, conn->rotation);
    conn->pq = values == NULL
                   ? NULL
                   : PQconnectStartParams(target_keywords(conn->target),
                                          values, 0);
    if (conn->pq == NULL) {
        fail(conn, "out of memory");
        return;
    }
    conn->state = CONNECTING;
    conn->last_words[0] = '\0';
    PQsetNoticeProcessor(conn->pq, on_notice, conn);
    if (PQstatus(conn->pq) == CONNECTION_BAD)
        pgconn_break(conn);
    else if (!wait_for(conn, UV_WRITABLE))
        fail(conn, "cannot watch the connection");
}

static void
on_timer(uv_timer_t *timer)
{
    struct pgconn *conn = timer->data;

    if (conn->state != FAILING) {
        explain(conn, conn->state == RESOLVING
                          ? "no answer from the resolver in time"
                          : "no answer from the server in time");
        pgconn_close(conn);
    }
    conn->state = CLOSED;
    conn->events->failed(conn->context, conn->why);
}

struct pgconn *
pgconn_new(uv_loop_t *loop, const struct pgconn_events *events, void *context)
{
    struct pgconn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL)
        return NULL;
    conn->timer = calloc(1, sizeof(*conn->timer));
    if (conn->timer == NULL || uv_timer_init(loop, conn->timer) != 0) {
        free(conn->timer);
        free(conn);
        return NULL;
    }
    conn->timer->data = conn;
    conn->loop = loop;
    conn->events = events;
    conn->context = context;
    conn->wait.resolved = on_resolved;
    return conn;
}

void
pgconn_free(struct pgconn **conn)
{
    if (*conn == NULL)
        return;
    pgconn_close(*conn);
    uv_close((uv_handle_t *) (*conn)->timer, free_handle);
    free(*conn);
    *conn = NULL;
}

void
pgconn_connect(struct pgconn *conn, struct target *target,
               unsigned int rotation, unsigned int timeout_ms)
{
    conn->target = target;
    conn->rotation = rotation;
    conn->state = RESOLVING;
    uv_timer_start(conn->timer, on_timer, timeout_ms, 0);
    target_resolve(target, &conn->wait);
}

void
pgconn_close(struct pgconn *conn)
{
    uv_timer_stop(conn->timer);
    target_cancel(&conn->wait);
    drop_poll(conn);
    if (conn->pq != NULL)
        PQfinish(conn->pq);
    conn->pq = NULL;
    conn->state = CLOSED;
}

PGconn *
pgconn_pq(const struct pgconn *conn)
{
    return conn->state == READY ? conn->pq : NULL;
}

bool
pgconn_flush(struct pgconn *conn)
{
    int left = PQflush(conn->pq);

    if (left < 0 || !wait_for(conn, left > 0 ? UV_READABLE | UV_WRITABLE
                                             : UV_READABLE)) {
        pgconn_break(conn);
        return false;
    }
    return true;
}
