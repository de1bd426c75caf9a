/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_AUDIT_H
#define MAILADMIN_STORE_AUDIT_H

/*
 * The rows of the audit, in the order in which they took effect.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mailadmin/db.h"
#include "mailadmin/past.h"
#include "mailadmin/store.h"

#define STORE_AUDIT_PAGE 1000

/* The columns of a row. at is when its transaction came to its end; names are
 * those of that time. Times are in UTC. */
enum store_audit_column {
    AUDIT_LINK,
    AUDIT_ID,
    AUDIT_AT,
    AUDIT_DB_USER,
    AUDIT_OS_USER,
    AUDIT_CLIENT,
    AUDIT_OBJECT,
    AUDIT_OPERATION,
    AUDIT_ID_USER,
    AUDIT_ID_ADDRESS,
    AUDIT_ID_DOMAIN,
    AUDIT_NAME,
    AUDIT_ADDRESS,
    AUDIT_DOMAIN,
    AUDIT_ENABLED,
    AUDIT_SUBDOMAINS,
    AUDIT_EXPIRES,
    AUDIT_OLD_UNTIL,
    AUDIT_SECRET_CHANGED,
    AUDIT_WAS_NAME,
    AUDIT_WAS_ADDRESS,
    AUDIT_WAS_DOMAIN,
    AUDIT_WAS_ENABLED,
    AUDIT_WAS_SUBDOMAINS,
    AUDIT_WAS_EXPIRES,
    AUDIT_WAS_OLD_UNTIL,
    AUDIT_VERSION,
    AUDIT_SINCE
};

struct store_audit {
    bool all;
    enum store_kind kind;     /* of what the rows are about, unless all */
    const char *text;         /* likewise: its name, now or once */
    struct past since, until; /* from the one on, before the other */
    char link[24], id[24];    /* of the last row that was read */
    char *ids;                /* of what had that name */
};

/* Sets what is asked for; STATUS_UNKNOWN when nothing ever had the name. */
enum status store_audit_begin(struct db *db, struct store_audit *audit);

/* The next rows, STORE_AUDIT_PAGE of them unless they are the last. */
enum status store_audit_next(struct db *db, struct store_audit *audit,
                             PGresult **rows_r);

void store_audit_end(struct store_audit *audit);

/* Forgets what was before the moment; *rows_r is how many rows that were. */
enum status store_audit_prune(struct db *db, const struct past *before,
                              int64_t *rows_r);

#endif
