/* SPDX-License-Identifier: MIT */
/* The commands about the schema. Each change is one transaction, under a lock
 * that lets the upgrades of several machines come one after the other. */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/conf.h"

#include "mailadmin/db.h"
#include "mailadmin/output.h"
#include "mailadmin/schema_state.h"
#include "mailadmin/session.h"

#include <stdio.h>
#include <string.h>

/* An upgrade of millions of rows takes minutes. */
enum { SCHEMA_MS = 3600 * 1000 };

struct change {
    bool init;
    bool roles;         /* they were made */
    int from;           /* version */
    const char *secret; /* of the demo user, NULL: no demo */
};

static enum status
add_demo(struct db *db, const char *secret)
{
    PGresult *result = NULL;
    enum status status;

    status = db_query(
        db,
        "WITH u AS (INSERT INTO public.emailing_users (name, passwd)"
        "  VALUES ('demo', $1) RETURNING id),"
        " a AS (INSERT INTO public.emailing_addresses (address)"
        "  VALUES ('demo@test.com') RETURNING id),"
        " d AS (INSERT INTO public.emailing_domains (domain)"
        "  VALUES ('demo.com') RETURNING id),"
        " ua AS (INSERT INTO public.emailing_users_addresses"
        "  (id_user, id_address) SELECT u.id, a.id FROM u, a)"
        " INSERT INTO public.emailing_users_domains (id_user, id_domain)"
        "  SELECT u.id, d.id FROM u, d",
        1, &secret, &result);
    PQclear(result);
    return status;
}

static enum status
make_change(struct db *db, void *context)
{
    struct change *change = context;
    struct schema_state state;
    enum status status = schema_lock(db);

    if (status == STATUS_OK)
        status = schema_read(db, &state);
    if (status != STATUS_OK)
        return status;
    change->from = state.version;
    if (change->init && state.version == 1)
        return db_fail(db, STATUS_EXISTS,
                       "the database has the tables of secure_emailing: "
                       "mailadmin schema upgrade keeps them");
    if (change->init && state.version > 1)
        return db_fail(db, STATUS_EXISTS,
                       "the database has a schema already, version %d",
                       state.version);
    if (!change->init && state.version == 0)
        return db_fail(db, STATUS_CONFIG,
                       "the database is empty: mailadmin schema init");
    if (state.version == 1)
        status = schema_normalise(db);
    if (status == STATUS_OK)
        status = schema_apply(db, &state, &change->roles);
    if (status == STATUS_OK && change->secret != NULL)
        status = add_demo(db, change->secret);
    return status;
}

static enum status
run_change(struct session *session, const char *command,
           struct change *change)
{
    enum status status = db_transact(session->db, DB_CHANGE, SCHEMA_MS,
                                     make_change, change);

    if (status != STATUS_OK)
        return session_db(session, status);
    if (!change->roles)
        session_say(session, STATUS_OK,
                    "the roles are not there and you may not make them: "
                    "have a superuser run %s/roles.sql in this database",
                    SQLDIR);
    return session_done(session, command,
                        change->init || change->from != schema_wanted());
}

enum status
command_schema_init(struct session *session,
                    const struct arguments *arguments)
{
    /* Known to the world; whatever the scheme set for others, this is what
     * the demo user has. */
    static const struct secret_policy policy = {SECRET_YESCRYPT,
                                                SECRET_ITERATIONS_DEFAULT};
    struct change change = {.init = true};
    char secret[SECRET_MAX];
    const char *error;

    if (grammar_given(arguments, "--demo")) {
        if (!secret_make(&policy, "demo", 4, secret, &error))
            return session_say(session, STATUS_SYSTEM, "%s", error);
        change.secret = secret;
    }
    return run_change(session, "schema init", &change);
}

enum status
command_schema_upgrade(struct session *session,
                       const struct arguments *arguments)
{
    struct change change = {.init = false};

    (void) arguments;
    return run_change(session, "schema upgrade", &change);
}

static enum status
read_state(struct db *db, void *context)
{
    return schema_read(db, context);
}

enum status
command_schema_status(struct session *session,
                      const struct arguments *arguments)
{
    struct schema_state state;
    enum status status;

    (void) arguments;
    status = db_transact(session->db, DB_READ, 0, read_state, &state);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json)
        return session_json(
            session,
            json_pack("{s:i, s:i, s:{s:b, s:b}}", "version", state.version,
                      "wanted", schema_wanted(), "roles",
                      "emailing_policyd", state.policyd_role,
                      "emailing_mailadmin", state.mailadmin_role));
    printf("schema version: %d%s\n", state.version,
           state.version == 0   ? " (no tables)"
           : state.version == 1 ? " (secure_emailing)"
                                : "");
    printf("wanted: %d\n", schema_wanted());
    printf("role emailing_policyd: %s\n",
           state.policyd_role ? "yes" : "missing");
    printf("role emailing_mailadmin: %s\n",
           state.mailadmin_role ? "yes" : "missing");
    return STATUS_OK;
}
