/* SPDX-License-Identifier: MIT */
/* The lists of the program before this one look as they always did. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes a pattern of LIKE, newly allocated, of one with * and ?. */
static char *
make_like(const char *pattern)
{
    char *like = malloc(2 * strlen(pattern) + 1), *at = like;

    for (; like != NULL && *pattern != '\0'; pattern++) {
        if (strchr("%_\\", *pattern) != NULL)
            *at++ = '\\';
        *at++ = *pattern == '*'   ? '%'
                : *pattern == '?' ? '_'
                                  : (char) tolower((unsigned char) *pattern);
    }
    if (like != NULL)
        *at = '\0';
    return like;
}

static enum status
read_filter(struct session *session, const struct arguments *arguments,
            struct store_filter *filter_r, char **like_r)
{
    *like_r = NULL;
    filter_r->disabled = grammar_given(arguments, "--disabled");
    filter_r->legacy = grammar_given(arguments, "--legacy");
    filter_r->expired = grammar_given(arguments, "--expired");
    if (arguments->value[0] != NULL) {
        *like_r = make_like(arguments->value[0]);
        if (*like_r == NULL)
            return session_say(session, STATUS_SYSTEM, "out of memory");
    }
    filter_r->pattern = *like_r;
    return STATUS_OK;
}

static json_t *
list_json(enum store_kind kind, const PGresult *list, bool forms)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < PQntuples(list); i++)
        json_array_append_new(
            array, forms ? json_pack("{s:s, s:s}", "user",
                                     PQgetvalue(list, i, 0), "form",
                                     PQgetvalue(list, i, 1))
                         : json_string(PQgetvalue(list, i, 0)));
    return json_pack("{s:o}", store_kind_plural(kind), array);
}

static void
print_list(enum store_kind kind, const PGresult *list, bool forms)
{
    int i;

    printf("--- emailing_%s ---\n", store_kind_plural(kind));
    for (i = 0; i < PQntuples(list); i++) {
        fputs("    - ", stdout);
        output_text(stdout, PQgetvalue(list, i, 0));
        if (forms)
            printf(" (%s)", PQgetvalue(list, i, 1));
        putchar('\n');
    }
}

static enum status
list(struct session *session, enum store_kind kind,
     const struct arguments *arguments)
{
    struct store_filter filter;
    PGresult *result = NULL;
    char *like;
    enum status status = read_filter(session, arguments, &filter, &like);

    if (status != STATUS_OK)
        return status;
    status = store_list(session->db, kind, &filter, &result);
    free(like);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json)
        status = session_json(session,
                              list_json(kind, result, filter.legacy));
    else
        print_list(kind, result, filter.legacy);
    PQclear(result);
    return status;
}

enum status
command_list_users(struct session *session,
                   const struct arguments *arguments)
{
    return list(session, STORE_USER, arguments);
}

enum status
command_list_addresses(struct session *session,
                       const struct arguments *arguments)
{
    return list(session, STORE_ADDRESS, arguments);
}

enum status
command_list_domains(struct session *session,
                     const struct arguments *arguments)
{
    return list(session, STORE_DOMAIN, arguments);
}

enum { USER, KIND, OBJECT, SUBDOMAINS, EXPIRES, OVER };

static bool
is_true(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

static json_t *
grants_json(const PGresult *list)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < PQntuples(list); i++) {
        json_t *grant = json_pack(
            "{s:s, s:s, s:o, s:b}", "user", PQgetvalue(list, i, USER),
            PQgetvalue(list, i, KIND), PQgetvalue(list, i, OBJECT),
            "expires",
            PQgetisnull(list, i, EXPIRES)
                ? json_null()
                : json_string(PQgetvalue(list, i, EXPIRES)),
            "expired", is_true(list, i, OVER));

        if (PQgetvalue(list, i, KIND)[0] == 'd')
            json_object_set_new(grant, "subdomains",
                                json_boolean(is_true(list, i, SUBDOMAINS)));
        json_array_append_new(array, grant);
    }
    return json_pack("{s:o}", "grants", array);
}

/* The columns of user and object that let a line of the table fit. */
struct layout {
    size_t user, object;
};

/* Columns of what stands behind the object of a grant. */
static size_t
tail_columns(const PGresult *list, int row)
{
    size_t columns = 0;

    if (is_true(list, row, SUBDOMAINS))
        columns += strlen(" (with subdomains)");
    if (!PQgetisnull(list, row, EXPIRES))
        columns += strlen(" (until )")
                   + strlen(PQgetvalue(list, row, EXPIRES));
    return columns;
}

static struct layout
fit(const PGresult *list, size_t width)
{
    size_t fixed = strlen("    -  address "), tail = 0, room;
    struct layout layout = {1, 1};
    int i;

    for (i = 0; i < PQntuples(list); i++)
        if (tail_columns(list, i) > tail)
            tail = tail_columns(list, i);
    fixed += tail;
    room = width > fixed + 8 ? width - fixed : 8;
    for (i = 0; i < PQntuples(list); i++) {
        size_t user = output_columns(PQgetvalue(list, i, USER));
        size_t object = output_columns(PQgetvalue(list, i, OBJECT));

        layout.user = user > layout.user ? user : layout.user;
        layout.object = object > layout.object ? object : layout.object;
    }
    if (layout.user + layout.object > room) {
        if (layout.user > room / 3)
            layout.user = room / 3;
        if (layout.object > room - layout.user)
            layout.object = room - layout.user;
    }
    return layout;
}

/* At a terminal a table that fits it; elsewhere each line as it comes. */
static void
print_grants(const PGresult *list)
{
    size_t width = output_width(stdout);
    struct layout layout = {0, 0};
    int i;

    if (width > 0)
        layout = fit(list, width);
    puts("--- emailing_grants ---");
    for (i = 0; i < PQntuples(list); i++) {
        fputs("    - ", stdout);
        output_cell(stdout, PQgetvalue(list, i, USER), layout.user);
        printf(width > 0 ? " %-7s " : " %s ", PQgetvalue(list, i, KIND));
        output_cell(stdout, PQgetvalue(list, i, OBJECT), layout.object);
        if (is_true(list, i, SUBDOMAINS))
            fputs(" (with subdomains)", stdout);
        if (!PQgetisnull(list, i, EXPIRES))
            printf(" (%s %s)", is_true(list, i, OVER) ? "ended" : "until",
                   PQgetvalue(list, i, EXPIRES));
        putchar('\n');
    }
}

enum status
command_list_grants(struct session *session,
                    const struct arguments *arguments)
{
    struct store_filter filter;
    PGresult *result = NULL;
    char *like;
    enum status status = read_filter(session, arguments, &filter, &like);

    if (status != STATUS_OK)
        return status;
    status = store_list_grants(session->db, &filter, &result);
    free(like);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json)
        status = session_json(session, grants_json(result));
    else
        print_grants(result);
    PQclear(result);
    return status;
}
