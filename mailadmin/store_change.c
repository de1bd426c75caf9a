/* SPDX-License-Identifier: MIT */
/*
 * The objects travel as arrays. Users are locked before addresses and domains,
 * those before grants, and the rows of each in the order of their keys, so
 * that two administrators do not deadlock; where a foreign key still finds a
 * row gone, the transaction is repeated and says so.
 *
 * Each statement returns a row an item, in their order: whether the object is
 * missing, whether the user is, whether something changed. Of an item that
 * comes twice the first does the change.
 */
#include "config.h"

#include "mailadmin/store_change.h"

#include "mailadmin/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST(...)                                                           \
    "row_number() OVER (PARTITION BY " __VA_ARGS__ " ORDER BY w.ord) = 1"

#define ADD(table, column)                                                   \
    "WITH n AS (INSERT INTO public." table " (" column ")"                   \
    "  SELECT DISTINCT v FROM unnest($1::text[]) v ORDER BY v"               \
    "  ON CONFLICT (" column ") DO NOTHING RETURNING " column " AS v)"       \
    " SELECT false, false, n.v IS NOT NULL AND " FIRST("w.v")                \
    " FROM unnest($1::text[]) WITH ORDINALITY w (v, ord)"                    \
    " LEFT JOIN n ON n.v = w.v ORDER BY w.ord"

#define DEL_GRANTS(table, column, grants, id)                                \
    "WITH o AS (SELECT id, " column " AS v FROM public." table               \
    "  WHERE " column " = ANY ($1::text[]) ORDER BY id FOR UPDATE),"         \
    " g AS (DELETE FROM public." grants " g USING o WHERE g." id " = o.id)"  \
    " SELECT o.id IS NULL, false, o.id IS NOT NULL AND " FIRST("w.v")        \
    " FROM unnest($1::text[]) WITH ORDINALITY w (v, ord)"                    \
    " LEFT JOIN o ON o.v = w.v ORDER BY w.ord"

#define DEL(table, column)                                                   \
    "DELETE FROM public." table " WHERE " column " = ANY ($1::text[])"

/* The rows that the pairs of object and user are, NULL for what is not. */
#define PAIRS(table, column)                                                 \
    "WITH u AS (SELECT id, name FROM public.emailing_users"                  \
    "  WHERE name = ANY ($2::text[]) ORDER BY id FOR KEY SHARE),"            \
    " o AS (SELECT id, " column " AS v FROM public." table                   \
    "  WHERE " column " = ANY ($1::text[])),"                                \
    " w AS (SELECT w.ord, u.id AS id_user, o.id AS id_object"                \
    "  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w (v, name, ord)" \
    "  LEFT JOIN u ON u.name = w.name LEFT JOIN o ON o.v = w.v),"            \
    " p AS (SELECT DISTINCT id_user, id_object FROM w"                       \
    "  WHERE id_user IS NOT NULL AND id_object IS NOT NULL"                  \
    "  ORDER BY id_user, id_object)"

#define RESULTS(id)                                                          \
    " SELECT w.id_object IS NULL, w.id_user IS NULL,"                        \
    " g.id_user IS NOT NULL AND " FIRST("w.id_user, w.id_object")            \
    " FROM w LEFT JOIN g ON g.id_user = w.id_user"                           \
    " AND g." id " = w.id_object ORDER BY w.ord"

#define GRANT(table, column, grants, id, columns, values, set, where)        \
    PAIRS(table, column)                                                     \
    ", g AS (INSERT INTO public." grants " AS was (id_user, " id columns     \
    ", expires) SELECT p.id_user, p.id_object" values                        \
    ", to_timestamp($3::double precision) FROM p"                            \
    " ON CONFLICT (id_user, " id ") DO UPDATE SET " set                      \
    " expires = excluded.expires WHERE " where                               \
    " was.expires IS DISTINCT FROM excluded.expires"                         \
    " RETURNING id_user, " id ")" RESULTS(id)

#define REVOKE(table, column, grants, id)                                    \
    PAIRS(table, column)                                                     \
    ", g AS (DELETE FROM public." grants " g USING p"                        \
    "  WHERE g.id_user = p.id_user AND g." id " = p.id_object"               \
    "  RETURNING g.id_user, g." id ")" RESULTS(id)

