/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1000

static struct record *
make_len(const char *grants, size_t len)
{
    struct record_source source = {.id = 7, .enabled = true, .secret = "s",
                                   .grants = grants, .grants_len = len};
    const char *error = "unset";
    struct record *record = record_new(&source, &error);

    if (record != NULL)
        assert_null(error);
    else
        assert_non_null(error);
    return record;
}

static struct record *
make(const char *grants)
{
    return make_len(grants, strlen(grants));
}

static enum record_match
find(const struct record *record, enum record_kind kind, const char *text)
{
    return record_find(record, kind, text, strlen(text), NOW);
}

static void
test_kinds_apart(void **state)
{
    struct record *record = make("a - u@x.example\nd - d.example\n"
                                 "s - s.example\n");

    (void) state;
    assert_non_null(record);
    assert_int_equal(record_grants(record), 3);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@x.example"),
                     RECORD_GRANTED);
    assert_int_equal(find(record, RECORD_DOMAIN, "d.example"),
                     RECORD_GRANTED);
    assert_int_equal(find(record, RECORD_SUBDOMAINS, "s.example"),
                     RECORD_GRANTED);
    assert_int_equal(find(record, RECORD_DOMAIN, "s.example"), RECORD_NONE);
    assert_int_equal(find(record, RECORD_SUBDOMAINS, "d.example"),
                     RECORD_NONE);
    assert_int_equal(find(record, RECORD_DOMAIN, "u@x.example"), RECORD_NONE);
    assert_int_equal(find(record, RECORD_ADDRESS, "d.example"), RECORD_NONE);
    /* Neither a beginning nor an end of a grant is the grant. */
    assert_int_equal(find(record, RECORD_DOMAIN, ".example"), RECORD_NONE);
    assert_int_equal(find(record, RECORD_DOMAIN, "d.exampl"), RECORD_NONE);
    assert_int_equal(find(record, RECORD_DOMAIN, "d.example2"), RECORD_NONE);
    assert_int_equal(find(record, RECORD_DOMAIN, ""), RECORD_NONE);
    assert_int_equal(find(record, RECORD_DOMAIN, "D.example"), RECORD_NONE);
    record_free(&record);
    assert_null(record);
    record_free(&record);
}

static void
test_ends(void **state)
{
    struct record *record = make("a 999 u@past\na 1000 u@now\n"
                                 "a 1001 u@next\na 9999999999 u@far\n"
                                 "a 0 u@zero\na -5 u@before\na - u@never");

    (void) state;
    assert_non_null(record);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@past"), RECORD_ENDED);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@now"), RECORD_ENDED);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@next"), RECORD_GRANTED);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@far"), RECORD_GRANTED);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@zero"), RECORD_ENDED);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@before"), RECORD_ENDED);
    assert_int_equal(find(record, RECORD_ADDRESS, "u@never"), RECORD_GRANTED);
    assert_int_equal(record_find(record, RECORD_ADDRESS, "u@far", 5,
                                 9999999999),
                     RECORD_ENDED);
    record_free(&record);
}

/* The same grant twice: what lasts longest counts, in whatever order. */
static void
test_twice(void **state)
{
    static const char *const orders[] = {
        "a 5 u@x\na - u@x\nd 7 x\nd 2000 x\nd 8 x\n",
        "d 2000 x\na - u@x\nd 8 x\nd 7 x\na 5 u@x\n",
        "a 1 u@x\na 2 u@x\na 3 u@x\na 1001 u@x\nd 1001 x\nd 1000 x\n",
        "a 1001 u@x\na 3 u@x\na 2 u@x\na 1 u@x\nd 1000 x\nd 1001 x\n",
    };
    struct record *record;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(orders); i++) {
        record = make(orders[i]);
        assert_non_null(record);
        assert_int_equal(find(record, RECORD_ADDRESS, "u@x"), RECORD_GRANTED);
        assert_int_equal(find(record, RECORD_DOMAIN, "x"), RECORD_GRANTED);
        record_free(&record);
    }
}

