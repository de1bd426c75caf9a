/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_NOTIFY_H
#define POLICYD_NOTIFY_H

/*
 * Tells a supervisor how the daemon is, by the protocol of sd_notify(3): a
 * datagram to the socket that NOTIFY_SOCKET names. With WATCHDOG_USEC the loop
 * also sends a sign of life, twice within that time, so that a loop which
 * hangs is restarted. Without NOTIFY_SOCKET all of this does nothing. What
 * cannot be sent is lost: the supervisor draws its own conclusions.
 */

#include <uv.h>

struct notify {
    int fd; /* -1: nobody to tell */
    uv_timer_t watchdog;
};

/* Reads the environment and takes the variables out of it. notify is embedded
 * in its owner and lives as long as the loop. */
void notify_init(struct notify *notify, uv_loop_t *loop);

void notify_ready(struct notify *notify);

/* A reload begins; notify_ready() ends it. */
void notify_reloading(struct notify *notify);

/* The end begins; signs of life go on until the loop ends. */
void notify_stopping(struct notify *notify);

#endif
