/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STATE_STORE_H
#define MAILADMIN_STATE_STORE_H

/*
 * A state in the database: the work of transactions that read all of it, or
 * make it another one. Text is constant, values travel as parameters. What
 * fails is in db_error().
 */

#include <stdbool.h>
#include <stddef.h>

#include "mailadmin/db.h"
#include "mailadmin/plan.h"
#include "mailadmin/state.h"

/* How long such a transaction may go on without an answer. */
#define STATE_READ_MS (60 * 1000)
#define STATE_CHANGE_MS (10 * 60 * 1000)

/* A transaction of its own that reads everything, or, with names, those users
 * and their grants only. Secrets are part of it if state_r->secrets says so;
 * the rest was zeroed. The state is sorted. */
enum status state_load(struct db *db, char *const *names, size_t count,
                       struct state *state_r);

/* For work: keeps everybody else from changing permissions until the
 * transaction ends. Who is in the middle of it is waited for, but not long. */
enum status state_lock(struct db *db);

/* For work: state_load(), and one plan done. Locked, nothing can come between
 * them. */
enum status state_fetch(struct db *db, char *const *names, size_t count,
                        struct state *state_r);
enum status state_change(struct db *db, const struct plan *plan);

#endif
