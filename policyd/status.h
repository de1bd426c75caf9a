/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_STATUS_H
#define POLICYD_STATUS_H

/*
 * The status page, by libmicrohttpd on the event loop: /healthz (the loop
 * runs), /readyz (the database was there once) and /metrics. It never asks
 * the database.
 */

#include <stdbool.h>
#include <stdio.h>

#include <uv.h>

struct status;

struct status_source {
    bool (*ready)(const void *context);
    void (*metrics)(const void *context, FILE *out);
    const void *context;
};

/* Serves the bound socket fd, which it takes over. NULL on failure. */
struct status *status_new(uv_loop_t *loop, int fd,
                          const struct status_source *source);
void status_free(struct status **status);

#endif
