/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_DB_H
#define MAILADMIN_DB_H

/*
 * PostgreSQL with deadlines: libpq never waits by itself here, so that a
 * database that hangs in any way ends a command in time. One connection, made
 * when it is first needed and again when it was lost between commands.
 *
 * Work is done in transactions; nothing is open between them. Everything
 * returns a status; db_error() has its text, which may hold bytes of the
 * server's and has to be escaped before people see it.
 */

#include <stdbool.h>

#include <libpq-fe.h>

#include "mailadmin/status.h"

#define DB_CONNECT_MS 5000

struct db;

enum db_mode {
    DB_READ,   /* one snapshot, read only */
    DB_CHANGE
};

/* The work of a transaction. Anything but STATUS_OK rolls it back. It may be
 * called again, from the start, when the transaction met another one. */
typedef enum status db_work_fn(struct db *db, void *context);

/* conninfo must stay valid. NULL when out of memory. */
struct db *db_new(const char *conninfo, unsigned int timeout_ms);
void db_free(struct db **db);

/* Runs work in a transaction. All of it, repetitions included, has to end
 * within timeout_ms, or within limit_ms when that is not 0; each row that
 * arrives starts the time anew. Only short work (limit_ms 0) is repeated. */
enum status db_transact(struct db *db, enum db_mode mode,
                        unsigned int limit_ms, db_work_fn *work,
                        void *context);

/*
 * For work: one statement of constant text with text parameters (NULL is
 * null). With STATUS_OK *result_r is the caller's, to PQclear(). Else the work
 * has to return the status; db_sqlstate() tells more.
 */
enum status db_query(struct db *db, const char *sql, int count,
                     const char *const *values, PGresult **result_r);

/* For work: constant text of several statements, results thrown away. */
enum status db_script(struct db *db, const char *sql);

/* For work: COPY ... FROM STDIN; the rows are in the text form. */
enum status db_copy(struct db *db, const char *sql, const char *rows,
                    size_t len);

/* The SQLSTATE of the last failed statement, "" when it had none. */
const char *db_sqlstate(const struct db *db);

/* Sets the text for a status that work found itself. Returns status. */
enum status db_fail(struct db *db, enum status status, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));
const char *db_error(const struct db *db);

#endif
