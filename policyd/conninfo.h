/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_CONNINFO_H
#define POLICYD_CONNINFO_H

/*
 * The options of a conninfo string, completed as libpq would: by the service
 * file, then the environment, then libpq's defaults; and with ours. Embedded by
 * its owner, who calls conninfo_wipe(), also after a failure.
 */

#include <stdbool.h>
#include <stddef.h>

#define CONNINFO_MAX 64 /* options; libpq 15 has 42 */

struct conninfo {
    char *keywords[CONNINFO_MAX + 1]; /* NULL-terminated, and values beside */
    char *values[CONNINFO_MAX + 1];
    size_t count;
};

/* Reads text (a string or a URI). The statement timeout (0 for none) becomes a
 * start-up option. False, with what is wrong in error_r. */
bool conninfo_read(struct conninfo *conninfo, const char *text,
                   unsigned int statement_timeout_ms, char *error_r,
                   size_t error_size);

/* NULL when it has no value. */
const char *conninfo_get(const struct conninfo *conninfo, const char *keyword);

/* NULL takes the value away. False when out of memory. */
bool conninfo_set(struct conninfo *conninfo, const char *keyword,
                  const char *value);

/* Wipes and frees all that is in it. */
void conninfo_wipe(struct conninfo *conninfo);

#endif
