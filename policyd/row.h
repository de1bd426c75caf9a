/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_ROW_H
#define POLICYD_ROW_H

/*
 * Rows of the lookups, as query.c selects their columns, turned into records,
 * which belong to the caller.
 */

#include <stdint.h>

#include <libpq-fe.h>

#define ROW_COLUMNS 8

struct record;

/* The change counter of the snapshot that the row is from. */
int64_t row_counter(const PGresult *rows, int row);

/* NULL: there is no such user, or the row is in no form known or memory is out,
 * which *error_r then says, a constant text or NULL. */
struct record *row_record(const PGresult *rows, int row,
                          const char **error_r);

#endif
