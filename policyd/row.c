/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/row.h"
#include "lib/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum column { COUNTER, ID, ENABLED, PASSWD, OLD_PASSWD, OLD_UNTIL, HEAVY,
              GRANTS };

static const char *
column(const PGresult *rows, int row, enum column which)
{
    return PQgetisnull(rows, row, which) ? NULL : PQgetvalue(rows, row, which);
}

static int64_t
number(const PGresult *rows, int row, enum column which)
{
    const char *text = column(rows, row, which);

    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

static bool
is_number(const PGresult *rows, int row, enum column which)
{
    const char *text = column(rows, row, which);
    char *rest;

    if (text == NULL || text[0] == '\0')
        return false;
    errno = 0;
    strtoll(text, &rest, 10);
    return *rest == '\0' && errno == 0;
}

static bool
is(const PGresult *rows, int row, enum column which, const char *word)
{
    const char *text = column(rows, row, which);

    return text != NULL && strcmp(text, word) == 0;
}

static bool
flag(const PGresult *rows, int row, enum column which)
{
    return is(rows, row, which, "t");
}

static bool
is_flag(const PGresult *rows, int row, enum column which)
{
    return flag(rows, row, which) || is(rows, row, which, "f");
}

/* Whether it may be a row of a user: a function in place of ours could say
 * anything, and what is no "true" must not be taken for "disabled". */
static bool
is_sound(const PGresult *rows, int row)
{
    return is_number(rows, row, COUNTER) && is_number(rows, row, ID)
           && is_flag(rows, row, ENABLED) && is_flag(rows, row, HEAVY)
           && (column(rows, row, OLD_UNTIL) == NULL
               || is_number(rows, row, OLD_UNTIL));
}

struct record *
row_record(const PGresult *rows, int row, const char **error_r)
{
    struct record_source source = {
        .id = number(rows, row, ID),
        .enabled = flag(rows, row, ENABLED),
        .secret = column(rows, row, PASSWD),
        .old_secret = column(rows, row, OLD_PASSWD),
        .old_until = number(rows, row, OLD_UNTIL),
        .grants = column(rows, row, GRANTS),
        .partial = flag(rows, row, HEAVY),
    };

    *error_r = NULL;
    if (column(rows, row, ID) == NULL && is_number(rows, row, COUNTER))
        return NULL;
    *error_r = "row is not in the form expected";
    if (!is_sound(rows, row))
        return NULL;
    if (source.grants == NULL)
        source.grants = "";
    source.grants_len = strlen(source.grants);
    return record_new(&source, error_r);
}

int64_t
row_counter(const PGresult *rows, int row)
{
    return number(rows, row, COUNTER);
}
