/* SPDX-License-Identifier: MIT */
/*
 * One allocation: the struct, its grants sorted for binary search, and the
 * text they and the secrets point into. A daemon holds a million of these, so
 * offsets are 32 bits and most users' end times are not stored at all.
 */
#include "config.h"

#include "lib/record.h"
#include "lib/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64
#define PREFETCHED (4 * CACHE_LINE)

struct grant {
    uint32_t offset; /* of its text in the record */
    uint16_t len;
    uint8_t kind;
    uint8_t ends; /* its end time stands, unaligned, before its text */
};

struct record {
    int64_t id;
    int64_t old_until;
    uint32_t size;       /* of the whole allocation */
    uint32_t grants;     /* number */
    uint32_t secret;     /* offset, 0: none */
    uint32_t old_secret; /* offset, 0: none */
    bool enabled;
    bool partial;
    struct grant grant[];
};

/* A line of the source, cut into its parts. */
struct line {
    enum record_kind kind;
    bool ends;
    int64_t until;
    const char *text;
    size_t len;
};

static const char *
text_at(const struct record *record, uint32_t offset)
{
    return (const char *) record + offset;
}

/* Reads the second at which a grant ends: digits, after a '-' if before 1970.
 * strtoll(3) alone would take blanks, a '+', and a NUL for the end. */
static bool
parse_until(const char *text, size_t len, int64_t *until_r)
{
    char number[24];
    size_t sign = text[0] == '-' ? 1 : 0;

    if (len == sign || len >= sizeof(number))
        return false;
    memcpy(number, text, len);
    number[len] = '\0';
    if (strspn(number + sign, "0123456789") != len - sign)
        return false;
    errno = 0;
    *until_r = strtoll(number, NULL, 10);
    return errno == 0;
}

/* Reads one line that is line_len bytes long. */
static bool
parse_line(const char *start, size_t line_len, struct line *line_r)
{
    const char *end = start + line_len, *space;
    size_t len;

    if (line_len < 5 || start[1] != ' ')
        return false;
    switch (start[0]) {
    case 'a':
        line_r->kind = RECORD_ADDRESS;
        break;
    case 'd':
        line_r->kind = RECORD_DOMAIN;
        break;
    case 's':
        line_r->kind = RECORD_SUBDOMAINS;
        break;
    default:
        return false;
    }
    start += 2;
    space = memchr(start, ' ', (size_t) (end - start));
    if (space == NULL || space == start || space + 1 == end
        || end - space - 1 > UINT16_MAX)
        return false;
    len = (size_t) (space - start);
    line_r->ends = !(len == 1 && start[0] == '-');
    if (line_r->ends && !parse_until(start, len, &line_r->until))
        return false;
    line_r->text = space + 1;
    line_r->len = (size_t) (end - space - 1);
    return true;
}

/* Calls back for each line; false when one is not in the form. */
static bool
each_line(const struct record_source *source,
          void (*fn)(const struct line *, void *), void *context)
{
    const char *at = source->grants ? source->grants : "";
    const char *end = at + source->grants_len;
    struct line line;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t) (end - at));
        size_t len = newline ? (size_t) (newline - at) : (size_t) (end - at);

        if (!parse_line(at, len, &line))
            return false;
        fn(&line, context);
        at += len + 1;
    }
    return true;
}

struct tally {
    size_t grants, text;
};

static void
count_line(const struct line *line, void *context)
{
    struct tally *tally = context;

    tally->grants++;
    tally->text += line->len + (line->ends ? sizeof(line->until) : 0);
}

/* Where the next bytes of text go. */
struct filler {
    struct record *record;
    uint32_t grants;
    uint32_t end;
};

static void
append(struct filler *filler, const void *bytes, size_t len)
{
    memcpy((char *) filler->record + filler->end, bytes, len);
    filler->end += (uint32_t) len;
}

static void
fill_line(const struct line *line, void *context)
{
    struct filler *filler = context;
    struct grant *grant = &filler->record->grant[filler->grants++];

    if (line->ends)
        append(filler, &line->until, sizeof(line->until));
    grant->offset = filler->end;
    grant->len = (uint16_t) line->len;
    grant->kind = (uint8_t) line->kind;
    grant->ends = line->ends;
    append(filler, line->text, line->len);
}

static uint32_t
append_string(struct filler *filler, const char *text)
{
    uint32_t offset = filler->end;

    if (text == NULL)
        return 0;
    append(filler, text, strlen(text) + 1);
    return offset;
}

