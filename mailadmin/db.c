/* SPDX-License-Identifier: MIT */
/*
 * A statement is sent, and its results are collected, by poll(2) against one
 * deadline for the whole transaction. The server gets a statement_timeout just
 * under it, so that it gives up first where it can; where it cannot, the
 * connection is closed. A request to cancel could itself hang, or hit the next
 * statement.
 */
#include "config.h"

#include "mailadmin/db.h"

#include "mailadmin/connect.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ATTEMPTS = 8,
       LONGEST = 5 }; /* limits that one statement may take, while it answers */

struct db {
    const char *conninfo;
    unsigned int timeout_ms;
    PGconn *conn;
    unsigned int limit_ms; /* of the transaction that runs */
    int64_t deadline;      /* CLOCK_MONOTONIC, in ms */
    int64_t last;          /* as far as a statement's may be put off */
    char sqlstate[6];
    char error[1024];
};

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct db *
db_new(const char *conninfo, unsigned int timeout_ms)
{
    struct db *db = calloc(1, sizeof(*db));

    if (db == NULL)
        return NULL;
    db->conninfo = conninfo;
    db->timeout_ms = timeout_ms;
    return db;
}

static void
disconnect(struct db *db)
{
    PQfinish(db->conn);
    db->conn = NULL;
}

void
db_free(struct db **db)
{
    if (*db == NULL)
        return;
    disconnect(*db);
    free(*db);
    *db = NULL;
}

enum status
db_fail(struct db *db, enum status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(db->error, sizeof(db->error), format, args);
    va_end(args);
    return status;
}

const char *
db_error(const struct db *db)
{
    return db->error;
}

const char *
db_sqlstate(const struct db *db)
{
    return db->sqlstate;
}

/* The connection is of no more use; what the server answered is unknown. */
static enum status
lost(struct db *db, const char *why)
{
    disconnect(db);
    return db_fail(db, STATUS_UNAVAILABLE, "database: %s", why);
}

/* The first line of a message of libpq's. */
static enum status
lost_with_message(struct db *db)
{
    const char *message = PQerrorMessage(db->conn);
    enum status status;

    status = db_fail(db, STATUS_UNAVAILABLE, "database: %.*s",
                     (int) strcspn(message, "\n"),
                     message[0] ? message : "connection lost");
    disconnect(db);
    return status;
}

static void
no_notice(void *context, const PGresult *result)
{
    (void) context;
    (void) result;
}

static enum status
connect_now(struct db *db)
{
    db->conn = connect_within(db->conninfo, DB_CONNECT_MS);
    if (db->conn == NULL)
        return db_fail(db, STATUS_UNAVAILABLE,
                       "database: no connection within %d s",
                       DB_CONNECT_MS / 1000);
    if (PQstatus(db->conn) != CONNECTION_OK
        || PQsetnonblocking(db->conn, 1) != 0)
        return lost_with_message(db);
    PQsetNoticeReceiver(db->conn, no_notice, NULL);
    return STATUS_OK;
}

/* Waits for events, or says that time is up. */
static enum status
wait_for(struct db *db, short events)
{
    struct pollfd fd = {.fd = PQsocket(db->conn), .events = events};
    int64_t left = db->deadline - now_ms();
    int n;

    if (left > 0) {
        n = poll(&fd, 1, (int) left);
        if (n > 0 || (n < 0 && errno == EINTR))
            return STATUS_OK;
        if (n < 0)
            return lost(db, strerror(errno));
    }
    disconnect(db);
    return db_fail(db, STATUS_UNAVAILABLE, "database: no answer within %u ms",
                   db->limit_ms);
}

static enum status
flush(struct db *db)
{
    enum status status = STATUS_OK;
    int left;

    while (status == STATUS_OK && (left = PQflush(db->conn)) != 0) {
        if (left < 0)
            return lost_with_message(db);
        status = wait_for(db, POLLIN | POLLOUT);
        if (status == STATUS_OK && PQconsumeInput(db->conn) == 0)
            return lost_with_message(db);
    }
    return status;
}

