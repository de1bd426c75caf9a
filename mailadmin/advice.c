/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/advice.h"

#include "mailadmin/quote.h"
#include "mailadmin/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* " address A", " domain D", " domain D with subdomains" */
static void
name_grant(char *text, size_t size, const struct explain *explain)
{
    snprintf(text, size, "%s %s%s",
             explain->grant_kind == RECORD_ADDRESS ? "address" : "domain",
             explain->grant,
             explain->grant_kind == RECORD_SUBDOMAINS ? " with subdomains"
                                                      : "");
}

/* What permits. */
static void
say_permitted(struct advice *advice, const struct explain *explain)
{
    char grant[ADVICE_TEXT / 2];

    if (explain->kind == EXPLAIN_OPTION) {
        snprintf(advice->text, sizeof(advice->text), "null sender");
        return;
    }
    name_grant(grant, sizeof(grant), explain);
    snprintf(advice->text, sizeof(advice->text), "%s%s%s", grant,
             advice->end[0] ? " until " : "", advice->end);
}

/* What the reply does not say. */
static const char malformed[] =
    "the sender is no address: it has to have an @ and something on both "
    "sides of it, no control characters, and 254 bytes at most";

static void
say_nearest(struct advice *advice, const struct decide_verdict *verdict,
            const struct explain *explain,
            const struct decide_options *options)
{
    char *text = advice->nearest, grant[ADVICE_TEXT / 2];
    const size_t size = sizeof(advice->nearest);

    name_grant(grant, sizeof(grant), explain);
    switch (explain->kind) {
    case EXPLAIN_DISABLED:
        snprintf(text, size, "user %s is disabled", verdict->user.text);
        break;
    case EXPLAIN_OPTION:
        snprintf(text, size, "the null sender needs null_sender = permit in "
                             "emailing.conf");
        break;
    case EXPLAIN_MALFORMED:
        snprintf(text, size, "%s", malformed);
        break;
    case EXPLAIN_ENDED:
        snprintf(text, size, "the grant of %s ended on %s", grant,
                 advice->end);
        break;
    case EXPLAIN_SUBDOMAIN:
        snprintf(text, size, "%s is granted, without subdomains", grant);
        break;
    case EXPLAIN_LOCAL_PART:
        snprintf(text, size, "%s is granted, but a domain does not cover "
                             "%% ! @ or quotes in front of the @", grant);
        break;
    case EXPLAIN_LABEL:
        snprintf(text, size, "%s is granted, but what is in front of it is "
                             "no host name", grant);
        break;
    case EXPLAIN_EXTENSION:
        snprintf(text, size,
                 options->recipient_delimiter[0] == '\0'
                     ? "%s is granted; plus addresses need "
                       "recipient_delimiter in emailing.conf"
                     : "%s is granted, but not what is cut off here",
                 grant);
        break;
    default:
        break;
    }
}

void
advice_begin(struct advice *advice_r, const struct decide_verdict *verdict,
             const struct explain *explain,
             const struct decide_options *options)
{
    const struct decide_text user = {verdict->user.text, verdict->user.len};
    char reply[DECIDE_REPLY_MAX];

    memset(advice_r, 0, sizeof(*advice_r));
    if (explain->grant[0] != '\0' && explain->end != INT64_MAX)
        moment_format(explain->end, advice_r->end);
    if (verdict->action == DECIDE_PERMIT) {
        say_permitted(advice_r, explain);
        return;
    }
    decide_reply(verdict, &user, reply);
    /* Behind "553 5.7.1 ". */
    snprintf(advice_r->text, sizeof(advice_r->text), "%s",
             strlen(reply) > 10 ? reply + 10 : reply);
    say_nearest(advice_r, verdict, explain, options);
}

/* Who else may send so: named when nothing of the user's own comes near. */
static void
say_holders(struct advice *advice, const struct decide_verdict *verdict,
            const PGresult *holders)
{
    char *text = advice->nearest;
    const size_t size = sizeof(advice->nearest);
    size_t used;
    int i;

    if (text[0] != '\0' || holders == NULL || PQntuples(holders) == 0)
        return;
    snprintf(text, size, "%s %s is granted to ", PQgetvalue(holders, 0, 1),
             PQgetvalue(holders, 0, 2));
    for (i = 0; i < PQntuples(holders); i++) {
        if (strcmp(PQgetvalue(holders, i, 1), PQgetvalue(holders, 0, 1)) != 0)
            break;
        used = strlen(text);
        if (i == 3)
            snprintf(text + used, size - used, " and others");
        else
            snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
                     PQgetvalue(holders, i, 0));
    }
    used = strlen(text);
    snprintf(text + used, size - used, ", not %s", verdict->user.text);
}

/* Adds a command of the words up to NULL. */
static void
add_command(struct advice *advice, ...)
{
    char *command;
    const char *word;
    va_list words;

    if (advice->commands_count == ADVICE_COMMANDS)
        return;
    command = advice->command[advice->commands_count++];
    snprintf(command, ADVICE_TEXT, "mailadmin");
    va_start(words, advice);
    while ((word = va_arg(words, const char *)) != NULL)
        quote_append(command, ADVICE_TEXT, word);
    va_end(words);
}

static void
advise_address(struct advice *advice, const struct decide_verdict *verdict,
               const struct store_others *others)
{
    const char *sender = verdict->sender.text;

    if (!others->has_address)
        add_command(advice, "add", "address", sender, (char *) NULL);
    add_command(advice, "grant", "address", sender, "to", verdict->user.text,
                (char *) NULL);
}

static void
advise_domain(struct advice *advice, const struct decide_verdict *verdict,
              const char *domain, bool subdomains)
{
    add_command(advice, "grant", "domain", domain, "to", verdict->user.text,
                subdomains ? "with" : NULL, "subdomains", (char *) NULL);
}

/* Whether a grant of its domain, or of one above it, would permit the sender:
 * the local part is not one that only a grant of the address covers. */
static bool
domain_would_do(const struct addr *sender)
{
    return strcspn(sender->text, "%!@\"") == sender->at;
}

void
advice_end(struct advice *advice, const struct decide_verdict *verdict,
           const struct explain *explain, const struct store_others *others)
{
    const char *user = verdict->user.text, *error;
    struct addr stored;

    if (advice->nearest[0] != '\0'
        && strstr(advice->nearest, "is disabled") != NULL)
        add_command(advice, "enable", "user", user, (char *) NULL);
    if (verdict->action == DECIDE_PERMIT
        || !addr_parse_grantable(verdict->sender.text, verdict->sender.len,
                                 &stored, &error))
        return; /* what cannot be stored nothing permits */
    switch (explain->kind) {
    case EXPLAIN_ENDED:
    case EXPLAIN_SUBDOMAIN:
        if (explain->grant_kind == RECORD_ADDRESS)
            add_command(advice, "grant", "address", explain->grant, "to",
                        user, (char *) NULL);
        else if (domain_would_do(&verdict->sender))
            advise_domain(advice, verdict, explain->grant,
                          explain->kind == EXPLAIN_SUBDOMAIN
                              || explain->grant_kind == RECORD_SUBDOMAINS);
        else
            advise_address(advice, verdict, others);
        break;
    case EXPLAIN_NOTHING:
        say_holders(advice, verdict, others->holders);
        /* fall through */
    case EXPLAIN_LOCAL_PART:
    case EXPLAIN_LABEL:
    case EXPLAIN_EXTENSION:
        advise_address(advice, verdict, others);
        break;
    default:
        break; /* options */
    }
}