static int
compare(enum record_kind kind, const char *text, size_t len,
        const struct record *record, const struct grant *grant)
{
    if (kind != grant->kind)
        return kind < grant->kind ? -1 : 1;
    if (len != grant->len)
        return len < grant->len ? -1 : 1;
    return memcmp(text, text_at(record, grant->offset), len);
}

/* INT64_MAX for a grant that does not end. */
static int64_t
until(const struct record *record, const struct grant *grant)
{
    int64_t end = INT64_MAX;

    if (grant->ends)
        memcpy(&end, text_at(record, grant->offset - sizeof(end)),
               sizeof(end));
    return end;
}

/* Of the same grant given twice the one that lasts longest comes first. */
static int
compare_grants(const void *a, const void *b, void *context)
{
    const struct record *record = context;
    const struct grant *left = a, *right = b;
    int order = compare(left->kind, text_at(record, left->offset), left->len,
                        record, b);
    int64_t left_until, right_until;

    if (order != 0)
        return order;
    left_until = until(record, a);
    right_until = until(record, b);
    if (left_until != right_until)
        return left_until > right_until ? -1 : 1;
    return left->ends - right->ends;
}

struct record *
record_new(const struct record_source *source, const char **error_r)
{
    struct tally tally = {0, 0};
    struct filler filler = {0};
    struct record *record;
    size_t size;

    *error_r = "grants are not in the form expected";
    if (!each_line(source, count_line, &tally))
        return NULL;
    size = sizeof(*record) + tally.grants * sizeof(struct grant) + tally.text
           + (source->secret ? strlen(source->secret) + 1 : 0)
           + (source->old_secret ? strlen(source->old_secret) + 1 : 0);
    *error_r = "record too large";
    if (size > UINT32_MAX)
        return NULL;
    *error_r = "out of memory";
    record = calloc(1, size);
    if (record == NULL)
        return NULL;
    *error_r = NULL;
    record->id = source->id;
    record->enabled = source->enabled;
    record->partial = source->partial;
    record->old_until = source->old_until;
    record->size = (uint32_t) size;
    record->grants = (uint32_t) tally.grants;
    filler.record = record;
    filler.end = (uint32_t) (sizeof(*record)
                             + tally.grants * sizeof(struct grant));
    each_line(source, fill_line, &filler);
    record->secret = append_string(&filler, source->secret);
    record->old_secret = append_string(&filler, source->old_secret);
    qsort_r(record->grant, record->grants, sizeof(struct grant),
            compare_grants, record);
    return record;
}

void
record_free(struct record **record)
{
    if (*record == NULL)
        return;
    secret_wipe(*record, (*record)->size);
    free(*record);
    *record = NULL;
}

size_t
record_size(const struct record *record)
{
    return record->size;
}

/* The size is not known yet: as much as a handful of grants takes. */
void
record_prefetch(const struct record *record)
{
    size_t i;

    for (i = 0; i < PREFETCHED; i += CACHE_LINE)
        __builtin_prefetch(text_at(record, (uint32_t) i));
}

int64_t
record_id(const struct record *record)
{
    return record->id;
}

bool
record_enabled(const struct record *record)
{
    return record->enabled;
}

bool
record_partial(const struct record *record)
{
    return record->partial;
}

size_t
record_grants(const struct record *record)
{
    return record->grants;
}

const char *
record_secret(const struct record *record)
{
    return record->secret == 0 ? NULL : text_at(record, record->secret);
}

const char *
record_old_secret(const struct record *record, int64_t now)
{
    if (record->old_secret == 0 || now >= record->old_until)
        return NULL;
    return text_at(record, record->old_secret);
}

/* NULL when there is none; else the longest lasting. */
static const struct grant *
find(const struct record *record, enum record_kind kind, const char *text,
     size_t len)
{
    size_t low = 0, high = record->grants;

    /* The first that is not less: the longest lasting of equals. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(kind, text, len, record, &record->grant[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == record->grants
        || compare(kind, text, len, record, &record->grant[low]) != 0)
        return NULL;
    return &record->grant[low];
}

enum record_match
record_find(const struct record *record, enum record_kind kind,
            const char *text, size_t len, int64_t now)
{
    const struct grant *grant = find(record, kind, text, len);

    if (grant == NULL)
        return RECORD_NONE;
    return !grant->ends || now < until(record, grant) ? RECORD_GRANTED
                                                      : RECORD_ENDED;
}

bool
record_find_end(const struct record *record, enum record_kind kind,
                const char *text, size_t len, int64_t *end_r)
{
    const struct grant *grant = find(record, kind, text, len);

    if (grant != NULL)
        *end_r = until(record, grant);
    return grant != NULL;
}
