/* SPDX-License-Identifier: MIT */
/* An audit may have millions of rows: they are read in pages, and printed as
 * they come, in JSON too. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/audit_line.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/store_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct column {
    const char *key;
    enum store_audit_column column;
    enum { TEXT, NUMBER, TRUTH } type;
};

static const struct column columns[] = {
    {"link", AUDIT_LINK, NUMBER},
    {"row", AUDIT_ID, NUMBER},
    {"at", AUDIT_AT, TEXT},
    {"db_user", AUDIT_DB_USER, TEXT},
    {"os_user", AUDIT_OS_USER, TEXT},
    {"client", AUDIT_CLIENT, TEXT},
    {"object", AUDIT_OBJECT, TEXT},
    {"operation", AUDIT_OPERATION, TEXT},
    {"user", AUDIT_NAME, TEXT},
    {"address", AUDIT_ADDRESS, TEXT},
    {"domain", AUDIT_DOMAIN, TEXT},
    {"enabled", AUDIT_ENABLED, TRUTH},
    {"subdomains", AUDIT_SUBDOMAINS, TRUTH},
    {"expires", AUDIT_EXPIRES, TEXT},
    {"old_password_until", AUDIT_OLD_UNTIL, TEXT},
    {"password_changed", AUDIT_SECRET_CHANGED, TRUTH},
};

static const struct column was_columns[] = {
    {"user", AUDIT_WAS_NAME, TEXT},
    {"address", AUDIT_WAS_ADDRESS, TEXT},
    {"domain", AUDIT_WAS_DOMAIN, TEXT},
    {"enabled", AUDIT_WAS_ENABLED, TRUTH},
    {"subdomains", AUDIT_WAS_SUBDOMAINS, TRUTH},
    {"expires", AUDIT_WAS_EXPIRES, TEXT},
    {"old_password_until", AUDIT_WAS_OLD_UNTIL, TEXT},
};

enum {
    COLUMNS = sizeof(columns) / sizeof(columns[0]),
    WAS_COLUMNS = sizeof(was_columns) / sizeof(was_columns[0])
};

static json_t *
value_json(const PGresult *rows, int row, const struct column *column)
{
    const char *text = PQgetvalue(rows, row, (int) column->column);

    if (PQgetisnull(rows, row, (int) column->column))
        return json_null();
    switch (column->type) {
    case NUMBER:
        return json_integer(strtoll(text, NULL, 10));
    case TRUTH:
        return json_boolean(strcmp(text, "t") == 0);
    default:
        return json_string(text);
    }
}

static json_t *
columns_json(const PGresult *rows, int row, const struct column *which,
             size_t count)
{
    json_t *object = json_object();
    size_t i;

    for (i = 0; i < count; i++)
        json_object_set_new(object, which[i].key,
                            value_json(rows, row, &which[i]));
    return object;
}

static json_t *
row_json(const PGresult *rows, int row)
{
    json_t *object = columns_json(rows, row, columns, COLUMNS);
    bool update = strcmp(PQgetvalue(rows, row, AUDIT_OPERATION),
                         "update") == 0;
    char *words = NULL;
    size_t len;
    FILE *file;

    json_object_set_new(object, "was",
                        update ? columns_json(rows, row, was_columns,
                                              WAS_COLUMNS)
                               : json_null());
    file = open_memstream(&words, &len);
    if (file == NULL)
        return object;
    audit_line_words(file, rows, row);
    if (fclose(file) == 0)
        json_object_set_new(object, "text", json_string(words));
    free(words);
    return object;
}

/* Prints the element of the array; false when out of memory. */
static bool
print_json(const PGresult *rows, int row, bool first)
{
    json_t *object = row_json(rows, row);
    bool done;

    fputs(first ? "" : ", ", stdout);
    done = object != NULL
           && json_dumpf(object, stdout, JSON_ENSURE_ASCII) == 0;
    json_decref(object);
    return done;
}

static enum status
print_pages(struct session *session, struct store_audit *audit)
{
    enum status status;
    PGresult *rows;
    bool first = true;
    int i, count;

    do {
        status = store_audit_next(session->db, audit, &rows);
        if (status != STATUS_OK)
            return session_db(session, status);
        count = PQntuples(rows);
        for (i = 0; status == STATUS_OK && i < count; i++) {
            if (!session->json)
                audit_line_print(stdout, rows, i);
            else if (!print_json(rows, i, first))
                status = session_say(session, STATUS_SYSTEM,
                                     "out of memory");
            first = false;
        }
        PQclear(rows);
    } while (status == STATUS_OK && count == STORE_AUDIT_PAGE
             && !ferror(stdout));
    return status;
}

static enum status
print_audit(struct session *session, const struct arguments *arguments,
            struct store_audit *audit)
{
    enum status status;

    if (!past_option(session, arguments, "--since", &audit->since)
        || !past_option(session, arguments, "--until", &audit->until))
        return STATUS_DATA;
    status = store_audit_begin(session->db, audit);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json)
        fputs("{\"audit\": [", stdout);
    status = print_pages(session, audit);
    if (session->json)
        puts(status == STATUS_OK ? "]}" : "");
    store_audit_end(audit);
    return status;
}

enum status
command_audit(struct session *session, const struct arguments *arguments)
{
    struct store_audit audit = {.all = true};

    return print_audit(session, arguments, &audit);
}

enum status
command_audit_user(struct session *session, const struct arguments *arguments)
{
    struct store_audit audit = {.kind = STORE_USER};
    struct user_name name;

    if (!session_name(session, arguments->value[0], &name))
        return STATUS_DATA;
    audit.text = name.text;
    return print_audit(session, arguments, &audit);
}

enum status
command_audit_address(struct session *session,
                      const struct arguments *arguments)
{
    struct store_audit audit = {.kind = STORE_ADDRESS};
    struct addr address;

    if (!session_address(session, arguments->value[0], &address))
        return STATUS_DATA;
    audit.text = address.text;
    return print_audit(session, arguments, &audit);
}

enum status
command_audit_domain(struct session *session,
                     const struct arguments *arguments)
{
    struct store_audit audit = {.kind = STORE_DOMAIN};
    struct domain domain;

    if (!session_domain(session, arguments->value[0], &domain))
        return STATUS_DATA;
    audit.text = domain.text;
    return print_audit(session, arguments, &audit);
}
