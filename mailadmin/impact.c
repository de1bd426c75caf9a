/* SPDX-License-Identifier: MIT */
/*
 * What a change would have refused: each sender that was observed is put to
 * decide() twice, with the user's record as it is and as it would be.
 */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/record.h"

#include "mailadmin/closest.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SINCE_DAYS = 90 };

struct impact {
    enum store_kind kind; /* of the object that the change takes */
    const char *object;   /* NULL: the user can send no more */
    struct store_usage usage;
    json_t *list;         /* NULL: as text */
    int64_t senders;      /* that would be refused */
    int64_t more;         /* messages of senders that are not known */
    bool granted;         /* there was something to take */
};

static void
tell(struct impact *impact, const char *user, int row)
{
    const PGresult *observed = impact->usage.observed;
    const char *sender = PQgetvalue(observed, row, USAGE_SENDER);
    int64_t messages = usage_number(observed, row, USAGE_MESSAGES);
    char moment[MOMENT_SIZE];

    impact->senders++;
    moment_format(usage_number(observed, row, USAGE_LAST), moment);
    if (impact->list != NULL) {
        json_array_append_new(
            impact->list,
            json_pack("{s:s, s:s, s:I, s:s}", "user", user, "sender", sender,
                      "messages", (json_int_t) messages, "last", moment));
        return;
    }
    printf("    - %s ", user);
    output_text(stdout, sender);
    printf(" (%" PRId64 " message%s, last %s)\n", messages,
           messages == 1 ? "" : "s", moment);
}

/* Whether a sender is permitted now and would not be. */
static bool
would_lose(const struct session *session, const char *user,
           const struct record *before, const struct record *after,
           const char *sender)
{
    struct decide_verdict verdict;

    usage_decide(session, user, before, sender, &verdict);
    if (verdict.action != DECIDE_PERMIT)
        return false;
    if (after == NULL)
        return true;
    usage_decide(session, user, after, sender, &verdict);
    return verdict.action != DECIDE_PERMIT;
}

static enum status
look_at_user(struct session *session, struct impact *impact, int user,
             int *row)
{
    const struct store_usage *usage = &impact->usage;
    const char *name = PQgetvalue(usage->users, user, USAGE_NAME);
    int end = usage_rows(usage, user, row);
    struct record *before, *after = NULL;

    end += *row;
    before = usage_record(session, usage, user, STORE_USER, NULL);
    if (impact->object != NULL && before != NULL)
        after = usage_record(session, usage, user, impact->kind,
                             impact->object);
    if (before == NULL || (impact->object != NULL && after == NULL)) {
        record_free(&before);
        return STATUS_SYSTEM;
    }
    impact->granted |= after == NULL
                       || record_grants(after) < record_grants(before);
    for (; *row < end; ++*row) {
        const char *sender = PQgetvalue(usage->observed, *row, USAGE_SENDER);
        enum usage_form form = usage_form(usage, *row);

        if (form == USAGE_MORE)
            impact->more += usage_number(usage->observed, *row,
                                         USAGE_MESSAGES);
        else if (form != USAGE_MALFORMED
                 && would_lose(session, name, before, after, sender))
            tell(impact, name, *row);
    }
    record_free(&before);
    record_free(&after);
    return STATUS_OK;
}

/* The bare name of a change, such as "revoke address". */
static void
name_of(const struct command *command, char name_r[static 32])
{
    const char *text = strchr(command->pattern, ' ') + 1;

    snprintf(name_r, 32, "%.*s", (int) strcspn(text, "ABCDEFGHIJKLMNOPQRSTU"),
             text);
    name_r[strlen(name_r) - 1] = '\0';
}

static enum status
report(struct session *session, struct impact *impact,
       const struct arguments *arguments, int64_t since)
{
    int64_t recorded = usage_recorded(session, impact->usage.state, since);
    const char *user = arguments->value[1];
    char change[32], since_text[MOMENT_SIZE], begun[MOMENT_SIZE];
    enum status status = STATUS_OK;

    if (!impact->granted)
        session_add(session, "%s %s is not granted to %s",
                    store_kind_name(impact->kind), impact->object,
                    user != NULL ? user : "anybody");
    if (impact->more > 0)
        session_add(session, "%" PRId64 " messages had senders that were not "
                             "recorded one by one", impact->more);
    if (session->json) {
        name_of(arguments->command, change);
        moment_format(since, since_text);
        moment_format(recorded, begun);
        status = session_json(
            session, json_pack("{s:s, s:s, s:s?, s:O}", "change", change,
                               "since", since_text, "recorded_since",
                               recorded ? begun : NULL, "refused",
                               impact->list));
    }
    if (status == STATUS_OK && impact->senders > 0)
        return STATUS_REFUSED;
    return status;
}

static enum status
look(struct session *session, struct impact *impact,
     const struct arguments *arguments,
     const struct store_usage_filter *filter)
{
    enum status status = store_usage(session->db, filter, &impact->usage);
    int user, row = 0;

    if (status != STATUS_OK) {
        session_db(session, status);
        if (status == STATUS_UNKNOWN && filter->user != NULL
            && impact->object == NULL)
            closest_say(session, STORE_USER, filter->user);
        return status;
    }
    if (session->json)
        impact->list = json_array();
    else
        puts("--- would be refused ---");
    for (user = 0; status == STATUS_OK
                   && user < PQntuples(impact->usage.users);
         user++)
        status = look_at_user(session, impact, user, &row);
    if (status == STATUS_OK)
        status = report(session, impact, arguments, filter->since);
    json_decref(impact->list);
    store_usage_clear(&impact->usage);
    return status;
}

/* The stored form of an argument; false, with the message, when it has none. */
struct words {
    struct user_name name;
    struct addr address;
    struct domain domain;
};

static bool
read_object(struct session *session, enum store_kind kind, const char *text,
            struct words *words_r)
{
    return kind == STORE_USER ? session_name(session, text, &words_r->name)
           : kind == STORE_ADDRESS
               ? session_address(session, text, &words_r->address)
               : session_domain(session, text, &words_r->domain);
}

static enum status
impact_of(struct session *session, const struct arguments *arguments,
          enum store_kind kind, const char *object, const char *user)
{
    struct store_usage_filter filter = {0};
    struct impact impact = {.kind = kind};
    struct words words;
    enum status status;

    status = usage_since(session, arguments, SINCE_DAYS, &filter.since);
    if (status != STATUS_OK)
        return status;
    if (object != NULL && !read_object(session, kind, object, &words))
        return STATUS_DATA;
    if (user != NULL && !read_object(session, STORE_USER, user, &words))
        return STATUS_DATA;
    if (object != NULL)
        impact.object = kind == STORE_ADDRESS ? words.address.text
                                              : words.domain.text;
    if (user != NULL)
        filter.user = words.name.text;
    /* A grant that the user does not have leaves nothing to look at. */
    if (object != NULL && kind == STORE_ADDRESS)
        filter.address = impact.object;
    else if (object != NULL)
        filter.domain = impact.object;
    return look(session, &impact, arguments, &filter);
}

enum status
command_impact_address(struct session *session,
                       const struct arguments *arguments)
{
    return impact_of(session, arguments, STORE_ADDRESS, arguments->value[0],
                     arguments->value[1]);
}

enum status
command_impact_domain(struct session *session,
                      const struct arguments *arguments)
{
    return impact_of(session, arguments, STORE_DOMAIN, arguments->value[0],
                     arguments->value[1]);
}

enum status
command_impact_user(struct session *session,
                    const struct arguments *arguments)
{
    return impact_of(session, arguments, STORE_USER, NULL,
                     arguments->value[0]);
}
