/* SPDX-License-Identifier: MIT */
/*
 * The floor that policyd is measured against: a server on the same loop
 * library that reads to each empty line and answers action=DUNNO, no more. It
 * reads into one buffer and writes at once, the cheapest way libuv has.
 *
 *   echo SOCKET      prints "ready" once it listens
 */
#include "config.h"

#include <uv.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 4096
#define REPLY "action=DUNNO\n\n"
#define REPLY_LEN (sizeof(REPLY) - 1)

struct client {
    uv_pipe_t pipe;
    char last; /* byte of the input before */
};

static char input[65536];

static void
on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void) handle;
    (void) suggested;
    *buf = uv_buf_init(input, sizeof(input));
}

/* Empty lines in this piece of input. */
static unsigned int
count_blocks(struct client *client, const char *piece, size_t len)
{
    const char *end = piece + len, *at = piece;
    unsigned int blocks = 0;

    if (client->last == '\n' && piece[0] == '\n') {
        blocks++;
        at++;
    }
    while ((at = memmem(at, (size_t) (end - at), "\n\n", 2)) != NULL) {
        blocks++;
        at += 2;
    }
    client->last = blocks > 0 && len > 1 && end[-1] == '\n'
                           && end[-2] == '\n'
                       ? '\0'
                       : end[-1];
    return blocks;
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    uv_buf_t reply = uv_buf_init((char *) REPLY, REPLY_LEN);
    unsigned int blocks;

    if (n == 0)
        return;
    if (n < 0) {
        uv_close((uv_handle_t *) stream, on_closed);
        return;
    }
    for (blocks = count_blocks(client, buf->base, (size_t) n); blocks > 0;
         blocks--)
        if (uv_try_write(stream, &reply, 1) != (int) REPLY_LEN) {
            uv_close((uv_handle_t *) stream, on_closed);
            return;
        }
}

static void
on_connection(uv_stream_t *listener, int status)
{
    struct client *client;

    if (status != 0)
        errx(1, "listen: %s", uv_strerror(status));
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        err(1, "connection");
    uv_pipe_init(listener->loop, &client->pipe, 0);
    client->pipe.data = client;
    status = uv_accept(listener, (uv_stream_t *) &client->pipe);
    if (status == 0)
        status = uv_read_start((uv_stream_t *) &client->pipe, on_alloc,
                               on_read);
    if (status != 0)
        errx(1, "accept: %s", uv_strerror(status));
}

int
main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_pipe_t listener;
    int status;

    if (argc != 2)
        errx(64, "usage: echo SOCKET");
    uv_pipe_init(loop, &listener, 0);
    status = uv_pipe_bind(&listener, argv[1]);
    if (status == 0)
        status = uv_listen((uv_stream_t *) &listener, BACKLOG, on_connection);
    if (status != 0)
        errx(1, "%s: %s", argv[1], uv_strerror(status));
    puts("ready");
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
