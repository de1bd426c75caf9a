/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_CONN_H
#define POLICYD_CONN_H

/*
 * The connections of a server, between conn.c and server.c: what others may do
 * with one is in server.h. A connection is allocated by server.c, with its
 * stream, and is freed in the end by conn_close(); the server is freed when
 * the last handle of libuv's that it has is closed.
 */

#include "policyd/server.h"

#include <stdint.h>

#define CONN_INPUT_SIZE 65536
#define CONN_OUTPUT_SIZE 65536

struct listener;

struct conn_list {
    struct conn *first, *last;
};

/* Input from the first byte of an unfinished block on, and how far that has
 * been looked at. Most connections have none: what they send is whole. */
struct kept {
    struct attr_reader reader;
    size_t len, size; /* never over ATTR_BLOCK_MAX */
    char text[];
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
    struct conn_list *list;
    uint64_t since;               /* when it came into that list */

    struct kept *kept; /* or NULL */
    unsigned int writes; /* of replies, that have not left yet */

    void (*cancel)(void *waiting);
    void *waiting;
    bool handling; /* inside the protocol's handle() */
    bool busy;     /* a block waits for its reply */
    bool asked;    /* a block has come */
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
    size_t handles; /* of libuv's, not closed yet; with the last it goes */
    bool leaving;  /* asked to drain */
    bool draining; /* no longer listening */
    struct server_counts counts;
    uint64_t complained;

    struct conn_list idle;       /* nothing begun */
    struct conn_list unfinished; /* a block has begun; oldest first */
    struct conn_list waiting;    /* for the protocol */
    struct conn_list writing;    /* a reply does not leave; oldest first */

    struct attr_reader reader; /* of input */
    char input[CONN_INPUT_SIZE];
    char output[CONN_OUTPUT_SIZE];
    size_t output_len;
};

/* The one way out. reason NULL: the client left, which needs no line. */
void conn_close(struct conn *conn, const char *reason);

/* Closes all of a list. */
void conn_close_all(struct conn_list *list);

/* Says where the connection now stands, and reads on if it may. */
void conn_settle(struct conn *conn);

/* A handle of the server's is closed; with the last one it goes. */
void conn_release_server(struct server *server);

#endif
