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

void
moment_format_exact(int64_t micros, char text_r[static MOMENT_SIZE])
{
    size_t len;

    moment_format(micros / 1000000, text_r);
    len = strlen(text_r);
    if (micros % 1000000 != 0 && text_r[len - 1] == 'Z')
        snprintf(text_r + len - 1, MOMENT_SIZE - len + 1, ".%06dZ",
                 (int) (micros % 1000000));
}

static bool
parse_span(const char *text, int64_t *seconds_r)
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
    return *seconds_r >= 1;
}

bool
moment_parse_span(const char *text, int64_t *seconds_r)
{
    return parse_span(text, seconds_r)
           && *seconds_r <= 366 * (int64_t) 86400;
}

/* Cuts the fraction off, which stands behind the seconds and before a Z or the
 * end. Its microseconds, or -1 when it is none. */
static int
cut_fraction(char *text)
{
    char *dot = strchr(text, '.');
    size_t digits, i;
    int micros = 0;

    if (dot == NULL)
        return 0;
    digits = strspn(dot + 1, "0123456789");
    if (dot - text != sizeof("0000-00-00T00:00:00") - 1 || digits == 0
        || digits > 6)
        return -1;
    for (i = 0; i < 6; i++)
        micros = micros * 10 + (i < digits ? dot[1 + i] - '0' : 0);
    memmove(dot, dot + 1 + digits, strlen(dot + 1 + digits) + 1);
    return micros;
}

bool
moment_parse_past(const char *text, int64_t now, int64_t *micros_r)
{
    char copy[MOMENT_SIZE];
    int64_t second;
    int fraction;

    if (parse_span(text, &second)) {
        *micros_r = (now - second) * 1000000;
        return *micros_r >= 0;
    }
    if (strlen(text) >= sizeof(copy))
        return false;
    strcpy(copy, text);
    if (strlen(copy) > 10 && copy[10] == ' ')
        copy[10] = 'T';
    fraction = cut_fraction(copy);
    if (fraction < 0 || !moment_parse(copy, &second))
        return false;
    *micros_r = second * 1000000 + fraction;
    return true;
}
