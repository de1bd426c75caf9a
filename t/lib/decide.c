/* SPDX-License-Identifier: MIT */
/*
 * Each row of the decision's table, alone and against the rows behind it.
 * t/decide-differential.t tries the combinations.
 */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/decide.h"
#include "lib/record.h"

#include <stdio.h>
#include <string.h>

#define NOW 1000

/* A question in the words of the wire, and what decides it. */
struct question {
    const char *state, *user, *method, *sender;
    enum decide_facts_state facts;
    bool disabled, stale, reject_unauthenticated, permit_null_sender, observe;
    const char *delimiter, *grants;
};

static struct decide_text
text(const char *string)
{
    struct decide_text made = {string, string ? strlen(string) : 0};

    return made;
}

/* Decides; the reply is checked for what every reply must be. */
static struct decide_verdict
ask(const struct question *question, char reply_r[static DECIDE_REPLY_MAX])
{
    const char *grants = question->grants ? question->grants : "";
    struct record_source source = {.enabled = !question->disabled,
                                   .grants = grants,
                                   .grants_len = strlen(grants)};
    struct decide_options options = {question->reject_unauthenticated,
                                     question->permit_null_sender,
                                     question->delimiter ? question->delimiter
                                                         : "",
                                     question->observe};
    struct decide_request request = {text(question->state),
                                     text(question->user),
                                     text(question->method),
                                     text(question->sender)};
    struct decide_facts facts = {question->facts, NULL, question->stale};
    struct decide_verdict verdict;
    struct record *record = NULL;
    const char *error;
    size_t i, len;

    if (question->facts == DECIDE_USER_RECORD) {
        record = record_new(&source, &error);
        assert_non_null(record);
        facts.record = record;
    }
    memset(&verdict, 0xa5, sizeof(verdict));
    memset(reply_r, 0xa5, DECIDE_REPLY_MAX);
    decide(&options, &request, &facts, NOW, &verdict);
    decide_reply(&verdict, &request.sasl_username, reply_r);
    record_free(&record);
    len = strnlen(reply_r, DECIDE_REPLY_MAX);
    assert_true(len < DECIDE_REPLY_MAX);
    for (i = 0; i < len; i++)
        assert_true(reply_r[i] >= 0x20 && reply_r[i] <= 0x7e);
    if (verdict.action == DECIDE_PERMIT || verdict.action == DECIDE_OBSERVE)
        assert_string_equal(reply_r, "DUNNO");
    else if (verdict.action == DECIDE_REJECT)
        assert_int_equal(strncmp(reply_r, "553 5.7.1 ", 10), 0);
    else
        assert_string_equal(reply_r, "451 4.3.0 permission lookup failed, "
                                     "try again later");
    return verdict;
}

static void
expect(struct question question, enum decide_action action,
       enum decide_reason reason, const char *reply)
{
    char got[DECIDE_REPLY_MAX];
    struct decide_verdict verdict = ask(&question, got);

    if (verdict.action != action || verdict.reason != reason
        || (reply != NULL && strcmp(reply, got) != 0))
        fail_msg("state=%s user=%s sender=%s: %s %s \"%s\"", question.state,
                 question.user, question.sender,
                 decide_action_name(verdict.action),
                 decide_reason_name(verdict.reason), got);
}

/* A question with the usual parts; others are put in their place. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define ASK(sender_, ...)                                                     \
    (struct question)                                                         \
    {                                                                         \
        .state = "RCPT", .user = "test1", .method = "PLAIN",                  \
        .sender = sender_, .facts = DECIDE_USER_RECORD, __VA_ARGS__           \
    }

static void
test_no_sender_yet(void **state)
{
    static const char *const early[] = {"CONNECT", "HELO", "EHLO", "VRFY",
                                        "ETRN", "ehlo"};
    static const char *const late[] = {"MAIL", "RCPT", "DATA",
                                       "END-OF-MESSAGE", "", "HEL", "HELOO",
                                       "BDAT", NULL};
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(early); i++) {
        expect(ASK("", .state = early[i], .user = "",
                   .reject_unauthenticated = true),
               DECIDE_PERMIT, DECIDE_NO_SENDER_YET, "DUNNO");
        expect(ASK("", .state = early[i], .facts = DECIDE_CANNOT_ASK),
               DECIDE_PERMIT, DECIDE_NO_SENDER_YET, "DUNNO");
        /* With a sender the state makes no difference. */
        expect(ASK("u@x", .state = early[i]), DECIDE_REJECT,
               DECIDE_NOT_GRANTED, NULL);
    }
    for (i = 0; i < UNIT_COUNT(late); i++)
        expect(ASK("", .state = late[i]), DECIDE_REJECT, DECIDE_NULL_SENDER,
               "553 5.7.1 null sender not granted to user test1");
}

