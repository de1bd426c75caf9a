/* SPDX-License-Identifier: MIT */
/* list and show. Scripts read the text: it stays as it always was, "Adress"
 * included. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <stdio.h>
#include <string.h>

static json_t *
list_json(enum store_kind kind, const PGresult *list)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < PQntuples(list); i++)
        json_array_append_new(array, json_string(PQgetvalue(list, i, 0)));
    return json_pack("{s:o}", store_kind_plural(kind), array);
}

static enum status
list(struct session *session, enum store_kind kind)
{
    PGresult *result;
    enum status status = store_list(session->db, kind, &result);
    int i;

    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json) {
        status = session_json(session, list_json(kind, result));
    } else {
        printf("--- emailing_%s ---\n", store_kind_plural(kind));
        for (i = 0; i < PQntuples(result); i++) {
            fputs("    - ", stdout);
            output_text(stdout, PQgetvalue(result, i, 0));
            putchar('\n');
        }
    }
    PQclear(result);
    return status;
}

enum status
command_list_users(struct session *session,
                   const struct arguments *arguments)
{
    (void) arguments;
    return list(session, STORE_USER);
}

enum status
command_list_addresses(struct session *session,
                       const struct arguments *arguments)
{
    (void) arguments;
    return list(session, STORE_ADDRESS);
}

enum status
command_list_domains(struct session *session,
                     const struct arguments *arguments)
{
    (void) arguments;
    return list(session, STORE_DOMAIN);
}

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

static void
print_heading(const char *text)
{
    fputs("--- Show ", stdout);
    output_text(stdout, text);
    puts(" ---");
}

static void
print_item(const char *text, bool subdomains)
{
    fputs("    * ", stdout);
    output_text(stdout, text);
    puts(subdomains ? " (with subdomains)" : "");
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
                                 text_or_null(user->addresses, i, 1)));
    return json_pack("{s:s, s:b, s:s, s:s, s:o, s:o}", "user", name,
                     "enabled", is_true(user->user, 0, 0), "created",
                     PQgetvalue(user->user, 0, 1), "changed",
                     PQgetvalue(user->user, 0, 2), "domains", domains,
                     "addresses", addresses);
}

static void
print_user(const char *name, const struct store_user *user)
{
    int i;

    print_heading(name);
    puts("  Domains:");
    for (i = 0; i < PQntuples(user->domains); i++)
        print_item(PQgetvalue(user->domains, i, 0),
                   is_true(user->domains, i, 1));
    puts("  Adress:");
    for (i = 0; i < PQntuples(user->addresses); i++)
        print_item(PQgetvalue(user->addresses, i, 0), false);
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
        return session_db(session, status);
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
                         "expires", text_or_null(users, i, 1));
        if (kind == STORE_DOMAIN)
            json_object_set_new(user, "subdomains",
                                json_boolean(is_true(users, i, 2)));
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
        return session_db(session, status);
    if (session->json) {
        status = session_json(session, grants_json(kind, text, users));
    } else {
        print_heading(text);
        puts("  Users:");
        for (i = 0; i < PQntuples(users); i++)
            if (!PQgetisnull(users, i, 0))
                print_item(PQgetvalue(users, i, 0), is_true(users, i, 2));
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
