/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/change.h"

#include "lib/conf.h"

#include "mailadmin/closest.h"
#include "mailadmin/commands.h"
#include "mailadmin/grammar.h"
#include "mailadmin/moment.h"
#include "mailadmin/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void
free_items(struct change *change, size_t from)
{
    size_t i;

    for (i = from; i < change->store.count; i++) {
        struct store_item *item = &change->store.items[i];

        if (item->secret != NULL)
            secret_wipe((char *) item->secret, strlen(item->secret));
        free((char *) item->secret);
        free((char *) item->text);
        free((char *) item->user);
    }
    change->store.count = from;
}

void
change_free(struct change *change)
{
    free_items(change, 0);
    free(change->store.items);
    memset(change, 0, sizeof(*change));
}

bool
change_is_plain(const struct arguments *arguments)
{
    const struct command *command = arguments->command;

    return command->change != GRAMMAR_NO_CHANGE
           && (strncmp(command->pattern, "add user", 8) != 0
               || grammar_given(arguments, "--no-password"));
}

/* What the second word of the pattern says. */
static enum store_kind
kind_of(const struct command *command)
{
    switch (strchr(command->pattern, ' ')[1]) {
    case 'a':
        return STORE_ADDRESS;
    case 'd':
        return STORE_DOMAIN;
    default:
        return STORE_USER;
    }
}

/* Reads all but the items. */
static enum status
read_form(struct session *session, const struct arguments *arguments,
          struct store_change *form_r)
{
    const char *until = grammar_value(arguments, "until");

    memset(form_r, 0, sizeof(*form_r));
    form_r->verb = arguments->command->change;
    form_r->kind = kind_of(arguments->command);
    form_r->lenient = grammar_given(arguments, "--if-exists")
                      || grammar_given(arguments, "--if-not-exists");
    form_r->subdomains = grammar_given(arguments, "with");
    form_r->ends = until != NULL;
    if (until != NULL && !moment_parse(until, &form_r->until))
        return session_say(session, STATUS_DATA,
                           "bad date: neither YYYY-MM-DD nor "
                           "YYYY-MM-DDTHH:MM (in UTC)");
    return STATUS_OK;
}

static bool
same_form(const struct store_change *a, const struct store_change *b)
{
    return a->verb == b->verb && a->kind == b->kind
           && a->lenient == b->lenient && a->subdomains == b->subdomains
           && a->ends == b->ends && (!a->ends || a->until == b->until);
}

/* The stored form of an object, newly allocated. */
static char *
parse_object(struct session *session, enum store_kind kind, const char *text,
             enum status *status_r)
{
    struct user_name name;
    struct addr address;
    struct domain domain;
    const char *stored = NULL;
    char *copy;

    *status_r = STATUS_DATA;
    if (kind == STORE_USER && session_name(session, text, &name))
        stored = name.text;
    else if (kind == STORE_ADDRESS && session_address(session, text, &address))
        stored = address.text;
    else if (kind == STORE_DOMAIN && session_domain(session, text, &domain))
        stored = domain.text;
    if (stored == NULL)
        return NULL;
    copy = strdup(stored);
    *status_r = copy != NULL ? STATUS_OK
                             : session_say(session, STATUS_SYSTEM,
                                           "out of memory");
    return copy;
}

/* Room for more items. */
static bool
reserve(struct change *change, size_t more)
{
    struct store_item *items;

    if (change->store.count + more <= change->room)
        return true;
    items = realloc(change->store.items,
                    (change->store.count + more) * 2 * sizeof(*items));
    if (items == NULL)
        return false;
    change->store.items = items;
    change->room = (change->store.count + more) * 2;
    return true;
}

static enum status
add_item(struct session *session, const struct arguments *arguments,
         struct change *change, const char *text)
{
    struct store_item *item = &change->store.items[change->store.count++];
    enum status status;

