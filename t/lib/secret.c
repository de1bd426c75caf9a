/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/secret.h"

#include <crypt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 7677 section 3: user "user", password "pencil"; StoredKey and ServerKey
 * were computed from its salt and iterations by other means than ours. */
#define RFC7677                                                               \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                            \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"                           \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static const struct secret_policy yescrypt = {SECRET_YESCRYPT, 16384};
static const struct secret_policy scram = {SECRET_SCRAM_SHA_256, 4096};

static enum secret_result
check(const char *stored, const char *password)
{
    return secret_check(stored, password, strlen(password));
}

/* Secrets made by other programs, with the password that opens them. */
static const struct {
    const char *stored, *password;
    enum secret_form form;
} known[] = {
    /* crypt(3) by way of libxcrypt, mkpasswd(1), htpasswd(1) */
    {"$y$j9T$0123456789abcdefghijk.$"
     "zKcuOF0bpJlVzpEWbTfBJU5jM.OcppcBnlzrNA4opxA",
     "secret", SECRET_CRYPT},
    {"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U",
     SECRET_CRYPT},
    {"$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U",
     SECRET_CRYPT},
    {"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI6"
     "8u4OTLiBFdcbYEdFCoEOfaS35inz1",
     "Hello world!", SECRET_CRYPT},
    {"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
     "Hello world!", SECRET_CRYPT},
    {"$1$saltstri$YMyguxXMBpd2TEZ.vS/3q1", "Hello world!", SECRET_CRYPT},
    {"rl.3StKT.4T8M", "rasmusle", SECRET_CRYPT},
    {RFC7677, "pencil", SECRET_SCRAM},
    /* PostgreSQL 15 */
    {"SCRAM-SHA-256$4096:d9rm7jxyJ1Yupcu6mnEXfA==$"
     "S/VBzPfhAhVLN0ymgZyG8WTXasZOgfi5cfuGZN3YoM4=:"
     "bGl+AGGxF4qnpEuLOZJ/ZkH3pwVspJxTev57X3NNMyQ=",
     "pencil", SECRET_SCRAM},
    {"SCRAM-SHA-256$4096:buoVgF7zVSSPOkYHLLEY0Q==$"
     "6RDkhTqlJzQiOsGC37vgXk0JOJmR6XrV4fj7sWu5KzE=:"
     "yCFh3p+J0b5bJjRHIDxvwFj/lITPtWOeNfNwzhH7ijY=",
     "p\\xc3\\xa4ss w", SECRET_SCRAM},
    /* MD5 of "demo" and of "test", as the original stored it */
    {"fe01ce2a7fbac8fafaed7c982a04e229", "demo", SECRET_MD5},
    {"098F6BCD4621D373CADE4E832627B4F6", "test", SECRET_MD5},
};

static void
test_known(void **state)
{
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(known); i++) {
        char longer[64];

        assert_int_equal(secret_form(known[i].stored), known[i].form);
        if (check(known[i].stored, known[i].password) != SECRET_MATCH)
            fail_msg("%s does not match", known[i].stored);
        assert_int_equal(check(known[i].stored, "wrong"), SECRET_MISMATCH);
        assert_int_equal(check(known[i].stored, ""), SECRET_MISMATCH);
        assert_int_equal(check(known[i].stored, known[i].stored),
                         SECRET_MISMATCH);
        /* DES looks at eight bytes only; all others at each. */
        snprintf(longer, sizeof(longer), "%sx", known[i].password);
        if (strlen(known[i].stored) != 13)
            assert_int_equal(check(known[i].stored, longer), SECRET_MISMATCH);
    }
}

/* A secret that lost its end matches nothing, and is called unusable. */
static void
test_truncated(void **state)
{
    char stored[SECRET_MAX];
    size_t i, len;

    (void) state;
    for (i = 0; i < UNIT_COUNT(known); i++) {
        /* Not each length of those that take their time. */
        size_t step = known[i].stored[0] == '$' ? 11 : 1;

        for (len = strlen(known[i].stored) - 1; len > 0;
             len -= len < step ? len : step) {
            memcpy(stored, known[i].stored, len);
            stored[len] = '\0';
            /* Thirteen characters are what DES makes, too. */
            if (len == 13)
                continue;
            if (check(stored, known[i].password) != SECRET_ERROR)
                fail_msg("%s is not called unusable", stored);
            assert_int_equal(check(stored, "wrong"), SECRET_ERROR);
        }
    }
}

