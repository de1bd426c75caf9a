/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/audit_line.h"

#include "mailadmin/output.h"
#include "mailadmin/store_audit.h"

#include <stdbool.h>
#include <string.h>

/* One row on its way out. */
struct line {
    FILE *file;
    const PGresult *rows;
    int row;
};

static bool
has(const struct line *line, int column)
{
    return !PQgetisnull(line->rows, line->row, column);
}

static const char *
value(const struct line *line, int column)
{
    return PQgetvalue(line->rows, line->row, column);
}

static bool
is(const struct line *line, int column, const char *text)
{
    return strcmp(value(line, column), text) == 0;
}

static bool
is_true(const struct line *line, int column)
{
    return is(line, column, "t");
}

/* Whether an update changed the one column, which was the other. */
static bool
differs(const struct line *line, int column, int was)
{
    return has(line, column) != has(line, was)
           || strcmp(value(line, column), value(line, was)) != 0;
}

/* A name, or the number of what has none. */
static void
put_name(const struct line *line, int column, int id)
{
    if (has(line, column))
        output_name(line->file, value(line, column));
    else
        fprintf(line->file, "#%s", value(line, id));
}

/* "VERB NOUN NAME" */
static void
put_object(const struct line *line, const char *verb, int column, int id)
{
    fprintf(line->file, "%s %s ", verb, value(line, AUDIT_OBJECT));
    put_name(line, column, id);
}

static void
put_rename(const struct line *line, int was, int column)
{
    fprintf(line->file, "rename %s ", value(line, AUDIT_OBJECT));
    output_name(line->file, value(line, was));
    fputs(" to ", line->file);
    output_name(line->file, value(line, column));
}

static const char *
verb_of(const struct line *line)
{
    return is(line, AUDIT_OPERATION, "insert")   ? "add"
           : is(line, AUDIT_OPERATION, "delete") ? "del"
                                                 : "baseline";
}

/* One row may have changed several things of a user. */
static void
put_user_update(const struct line *line)
{
    const char *comma = "";

    if (differs(line, AUDIT_NAME, AUDIT_WAS_NAME)) {
        put_rename(line, AUDIT_WAS_NAME, AUDIT_NAME);
        comma = ", ";
    }
    if (differs(line, AUDIT_ENABLED, AUDIT_WAS_ENABLED)) {
        fputs(comma, line->file);
        put_object(line, is_true(line, AUDIT_ENABLED) ? "enable" : "disable",
                   AUDIT_NAME, AUDIT_ID_USER);
        comma = ", ";
    }
    if (!is_true(line, AUDIT_SECRET_CHANGED)
        && !differs(line, AUDIT_OLD_UNTIL, AUDIT_WAS_OLD_UNTIL))
        return;
    fprintf(line->file, "%spasswd ", comma);
    output_name(line->file, value(line, AUDIT_NAME));
    if (has(line, AUDIT_OLD_UNTIL))
        fprintf(line->file, " (the old one until %s)",
                value(line, AUDIT_OLD_UNTIL));
}

static void
put_user(const struct line *line)
{
    if (is(line, AUDIT_OPERATION, "update")) {
        put_user_update(line);
        return;
    }
    put_object(line, verb_of(line), AUDIT_NAME, AUDIT_ID_USER);
    if (!is_true(line, AUDIT_ENABLED))
        fputs(" (disabled)", line->file);
}

/* An address or a domain. */
static void
put_other(const struct line *line, int column, int was, int id)
{
    if (is(line, AUDIT_OPERATION, "update"))
        put_rename(line, was, column);
    else
        put_object(line, verb_of(line), column, id);
}

static void
put_terms(const struct line *line, int subdomains, int expires)
{
    if (is_true(line, subdomains))
        fputs(" with subdomains", line->file);
    if (has(line, expires))
        fprintf(line->file, " until %s", value(line, expires));
}

static void
put_grant(const struct line *line, const char *what, int column, int id)
{
    bool revoked = is(line, AUDIT_OPERATION, "delete");

    fprintf(line->file, "%s%s %s ",
            is(line, AUDIT_OPERATION, "baseline") ? "baseline " : "",
            revoked ? "revoke" : "grant", what);
    put_name(line, column, id);
    fputs(revoked ? " from " : " to ", line->file);
    put_name(line, AUDIT_NAME, AUDIT_ID_USER);
    if (revoked)
        return;
    put_terms(line, AUDIT_SUBDOMAINS, AUDIT_EXPIRES);
    if (!is(line, AUDIT_OPERATION, "update"))
        return;
    fputs(" (before:", line->file);
    if (!is_true(line, AUDIT_WAS_SUBDOMAINS)
        && !has(line, AUDIT_WAS_EXPIRES))
        fputs(" without", line->file);
    put_terms(line, AUDIT_WAS_SUBDOMAINS, AUDIT_WAS_EXPIRES);
    fputc(')', line->file);
}

static void
put_truncate(const struct line *line)
{
    static const char *const tables[][2] = {
        {"user", "emailing_users"},
        {"address", "emailing_addresses"},
        {"domain", "emailing_domains"},
        {"user_address", "emailing_users_addresses"},
        {"user_domain", "emailing_users_domains"}};
    size_t i;

    for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        if (is(line, AUDIT_OBJECT, tables[i][0]))
            fprintf(line->file, "truncate %s", tables[i][1]);
}

/* The schema and the audit itself. */
static void
put_rest(const struct line *line)
{
    fprintf(line->file, "%s %s", value(line, AUDIT_OBJECT),
            value(line, AUDIT_OPERATION));
    if (has(line, AUDIT_VERSION))
        fprintf(line->file, " to version %s", value(line, AUDIT_VERSION));
    if (is(line, AUDIT_OPERATION, "prune"))
        fprintf(line->file, " --before %s", value(line, AUDIT_SINCE));
}

void
audit_line_words(FILE *file, const PGresult *rows, int row)
{
    const struct line line = {file, rows, row};

    if (is(&line, AUDIT_OPERATION, "truncate"))
        put_truncate(&line);
    else if (is(&line, AUDIT_OBJECT, "user"))
        put_user(&line);
    else if (is(&line, AUDIT_OBJECT, "address"))
        put_other(&line, AUDIT_ADDRESS, AUDIT_WAS_ADDRESS, AUDIT_ID_ADDRESS);
    else if (is(&line, AUDIT_OBJECT, "domain"))
        put_other(&line, AUDIT_DOMAIN, AUDIT_WAS_DOMAIN, AUDIT_ID_DOMAIN);
    else if (is(&line, AUDIT_OBJECT, "user_address"))
        put_grant(&line, "address", AUDIT_ADDRESS, AUDIT_ID_ADDRESS);
    else if (is(&line, AUDIT_OBJECT, "user_domain"))
        put_grant(&line, "domain", AUDIT_DOMAIN, AUDIT_ID_DOMAIN);
    else
        put_rest(&line);
}

void
audit_line_print(FILE *file, const PGresult *rows, int row)
{
    const struct line line = {file, rows, row};

    fprintf(file, "%s db_user=", value(&line, AUDIT_AT));
    output_name(file, value(&line, AUDIT_DB_USER));
    fputs(" os_user=", file);
    output_name(file, has(&line, AUDIT_OS_USER) ? value(&line, AUDIT_OS_USER)
                                                : "-");
    fprintf(file, " client=%s: ",
            has(&line, AUDIT_CLIENT) ? value(&line, AUDIT_CLIENT) : "-");
    audit_line_words(file, rows, row);
    fputc('\n', file);
}
