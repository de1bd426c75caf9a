/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "policyd/histogram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *
printed(const struct histogram *histogram)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    histogram_print(histogram, "x", out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void
assert_line(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    if (at == NULL || at[strlen(line)] != '\n')
        fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void
test_empty(void **state)
{
    struct histogram histogram = {0};
    char *text = printed(&histogram);

    (void) state;
    assert_line(text, "x_bucket{le=\"5e-06\"} 0");
    assert_line(text, "x_bucket{le=\"+Inf\"} 0");
    assert_line(text, "x_sum 0.000000000");
    assert_line(text, "x_count 0");
    free(text);
}

/* A bucket has its upper end, and all that is below it. */
static void
test_ends(void **state)
{
    struct histogram histogram = {0};
    char *text;

    (void) state;
    histogram_add(&histogram, 0);
    histogram_add(&histogram, 5000);
    histogram_add(&histogram, 5001);
    histogram_add(&histogram, UINT64_C(2500000000));
    histogram_add(&histogram, UINT64_C(2500000001));
    text = printed(&histogram);
    assert_line(text, "x_bucket{le=\"5e-06\"} 2");
    assert_line(text, "x_bucket{le=\"1e-05\"} 3");
    assert_line(text, "x_bucket{le=\"1\"} 3");
    assert_line(text, "x_bucket{le=\"2.5\"} 4");
    assert_line(text, "x_bucket{le=\"+Inf\"} 5");
    assert_line(text, "x_sum 5.000010002");
    assert_line(text, "x_count 5");
    free(text);
}

/* Each label is the end in seconds, in growing order, and counts grow. */
static void
test_labels(void **state)
{
    struct histogram histogram = {0};
    double last = 0, end;
    unsigned int buckets = 0;
    char *text, *line, *rest;

    (void) state;
    text = printed(&histogram);
    for (line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "x_bucket{le=\"", 13) != 0 || line[13] == '+')
            continue;
        end = strtod(line + 13, NULL);
        assert_true(end > last);
        histogram_add(&histogram, (uint64_t) (end * 1e9 + 0.5));
        buckets++;
        assert_int_equal(histogram.count[buckets - 1], 1);
        last = end;
    }
    assert_int_equal(buckets, HISTOGRAM_BUCKETS);
    assert_int_equal(histogram.count[HISTOGRAM_BUCKETS], 0);
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_empty),
    cmocka_unit_test(test_ends),
    cmocka_unit_test(test_labels),
};

UNIT_MAIN(tests)
