/* SPDX-License-Identifier: MIT */
/*
 * Asks what policyd would answer, by the function policyd asks: decide(). It
 * is asked twice, as there: the first time it brings the sender into normal
 * form, which a user with very many grants is looked up by.
 */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/conf.h"
#include "lib/decide.h"
#include "lib/record.h"

#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The row of emailing_lookup(). */
enum { COUNTER, ID, ENABLED, PASSWD, OLD_PASSWD, OLD_UNTIL, HEAVY, GRANTS };

static int64_t
number(const PGresult *row, int column)
{
    return strtoll(PQgetvalue(row, 0, column), NULL, 10);
}

/* NULL with *error_r unset when there is no such user. */
static struct record *
make_record(const PGresult *row, const char **error_r)
{
    struct record_source source = {
        .id = number(row, ID),
        .enabled = strcmp(PQgetvalue(row, 0, ENABLED), "t") == 0,
        .old_until = number(row, OLD_UNTIL),
        .grants = PQgetvalue(row, 0, GRANTS),
        .grants_len = (size_t) PQgetlength(row, 0, GRANTS),
        .partial = strcmp(PQgetvalue(row, 0, HEAVY), "t") == 0,
    };

    /* The secrets have no part in this, and are left where they are. */
    *error_r = NULL;
    if (PQgetisnull(row, 0, ID))
        return NULL;
    return record_new(&source, error_r);
}

/* The parent domain whose grant covers the sender's. */
static const char *
covering_domain(const struct record *record, const struct addr *sender,
                int64_t now)
{
    const char *domain = sender->text + sender->at + 1;
    const char *dot = domain;

    for (;;) {
        if (record_find(record, RECORD_SUBDOMAINS, dot, strlen(dot), now)
            == RECORD_GRANTED)
            return dot;
        dot = strchr(dot, '.');
        if (dot == NULL)
            return domain;
        dot++;
    }
}

/* The grant, or the lack of one, in words. */
static void
explain(const struct decide_verdict *verdict,
        const struct decide_facts *facts, const struct decide_text *user,
        int64_t now, char *text, size_t size)
{
    const char *domain = verdict->sender.text + verdict->sender.at + 1;
    char reply[DECIDE_REPLY_MAX];

    switch (verdict->reason) {
    case DECIDE_ADDRESS:
        snprintf(text, size, "address %s", verdict->sender.text);
        return;
    case DECIDE_EXTENSION:
        snprintf(text, size, "address %s", verdict->stripped.text);
        return;
    case DECIDE_DOMAIN:
        snprintf(text, size, "domain %s", domain);
        return;
    case DECIDE_SUBDOMAIN:
        snprintf(text, size, "domain %s with subdomains",
                 covering_domain(facts->record, &verdict->sender, now));
        return;
    case DECIDE_NULL_SENDER:
        if (verdict->action == DECIDE_PERMIT) {
            snprintf(text, size, "null sender");
            return;
        }
        break;
    default:
        break;
    }
    decide_reply(verdict, user, reply);
    /* Behind "553 5.7.1 ". */
    snprintf(text, size, "%s%s",
             strlen(reply) > 10 ? reply + 10 : reply,
             verdict->reason == DECIDE_EXPIRED
                 ? " (a grant has ended)"
             : verdict->reason == DECIDE_ROUTED_LOCAL_PART
                 ? " (a granted domain does not cover % ! @ or quotes before"
                   " the @)"
                 : "");
}

static enum status
print_verdict(struct session *session, const struct decide_verdict *verdict,
              const struct decide_facts *facts,
              const struct decide_text *user, int64_t now)
{
    bool permitted = verdict->action == DECIDE_PERMIT;
    enum status status = permitted ? STATUS_OK : STATUS_REFUSED, printed;
    char text[DECIDE_REPLY_MAX + 128];

    explain(verdict, facts, user, now, text, sizeof(text));
    if (session->json) {
        printed = session_json(
            session,
            json_pack("{s:s, s:s, s:b, s:s, s:s}", "user",
                      verdict->user.text, "sender", verdict->sender.text,
                      "permitted", permitted, "reason",
                      decide_reason_name(verdict->reason), "text", text));
        return printed == STATUS_OK ? status : printed;
    }
    fputs(permitted ? "permitted: " : "refused: ", stdout);
    output_text(stdout, text);
    putchar('\n');
    return status;
}

/* Looks the user up, and in the row what bears on the sender. */
static enum status
look_up(struct session *session, const struct user_name *name,
        const struct decide_verdict *asked, PGresult **row_r)
{
    struct store_sender sender = {.name = name->text};

    if (asked->sender.len > 0) {
        sender.address = asked->sender.text;
        sender.domain = asked->sender.text + asked->sender.at + 1;
    }
    if (asked->has_stripped)
        sender.stripped = asked->stripped.text;
    return store_lookup(session->db, &sender, row_r);
}

enum status
command_check(struct session *session, const struct arguments *arguments)
{
    struct decide_options options = conf_decide_options(session->conf);
    const char *sender = arguments->value[1], *error;
    struct decide_facts facts = {.state = DECIDE_NOT_ASKED};
    struct decide_request request;
    struct decide_verdict verdict;
    struct user_name name;
    struct record *record;
    int64_t now = (int64_t) time(NULL);
    PGresult *row;
    enum status status;

    if (!session_name(session, arguments->value[0], &name))
        return STATUS_DATA;
    if (strcmp(sender, "<>") == 0)
        sender = "";
    memset(&request, 0, sizeof(request));
    request.protocol_state = (struct decide_text){"RCPT", 4};
    request.sasl_method = (struct decide_text){"PLAIN", 5};
    request.sasl_username = (struct decide_text){name.text, name.len};
    request.sender = (struct decide_text){sender, strlen(sender)};
    decide(&options, &request, &facts, now, &verdict);
    status = look_up(session, &name, &verdict, &row);
    if (status != STATUS_OK)
        return session_db(session, status);
    record = make_record(row, &error);
    if (record != NULL) {
        facts.state = DECIDE_USER_RECORD;
        facts.record = record;
        decide(&options, &request, &facts, now, &verdict);
        status = print_verdict(session, &verdict, &facts,
                               &request.sasl_username, now);
    } else if (error != NULL) {
        status = session_say(session, STATUS_SYSTEM, "user %s: %s",
                             name.text, error);
    } else {
        status = session_say(session, STATUS_UNKNOWN, "no such user: %s",
                             name.text);
    }
    record_free(&record);
    PQclear(row);
    return status;
}
