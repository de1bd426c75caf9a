/* SPDX-License-Identifier: MIT */
/*
 * The program before this one stored what it was told. Everything passes
 * through lib/addr here, which alone knows the normal forms: rows are fetched
 * in pieces, and what differs or is wrong goes to a temporary table, by which
 * collisions are found and rows corrected in the database.
 */
#include "config.h"

#include "mailadmin/schema_state.h"

#include "lib/addr.h"

#include "mailadmin/output.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 100 }; /* findings of a kind, before "and N more" */

struct kind {
    const char *what;
    const char *open;  /* a cursor over id and text */
    const char *check; /* collisions */
    const char *update;
};

static const struct kind kinds[] = {
    {"user",
     "DECLARE emailing_rows NO SCROLL CURSOR FOR"
     " SELECT id, name FROM public.emailing_users ORDER BY id",
     "SELECT coalesce(n.text, o.name),"
     " string_agg(o.name, ', ' ORDER BY o.name) FROM public.emailing_users o"
     " LEFT JOIN emailing_normal n ON n.kind = 'user' AND n.id = o.id"
     " GROUP BY 1 HAVING count(*) > 1 ORDER BY 1",
     "UPDATE public.emailing_users o SET name = n.text FROM emailing_normal n"
     " WHERE n.kind = 'user' AND n.id = o.id"},
    {"address",
     "DECLARE emailing_rows NO SCROLL CURSOR FOR"
     " SELECT id, address FROM public.emailing_addresses ORDER BY id",
     "SELECT coalesce(n.text, o.address),"
     " string_agg(o.address, ', ' ORDER BY o.address)"
     " FROM public.emailing_addresses o"
     " LEFT JOIN emailing_normal n ON n.kind = 'address' AND n.id = o.id"
     " GROUP BY 1 HAVING count(*) > 1 ORDER BY 1",
     "UPDATE public.emailing_addresses o SET address = n.text"
     " FROM emailing_normal n WHERE n.kind = 'address' AND n.id = o.id"},
    {"domain",
     "DECLARE emailing_rows NO SCROLL CURSOR FOR"
     " SELECT id, domain FROM public.emailing_domains ORDER BY id",
     "SELECT coalesce(n.text, o.domain),"
     " string_agg(o.domain, ', ' ORDER BY o.domain)"
     " FROM public.emailing_domains o"
     " LEFT JOIN emailing_normal n ON n.kind = 'domain' AND n.id = o.id"
     " GROUP BY 1 HAVING count(*) > 1 ORDER BY 1",
     "UPDATE public.emailing_domains o SET domain = n.text"
     " FROM emailing_normal n WHERE n.kind = 'domain' AND n.id = o.id"},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* One piece of rows for COPY. */
struct rows {
    char *text;
    size_t len;
    size_t size;
};

static bool
rows_add(struct rows *rows, const char *text, size_t len)
{
    char *bigger;

    if (len == 0)
        return true;
    if (rows->size - rows->len < len) {
        bigger = realloc(rows->text, (rows->size + len) * 2);
        if (bigger == NULL)
            return false;
        rows->text = bigger;
        rows->size = (rows->size + len) * 2;
    }
    memcpy(rows->text + rows->len, text, len);
    rows->len += len;
    return true;
}

/* kind, id, normal form; COPY's own characters in the last escaped. */
static bool
rows_add_row(struct rows *rows, const char *kind, const char *id,
             const char *text)
{
    bool done = rows_add(rows, kind, strlen(kind)) && rows_add(rows, "\t", 1)
                && rows_add(rows, id, strlen(id)) && rows_add(rows, "\t", 1);

    for (; done && *text != '\0'; text++)
        done = (*text != '\\' || rows_add(rows, "\\", 1))
               && rows_add(rows, text, 1);
    return done && rows_add(rows, "\n", 1);
}

static void
report(const char *what, const char *text, const char *problem)
{
    fprintf(stderr, "mailadmin: %s '", what);
    output_text(stderr, text);
    fputs("': ", stderr);
    output_text(stderr, problem);
    fputc('\n', stderr);
}

/* Writes the normal form, or returns what is wrong and writes an empty one. */
static const char *
normal_form(const char *kind, const char *text, char *form)
{
    struct user_name name;
    struct domain domain;
    struct addr addr;
    const char *error;

    form[0] = '\0';
    if (strcmp(kind, "user") == 0) {
        if (addr_parse_name(text, strlen(text), &name, &error))
            strcpy(form, name.text);
    } else if (strcmp(kind, "address") == 0) {
        if (addr_parse_grantable(text, strlen(text), &addr, &error))
            strcpy(form, addr.text);
    } else {
        if (addr_parse_domain(text, strlen(text), &domain, &error))
            strcpy(form, domain.text);
    }
    return error;
}

/* Looks at a piece of rows; counts the wrong ones. */
static enum status
look_at(struct db *db, const struct kind *kind, const PGresult *piece,
        struct rows *rows, long *wrong)
{
    char form[ADDR_MAX + 1];
    const char *text, *error;
    int i;

    for (i = 0; i < PQntuples(piece); i++) {
        text = PQgetvalue(piece, i, 1);
        error = PQgetisnull(piece, i, 1)
                    ? "missing"
                    : normal_form(kind->what, text, form);
        if (error != NULL) {
            if ((*wrong)++ < SHOWN)
                report(kind->what, text, error);
        } else if (strcmp(form, text) != 0
                   && !rows_add_row(rows, kind->what,
                                    PQgetvalue(piece, i, 0), form)) {
            return db_fail(db, STATUS_SYSTEM, "out of memory");
        }
    }
    return STATUS_OK;
}

static enum status
scan(struct db *db, const struct kind *kind, long *wrong)
{
    struct rows rows = {NULL, 0, 0};
    enum status status = db_script(db, kind->open);
    PGresult *piece;
    int count = 1;

    while (status == STATUS_OK && count > 0) {
        status = db_query(db, "FETCH 10000 FROM emailing_rows", 0, NULL,
                          &piece);
        if (status != STATUS_OK)
            break;
        count = PQntuples(piece);
        rows.len = 0;
        status = look_at(db, kind, piece, &rows, wrong);
        PQclear(piece);
        if (status == STATUS_OK && rows.len > 0)
            status = db_copy(db, "COPY emailing_normal FROM STDIN",
                             rows.text, rows.len);
    }
    free(rows.text);
    if (status == STATUS_OK)
        status = db_script(db, "CLOSE emailing_rows");
    if (*wrong > SHOWN)
        fprintf(stderr, "mailadmin: and %ld more of a kind\n",
                *wrong - SHOWN);
    return status;
}

/* Rows that would be the same, and prints them. */
static enum status
collisions(struct db *db, const struct kind *kind, long *wrong)
{
    PGresult *result;
    enum status status = db_query(db, kind->check, 0, NULL, &result);
    int i;

    if (status != STATUS_OK)
        return status;
    for (i = 0; i < PQntuples(result) && i < SHOWN; i++) {
        fprintf(stderr, "mailadmin: %s '", kind->what);
        output_text(stderr, PQgetvalue(result, i, 0));
        fputs("': several rows become this one: ", stderr);
        output_text(stderr, PQgetvalue(result, i, 1));
        fputc('\n', stderr);
    }
    if (PQntuples(result) > SHOWN)
        fprintf(stderr, "mailadmin: and %d more\n",
                PQntuples(result) - SHOWN);
    *wrong += PQntuples(result);
    PQclear(result);
    return STATUS_OK;
}

/* Views stand in the way of a change of type; says which. */
static enum status
dependent_views(struct db *db)
{
    PGresult *result;
    enum status status;
    int i, count;

    status = db_query(
        db,
        "SELECT DISTINCT v.oid::regclass::text FROM pg_catalog.pg_depend d"
        " JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid"
        "  AND d.classid = 'pg_catalog.pg_rewrite'::regclass"
        " JOIN pg_catalog.pg_class v ON v.oid = r.ev_class"
        " WHERE d.refclassid = 'pg_catalog.pg_class'::regclass"
        " AND d.refobjid IN ('public.emailing_users'::regclass,"
        "  'public.emailing_addresses'::regclass,"
        "  'public.emailing_domains'::regclass,"
        "  'public.emailing_users_addresses'::regclass,"
        "  'public.emailing_users_domains'::regclass)"
        " AND v.oid <> d.refobjid ORDER BY 1",
        0, NULL, &result);
    if (status != STATUS_OK)
        return status;
    count = PQntuples(result);
    for (i = 0; i < count; i++)
        report("view", PQgetvalue(result, i, 0),
               "depends on a table that has to change: drop it, and make it "
               "again afterwards");
    PQclear(result);
    if (count > 0)
        return db_fail(db, STATUS_DATA,
                       "%d dependent view%s: nothing was changed", count,
                       count == 1 ? "" : "s");
    return STATUS_OK;
}

enum status
schema_normalise(struct db *db)
{
    enum status status;
    long wrong = 0, of_kind;
    size_t i;

    status = db_script(
        db, "SET LOCAL lock_timeout = '10s';"
            "LOCK TABLE public.emailing_users, public.emailing_addresses,"
            " public.emailing_domains, public.emailing_users_addresses,"
            " public.emailing_users_domains IN ACCESS EXCLUSIVE MODE;"
            "CREATE TEMPORARY TABLE emailing_normal ("
            " kind text, id numeric, text text, PRIMARY KEY (kind, id))"
            " ON COMMIT DROP");
    if (status == STATUS_OK)
        status = dependent_views(db);
    for (i = 0; status == STATUS_OK && i < KINDS; i++) {
        of_kind = 0;
        status = scan(db, &kinds[i], &of_kind);
        wrong += of_kind;
    }
    for (i = 0; status == STATUS_OK && i < KINDS; i++)
        status = collisions(db, &kinds[i], &wrong);
    if (status == STATUS_OK && wrong > 0)
        return db_fail(db, STATUS_DATA,
                       "%ld row%s to correct first: nothing was changed",
                       wrong, wrong == 1 ? "" : "s");
    for (i = 0; status == STATUS_OK && i < KINDS; i++)
        status = db_script(db, kinds[i].update);
    return status;
}
