/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_BATCH_H
#define MAILADMIN_BATCH_H

/*
 * Lines of a script that are changes of one form, such as grants of addresses,
 * and that are there to be read already, are made together: one statement and
 * one transaction instead of hundreds. When that fails for one of them,
 * nothing was done, and they are made again one by one, so that the outcome of
 * each line is what it would have been by itself.
 */

#include <stdbool.h>

#include "mailadmin/status.h"

struct arguments;
struct session;
struct batch;

/* NULL when out of memory. */
struct batch *batch_new(void);
void batch_free(struct batch **batch);

/* Whether it holds lines. */
bool batch_holds(const struct batch *batch);

/* Whether the line became part of the batch. If not it has to be run, after
 * batch_flush(). */
bool batch_take(struct batch *batch, struct session *session,
                const struct arguments *arguments, unsigned long number);

/* Makes what it holds and prints each line's messages. The first failure, for
 * strict sessions, which leave the rest undone; else STATUS_OK. */
enum status batch_flush(struct batch *batch, struct session *session);

#endif
