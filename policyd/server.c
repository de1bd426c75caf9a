/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/conn.h"
#include "policyd/listener.h"
#include "policyd/server.h"
#include "lib/log.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWEEP_MS 1000
#define DRAIN_MS 50 /* for what was sent before the end was asked for */
#define DRAIN_LAST_MS 1000 /* for who has just come, and what has begun */
#define COMPLAINT_MS 1000

/* -- accepting ------------------------------------------------------------ */

/* Gives the descriptor to a stream, which then closes it. */
static bool
open_stream(struct conn *conn, int fd)
{
    const struct server *server = conn->server;
    int status;

    if (server->family == AF_UNIX) {
        uv_pipe_init(server->loop, &conn->uv.pipe, 0);
        status = uv_pipe_open(&conn->uv.pipe, fd);
    } else {
        uv_tcp_init(server->loop, &conn->uv.tcp);
        status = uv_tcp_open(&conn->uv.tcp, fd);
    }
    conn->uv.handle.data = conn;
    if (status != 0)
        close(fd);
    return status == 0;
}

static bool
admitted(const struct server *server, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    return server->protocol->admit == NULL
           || (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
               && server->protocol->admit(server->context, peer.uid));
}

/* What happens again and again is told once a second. */
static void
complain(void *context, const char *what)
{
    struct server *server = context;
    uint64_t now = uv_now(server->loop);

    if (server->complained != 0 && now - server->complained < COMPLAINT_MS)
        return;
    server->complained = now;
    log_warning("%s: %s", server->protocol->name, what);
}

static void
on_accepted(void *context, int fd)
{
    struct server *server = context;
    struct conn *conn = calloc(1, sizeof(*conn));
    bool admit = admitted(server, fd);

    if (conn == NULL) {
        complain(server, "out of memory");
        close(fd);
        return;
    }
    conn->server = server;
    server->handles++;
    server->counts.connections++;
    server->counts.accepted++;
    server->budget->used++;
    if (!open_stream(conn, fd)) {
        complain(server, "a connection cannot be served");
        conn_close(conn, NULL);
    } else if (server->budget->used > server->budget->most) {
        complain(server, "too many connections");
        conn_close(conn, NULL);
    } else if (!admit) {
        conn_close(conn, "this user may not connect");
    } else {
        conn_settle(conn);
    }
}

static const struct listener_events listener_events = {
    .accepted = on_accepted,
    .failed = complain,
};

/* Closes what has been unfinished, or unwritten, for too long. */
static void
on_sweep(uv_timer_t *timer)
{
    struct server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    struct conn *conn;

    while ((conn = server->unfinished.first) != NULL
           && now - conn->since >= SERVER_BLOCK_MS)
        conn_close(conn, "request not finished in time");
    while ((conn = server->writing.first) != NULL
           && now - conn->since >= SERVER_BLOCK_MS)
        conn_close(conn, "reply not read in time");
}

/* -- life ----------------------------------------------------------------- */

/* With few descriptors half are for connections, whatever is reserved. */
struct server_budget
server_budget(size_t reserved)
{
    struct server_budget budget = {0, reserved};
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return budget;
    if (limit.rlim_cur <= 2 * reserved)
        budget.most = limit.rlim_cur / 2;
    else
        budget.most = limit.rlim_cur - reserved;
    return budget;
}

static void
on_own_closed(uv_handle_t *handle)
{
    conn_release_server(handle->data);
}

struct server *
server_new(uv_loop_t *loop, int fd, const struct protocol *protocol,
           void *context, struct server_budget *budget, const char **error_r)
{
    struct server *server = calloc(1, sizeof(*server));
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);

    *error_r = "out of memory";
    if (server == NULL)
        return NULL;
    *error_r = "not a socket";
    if (getsockname(fd, (struct sockaddr *) &address, &size) != 0) {
        free(server);
        return NULL;
    }
    server->loop = loop;
    server->family = address.ss_family;
    server->protocol = protocol;
    server->context = context;
    server->budget = budget;
    server->listener =
        listener_new(loop, fd, &listener_events, server, error_r);
    if (server->listener == NULL) {
        free(server);
        return NULL;
    }
    uv_timer_init(loop, &server->sweep);
    server->sweep.data = server;
    server->handles = 1;
    uv_timer_start(&server->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return server;
}

void
server_free(struct server **server)
{
    struct server *old = *server;

    *server = NULL;
    if (old == NULL)
        return;
    conn_close_all(&old->idle);
    conn_close_all(&old->unfinished);
    conn_close_all(&old->waiting);
    conn_close_all(&old->writing);
    listener_free(&old->listener);
    uv_close((uv_handle_t *) &old->sweep, on_own_closed);
}

static void
on_last(uv_timer_t *timer)
{
    struct server *server = timer->data;

    conn_close_all(&server->idle);
    conn_close_all(&server->unfinished);
    uv_timer_start(timer, on_sweep, SWEEP_MS, SWEEP_MS);
}

/* Postfix asks again on a new connection when one has ended, and once only: so
 * a connection that has asked nothing yet is not closed in front of it. */
static void
on_drain(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct conn *conn, *next;

    server->leaving = false;
    server->draining = true;
    listener_free(&server->listener);
    for (conn = server->idle.first; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->asked)
            conn_close(conn, NULL);
    }
    uv_timer_start(timer, on_last, DRAIN_LAST_MS, 0);
}

/* Until the timer all goes on as before: what had been sent, and who had
 * connected, when the signal came is seen by then. */
void
server_drain(struct server *server)
{
    server->leaving = true;
    uv_timer_start(&server->sweep, on_drain, DRAIN_MS, 0);
}

bool
server_busy(const struct server *server)
{
    return server->leaving || server->idle.first != NULL
           || server->unfinished.first != NULL
           || server->waiting.first != NULL || server->writing.first != NULL;
}

struct server_counts
server_counts(const struct server *server)
{
    return server->counts;
}
