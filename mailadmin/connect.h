/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_CONNECT_H
#define MAILADMIN_CONNECT_H

/*
 * Connecting with a deadline. libpq resolves host names in the call that opens
 * the connection, of which a silent resolver makes any length, and nothing
 * interrupts that: so a thread does it. One that is late is left to itself; it
 * closes what it gets and frees what it has.
 */

#include <libpq-fe.h>

/* A new connection, good or bad (PQstatus), which the caller finishes. NULL
 * when it was not decided within limit_ms, or out of memory. */
PGconn *connect_within(const char *conninfo, unsigned int limit_ms);

#endif