static void
test_unauthenticated(void **state)
{
    (void) state;
    expect(ASK("u@x", .user = ""), DECIDE_PERMIT, DECIDE_UNAUTHENTICATED,
           "DUNNO");
    expect(ASK("u@x", .user = NULL, .facts = DECIDE_CANNOT_ASK),
           DECIDE_PERMIT, DECIDE_UNAUTHENTICATED, "DUNNO");
    expect(ASK("u@x", .user = "", .reject_unauthenticated = true),
           DECIDE_REJECT, DECIDE_UNAUTHENTICATED,
           "553 5.7.1 authentication required");
    expect(ASK("u@x", .user = "anonymous", .method = "ANONYMOUS",
               .reject_unauthenticated = true),
           DECIDE_REJECT, DECIDE_UNAUTHENTICATED, NULL);
    expect(ASK("u@x", .user = "test1", .method = "anonymous",
               .reject_unauthenticated = true),
           DECIDE_REJECT, DECIDE_UNAUTHENTICATED, NULL);
    expect(ASK("", .user = "", .reject_unauthenticated = true),
           DECIDE_REJECT, DECIDE_UNAUTHENTICATED, NULL);
    /* A name without a method is a login all the same. */
    expect(ASK("u@x", .method = ""), DECIDE_REJECT, DECIDE_NOT_GRANTED, NULL);
}

static void
test_unavailable(void **state)
{
    static const char *const senders[] = {"u@x", "", "malformed", "@", NULL};
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(senders); i++) {
        expect(ASK(senders[i], .facts = DECIDE_CANNOT_ASK,
                   .permit_null_sender = true),
               DECIDE_DEFER, DECIDE_UNAVAILABLE, NULL);
        expect(ASK(senders[i], .facts = (enum decide_facts_state) 99,
                   .permit_null_sender = true),
               DECIDE_DEFER, DECIDE_UNAVAILABLE, NULL);
        expect(ASK(senders[i], .facts = DECIDE_NOT_ASKED), DECIDE_ASK,
               DECIDE_NO_REASON, NULL);
    }
}

static void
test_unknown_or_disabled(void **state)
{
    static const char *const senders[] = {"u@x", "", "malformed"};
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(senders); i++) {
        expect(ASK(senders[i], .facts = DECIDE_USER_UNKNOWN,
                   .permit_null_sender = true),
               DECIDE_REJECT, DECIDE_UNKNOWN_USER,
               "553 5.7.1 user test1 may not send");
        expect(ASK(senders[i], .disabled = true, .grants = "a - u@x\n",
                   .permit_null_sender = true),
               DECIDE_REJECT, DECIDE_DISABLED,
               "553 5.7.1 user test1 may not send");
    }
}

/* A name that cannot be stored is unknown without a question. */
static void
test_impossible_name(void **state)
{
    static const struct {
        const char *name, *reply;
    } cases[] = {
        {"a b", "553 5.7.1 user a\\x20b may not send"},
        {"%s%n", "553 5.7.1 user %s%n may not send"},
        {"a\nb", "553 5.7.1 user a\\x0ab may not send"},
        {"\xc3\xa4", "553 5.7.1 user \\xc3\\xa4 may not send"},
        {"a'; drop table x", NULL},
    };
    char name[8193], want[2 * DECIDE_REPLY_MAX];
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++) {
        expect(ASK("u@x", .user = cases[i].name, .facts = DECIDE_NOT_ASKED),
               DECIDE_REJECT, DECIDE_UNKNOWN_USER, cases[i].reply);
        expect(ASK("u@x", .user = cases[i].name, .grants = "a - u@x\n"),
               DECIDE_REJECT, DECIDE_UNKNOWN_USER, cases[i].reply);
    }
    memset(name, 'n', 8192);
    name[8192] = '\0';
    expect(ASK("u@x", .user = name), DECIDE_REJECT, DECIDE_UNKNOWN_USER,
           NULL);
    name[128] = '\0';
    snprintf(want, sizeof(want), "553 5.7.1 user %.128s may not send", name);
    expect(ASK("u@x", .user = name, .facts = DECIDE_USER_UNKNOWN),
           DECIDE_REJECT, DECIDE_UNKNOWN_USER, want);
    memset(name, '\n', 129);
    expect(ASK("u@x", .user = name), DECIDE_REJECT, DECIDE_UNKNOWN_USER,
           NULL);
}

