/* SPDX-License-Identifier: MIT */
/*
 * A change is one statement wherever it can be: less to wait for, and no time
 * for others in between. Users are locked before addresses and domains, and
 * those before grants, so that two administrators do not deadlock; where a
 * foreign key still finds a row gone, the transaction is repeated and says so.
 */
#include "config.h"

#include "mailadmin/store.h"

#include <stdlib.h>
#include <string.h>

/* A time as JSON shows it. */
#define UTC(column)                                                          \
    "to_char(" column " AT TIME ZONE 'UTC',"                                 \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

struct sql {
    const char *add, *del_grants, *del, *list, *show, *grant, *revoke;
};

/* What is the same for addresses and domains: table, column, table of grants
 * and its column. */
#define ADD(table, column)                                                   \
    "INSERT INTO public." table " (" column ") VALUES ($1)"                  \
    " ON CONFLICT (" column ") DO NOTHING"
#define DEL_GRANTS(table, column, grants, id)                                \
    "WITH o AS (SELECT id FROM public." table                                \
    "  WHERE " column " = $1 FOR UPDATE),"                                   \
    " g AS (DELETE FROM public." grants " g USING o WHERE g." id " = o.id)"  \
    " SELECT id FROM o"
#define DEL(table, column)                                                   \
    "DELETE FROM public." table " WHERE " column " = $1"
#define LIST(table, column)                                                  \
    "SELECT " column " FROM public." table                                   \
    " ORDER BY " column " COLLATE \"C\""
#define SHOW(table, column, grants, id, subdomains)                          \
    "SELECT u.name, " UTC("g.expires") ", " subdomains                       \
    " FROM public." table " o"                                               \
    " LEFT JOIN public." grants " g ON g." id " = o.id"                      \
    " LEFT JOIN public.emailing_users u ON u.id = g.id_user"                 \
    " WHERE o." column " = $1 ORDER BY u.name COLLATE \"C\""
/* Both ids, NULL for what is not there, and how many grants changed. */
#define PAIR(table, column, change)                                          \
    "WITH u AS (SELECT id FROM public.emailing_users"                        \
    "  WHERE name = $2 FOR KEY SHARE),"                                      \
    " o AS (SELECT id FROM public." table " WHERE " column " = $1),"         \
    " g AS (" change " RETURNING 1)"                                         \
    " SELECT (SELECT id FROM u), (SELECT id FROM o),"                        \
    " (SELECT count(*) FROM g)"
#define REVOKE(table, column, grants, id)                                    \
    PAIR(table, column,                                                      \
         "DELETE FROM public." grants " g USING u, o"                        \
         " WHERE g.id_user = u.id AND g." id " = o.id")

#define ADDRESS "emailing_addresses", "address"
#define ADDRESS_GRANTS "emailing_users_addresses", "id_address"
#define DOMAIN "emailing_domains", "domain"
#define DOMAIN_GRANTS "emailing_users_domains", "id_domain"
#define APPLY(macro, ...) macro(__VA_ARGS__)

static const struct sql statements[] = {
    [STORE_USER] = {
        .add = "INSERT INTO public.emailing_users (name, passwd)"
               " VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        .del_grants =
            "WITH u AS (SELECT id FROM public.emailing_users"
            "  WHERE name = $1 FOR UPDATE),"
            " a AS (DELETE FROM public.emailing_users_addresses g USING u"
            "  WHERE g.id_user = u.id),"
            " d AS (DELETE FROM public.emailing_users_domains g USING u"
            "  WHERE g.id_user = u.id)"
            " SELECT id FROM u",
        .del = DEL("emailing_users", "name"),
        .list = LIST("emailing_users", "name"),
    },
    [STORE_ADDRESS] = {
        .add = APPLY(ADD, ADDRESS),
        .del_grants = APPLY(DEL_GRANTS, ADDRESS, ADDRESS_GRANTS),
        .del = APPLY(DEL, ADDRESS),
        .list = APPLY(LIST, ADDRESS),
        .show = APPLY(SHOW, ADDRESS, ADDRESS_GRANTS, "NULL"),
        .grant = APPLY(PAIR, ADDRESS,
                       "INSERT INTO public.emailing_users_addresses AS was"
                       " (id_user, id_address) SELECT u.id, o.id FROM u, o"
                       " ON CONFLICT (id_user, id_address) DO UPDATE"
                       " SET expires = NULL WHERE was.expires IS NOT NULL"),
        .revoke = APPLY(REVOKE, ADDRESS, ADDRESS_GRANTS),
    },
    [STORE_DOMAIN] = {
        .add = APPLY(ADD, DOMAIN),
        .del_grants = APPLY(DEL_GRANTS, DOMAIN, DOMAIN_GRANTS),
        .del = APPLY(DEL, DOMAIN),
        .list = APPLY(LIST, DOMAIN),
        .show = APPLY(SHOW, DOMAIN, DOMAIN_GRANTS, "g.subdomains"),
        .grant = APPLY(PAIR, DOMAIN,
                       "INSERT INTO public.emailing_users_domains AS was"
                       " (id_user, id_domain, subdomains)"
                       " SELECT u.id, o.id, $3::boolean FROM u, o"
                       " ON CONFLICT (id_user, id_domain) DO UPDATE"
                       " SET subdomains = excluded.subdomains, expires = NULL"
                       " WHERE was.subdomains <> excluded.subdomains"
                       " OR was.expires IS NOT NULL"),
        .revoke = APPLY(REVOKE, DOMAIN, DOMAIN_GRANTS),
    },
};

