/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STATE_H
#define MAILADMIN_STATE_H

/*
 * All permissions at one moment, as a file or the database has them: users,
 * addresses, domains and grants, in their stored forms, as one sorted list.
 * Two states are compared item by item; see plan.h.
 *
 * A state owns its items and their texts; state_free() wipes and frees them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* In the order in which they are sorted; but the grants of a user are
 * together. */
enum state_kind {
    STATE_USER,
    STATE_ADDRESS,
    STATE_DOMAIN,
    STATE_GRANT_ADDRESS,
    STATE_GRANT_DOMAIN
};
#define STATE_KINDS 5

#define STATE_MAX 10000000 /* items */

struct state_item {
    enum state_kind kind;
    bool disabled;   /* of a user */
    bool subdomains; /* of a grant */
    bool ends;       /* a grant, or the validity of an old secret */
    int64_t until;   /* likewise: the second since the epoch, 0 if not */
    unsigned long line; /* of the file that it is from, or 0 */
    const char *text;   /* the name, address or domain */
    const char *user;   /* of a grant; "" otherwise */
    const char *secret, *old_secret; /* of a user; NULL: none, or not asked */
};

struct state_text;

struct state {
    bool secrets; /* they are part of it */
    struct state_item *items;
    size_t count, room;
    struct state_text *texts;
};

/* A new item with copies of its texts, valid until the next one is added; user
 * may be NULL. NULL when out of memory or over STATE_MAX. */
struct state_item *state_add(struct state *state, enum state_kind kind,
                             const char *text, const char *user);

/* A copy that lives as long as the state. NULL when out of memory. */
const char *state_copy(struct state *state, const char *text);

void state_free(struct state *state);

/* After the last was added, and before anything below. */
void state_sort(struct state *state);

/* The order: of what they are, not of what is said of them. */
int state_compare(const struct state_item *a, const struct state_item *b);

/* Whether all that is said of two items that are the same is equal. */
bool state_equal(const struct state_item *a, const struct state_item *b,
                 bool secrets);

/* NULL when it is not there; user may be NULL. */
const struct state_item *state_find(const struct state *state,
                                    enum state_kind kind, const char *text,
                                    const char *user);

/* The grants of a user: the first, and their number, which may be 0. */
const struct state_item *state_grants(const struct state *state,
                                      const char *user, size_t *count_r);

/* 128 bits of a hash of all of it, and of secrets if wanted, as hexadecimal
 * digits. False when out of memory. */
#define STATE_DIGEST 32
bool state_digest(const struct state *state, bool secrets,
                  char digest_r[static STATE_DIGEST + 1]);

#endif
