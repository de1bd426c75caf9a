/* SPDX-License-Identifier: MIT */
/*
 * A plan is done by one statement for each kind of thing and of change, so
 * that its size does not matter, and audit and notifications come set-based.
 * Grants go before what they are of: what cascades would leave an audit
 * without names.
 */
#include "config.h"

#include "mailadmin/state_store.h"

#include "mailadmin/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- reading -------------------------------------------------------------- */

#define SECOND(column) "floor(extract(epoch FROM " column "))::bigint"
#define WANTED "($2::text[] IS NULL OR u.name = ANY ($2::text[]))"

/* An empty secret is none. */
static const char read_users[] =
    "SELECT u.name, NULL, NOT u.enabled, CASE WHEN s.old IS NOT NULL THEN "
    SECOND("u.old_until") " END, s.secret, s.old"
    " FROM public.emailing_users u CROSS JOIN LATERAL (SELECT"
    "  CASE WHEN $1::boolean THEN nullif(u.passwd, '') END AS secret,"
    "  CASE WHEN $1::boolean THEN nullif(u.old_passwd, '') END AS old) s"
    " WHERE " WANTED;

#define READ(table, column)                                                  \
    "SELECT " column ", NULL, false, NULL, NULL, NULL FROM public." table    \
    " WHERE $1::boolean IS NOT NULL AND $2::text[] IS NULL"

#define READ_GRANTS(table, column, grants, id, subdomains)                   \
    "SELECT o." column ", u.name, " subdomains ", " SECOND("g.expires")      \
    ", NULL, NULL FROM public." grants " g"                                  \
    " JOIN public." table " o ON o.id = g." id                               \
    " JOIN public.emailing_users u ON u.id = g.id_user"                      \
    " WHERE $1::boolean IS NOT NULL AND " WANTED

static const char *const reads[STATE_KINDS] = {
    [STATE_USER] = read_users,
    [STATE_ADDRESS] = READ("emailing_addresses", "address"),
    [STATE_DOMAIN] = READ("emailing_domains", "domain"),
    [STATE_GRANT_ADDRESS] =
        READ_GRANTS("emailing_addresses", "address",
                    "emailing_users_addresses", "id_address", "false"),
    [STATE_GRANT_DOMAIN] =
        READ_GRANTS("emailing_domains", "domain", "emailing_users_domains",
                    "id_domain", "g.subdomains"),
};
enum { TEXT, USER, FLAG, UNTIL, SECRET, OLD };

/* NULL when it is null; *lost_r when there is no memory for the copy. */
static const char *
copy(struct state *state, const PGresult *rows, int row, int column,
     bool *lost_r)
{
    const char *text;

    if (PQgetisnull(rows, row, column))
        return NULL;
    text = state_copy(state, PQgetvalue(rows, row, column));
    *lost_r = *lost_r || text == NULL;
    return text;
}

static bool
add_row(struct state *state, enum state_kind kind, const PGresult *rows,
        int row)
{
    bool flag = PQgetvalue(rows, row, FLAG)[0] == 't', lost = false;
    struct state_item *item;

    item = state_add(state, kind, PQgetvalue(rows, row, TEXT),
                     PQgetisnull(rows, row, USER)
                         ? NULL : PQgetvalue(rows, row, USER));
    if (item == NULL)
        return false;
    item->disabled = kind == STATE_USER && flag;
    item->subdomains = kind == STATE_GRANT_DOMAIN && flag;
    item->ends = !PQgetisnull(rows, row, UNTIL);
    if (item->ends)
        item->until = strtoll(PQgetvalue(rows, row, UNTIL), NULL, 10);
    item->secret = copy(state, rows, row, SECRET, &lost);
    item->old_secret = copy(state, rows, row, OLD, &lost);
    return !lost;
}

static enum status
read_kind(struct db *db, enum state_kind kind, const char *const *values,
          struct state *state)
{
    enum status status;
    PGresult *rows;
    int i;

    status = db_query(db, reads[kind], 2, values, &rows);
    for (i = 0; status == STATUS_OK && i < PQntuples(rows); i++)
        if (!add_row(state, kind, rows, i))
            status = db_fail(db, STATUS_SYSTEM,
                             "out of memory, or more than %d rows", STATE_MAX);
    PQclear(rows);
    return status;
}

static const char *
name_at(const void *context, size_t i)
{
    char *const *names = context;

    return names[i];
}

enum status
state_fetch(struct db *db, char *const *names, size_t count,
            struct state *state_r)
{
    char *array = names == NULL ? NULL : array_make(count, name_at, names);
    const char *values[] = {state_r->secrets ? "t" : "f", array};
    enum status status = STATUS_OK;
    int kind;

    if (names != NULL && array == NULL)
        return db_fail(db, STATUS_SYSTEM, "out of memory");
    for (kind = 0; kind < STATE_KINDS && status == STATUS_OK; kind++)
        status = read_kind(db, (enum state_kind) kind, values, state_r);
    array_free(&array);
    state_sort(state_r);
    return status;
}

