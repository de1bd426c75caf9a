/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_TARGET_H
#define POLICYD_TARGET_H

/*
 * Where the database is: the options of a conninfo string, completed from the
 * environment and the service file as libpq would, with host names turned into
 * addresses off the event loop. libpq resolves names itself inside
 * PQconnectStart() and would stop the loop for as long as a resolver is
 * silent; given hostaddr= beside host= it does not.
 *
 * One question is out at a time, however many connections wait for it.
 */

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

struct target;

/* Reads conninfo; NULL and a text in error_r when libpq refuses it. The
 * statement timeout (milliseconds, 0 for none) becomes a start-up option. */
struct target *target_new(uv_loop_t *loop, const char *conninfo,
                          unsigned int statement_timeout_ms, char *error_r,
                          size_t error_size);

/* Wipes and frees *target (may be NULL) once a question that is out has come
 * back; sets it to NULL at once. No callback comes after this. */
void target_free(struct target **target);

/* Someone who waits for addresses; embedded by the waiter. */
struct target_wait {
    void (*resolved)(struct target_wait *wait, const char *error);
    struct target_wait *next, **link;
};

/* Looks all names up. Calls wait->resolved from the loop, never from within,
 * unless the wait is cancelled first. error is NULL when there is at least one
 * address to try. */
void target_resolve(struct target *target, struct target_wait *wait);
void target_cancel(struct target_wait *wait);

/* Does without start-up options from now on, the statement timeout among them,
 * for a pooler that refuses them; says so in the log. */
void target_drop_options(struct target *target);

/* Keywords and values for PQconnectStartParams(), NULL-terminated, valid until
 * the next resolve. rotation says which of the addresses comes first, so that
 * one that never answers does not hide the others. NULL when out of memory. */
const char *const *target_keywords(struct target *target);
const char *const *target_values(struct target *target, unsigned int rotation);

#endif
