/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_CLOSEST_H
#define MAILADMIN_CLOSEST_H

/*
 * "Did you mean": the stored names that are spelled nearly as one that is not
 * there. A help and no more: when it cannot be had, nothing is said.
 */

#include <stddef.h>

#include "mailadmin/store.h"

struct session;

/* Single-letter mistakes (one more, less, other, or two exchanged) between
 * two texts; limit when there are that many or more. */
size_t closest_distance(const char *a, const char *b, size_t limit);

/* Adds the closest names to the session's message. */
void closest_say(struct session *session, enum store_kind kind,
                 const char *text);

#endif
