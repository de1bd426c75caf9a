/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_OUTPUT_H
#define MAILADMIN_OUTPUT_H

/*
 * What people and programs read. Text is that of the program before this one,
 * to the byte; JSON is one object a command, in ASCII. No control byte of a
 * value ever gets out: in text it becomes \xNN, and so does what is not UTF-8
 * or would turn the direction of the line.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

/* Writes text escaped. */
void output_text(FILE *file, const char *text);

/* The same with blanks escaped, too: what is one word, and can pass for no
 * more. */
void output_name(FILE *file, const char *text);

/* Columns of the terminal that file is, 0 when it is none. */
size_t output_width(FILE *file);

/* How many columns text takes once escaped. */
size_t output_columns(const char *text);

/* Writes text escaped in exactly that many columns (0: as many as it takes):
 * filled with blanks, or cut with dots at its end. */
void output_cell(FILE *file, const char *text, size_t columns);

enum output_colour { OUTPUT_GOOD, OUTPUT_BAD };

/* Writes a constant word, in colour where that is seen and wanted: at a
 * terminal that knows it, unless the environment has NO_COLOR. */
void output_word(FILE *file, const char *word, enum output_colour colour);

/* Prints the object on a line and frees it; false when out of memory. */
bool output_json(FILE *file, json_t *object);

/* Whether all that was written got out. */
bool output_flush(FILE *file);

#endif