struct load {
    char *const *names;
    size_t count;
    struct state *state;
};

static enum status
load(struct db *db, void *context)
{
    struct load *load = context;

    return state_fetch(db, load->names, load->count, load->state);
}

enum status
state_load(struct db *db, char *const *names, size_t count,
           struct state *state_r)
{
    struct load job = {names, count, state_r};
    enum status status;

    status = db_transact(db, DB_READ, STATE_READ_MS, load, &job);
    if (status != STATUS_OK)
        state_free(state_r);
    return status;
}

/* -- changing ------------------------------------------------------------- */

/* Who only reads is not kept out: neither policyd nor a plan. The order is
 * that in which other changes come. */
enum status
state_lock(struct db *db)
{
    enum status status;

    status = db_script(db, "SET LOCAL lock_timeout = '5s'");
    if (status == STATUS_OK)
        status = db_script(
            db, "LOCK TABLE public.emailing_users, public.emailing_addresses,"
                " public.emailing_domains, public.emailing_users_addresses,"
                " public.emailing_users_domains"
                " IN SHARE ROW EXCLUSIVE MODE");
    if (status == STATUS_UNAVAILABLE
        && strcmp(db_sqlstate(db), "55P03") == 0)
        return db_fail(db, status,
                       "someone else has changed permissions and not "
                       "committed it for 5 s; nothing done");
    return status;
}

/* The columns of the items that a statement takes, an array each. */
static const char *
text_of(const void *context, size_t i)
{
    const struct state_item *const *items = context;

    return items[i]->text;
}

static const char *
user_of(const void *context, size_t i)
{
    const struct state_item *const *items = context;

    return items[i]->user;
}

static const char *
until_of(const void *context, size_t i)
{
    const struct state_item *const *items = context;
    static char text[24];

    snprintf(text, sizeof(text), "%" PRId64, items[i]->until);
    return items[i]->ends ? text : NULL;
}

static const char *
flag_of(const void *context, size_t i)
{
    const struct state_item *const *items = context;
    const struct state_item *item = items[i];

    return (item->kind == STATE_USER ? !item->disabled : item->subdomains)
               ? "t" : "f";
}

static const char *
secret_of(const void *context, size_t i)
{
    const struct state_item *const *items = context;

    return items[i]->secret;
}

static const char *
old_secret_of(const void *context, size_t i)
{
    const struct state_item *const *items = context;

    return items[i]->old_secret;
}

static array_text_fn *const columns[] = {text_of,  user_of,   flag_of,
                                         until_of, secret_of, old_secret_of};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

#define DELETE(table, column)                                                \
    "DELETE FROM public." table " WHERE " column " = ANY ($1::text[])"
#define INSERT(table, column)                                                \
    "INSERT INTO public." table " (" column ")"                              \
    " SELECT w FROM unnest($1::text[]) w ORDER BY w"

/* The rows that grants are of; w has what they are to be. */
#define PAIRS(arrays, names, table, column)                                  \
    " FROM unnest(" arrays ") w (" names ")"                                 \
    " JOIN public.emailing_users u ON u.name = w.name"                       \
    " JOIN public." table " o ON o." column " = w.text"
#define DELETE_GRANTS(table, column, grants, id)                             \
    "DELETE FROM public." grants " g USING (SELECT u.id AS user_id,"         \
    " o.id AS object_id"                                                     \
    PAIRS("$1::text[], $2::text[]", "text, name", table, column) ") p"       \
    " WHERE g.id_user = p.user_id AND g." id " = p.object_id"

#define ENDS "to_timestamp(w.until)"
#define ADDRESS "emailing_addresses", "address"
#define DOMAIN "emailing_domains", "domain"
#define ADDRESS_GRANTS ADDRESS, "emailing_users_addresses", "id_address"
#define DOMAIN_GRANTS DOMAIN, "emailing_users_domains", "id_domain"
#define EXPAND(macro, ...) macro(__VA_ARGS__)
#define WITH_UNTIL                                                           \
    "$1::text[], $2::text[], $3::boolean[], $4::double precision[]",         \
        "text, name, flag, until"
#define ADDRESS_PAIRS EXPAND(PAIRS, WITH_UNTIL, ADDRESS)
#define DOMAIN_PAIRS EXPAND(PAIRS, WITH_UNTIL, DOMAIN)
#define USERS                                                                \
    " FROM unnest($1::text[], $2::text[], $3::boolean[],"                    \
    " $4::double precision[], $5::text[], $6::text[])"                       \
    " w (name, none, flag, until, secret, old)"

