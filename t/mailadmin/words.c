/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/logline.h"
#include "mailadmin/moment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_moments(void **state)
{
    static const char *const bad[] = {
        "", "2026", "2026-1-01", "2026-02-29", "2026-00-01", "2026-01-00",
        "2026-01-01T", "2026-01-01T24:00", "2026-01-01T10:60",
        "2026-01-01 10:00", "2026-01-01T10:00:00+01", "1969-12-31",
        "2026-01-01x"};
    char text[MOMENT_SIZE];
    int64_t second;
    size_t i;

    (void) state;
    assert_true(moment_parse("1970-01-02", &second));
    assert_int_equal(second, 86400);
    assert_true(moment_parse("2024-02-29T10:30Z", &second));
    moment_format(second, text);
    assert_string_equal(text, "2024-02-29T10:30:00Z");
    assert_true(moment_parse("9999-12-31T23:59:59", &second));
    moment_format(second, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(moment_parse(bad[i], &second));
}

static void
test_past(void **state)
{
    static const struct {
        const char *text;
        int64_t micros;
    } good[] = {
        {"1970-01-02", 86400000000},
        {"1970-01-02 00:01", 86460000000},
        {"1970-01-02T00:00:01.5", 86401500000},
        {"1970-01-02 00:00:01.000001Z", 86401000001},
        {"1d", 13600000000},
        {"1s", 99999000000},
    };
    static const char *const bad[] = {
        "", "2026-01-01x10:00", "1970-01-02 00:01.5", "1970-01-02 00:00:01.",
        "1970-01-02 00:00:01.1234567", "1970-01-02.5", "2d", "0s", "-1d",
        "1970-01-02  00:01", "now", "1970-01-02 00:00:01.5ZZ",
        "1970-01-02T00:00:01.5Z and much more than that"};
    char text[MOMENT_SIZE];
    int64_t micros;
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(moment_parse_past(good[i].text, 100000, &micros));
        assert_int_equal(micros, good[i].micros);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(moment_parse_past(bad[i], 100000, &micros));
    moment_format_exact(86401000001, text);
    assert_string_equal(text, "1970-01-02T00:00:01.000001Z");
    assert_true(moment_parse_past(text, 0, &micros));
    assert_int_equal(micros, 86401000001);
}

static void
test_spans(void **state)
{
    static const char *const bad[] = {"", "h", "24", "0h", "-1h", "1y", "1.5h",
                                      "24hh", "99999999999h", "367d"};
    int64_t seconds;
    size_t i;

    (void) state;
    assert_true(moment_parse_span("24h", &seconds));
    assert_int_equal(seconds, 86400);
    assert_true(moment_parse_span("2w", &seconds));
    assert_int_equal(seconds, 14 * 86400);
    assert_true(moment_parse_span("1s", &seconds));
    assert_int_equal(seconds, 1);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(moment_parse_span(bad[i], &seconds));
}

static void
test_lines(void **state)
{
    struct logline line;

    (void) state;
    assert_true(logline_parse("x policy: reject: user=u sender=a=b@c.d "
                              "recipient=r client=1.2.3.4 queue_id= "
                              "reason=not-granted us=1 ref=ABCDEF", &line));
    assert_string_equal(line.user, "u");
    assert_string_equal(line.sender, "a=b@c.d");
    assert_string_equal(line.verdict, "reject: not-granted");
    assert_string_equal(line.ref, "ABCDEF");
    assert_false(line.login);
    assert_true(logline_parse("policy: reject: user=u sender= reason=null",
                              &line));
    assert_true(line.has_sender);
    assert_string_equal(line.sender, "");
    assert_true(logline_parse("553 5.7.1 <>: Sender address rejected: null "
                              "sender not granted to user u; from=<>",
                              &line));
    assert_string_equal(line.user, "u");
    assert_string_equal(line.sender, "");
    assert_true(logline_parse("<a@b>: Sender address rejected: user v may "
                              "not send", &line));
    assert_string_equal(line.user, "v");
    assert_true(logline_parse("<a@b>: Sender address rejected: permission "
                              "lookup failed, try again later; from=<a@b> "
                              "sasl_username=<w>", &line));
    assert_string_equal(line.user, "w");
    assert_false(logline_parse("", &line));
    assert_false(logline_parse("policy: ", &line));
    assert_false(logline_parse("auth: user=", &line));
    assert_false(logline_parse(">: Sender address rejected: ", &line));
    assert_false(logline_parse("connect from unknown", &line));
}

static void
test_long_values(void **state)
{
    static char text[20000];
    struct logline line;

    (void) state;
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "policy: reject: user=", 21);
    assert_false(logline_parse(text, &line));
    memcpy(text + 10000, " sender=", 8);
    memcpy(text + 15000, " reason=", 8);
    assert_true(logline_parse(text, &line));
    assert_int_equal(strlen(line.user), LOGLINE_VALUE - 1);
    memcpy(text, "<", 1);
    memcpy(text + 12000, ">: Sender address rejected: user ", 33);
    assert_true(logline_parse(text, &line));
    assert_int_equal(strlen(line.sender), LOGLINE_VALUE - 1);
}

static void
test_references(void **state)
{
    char ref[LOGLINE_REF];

    (void) state;
    assert_true(logline_is_ref("k7q3m9", ref));
    assert_string_equal(ref, "K7Q3M9");
    assert_false(logline_is_ref("K7Q3M", ref));
    assert_false(logline_is_ref("K7Q3MI", ref));
    assert_false(logline_is_ref("K7Q3M91", ref));
    assert_true(logline_has_ref("x (ref K7Q3M9) y", "K7Q3M9"));
    assert_true(logline_has_ref("x ref=K7Q3M9", "K7Q3M9"));
    assert_false(logline_has_ref("x ref=K7Q3M", "K7Q3M9"));
    assert_false(logline_has_ref("K7Q3M9", "K7Q3M9"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_past),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_references),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
