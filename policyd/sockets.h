/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_SOCKETS_H
#define POLICYD_SOCKETS_H

/*
 * Makes the listening sockets: in Postfix's queue directory, in a folder of
 * our own there, or on an address; or takes them from systemd
 * (sd_listen_fds(3), names "policy" and "auth").
 *
 * The folder of a path is never entered through a symbolic link. Only a socket
 * is ever replaced, and only one that nobody answers on.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct socket_options {
    const char *queue_directory;
    mode_t mode; /* of the socket */
    uid_t uid;   /* who the daemon will be */
    gid_t gid;   /* who may connect */
};

/* Returns a bound descriptor for "unix:path" (relative to the queue directory
 * or absolute) or "inet:address:port" or "address:port"; -1, with what went
 * wrong in error_r. Not while other threads make files: it sets the umask. */
int sockets_bind(const char *listen, const struct socket_options *options,
                 char *error_r, size_t error_size);

/* The descriptor that systemd passed under this name, or -1. */
int sockets_inherited(const char *name);

/* Whether "unix:path" fits into a socket address; a text in error_r if not. */
bool sockets_check(const char *listen, const char *queue_directory,
                   char *error_r, size_t error_size);

#endif
