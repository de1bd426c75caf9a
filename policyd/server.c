/* SPDX-License-Identifier: MIT */
/*
 * In the steady state nothing is allocated: all connections read into one
 * buffer, blocks are handled where they stand in it, and the replies to one
 * piece of input leave in one write. Only what is left of an unfinished block
 * is kept with the connection; what follows is read in behind it, so that a
 * block in many small pieces is neither copied nor scanned again for each.
 */
#include "config.h"

#include "policyd/listener.h"
#include "policyd/server.h"
#include "lib/log.h"
#include "lib/secret.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_SIZE 65536
#define OUTPUT_SIZE 65536
#define KEPT_MIN 256
#define REPLY_MAX 4096
#define SWEEP_MS 1000
#define DRAIN_MS 50 /* for what was sent before the end was asked for */
#define COMPLAINT_MS 1000

struct list {
    struct conn *first, *last;
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } uv;
    struct server *server;
    struct conn *previous, *next; /* in one of the server's lists */
    struct list *list;
    uint64_t since;               /* when it came into that list */

    struct attr_reader reader;
    char *kept; /* input from the first byte of an unfinished block on */
    size_t kept_len, kept_size; /* never over ATTR_BLOCK_MAX */
    unsigned int writes; /* of replies, that have not left yet */

    void (*cancel)(void *waiting);
    void *waiting;
    bool handling; /* inside the protocol's handle() */
    bool busy;     /* a block waits for its reply */
    bool reading;
    bool ended;    /* the client will send no more */
    bool closing;
};

struct server {
    uv_loop_t *loop;
    struct listener *listener; /* NULL: no longer listening */
    uv_timer_t sweep;
    const struct protocol *protocol;
    void *context;
    int family;
    struct server_budget *budget;
    size_t handles; /* of libuv's, not closed yet; the server goes with the last */
    bool leaving;  /* asked to drain */
    bool draining; /* no longer listening */
    struct server_counts counts;
    uint64_t complained;

    struct list idle;       /* nothing begun */
    struct list unfinished; /* a block has begun; oldest first */
    struct list waiting;    /* for the protocol */
    struct list writing;    /* a reply does not leave; oldest first */

    char input[INPUT_SIZE];
    char output[OUTPUT_SIZE];
    size_t output_len;
};

/* -- lists: where a connection stands, and since when --------------------- */

static void
list_remove(struct conn *conn)
{
    struct list *list = conn->list;

    if (list == NULL)
        return;
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        list->first = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    else
        list->last = conn->previous;
    conn->list = NULL;
    conn->previous = conn->next = NULL;
}

static void
list_move(struct conn *conn, struct list *list)
{
    if (conn->list == list)
        return;
    list_remove(conn);
    conn->list = list;
    conn->since = uv_now(conn->server->loop);
    conn->previous = list->last;
    if (list->last != NULL)
        list->last->next = conn;
    else
        list->first = conn;
    list->last = conn;
}

/* -- the end of a connection ---------------------------------------------- */

static void
forget_kept(struct conn *conn)
{
    if (conn->kept == NULL)
        return;
    secret_wipe(conn->kept, conn->kept_size); /* it may hold a password */
    free(conn->kept);
    conn->kept = NULL;
    conn->kept_len = conn->kept_size = 0;
}

static void
release(struct server *server)
{
    if (--server->handles == 0)
        free(server);
}

static void
on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;

    release(conn->server);
    forget_kept(conn);
    free(conn);
}

/* The one way out. reason NULL: the client left, which needs no line. */
static void
conn_close(struct conn *conn, const char *reason)
{
    struct server *server = conn->server;

    if (conn->closing)
        return;
    conn->closing = true;
    if (reason != NULL) {
        server->counts.closed_bad++;
        log_warning("%s: connection closed: %s", server->protocol->name,
                    reason);
    }
    if (conn->cancel != NULL)
        conn->cancel(conn->waiting);
    conn->cancel = NULL;
    list_remove(conn);
    server->counts.connections--;
    server->budget->used--;
    uv_close(&conn->uv.handle, on_closed);
}

/* -- output --------------------------------------------------------------- */

static void conn_continue(struct conn *conn);

/* Replies on their way. One that was waited for may come while the ones before
 * it have not left, so a connection has two of these at most. */
struct write {
    uv_write_t uv; /* first: libuv hands it back */
    char text[];
};

