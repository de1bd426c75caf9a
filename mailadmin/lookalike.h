/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_LOOKALIKE_H
#define MAILADMIN_LOOKALIKE_H

/*
 * Names that are made to be taken for others: the same to the eye (1 for l, rn
 * for m, a Cyrillic letter for a Latin one), or a letter or two away. Domains
 * are compared with all domains of a set, addresses with those of the same
 * domain. An opinion for people, and no more.
 *
 * A set keeps pointers to the texts that were added.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lookalikes;

/* NULL when out of memory. */
struct lookalikes *lookalikes_new(void);
void lookalikes_free(struct lookalikes **set);

/* Adds a domain or an address (all of a set are of one kind), to what is
 * there of it already. False when out of memory. */
bool lookalikes_add(struct lookalikes *set, const char *text,
                    int64_t messages, bool granted);

/* To be called between adding and asking. */
void lookalikes_sort(struct lookalikes *set);

/* What is there of a text: messages, and whether it is granted. */
int64_t lookalikes_messages(const struct lookalikes *set, const char *text);
bool lookalikes_granted(const struct lookalikes *set, const char *text);

/* One that the text looks like, and that is granted (where the text is not)
 * or was seen ten times as often; NULL when there is none. */
const char *lookalikes_find(const struct lookalikes *set, const char *text);

#endif
