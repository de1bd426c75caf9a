/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/store_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pruning a database of millions of rows takes minutes. */
enum { PRUNE_MS = 3600 * 1000 };

#define UTC(column)                                                          \
    "to_char(" column " AT TIME ZONE 'UTC',"                                 \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define EXACT(column)                                                        \
    "to_char(" column " AT TIME ZONE 'UTC',"                                 \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* A grant that was taken away with its user or object has no names: the last
 * ones that those had. */
#define NAME(column, object, id)                                             \
    "coalesce(h." column ", CASE WHEN h.object LIKE 'user\\_%' THEN"         \
    " (SELECT n." column " FROM public.emailing_history n"                   \
    "  WHERE n.object = '" object "' AND n." id " = h." id                   \
    "  AND (n.link, n.id) <= (h.link, h.id)"                                 \
    "  ORDER BY n.link DESC, n.id DESC LIMIT 1) END)"

/* The order is that of the links and the rows in each: the first condition
 * lets the database begin at the link of the last row that was read. */
#define PAGE(filter)                                                         \
    "SELECT h.link, h.id, " EXACT("h.moment") ", h.db_user, h.os_user,"      \
    " host(h.client), h.object, h.operation, h.id_user, h.id_address,"       \
    " h.id_domain, " NAME("name", "user", "id_user") ", "                    \
    NAME("address", "address", "id_address") ", "                            \
    NAME("domain", "domain", "id_domain") ", h.enabled, h.subdomains, "      \
    UTC("h.expires") ", " UTC("h.old_until") ", h.secret_changed,"           \
    " h.was_name, h.was_address, h.was_domain, h.was_enabled,"               \
    " h.was_subdomains, " UTC("h.was_expires") ", "                          \
    UTC("h.was_old_until") ", h.version, " EXACT("h.since")                  \
    " FROM public.emailing_history h"                                        \
    " WHERE h.link >= $1::bigint"                                            \
    " AND (h.link > $1::bigint OR h.id > $2::bigint)"                        \
    " AND ($3::timestamptz IS NULL OR h.moment >= $3::timestamptz)"          \
    " AND ($4::timestamptz IS NULL OR h.moment < $4::timestamptz)"           \
    filter " ORDER BY h.link, h.id LIMIT 1000"

#define IDS(object, id, text)                                                \
    "SELECT array_agg(DISTINCT " id ")::text FROM public.emailing_audit"     \
    " WHERE object = '" object "' AND " text " = $1"

static const struct {
    const char *ids, *page;
} statements[] = {
    [STORE_USER] = {IDS("user", "id_user", "name"),
                    PAGE(" AND h.id_user = ANY ($5::bigint[])")},
    [STORE_ADDRESS] = {IDS("address", "id_address", "address"),
                       PAGE(" AND h.id_address = ANY ($5::bigint[])")},
    [STORE_DOMAIN] = {IDS("domain", "id_domain", "domain"),
                      PAGE(" AND h.id_domain = ANY ($5::bigint[])")},
};

struct job {
    struct store_audit *audit;
    PGresult **result;
    const struct past *before;
    int64_t *rows;
};

static enum status
find_ids(struct db *db, void *context)
{
    struct job *job = context;
    struct store_audit *audit = job->audit;
    PGresult *result;
    enum status status;

    status = db_query(db, statements[audit->kind].ids, 1, &audit->text,
                      &result);
    if (status == STATUS_OK && PQgetisnull(result, 0, 0)) {
        status = db_fail(db, STATUS_UNKNOWN, "no such %s in the audit: %s",
                         store_kind_name(audit->kind), audit->text);
    } else if (status == STATUS_OK) {
        free(audit->ids);
        audit->ids = strdup(PQgetvalue(result, 0, 0));
        if (audit->ids == NULL)
            status = db_fail(db, STATUS_SYSTEM, "out of memory");
    }
    PQclear(result);
    return status;
}

enum status
store_audit_begin(struct db *db, struct store_audit *audit)
{
    struct job job = {.audit = audit};

    /* The baseline has numbers below zero. */
    snprintf(audit->link, sizeof(audit->link), "%lld",
             -0x7fffffffffffffffLL);
    snprintf(audit->id, sizeof(audit->id), "0");
    audit->ids = NULL;
    return audit->all ? STATUS_OK
                      : db_transact(db, DB_READ, 0, find_ids, &job);
}

static enum status
read_page(struct db *db, void *context)
{
    struct job *job = context;
    struct store_audit *audit = job->audit;
    const char *values[] = {
        audit->link, audit->id, audit->since.given ? audit->since.text : NULL,
        audit->until.given ? audit->until.text : NULL, audit->ids};

    return db_query(db, audit->all ? PAGE("") : statements[audit->kind].page,
                    audit->all ? 4 : 5, values, job->result);
}

enum status
store_audit_next(struct db *db, struct store_audit *audit, PGresult **rows_r)
{
    struct job job = {.audit = audit, .result = rows_r};
    enum status status;
    int last;

    *rows_r = NULL;
    status = db_transact(db, DB_READ, 0, read_page, &job);
    last = PQntuples(*rows_r) - 1;
    if (last >= 0) {
        snprintf(audit->link, sizeof(audit->link), "%s",
                 PQgetvalue(*rows_r, last, AUDIT_LINK));
        snprintf(audit->id, sizeof(audit->id), "%s",
                 PQgetvalue(*rows_r, last, AUDIT_ID));
    }
    return status;
}

void
store_audit_end(struct store_audit *audit)
{
    free(audit->ids);
    audit->ids = NULL;
}

static enum status
prune(struct db *db, void *context)
{
    struct job *job = context;
    const char *values[] = {job->before->text};
    PGresult *result;
    enum status status;

    status = db_query(db,
                      "SELECT public.emailing_audit_prune($1::timestamptz)",
                      1, values, &result);
    if (status == STATUS_OK)
        *job->rows = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return status;
}

enum status
store_audit_prune(struct db *db, const struct past *before, int64_t *rows_r)
{
    struct job job = {.before = before, .rows = rows_r};

    *rows_r = 0;
    return db_transact(db, DB_CHANGE, PRUNE_MS, prune, &job);
}
