/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/row.h"
#include "lib/log.h"
#include "lib/record.h"

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
flag(const PGresult *rows, int row, enum column which)
{
    const char *text = column(rows, row, which);

    return text != NULL && text[0] == 't';
}

struct record *
row_record(const PGresult *rows, int row, const char *name, bool *ok_r)
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
    struct record *record;
    const char *error;

    *ok_r = true;
    if (column(rows, row, ID) == NULL)
        return NULL;
    if (source.grants == NULL)
        source.grants = "";
    source.grants_len = strlen(source.grants);
    record = record_new(&source, &error);
    if (record == NULL) {
        log_error("directory: user \"%s\": %s", name, error);
        *ok_r = false;
    }
    return record;
}

int64_t
row_counter(const PGresult *rows, int row)
{
    return number(rows, row, COUNTER);
}
