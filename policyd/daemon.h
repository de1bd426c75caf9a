/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_DAEMON_H
#define POLICYD_DAEMON_H

/*
 * The parts of policyd put together: database, directory, hashing, the two
 * sockets. main.c makes one, from a configuration that it keeps.
 */

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

struct conf;
struct daemon;

struct daemon_sockets {
    int policy, auth;
    int status; /* -1: none */
};

/* Starts to serve. Takes over the descriptors. NULL, with what went wrong in
 * error_r, on failure. conf outlives the daemon. */
struct daemon *daemon_new(uv_loop_t *loop, struct conf *conf,
                          const struct daemon_sockets *sockets, char *error_r,
                          size_t error_size);

/*
 * Takes what may change from a fresh configuration, which is left holding the
 * old values. False, with nothing changed, when it is of no use.
 */
bool daemon_reload(struct daemon *daemon, struct conf *fresh, char *error_r,
                   size_t error_size);

/* Stops accepting; finished is called once all that was asked is answered, or
 * time is up. */
void daemon_drain(struct daemon *daemon, void (*finished)(void *context),
                  void *context);

/* Closes everything. */
void daemon_free(struct daemon **daemon);

#endif
