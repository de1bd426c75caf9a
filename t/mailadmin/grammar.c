/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/grammar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct command commands[] = {
    {"add user USER... [--generate]", "", NULL, false, GRAMMAR_ADD},
    {"grant domain DOMAIN... to USER [with subdomains] [until DATE]", "", NULL,
     false, GRAMMAR_GRANT},
    {"list users [PATTERN]", "", NULL, false, GRAMMAR_NO_CHANGE},
    {"help [COMMAND...]", "", NULL, false, GRAMMAR_NO_CHANGE},
    {"passwd USER [--generate] [--overlap TIME]", "", NULL, false,
     GRAMMAR_NO_CHANGE},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* The number of the command that the line is, -1 for none. */
static int
match(const char *line, struct arguments *arguments)
{
    static char copy[256];
    static char *words[GRAMMAR_WORDS];
    const struct command *command;
    size_t count;

    assert_true(strlen(line) < sizeof(copy));
    strcpy(copy, line);
    count = grammar_split(copy, words);
    command = grammar_match(commands, COMMANDS, words, count, arguments);
    return command == NULL ? -1 : (int) (command - commands);
}

static void
test_arguments(void **state)
{
    struct arguments arguments;

    (void) state;
    assert_int_equal(match("grant domain d.com to test1", &arguments), 1);
    assert_string_equal(arguments.value[0], "d.com");
    assert_string_equal(arguments.value[1], "test1");
    assert_false(grammar_given(&arguments, "with"));
    assert_int_equal(match(" GRANT\tDomain D.com To Test1 WITH subdomains ",
                           &arguments), 1);
    assert_string_equal(arguments.value[1], "Test1");
    assert_true(grammar_given(&arguments, "with"));
    assert_null(grammar_value(&arguments, "until"));
}

static void
test_lists(void **state)
{
    struct arguments arguments;

    (void) state;
    assert_int_equal(match("grant domain a.com to to b.com to u until 2027 ",
                           &arguments), -1);
    assert_int_equal(match("grant domain to a.com b.com to u until 2027",
                           &arguments), 1);
    assert_int_equal(arguments.rest_count, 3);
    assert_string_equal(arguments.rest[0], "to");
    assert_string_equal(arguments.rest[2], "b.com");
    assert_string_equal(arguments.value[1], "u");
    assert_string_equal(grammar_value(&arguments, "until"), "2027");
    assert_int_equal(match("grant domain a.com to u with subdomains until x",
                           &arguments), 1);
    assert_true(grammar_given(&arguments, "with"));
    assert_string_equal(grammar_value(&arguments, "until"), "x");
    assert_int_equal(match("add user --generate a b c", &arguments), 0);
    assert_int_equal(arguments.rest_count, 3);
    assert_string_equal(arguments.rest[0], "a");
    assert_int_equal(match("passwd --overlap 24h u", &arguments), 4);
    assert_string_equal(arguments.value[0], "u");
    assert_string_equal(grammar_value(&arguments, "--overlap"), "24h");
    assert_false(grammar_given(&arguments, "--generate"));
}

struct heard {
    char tokens[1024];
};

static void
hear(const char *token, size_t len, void *context)
{
    struct heard *heard = context;
    size_t used = strlen(heard->tokens);

    assert_true(used + len + 2 < sizeof(heard->tokens));
    memcpy(heard->tokens + used, token, len);
    memcpy(heard->tokens + used + len, " ", 2);
}

static void
assert_next(const char *line, const char *expected)
{
    struct heard heard = {""};
    static char copy[256], *words[GRAMMAR_WORDS];
    size_t count;

    strcpy(copy, line);
    count = grammar_split(copy, words);
    grammar_next(commands, COMMANDS, words, count, hear, &heard);
    assert_string_equal(heard.tokens, expected);
}

static void
test_next(void **state)
{
    (void) state;
    assert_next("", "add grant list help passwd ");
    assert_next("grant", "domain ");
    assert_next("GRANT domain", "DOMAIN ");
    assert_next("grant domain a.com", "DOMAIN to ");
    assert_next("grant domain a.com to", "USER ");
    assert_next("grant domain a.com to u", "with until ");
    assert_next("grant domain a.com to u with", "subdomains ");
    assert_next("grant domain a.com to u with subdomains", "until ");
    assert_next("grant domain a.com to u until", "DATE ");
    assert_next("grant domain a.com to u until x", "");
    assert_next("add user", "--generate USER ");
    assert_next("add user --generate a", "USER ");
    assert_next("passwd --overlap", "TIME ");
    assert_next("passwd u", "--generate --overlap ");
    assert_next("nonsense", "");
    assert_next("list users a b", "");
}

static void
test_refused(void **state)
{
    static const char *const lines[] = {
        "", "grant", "grant domain", "grant domain d to",
        "grant domain d from u", "grant domain d to u with",
        "grant domain d to u with subdomain",
        "grant domain d to u with subdomains too", "list",
        "list users a b", "add user", "add user --generate",
        "passwd", "passwd u --overlap", "passwd u v",
        "grant domain a.com to u until", "lists users"};
    struct arguments arguments;
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_int_equal(match(lines[i], &arguments), -1);
}

static void
test_options(void **state)
{
    static const char *const lines[] = {
        "add user a --generate", "add user --generate a",
        "--generate add user a"};
    struct arguments arguments;
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(match(lines[i], &arguments), 0);
        assert_string_equal(arguments.value[0], "a");
        assert_true(grammar_given(&arguments, "--generate"));
    }
    assert_int_equal(match("add user a", &arguments), 0);
    assert_false(grammar_given(&arguments, "--generate"));
}

static void
test_optional_argument(void **state)
{
    struct arguments arguments;

    (void) state;
    assert_int_equal(match("list users", &arguments), 2);
    assert_null(arguments.value[0]);
    assert_int_equal(match("list users a*", &arguments), 2);
    assert_string_equal(arguments.value[0], "a*");
    assert_int_equal(match("help", &arguments), 3);
    assert_int_equal(arguments.rest_count, 0);
    assert_int_equal(match("help add user", &arguments), 3);
    assert_int_equal(arguments.rest_count, 2);
    assert_string_equal(arguments.rest[1], "user");
}

static void
test_likeness(void **state)
{
    char grant[] = "grant", domain[] = "Domain", x[] = "x", to[] = "to";
    char *words[] = {grant, domain, x, to};

    (void) state;
    assert_int_equal(grammar_likeness(&commands[1], words, 4), 2);
    assert_int_equal(grammar_likeness(&commands[1], words, 1), 1);
    assert_int_equal(grammar_likeness(&commands[0], words, 4), 0);
}

static void
test_many_words(void **state)
{
    static char line[2 * (GRAMMAR_WORDS + 1) + 1], *words[GRAMMAR_WORDS];
    struct arguments arguments;
    size_t i;

    (void) state;
    for (i = 0; i < GRAMMAR_WORDS + 1; i++)
        memcpy(line + 2 * i, "x ", 3);
    assert_int_equal(grammar_split(line, words), GRAMMAR_WORDS + 1);
    assert_null(grammar_match(commands, COMMANDS, words, GRAMMAR_WORDS + 1,
                              &arguments));
    memcpy(line, "a b", 4);
    assert_int_equal(grammar_split(line, words), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_optional_argument),
        cmocka_unit_test(test_likeness),
        cmocka_unit_test(test_many_words),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
