/* SPDX-License-Identifier: MIT */
#ifndef LIB_EXPLAIN_H
#define LIB_EXPLAIN_H

/*
 * Why a decision came out as it did: the grant that permits, or what of the
 * user's own came nearest to permitting. Pure like decide(), and asked with
 * what that was asked with; it explains, and decides nothing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/decide.h"
#include "lib/record.h"

enum explain_kind {
    EXPLAIN_NOTHING,     /* nothing of the user's comes near */
    EXPLAIN_GRANT,       /* this grant permits it */
    EXPLAIN_OPTION,      /* the option null_sender permits or refuses it */
    EXPLAIN_DISABLED,    /* the user is */
    EXPLAIN_MALFORMED,   /* the sender is no address */
    EXPLAIN_ENDED,       /* this grant has ended */
    EXPLAIN_SUBDOMAIN,   /* this domain is granted, without subdomains */
    EXPLAIN_LOCAL_PART,  /* this domain is, but not for % ! @ and quotes */
    EXPLAIN_LABEL,       /* this one is, but no host name lies below it so */
    EXPLAIN_EXTENSION    /* this address is, were its extension cut off */
};

struct explain {
    enum explain_kind kind;
    enum record_kind grant_kind; /* of the grant, where there is one */
    char grant[ADDR_MAX + 1];    /* its address or domain, "" for none */
    int64_t end;                 /* when it ends, INT64_MAX for never */
};

/* The verdict is what decide() made of the record (not of a stale one). */
void explain(const struct decide_verdict *verdict,
             const struct record *record, int64_t now,
             struct explain *explain_r);

#endif
