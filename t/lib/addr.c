/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/addr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* Parses a copy of just its size, so that a sanitizer sees over-reads. */
static bool
parse(const char *text, size_t len, struct addr *addr)
{
    char *copy = malloc(len + 1);
    const char *error = "unset";
    bool ok;

    assert_non_null(copy);
    memcpy(copy, text, len);
    ok = addr_parse(copy, len, addr, &error);
    free(copy);
    if (ok) {
        assert_null(error);
        assert_int_equal(strlen(addr->text), addr->len);
        assert_int_equal(strrchr(addr->text, '@') - addr->text, addr->at);
    } else {
        assert_non_null(error);
        assert_string_not_equal(error, "unset");
        assert_int_equal(addr->len, 0);
    }
    return ok;
}

static void
test_normal_form(void **state)
{
    static const char *const cases[][2] = {
        {"user@test1.com", "user@test1.com"},
        {"User@Test1.COM", "user@test1.com"},
        {"user@test1.com.", "user@test1.com"},
        {"USER+Ext@Test1.com.", "user+ext@test1.com"},
        {"a@b@test1.com", "a@b@test1.com"},
        {"@b@test1.com", "@b@test1.com"},
        {"a b@x", "a b@x"},
        {"\"a\"@x", "\"a\"@x"},
        {"a=b@x", "a=b@x"},
        {"o'x;--@x", "o'x;--@x"},
        /* ASCII domains are compared as they are. */
        {"u@ab--cd.com", "u@ab--cd.com"},
        {"u@XN--zzzzzz.com", "u@xn--zzzzzz.com"},
        {"u@_a.-b-.com", "u@_a.-b-.com"},
        {"u@[10.0.0.1]", "u@[10.0.0.1]"},
        {"u@[IPv6:2001:DB8::1]", "u@[ipv6:2001:db8::1]"},
        /* Letters of other alphabets are not folded by anyone's locale. */
        {"\xc3\x84@x", "\xc3\x84@x"},
        {"\xe2\x84\xaa@x", "\xe2\x84\xaa@x"},
        /* U-labels, composed or not, become A-labels. */
        {"u@b\xc3\xbc" "cher.example", "u@xn--bcher-kva.example"},
        {"u@bu\xcc\x88" "cher.example", "u@xn--bcher-kva.example"},
        {"U@B\xc3\xbc" "CHER.Example.", "u@xn--bcher-kva.example"},
        {"u@stra\xc3\x9f" "e.example", "u@xn--strae-oqa.example"},
        {"u@\xe4\xbe\x8b\xe5\xad\x90.example", "u@xn--fsqu00a.example"},
    };
    struct addr addr;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++) {
        if (!parse(cases[i][0], strlen(cases[i][0]), &addr))
            fail_msg("%s is refused", cases[i][0]);
        assert_string_equal(addr.text, cases[i][1]);
        /* The normal form is its own. */
        assert_true(parse(cases[i][1], strlen(cases[i][1]), &addr));
        assert_string_equal(addr.text, cases[i][1]);
    }
}

static void
test_no_address(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
#define CASE(text) {text, sizeof(text) - 1}
        CASE(""), CASE("user"), CASE("@"), CASE("@x"), CASE("user@"),
        CASE("user@."), CASE("@."), CASE("."), CASE("y!u"), CASE("u%y"),
        CASE("u@x@"), CASE("u@x@."), CASE("u\x01@x"), CASE("u@x\x1f"),
        CASE("u@\x7fx"), CASE("u\r@x"), CASE("u\n@x"), CASE("u@x\r"),
        CASE("u@x\n"), CASE("u\0@x"), CASE("u@x\0"), CASE("u@x\0.com"),
        CASE("\tu@x"),
        /* C1 controls, and bytes that are not UTF-8 */
        CASE("u\xc2\x85@x"), CASE("u@\xc2\x9f" "x"), CASE("u\xff@x"),
        CASE("u\x80@x"), CASE("u@\xc3"), CASE("u\xc0\xaf@x"),
        CASE("u\xc1\x81@x"), CASE("u\xe0\x80\xaf@x"),
        CASE("u\xed\xa0\x80@x"), CASE("u\xf4\x90\x80\x80@x"),
        CASE("u\xf0\x80\x80\xaf@x"), CASE("u\xf5\x80\x80\x80@x"),
        CASE("u@x\xe2\x82"),
        /* Look-alikes: mapped by some, by IDNA2008 itself refused */
        CASE("u@\xe2\x84\xaa.com"),             /* KELVIN SIGN */
        CASE("u@foo\xe2\x84\xaa.com"),
        CASE("u@\xe2\x84\xaa\xc3\xbc.com"),     /* beside a real letter */
        CASE("u@\xc3\xa9\xe2\x84\xab.com"),     /* ANGSTROM SIGN */
        CASE("u@\xef\xbd\x81.com"),             /* full-width a */
        CASE("u@test1\xe3\x80\x82" "com"),      /* ideographic full stop */
        CASE("u@test1\xef\xbc\x8e" "com"),      /* full-width full stop */
        CASE("u@test1\xef\xbd\xa1" "com"),      /* half-width full stop */
        CASE("u@test1.com\xe3\x80\x82"),
        CASE("u@B\xc3\x9c" "CHER.example"),     /* upper-case U umlaut */
        CASE("u@test\xe2\x80\x8b" "1.com"),     /* zero width space */
        CASE("u@test1\xcd\xbe.com"),            /* GREEK QUESTION MARK: ';' */
        CASE("u@\xe1\xbf\xaf.com"),             /* GREEK VARIA: '`' */
        CASE("u@b\xc3\xbc<x.example"), CASE("u@b\xc3\xbc x.example"),
        CASE("u@\xf0\x9f\x98\x80.example"),     /* an emoji */
#undef CASE
    };
    struct addr addr;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++)
        if (parse(cases[i].text, cases[i].len, &addr))
            fail_msg("case %zu, %s, is taken as %s", i, cases[i].text,
                     addr.text);
}

