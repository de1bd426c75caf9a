/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_SERVER_H
#define POLICYD_SERVER_H

/*
 * Listening sockets and their connections: accepts, cuts what arrives into
 * attribute blocks (lib/attr), hands each to the protocol and writes exactly
 * one reply for each, in order. A connection that breaks a rule is closed
 * with a reason in the log.
 *
 * Bounds: a block and its time as lib/attr and SERVER_BLOCK_MS say; output,
 * since nothing is read while a reply cannot be written; the number of
 * connections, by a budget that all servers share.
 *
 * While a protocol waits for an answer what its client sends is not looked at,
 * and no more of it read than one piece, so a client gets one question at a
 * time to the database.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <uv.h>

#include "lib/attr.h"

#define SERVER_BLOCK_MS 30000 /* from a request's first byte to its last */

struct server;
struct conn;

/* SERVER_WAITING may also be returned when conn_reply() was called already. */
enum server_handled {
    SERVER_ANSWERED, /* conn_reply() was called */
    SERVER_WAITING,  /* conn_reply() will be called later */
    SERVER_CLOSE     /* *error_r says why */
};

struct protocol {
    const char *name; /* for the log */
    const struct attr_name *names;
    size_t names_count;
    bool secret; /* input is wiped once it is handled */
    /* Handles one block; values point into buf, which is gone afterwards.
     * context is the server's. */
    enum server_handled (*handle)(void *context, struct conn *conn, char *buf,
                                  const struct attr_value *values,
                                  const char **error_r);
    /* Whether this peer may connect; NULL for everyone. */
    bool (*admit)(void *context, uid_t peer);
};

struct server_counts {
    size_t connections;       /* now */
    unsigned long accepted;   /* since the start */
    unsigned long closed_bad; /* for breaking a rule */
};

/* The connections that all servers may have together. */
struct server_budget {
    size_t used, most;
};

/* As many as there are descriptors, but for those reserved. */
struct server_budget server_budget(size_t reserved);

/* Serves the listening socket fd, which it takes over. The budget outlives
 * it. NULL, with a constant text in *error_r, on failure. */
struct server *server_new(uv_loop_t *loop, int fd,
                          const struct protocol *protocol, void *context,
                          struct server_budget *budget, const char **error_r);

/* Takes in what clients have sent by now, then stops listening and closes the
 * connections that wait for no answer; the others once they have it. Those that
 * have asked nothing yet, or begun to, have a second for it. */
void server_drain(struct server *server);

/* Whether it drains still: a connection waits for an answer, or may. Only to
 * be asked after server_drain(). */
bool server_busy(const struct server *server);

struct server_counts server_counts(const struct server *server);

/* Closes everything at once and frees *server (may be NULL); what protocols
 * wait for is cancelled. */
void server_free(struct server **server);

/*
 * Replies to the block that is being handled, or waits. reply is a whole
 * block. From within handle() or later; exactly once for each block.
 */
void conn_reply(struct conn *conn, const char *reply, size_t len);

/* What a waiting protocol keeps for the connection: cancel is called when the
 * connection is gone before conn_reply(). */
void conn_set_waiting(struct conn *conn, void (*cancel)(void *waiting),
                      void *waiting);

#endif
