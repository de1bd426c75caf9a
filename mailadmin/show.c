/* SPDX-License-Identifier: MIT */
/* Scripts read the text: it stays as it always was, "Adress" included. What
 * the program before this one did not have stands in brackets behind it.
 *
 * Of a moment that has been the same is shown, and besides who was disabled
 * and, of an address, who might send as it by a domain: there it is asked who
 * could. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/closest.h"
#include "mailadmin/output.h"
#include "mailadmin/past.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"
#include "mailadmin/store_at.h"

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

/* at: the moment it is about, NULL for the present. */
static void
print_heading(const char *text, const char *at)
{
    fputs("--- Show ", stdout);
    output_text(stdout, text);
    printf("%s%s ---\n", at != NULL ? " at " : "", at != NULL ? at : "");
}

/* Of a row of a moment that has been. */
enum { WAS_ENABLED = 4, BY_DOMAIN };

/* A row of text, subdomains, expires, whether that is over; and those two. */
static void
print_item(const PGresult *result, int row, bool by_domain)
{
    fputs("    * ", stdout);
    output_text(stdout, PQgetvalue(result, row, 0));
    if (by_domain) {
        fputs(" (domain ", stdout);
        output_text(stdout, PQgetvalue(result, row, BY_DOMAIN));
        putchar(')');
    }
    if (is_true(result, row, 1))
        fputs(" (with subdomains)", stdout);
    if (!PQgetisnull(result, row, 2))
        printf(" (%s %s)", is_true(result, row, 3) ? "ended" : "until",
               PQgetvalue(result, row, 2));
    if (PQnfields(result) > WAS_ENABLED && !is_true(result, row, WAS_ENABLED))
        fputs(" (disabled)", stdout);
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
    return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "user", name,
                     "enabled", is_true(user->user, 0, 0), "created",
                     text_or_null(user->user, 0, 1), "changed",
                     text_or_null(user->user, 0, 2), "old_password_until",
                     text_or_null(user->user, 0, 3), "domains", domains,
                     "addresses", addresses);
}

static void
print_user(const char *name, const struct store_user *user, const char *at)
{
    int i;

    print_heading(name, at);
    if (at != NULL && !is_true(user->user, 0, 0))
        puts("  Disabled");
    puts("  Domains:");
    for (i = 0; i < PQntuples(user->domains); i++)
        print_item(user->domains, i, false);
    puts("  Adress:");
    for (i = 0; i < PQntuples(user->addresses); i++)
        print_item(user->addresses, i, false);
    if (!PQgetisnull(user->user, 0, 3))
        printf("  Old password:\n    * until %s\n",
               PQgetvalue(user->user, 0, 3));
}

/* Adds the moment, if there is one. */
static json_t *
with_moment(json_t *object, const struct past *at)
{
    if (at->given && object != NULL)
        json_object_set_new(object, "at", json_string(at->text));
    return object;
}

enum status
command_show_user(struct session *session, const struct arguments *arguments)
{
    struct store_user user;
    struct user_name name;
    struct past at;
    enum status status;

    if (!session_name(session, arguments->value[0], &name)
        || !past_option(session, arguments, "--at", &at))
        return STATUS_DATA;
    status = at.given ? store_show_user_at(session->db, name.text, at.micros,
                                           &user)
                      : store_show_user(session->db, name.text, &user);
    if (status != STATUS_OK && at.given)
        return session_db(session, status);
    if (status != STATUS_OK)
        return not_found(session, status, STORE_USER, name.text);
    if (session->json)
        status = session_json(session, with_moment(user_json(name.text, &user),
                                                   &at));
    else
        print_user(name.text, &user, at.given ? at.text : NULL);
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
        if (PQnfields(users) > WAS_ENABLED)
            json_object_set_new(user, "enabled",
                                json_boolean(is_true(users, i, WAS_ENABLED)));
        json_array_append_new(array, user);
    }
    return json_pack("{s:s, s:o}", store_kind_name(kind), text, "users",
                     array);
}

static void
print_users(const PGresult *users)
{
    int i;

    puts("  Users:");
    for (i = 0; i < PQntuples(users); i++)
        if (!PQgetisnull(users, i, 0))
            print_item(users, i, false);
}

