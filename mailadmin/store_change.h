/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_CHANGE_H
#define MAILADMIN_STORE_CHANGE_H

/*
 * Adding, deleting, granting, revoking, enabling: any number of objects by one
 * statement in one transaction. Each takes effect or none does.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailadmin/db.h"
#include "mailadmin/grammar.h"
#include "mailadmin/store.h"

struct store_item {
    const char *text;   /* the object, in stored form */
    const char *user;   /* of a grant; NULL otherwise */
    const char *secret; /* of a new user; NULL: none */
    bool changed;       /* whether there was something to do */
};

struct store_change {
    enum grammar_change verb;
    enum store_kind kind;
    bool lenient;    /* to be there already, or not at all, is no failure */
    bool subdomains; /* of a grant */
    bool ends;       /* likewise; else it lasts until it is revoked */
    int64_t until;   /* second since the epoch */
    struct store_item *items;
    size_t count;
};

/*
 * Makes the change and sets changed in each item; the first that cannot be
 * done is in db_error(), and nothing was done then: STATUS_EXISTS,
 * STATUS_UNKNOWN (what it was that is not there: *missing_r, *kind_r) or a
 * failure of the database. Both may be NULL.
 */
enum status store_change(struct db *db, struct store_change *change,
                         const char **missing_r, enum store_kind *kind_r);

/* Makes several, in their order, in one transaction within limit_ms: all of
 * it takes effect, or nothing. */
enum status store_changes(struct db *db, struct store_change *changes,
                          size_t count, unsigned int limit_ms);

#endif
