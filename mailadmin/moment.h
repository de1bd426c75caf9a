/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_MOMENT_H
#define MAILADMIN_MOMENT_H

/*
 * Dates and spans of time as people type them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOMENT_SIZE 32 /* bytes of a formatted moment, its NUL included */

/* YYYY-MM-DD (as that day begins), YYYY-MM-DDTHH:MM or with :SS, and a Z
 * behind the time or not: UTC in any case. The second since the epoch. */
bool moment_parse(const char *text, int64_t *second_r);

/* YYYY-MM-DDTHH:MM:SSZ */
void moment_format(int64_t second, char text_r[static MOMENT_SIZE]);

/* A number and s, m, h, d or w: seconds, at least one and at most a year. */
bool moment_parse_span(const char *text, int64_t *seconds_r);

#endif