/* One trailing dot is dropped, and only one. */
static void
test_trailing_dots(void **state)
{
    struct addr addr;

    (void) state;
    assert_true(parse("u@x.example..", 13, &addr));
    assert_string_equal(addr.text, "u@x.example.");
    if (parse("u@\xc3\xa9.example..", 15, &addr))
        assert_string_equal(addr.text, "u@xn--9ca.example.");
}

static void
test_length(void **state)
{
    struct addr addr;
    char text[300];

    (void) state;
    memset(text, 'l', sizeof(text));
    memcpy(text + 240, "@abcdefghijklm", 14);
    assert_true(parse(text, 254, &addr));
    assert_int_equal(addr.len, 254);
    /* The dropped dot does not count. */
    text[254] = '.';
    assert_true(parse(text, 255, &addr));
    assert_int_equal(addr.len, 254);
    text[254] = 'x';
    assert_false(parse(text, 255, &addr));
    memcpy(text + 253, "..", 2);
    assert_true(parse(text, 255, &addr));
    assert_false(parse(text, 256, &addr));
    /* A long local part leaves no room for a domain, at every length. */
    memset(text, 'l', sizeof(text));
    for (size_t at = 245; at < 256; at++) {
        text[at] = '@';
        parse(text, at + 1, &addr);
        text[at + 1] = '.';
        assert_false(parse(text, at + 2, &addr));
        memset(text + at, 'l', 2);
    }
}

/* 254 bytes hold after the translation to A-labels, too. */
static void
test_length_idn(void **state)
{
    struct addr addr;
    char text[300];
    size_t local;

    (void) state;
    /* "\xc3\xa9.de" is 6 bytes, "xn--9ca.de" 10. */
    for (local = 240; local <= 247; local++) {
        memset(text, 'l', local);
        strcpy(text + local, "@\xc3\xa9.de");
        assert_int_equal(parse(text, strlen(text), &addr), local <= 243);
    }
}

static void
test_domain(void **state)
{
    static const char *const good[][2] = {
        {"test1.com", "test1.com"},     {"Test1.COM.", "test1.com"},
        {"localhost", "localhost"},     {"_dmarc.x", "_dmarc.x"},
        {"b\xc3\xbc" "cher.de", "xn--bcher-kva.de"},
        {"[10.0.0.1]", "[10.0.0.1]"},   {"[IPv6:::1]", "[ipv6:::1]"},
        {A63 ".com", A63 ".com"},       {"1.2.3.4", "1.2.3.4"},
    };
    static const char *const bad[] = {
        "", ".", "..", ".com", "a..b", "a.b..", "a b", "a@b", "@a", "*.com",
        "a,b", "a/b", "a%b", "[", "[]", "]", "[1.2.3.4", "[x;y]", "[a]b]",
        "a" A63 ".com", "a\nb", "a\x7f", "\xff", "\xe2\x84\xaa.com",
        "test1\343\200\202com",
    };
    struct domain domain;
    const char *error;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(good); i++) {
        if (!addr_parse_domain(good[i][0], strlen(good[i][0]), &domain,
                               &error))
            fail_msg("%s is refused: %s", good[i][0], error);
        assert_string_equal(domain.text, good[i][1]);
        assert_int_equal(domain.len, strlen(domain.text));
    }
    for (i = 0; i < UNIT_COUNT(bad); i++) {
        if (addr_parse_domain(bad[i], strlen(bad[i]), &domain, &error))
            fail_msg("case %zu, %s, is taken", i, bad[i]);
        assert_non_null(error);
        assert_int_equal(domain.len, 0);
    }
    assert_false(addr_parse_domain("a\0b", 3, &domain, &error));
}

static void
test_domain_length(void **state)
{
    char text[260];
    struct domain domain;
    const char *error;
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(text); i++)
        text[i] = i % 50 == 49 ? '.' : 'a';
    assert_true(addr_parse_domain(text, 253, &domain, &error));
    assert_int_equal(domain.len, 253);
    assert_false(addr_parse_domain(text, 254, &domain, &error));
    text[253] = '.';
    assert_true(addr_parse_domain(text, 254, &domain, &error));
    assert_int_equal(domain.len, 253);
}

