/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A time as JSON shows it. */
#define UTC(column)                                                          \
    "to_char(" column " AT TIME ZONE 'UTC',"                                 \
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define OVER(column) "coalesce(" column " <= now(), false)"
#define EXPIRES UTC("g.expires") ", " OVER("g.expires")

/* What new secrets look like has no name here. */
#define SECRET_FORM                                                          \
    "CASE WHEN passwd ~ '^[0-9A-Fa-f]{32}$' THEN 'md5'"                      \
    " WHEN passwd LIKE '$y$%' OR passwd LIKE 'SCRAM-SHA-256$%' THEN NULL"    \
    " WHEN passwd ~ '^[$]2[abxy][$]' THEN 'bcrypt'"                          \
    " WHEN passwd LIKE '$6$%' THEN 'sha512crypt'"                            \
    " WHEN passwd LIKE '$5$%' THEN 'sha256crypt'"                            \
    " WHEN passwd LIKE '$1$%' THEN 'md5crypt'"                               \
    " WHEN passwd IS NOT NULL THEN 'other' END"

#define MATCHES(column) "($1::text IS NULL OR " column " LIKE $1)"
#define LIST(table, column)                                                  \
    "SELECT " column " FROM public." table " WHERE " MATCHES(column)         \
    " ORDER BY " column " COLLATE \"C\""
#define COMPLETE(table, column)                                              \
    "SELECT " column " FROM public." table                                   \
    " WHERE starts_with(" column ", $1)"                                     \
    " ORDER BY " column " COLLATE \"C\" LIMIT 500"
#define SIMILAR(table, column)                                               \
    "SELECT " column " FROM public." table                                   \
    " WHERE abs(length(" column ") - length($1)) <= 2 LIMIT 20000"
#define SHOW(table, column, grants, id, subdomains)                          \
    "SELECT u.name, " subdomains ", " EXPIRES                                \
    " FROM public." table " o"                                               \
    " LEFT JOIN public." grants " g ON g." id " = o.id"                      \
    " LEFT JOIN public.emailing_users u ON u.id = g.id_user"                 \
    " WHERE o." column " = $1 ORDER BY u.name COLLATE \"C\""
#define OWN(table, column, grants, id, subdomains)                           \
    "SELECT o." column ", " subdomains ", " EXPIRES                          \
    " FROM public.emailing_users u"                                          \
    " JOIN public." grants " g ON g.id_user = u.id"                          \
    " JOIN public." table " o ON o.id = g." id                               \
    " WHERE u.name = $1 ORDER BY o." column " COLLATE \"C\""

#define USER "emailing_users", "name"
#define ADDRESS "emailing_addresses", "address"
#define ADDRESS_GRANTS "emailing_users_addresses", "id_address", "false"
#define DOMAIN "emailing_domains", "domain"
#define DOMAIN_GRANTS "emailing_users_domains", "id_domain", "g.subdomains"
#define APPLY(macro, ...) macro(__VA_ARGS__)

static const struct {
    const char *list, *complete, *similar, *show;
} statements[] = {
    [STORE_USER] = {
        "SELECT name, " SECRET_FORM " FROM public.emailing_users"
        " WHERE " MATCHES("name") " AND NOT ($2::boolean AND enabled)"
        " AND NOT ($3::boolean AND (" SECRET_FORM ") IS NULL)"
        " ORDER BY name COLLATE \"C\"",
        APPLY(COMPLETE, USER), APPLY(SIMILAR, USER), NULL},
    [STORE_ADDRESS] = {
        APPLY(LIST, ADDRESS), APPLY(COMPLETE, ADDRESS),
        APPLY(SIMILAR, ADDRESS), APPLY(SHOW, ADDRESS, ADDRESS_GRANTS)},
    [STORE_DOMAIN] = {
        APPLY(LIST, DOMAIN), APPLY(COMPLETE, DOMAIN), APPLY(SIMILAR, DOMAIN),
        APPLY(SHOW, DOMAIN, DOMAIN_GRANTS)},
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
    const char *sql;
    int count;
    const char *values[5];
    const char *text;
    const struct store_sender *sender;
    PGresult **result;
    struct store_user *user;
    struct store_others *others;
};

static enum status
unknown(struct db *db, enum store_kind kind, const char *text)
{
    return db_fail(db, STATUS_UNKNOWN, "no such %s: %s",
                   store_kind_name(kind), text);
}