static void
test_null_sender(void **state)
{
    (void) state;
    expect(ASK(""), DECIDE_REJECT, DECIDE_NULL_SENDER,
           "553 5.7.1 null sender not granted to user test1");
    expect(ASK(NULL, .permit_null_sender = true), DECIDE_PERMIT,
           DECIDE_NULL_SENDER, "DUNNO");
}

static void
test_malformed(void **state)
{
    static const char *const senders[] = {
        "user",         "ceo%test1.com",  "test1.com!ceo",
        "@test1.com",   "user@",          "user@.",
        "u\x01@test1.com", "u@test1.com\x7f", "u\xff@test1.com",
        "u@te\xe2\x84\xaa.com", "MAILER-DAEMON", "<>", "."};
    char longest[300];
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(senders); i++)
        expect(ASK(senders[i], .grants = "s - test1.com\ns - com\n",
                   .permit_null_sender = true),
               DECIDE_REJECT, DECIDE_MALFORMED,
               "553 5.7.1 not an address this relay can permit");
    memset(longest, 'l', sizeof(longest));
    strcpy(longest + 244, "@test1.com"); /* 254 bytes */
    expect(ASK(longest, .grants = "d - test1.com\n"), DECIDE_PERMIT,
           DECIDE_DOMAIN, NULL);
    strcpy(longest + 245, "@test1.com");
    expect(ASK(longest, .grants = "d - test1.com\n"), DECIDE_REJECT,
           DECIDE_MALFORMED, NULL);
}

