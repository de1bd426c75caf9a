/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/store_usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A day of a large relay is more than a moment's work. */
enum { USAGE_MS = 60 * 1000 };

#define SECOND(column) "floor(extract(epoch FROM " column "))::bigint"
#define STATE "SELECT " SECOND("since") " FROM public.emailing_usage"
#define UNTIL "coalesce(" SECOND("g.expires") "::text, '-') || ' '"
#define DOMAIN_OF(column) "substring(" column " FROM '[^@]*$')"

/* $1 since, $2 user, $3 address, $4 domain */
#define WANTED                                                               \
    " ($2::text IS NULL OR u.name = $2)"                                     \
    " AND ($3::text IS NULL OR EXISTS ("                                     \
    "  SELECT FROM public.emailing_users_addresses g"                        \
    "  JOIN public.emailing_addresses a ON a.id = g.id_address"              \
    "  WHERE g.id_user = u.id AND a.address = $3))"                          \
    " AND ($4::text IS NULL OR EXISTS ("                                     \
    "  SELECT FROM public.emailing_users_domains g"                          \
    "  JOIN public.emailing_domains d ON d.id = g.id_domain"                 \
    "  WHERE g.id_user = u.id AND d.domain = $4))"

#define LINES                                                                \
    "SELECT 'a ' || " UNTIL " || a.address AS line"                          \
    " FROM public.emailing_users_addresses g"                                \
    " JOIN public.emailing_addresses a ON a.id = g.id_address"               \
    " WHERE g.id_user = u.id UNION ALL"                                      \
    " SELECT CASE WHEN g.subdomains THEN 's ' ELSE 'd ' END || " UNTIL       \
    " || d.domain FROM public.emailing_users_domains g"                      \
    " JOIN public.emailing_domains d ON d.id = g.id_domain"                  \
    " WHERE g.id_user = u.id"

struct job {
    const char *values[4];
    const struct store_usage_filter *filter;
    struct store_usage *usage;
    PGresult **first, **second;
};

static enum status
must_exist(struct db *db, enum store_kind kind, const char *sql,
           const char *text)
{
    PGresult *result;
    enum status status = STATUS_OK;

    if (text == NULL)
        return STATUS_OK;
    status = db_query(db, sql, 1, &text, &result);
    if (status == STATUS_OK && PQntuples(result) == 0)
        status = db_fail(db, STATUS_UNKNOWN, "no such %s: %s",
                         store_kind_name(kind), text);
    PQclear(result);
    return status;
}

static enum status
read_usage(struct db *db, void *context)
{
    struct job *job = context;
    const struct store_usage_filter *filter = job->filter;
    enum status status;

    status = must_exist(db, STORE_USER,
                        "SELECT FROM public.emailing_users WHERE name = $1",
                        filter->user);
    if (status == STATUS_OK)
        status = must_exist(db, STORE_ADDRESS,
                            "SELECT FROM public.emailing_addresses"
                            " WHERE address = $1",
                            filter->address);
    if (status == STATUS_OK)
        status = must_exist(db, STORE_DOMAIN,
                            "SELECT FROM public.emailing_domains"
                            " WHERE domain = $1",
                            filter->domain);
    if (status == STATUS_OK)
        status = db_query(db, STATE, 0, NULL, &job->usage->state);
    if (status == STATUS_OK)
        status = db_query(
            db,
            "SELECT u.id, u.name, u.enabled,"
            " (SELECT string_agg(l.line, E'\\n') FROM (" LINES ") l)"
            " FROM public.emailing_users u WHERE" WANTED
            " AND ($2::text IS NOT NULL OR EXISTS ("
            "  SELECT FROM public.emailing_observed o WHERE o.id_user = u.id"
            "   AND o.last >= to_timestamp($1::bigint)))"
            " ORDER BY u.id",
            4, job->values, &job->usage->users);
    if (status == STATUS_OK)
        status = db_query(
            db,
            "SELECT o.id_user, o.form, o.sender, o.messages, o.refused, "
            SECOND("o.first") ", " SECOND("o.last")
            " FROM public.emailing_observed o"
            " JOIN public.emailing_users u ON u.id = o.id_user"
            " WHERE o.last >= to_timestamp($1::bigint) AND" WANTED
            " ORDER BY o.id_user, o.sender, o.form",
            4, job->values, &job->usage->observed);
    return status;
}

enum status
store_usage(struct db *db, const struct store_usage_filter *filter,
            struct store_usage *usage_r)
{
    char since[24];
    struct job job = {.values = {since, filter->user, filter->address,
                                 filter->domain},
                      .filter = filter,
                      .usage = usage_r};
    enum status status;

