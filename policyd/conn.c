/* SPDX-License-Identifier: MIT */
/*
 * In the steady state nothing is allocated: all connections read into one
 * buffer, blocks are handled where they stand in it, and the replies to one
 * piece of input leave in one write. Only what is left of an unfinished block
 * is kept with the connection; what follows is read in behind it, so that a
 * block in many small pieces is neither copied nor scanned again for each.
 */
#include "config.h"

#include "policyd/conn.h"
#include "lib/log.h"
#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_MIN 256
#define REPLY_MAX 4096

/* -- lists: where a connection stands, and since when --------------------- */

static void
list_remove(struct conn *conn)
{
    struct conn_list *list = conn->list;

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
list_move(struct conn *conn, struct conn_list *list)
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
    /* It may hold a password. */
    secret_wipe(conn->kept, sizeof(*conn->kept) + conn->kept->size);
    free(conn->kept);
    conn->kept = NULL;
}

void
conn_release_server(struct server *server)
{
    if (--server->handles == 0)
        free(server);
}

static void
on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;

    conn_release_server(conn->server);
    forget_kept(conn);
    free(conn);
}

void
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

void
conn_close_all(struct conn_list *list)
{
    struct conn *conn;

    while ((conn = list->first) != NULL)
        conn_close(conn, NULL);
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

/* Keeps this, in place of what was kept, with room for size bytes of text.
 * False when out of memory. */
static bool
set_kept(struct conn *conn, const struct attr_reader *reader, const char *text,
         size_t len, size_t size)
{
    struct kept *kept = malloc(sizeof(*kept) + size);

    if (kept == NULL)
        return false;
    kept->reader = *reader;
    kept->len = len;
    kept->size = size;
    memcpy(kept->text, text, len);
    forget_kept(conn);
    conn->kept = kept;
    return true;
}

static bool
double_kept(struct conn *conn)
{
    const struct kept *kept = conn->kept;

    return set_kept(conn, &kept->reader, kept->text, kept->len,
                    2 * kept->size);
}

/* Keeps the rest of the input until more comes: what is left of text, which has
 * len bytes, from at on. text is what was kept before, if anything was. */
static void
keep(struct conn *conn, const struct attr_reader *reader, char *text,
     size_t at, size_t len)
{
    struct kept *kept = conn->kept;
    size_t rest = len - at, size = KEPT_MIN;

    if (rest == 0) {
        forget_kept(conn);
    } else if (kept != NULL) {
        if (at > 0) {
            memmove(text, text + at, rest);
            secret_wipe(text + rest, at);
        }
        kept->len = rest;
    } else {
        while (size < rest)
            size *= 2;
        if (!set_kept(conn, reader, text + at, rest, size))
            conn_close(conn, "out of memory");
    }
}

/* Handles one whole block. False when no further block can be taken now. */
static bool
handle_block(struct conn *conn, const struct attr_reader *reader, char *block)
{
    struct server *server = conn->server;
    const struct protocol *protocol = server->protocol;
    const char *error = NULL;
    enum server_handled handled;

    list_move(conn, &server->idle); /* the next block has its own time */
    conn->handling = conn->busy = conn->asked = true;
    handled = protocol->handle(server->context, conn, block, reader->values,
                               &error);
    conn->handling = false;
    if (handled == SERVER_CLOSE) {
        flush(conn); /* the replies before this block */
        conn_close(conn, error);
        return false;
    }
    if (conn->busy)
        return false;
    if (CONN_OUTPUT_SIZE - server->output_len < REPLY_MAX)
        flush(conn);
    return !conn->closing && conn->writes == 0;
}

/* Takes the blocks there are in buf, which is what was kept if anything was,
 * unless one waits for its reply, and keeps the rest. */
static void
take_blocks(struct conn *conn, struct attr_reader *reader, char *buf,
            size_t len)
{
    const struct protocol *protocol = conn->server->protocol;
    size_t at = 0, used = 0;
    const char *error = NULL;
    bool more = !conn->busy;

    while (more && at < len) {
        switch (attr_read(reader, protocol->names, protocol->names_count,
                          buf + at, len - at, &used, &error)) {
        case ATTR_BLOCK:
            more = handle_block(conn, reader, buf + at);
            at += used;
            if (at < len)
                attr_reader_reset(reader);
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
        keep(conn, reader, buf, at, len);
}

static void
take_kept(struct conn *conn)
{
    struct kept *kept = conn->kept;

    take_blocks(conn, &kept->reader, kept->text, kept->len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

void
conn_settle(struct conn *conn)
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
    if (conn->ended || (server->draining && conn->kept == NULL)) {
        conn_close(conn, NULL);
        return;
    }
    list_move(conn, conn->kept != NULL ? &server->unfinished : &server->idle);
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
        take_kept(conn);
    conn_settle(conn);
}

/* Where to read to: behind what is kept, which has been looked at and is less
 * than a block may have; else to the common buffer. */
static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *conn = handle->data;
    struct kept *kept = conn->kept;

    (void) suggested;
    if (kept == NULL) {
        *buf = uv_buf_init(conn->server->input, CONN_INPUT_SIZE);
        return;
    }
    if (kept->len == kept->size && kept->size < ATTR_BLOCK_MAX
        && double_kept(conn))
        kept = conn->kept;
    if (kept->len < kept->size)
        *buf = uv_buf_init(kept->text + kept->len,
                           (unsigned int) (kept->size - kept->len));
    else
        *buf = uv_buf_init(NULL, 0); /* which libuv says to on_read() */
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    struct server *server = conn->server;

    if (n == 0)
        return;
    if (n < 0) {
        conn->ended = true;
        if (n == UV_EOF)
            conn_settle(conn);
        else
            conn_close(conn, NULL);
        return;
    }
    if (conn->kept != NULL) {
        conn->kept->len += (size_t) n;
        take_kept(conn);
    } else {
        attr_reader_reset(&server->reader);
        take_blocks(conn, &server->reader, buf->base, (size_t) n);
        if (server->protocol->secret)
            secret_wipe(buf->base, (size_t) n);
    }
    conn_settle(conn);
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
