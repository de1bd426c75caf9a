/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/explain.h"

#include <stdio.h>
#include <string.h>

/* Of the things asked for, the first that is there is the explanation. */
struct search {
    const struct record *record;
    int64_t now;
    struct explain *explain;
};

/* Whether the record has the grant, and it has ended or not as wanted. */
static bool
found(struct search *search, enum explain_kind kind,
      enum record_kind grant_kind, const char *text, bool ended)
{
    struct explain *explain = search->explain;

    if (!record_find_end(search->record, grant_kind, text, strlen(text),
                         &explain->end)
        || (explain->end <= search->now) != ended)
        return false;
    explain->kind = kind;
    explain->grant_kind = grant_kind;
    snprintf(explain->grant, sizeof(explain->grant), "%s", text);
    return true;
}

/* The domains above one, the nearest first: NULL after the last. */
static const char *
parent(const char *domain)
{
    const char *dot = strchr(domain, '.');

    return dot == NULL ? NULL : dot + 1;
}

/* The grant of a domain, or of one above it with subdomains. */
static bool
found_domain(struct search *search, enum explain_kind kind,
             const char *domain, bool ended)
{
    const char *above;

    if (found(search, kind, RECORD_DOMAIN, domain, ended)
        || found(search, kind, RECORD_SUBDOMAINS, domain, ended))
        return true;
    for (above = parent(domain); above != NULL; above = parent(above))
        if (found(search, kind, RECORD_SUBDOMAINS, above, ended))
            return true;
    return false;
}

/* A domain above the sender's that is granted by itself. */
static bool
found_parent(struct search *search, const char *domain)
{
    const char *above;

    for (above = parent(domain); above != NULL; above = parent(above))
        if (found(search, EXPLAIN_SUBDOMAIN, RECORD_DOMAIN, above, false))
            return true;
    return false;
}

/* The address in front of a '+' or '-', the usual delimiters. */
static bool
found_extension(struct search *search, const struct addr *sender)
{
    struct addr stripped;

    return addr_strip_extension(sender, "+-", &stripped)
           && found(search, EXPLAIN_EXTENSION, RECORD_ADDRESS, stripped.text,
                    false);
}

static void
explain_permit(struct search *search, const struct decide_verdict *verdict)
{
    const char *domain = verdict->sender.text + verdict->sender.at + 1;

    switch (verdict->reason) {
    case DECIDE_ADDRESS:
        found(search, EXPLAIN_GRANT, RECORD_ADDRESS, verdict->sender.text,
              false);
        break;
    case DECIDE_EXTENSION:
        found(search, EXPLAIN_GRANT, RECORD_ADDRESS, verdict->stripped.text,
              false);
        break;
    case DECIDE_DOMAIN:
    case DECIDE_SUBDOMAIN:
        found_domain(search, EXPLAIN_GRANT, domain, false);
        break;
    case DECIDE_NULL_SENDER:
        search->explain->kind = EXPLAIN_OPTION;
        break;
    default:
        break;
    }
}

/* Nearest first: what only has to be said again, then what has to be widened,
 * then what can never be. */
static void
explain_not_granted(struct search *search,
                    const struct decide_verdict *verdict)
{
    const struct addr *sender = &verdict->sender;
    const char *domain = sender->text + sender->at + 1;

    if (found(search, EXPLAIN_ENDED, RECORD_ADDRESS, sender->text, true)
        || (verdict->has_stripped
            && found(search, EXPLAIN_ENDED, RECORD_ADDRESS,
                     verdict->stripped.text, true))
        || found_domain(search, EXPLAIN_ENDED, domain, true)
        || found_extension(search, sender) || found_parent(search, domain))
        return;
    /* Not what a label may look like, or decide() had found it. */
    found_domain(search, EXPLAIN_LABEL, domain, false);
}

void
explain(const struct decide_verdict *verdict, const struct record *record,
        int64_t now, struct explain *explain_r)
{
    struct search search = {record, now, explain_r};

    memset(explain_r, 0, sizeof(*explain_r));
    if (verdict->action == DECIDE_PERMIT)
        explain_permit(&search, verdict);
    else if (verdict->reason == DECIDE_DISABLED)
        explain_r->kind = EXPLAIN_DISABLED;
    else if (verdict->reason == DECIDE_NULL_SENDER)
        explain_r->kind = EXPLAIN_OPTION;
    else if (verdict->reason == DECIDE_MALFORMED)
        explain_r->kind = EXPLAIN_MALFORMED;
    else if (verdict->reason == DECIDE_ROUTED_LOCAL_PART)
        found_domain(&search, EXPLAIN_LOCAL_PART,
                     verdict->sender.text + verdict->sender.at + 1, false);
    else
        explain_not_granted(&search, verdict);
}