#define ENABLE(enabled)                                                      \
    "WITH o AS (SELECT id, name AS v, enabled FROM public.emailing_users"    \
    "  WHERE name = ANY ($1::text[]) ORDER BY id FOR NO KEY UPDATE),"        \
    " n AS (UPDATE public.emailing_users c SET enabled = " enabled           \
    "  FROM o WHERE c.id = o.id AND o.enabled <> " enabled                   \
    "  RETURNING c.id)"                                                      \
    " SELECT o.id IS NULL, false, n.id IS NOT NULL AND " FIRST("w.v")        \
    " FROM unnest($1::text[]) WITH ORDINALITY w (v, ord)"                    \
    " LEFT JOIN o ON o.v = w.v LEFT JOIN n ON n.id = o.id ORDER BY w.ord"

#define ADDRESS "emailing_addresses", "address"
#define ADDRESS_GRANTS "emailing_users_addresses", "id_address"
#define DOMAIN "emailing_domains", "domain"
#define DOMAIN_GRANTS "emailing_users_domains", "id_domain"
#define APPLY(macro, ...) macro(__VA_ARGS__)

/* One or two statements; the rows of the first are the result. */
struct sql {
    const char *text, *then;
    int count; /* of parameters */
};

static const struct sql statements[][STORE_DOMAIN + 1] = {
    [GRAMMAR_ADD] = {
        [STORE_USER] = {
            "WITH n AS (INSERT INTO public.emailing_users (name, passwd)"
            "  SELECT DISTINCT ON (v) v, secret"
            "  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY"
            "   w (v, secret, ord) ORDER BY v, ord"
            "  ON CONFLICT (name) DO NOTHING RETURNING name AS v)"
            " SELECT false, false, n.v IS NOT NULL AND " FIRST("w.v")
            " FROM unnest($1::text[]) WITH ORDINALITY w (v, ord)"
            " LEFT JOIN n ON n.v = w.v ORDER BY w.ord", NULL, 2},
        [STORE_ADDRESS] = {APPLY(ADD, ADDRESS), NULL, 1},
        [STORE_DOMAIN] = {APPLY(ADD, DOMAIN), NULL, 1},
    },
    [GRAMMAR_DEL] = {
        [STORE_USER] = {
            "WITH o AS (SELECT id, name AS v FROM public.emailing_users"
            "  WHERE name = ANY ($1::text[]) ORDER BY id FOR UPDATE),"
            " a AS (DELETE FROM public.emailing_users_addresses g USING o"
            "  WHERE g.id_user = o.id),"
            " d AS (DELETE FROM public.emailing_users_domains g USING o"
            "  WHERE g.id_user = o.id)"
            " SELECT o.id IS NULL, false, o.id IS NOT NULL AND " FIRST("w.v")
            " FROM unnest($1::text[]) WITH ORDINALITY w (v, ord)"
            " LEFT JOIN o ON o.v = w.v ORDER BY w.ord",
            DEL("emailing_users", "name"), 1},
        [STORE_ADDRESS] = {APPLY(DEL_GRANTS, ADDRESS, ADDRESS_GRANTS),
                           APPLY(DEL, ADDRESS), 1},
        [STORE_DOMAIN] = {APPLY(DEL_GRANTS, DOMAIN, DOMAIN_GRANTS),
                          APPLY(DEL, DOMAIN), 1},
    },
    [GRAMMAR_GRANT] = {
        [STORE_ADDRESS] = {APPLY(GRANT, ADDRESS, ADDRESS_GRANTS, "", "", "",
                                 ""), NULL, 3},
        [STORE_DOMAIN] = {APPLY(GRANT, DOMAIN, DOMAIN_GRANTS, ", subdomains",
                                ", $4::boolean",
                                "subdomains = excluded.subdomains,",
                                "was.subdomains <> excluded.subdomains OR"),
                          NULL, 4},
    },
    [GRAMMAR_REVOKE] = {
        [STORE_ADDRESS] = {APPLY(REVOKE, ADDRESS, ADDRESS_GRANTS), NULL, 2},
        [STORE_DOMAIN] = {APPLY(REVOKE, DOMAIN, DOMAIN_GRANTS), NULL, 2},
    },
    [GRAMMAR_ENABLE] = {[STORE_USER] = {ENABLE("true"), NULL, 1}},
    [GRAMMAR_DISABLE] = {[STORE_USER] = {ENABLE("false"), NULL, 1}},
};

struct job {
    struct store_change *change;
    char *objects, *others; /* arrays */
    const char *missing;
    enum store_kind missing_kind;
};

static const struct store_item *
item_of(const void *context, size_t i)
{
    const struct store_change *change = context;

    return &change->items[i];
}