/* One statement that reads. */
static enum status
ask(struct db *db, void *context)
{
    struct job *job = context;

    return db_query(db, job->sql, job->count, job->values, job->result);
}

enum status
store_list(struct db *db, enum store_kind kind,
           const struct store_filter *filter, PGresult **list_r)
{
    struct job job = {
        .sql = statements[kind].list,
        .count = kind == STORE_USER ? 3 : 1,
        .values = {filter->pattern, filter->disabled ? "t" : "f",
                   filter->legacy ? "t" : "f"},
        .result = list_r,
    };

    *list_r = NULL;
    return db_transact(db, DB_READ, 0, ask, &job);
}

enum status
store_list_grants(struct db *db, const struct store_filter *filter,
                  PGresult **list_r)
{
    struct job job = {
        .sql = "SELECT u.name, g.kind, g.object, g.subdomains, " EXPIRES
               " FROM (SELECT id_user, 'address' AS kind, address AS object,"
               "  false AS subdomains, expires"
               "  FROM public.emailing_users_addresses"
               "  JOIN public.emailing_addresses ON id = id_address"
               "  UNION ALL SELECT id_user, 'domain', domain, subdomains,"
               "  expires FROM public.emailing_users_domains"
               "  JOIN public.emailing_domains ON id = id_domain) g"
               " JOIN public.emailing_users u ON u.id = g.id_user"
               " WHERE (" MATCHES("u.name") " OR g.object LIKE $1)"
               " AND (NOT $2::boolean OR g.expires <= now())"
               " ORDER BY u.name COLLATE \"C\", g.kind,"
               " g.object COLLATE \"C\"",
        .count = 2,
        .values = {filter->pattern, filter->expired ? "t" : "f"},
        .result = list_r,
    };

    *list_r = NULL;
    return db_transact(db, DB_READ, 0, ask, &job);
}

enum status
store_complete(struct db *db, enum store_kind kind, const char *prefix,
               PGresult **list_r)
{
    struct job job = {.sql = statements[kind].complete, .count = 1,
                      .values = {prefix}, .result = list_r};

    *list_r = NULL;
    return db_transact(db, DB_READ, 0, ask, &job);
}

enum status
store_similar(struct db *db, enum store_kind kind, const char *text,
              PGresult **list_r)
{
    struct job job = {.sql = statements[kind].similar, .count = 1,
                      .values = {text}, .result = list_r};

    *list_r = NULL;
    return db_transact(db, DB_READ, 0, ask, &job);
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
                      ", CASE WHEN old_until > now() THEN " UTC("old_until")
                      " END FROM public.emailing_users WHERE name = $1",
                      1, &job->text, &user->user);
    if (status == STATUS_OK && PQntuples(user->user) == 0)
        return unknown(db, STORE_USER, job->text);
    if (status == STATUS_OK)
        status = db_query(db, APPLY(OWN, DOMAIN, DOMAIN_GRANTS), 1,
                          &job->text, &user->domains);
    if (status == STATUS_OK)
        status = db_query(db, APPLY(OWN, ADDRESS, ADDRESS_GRANTS), 1,
                          &job->text, &user->addresses);
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