/* In this order; each takes the first columns of its items. */
static const struct statement {
    enum plan_operation operation;
    enum state_kind kind;
    int columns;
    const char *sql;
    const char *with_secrets; /* instead, where secrets are part of it */
} statements[] = {
    {PLAN_DELETE, STATE_GRANT_ADDRESS, 2,
     EXPAND(DELETE_GRANTS, ADDRESS_GRANTS), NULL},
    {PLAN_DELETE, STATE_GRANT_DOMAIN, 2,
     EXPAND(DELETE_GRANTS, DOMAIN_GRANTS), NULL},
    {PLAN_DELETE, STATE_USER, 1, DELETE("emailing_users", "name"), NULL},
    {PLAN_DELETE, STATE_ADDRESS, 1, EXPAND(DELETE, ADDRESS), NULL},
    {PLAN_DELETE, STATE_DOMAIN, 1, EXPAND(DELETE, DOMAIN), NULL},
    {PLAN_ADD, STATE_USER, 6,
     "INSERT INTO public.emailing_users"
     " (name, enabled, passwd, old_passwd, old_until)"
     " SELECT w.name, w.flag, w.secret, w.old, " ENDS USERS
     " ORDER BY w.name", NULL},
    {PLAN_ADD, STATE_ADDRESS, 1, EXPAND(INSERT, ADDRESS), NULL},
    {PLAN_ADD, STATE_DOMAIN, 1, EXPAND(INSERT, DOMAIN), NULL},
    {PLAN_ADD, STATE_GRANT_ADDRESS, 4,
     "INSERT INTO public.emailing_users_addresses"
     " (id_user, id_address, expires) SELECT u.id, o.id, " ENDS
     ADDRESS_PAIRS " ORDER BY u.id, o.id", NULL},
    {PLAN_ADD, STATE_GRANT_DOMAIN, 4,
     "INSERT INTO public.emailing_users_domains"
     " (id_user, id_domain, subdomains, expires) SELECT u.id, o.id, w.flag, "
     ENDS DOMAIN_PAIRS " ORDER BY u.id, o.id", NULL},
    {PLAN_CHANGE, STATE_USER, 6,
     "UPDATE public.emailing_users u SET enabled = w.flag" USERS
     " WHERE u.name = w.name",
     "UPDATE public.emailing_users u SET enabled = w.flag,"
     " passwd = w.secret, old_passwd = w.old, old_until = " ENDS USERS
     " WHERE u.name = w.name"},
    {PLAN_CHANGE, STATE_GRANT_ADDRESS, 4,
     "UPDATE public.emailing_users_addresses g SET expires = p.ends"
     " FROM (SELECT u.id AS user_id, o.id AS object_id, " ENDS " AS ends"
     ADDRESS_PAIRS ") p"
     " WHERE g.id_user = p.user_id AND g.id_address = p.object_id", NULL},
    {PLAN_CHANGE, STATE_GRANT_DOMAIN, 4,
     "UPDATE public.emailing_users_domains g"
     " SET subdomains = p.flag, expires = p.ends"
     " FROM (SELECT u.id AS user_id, o.id AS object_id, w.flag, " ENDS
     " AS ends" DOMAIN_PAIRS ") p"
     " WHERE g.id_user = p.user_id AND g.id_domain = p.object_id", NULL},
};

static enum status
execute(struct db *db, const struct statement *statement, bool secrets,
        const struct state_item *const *items, size_t count)
{
    const char *sql = secrets && statement->with_secrets != NULL
                          ? statement->with_secrets : statement->sql;
    char *values[COLUMNS] = {NULL};
    enum status status = STATUS_OK;
    PGresult *result = NULL;
    int i;

    for (i = 0; i < statement->columns && status == STATUS_OK; i++) {
        values[i] = array_make(count, columns[i], items);
        if (values[i] == NULL)
            status = db_fail(db, STATUS_SYSTEM, "out of memory");
    }
    if (status == STATUS_OK)
        status = db_query(db, sql, statement->columns,
                          (const char *const *) values, &result);
    if (status == STATUS_OK
        && strtoull(PQcmdTuples(result), NULL, 10) != count)
        status = db_fail(db, STATUS_SYSTEM,
                         "%zu rows were to be changed, and %s were; nothing "
                         "done", count, PQcmdTuples(result));
    PQclear(result);
    for (i = 0; i < COLUMNS; i++)
        array_free(&values[i]);
    return status;
}

enum status
state_change(struct db *db, const struct plan *plan)
{
    const struct state_item **items;
    enum status status = STATUS_OK;
    size_t s, i, count;

    items = malloc((plan->count + 1) * sizeof(struct state_item *));
    if (items == NULL)
        return db_fail(db, STATUS_SYSTEM, "out of memory");
    for (s = 0; s < sizeof(statements) / sizeof(statements[0]); s++) {
        const struct statement *statement = &statements[s];

        if (plan->totals[statement->kind][statement->operation] == 0)
            continue;
        for (i = count = 0; i < plan->count; i++) {
            const struct plan_change *change = &plan->changes[i];
            const struct state_item *item =
                change->after != NULL ? change->after : change->before;

            if (change->operation == statement->operation
                && item->kind == statement->kind)
                items[count++] = item;
        }
        status = execute(db, statement, plan->secrets, items, count);
        if (status != STATUS_OK)
            break;
    }
    free(items);
    return status;
}