    memset(usage_r, 0, sizeof(*usage_r));
    snprintf(since, sizeof(since), "%" PRId64, filter->since);
    status = db_transact(db, DB_READ, USAGE_MS, read_usage, &job);
    if (status != STATUS_OK)
        store_usage_clear(usage_r);
    return status;
}

void
store_usage_clear(struct store_usage *usage)
{
    PQclear(usage->state);
    PQclear(usage->users);
    PQclear(usage->observed);
    memset(usage, 0, sizeof(*usage));
}

static enum status
read_granted(struct db *db, void *context)
{
    struct job *job = context;
    enum status status;

    status = db_query(
        db,
        "SELECT d.domain FROM public.emailing_domains d WHERE EXISTS ("
        "  SELECT FROM public.emailing_users_domains g"
        "   WHERE g.id_domain = d.id) UNION"
        " SELECT " DOMAIN_OF("a.address")
        " FROM public.emailing_addresses a WHERE EXISTS ("
        "  SELECT FROM public.emailing_users_addresses g"
        "   WHERE g.id_address = a.id)",
        0, NULL, job->first);
    if (status == STATUS_OK)
        status = db_query(
            db,
            "SELECT a.address FROM public.emailing_addresses a"
            " WHERE EXISTS (SELECT FROM public.emailing_users_addresses g"
            "   WHERE g.id_address = a.id)"
            " AND " DOMAIN_OF("a.address") " IN ("
            "  SELECT " DOMAIN_OF("o.sender")
            "  FROM public.emailing_observed o"
            "  WHERE o.last >= to_timestamp($1::bigint))",
            1, job->values, job->second);
    return status;
}

static enum status
read_two(struct db *db, db_work_fn *work, int64_t since, PGresult **first_r,
         PGresult **second_r)
{
    char text[24];
    struct job job = {.values = {text}, .first = first_r, .second = second_r};
    enum status status;

    *first_r = *second_r = NULL;
    snprintf(text, sizeof(text), "%" PRId64, since);
    status = db_transact(db, DB_READ, USAGE_MS, work, &job);
    if (status != STATUS_OK) {
        PQclear(*first_r);
        PQclear(*second_r);
        *first_r = *second_r = NULL;
    }
    return status;
}

enum status
store_granted(struct db *db, int64_t since, PGresult **domains_r,
              PGresult **addresses_r)
{
    return read_two(db, read_granted, since, domains_r, addresses_r);
}

/* One kind of grants. The audit knows when one was made. */
#define UNUSED(kind, letter, table, column, grants, id, subdomains)          \
    "SELECT u.name, '" kind "' AS kind, x." column " AS object, "            \
    subdomains " AS subdomains, s.last::text,"                               \
    " to_char(n.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"     \
    " FROM public." grants " g"                                              \
    " JOIN public.emailing_users u ON u.id = g.id_user"                      \
    " JOIN public." table " x ON x.id = g." id                               \
    " LEFT JOIN public.emailing_used s ON s.id_user = g.id_user"             \
    "  AND s.kind = '" letter "' AND s.id_object = g." id                    \
    " LEFT JOIN (SELECT id_user, " id ", max(at) AS at"                      \
    "  FROM public.emailing_audit WHERE at >= to_timestamp($1::bigint)"      \
    "   AND object = 'user_" kind "' AND operation = 'insert'"               \
    "  GROUP BY id_user, " id ") n"                                          \
    "  ON n.id_user = g.id_user AND n." id " = g." id                        \
    " WHERE (g.expires IS NULL OR g.expires > now())"                        \
    "  AND (s.last IS NULL OR s.last"                                        \
    "   < (to_timestamp($1::bigint) AT TIME ZONE 'UTC')::date)"

static enum status
read_unused(struct db *db, void *context)
{
    struct job *job = context;
    enum status status = db_query(db, STATE, 0, NULL, job->first);

    if (status != STATUS_OK)
        return status;
    return db_query(
        db,
        UNUSED("address", "a", "emailing_addresses", "address",
               "emailing_users_addresses", "id_address", "false")
        " UNION ALL "
        UNUSED("domain", "d", "emailing_domains", "domain",
               "emailing_users_domains", "id_domain", "g.subdomains")
        " ORDER BY 1, 2, 3",
        1, job->values, job->second);
}

enum status
store_unused(struct db *db, int64_t since, PGresult **state_r,
             PGresult **grants_r)
{
    return read_two(db, read_unused, since, state_r, grants_r);
}
