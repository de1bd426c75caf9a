/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/moment.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Whether text has the form, in which 0 is any digit. */
static bool
has_form(const char *text, const char *form)
{
    for (; *form != '\0'; text++, form++)
        if (*form == '0' ? *text < '0' || *text > '9' : *text != *form)
            return false;
    return *text == '\0';
}

static int
number(const char *text, size_t len)
{
    int value = 0;

    while (len-- > 0)
        value = value * 10 + (*text++ - '0');
    return value;
}

bool
moment_parse(const char *text, int64_t *second_r)
{
    struct tm tm = {0}, normal;
    bool timed = has_form(text, "0000-00-00T00:00")
                 || has_form(text, "0000-00-00T00:00Z");
    bool exact = has_form(text, "0000-00-00T00:00:00")
                 || has_form(text, "0000-00-00T00:00:00Z");

    if (!timed && !exact && !has_form(text, "0000-00-00"))
        return false;
    tm.tm_year = number(text, 4) - 1900;
    tm.tm_mon = number(text + 5, 2) - 1;
    tm.tm_mday = number(text + 8, 2);
    if (timed || exact) {
        tm.tm_hour = number(text + 11, 2);
        tm.tm_min = number(text + 14, 2);
    }
    if (exact)
        tm.tm_sec = number(text + 17, 2);
    /* timegm() makes the 31st of February a day in March. */
    normal = tm;
    *second_r = (int64_t) timegm(&normal);
    return normal.tm_year == tm.tm_year && normal.tm_mon == tm.tm_mon
           && normal.tm_mday == tm.tm_mday && normal.tm_hour == tm.tm_hour
           && normal.tm_min == tm.tm_min && normal.tm_sec == tm.tm_sec
           && tm.tm_year >= 70;
}

void
moment_format(int64_t second, char text_r[static MOMENT_SIZE])
{
    time_t time = (time_t) second;
    struct tm tm;

    if (gmtime_r(&time, &tm) == NULL
        || strftime(text_r, MOMENT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(text_r, MOMENT_SIZE, "second %lld", (long long) second);
}

bool
moment_parse_span(const char *text, int64_t *seconds_r)
{
    static const char units[] = "smhdw";
    static const int64_t seconds[] = {1, 60, 3600, 86400, 7 * 86400};
    size_t digits = strspn(text, "0123456789");
    const char *unit;

    if (digits == 0 || digits > 8 || text[digits] == '\0'
        || text[digits + 1] != '\0')
        return false;
    unit = strchr(units, text[digits]);
    if (unit == NULL)
        return false;
    *seconds_r = number(text, digits) * seconds[unit - units];
    return *seconds_r >= 1 && *seconds_r <= 366 * (int64_t) 86400;
}
