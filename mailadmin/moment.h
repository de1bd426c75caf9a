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

/*
 * A moment that has been: the forms above, with a blank in the place of the T
 * and with a fraction of the second or not, or a span back from now, such as
 * 7d. now: seconds since the epoch. Microseconds since the epoch.
 */
bool moment_parse_past(const char *text, int64_t now, int64_t *micros_r);

/* YYYY-MM-DDTHH:MM:SSZ */
void moment_format(int64_t second, char text_r[static MOMENT_SIZE]);

/* YYYY-MM-DDTHH:MM:SS.UUUUUUZ, without the fraction where that is 0 */
void moment_format_exact(int64_t micros, char text_r[static MOMENT_SIZE]);

/* A number and s, m, h, d or w: seconds, at least one and at most a year. */
bool moment_parse_span(const char *text, int64_t *seconds_r);

#endif
