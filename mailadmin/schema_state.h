/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_SCHEMA_STATE_H
#define MAILADMIN_SCHEMA_STATE_H

/*
 * What is in a database, and the changes that bring it up to date, as work for
 * db_transact().
 */

#include <stdbool.h>

#include "mailadmin/db.h"

struct schema_state {
    int version; /* 0: empty, 1: the tables of secure_emailing */
    bool policyd_role, mailadmin_role;
    bool may_make_roles; /* whoever is connected */
};

/* The version this program works with. */
int schema_wanted(void);

/* Reads the state; STATUS_DATA when there are some tables of ours, but not
 * those of any version. */
enum status schema_read(struct db *db, struct schema_state *state_r);

/* Waits for other upgrades of this database to end. */
enum status schema_lock(struct db *db);

/* Refuses what the upgrade from version 1 cannot carry along, with all of it
 * printed to standard error, and brings into normal form what can be. Takes
 * locks on the tables first. */
enum status schema_normalise(struct db *db);

/* Runs the migrations from state->version on, the functions, the triggers, and
 * the roles if possible. *roles_r tells whether they were. */
enum status schema_apply(struct db *db, const struct schema_state *state,
                         bool *roles_r);

#endif
