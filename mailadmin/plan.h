/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_PLAN_H
#define MAILADMIN_PLAN_H

/*
 * What has to be done for one state to become another, and the ID by which
 * apply knows that both are still what they were when the plan was looked at.
 *
 * A plan refers to the items of both states, which have to outlive it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#include "mailadmin/state.h"

enum plan_operation { PLAN_ADD, PLAN_CHANGE, PLAN_DELETE };
#define PLAN_OPERATIONS 3

/* Two digests and what is between them: of the one, of the other. */
#define PLAN_ID (2 * STATE_DIGEST + 1)

struct plan {
    bool secrets; /* they are compared, too */
    struct plan_change {
        enum plan_operation operation;
        const struct state_item *before, *after; /* NULL where there is none */
    } *changes;
    size_t count, room;
    size_t totals[STATE_KINDS][PLAN_OPERATIONS];
    size_t before[STATE_KINDS]; /* how many there are */
    char id[PLAN_ID + 1];
};

/* What makes current what wanted is, secrets only if wanted has them. False
 * when out of memory. */
bool plan_make(const struct state *current, const struct state *wanted,
               struct plan *plan_r);
void plan_free(struct plan *plan);

/* Whether text has the form of an ID; and whether its half for the state that
 * was wanted is that of the plan. */
bool plan_is_id(const char *text);
bool plan_same_wanted(const struct plan *plan, const char *id);

/* In words, a line a change, then how many of what, then the ID. */
void plan_write(FILE *out, const struct plan *plan);

/* Objects of JSON; NULL when out of memory. */
json_t *plan_json(const struct plan *plan);
json_t *plan_item_json(const struct state_item *item, bool secrets);

#endif