/* More has come: a long answer may take longer, but not for ever. */
static void
put_off(struct db *db)
{
    db->deadline = now_ms() + db->limit_ms;
    if (db->deadline > db->last)
        db->deadline = db->last;
}

/* The next result, NULL after the last one. */
static enum status
next_result(struct db *db, PGresult **result_r)
{
    enum status status;

    *result_r = NULL;
    while (PQisBusy(db->conn)) {
        status = wait_for(db, POLLIN);
        if (status != STATUS_OK)
            return status;
        if (PQconsumeInput(db->conn) == 0)
            return lost_with_message(db);
        put_off(db);
    }
    *result_r = PQgetResult(db->conn);
    return STATUS_OK;
}

/* What an SQLSTATE means for who gave the command. */
static enum status
classify(const char *state)
{
    static const struct {
        const char *prefix;
        enum status status;
    } classes[] = {
        {"42501", STATUS_DENIED},      {"28", STATUS_DENIED},
        {"42P01", STATUS_CONFIG},      {"42703", STATUS_CONFIG},
        {"42883", STATUS_CONFIG},      {"3F000", STATUS_CONFIG},
        {"22", STATUS_DATA},           {"23", STATUS_DATA},
    };
    size_t i;

    for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strncmp(state, classes[i].prefix, strlen(classes[i].prefix)) == 0)
            return classes[i].status;
    return STATUS_UNAVAILABLE;
}

/* Takes the error out of a failed result. */
static enum status
failed(struct db *db, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum status status;

    snprintf(db->sqlstate, sizeof(db->sqlstate), "%s", state ? state : "");
    status = classify(db->sqlstate);
    if (strcmp(db->sqlstate, "57014") == 0)
        return db_fail(db, status, "database: no result within %u ms",
                       db->limit_ms);
    return db_fail(db, status, "database: %s%s", text ? text : "failed",
                   status == STATUS_CONFIG
                       ? " (see: mailadmin schema status)" : "");
}

/*
 * Collects what a sent statement gives; the last result goes to *result_r (if
 * wanted), the first error counts. Data for a COPY goes in on the way.
 */
static enum status
collect(struct db *db, const char *rows, size_t len, PGresult **result_r)
{
    enum status first = STATUS_OK, status;
    PGresult *result, *last = NULL;

    db->last = now_ms() + (int64_t) LONGEST * db->limit_ms;
    status = flush(db);
    while (status == STATUS_OK
           && (status = next_result(db, &result)) == STATUS_OK
           && result != NULL) {
        switch (PQresultStatus(result)) {
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
            break;
        case PGRES_COPY_IN:
            if ((len > 0 && PQputCopyData(db->conn, rows, (int) len) <= 0)
                || PQputCopyEnd(db->conn, NULL) <= 0)
                status = lost_with_message(db);
            else
                status = flush(db);
            break;
        default:
            if (first == STATUS_OK)
                first = failed(db, result);
        }
        PQclear(last);
        last = result;
    }
    if (status == STATUS_OK && first == STATUS_OK && result_r != NULL) {
        *result_r = last;
        return STATUS_OK;
    }
    PQclear(last);
    if (db->conn != NULL && PQstatus(db->conn) != CONNECTION_OK)
        disconnect(db);
    return status != STATUS_OK ? status : first;
}

enum status
db_query(struct db *db, const char *sql, int count,
         const char *const *values, PGresult **result_r)
{
    *result_r = NULL;
    db->sqlstate[0] = '\0';
    if (PQsendQueryParams(db->conn, sql, count, NULL, values, NULL, NULL, 0)
        == 0)
        return lost_with_message(db);
    return collect(db, NULL, 0, result_r);
}

enum status
db_copy(struct db *db, const char *sql, const char *rows, size_t len)
{
    db->sqlstate[0] = '\0';
    if (PQsendQuery(db->conn, sql) == 0)
        return lost_with_message(db);
    return collect(db, rows, len, NULL);
}

enum status
db_script(struct db *db, const char *sql)
{
    return db_copy(db, sql, NULL, 0);
}