static void
test_unusable(void **state)
{
    static const char *const corrupt[] = {
        "", "*", "*0", "*1", "!", "!!", "x", "$", "$y$", "$y$j9T$", "$9$x",
        "$2b$", "$2b$05$", "$6$", "$6$salt", "$5$", "$1$", "$7$", "$sha1$",
        "fe01ce2a7fbac8fafaed7c982a04e22",      /* 31 digits */
        "fe01ce2a7fbac8fafaed7c982a04e2299",    /* 33 */
        "fe01ce2a7fbac8fafaed7c982a04e22g",
        " fe01ce2a7fbac8fafaed7c982a04e229",
        "md5fe01ce2a7fbac8fafaed7c982a04e229",
        "!$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "SCRAM-SHA-256$", "SCRAM-SHA-256$0:", "SCRAM-SHA-256$4096:",
        "SCRAM-SHA-256$4096:$:", "SCRAM-SHA-1$4096:abc",
    };
    char longest[SECRET_MAX + 1];
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(corrupt); i++) {
        const char *const tries[] = {"demo", "x", "Hello world!", corrupt[i]};

        for (size_t j = 0; j < UNIT_COUNT(tries); j++)
            if (tries[j][0] != '\0'
                && check(corrupt[i], tries[j]) != SECRET_ERROR)
                fail_msg("\"%s\" with \"%s\" is no error", corrupt[i],
                         tries[j]);
    }
    assert_int_equal(secret_form(NULL), SECRET_UNUSABLE);
    assert_int_equal(check(NULL, "x"), SECRET_ERROR);
    assert_int_equal(secret_form(""), SECRET_UNUSABLE);
    assert_int_equal(secret_form("*"), SECRET_UNUSABLE);
    memset(longest, 'a', SECRET_MAX);
    longest[SECRET_MAX] = '\0';
    assert_int_equal(secret_form(longest), SECRET_UNUSABLE);
    assert_int_equal(check(longest, "x"), SECRET_ERROR);
}

/* The verifier with one part replaced. */
static void
test_bad_scram(void **state)
{
    static const char salt[] = "W22ZaJ0SNY7soEsUEjb6gQ==";
    static const char stored[] =
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=";
    static const char server[] =
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    static const struct {
        const char *iterations, *salt, *stored, *server;
    } cases[] = {
        {"4095", salt, stored, server},     {"65537", salt, stored, server},
        {"0", salt, stored, server},        {"-4096", salt, stored, server},
        {"04096", salt, stored, server},    {"+4096", salt, stored, server},
        {" 4096", salt, stored, server},    {"4096 ", salt, stored, server},
        {"", salt, stored, server},
        {"4294971392", salt, stored, server},
        {"18446744073709555712", salt, stored, server},
        {"4096", "", stored, server},       {"4096", "====", stored, server},
        {"4096", "W22Z J0SNY7soEsUEjb6gQ==", stored, server},
        {"4096", "    aJ0SNY7soEsUEjb6gQ==", stored, server},
        {"4096", "W22ZaJ0SNY7soEsUEjb6gQ=", stored, server},
        {"4096", "W22ZaJ0SNY7soEsUEjb6gR==", stored, server},
        {"4096", "W22ZaJ0SNY7soEsUEjb6gQ==\n", stored, server},
        {"4096", salt, "", server},         {"4096", salt, stored, ""},
        {"4096", salt, "WG5d", server},     {"4096", salt, stored, "WG5d"},
        {"4096", salt, server + 4, stored}, {"4096", salt, stored, "*"},
        {"4096", salt, "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qYA", server},
        {"4096", salt, "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qZ=", server},
        {"4096", salt, "    8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", server},
    };
    char verifier[1024];
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++) {
        snprintf(verifier, sizeof(verifier), "SCRAM-SHA-256$%s:%s$%s:%s",
                 cases[i].iterations, cases[i].salt, cases[i].stored,
                 cases[i].server);
        if (secret_form(verifier) != SECRET_UNUSABLE)
            fail_msg("taken: %s", verifier);
        assert_int_equal(check(verifier, "pencil"), SECRET_ERROR);
    }
    snprintf(verifier, sizeof(verifier), "%s ", RFC7677);
    assert_int_equal(secret_form(verifier), SECRET_UNUSABLE);
    snprintf(verifier, sizeof(verifier), "scram-sha-256%s", &RFC7677[13]);
    assert_int_equal(secret_form(verifier), SECRET_UNUSABLE);
    /* StoredKey decides; a ServerKey that is not its partner is not seen. */
    snprintf(verifier, sizeof(verifier), "SCRAM-SHA-256$4096:%s$%s:%s", salt,
             server, stored);
    assert_int_equal(check(verifier, "pencil"), SECRET_MISMATCH);
}

