/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/schema_state.h"

#include "mailadmin/schema_sql.h"

#include <stdlib.h>
#include <string.h>

int
schema_wanted(void)
{
    const struct schema_file *file;
    int wanted = 0;

    for (file = schema_files; file->name != NULL; file++)
        if (file->version > wanted)
            wanted = file->version;
    return wanted;
}

static bool
is_true(const PGresult *result, int column)
{
    return strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

/* The version in emailing_schema. */
static enum status
read_version(struct db *db, int *version_r)
{
    PGresult *result;
    enum status status;

    status = db_query(db,
                      "SELECT coalesce(max(version), 0)"
                      " FROM public.emailing_schema",
                      0, NULL, &result);
    if (status == STATUS_OK)
        *version_r = (int) strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    if (status == STATUS_OK && *version_r > schema_wanted())
        return db_fail(db, STATUS_CONFIG,
                       "the database has schema version %d, this program "
                       "knows %d: a newer mailadmin is needed",
                       *version_r, schema_wanted());
    return status;
}

enum status
schema_read(struct db *db, struct schema_state *state_r)
{
    PGresult *result;
    enum status status;
    long tables = 0;
    bool versioned = false;

    memset(state_r, 0, sizeof(*state_r));
    status = db_query(
        db,
        "SELECT (SELECT count(*) FROM pg_catalog.unnest(ARRAY["
        "  'emailing_users', 'emailing_addresses', 'emailing_domains',"
        "  'emailing_users_addresses', 'emailing_users_domains']) AS t (name)"
        "  WHERE pg_catalog.to_regclass('public.' || name) IS NOT NULL),"
        " pg_catalog.to_regclass('public.emailing_schema') IS NOT NULL,"
        " EXISTS (SELECT FROM pg_catalog.pg_roles"
        "  WHERE rolname = 'emailing_policyd'),"
        " EXISTS (SELECT FROM pg_catalog.pg_roles"
        "  WHERE rolname = 'emailing_mailadmin'),"
        " (SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles"
        "  WHERE rolname = current_user)",
        0, NULL, &result);
    if (status == STATUS_OK) {
        tables = strtol(PQgetvalue(result, 0, 0), NULL, 10);
        versioned = is_true(result, 1);
        state_r->policyd_role = is_true(result, 2);
        state_r->mailadmin_role = is_true(result, 3);
        state_r->may_make_roles = is_true(result, 4);
    }
    PQclear(result);
    if (status == STATUS_OK && versioned)
        return read_version(db, &state_r->version);
    if (status == STATUS_OK && tables != 0 && tables != 5)
        return db_fail(db, STATUS_DATA,
                       "the database has %ld of the five tables of "
                       "secure_emailing: neither empty nor complete",
                       tables);
    state_r->version = tables == 5 ? 1 : 0;
    return status;
}

enum status
schema_lock(struct db *db)
{
    return db_script(db, "SELECT pg_catalog.pg_advisory_xact_lock("
                         "pg_catalog.hashtext('emailing_schema'))");
}

static enum status
run_file(struct db *db, const char *name)
{
    const struct schema_file *file;

    for (file = schema_files; file->name != NULL; file++)
        if (strcmp(file->name, name) == 0)
            return db_script(db, file->text);
    return db_fail(db, STATUS_SYSTEM, "%s is not built in", name);
}

enum status
schema_apply(struct db *db, const struct schema_state *state, bool *roles_r)
{
    const struct schema_file *file;
    enum status status = db_script(db, "SET LOCAL lock_timeout = '10s'");

    *roles_r = state->may_make_roles
               || (state->policyd_role && state->mailadmin_role);
    for (file = schema_files; status == STATUS_OK && file->name != NULL;
         file++)
        if (file->version > state->version)
            status = db_script(db, file->text);
    if (status == STATUS_OK)
        status = run_file(db, "functions.sql");
    if (status == STATUS_OK)
        status = run_file(db, "usage.sql");
    if (status == STATUS_OK)
        status = run_file(db, "triggers.sql");
    if (status == STATUS_OK && *roles_r)
        status = run_file(db, "roles.sql");
    if (status == STATUS_OK && state->version != 0
        && state->version != schema_wanted())
        status = db_script(
            db, "INSERT INTO public.emailing_audit"
                " (os_user, object, operation, version, notify)"
                " SELECT public.emailing_os_user(), 'schema', 'upgrade',"
                " max(version), '{*}' FROM public.emailing_schema");
    return status;
}
