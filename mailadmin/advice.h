/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_ADVICE_H
#define MAILADMIN_ADVICE_H

/*
 * A decision and its explanation in words, and the commands that would have it
 * permit. The text may hold bytes of the sender's and has to be escaped before
 * people see it.
 */

#include <stddef.h>

#include "lib/decide.h"
#include "lib/explain.h"

#include "mailadmin/moment.h"

struct store_others;

#define ADVICE_TEXT 1024
#define ADVICE_COMMANDS 3

struct advice {
    char text[ADVICE_TEXT];    /* the grant, or what policyd answers */
    char nearest[ADVICE_TEXT]; /* what came nearest to permitting, or "" */
    char end[MOMENT_SIZE];     /* of the grant, or "" */
    char command[ADVICE_COMMANDS][ADVICE_TEXT]; /* for a shell */
    size_t commands_count;
};

/* What the decision says. */
void advice_begin(struct advice *advice_r,
                  const struct decide_verdict *verdict,
                  const struct explain *explain,
                  const struct decide_options *options);

/* What has to be done: for the same decision, or for what it would be if the
 * user were enabled. */
void advice_end(struct advice *advice, const struct decide_verdict *verdict,
                const struct explain *explain,
                const struct store_others *others);

#endif
