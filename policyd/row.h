/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_ROW_H
#define POLICYD_ROW_H

/*
 * Rows of the lookups, as query.c selects their columns, turned into records,
 * which belong to the caller.
 */

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#define ROW_COLUMNS 8

struct record;

/* The change counter of the snapshot that the row is from. */
int64_t row_counter(const PGresult *rows, int row);

/* NULL with *ok_r: there is no such user. NULL without: it is in no form known
 * or memory is out, which is logged under the user's name. */
struct record *row_record(const PGresult *rows, int row, const char *name,
                          bool *ok_r);

#endif
