/* SPDX-License-Identifier: MIT */
/*
 * The order of the cases is the contract: what needs no database is told
 * first, then what only the database can tell, then the sender.
 */
#include "config.h"

#include "lib/decide.h"
#include "lib/record.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool
text_is(const struct decide_text *text, const char *word)
{
    return text->len == strlen(word)
           && (text->len == 0
               || strncasecmp(text->text, word, text->len) == 0);
}

/* CONNECT, HELO and EHLO come before MAIL FROM; VRFY and ETRN do without. */
static bool
before_sender(const struct decide_request *request)
{
    static const char *const states[] = {"CONNECT", "HELO", "EHLO", "VRFY",
                                         "ETRN"};
    size_t i;

    if (request->sender.len > 0)
        return false;
    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (text_is(&request->protocol_state, states[i]))
            return true;
    return false;
}

/* ANONYMOUS is a login that names nobody. */
static bool
authenticated(const struct decide_request *request)
{
    return request->sasl_username.len > 0
           && !text_is(&request->sasl_method, "ANONYMOUS");
}

static void
conclude(struct decide_verdict *verdict, enum decide_action action,
         enum decide_reason reason)
{
    verdict->action = action;
    verdict->reason = reason;
}

/* Remembers the best news so far: granted beats ended beats none. */
static bool
granted(enum record_match match, bool *ended)
{
    if (match == RECORD_ENDED)
        *ended = true;
    return match == RECORD_GRANTED;
}

/*
 * A relay further on may take user%other@granted, other!user@granted and the
 * like for an address of another domain. Only a grant of exactly this address
 * covers those.
 */
static bool
routed_local_part(const struct addr *addr)
{
    size_t i;

    for (i = 0; i < addr->at; i++)
        switch (addr->text[i]) {
        case '%':
        case '!':
        case '@':
        case '"':
            return true;
        }
    return false;
}

/* Whether a label is one that a host name can have. */
static bool
plain_label(const char *label, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        char c = label[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
              || c == '_'))
            return false;
    }
    return len > 0;
}

/* Looks for a domain grant of the sender's domain or of one above it. */
static enum decide_reason
find_domain(const struct record *record, const struct addr *sender,
            int64_t now, bool *ended)
{
    const char *domain = sender->text + sender->at + 1;
    const char *end = sender->text + sender->len;
    const char *label, *dot;

    if (granted(record_find(record, RECORD_DOMAIN, domain,
                            (size_t) (end - domain), now),
                ended)
        || granted(record_find(record, RECORD_SUBDOMAINS, domain,
                               (size_t) (end - domain), now),
                   ended))
        return DECIDE_DOMAIN;
    /* The labels in front of the grant are the client's to choose: those of
     * host names only, for evil.com>.granted is no subdomain of granted. */
    for (label = domain; (dot = strchr(label, '.')) != NULL; label = dot + 1) {
        if (!plain_label(label, (size_t) (dot - label)))
            break;
        if (granted(record_find(record, RECORD_SUBDOMAINS, dot + 1,
                                (size_t) (end - dot - 1), now),
                    ended))
            return DECIDE_SUBDOMAIN;
    }
    return DECIDE_NO_REASON;
}

static void
decide_sender(const struct record *record, int64_t now,
              struct decide_verdict *verdict)
{
    const struct addr *sender = &verdict->sender;
    bool routed = routed_local_part(sender);
    bool ended = false;
    enum decide_reason domain;

    if (granted(record_find(record, RECORD_ADDRESS, sender->text, sender->len,
                            now),
                &ended)) {
        conclude(verdict, DECIDE_PERMIT, DECIDE_ADDRESS);
        return;
    }
    if (verdict->has_stripped && !routed
        && granted(record_find(record, RECORD_ADDRESS, verdict->stripped.text,
                               verdict->stripped.len, now),
                   &ended)) {
        conclude(verdict, DECIDE_PERMIT, DECIDE_EXTENSION);
        return;
    }
    domain = find_domain(record, sender, now, &ended);
    if (domain != DECIDE_NO_REASON && !routed)
        conclude(verdict, DECIDE_PERMIT, domain);
    else if (domain != DECIDE_NO_REASON)
        conclude(verdict, DECIDE_REJECT, DECIDE_ROUTED_LOCAL_PART);
    else
        conclude(verdict, DECIDE_REJECT,
                 ended ? DECIDE_EXPIRED : DECIDE_NOT_GRANTED);
}

