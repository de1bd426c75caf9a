/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_DB_H
#define POLICYD_DB_H

/*
 * Questions to PostgreSQL: a small pool of connections in pipeline mode, one
 * Sync per query. Every query is answered within the timeout, by a result or
 * by "unavailable". A connection whose first query is late is closed and the
 * queries behind it are sent again on another one (they are idempotent, but
 * for one kind that is not sent twice and counts as unanswered then); nothing is
 * cancelled, since a cancel may hit another query.
 *
 * While the database is known to be gone nobody waits: queries fail at once,
 * and one connection tries again with growing pauses.
 */

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <uv.h>

struct db;
struct histogram;
struct target;

/* The questions there are; their SQL is in query.c. */
enum db_statement {
    DB_LOOKUP,         /* user name */
    DB_LOOKUP_SENDER,  /* user name, address, stripped, domain */
    DB_LOAD,           /* after, most */
    DB_UPGRADE_SECRET, /* user name, old, new */
    DB_MOCK_KEY,
    DB_NOTIFY,         /* text for the channel of changes */
    DB_RECORD_USAGE,   /* batch; see usage.h. Sent once, unlike the others */
    DB_STATEMENTS
};
#define DB_PARAMS_MAX 4

struct db_options {
    unsigned int connections;
    unsigned int timeout_ms;
};

/* When the database is lost, and when it is back. Called from the loop. */
struct db_events {
    void (*state_changed)(void *context, bool available);
    void *context;
};

/* NULL when out of memory. The target outlives it. Connects at once. */
struct db *db_new(uv_loop_t *loop, struct target *target,
                  const struct db_options *options,
                  const struct db_events *events);

/* Closes the connections and frees *db (may be NULL), sets it to NULL. What
 * waits is answered with "unavailable". */
void db_free(struct db **db);

/* Changes how long to wait, from the next query on, and where to connect. With
 * another target all connections are made anew; what was sent is sent again
 * there. */
void db_reconfigure(struct db *db, struct target *target,
                    unsigned int timeout_ms);

/*
 * Asks. done is called once, from the loop and never from within: with rows
 * (which are freed afterwards), or with NULL when the database could not
 * answer. params are copied; NULL is SQL's null. False when the database is
 * known to be gone, the queue is full or memory is out: done is not called.
 */
typedef void db_done_fn(void *context, const PGresult *rows);
bool db_query(struct db *db, enum db_statement statement,
              const char *const params[], db_done_fn *done, void *context);

struct db_counts {
    bool available;
    bool ever; /* it was there at least once */
    size_t connections, waiting;
    unsigned long connects, failures;
    const struct histogram *latency; /* of queries that were answered */
};
struct db_counts db_counts(const struct db *db);

/* False while it is known to be gone. */
bool db_available(const struct db *db);

/* Someone else heard from the database. */
void db_note_good(struct db *db);

/* When it last answered, by clock_boot_ms(); 0 for never. */
uint64_t db_last_good(const struct db *db);

#endif
