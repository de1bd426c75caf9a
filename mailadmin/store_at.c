/* SPDX-License-Identifier: MIT */
/*
 * A moment is first brought to the number of a link of the audit's chain, the
 * last one before it; emailing_state() has what there was after that link. Its
 * conditions are to be constants: a join would have it read everything.
 */
#include "config.h"

#include "mailadmin/store_at.h"

#include "mailadmin/moment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UTC(column)                                                          \
    "to_char(" column " AT TIME ZONE 'UTC',"                                 \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define EXPIRES                                                              \
    UTC("s.expires") ", coalesce(s.expires <= $3::timestamptz, false)"

/* What was the last row of an object of a grant s. */
#define LAST(what, object, id)                                               \
    "(SELECT " what " FROM public.emailing_history h"                        \
    " WHERE h.object = '" object "' AND h." id " = s." id                    \
    " AND h.link <= $1::bigint AND h.operation <> 'delete'"                  \
    " ORDER BY h.link DESC, h.id DESC LIMIT 1)"

/* The condition for what had one of these texts, by the index of those that
 * ever had one. */
#define NAMED(object, id, text, texts)                                       \
    " FROM public.emailing_state($1::bigint) s"                              \
    " WHERE s.object = '" object "' AND s." text " = ANY (" texts ")"        \
    " AND s." id " = ANY (ARRAY(SELECT a." id " FROM public.emailing_audit a" \
    "  WHERE a.object = '" object "' AND a." text " = ANY (" texts ")))"

#define IDS(object, id, text, texts)                                         \
    "SELECT array_agg(s." id ")::text" NAMED(object, id, text, texts)

/* A domain and those above it. */
#define PARENTS                                                              \
    "ARRAY(SELECT array_to_string((string_to_array($2::text, '.'))[i:], '.')" \
    " FROM generate_series(1, 1 + length($2::text)"                          \
    "  - length(replace($2::text, '.', ''))) i)"

/* Those of one user, and those of some objects. */
#define OWN(object, grant, id)                                               \
    "SELECT " LAST("h." object, object, id) ","                              \
    " coalesce(s.subdomains, false), " EXPIRES                               \
    " FROM public.emailing_state($1::bigint) s"                              \
    " WHERE s.object = '" grant "' AND s.id_user = $2::bigint"               \
    " ORDER BY 1"
#define HOLDERS(grant, id, domain)                                           \
    "SELECT " LAST("h.name", "user", "id_user") ","                          \
    " coalesce(s.subdomains, false), " EXPIRES ", "                          \
    LAST("h.enabled", "user", "id_user") ", " domain                         \
    " FROM public.emailing_state($1::bigint) s"                              \
    " WHERE s.object = '" grant "' AND s." id " = ANY ($2::bigint[])"        \
    " ORDER BY 1, 6"

static const char *const ids[] = {
    [STORE_ADDRESS] = IDS("address", "id_address", "address", "ARRAY[$2]"),
    [STORE_DOMAIN] = IDS("domain", "id_domain", "domain", "ARRAY[$2]"),
};

static const char *const holders[] = {
    [STORE_ADDRESS] = HOLDERS("user_address", "id_address", "NULL::text"),
    [STORE_DOMAIN] = HOLDERS("user_domain", "id_domain",
                             LAST("h.domain", "domain", "id_domain")),
};

struct job {
    enum store_kind kind;
    const char *text;
    int64_t at;
    bool covering;
    struct store_user *user;
    PGresult **result;
    char link[24];             /* the last one before the moment */
    char moment[MOMENT_SIZE];
};

/* Finds the link that the moment comes after. */
static enum status
find_link(struct db *db, struct job *job)
{
    const char *values[] = {job->moment};
    PGresult *result;
    enum status status;

    moment_format_exact(job->at, job->moment);
    status = db_query(
        db,
        "SELECT max(number), $1::timestamptz > now(),"
        " (SELECT to_char(at AT TIME ZONE 'UTC',"
        "   'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        "  FROM public.emailing_audit_chain"
        "  WHERE first IS NULL)"
        " FROM public.emailing_audit_chain"
        " WHERE at <= $1::timestamptz",
        1, values, &result);
    if (status == STATUS_OK && PQgetvalue(result, 0, 1)[0] == 't')
        status = db_fail(db, STATUS_DATA, "%s has not come yet", job->moment);
    else if (status == STATUS_OK && PQgetisnull(result, 0, 2))
        status = db_fail(db, STATUS_NOT_KEPT, "the audit has no beginning "
                                              "(see: mailadmin audit verify)");
    else if (status == STATUS_OK && PQgetisnull(result, 0, 0))
        status = db_fail(db, STATUS_NOT_KEPT,
                         "the audit does not reach back to %s: it begins at "
                         "%s", job->moment, PQgetvalue(result, 0, 2));
    else if (status == STATUS_OK)
        snprintf(job->link, sizeof(job->link), "%s",
                 PQgetvalue(result, 0, 0));
    PQclear(result);
    return status;
}

static enum status
unknown(struct db *db, const struct job *job)
{
    return db_fail(db, STATUS_UNKNOWN, "no such %s at %s: %s",
                   store_kind_name(job->kind), job->moment, job->text);
}

