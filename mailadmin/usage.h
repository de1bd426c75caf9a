/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_USAGE_H
#define MAILADMIN_USAGE_H

/*
 * What "learn", "unused" and "impact" share: how far back they look, and
 * decisions on what was observed, by the function that policyd asks.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/decide.h"

#include "mailadmin/moment.h"
#include "mailadmin/status.h"
#include "mailadmin/store_usage.h"

struct arguments;
struct record;
struct session;

/* The argument of --since, a span of time or a date; or so many days. */
enum status usage_since(struct session *session,
                        const struct arguments *arguments, int days,
                        int64_t *since_r);

/* Adds to the message how long usage has been recorded, if that is not since
 * then. Returns that second, 0 for never. */
int64_t usage_recorded(struct session *session, const PGresult *state,
                       int64_t since);

/* A value of a result as a number. */
int64_t usage_number(const PGresult *result, int row, int column);

/* The rows of observed, from *row_r on, that are the user's: moves *row_r to
 * the first and returns how many. To be called in the order of users. */
int usage_rows(const struct store_usage *usage, int user, int *row_r);

enum usage_form {
    USAGE_ADDRESS,   /* also *@DOMAIN, several together */
    USAGE_NULL,
    USAGE_MALFORMED,
    USAGE_MORE       /* senders of any domain together */
};
enum usage_form usage_form(const struct store_usage *usage, int row);

/* The user's grants as a record, all of them enabled; without the grant of an
 * object, if that is not NULL. NULL, and the message is set, on failure. */
struct record *usage_record(struct session *session,
                            const struct store_usage *usage, int user,
                            enum store_kind kind, const char *without);

/* What policyd would answer to such a sender. */
void usage_decide(const struct session *session, const char *user,
                  const struct record *record, const char *sender,
                  struct decide_verdict *verdict_r);

#endif
