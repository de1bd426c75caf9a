/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_AUDIT_LINE_H
#define MAILADMIN_AUDIT_LINE_H

/*
 * A row of the audit, as store_audit.h has it, in words: those of the commands
 * where there is one that does the same. Names are escaped, blanks included,
 * so that none can pass for something else.
 */

#include <stdio.h>

#include <libpq-fe.h>

/* Writes what was done, without a line end. */
void audit_line_words(FILE *file, const PGresult *rows, int row);

/* Writes when, by whom, and what was done: one line. */
void audit_line_print(FILE *file, const PGresult *rows, int row);

#endif