static void
test_grantable(void **state)
{
    static const char *const bad[] = {"u@x.example..", "u@.x", "u@a b",
                                      "u@a..b", "u", "u@", "u@a,b"};
    struct addr addr;
    const char *error;
    size_t i;

    (void) state;
    assert_true(addr_parse_grantable("U@Test1.com.", 12, &addr, &error));
    assert_string_equal(addr.text, "u@test1.com");
    assert_true(addr_parse_grantable("a%b@x", 5, &addr, &error));
    for (i = 0; i < UNIT_COUNT(bad); i++) {
        assert_false(
            addr_parse_grantable(bad[i], strlen(bad[i]), &addr, &error));
        assert_non_null(error);
        assert_int_equal(addr.len, 0);
    }
}

static void
test_name(void **state)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._+@-";
    struct user_name name;
    const char *error;
    char text[130];
    int c;

    (void) state;
    for (c = 0; c < 256; c++) {
        char byte = (char) c;
        bool upper = c >= 'A' && c <= 'Z';
        bool ok = upper || (c != 0 && strchr(allowed, c) != NULL);

        assert_int_equal(addr_parse_name(&byte, 1, &name, &error), ok);
        assert_int_equal(name.len, ok);
        if (ok)
            assert_int_equal(name.text[0], upper ? c + 32 : c);
        else
            assert_non_null(error);
    }
    memset(text, 'N', sizeof(text));
    assert_false(addr_parse_name(text, 0, &name, &error));
    assert_true(addr_parse_name(text, 128, &name, &error));
    assert_int_equal(name.len, 128);
    assert_int_equal(strlen(name.text), 128);
    assert_false(addr_parse_name(text, 129, &name, &error));
    assert_false(addr_parse_name("a\0b", 3, &name, &error));
    assert_false(addr_parse_name("a b", 3, &name, &error));
}

static void
test_extension(void **state)
{
    static const struct {
        const char *text, *delimiters, *stripped;
    } cases[] = {
        {"u+e@x", "+", "u@x"},     {"u+e+f@x", "+", "u@x"},
        {"u+@x", "+", "u@x"},      {"u-e@x", "+-", "u@x"},
        {"u-e+f@x", "+-", "u@x"},  {"u+e-f@x", "-+", "u@x"},
        {"+e@x", "+", NULL},       {"u@x", "+", NULL},
        {"u+e@x", "", NULL},       {"u@a-b", "-", NULL},
        {"u@a+b.c", "+", NULL},    {"u-e@a-b", "-", "u@a-b"},
        {"u+e@b@x", "+", "u@x"},
    };
    struct addr addr, stripped;
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++) {
        assert_true(parse(cases[i].text, strlen(cases[i].text), &addr));
        assert_int_equal(
            addr_strip_extension(&addr, cases[i].delimiters, &stripped),
            cases[i].stripped != NULL);
        if (cases[i].stripped == NULL)
            continue;
        assert_string_equal(stripped.text, cases[i].stripped);
        assert_int_equal(stripped.len, strlen(stripped.text));
        assert_int_equal(stripped.text[stripped.at], '@');
        assert_null(strchr(stripped.text + stripped.at + 1, '@'));
    }
}

static void
test_printable(void **state)
{
    char buf[64];

    (void) state;
    assert_string_equal(addr_printable(buf, sizeof(buf), "a~!", 3), "a~!");
    assert_string_equal(addr_printable(buf, sizeof(buf), NULL, 0), "");
    assert_string_equal(
        addr_printable(buf, sizeof(buf), "a b\n\\\x7f\xff\0z", 9),
        "a\\x20b\\x0a\\x5c\\x7f\\xff\\x00z");
}

/* Every size: never over it, and a cut copy says so without half an escape. */
static void
test_printable_cut(void **state)
{
    static const char text[] = "ab\ncd\nef\ngh";
    static const char whole[] = "ab\\x0acd\\x0aef\\x0agh";
    size_t size;

    (void) state;
    for (size = 5; size <= sizeof(whole) + 1; size++) {
        char buf[sizeof(whole) + 2];
        size_t len;

        memset(buf, '#', sizeof(buf));
        addr_printable(buf, size, text, sizeof(text) - 1);
        assert_int_equal(buf[size], '#');
        len = strlen(buf);
        if (size >= sizeof(whole)) {
            assert_string_equal(buf, whole);
            continue;
        }
        assert_string_equal(buf + len - 3, "...");
        assert_memory_equal(buf, whole, len - 3);
        if (len >= 6 && memchr(buf + len - 6, '\\', 3) != NULL)
            fail_msg("size %zu cuts an escape: %s", size, buf);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_normal_form),
    cmocka_unit_test(test_no_address),
    cmocka_unit_test(test_trailing_dots),
    cmocka_unit_test(test_length),
    cmocka_unit_test(test_length_idn),
    cmocka_unit_test(test_domain),
    cmocka_unit_test(test_domain_length),
    cmocka_unit_test(test_grantable),
    cmocka_unit_test(test_name),
    cmocka_unit_test(test_extension),
    cmocka_unit_test(test_printable),
    cmocka_unit_test(test_printable_cut),
};

UNIT_MAIN(tests)
