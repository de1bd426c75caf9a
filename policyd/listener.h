/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_LISTENER_H
#define POLICYD_LISTENER_H

/*
 * A listening socket. libuv's own way of accepting goes round in circles, and
 * serves nobody, while the kernel has no descriptor to give: so this one
 * accepts by itself. Without a descriptor clients are turned away by means of
 * one that is held in reserve, or wait for a moment if that is lost, too.
 */

#include <stdbool.h>

#include <uv.h>

struct listener;

struct listener_events {
    /* A client's descriptor, not blocking, which the callee takes over. */
    void (*accepted)(void *context, int fd);
    /* A client cannot be let in; called for each try. */
    void (*failed)(void *context, const char *why);
};

/*
 * Listens on the socket fd, which it takes over. Events are called from the
 * loop and must not free it; they and the context outlive it. NULL, with a
 * constant text in *error_r, on failure.
 */
struct listener *listener_new(uv_loop_t *loop, int fd,
                              const struct listener_events *events,
                              void *context, const char **error_r);

/* Closes the socket at once. *listener may be NULL. */
void listener_free(struct listener **listener);

#endif