static void
on_written(uv_write_t *uv, int status)
{
    struct conn *conn = uv->data;

    free((struct write *) uv);
    conn->writes--;
    if (conn->closing)
        return;
    if (status != 0)
        conn_close(conn, NULL);
    else if (conn->writes == 0)
        conn_continue(conn);
}

static void
stop_reading(struct conn *conn)
{
    if (conn->reading)
        uv_read_stop(&conn->uv.stream);
    conn->reading = false;
}

/* Writes what does not leave at once, from a copy. */
static void
write_later(struct conn *conn, const char *text, size_t len)
{
    struct write *write = malloc(sizeof(*write) + len);
    uv_buf_t buf;

    if (write == NULL) {
        conn_close(conn, "out of memory");
        return;
    }
    memcpy(write->text, text, len);
    buf = uv_buf_init(write->text, (unsigned int) len);
    write->uv.data = conn;
    stop_reading(conn);
    list_move(conn, &conn->server->writing);
    if (uv_write(&write->uv, &conn->uv.stream, &buf, 1, on_written) != 0) {
        free(write);
        conn_close(conn, NULL);
    } else {
        conn->writes++;
    }
}

/* Sends the replies collected for this connection. */
static void
flush(struct conn *conn)
{
    struct server *server = conn->server;
    uv_buf_t buf = uv_buf_init(server->output,
                               (unsigned int) server->output_len);
    size_t len = server->output_len, sent = 0;
    int n;

    server->output_len = 0;
    if (len == 0 || conn->closing)
        return;
    n = uv_try_write(&conn->uv.stream, &buf, 1);
    if (n >= 0)
        sent = (size_t) n;
    else if (n != UV_EAGAIN) {
        conn_close(conn, NULL);
        return;
    }
    if (sent < len)
        write_later(conn, server->output + sent, len - sent);
}

/* -- input ---------------------------------------------------------------- */

/* Moves what is kept to a buffer of this size. False when out of memory. */
static bool
resize_kept(struct conn *conn, size_t size)
{
    size_t len = conn->kept_len;
    char *larger = malloc(size);

    if (larger == NULL)
        return false;
    if (len > 0)
        memcpy(larger, conn->kept, len);
    forget_kept(conn);
    conn->kept = larger;
    conn->kept_len = len;
    conn->kept_size = size;
    return true;
}

/* Keeps the rest of the input until more comes: what is left of buf, which has
 * len bytes, from at on. buf is what was kept before, if anything was. */
static void
keep(struct conn *conn, char *buf, size_t at, size_t len)
{
    size_t rest = len - at, size = KEPT_MIN;

    if (rest == 0) {
        forget_kept(conn);
    } else if (buf == conn->kept) {
        if (at > 0) {
            memmove(buf, buf + at, rest);
            secret_wipe(buf + rest, at);
        }
        conn->kept_len = rest;
    } else {
        while (size < rest)
            size *= 2;
        if (!resize_kept(conn, size)) {
            conn_close(conn, "out of memory");
            return;
        }
        memcpy(conn->kept, buf + at, rest);
        conn->kept_len = rest;
    }
}

/* Handles one whole block. False when no further block can be taken now. */
static bool
handle_block(struct conn *conn, char *block)
{
    struct server *server = conn->server;
    const struct protocol *protocol = server->protocol;
    const char *error = NULL;
    enum server_handled handled;

    list_move(conn, &server->idle); /* the next block has its own time */
    conn->handling = conn->busy = true;
    handled = protocol->handle(server->context, conn, block,
                               conn->reader.values, &error);
    conn->handling = false;
    attr_reader_reset(&conn->reader);
    if (handled == SERVER_CLOSE) {
        flush(conn); /* the replies before this block */
        conn_close(conn, error);
        return false;
    }
    if (conn->busy)
        return false;
    if (OUTPUT_SIZE - server->output_len < REPLY_MAX)
        flush(conn);
    return !conn->closing && conn->writes == 0;
}

/* Takes the blocks there are in buf, unless one waits for its reply, and keeps
 * the rest. */
