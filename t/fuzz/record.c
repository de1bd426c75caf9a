/* SPDX-License-Identifier: MIT */
/*
 * The rows of the database: record_new() takes exactly what the reference
 * takes, and finds in it what a linear search finds. A line each: secret, old
 * secret, end of the old one; then grants.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "t/fuzz/reference.h"
#include "lib/record.h"

static enum record_match
search(const struct reference_record *record,
       const struct reference_grant *wanted, int64_t now)
{
    enum record_match best = RECORD_NONE;
    size_t i;

    for (i = 0; i < record->count; i++) {
        const struct reference_grant *grant = &record->grants[i];

        if (grant->kind != wanted->kind
            || grant->text.len != wanted->text.len
            || memcmp(grant->text.text, wanted->text.text, wanted->text.len)
                   != 0)
            continue;
        if (!grant->ends || grant->until > now)
            return RECORD_GRANTED;
        best = RECORD_ENDED;
    }
    return best;
}

static enum record_kind
kind_of(char letter)
{
    return letter == 'a'   ? RECORD_ADDRESS
           : letter == 'd' ? RECORD_DOMAIN
                           : RECORD_SUBDOMAINS;
}

/* Each grant, at and around its end, and one byte shorter. */
static void
look_up(const struct record *record, const struct reference_record *rrecord)
{
    size_t i;

    for (i = 0; i < rrecord->count; i++) {
        struct reference_grant wanted = rrecord->grants[i];
        int64_t end = wanted.ends ? wanted.until : 0;
        int64_t times[3] = {end, end == INT64_MIN ? end : end - 1,
                            end == INT64_MAX ? end : end + 1};
        size_t t;

        for (t = 0; t < 3; t++)
            CHECK(record_find(record, kind_of(wanted.kind), wanted.text.text,
                              wanted.text.len, times[t])
                  == search(rrecord, &wanted, times[t]));
        wanted.text.len--;
        CHECK(record_find(record, kind_of(wanted.kind), wanted.text.text,
                          wanted.text.len, end)
              == search(rrecord, &wanted, end));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size};
    struct piece line[3] = {{NULL, 0}};
    struct reference_record rrecord = {.known = true};
    struct record_source source = {.id = 7, .partial = size % 2 == 1};
    struct record *record;
    const char *error = NULL;
    char *secret, *old_secret, *until;
    bool readable;
    size_t i;

    for (i = 0; i < 3 && fuzz_line(&input, &line[i]); i++)
        ;
    secret = piece_copy(&line[0]);
    old_secret = piece_copy(&line[1]);
    until = piece_copy(&line[2]);
    source.secret = line[0].len > 0 ? secret : NULL;
    source.old_secret = line[1].len > 0 ? old_secret : NULL;
    source.old_until = strtoll(until, NULL, 10);
    source.grants = input.len > 0 ? input.text : NULL;
    source.grants_len = input.len;
    readable = reference_read_grants(input, &rrecord);
    record = record_new(&source, &error);
    CHECK((record == NULL) == (error != NULL));
    CHECK(rrecord.count == REFERENCE_GRANTS || readable == (record != NULL));
    if (record != NULL) {
        CHECK(record_id(record) == 7);
        CHECK(record_partial(record) == source.partial);
        CHECK(record_size(record) >= strlen(secret) + strlen(old_secret));
        CHECK(source.secret == NULL
                  ? record_secret(record) == NULL
                  : strcmp(record_secret(record), secret) == 0);
        CHECK((record_old_secret(record, source.old_until) == NULL));
        if (source.old_until > INT64_MIN && source.old_secret != NULL)
            CHECK(strcmp(record_old_secret(record, source.old_until - 1),
                         old_secret)
                  == 0);
        if (readable)
            look_up(record, &rrecord);
    }
    record_free(&record);
    CHECK(record == NULL);
    free(secret);
    free(old_secret);
    free(until);
    return 0;
}
