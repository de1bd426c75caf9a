/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_HEALTH_H
#define POLICYD_HEALTH_H

/*
 * What is known of the database's state, and what of it is told: to the owner
 * when it changes, to the log once when it goes and once when it is back, and
 * once a minute for each thing that goes wrong meanwhile.
 *
 * Embedded in struct db, which fills in events and loop.
 */

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

#include "policyd/db.h"

struct health {
    const uv_loop_t *loop;
    struct db_events events;
    bool gone;      /* known to be: nobody waits */
    bool ever;      /* it was there once */
    bool announced; /* the owner knows that it is there */
    bool failing;   /* the last lookup was answered with an error */
    uint64_t last_good; /* clock_boot_ms() */
    /* When the log was last told, by statement; the last is of connections. */
    uint64_t complained[DB_STATEMENTS + 1];
};

/* The database is gone, or it is there. */
void health_gone(struct health *health, const char *why);
void health_back(struct health *health);

/* A query of that statement was answered, with rows or with an error. Only
 * lookups say whether the database is good. */
void health_answered(struct health *health, enum db_statement statement);
void health_refused(struct health *health, enum db_statement statement,
                    const PGresult *error);

/* A connection is lost, but others are there. */
void health_connection_lost(struct health *health, const char *why);

/* Someone else heard from the database. */
void health_heard(struct health *health);

#endif