static void
test_password_limits(void **state)
{
    char password[SECRET_PASSWORD_MAX + 2], secret[SECRET_MAX];
    const struct secret_policy *policies[] = {&yescrypt, &scram};
    const char *error;
    size_t i;

    (void) state;
    memset(password, 0xe4, sizeof(password));
    assert_false(secret_password_ok(password, 0));
    assert_true(secret_password_ok(password, 1));
    assert_true(secret_password_ok(password, 511));
    assert_false(secret_password_ok(password, 512));
    assert_false(secret_password_ok("a\0b", 3));
    for (i = 0; i < UNIT_COUNT(policies); i++) {
        assert_false(
            secret_make(policies[i], password, 512, secret, &error));
        assert_non_null(error);
        assert_false(secret_make(policies[i], password, 0, secret, &error));
        assert_false(secret_make(policies[i], "a\0b", 3, secret, &error));
        assert_true(secret_make(policies[i], password, 511, secret, &error));
        assert_null(error);
        assert_int_equal(secret_check(secret, password, 511), SECRET_MATCH);
        assert_int_equal(secret_check(secret, password, 510),
                         SECRET_MISMATCH);
        assert_int_equal(secret_check(secret, password, 512),
                         SECRET_MISMATCH);
        assert_int_equal(secret_check(secret, "a\0b", 3), SECRET_MISMATCH);
    }
}

/* bcrypt ignores what is behind 72 bytes; we refuse what has more. */
static void
test_bcrypt_72(void **state)
{
    static struct crypt_data data;
    char password[74], *stored;

    (void) state;
    memset(password, 'p', sizeof(password));
    password[73] = '\0';
    stored = crypt_r(password, "$2b$04$CCCCCCCCCCCCCCCCCCCCC.", &data);
    assert_non_null(stored);
    assert_int_equal(secret_check(stored, password, 72), SECRET_MATCH);
    assert_int_equal(secret_check(stored, password, 73), SECRET_MISMATCH);
    assert_int_equal(secret_check(stored, password, 71), SECRET_MISMATCH);
}

static void
test_make(void **state)
{
    char first[SECRET_MAX], second[SECRET_MAX];
    const char *error;

    (void) state;
    assert_true(secret_make(&yescrypt, "p\xc3\xa4 ss", 6, first, &error));
    assert_true(secret_make(&yescrypt, "p\xc3\xa4 ss", 6, second, &error));
    assert_int_equal(strncmp(first, "$y$j9T$", 7), 0);
    assert_int_equal(secret_form(first), SECRET_CRYPT);
    assert_string_not_equal(first, second);
    assert_int_equal(check(first, "p\xc3\xa4 ss"), SECRET_MATCH);
    assert_int_equal(check(first, "p\xc3\xa4 s"), SECRET_MISMATCH);
    assert_true(secret_make(&scram, "p\xc3\xa4 ss", 6, first, &error));
    assert_true(secret_make(&scram, "p\xc3\xa4 ss", 6, second, &error));
    assert_int_equal(strncmp(first, "SCRAM-SHA-256$4096:", 19), 0);
    assert_int_equal(secret_form(first), SECRET_SCRAM);
    assert_string_not_equal(first, second);
    assert_int_equal(check(first, "p\xc3\xa4 ss"), SECRET_MATCH);
    assert_int_equal(check(first, "p\xc3\xa4 sS"), SECRET_MISMATCH);
}