static void
test_address(void **state)
{
    const char *grants = "a - user@test1.com\na - a%b@test1.com\n";

    (void) state;
    expect(ASK("user@test1.com", .grants = grants), DECIDE_PERMIT,
           DECIDE_ADDRESS, "DUNNO");
    expect(ASK("USER@Test1.Com.", .user = "TEST1", .grants = grants),
           DECIDE_PERMIT, DECIDE_ADDRESS, NULL);
    expect(ASK("a%b@test1.com", .grants = grants), DECIDE_PERMIT,
           DECIDE_ADDRESS, NULL);
    expect(ASK("user2@test1.com", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, "553 5.7.1 not granted to user test1");
    expect(ASK("user@sub.test1.com", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("user@test1.com..", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@user@test1.com", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    /* The name is shown as it came. */
    expect(ASK("x@test1.com", .user = "Test1", .grants = grants),
           DECIDE_REJECT, DECIDE_NOT_GRANTED,
           "553 5.7.1 not granted to user Test1");
}

static void
test_extension(void **state)
{
    const char *grants = "a - user@test1.com\n";

    (void) state;
    expect(ASK("user+x@test1.com", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("user+x@test1.com", .grants = grants, .delimiter = "+"),
           DECIDE_PERMIT, DECIDE_EXTENSION, NULL);
    expect(ASK("User-X+y@test1.com", .grants = grants, .delimiter = "+-"),
           DECIDE_PERMIT, DECIDE_EXTENSION, NULL);
    expect(ASK("+user@test1.com", .grants = grants, .delimiter = "+"),
           DECIDE_REJECT, DECIDE_NOT_GRANTED, NULL);
    expect(ASK("user+x@test2.com", .grants = grants, .delimiter = "+"),
           DECIDE_REJECT, DECIDE_NOT_GRANTED, NULL);
    /* What stands behind the delimiter is queued and read further on. */
    expect(ASK("user+x%y@test1.com", .grants = grants, .delimiter = "+"),
           DECIDE_REJECT, DECIDE_NOT_GRANTED, NULL);
    expect(ASK("user+x@y@test1.com", .grants = grants, .delimiter = "+"),
           DECIDE_REJECT, DECIDE_NOT_GRANTED, NULL);
    /* VERP, as emailing(7) has it. */
    expect(ASK("user+17=to=example.net@test1.com", .grants = grants,
               .delimiter = "+"),
           DECIDE_PERMIT, DECIDE_EXTENSION, NULL);
    expect(ASK("user+17=to=example.net@test1.com",
               .grants = "d - test1.com\n"),
           DECIDE_PERMIT, DECIDE_DOMAIN, NULL);
    /* The whole address beats the stripped one. */
    expect(ASK("a+b@x", .grants = "a - a+b@x\na - a@x\n", .delimiter = "+"),
           DECIDE_PERMIT, DECIDE_ADDRESS, NULL);
}

static void
test_domain(void **state)
{
    const char *grants = "d - test1.com\ns - sub.example\n";

    (void) state;
    expect(ASK("any.thing@test1.com", .grants = grants), DECIDE_PERMIT,
           DECIDE_DOMAIN, NULL);
    expect(ASK("x@TEST1.com.", .grants = grants), DECIDE_PERMIT,
           DECIDE_DOMAIN, NULL);
    expect(ASK("x@sub.example", .grants = grants), DECIDE_PERMIT,
           DECIDE_DOMAIN, NULL);
    expect(ASK("x@a.sub.example", .grants = grants), DECIDE_PERMIT,
           DECIDE_SUBDOMAIN, NULL);
    expect(ASK("x@a.b.c.Sub.Example.", .grants = grants), DECIDE_PERMIT,
           DECIDE_SUBDOMAIN, NULL);
    expect(ASK("x@a.test1.com", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@eviltest1.com", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@evilsub.example", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@example", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@test1.com.evil", .grants = grants), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@b\xc3\xbc" "cher.example",
               .grants = "d - xn--bcher-kva.example\n"),
           DECIDE_PERMIT, DECIDE_DOMAIN, NULL);
}

/* What a relay further on may take for the end of the address, or for
 * another one, is no subdomain. */
static void
test_odd_subdomains(void **state)
{
    static const char *const senders[] = {
        "x@.sub.example",          "x@..sub.example",
        "x@a..sub.example",        "x@.a.sub.example",
        "x@evil.com .sub.example", "x@evil.com>.sub.example",
        "x@evil.com%.sub.example", "x@evil.com!a.sub.example",
        "x@[10.0.0.1].sub.example", "x@a,b.sub.example",
        "x@\"a\".sub.example",     "x@(a).sub.example",
        "x@a:b.sub.example",       "x@a/b.sub.example",
        "x@a\\.sub.example",       "x@a;b.sub.example",
    };
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(senders); i++)
        expect(ASK(senders[i], .grants = "s - sub.example\n"), DECIDE_REJECT,
               DECIDE_NOT_GRANTED, NULL);
    expect(ASK("x@_a.-b-.0.xn--9ca.sub.example",
               .grants = "s - sub.example\n"),
           DECIDE_PERMIT, DECIDE_SUBDOMAIN, NULL);
}

static void
test_routed(void **state)
{
    static const char *const senders[] = {
        "a%b@test1.com", "a!b@test1.com", "a@b@test1.com",
        "@a:b@test1.com", "\"a\"@test1.com", "%@test1.com",
        "x+a%b@test1.com", "a%b@sub.test1.com",
    };
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(senders); i++) {
        expect(ASK(senders[i], .grants = "s - test1.com\n"), DECIDE_REJECT,
               DECIDE_ROUTED_LOCAL_PART,
               "553 5.7.1 not granted to user test1");
        expect(ASK(senders[i], .grants = "s - test1.com\n", .delimiter = "+"),
               DECIDE_REJECT, DECIDE_ROUTED_LOCAL_PART, NULL);
    }
    expect(ASK("a=b'c#d$e&f*g/h?i^j`k{l|m}n~o\\p<q>r(s)t,u;v:w@test1.com",
               .grants = "d - test1.com\n"),
           DECIDE_PERMIT, DECIDE_DOMAIN, NULL);
}

static void
test_expired(void **state)
{
    (void) state;
    expect(ASK("u@x", .grants = "a 1001 u@x\n"), DECIDE_PERMIT,
           DECIDE_ADDRESS, NULL);
    expect(ASK("u@x", .grants = "a 1000 u@x\n"), DECIDE_REJECT,
           DECIDE_EXPIRED, "553 5.7.1 not granted to user test1");
    expect(ASK("u@x", .grants = "d 1000 x\n"), DECIDE_REJECT, DECIDE_EXPIRED,
           NULL);
    expect(ASK("u@a.x", .grants = "s 999 x\n"), DECIDE_REJECT,
           DECIDE_EXPIRED, NULL);
    /* Any that has not ended is enough. */
    expect(ASK("u@a.x", .grants = "a 1 u@a.x\nd 2 a.x\ns 3 a.x\ns - x\n"),
           DECIDE_PERMIT, DECIDE_SUBDOMAIN, NULL);
    expect(ASK("u+e@a.x", .grants = "a 1 u+e@a.x\na - u@a.x\n",
               .delimiter = "+"),
           DECIDE_PERMIT, DECIDE_EXTENSION, NULL);
    /* An ended grant of something else is none. */
    expect(ASK("u@y", .grants = "a 1 u@x\nd 1 x\ns 1 x\n"), DECIDE_REJECT,
           DECIDE_NOT_GRANTED, NULL);
}

/* A stale record can permit; what it does not permit is put off. */
static void
test_stale(void **state)
{
    (void) state;
    expect(ASK("u@x", .stale = true, .grants = "a - u@x\n"), DECIDE_PERMIT,
           DECIDE_ADDRESS, NULL);
    expect(ASK("", .stale = true, .permit_null_sender = true), DECIDE_PERMIT,
           DECIDE_NULL_SENDER, NULL);
    expect(ASK("u@y", .stale = true, .grants = "a - u@x\n"), DECIDE_DEFER,
           DECIDE_STALE, NULL);
    expect(ASK("u@x", .stale = true, .grants = "a 5 u@x\n"), DECIDE_DEFER,
           DECIDE_STALE, NULL);
    expect(ASK("", .stale = true), DECIDE_DEFER, DECIDE_STALE, NULL);
    expect(ASK("u@x", .stale = true, .disabled = true,
               .grants = "a - u@x\n"),
           DECIDE_DEFER, DECIDE_STALE, NULL);
    expect(ASK("malformed", .stale = true), DECIDE_DEFER, DECIDE_STALE, NULL);
    expect(ASK("a%b@x", .stale = true, .grants = "d - x\n"), DECIDE_DEFER,
           DECIDE_STALE, NULL);
    expect(ASK("u@x", .stale = true, .facts = DECIDE_USER_UNKNOWN),
           DECIDE_DEFER, DECIDE_STALE, NULL);
}

/* Where grants are not enforced, only what lacks one passes. */
static void
test_observe(void **state)
{
    static const char *const malformed[] = {"x", "@x", "x@", "a\x01@x"};
    size_t i;

    (void) state;
    expect(ASK("u@y", .observe = true, .grants = "a - u@x\n"), DECIDE_OBSERVE,
           DECIDE_NOT_GRANTED, "DUNNO");
    expect(ASK("a%b@y", .observe = true, .grants = "d - x\n"), DECIDE_OBSERVE,
           DECIDE_NOT_GRANTED, "DUNNO");
    expect(ASK("u@x", .observe = true, .grants = "a 5 u@x\n"), DECIDE_OBSERVE,
           DECIDE_EXPIRED, "DUNNO");
    expect(ASK("", .observe = true), DECIDE_OBSERVE, DECIDE_NULL_SENDER,
           "DUNNO");
    expect(ASK("", .observe = true, .permit_null_sender = true),
           DECIDE_PERMIT, DECIDE_NULL_SENDER, NULL);
    expect(ASK("u@x", .observe = true, .grants = "a - u@x\n"), DECIDE_PERMIT,
           DECIDE_ADDRESS, NULL);
    expect(ASK("a%b@x", .observe = true, .grants = "d - x\n"), DECIDE_REJECT,
           DECIDE_ROUTED_LOCAL_PART, "553 5.7.1 not granted to user test1");
    for (i = 0; i < UNIT_COUNT(malformed); i++)
        expect(ASK(malformed[i], .observe = true), DECIDE_REJECT,
               DECIDE_MALFORMED, NULL);
    expect(ASK("u@x", .observe = true, .disabled = true), DECIDE_REJECT,
           DECIDE_DISABLED, NULL);
    expect(ASK("u@x", .observe = true, .facts = DECIDE_USER_UNKNOWN),
           DECIDE_REJECT, DECIDE_UNKNOWN_USER, NULL);
    expect(ASK("u@x", .observe = true, .user = "a b"), DECIDE_REJECT,
           DECIDE_UNKNOWN_USER, NULL);
    expect(ASK("u@x", .observe = true, .user = "",
               .reject_unauthenticated = true),
           DECIDE_REJECT, DECIDE_UNAUTHENTICATED, NULL);
    expect(ASK("u@x", .observe = true, .facts = DECIDE_CANNOT_ASK),
           DECIDE_DEFER, DECIDE_UNAVAILABLE, NULL);
    expect(ASK("u@x", .observe = true, .facts = DECIDE_NOT_ASKED),
           DECIDE_ASK, DECIDE_NO_REASON, NULL);
    expect(ASK("u@x", .observe = true, .stale = true), DECIDE_DEFER,
           DECIDE_STALE, NULL);
}

/* What the caller needs to ask the database stands in the verdict. */
static void
test_ask(void **state)
{
    struct question question = ASK("User+X@Test1.COM.", .user = "Test1",
                                   .facts = DECIDE_NOT_ASKED,
                                   .delimiter = "+");
    char reply[DECIDE_REPLY_MAX];
    struct decide_verdict verdict = ask(&question, reply);

    (void) state;
    assert_int_equal(verdict.action, DECIDE_ASK);
    assert_string_equal(verdict.user.text, "test1");
    assert_int_equal(verdict.user.len, 5);
    assert_string_equal(verdict.sender.text, "user+x@test1.com");
    assert_true(verdict.has_stripped);
    assert_string_equal(verdict.stripped.text, "user@test1.com");
    question.sender = "malformed";
    verdict = ask(&question, reply);
    assert_int_equal(verdict.action, DECIDE_ASK);
    assert_int_equal(verdict.sender.len, 0);
    assert_false(verdict.has_stripped);
}

static void
test_names(void **state)
{
    int i, j;

    (void) state;
    for (i = 0; i < DECIDE_REASONS; i++) {
        const char *name = decide_reason_name((enum decide_reason) i);

        assert_non_null(name);
        for (j = 0; j < i; j++)
            assert_string_not_equal(
                name, decide_reason_name((enum decide_reason) j));
    }
    assert_non_null(decide_reason_name((enum decide_reason) 99));
    assert_string_equal(decide_action_name(DECIDE_PERMIT), "permit");
    assert_string_equal(decide_action_name(DECIDE_OBSERVE), "observe");
    assert_string_equal(decide_action_name(DECIDE_REJECT), "reject");
    assert_string_equal(decide_action_name(DECIDE_DEFER), "defer");
    assert_string_equal(decide_action_name((enum decide_action) 99), "defer");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_no_sender_yet),
    cmocka_unit_test(test_unauthenticated),
    cmocka_unit_test(test_unavailable),
    cmocka_unit_test(test_unknown_or_disabled),
    cmocka_unit_test(test_impossible_name),
    cmocka_unit_test(test_null_sender),
    cmocka_unit_test(test_malformed),
    cmocka_unit_test(test_address),
    cmocka_unit_test(test_extension),
    cmocka_unit_test(test_domain),
    cmocka_unit_test(test_odd_subdomains),
    cmocka_unit_test(test_routed),
    cmocka_unit_test(test_expired),
    cmocka_unit_test(test_stale),
    cmocka_unit_test(test_observe),
    cmocka_unit_test(test_ask),
    cmocka_unit_test(test_names),
};

UNIT_MAIN(tests)
