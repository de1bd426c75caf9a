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
#include <stdio.h>

#include <jansson.h>

/* Writes text escaped. */
void output_text(FILE *file, const char *text);

/* Prints the object on a line and frees it; false when out of memory. */
bool output_json(FILE *file, json_t *object);

/* Whether all that was written got out. */
bool output_flush(FILE *file);

#endif