static const char *
text_of(const void *context, size_t i)
{
    return item_of(context, i)->text;
}

static const char *
user_of(const void *context, size_t i)
{
    return item_of(context, i)->user;
}

static const char *
secret_of(const void *context, size_t i)
{
    return item_of(context, i)->secret;
}

static bool
is_true(const PGresult *result, size_t row, int column)
{
    return PQgetvalue(result, (int) row, column)[0] == 't';
}

static enum status
unknown(struct db *db, struct job *job, enum store_kind kind,
        const char *text)
{
    job->missing = text;
    job->missing_kind = kind;
    return db_fail(db, STATUS_UNKNOWN, "no such %s: %s",
                   store_kind_name(kind), text);
}

/* What became of each item; the first failure counts. */
static enum status
read_results(struct db *db, struct job *job, const PGresult *result)
{
    struct store_change *change = job->change;
    size_t i;

    for (i = 0; i < change->count && (int) i < PQntuples(result); i++) {
        struct store_item *item = &change->items[i];

        item->changed = is_true(result, i, 2);
        if (change->lenient)
            continue;
        if (is_true(result, i, 1))
            return unknown(db, job, STORE_USER, item->user);
        /* What another item deletes is not there for this one. */
        if (is_true(result, i, 0)
            || (change->verb == GRAMMAR_DEL && !item->changed))
            return unknown(db, job, change->kind, item->text);
        if (change->verb == GRAMMAR_ADD && !item->changed)
            return db_fail(db, STATUS_EXISTS, "%s %s exists already",
                           store_kind_name(change->kind), item->text);
    }
    return STATUS_OK;
}

static enum status
work(struct db *db, void *context)
{
    struct job *job = context;
    struct store_change *change = job->change;
    const struct sql *sql = &statements[change->verb][change->kind];
    char until[24];
    const char *values[] = {job->objects, job->others,
                            change->ends ? until : NULL,
                            change->subdomains ? "t" : "f"};
    PGresult *result;
    enum status status;

    snprintf(until, sizeof(until), "%" PRId64, change->until);
    status = db_query(db, sql->text, sql->count, values, &result);
    if (status == STATUS_OK)
        status = read_results(db, job, result);
    PQclear(result);
    if (status == STATUS_OK && sql->then != NULL) {
        status = db_query(db, sql->then, 1, values, &result);
        PQclear(result);
    }
    return status;
}

static enum status
prepare(struct db *db, struct store_change *change, struct job *job)
{
    job->change = change;
    job->objects = array_make(change->count, text_of, change);
    job->others = array_make(change->count,
                             change->kind == STORE_USER ? secret_of : user_of,
                             change);
    if (job->objects == NULL || job->others == NULL)
        return db_fail(db, STATUS_SYSTEM, "out of memory");
    return STATUS_OK;
}

static void
finish(struct job *job)
{
    array_free(&job->objects);
    array_free(&job->others);
}

struct jobs {
    struct job *job;
    size_t count;
};

static enum status
work_all(struct db *db, void *context)
{
    struct jobs *jobs = context;
    enum status status = STATUS_OK;
    size_t i;

    for (i = 0; status == STATUS_OK && i < jobs->count; i++)
        status = work(db, &jobs->job[i]);
    return status;
}

enum status
store_changes(struct db *db, struct store_change *changes, size_t count,
              unsigned int limit_ms)
{
    struct jobs jobs = {calloc(count, sizeof(*jobs.job)), count};
    enum status status = STATUS_OK;
    size_t i;

    if (jobs.job == NULL)
        return db_fail(db, STATUS_SYSTEM, "out of memory");
    for (i = 0; status == STATUS_OK && i < count; i++)
        status = prepare(db, &changes[i], &jobs.job[i]);
    if (status == STATUS_OK)
        status = db_transact(db, DB_CHANGE, limit_ms, work_all, &jobs);
    for (i = 0; i < count; i++)
        finish(&jobs.job[i]);
    free(jobs.job);
    return status;
}

enum status
store_change(struct db *db, struct store_change *change,
             const char **missing_r, enum store_kind *kind_r)
{
    struct job job = {.change = change};
    enum status status = prepare(db, change, &job);

    if (status == STATUS_OK)
        status = db_transact(db, DB_CHANGE, 0, work, &job);
    finish(&job);
    if (missing_r != NULL)
        *missing_r = job.missing;
    if (kind_r != NULL)
        *kind_r = job.missing_kind;
    return status;
}