static void
test_malformed(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
#define CASE(text) {text, sizeof(text) - 1}
        CASE("\n"), CASE("x - a\n"), CASE("A - u@x\n"), CASE("a u@x\n"),
        CASE("a -\n"), CASE("a - \n"), CASE("a  u@x\n"), CASE("a-u@x\n"),
        CASE("a-  u@x\n"), CASE("a 1x u@x\n"), CASE("a x u@x\n"),
        CASE("a -- u@x\n"), CASE("a 99999999999999999999 u@x\n"),
        CASE("a 1234567890123456789012345 u@x\n"), CASE("a - u@x\n\n"),
        CASE("a - u@x\nz"), CASE("\na - u@x\n"), CASE("a 1.5 u@x\n"),
        CASE("a\t-\tu@x\n"), CASE("a \t5 u@x\n"), CASE("a +5 u@x\n"),
        CASE("a 5\0 u@x\n"), CASE("a 0x10 u@x\n"), CASE("d - \n"),
#undef CASE
    };
    char *longest;
    struct record *record;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++)
        if (make_len(cases[i].text, cases[i].len) != NULL)
            fail_msg("case %zu, \"%s\", is taken", i, cases[i].text);
    /* Its length would not fit. */
    longest = malloc(4 + UINT16_MAX + 1);
    assert_non_null(longest);
    memset(longest, 'x', 4 + UINT16_MAX + 1);
    memcpy(longest, "a - ", 4);
    assert_null(make_len(longest, 4 + UINT16_MAX + 1));
    record = make_len(longest, 4 + UINT16_MAX);
    assert_non_null(record);
    assert_int_equal(record_find(record, RECORD_ADDRESS, longest + 4,
                                 UINT16_MAX, NOW),
                     RECORD_GRANTED);
    record_free(&record);
    free(longest);
}

static void
test_fields(void **state)
{
    struct record_source source = {.id = INT64_MAX, .secret = "new",
                                   .old_secret = "old", .old_until = 500,
                                   .partial = true};
    const char *error;
    struct record *record = record_new(&source, &error);

    (void) state;
    assert_non_null(record);
    assert_true(record_id(record) == INT64_MAX);
    assert_false(record_enabled(record));
    assert_true(record_partial(record));
    assert_int_equal(record_grants(record), 0);
    assert_string_equal(record_secret(record), "new");
    assert_string_equal(record_old_secret(record, 499), "old");
    assert_null(record_old_secret(record, 500));
    assert_null(record_old_secret(record, 501));
    assert_int_equal(find(record, RECORD_ADDRESS, "u@x"), RECORD_NONE);
    record_free(&record);
    source = (struct record_source) {.id = 1, .enabled = true, .grants = ""};
    record = record_new(&source, &error);
    assert_non_null(record);
    assert_true(record_enabled(record));
    assert_false(record_partial(record));
    assert_null(record_secret(record));
    assert_null(record_old_secret(record, 0));
    record_free(&record);
}

/* The record keeps nothing of its source. */
static void
test_owns_its_text(void **state)
{
    char grants[] = "a - u@x\n", secret[] = "secret";
    struct record_source source = {.secret = secret, .grants = grants,
                                   .grants_len = sizeof(grants) - 1};
    const char *error;
    struct record *record = record_new(&source, &error);

    (void) state;
    assert_non_null(record);
    memset(grants, '#', sizeof(grants));
    memset(secret, '#', sizeof(secret));
    assert_string_equal(record_secret(record), "secret");
    assert_int_equal(find(record, RECORD_ADDRESS, "u@x"), RECORD_GRANTED);
    assert_true(record_size(record) < 256);
    record_free(&record);
}

/* 100,000 grants in an order that is none: each is found, no other is. */
static void
test_many(void **state)
{
    enum { MANY = 100000, STEP = 60013 }; /* prime to each other */
    char *grants = malloc(MANY * 32), text[32];
    struct record *record;
    size_t len = 0, i;

    (void) state;
    assert_non_null(grants);
    for (i = 0; i < MANY; i++) {
        unsigned long n = (i * STEP) % MANY;

        len += (size_t) sprintf(grants + len, "%c %s n%lu.example\n",
                                "ads"[n % 3], n % 5 == 0 ? "10" : "-", n);
    }
    record = make_len(grants, len);
    assert_non_null(record);
    assert_int_equal(record_grants(record), MANY);
    for (i = 0; i < MANY; i++) {
        sprintf(text, "n%zu.example", i);
        assert_int_equal(find(record, (enum record_kind)(i % 3), text),
                         i % 5 == 0 ? RECORD_ENDED : RECORD_GRANTED);
        assert_int_equal(find(record, (enum record_kind)((i + 1) % 3), text),
                         RECORD_NONE);
    }
    assert_int_equal(find(record, RECORD_ADDRESS, "n100000.example"),
                     RECORD_NONE);
    record_free(&record);
    free(grants);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_kinds_apart),
    cmocka_unit_test(test_ends),
    cmocka_unit_test(test_twice),
    cmocka_unit_test(test_malformed),
    cmocka_unit_test(test_fields),
    cmocka_unit_test(test_owns_its_text),
    cmocka_unit_test(test_many),
};

UNIT_MAIN(tests)
