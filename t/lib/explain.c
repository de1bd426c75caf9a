/* SPDX-License-Identifier: MIT */
/* Each explanation agrees with what decide() said of the same record. */
#include "config.h"

#include "lib/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1000

static const char grants[] = "a - one@a.com\n"
                             "a 999 old@a.com\n"
                             "a 1001 soon@a.com\n"
                             "d - b.com\n"
                             "s 2000 c.com\n"
                             "d 500 o.com\n"
                             "s 500 p.com";

static struct explain
explained(bool enabled, const char *delimiter, const char *sender)
{
    struct record_source source = {.id = 1, .enabled = enabled,
                                   .grants = grants,
                                   .grants_len = sizeof(grants) - 1};
    struct decide_options options = {.recipient_delimiter = delimiter};
    struct decide_request request = {
        .protocol_state = {"RCPT", 4},
        .sasl_username = {"u", 1},
        .sasl_method = {"PLAIN", 5},
        .sender = {sender, strlen(sender)},
    };
    struct decide_facts facts = {.state = DECIDE_USER_RECORD};
    struct decide_verdict verdict;
    struct explain result;
    struct record *record;
    const char *error;

    record = record_new(&source, &error);
    assert_non_null(record);
    facts.record = record;
    decide(&options, &request, &facts, NOW, &verdict);
    explain(&verdict, record, NOW, &result);
    /* A grant is named as what permits if and only if it does. */
    assert_int_equal(result.kind == EXPLAIN_GRANT,
                     verdict.action == DECIDE_PERMIT);
    record_free(&record);
    return result;
}

static void
assert_explained(const char *sender, enum explain_kind kind,
                 enum record_kind grant_kind, const char *grant, int64_t end)
{
    struct explain result = explained(true, "", sender);

    assert_int_equal(result.kind, kind);
    assert_string_equal(result.grant, grant);
    if (grant[0] != '\0') {
        assert_int_equal(result.grant_kind, grant_kind);
        assert_int_equal(result.end, end);
    }
}

static void
test_permitted(void **state)
{
    (void) state;
    assert_explained("one@a.com", EXPLAIN_GRANT, RECORD_ADDRESS, "one@a.com",
                     INT64_MAX);
    assert_explained("SOON@A.com.", EXPLAIN_GRANT, RECORD_ADDRESS,
                     "soon@a.com", 1001);
    assert_explained("x@b.com", EXPLAIN_GRANT, RECORD_DOMAIN, "b.com",
                     INT64_MAX);
    assert_explained("x@c.com", EXPLAIN_GRANT, RECORD_SUBDOMAINS, "c.com",
                     2000);
    assert_explained("x@y.z.c.com", EXPLAIN_GRANT, RECORD_SUBDOMAINS, "c.com",
                     2000);
}

static void
test_refused(void **state)
{
    (void) state;
    assert_explained("other@a.com", EXPLAIN_NOTHING, RECORD_ADDRESS, "", 0);
    assert_explained("old@a.com", EXPLAIN_ENDED, RECORD_ADDRESS, "old@a.com",
                     999);
    assert_explained("x@o.com", EXPLAIN_ENDED, RECORD_DOMAIN, "o.com", 500);
    assert_explained("x@y.p.com", EXPLAIN_ENDED, RECORD_SUBDOMAINS, "p.com",
                     500);
    assert_explained("x@y.b.com", EXPLAIN_SUBDOMAIN, RECORD_DOMAIN, "b.com",
                     INT64_MAX);
    assert_explained("x%y@b.com", EXPLAIN_LOCAL_PART, RECORD_DOMAIN, "b.com",
                     INT64_MAX);
    assert_explained("x@y>.c.com", EXPLAIN_LABEL, RECORD_SUBDOMAINS, "c.com",
                     2000);
    assert_explained("one+x@a.com", EXPLAIN_EXTENSION, RECORD_ADDRESS,
                     "one@a.com", INT64_MAX);
    assert_explained("", EXPLAIN_OPTION, RECORD_ADDRESS, "", 0);
    assert_explained("nothing", EXPLAIN_MALFORMED, RECORD_ADDRESS, "", 0);
}

static void
test_state(void **state)
{
    (void) state;
    assert_int_equal(explained(false, "", "one@a.com").kind,
                     EXPLAIN_DISABLED);
    assert_int_equal(explained(true, "+", "one+x@a.com").kind,
                     EXPLAIN_GRANT);
    assert_string_equal(explained(true, "+", "one+x@a.com").grant,
                        "one@a.com");
    assert_int_equal(explained(true, "+", "old+x@a.com").kind,
                     EXPLAIN_ENDED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permitted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_state),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
