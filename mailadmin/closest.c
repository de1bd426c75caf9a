/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/closest.h"

#include "mailadmin/session.h"

#include <stdbool.h>
#include <string.h>

enum {
    LENGTH_MAX = 255, /* no name is longer */
    SHOWN = 3,
    SCRIPT_MAX = 20 /* times a script is helped: each reads the names */
};

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The distance of optimal string alignment, three rows at a time. */
size_t
closest_distance(const char *a, const char *b, size_t limit)
{
    size_t rows[3][LENGTH_MAX + 1], i, j;
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t *before = rows[0], *last = rows[1], *row = rows[2], *spare;

    if (a_len > LENGTH_MAX || b_len > LENGTH_MAX
        || (a_len > b_len ? a_len - b_len : b_len - a_len) >= limit)
        return limit;
    for (j = 0; j <= b_len; j++)
        last[j] = j;
    for (i = 1; i <= a_len; i++) {
        row[0] = i;
        for (j = 1; j <= b_len; j++) {
            row[j] = smaller(smaller(last[j], row[j - 1]) + 1,
                             last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2]
                && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], before[j - 2] + 1);
        }
        spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return smaller(last[b_len], limit);
}

struct candidate {
    const char *name;
    size_t distance;
};

/* The closer one first, of equals in the order of names. */
static bool
is_better(const struct candidate *a, const struct candidate *b)
{
    return a->distance != b->distance ? a->distance < b->distance
                                      : strcmp(a->name, b->name) < 0;
}

/* The best few of the names. Returns how many. */
static size_t
find_closest(const PGresult *names, const char *text,
             struct candidate best_r[SHOWN])
{
    /* A third of the letters may be wrong, two at most. */
    size_t limit = smaller(strlen(text) / 3, 2) + 1, count = 0, j;
    int i;

    for (i = 0; i < PQntuples(names); i++) {
        const char *name = PQgetvalue(names, i, 0);
        struct candidate candidate = {name,
                                      closest_distance(text, name, limit)};

        if (candidate.distance == limit
            || (count == SHOWN && !is_better(&candidate, &best_r[SHOWN - 1])))
            continue;
        j = count < SHOWN ? count++ : SHOWN - 1;
        for (; j > 0 && is_better(&candidate, &best_r[j - 1]); j--)
            best_r[j] = best_r[j - 1];
        best_r[j] = candidate;
    }
    return count;
}

void
closest_say(struct session *session, enum store_kind kind, const char *text)
{
    struct candidate closest[SHOWN];
    PGresult *names;
    size_t count, i;

    if (session->lines && session->helped++ >= SCRIPT_MAX)
        return;
    if (store_similar(session->db, kind, text, &names) != STATUS_OK)
        return;
    count = find_closest(names, text, closest);
    for (i = 0; i < count; i++)
        session_append(session, "%s%s", i == 0 ? " (closest: " : ", ",
                       closest[i].name);
    if (count > 0)
        session_append(session, ")");
    PQclear(names);
}
