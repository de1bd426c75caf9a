/* SPDX-License-Identifier: MIT */
#ifndef LIB_DECIDE_H
#define LIB_DECIDE_H

/*
 * The decision: a policy request and a user record in, a verdict and its
 * reason out (the table of DESIGN section 4, in its order). Pure: no I/O, no
 * clock, no globals, no allocation. policyd and "mailadmin check" both call
 * decide() and nothing else decides.
 *
 * Everything that is not positively granted ends in DECIDE_REJECT or
 * DECIDE_DEFER; only where options say that grants are not enforced yet, what
 * is refused for want of one is DECIDE_OBSERVE.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/addr.h"

struct record;

enum decide_action {
    DECIDE_PERMIT,
    DECIDE_OBSERVE, /* not granted, and let pass all the same */
    DECIDE_REJECT, /* 553: for good */
    DECIDE_DEFER,  /* 451: try again */
    DECIDE_ASK     /* the record of verdict->user is needed to tell */
};

enum decide_reason {
    DECIDE_NO_REASON,
    DECIDE_NO_SENDER_YET,
    DECIDE_UNAUTHENTICATED,
    DECIDE_UNAVAILABLE,
    DECIDE_STALE,
    DECIDE_UNKNOWN_USER,
    DECIDE_DISABLED,
    DECIDE_NULL_SENDER,
    DECIDE_MALFORMED,
    DECIDE_ADDRESS,
    DECIDE_EXTENSION,
    DECIDE_DOMAIN,
    DECIDE_SUBDOMAIN,
    DECIDE_ROUTED_LOCAL_PART, /* domain granted, but local part has % ! @ " */
    DECIDE_EXPIRED,           /* only a grant that has ended would permit it */
    DECIDE_NOT_GRANTED,
    DECIDE_REASONS
};

struct decide_options {
    bool reject_unauthenticated;
    bool permit_null_sender;
    const char *recipient_delimiter; /* "" for none */
    bool observe; /* what is not granted is DECIDE_OBSERVE */
};

struct decide_text {
    const char *text; /* may be NULL when len is 0 */
    size_t len;
};

/* The attributes of a policy request that matter, as they came; one that did
 * not come is empty. */
struct decide_request {
    struct decide_text protocol_state;
    struct decide_text sasl_username;
    struct decide_text sasl_method;
    struct decide_text sender;
};

enum decide_facts_state {
    DECIDE_NOT_ASKED,     /* nobody has looked yet */
    DECIDE_CANNOT_ASK,    /* the database cannot be had */
    DECIDE_USER_UNKNOWN,  /* it was asked: no such user */
    DECIDE_USER_RECORD    /* it was asked: the record */
};

struct decide_facts {
    enum decide_facts_state state;
    const struct record *record; /* only with DECIDE_USER_RECORD */
    bool stale; /* the record may be out of date: it can only permit */
};

struct decide_verdict {
    enum decide_action action;
    enum decide_reason reason;
    struct user_name user; /* set with DECIDE_ASK and all that follow it */
    struct addr sender;    /* in normal form; len 0 when there is none */
    bool has_stripped;
    struct addr stripped;  /* sender without its extension */
};

/* now: seconds since the epoch, for grants that end. */
void decide(const struct decide_options *options,
            const struct decide_request *request,
            const struct decide_facts *facts, int64_t now,
            struct decide_verdict *verdict_r);

/* Goes on from a DECIDE_ASK: verdict and request are those of that call, and
 * the names in them are not read again. */
void decide_asked(const struct decide_options *options,
                  const struct decide_request *request,
                  const struct decide_facts *facts, int64_t now,
                  struct decide_verdict *verdict);

#define DECIDE_REPLY_MAX 512 /* bytes of a reply, its NUL included */
#define DECIDE_PERMIT_WORD "DUNNO"

/*
 * The action= value for Postfix: DECIDE_PERMIT_WORD or a text from a closed
 * set, printable ASCII. user is the SASL username as it came, shown escaped and
 * cut.
 */
void decide_reply(const struct decide_verdict *verdict,
                  const struct decide_text *user,
                  char reply_r[static DECIDE_REPLY_MAX]);

/* "permit", "observe", "reject", "defer"; the reason as the log and the metrics
 * name it. Never NULL. */
const char *decide_action_name(enum decide_action action);
const char *decide_reason_name(enum decide_reason reason);

#endif