/* enabled, created, changed, old_until, id: of the user. */
static enum status
find_user(struct db *db, struct job *job, PGresult **user_r)
{
    const char *values[] = {job->link, job->text, job->moment};
    enum status status;

    status = db_query(
        db,
        "SELECT s.enabled,"
        " (SELECT " UTC("h.moment") " FROM public.emailing_history h"
        "  WHERE h.object = 'user' AND h.id_user = s.id_user"
        "  AND h.operation = 'insert' AND h.link <= $1::bigint"
        "  ORDER BY h.link DESC, h.id DESC LIMIT 1),"
        " CASE WHEN s.operation <> 'baseline' THEN " UTC("s.moment") " END,"
        " CASE WHEN s.old_until > $3::timestamptz THEN "
        UTC("s.old_until") " END, s.id_user"
        NAMED("user", "id_user", "name", "ARRAY[$2]"),
        3, values, user_r);
    if (status == STATUS_OK && PQntuples(*user_r) == 0)
        return unknown(db, job);
    return status;
}

static enum status
show_user(struct db *db, void *context)
{
    struct job *job = context;
    struct store_user *user = job->user;
    const char *values[] = {job->link, NULL, job->moment};
    enum status status = find_link(db, job);

    if (status == STATUS_OK)
        status = find_user(db, job, &user->user);
    if (status != STATUS_OK)
        return status;
    values[1] = PQgetvalue(user->user, 0, 4);
    status = db_query(db, OWN("domain", "user_domain", "id_domain"), 3,
                      values, &user->domains);
    if (status == STATUS_OK)
        status = db_query(db, OWN("address", "user_address", "id_address"), 3,
                          values, &user->addresses);
    return status;
}

enum status
store_show_user_at(struct db *db, const char *name, int64_t at,
                   struct store_user *user_r)
{
    struct job job = {.kind = STORE_USER, .text = name, .at = at,
                      .user = user_r};
    enum status status;

    memset(user_r, 0, sizeof(*user_r));
    status = db_transact(db, DB_READ, 0, show_user, &job);
    if (status != STATUS_OK)
        store_user_clear(user_r);
    return status;
}

static enum status
show_grants(struct db *db, void *context)
{
    struct job *job = context;
    const char *values[] = {job->link, job->text, job->moment};
    PGresult *found;
    enum status status = find_link(db, job);

    if (status != STATUS_OK)
        return status;
    status = db_query(db, job->covering
                              ? IDS("domain", "id_domain", "domain", PARENTS)
                              : ids[job->kind], 2, values, &found);
    if (status == STATUS_OK && PQgetisnull(found, 0, 0) && !job->covering)
        status = unknown(db, job);
    if (status == STATUS_OK) {
        values[1] = PQgetisnull(found, 0, 0) ? "{}" : PQgetvalue(found, 0, 0);
        status = db_query(db, holders[job->kind], 3, values, job->result);
    }
    PQclear(found);
    return status;
}

enum status
store_show_grants_at(struct db *db, enum store_kind kind, const char *text,
                     int64_t at, PGresult **users_r)
{
    struct job job = {.kind = kind, .text = text, .at = at,
                      .result = users_r};

    *users_r = NULL;
    return db_transact(db, DB_READ, 0, show_grants, &job);
}

enum status
store_show_covering_at(struct db *db, const char *domain, int64_t at,
                       PGresult **users_r)
{
    struct job job = {.kind = STORE_DOMAIN, .text = domain, .at = at,
                      .covering = true, .result = users_r};

    *users_r = NULL;
    return db_transact(db, DB_READ, 0, show_grants, &job);
}

static enum status
lookup(struct db *db, void *context)
{
    struct job *job = context;
    const char *values[] = {job->link, NULL, NULL};
    PGresult *user = NULL;
    enum status status = find_link(db, job);

    if (status == STATUS_OK)
        status = find_user(db, job, &user);
    if (status == STATUS_OK) {
        values[1] = PQgetvalue(user, 0, 4);
        values[2] = PQgetvalue(user, 0, 0);
        status = db_query(
            db,
            "SELECT NULL, $2::bigint, $3::boolean, NULL, NULL, NULL, false,"
            " coalesce(string_agg(g.kind || ' ' || g.until || ' ' || g.text,"
            "  E'\\n'), '')"
            " FROM (SELECT CASE WHEN s.object = 'user_address' THEN 'a'"
            "   WHEN s.subdomains THEN 's' ELSE 'd' END AS kind,"
            "  coalesce(floor(extract(epoch FROM s.expires))::text, '-')"
            "   AS until,"
            "  CASE s.object WHEN 'user_address'"
            "   THEN " LAST("h.address", "address", "id_address")
            "   ELSE " LAST("h.domain", "domain", "id_domain") " END AS text"
            "  FROM public.emailing_state($1::bigint) s"
            "  WHERE s.object IN ('user_address', 'user_domain')"
            "  AND s.id_user = $2::bigint) g",
            3, values, job->result);
    }
    PQclear(user);
    return status;
}

enum status
store_lookup_at(struct db *db, const char *name, int64_t at,
                PGresult **row_r)
{
    struct job job = {.kind = STORE_USER, .text = name, .at = at,
                      .result = row_r};

    *row_r = NULL;
    return db_transact(db, DB_READ, 0, lookup, &job);
}