static void
take_blocks(struct conn *conn, char *buf, size_t len)
{
    const struct protocol *protocol = conn->server->protocol;
    size_t at = 0, used = 0;
    const char *error = NULL;
    bool more = !conn->busy;

    while (more && at < len) {
        switch (attr_read(&conn->reader, protocol->names,
                          protocol->names_count, buf + at, len - at, &used,
                          &error)) {
        case ATTR_BLOCK:
            more = handle_block(conn, buf + at);
            at += used;
            break;
        case ATTR_BAD:
            flush(conn);
            conn_close(conn, error);
            return;
        case ATTR_MORE:
            more = false;
            break;
        }
    }
    flush(conn);
    if (!conn->closing)
        keep(conn, buf, at, len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

/* Says where the connection now stands, and reads on if it may. */
static void
settle(struct conn *conn)
{
    struct server *server = conn->server;

    if (conn->closing || conn->writes > 0)
        return;
    if (conn->busy) {
        /* To stop and start is two system calls, a third of those that a
         * question to the database takes, and hardly any client sends more
         * before it has its reply: so only once one did. */
        if (conn->kept != NULL)
            stop_reading(conn);
        list_move(conn, &server->waiting);
        return;
    }
    if (conn->ended || server->draining) {
        conn_close(conn, NULL);
        return;
    }
    list_move(conn, conn->kept_len > 0 ? &server->unfinished : &server->idle);
    if (conn->reading)
        return;
    conn->reading = true;
    if (uv_read_start(&conn->uv.stream, on_alloc, on_read) != 0)
        conn_close(conn, "cannot read on");
}

/* After a reply has left: the blocks that came meanwhile, then the client. */
static void
conn_continue(struct conn *conn)
{
    if (conn->kept != NULL && !conn->busy)
        take_blocks(conn, conn->kept, conn->kept_len);
    settle(conn);
}

/* Where to read to: behind what is kept, which has been looked at and is less
 * than a block may have; else to the common buffer. */
static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *conn = handle->data;
    size_t size = conn->kept_size;

    (void) suggested;
    if (conn->kept == NULL)
        *buf = uv_buf_init(conn->server->input, INPUT_SIZE);
    else if (conn->kept_len < size
             || (size < ATTR_BLOCK_MAX && resize_kept(conn, 2 * size)))
        *buf = uv_buf_init(conn->kept + conn->kept_len,
                           (unsigned int) (conn->kept_size - conn->kept_len));
    else
        *buf = uv_buf_init(NULL, 0); /* which libuv says to on_read() */
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;

    if (n == 0)
        return;
    if (n < 0) {
        conn->ended = true;
        if (n == UV_EOF)
            settle(conn);
        else
            conn_close(conn, NULL);
        return;
    }
    if (conn->kept != NULL) {
        take_blocks(conn, conn->kept, conn->kept_len + (size_t) n);
    } else {
        take_blocks(conn, buf->base, (size_t) n);
        if (conn->server->protocol->secret)
            secret_wipe(buf->base, (size_t) n);
    }
    settle(conn);
}

void
conn_reply(struct conn *conn, const char *reply, size_t len)
{
    struct server *server = conn->server;

    conn->busy = false;
    conn->cancel = NULL;
    if (conn->closing)
        return;
    memcpy(server->output + server->output_len, reply, len);
    server->output_len += len;
    if (conn->handling)
        return;
    flush(conn);
    if (!conn->closing && conn->writes == 0)
        conn_continue(conn);
}

void
conn_set_waiting(struct conn *conn, void (*cancel)(void *waiting),
                 void *waiting)
{
    conn->cancel = cancel;
    conn->waiting = waiting;
}

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
        settle(conn);
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
    release(handle->data);
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

static void
close_all(struct list *list)
{
    struct conn *conn;

    while ((conn = list->first) != NULL)
        conn_close(conn, NULL);
}

void
server_free(struct server **server)
{
    struct server *old = *server;

    *server = NULL;
    if (old == NULL)
        return;
    close_all(&old->idle);
    close_all(&old->unfinished);
    close_all(&old->waiting);
    close_all(&old->writing);
    listener_free(&old->listener);
    uv_close((uv_handle_t *) &old->sweep, on_own_closed);
}

static void
on_drain(uv_timer_t *timer)
{
    struct server *server = timer->data;

    server->leaving = false;
    server->draining = true;
    listener_free(&server->listener);
    close_all(&server->idle);
    close_all(&server->unfinished);
    uv_timer_start(timer, on_sweep, SWEEP_MS, SWEEP_MS);
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
    return server->leaving || server->waiting.first != NULL
           || server->writing.first != NULL;
}

struct server_counts
server_counts(const struct server *server)
{
    return server->counts;
}