    memset(item, 0, sizeof(*item));
    item->text = parse_object(session, change->store.kind, text, &status);
    if (status == STATUS_OK
        && (change->store.verb == GRAMMAR_GRANT
            || change->store.verb == GRAMMAR_REVOKE))
        item->user = parse_object(session, STORE_USER, arguments->value[1],
                                  &status);
    return status;
}

/* A command that names an object twice means it once. */
static void
drop_repeated(struct change *change, size_t from)
{
    struct store_item *items = change->store.items;
    size_t last = change->store.count - 1, i;

    for (i = from; i < last; i++)
        if (strcmp(items[i].text, items[last].text) == 0) {
            free_items(change, last);
            return;
        }
}

bool
change_add(struct session *session, const struct arguments *arguments,
           struct change *change, enum status *status_r)
{
    struct store_change form;
    size_t before = change->store.count, i;

    *status_r = read_form(session, arguments, &form);
    if (*status_r != STATUS_OK)
        return false;
    if (before > 0 && !same_form(&form, &change->store))
        return false;
    if (before == 0) {
        form.items = change->store.items;
        change->store = form;
    }
    if (!reserve(change, arguments->rest_count)) {
        *status_r = session_say(session, STATUS_SYSTEM, "out of memory");
        return false;
    }
    for (i = 0; i < arguments->rest_count && *status_r == STATUS_OK; i++) {
        *status_r = add_item(session, arguments, change, arguments->rest[i]);
        if (*status_r == STATUS_OK)
            drop_repeated(change, before);
    }
    if (*status_r != STATUS_OK)
        free_items(change, before);
    return *status_r == STATUS_OK;
}

enum status
change_make(struct session *session, struct change *change)
{
    const char *missing;
    enum store_kind kind;
    enum status status;

    status = store_change(session->db, &change->store, &missing, &kind);
    if (status == STATUS_OK)
        return status;
    session_db(session, status);
    if (status == STATUS_UNKNOWN && missing != NULL)
        closest_say(session, kind, missing);
    return status;
}

/* "the item is so already", behind what was said of others. */
static void
say_unchanged(struct session *session, const struct store_change *change,
              const struct store_item *item)
{
    const char *kind = store_kind_name(change->kind);

    switch (change->verb) {
    case GRAMMAR_GRANT:
        session_add(session, "%s %s is granted to %s already", kind,
                    item->text, item->user);
        break;
    case GRAMMAR_REVOKE:
        session_add(session, "%s %s is not granted to %s", kind, item->text,
                    item->user);
        break;
    case GRAMMAR_ENABLE:
    case GRAMMAR_DISABLE:
        session_add(session, "user %s is %s already", item->text,
                    change->verb == GRAMMAR_ENABLE ? "enabled" : "disabled");
        break;
    default:
        break; /* --if-exists is a wish for silence */
    }
}

static const char *
verb_name(enum grammar_change verb)
{
    static const char *const names[] = {"",       "add",    "del",    "grant",
                                        "revoke", "enable", "disable"};

    return names[verb];
}

enum status
change_report(struct session *session, const struct change *change,
              size_t first, size_t count)
{
    const struct store_change *store = &change->store;
    bool changed = false;
    char command[32];
    size_t i;

    for (i = first; i < first + count; i++) {
        changed = changed || store->items[i].changed;
        if (!store->items[i].changed)
            say_unchanged(session, store, &store->items[i]);
    }
    if (changed && store->verb == GRAMMAR_GRANT && store->ends
        && store->until <= (int64_t) time(NULL))
        session_add(session, "this has ended already");
    snprintf(command, sizeof(command), "%s %s", verb_name(store->verb),
             store_kind_name(store->kind));
    return session_done(session, command, changed);
}

enum status
command_change(struct session *session, const struct arguments *arguments)
{
    struct change change = {0};
    enum status status;

    if (change_add(session, arguments, &change, &status))
        status = change_make(session, &change);
    if (status == STATUS_OK)
        status = change_report(session, &change, 0, change.store.count);
    change_free(&change);
    return status;
}