static enum status
show(struct session *session, enum store_kind kind, const char *text)
{
    PGresult *users;
    enum status status = store_show_grants(session->db, kind, text, &users);

    if (status != STATUS_OK)
        return not_found(session, status, kind, text);
    if (session->json) {
        status = session_json(session, grants_json(kind, text, users));
    } else {
        print_heading(text, NULL);
        print_users(users);
    }
    PQclear(users);
    return status;
}

/* Whether the grant in that row is of the domain, or covers it from above. */
static bool
covers(const PGresult *covering, int row, const char *domain)
{
    return is_true(covering, row, 1)
           || strcmp(PQgetvalue(covering, row, BY_DOMAIN), domain) == 0;
}

static json_t *
covering_json(const PGresult *covering, const char *domain)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < PQntuples(covering); i++)
        if (covers(covering, i, domain))
            json_array_append_new(
                array,
                json_pack("{s:s, s:s, s:b, s:o, s:b}", "user",
                          PQgetvalue(covering, i, 0), "domain",
                          PQgetvalue(covering, i, BY_DOMAIN), "subdomains",
                          is_true(covering, i, 1), "expires",
                          text_or_null(covering, i, 2), "enabled",
                          is_true(covering, i, WAS_ENABLED)));
    return array;
}

/* Prints what store_show_grants_at() gave. covering: by domain, or NULL. */
static enum status
print_at(struct session *session, enum store_kind kind, const char *text,
         const PGresult *users, const PGresult *covering,
         const struct past *at)
{
    const char *domain = kind == STORE_ADDRESS ? strrchr(text, '@') + 1 : "";
    json_t *object;
    int i;

    if (session->json) {
        object = with_moment(grants_json(kind, text, users), at);
        if (covering != NULL && object != NULL)
            json_object_set_new(object, "by_domain",
                                covering_json(covering, domain));
        return session_json(session, object);
    }
    print_heading(text, at->text);
    print_users(users);
    if (covering == NULL)
        return STATUS_OK;
    puts("  By domain:");
    for (i = 0; i < PQntuples(covering); i++)
        if (covers(covering, i, domain))
            print_item(covering, i, true);
    return STATUS_OK;
}

/* Who might send as an address by a domain, whether the address was stored
 * then or not: as it was when nobody might. What is in front of its @ may be
 * something that no domain covers. */
static enum status
find_covering(struct session *session, const char *address,
              const struct past *at, enum status as_it_was,
              PGresult **covering_r)
{
    const char *sign = strrchr(address, '@');
    bool coverable = address + strcspn(address, "%!@\"") == sign;
    enum status status;
    int i;

    status = store_show_covering_at(session->db, coverable ? sign + 1 : "",
                                    at->micros, covering_r);
    if (status != STATUS_OK)
        return session_db(session, status);
    for (i = 0; i < PQntuples(*covering_r); i++)
        if (covers(*covering_r, i, sign + 1))
            return STATUS_OK;
    return as_it_was;
}

static enum status
show_at(struct session *session, enum store_kind kind, const char *text,
        const struct past *at)
{
    PGresult *users, *covering = NULL;
    enum status status = store_show_grants_at(session->db, kind, text,
                                              at->micros, &users);

    if (status != STATUS_OK)
        session_db(session, status);
    if (kind == STORE_ADDRESS
        && (status == STATUS_OK || status == STATUS_UNKNOWN))
        status = find_covering(session, text, at, status, &covering);
    if (status == STATUS_OK) {
        session->message[0] = '\0';
        status = print_at(session, kind, text, users, covering, at);
    }
    PQclear(users);
    PQclear(covering);
    return status;
}

enum status
command_show_address(struct session *session,
                     const struct arguments *arguments)
{
    struct addr address;
    struct past at;

    if (!session_address(session, arguments->value[0], &address)
        || !past_option(session, arguments, "--at", &at))
        return STATUS_DATA;
    return at.given ? show_at(session, STORE_ADDRESS, address.text, &at)
                    : show(session, STORE_ADDRESS, address.text);
}

enum status
command_show_domain(struct session *session,
                    const struct arguments *arguments)
{
    struct domain domain;
    struct past at;

    if (!session_domain(session, arguments->value[0], &domain)
        || !past_option(session, arguments, "--at", &at))
        return STATUS_DATA;
    return at.given ? show_at(session, STORE_DOMAIN, domain.text, &at)
                    : show(session, STORE_DOMAIN, domain.text);
}