enum status
store_user_changed(struct db *db, const char *name,
                   char changed_r[static STORE_MOMENT_MAX])
{
    PGresult *result = NULL;
    struct job job = {.sql = "SELECT changed::text FROM public.emailing_users"
                             " WHERE name = $1",
                      .values = {name}, .count = 1, .result = &result};
    enum status status = db_transact(db, DB_READ, 0, ask, &job);

    if (status == STATUS_OK && PQntuples(result) == 0)
        status = unknown(db, STORE_USER, name);
    else if (status == STATUS_OK)
        snprintf(changed_r, STORE_MOMENT_MAX, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return status;
}

/* Nothing was updated: the user is gone, or someone else was faster. */
static enum status
changed_meanwhile(struct db *db, const char *name)
{
    char changed[STORE_MOMENT_MAX];
    PGresult *result;
    enum status status;

    status = db_query(db, "SELECT changed::text FROM public.emailing_users"
                          " WHERE name = $1", 1, &name, &result);
    if (status == STATUS_OK && PQntuples(result) == 0)
        status = unknown(db, STORE_USER, name);
    else if (status == STATUS_OK) {
        snprintf(changed, sizeof(changed), "%s", PQgetvalue(result, 0, 0));
        status = db_fail(db, STATUS_UNAVAILABLE,
                         "user %s was changed meanwhile, at %s; nothing done",
                         name, changed);
    }
    PQclear(result);
    return status;
}

static enum status
set_secret(struct db *db, void *context)
{
    struct job *job = context;
    PGresult *result;
    enum status status;

    status = db_query(db,
                      "UPDATE public.emailing_users SET passwd = $2,"
                      " old_passwd = CASE WHEN $3::double precision > 0"
                      "  THEN passwd END,"
                      " old_until = CASE WHEN $3::double precision > 0"
                      "  AND passwd IS NOT NULL"
                      "  THEN now() + make_interval(secs => $3) END"
                      " WHERE name = $1 AND changed = $4::timestamptz"
                      " RETURNING 1",
                      4, job->values, &result);
    if (status == STATUS_OK && PQntuples(result) == 0)
        status = changed_meanwhile(db, job->values[0]);
    PQclear(result);
    return status;
}

enum status
store_set_secret(struct db *db, const char *name, const char *changed,
                 const char *secret, int64_t overlap)
{
    char seconds[24];
    struct job job = {.values = {name, secret, seconds, changed}};

    snprintf(seconds, sizeof(seconds), "%" PRId64, overlap);
    return db_transact(db, DB_CHANGE, 0, set_secret, &job);
}

/* The key refuses a name that is taken, by whom and whenever it was. */
static enum status
rename_user(struct db *db, void *context)
{
    struct job *job = context;
    PGresult *result;
    enum status status;

    status = db_query(db,
                      "UPDATE public.emailing_users SET name = $2"
                      " WHERE name = $1 RETURNING 1",
                      2, job->values, &result);
    if (status == STATUS_OK && PQntuples(result) == 0)
        status = unknown(db, STORE_USER, job->values[0]);
    else if (status != STATUS_OK && strcmp(db_sqlstate(db), "23505") == 0)
        status = db_fail(db, STATUS_EXISTS, "user %s exists already",
                         job->values[1]);
    PQclear(result);
    return status;
}

enum status
store_rename(struct db *db, const char *name, const char *new_name)
{
    struct job job = {.values = {name, new_name}};

    return db_transact(db, DB_CHANGE, 0, rename_user, &job);
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

static enum status
others(struct db *db, void *context)
{
    struct job *job = context;
    PGresult *stored;
    enum status status;

    status = db_query(db,
                      "SELECT EXISTS (SELECT FROM public.emailing_addresses"
                      "  WHERE address = $1),"
                      " EXISTS (SELECT FROM public.emailing_domains"
                      "  WHERE domain = $2)",
                      2, job->values, &stored);
    if (status == STATUS_OK) {
        job->others->has_address = PQgetvalue(stored, 0, 0)[0] == 't';
        job->others->has_domain = PQgetvalue(stored, 0, 1)[0] == 't';
    }
    PQclear(stored);
    if (status != STATUS_OK)
        return status;
    return db_query(db,
                    "(SELECT u.name, 'address', a.address, false"
                    " FROM public.emailing_addresses a"
                    " JOIN public.emailing_users_addresses g"
                    "  ON g.id_address = a.id"
                    " JOIN public.emailing_users u ON u.id = g.id_user"
                    " WHERE a.address = $1 AND u.name <> $3"
                    "  AND (g.expires IS NULL OR g.expires > now())"
                    " ORDER BY u.name COLLATE \"C\" LIMIT 4) UNION ALL"
                    " (SELECT u.name, 'domain', d.domain, g.subdomains"
                    " FROM public.emailing_domains d"
                    " JOIN public.emailing_users_domains g"
                    "  ON g.id_domain = d.id"
                    " JOIN public.emailing_users u ON u.id = g.id_user"
                    " WHERE d.domain = $2 AND u.name <> $3"
                    "  AND (g.expires IS NULL OR g.expires > now())"
                    " ORDER BY u.name COLLATE \"C\" LIMIT 4)",
                    3, job->values, &job->others->holders);
}

enum status
store_others(struct db *db, const struct store_sender *sender,
             struct store_others *others_r)
{
    struct job job = {.values = {sender->address, sender->domain,
                                 sender->name},
                      .others = others_r};
    enum status status;

    memset(others_r, 0, sizeof(*others_r));
    status = db_transact(db, DB_READ, 0, others, &job);
    if (status != STATUS_OK) {
        PQclear(others_r->holders);
        others_r->holders = NULL;
    }
    return status;
}