const char *
store_kind_name(enum store_kind kind)
{
    static const char *const names[] = {"user", "address", "domain"};

    return names[kind];
}

const char *
store_kind_plural(enum store_kind kind)
{
    static const char *const names[] = {"users", "addresses", "domains"};

    return names[kind];
}

/* What the work of the transactions below is about. */
struct job {
    enum store_kind kind;
    const char *text;
    const char *name;
    const char *secret;
    bool flag;
    bool changed;
    const struct store_sender *sender;
    PGresult **result;
    struct store_user *user;
};

static enum status
unknown(struct db *db, enum store_kind kind, const char *text)
{
    return db_fail(db, STATUS_UNKNOWN, "no such %s: %s",
                   store_kind_name(kind), text);
}

/* A statement that changes rows: how many it did. */
static enum status
change(struct db *db, const char *sql, int count, const char *const *values,
       long *rows_r)
{
    PGresult *result;
    enum status status = db_query(db, sql, count, values, &result);

    if (status == STATUS_OK)
        *rows_r = strtol(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return status;
}

static enum status
add(struct db *db, void *context)
{
    struct job *job = context;
    const char *values[] = {job->text, job->secret};
    enum status status;
    long rows = 0;

    status = change(db, statements[job->kind].add,
                    job->kind == STORE_USER ? 2 : 1, values, &rows);
    if (status == STATUS_OK && rows == 0)
        return db_fail(db, STATUS_EXISTS, "%s %s exists already",
                       store_kind_name(job->kind), job->text);
    return status;
}

enum status
store_add(struct db *db, enum store_kind kind, const char *text,
          const char *secret)
{
    struct job job = {.kind = kind, .text = text, .secret = secret};

    return db_transact(db, DB_CHANGE, 0, add, &job);
}

static enum status
del(struct db *db, void *context)
{
    struct job *job = context;
    enum status status;
    long rows = 0;

    status = change(db, statements[job->kind].del_grants, 1, &job->text,
                    &rows);
    if (status == STATUS_OK && rows > 0)
        status = change(db, statements[job->kind].del, 1, &job->text, &rows);
    if (status == STATUS_OK && rows == 0)
        return unknown(db, job->kind, job->text);
    return status;
}

enum status
store_del(struct db *db, enum store_kind kind, const char *text)
{
    struct job job = {.kind = kind, .text = text};

    return db_transact(db, DB_CHANGE, 0, del, &job);
}

static enum status
list(struct db *db, void *context)
{
    struct job *job = context;

    return db_query(db, statements[job->kind].list, 0, NULL, job->result);
}

enum status
store_list(struct db *db, enum store_kind kind, PGresult **list_r)
{
    struct job job = {.kind = kind, .result = list_r};

    *list_r = NULL;
    return db_transact(db, DB_READ, 0, list, &job);
}

void
store_user_clear(struct store_user *user)
{
    PQclear(user->user);
    PQclear(user->domains);
    PQclear(user->addresses);
    memset(user, 0, sizeof(*user));
}

static enum status
show_user(struct db *db, void *context)
{
    struct job *job = context;
    struct store_user *user = job->user;
    enum status status;

    status = db_query(db,
                      "SELECT enabled, " UTC("created") ", " UTC("changed")
                      " FROM public.emailing_users WHERE name = $1",
                      1, &job->text, &user->user);
    if (status == STATUS_OK && PQntuples(user->user) == 0)
        return unknown(db, STORE_USER, job->text);
    if (status == STATUS_OK)
        status = db_query(db,
                          "SELECT d.domain, g.subdomains, " UTC("g.expires")
                          " FROM public.emailing_users u"
                          " JOIN public.emailing_users_domains g"
                          " ON g.id_user = u.id"
                          " JOIN public.emailing_domains d"
                          " ON d.id = g.id_domain WHERE u.name = $1"
                          " ORDER BY d.domain COLLATE \"C\"",
                          1, &job->text, &user->domains);
    if (status == STATUS_OK)
        status = db_query(db,
                          "SELECT a.address, " UTC("g.expires")
                          " FROM public.emailing_users u"
                          " JOIN public.emailing_users_addresses g"
                          " ON g.id_user = u.id"
                          " JOIN public.emailing_addresses a"
                          " ON a.id = g.id_address WHERE u.name = $1"
                          " ORDER BY a.address COLLATE \"C\"",
                          1, &job->text, &user->addresses);
    return status;
}

enum status
store_show_user(struct db *db, const char *name, struct store_user *user_r)
{
    struct job job = {.text = name, .user = user_r};
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
    enum status status;

    status = db_query(db, statements[job->kind].show, 1, &job->text,
                      job->result);
    if (status == STATUS_OK && PQntuples(*job->result) == 0) {
        PQclear(*job->result);
        *job->result = NULL;
        return unknown(db, job->kind, job->text);
    }
    return status;
}

enum status
store_show_grants(struct db *db, enum store_kind kind, const char *text,
                  PGresult **users_r)
{
    struct job job = {.kind = kind, .text = text, .result = users_r};

    *users_r = NULL;
    return db_transact(db, DB_READ, 0, show_grants, &job);
}

static enum status
change_grant(struct db *db, struct job *job, const char *sql, int count)
{
    const char *values[] = {job->text, job->name, job->flag ? "t" : "f"};
    PGresult *result;
    enum status status = db_query(db, sql, count, values, &result);

    if (status != STATUS_OK)
        return status;
    job->changed = strcmp(PQgetvalue(result, 0, 2), "0") != 0;
    if (PQgetisnull(result, 0, 0))
        status = unknown(db, STORE_USER, job->name);
    else if (PQgetisnull(result, 0, 1))
        status = unknown(db, job->kind, job->text);
    PQclear(result);
    return status;
}

static enum status
grant(struct db *db, void *context)
{
    struct job *job = context;

    return change_grant(db, job, statements[job->kind].grant,
                        job->kind == STORE_DOMAIN ? 3 : 2);
}

static enum status
revoke(struct db *db, void *context)
{
    struct job *job = context;

    return change_grant(db, job, statements[job->kind].revoke, 2);
}

enum status
store_grant(struct db *db, enum store_kind kind, const char *text,
            const char *name, bool subdomains, bool *changed_r)
{
    struct job job = {
        .kind = kind, .text = text, .name = name, .flag = subdomains};
    enum status status = db_transact(db, DB_CHANGE, 0, grant, &job);

    *changed_r = job.changed;
    return status;
}

enum status
store_revoke(struct db *db, enum store_kind kind, const char *text,
             const char *name, bool *changed_r)
{
    struct job job = {.kind = kind, .text = text, .name = name};
    enum status status = db_transact(db, DB_CHANGE, 0, revoke, &job);

    *changed_r = job.changed;
    return status;
}

static enum status
set_secret(struct db *db, void *context)
{
    struct job *job = context;
    const char *values[] = {job->text, job->secret};
    enum status status;
    long rows = 0;

    status = change(db,
                    "UPDATE public.emailing_users SET passwd = $2,"
                    " old_passwd = NULL, old_until = NULL WHERE name = $1",
                    2, values, &rows);
    if (status == STATUS_OK && rows == 0)
        return unknown(db, STORE_USER, job->text);
    return status;
}

enum status
store_set_secret(struct db *db, const char *name, const char *secret)
{
    struct job job = {.text = name, .secret = secret};

    return db_transact(db, DB_CHANGE, 0, set_secret, &job);
}

static enum status
set_enabled(struct db *db, void *context)
{
    struct job *job = context;
    const char *values[] = {job->text, job->flag ? "t" : "f"};
    PGresult *result;
    enum status status;

    status = db_query(db,
                      "WITH u AS (SELECT id, enabled"
                      "  FROM public.emailing_users WHERE name = $1"
                      "  FOR NO KEY UPDATE),"
                      " n AS (UPDATE public.emailing_users c"
                      "  SET enabled = $2::boolean FROM u"
                      "  WHERE c.id = u.id AND u.enabled <> $2::boolean"
                      "  RETURNING 1)"
                      " SELECT (SELECT id FROM u), (SELECT count(*) FROM n)",
                      2, values, &result);
    if (status != STATUS_OK)
        return status;
    job->changed = strcmp(PQgetvalue(result, 0, 1), "0") != 0;
    if (PQgetisnull(result, 0, 0))
        status = unknown(db, STORE_USER, job->text);
    PQclear(result);
    return status;
}

enum status
store_set_enabled(struct db *db, const char *name, bool enabled,
                  bool *changed_r)
{
    struct job job = {.text = name, .flag = enabled};
    enum status status = db_transact(db, DB_CHANGE, 0, set_enabled, &job);

    *changed_r = job.changed;
    return status;
}

static enum status
lookup(struct db *db, void *context)
{
    struct job *job = context;
    const struct store_sender *sender = job->sender;
    const char *values[] = {sender->name, sender->address, sender->stripped,
                            sender->domain};
    enum status status;

    status = db_query(db, "SELECT * FROM public.emailing_lookup($1)", 1,
                      values, job->result);
    if (status == STATUS_OK
        && strcmp(PQgetvalue(*job->result, 0, 6), "t") == 0) {
        PQclear(*job->result);
        status = db_query(db,
                          "SELECT * FROM public.emailing_lookup_sender("
                          "$1, $2, $3, $4)",
                          4, values, job->result);
    }
    return status;
}

enum status
store_lookup(struct db *db, const struct store_sender *sender,
             PGresult **row_r)
{
    struct job job = {.sender = sender, .result = row_r};

    *row_r = NULL;
    return db_transact(db, DB_READ, 0, lookup, &job);
}
