/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/usage.h"

#include <stdio.h>
#include <string.h>

enum { SINCE_DAYS = 90 };

/* The columns of store_unused(). */
enum { USER, KIND, OBJECT, SUBDOMAINS, LAST, GRANTED };

static const char *
text_or_null(const PGresult *list, int row, int column)
{
    return PQgetisnull(list, row, column) ? NULL
                                          : PQgetvalue(list, row, column);
}

static enum status
print_json(struct session *session, const PGresult *list, int64_t since,
           int64_t recorded)
{
    char since_text[MOMENT_SIZE], begun[MOMENT_SIZE];
    json_t *array = json_array();
    int i;

    for (i = 0; i < PQntuples(list); i++) {
        json_t *grant = json_pack(
            "{s:s, s:s, s:s?, s:s?}", "user", PQgetvalue(list, i, USER),
            PQgetvalue(list, i, KIND), PQgetvalue(list, i, OBJECT),
            "last_used", text_or_null(list, i, LAST), "granted",
            text_or_null(list, i, GRANTED));

        if (PQgetvalue(list, i, KIND)[0] == 'd' && grant != NULL)
            json_object_set_new(
                grant, "subdomains",
                json_boolean(PQgetvalue(list, i, SUBDOMAINS)[0] == 't'));
        json_array_append_new(array, grant);
    }
    moment_format(since, since_text);
    moment_format(recorded, begun);
    return session_json(session,
                        json_pack("{s:s, s:s?, s:o}", "since", since_text,
                                  "recorded_since", recorded ? begun : NULL,
                                  "unused", array));
}

static void
print_text(const PGresult *list)
{
    int i;

    puts("--- unused grants ---");
    for (i = 0; i < PQntuples(list); i++) {
        printf("    - %s %s ", PQgetvalue(list, i, USER),
               PQgetvalue(list, i, KIND));
        output_text(stdout, PQgetvalue(list, i, OBJECT));
        if (PQgetvalue(list, i, SUBDOMAINS)[0] == 't')
            fputs(" (with subdomains)", stdout);
        if (PQgetisnull(list, i, LAST))
            fputs(" (never used", stdout);
        else
            printf(" (last used %s", PQgetvalue(list, i, LAST));
        if (!PQgetisnull(list, i, GRANTED))
            printf(", granted only %s", PQgetvalue(list, i, GRANTED));
        puts(")");
    }
}

enum status
command_unused(struct session *session, const struct arguments *arguments)
{
    PGresult *state, *list;
    int64_t since, recorded;
    enum status status;

    status = usage_since(session, arguments, SINCE_DAYS, &since);
    if (status != STATUS_OK)
        return status;
    status = store_unused(session->db, since, &state, &list);
    if (status != STATUS_OK)
        return session_db(session, status);
    recorded = usage_recorded(session, state, since);
    if (session->json)
        status = print_json(session, list, since, recorded);
    else
        print_text(list);
    PQclear(state);
    PQclear(list);
    return status;
}