/* The cases for which the record is at hand. */
static void
decide_record(const struct decide_options *options,
              const struct decide_request *request,
              const struct record *record, int64_t now,
              struct decide_verdict *verdict)
{
    if (!record_enabled(record))
        conclude(verdict, DECIDE_REJECT, DECIDE_DISABLED);
    else if (request->sender.len == 0)
        conclude(verdict,
                 options->permit_null_sender ? DECIDE_PERMIT : DECIDE_REJECT,
                 DECIDE_NULL_SENDER);
    else if (verdict->sender.len == 0)
        conclude(verdict, DECIDE_REJECT, DECIDE_MALFORMED);
    else
        decide_sender(record, now, verdict);
}

/* Reads the sender; one that is no address leaves none in the verdict. */
static void
read_sender(const struct decide_options *options,
            const struct decide_request *request,
            struct decide_verdict *verdict)
{
    const char *error;

    if (request->sender.len > 0
        && addr_parse(request->sender.text, request->sender.len,
                      &verdict->sender, &error))
        verdict->has_stripped =
            addr_strip_extension(&verdict->sender,
                                 options->recipient_delimiter,
                                 &verdict->stripped);
}

static void
reset(struct decide_verdict *verdict)
{
    verdict->user.text[0] = verdict->sender.text[0] = '\0';
    verdict->stripped.text[0] = '\0';
    verdict->user.len = verdict->sender.len = verdict->stripped.len = 0;
    verdict->sender.at = verdict->stripped.at = 0;
    verdict->has_stripped = false;
}

void
decide(const struct decide_options *options,
       const struct decide_request *request, const struct decide_facts *facts,
       int64_t now, struct decide_verdict *verdict_r)
{
    const char *error;

    reset(verdict_r);
    if (before_sender(request)) {
        conclude(verdict_r, DECIDE_PERMIT, DECIDE_NO_SENDER_YET);
        return;
    }
    if (!authenticated(request)) {
        conclude(verdict_r,
                 options->reject_unauthenticated ? DECIDE_REJECT
                                                 : DECIDE_PERMIT,
                 DECIDE_UNAUTHENTICATED);
        return;
    }
    /* A name that cannot be stored needs no question to be unknown. */
    if (!addr_parse_name(request->sasl_username.text,
                         request->sasl_username.len, &verdict_r->user,
                         &error)) {
        conclude(verdict_r, DECIDE_REJECT, DECIDE_UNKNOWN_USER);
        return;
    }
    read_sender(options, request, verdict_r);
    decide_asked(options, request, facts, now, verdict_r);
}

/*
 * Whether it is refused for want of a grant and nothing else. Not so % ! @ "
 * below a granted domain: that is refused for its form, which no grant of a
 * domain would cover.
 */
static bool
lacks_grant(const struct decide_verdict *verdict)
{
    return verdict->action == DECIDE_REJECT
           && (verdict->reason == DECIDE_NULL_SENDER
               || verdict->reason == DECIDE_EXPIRED
               || verdict->reason == DECIDE_NOT_GRANTED);
}