static void
test_mock_verifier(void **state)
{
    static const unsigned char key[32] = {1}, other_key[32] = {2};
    const struct secret_policy other_policy = {SECRET_YESCRYPT, 16384};
    char a[SECRET_MAX], b[SECRET_MAX], real[SECRET_MAX], name[130];
    const char *error;

    (void) state;
    assert_true(secret_make(&scram, "x", 1, real, &error));
    assert_true(secret_mock_verifier(&scram, key, 32, "test1", a));
    assert_true(secret_mock_verifier(&scram, key, 32, "test1", b));
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), strlen(real));
    assert_int_equal(strncmp(a, real, 19), 0);
    assert_int_equal(secret_form(a), SECRET_SCRAM);
    assert_int_equal(check(a, "test1"), SECRET_MISMATCH);
    /* Name, key and iterations each make another one. */
    assert_true(secret_mock_verifier(&scram, key, 32, "test2", b));
    assert_string_not_equal(a, b);
    assert_true(secret_mock_verifier(&scram, other_key, 32, "test1", b));
    assert_string_not_equal(a, b);
    assert_true(secret_mock_verifier(&other_policy, key, 32, "test1", b));
    assert_int_equal(strncmp(b, "SCRAM-SHA-256$16384:", 20), 0);
    /* The three parts are not each other's. */
    assert_memory_not_equal(a + 44, a + 89, 44);
    assert_false(secret_mock_verifier(&scram, key, 0, "test1", b));
    memset(name, 'n', sizeof(name));
    name[128] = '\0';
    assert_true(secret_mock_verifier(&scram, key, 32, name, b));
}

static void
test_costs(void **state)
{
    const struct secret_policy most = {SECRET_SCRAM_SHA_256, 65536};
    char secret[SECRET_MAX];
    const char *error;

    (void) state;
    assert_true(secret_make(&yescrypt, "x", 1, secret, &error));
    assert_true(secret_costs_enough(&yescrypt, secret));
    assert_true(secret_costs_enough(&most, secret));
    assert_true(secret_costs_enough(&scram, RFC7677));
    assert_false(secret_costs_enough(&most, RFC7677));
    assert_false(secret_costs_enough(&yescrypt, RFC7677));
    assert_false(secret_costs_enough(&scram, NULL));
    assert_false(secret_costs_enough(&scram, ""));
    assert_false(secret_costs_enough(&scram,
                                     "fe01ce2a7fbac8fafaed7c982a04e229"));
    secret_check_dummy(&yescrypt, "x", 1);
    secret_check_dummy(&scram, "", 0);
    secret_check_dummy(&scram, "a\0b", 3);
}

static void
test_generate(void **state)
{
    char a[SECRET_GENERATED + 1], b[SECRET_GENERATED + 1];

    (void) state;
    assert_true(secret_generate(a));
    assert_true(secret_generate(b));
    assert_int_equal(strlen(a), SECRET_GENERATED);
    assert_string_not_equal(a, b);
    assert_int_equal(strspn(a, "abcdefghijkmnpqrstuvwxyz23456789"),
                     SECRET_GENERATED);
    assert_true(secret_password_ok(a, strlen(a)));
}

static void
test_wipe(void **state)
{
    char text[] = "secret", zero[sizeof(text)] = {0};

    (void) state;
    secret_wipe(text, sizeof(text));
    assert_memory_equal(text, zero, sizeof(text));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_known),
    cmocka_unit_test(test_truncated),
    cmocka_unit_test(test_unusable),
    cmocka_unit_test(test_bad_scram),
    cmocka_unit_test(test_password_limits),
    cmocka_unit_test(test_bcrypt_72),
    cmocka_unit_test(test_make),
    cmocka_unit_test(test_mock_verifier),
    cmocka_unit_test(test_costs),
    cmocka_unit_test(test_generate),
    cmocka_unit_test(test_wipe),
};

UNIT_MAIN(tests)