/* Who runs this, for the audit: worth no more than any claim. */
static void
claim_os_user(char *text, size_t size)
{
    const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    const struct passwd *user = getpwuid(getuid());

    if (sudo != NULL && sudo[0] != '\0')
        snprintf(text, size, "%s", sudo);
    else if (user != NULL)
        snprintf(text, size, "%s", user->pw_name);
    else
        snprintf(text, size, "%lu", (unsigned long) getuid());
}

static enum status
begin(struct db *db, enum db_mode mode)
{
    char timeout[16], os_user[128];
    const char *values[] = {timeout, os_user};
    PGresult *result;
    enum status status;

    /* Ten per cent under, so that the server gives up first. */
    snprintf(timeout, sizeof(timeout), "%u",
             db->limit_ms - db->limit_ms / 10);
    claim_os_user(os_user, sizeof(os_user));
    status = db_script(db, mode == DB_READ
                               ? "BEGIN ISOLATION LEVEL REPEATABLE READ "
                                 "READ ONLY"
                               : "BEGIN ISOLATION LEVEL READ COMMITTED "
                                 "READ WRITE");
    if (status != STATUS_OK)
        return status;
    status = db_query(db,
                      "SELECT set_config('statement_timeout', $1, true),"
                      " set_config('emailing.os_user', $2, true)",
                      2, values, &result);
    PQclear(result);
    return status;
}

/* Ends the transaction that failed; its error stays what db_error() says. */
static void
rollback(struct db *db)
{
    char error[sizeof(db->error)], sqlstate[sizeof(db->sqlstate)];

    if (db->conn == NULL)
        return;
    memcpy(error, db->error, sizeof(error));
    memcpy(sqlstate, db->sqlstate, sizeof(sqlstate));
    if (db_script(db, "ROLLBACK") != STATUS_OK)
        disconnect(db);
    memcpy(db->error, error, sizeof(error));
    memcpy(db->sqlstate, sqlstate, sizeof(sqlstate));
}

static enum status
attempt(struct db *db, enum db_mode mode, db_work_fn *work, void *context)
{
    enum status status;
    bool used = db->conn != NULL;

    if (!used && (status = connect_now(db)) != STATUS_OK)
        return status;
    db->deadline = now_ms() + db->limit_ms;
    status = begin(db, mode);
    if (used && db->conn == NULL && now_ms() < db->deadline) {
        /* Lost since the last command, and nothing was done yet. */
        status = connect_now(db);
        if (status == STATUS_OK)
            status = begin(db, mode);
    }
    if (status == STATUS_OK)
        status = work(db, context);
    if (status != STATUS_OK) {
        rollback(db);
        return status;
    }
    status = db_script(db, "COMMIT");
    if (status != STATUS_OK && db->conn == NULL && mode == DB_CHANGE)
        return db_fail(db, STATUS_UNAVAILABLE,
                       "database: connection lost while committing: the "
                       "change may or may not have been made");
    return status;
}

/* Whether the transaction met another one, and would not the next time:
 * serialization failure, deadlock, a row gone that a key refers to. */
static bool
worth_repeating(const struct db *db)
{
    return strcmp(db->sqlstate, "40001") == 0
           || strcmp(db->sqlstate, "40P01") == 0
           || strcmp(db->sqlstate, "23503") == 0;
}

enum status
db_transact(struct db *db, enum db_mode mode, unsigned int limit_ms,
            db_work_fn *work, void *context)
{
    enum status status = STATUS_UNAVAILABLE;
    int64_t end;
    int i;

    db->limit_ms = limit_ms ? limit_ms : db->timeout_ms;
    end = now_ms() + DB_CONNECT_MS + db->limit_ms;
    for (i = 0; i < ATTEMPTS && now_ms() < end; i++) {
        db->sqlstate[0] = '\0';
        status = attempt(db, mode, work, context);
        if (status == STATUS_OK || limit_ms != 0 || !worth_repeating(db))
            return status;
        poll(NULL, 0, 5 + (int) (getpid() * 7 + i * 13) % 20);
    }
    return status;
}