void
decide_asked(const struct decide_options *options,
             const struct decide_request *request,
             const struct decide_facts *facts, int64_t now,
             struct decide_verdict *verdict)
{
    switch (facts->state) {
    case DECIDE_NOT_ASKED:
        conclude(verdict, DECIDE_ASK, DECIDE_NO_REASON);
        return;
    case DECIDE_USER_UNKNOWN:
        conclude(verdict, DECIDE_REJECT, DECIDE_UNKNOWN_USER);
        break;
    case DECIDE_USER_RECORD:
        decide_record(options, request, facts->record, now, verdict);
        break;
    case DECIDE_CANNOT_ASK:
    default:
        conclude(verdict, DECIDE_DEFER, DECIDE_UNAVAILABLE);
        return;
    }
    /* A stale record may have missed a grant, so it never refuses. */
    if (facts->stale && verdict->action != DECIDE_PERMIT)
        conclude(verdict, DECIDE_DEFER, DECIDE_STALE);
    else if (options->observe && lacks_grant(verdict))
        verdict->action = DECIDE_OBSERVE;
}

/* name: the user's, printable and at most 128 bytes. */
static void
write_refusal(enum decide_reason reason, const char *name,
              char reply_r[static DECIDE_REPLY_MAX])
{
    const char *before = "not granted to user ", *after = "";

    switch (reason) {
    case DECIDE_UNAUTHENTICATED:
        before = "authentication required";
        name = "";
        break;
    case DECIDE_UNKNOWN_USER:
    case DECIDE_DISABLED:
        before = "user ";
        after = " may not send";
        break;
    case DECIDE_NULL_SENDER:
        before = "null sender not granted to user ";
        break;
    case DECIDE_MALFORMED:
        before = "not an address this relay can permit";
        name = "";
        break;
    default:
        break;
    }
    snprintf(reply_r, DECIDE_REPLY_MAX, "553 5.7.1 %s%s%s", before, name,
             after);
}

void
decide_reply(const struct decide_verdict *verdict,
             const struct decide_text *user,
             char reply_r[static DECIDE_REPLY_MAX])
{
    static const char deferred[] =
        "451 4.3.0 permission lookup failed, try again later";
    char name[NAME_MAX_LEN + 1];

    switch (verdict->action) {
    case DECIDE_PERMIT:
    case DECIDE_OBSERVE:
        memcpy(reply_r, DECIDE_PERMIT_WORD, sizeof(DECIDE_PERMIT_WORD));
        return;
    case DECIDE_REJECT:
        addr_printable(name, sizeof(name), user->text, user->len);
        write_refusal(verdict->reason, name, reply_r);
        return;
    case DECIDE_DEFER:
    case DECIDE_ASK:
        break;
    }
    memcpy(reply_r, deferred, sizeof(deferred));
}

const char *
decide_action_name(enum decide_action action)
{
    switch (action) {
    case DECIDE_PERMIT:
        return "permit";
    case DECIDE_OBSERVE:
        return "observe";
    case DECIDE_REJECT:
        return "reject";
    case DECIDE_DEFER:
    case DECIDE_ASK:
        break;
    }
    return "defer";
}

const char *
decide_reason_name(enum decide_reason reason)
{
    static const char *const names[DECIDE_REASONS] = {
        [DECIDE_NO_REASON] = "none",
        [DECIDE_NO_SENDER_YET] = "no-sender-yet",
        [DECIDE_UNAUTHENTICATED] = "unauthenticated",
        [DECIDE_UNAVAILABLE] = "unavailable",
        [DECIDE_STALE] = "stale",
        [DECIDE_UNKNOWN_USER] = "unknown-user",
        [DECIDE_DISABLED] = "disabled",
        [DECIDE_NULL_SENDER] = "null-sender",
        [DECIDE_MALFORMED] = "malformed",
        [DECIDE_ADDRESS] = "address",
        [DECIDE_EXTENSION] = "extension",
        [DECIDE_DOMAIN] = "domain",
        [DECIDE_SUBDOMAIN] = "subdomain",
        [DECIDE_ROUTED_LOCAL_PART] = "routed-local-part",
        [DECIDE_EXPIRED] = "expired",
        [DECIDE_NOT_GRANTED] = "not-granted",
    };

    return reason < DECIDE_REASONS ? names[reason] : "none";
}
