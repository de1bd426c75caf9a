/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_VERIFY_H
#define MAILADMIN_STORE_VERIFY_H

/*
 * Whether the audit is as it was written. The hashes are computed by
 * statements of this program, over functions of PostgreSQL's own: nothing that
 * the owner of the tables may replace has a say in them.
 */

#include <stddef.h>

#include "mailadmin/db.h"

#define STORE_FINDINGS 100 /* of a check: more are not reported */
#define STORE_CHECKS 6

struct store_verify {
    PGresult *summary; /* rows, links, when it begins, number and hash of the
                          head, number of the anchor */
    PGresult *findings[STORE_CHECKS]; /* what is wrong, in words */
    PGresult *noted;   /* of the head that was noted before: its hash, no row
                          when there is no such link; NULL: none was asked */
};

/* noted: the number of a link, or NULL. */
enum status store_verify(struct db *db, const char *noted,
                         struct store_verify *verify_r);
void store_verify_clear(struct store_verify *verify);

#endif
