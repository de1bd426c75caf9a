/* SPDX-License-Identifier: MIT */
/* Scripts read the text: it stays as it always was, "Adress" included. What
 * the program before this one did not have stands in brackets behind it. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/closest.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <stdio.h>
#include <string.h>

static bool
is_true(const PGresult *result, int row, int column)
{
    return strcmp(PQgetvalue(result, row, column), "t") == 0;
}

static json_t *
text_or_null(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return json_null();
    return json_string(PQgetvalue(result, row, column));
}

static enum status
not_found(struct session *session, enum status status, enum store_kind kind,
          const char *text)
{
    session_db(session, status);
    if (status == STATUS_UNKNOWN)
        closest_say(session, kind, text);
    return status;
}

static void
print_heading(const char *text)
{
    fputs("--- Show ", stdout);
    output_text(stdout, text);
    puts(" ---");
}

/* A row of text, subdomains, expires, whether that is over. */
static void
print_item(const PGresult *result, int row)
{
    fputs("    * ", stdout);
    output_text(stdout, PQgetvalue(result, row, 0));
    if (is_true(result, row, 1))
        fputs(" (with subdomains)", stdout);
    if (!PQgetisnull(result, row, 2))
        printf(" (%s %s)", is_true(result, row, 3) ? "ended" : "until",
               PQgetvalue(result, row, 2));
    putchar('\n');
}

static json_t *
user_json(const char *name, const struct store_user *user)
{
    json_t *domains = json_array(), *addresses = json_array();
    int i;

    for (i = 0; i < PQntuples(user->domains); i++)
        json_array_append_new(
            domains,
            json_pack("{s:s, s:b, s:o}", "domain",
                      PQgetvalue(user->domains, i, 0), "subdomains",
                      is_true(user->domains, i, 1), "expires",
                      text_or_null(user->domains, i, 2)));
    for (i = 0; i < PQntuples(user->addresses); i++)
        json_array_append_new(
            addresses, json_pack("{s:s, s:o}", "address",
                                 PQgetvalue(user->addresses, i, 0), "expires",
                                 text_or_null(user->addresses, i, 2)));
    return json_pack("{s:s, s:b, s:s, s:s, s:o, s:o, s:o}", "user", name,
                     "enabled", is_true(user->user, 0, 0), "created",
                     PQgetvalue(user->user, 0, 1), "changed",
                     PQgetvalue(user->user, 0, 2), "old_password_until",
                     text_or_null(user->user, 0, 3), "domains", domains,
                     "addresses", addresses);
}

static void
print_user(const char *name, const struct store_user *user)
{
    int i;

    print_heading(name);
    puts("  Domains:");
    for (i = 0; i < PQntuples(user->domains); i++)
        print_item(user->domains, i);
    puts("  Adress:");
    for (i = 0; i < PQntuples(user->addresses); i++)
        print_item(user->addresses, i);
    if (!PQgetisnull(user->user, 0, 3))
        printf("  Old password:\n    * until %s\n",
               PQgetvalue(user->user, 0, 3));
}

enum status
command_show_user(struct session *session, const struct arguments *arguments)
{
    struct store_user user;
    struct user_name name;
    enum status status;

    if (!session_name(session, arguments->value[0], &name))
        return STATUS_DATA;
    status = store_show_user(session->db, name.text, &user);
    if (status != STATUS_OK)
        return not_found(session, status, STORE_USER, name.text);
    if (session->json)
        status = session_json(session, user_json(name.text, &user));
    else
        print_user(name.text, &user);
    store_user_clear(&user);
    return status;
}

static json_t *
grants_json(enum store_kind kind, const char *text, const PGresult *users)
{
    json_t *array = json_array(), *user;
    int i;

    for (i = 0; i < PQntuples(users); i++) {
        if (PQgetisnull(users, i, 0))
            continue;
        user = json_pack("{s:s, s:o}", "user", PQgetvalue(users, i, 0),
                         "expires", text_or_null(users, i, 2));
        if (kind == STORE_DOMAIN)
            json_object_set_new(user, "subdomains",
                                json_boolean(is_true(users, i, 1)));
        json_array_append_new(array, user);
    }
    return json_pack("{s:s, s:o}", store_kind_name(kind), text, "users",
                     array);
}

static enum status
show(struct session *session, enum store_kind kind, const char *text)
{
    PGresult *users;
    enum status status = store_show_grants(session->db, kind, text, &users);
    int i;

    if (status != STATUS_OK)
        return not_found(session, status, kind, text);
    if (session->json) {
        status = session_json(session, grants_json(kind, text, users));
    } else {
        print_heading(text);
        puts("  Users:");
        for (i = 0; i < PQntuples(users); i++)
            if (!PQgetisnull(users, i, 0))
                print_item(users, i);
    }
    PQclear(users);
    return status;
}

enum status
command_show_address(struct session *session,
                     const struct arguments *arguments)
{
    struct addr address;

    if (!session_address(session, arguments->value[0], &address))
        return STATUS_DATA;
    return show(session, STORE_ADDRESS, address.text);
}

enum status
command_show_domain(struct session *session,
                    const struct arguments *arguments)
{
    struct domain domain;

    if (!session_domain(session, arguments->value[0], &domain))
        return STATUS_DATA;
    return show(session, STORE_DOMAIN, domain.text);
}
