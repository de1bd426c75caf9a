/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_AT_H
#define MAILADMIN_STORE_AT_H

/*
 * The permissions of a moment that has been, from the audit alone. A change
 * counts from the end of its transaction on. Each function is one transaction;
 * at is microseconds since the epoch.
 *
 * STATUS_NOT_KEPT when the audit begins later, STATUS_DATA when the moment has
 * not come yet, STATUS_UNKNOWN when there was no such thing then.
 */

#include <stdint.h>

#include "mailadmin/db.h"
#include "mailadmin/store.h"

/* As store_show_user(); created and changed are null when that was before the
 * audit began. */
enum status store_show_user_at(struct db *db, const char *name, int64_t at,
                               struct store_user *user_r);

/* Who was granted an address or a domain: name, subdomains, expires, whether
 * it was over, whether the user was enabled, the domain. */
enum status store_show_grants_at(struct db *db, enum store_kind kind,
                                 const char *text, int64_t at,
                                 PGresult **users_r);

/* The same for a domain and those above it, which need not be there: who might
 * send as any address of it. */
enum status store_show_covering_at(struct db *db, const char *domain,
                                   int64_t at, PGresult **users_r);

/* The row of emailing_lookup(), with all grants and without secrets. */
enum status store_lookup_at(struct db *db, const char *name, int64_t at,
                            PGresult **row_r);

#endif
