/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_COMPLETE_H
#define MAILADMIN_COMPLETE_H

/*
 * What may come next in a command: keywords and options from the grammar,
 * names from the database. Both the interactive mode and bash ask here. When
 * the database cannot be had there are no names, and nothing is said.
 */

#include <stddef.h>

struct session;

typedef void complete_fn(const char *word, void *context);

/* Calls back, once each and sorted, for what begins with prefix and may come
 * behind the words. A session without a database has no names. */
void complete(struct session *session, char *const *words, size_t count,
              const char *prefix, complete_fn *fn, void *context);

#endif
