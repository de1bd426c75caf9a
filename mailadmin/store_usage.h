/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_USAGE_H
#define MAILADMIN_STORE_USAGE_H

/*
 * What policyd recorded of usage, and beside it, from the same snapshot, what
 * is granted. Seconds are those since the epoch.
 */

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "mailadmin/db.h"
#include "mailadmin/store.h"

/* Whose: all of it with NULLs; one user's; or theirs to whom an address or
 * domain is granted. */
struct store_usage_filter {
    int64_t since;
    const char *user, *address, *domain;
};

struct store_usage {
    PGresult *state;    /* the second since which it is recorded, or null */
    PGresult *users;    /* see below */
    PGresult *observed; /* likewise */
};

/* Columns of users, in the order of their ids; grants as in struct
 * record_source. Only those with rows in observed, unless one is named. */
enum { USAGE_USER, USAGE_NAME, USAGE_ENABLED, USAGE_GRANTS };

/* Columns of observed, in the same order, then that of their senders; see
 * sql/003-usage.sql. */
enum { USAGE_OF, USAGE_FORM, USAGE_SENDER, USAGE_MESSAGES, USAGE_REFUSED,
       USAGE_FIRST, USAGE_LAST };

/* STATUS_UNKNOWN when what the filter names is not there. */
enum status store_usage(struct db *db, const struct store_usage_filter *filter,
                        struct store_usage *usage_r);
void store_usage_clear(struct store_usage *usage);

/* The domains that anybody was granted, or an address of; and the addresses
 * granted in domains that were observed. */
enum status store_granted(struct db *db, int64_t since, PGresult **domains_r,
                          PGresult **addresses_r);

/* user, kind, object, subdomains, day of the last use or null, when it was
 * granted if that was since then; sorted. Those that have ended are not. */
enum status store_unused(struct db *db, int64_t since, PGresult **state_r,
                         PGresult **grants_r);

#endif
