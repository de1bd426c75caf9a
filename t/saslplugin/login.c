/* SPDX-License-Identifier: MIT */
/* Logins through the real libsasl: who gets in, what policyd is asked, and
 * what is left behind. */
#include "config.h"

#include "t/saslplugin/authd.h"
#include "t/saslplugin/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER "192.0.2.7;4711"

static const struct session_option options[] = {
    {"auxprop_plugin", "emailing"},
    {"pwcheck_method", "auxprop"},
    {"mech_list", "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"},
    {"emailing_socket", "auth"},
    {"emailing_timeout", "5"},
    {NULL, NULL},
};

static struct authd *authd;

static int
begin(void **state)
{
    (void) state;
    authd = authd_start("auth");
    session_begin(options);
    return 0;
}

static int
end(void **state)
{
    (void) state;
    session_end();
    authd_stop(&authd);
    return 0;
}

/* A string literal that may hold NUL bytes. */
#define BYTES(literal) literal, sizeof(literal) - 1

static int
try_plain(const char *message, unsigned len)
{
    sasl_conn_t *conn = session_connect(PEER);
    int result = session_plain(conn, message, len);

    sasl_dispose(&conn);
    return result;
}

static int
try_login(const char *user, unsigned user_len, const char *password,
          unsigned password_len)
{
    sasl_conn_t *conn = session_connect(PEER);
    int result = session_login(conn, user, user_len, password, password_len);

    sasl_dispose(&conn);
    return result;
}

static void
assert_client(const char *mechanism, const char *user, const char *password,
              int expected)
{
    sasl_conn_t *conn = session_connect(PEER);
    const void *name = NULL;

    assert_int_equal(session_client(conn, mechanism, user, password),
                     expected);
    if (expected == SASL_OK) {
        assert_int_equal(sasl_getprop(conn, SASL_USERNAME, &name), SASL_OK);
        assert_string_equal(name, user);
    }
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
}

static void
right_password_gets_in(void **state)
{
    (void) state;
    assert_client("PLAIN", "user", "pencil", SASL_OK);
    assert_true(authd_saw(authd, "request=auth"));
    assert_true(authd_saw(authd, "user=user"));
    assert_true(authd_saw(authd, "password=cGVuY2ls"));
    assert_true(authd_saw(authd, "client=192.0.2.7"));
    assert_true(authd_saw(authd, "service=smtp"));
    assert_client("LOGIN", "user", "pencil", SASL_OK);
    assert_true(authd_saw(authd, "request=auth"));
    assert_client("SCRAM-SHA-256", "user", "pencil", SASL_OK);
    assert_true(authd_saw(authd, "request=verifier"));
    assert_true(authd_saw(authd, "user=user"));
    assert_int_equal(authd_requests(authd), 3);
    assert_int_equal(authd_connections(authd), 1);
    assert_int_equal(session_log_count(), 0);
}

static void
wrong_password_does_not(void **state)
{
    (void) state;
    assert_client("PLAIN", "user", "Pencil", SASL_BADAUTH);
    assert_client("PLAIN", "nobody", "pencil", SASL_BADAUTH);
    assert_client("LOGIN", "user", "pencil ", SASL_BADAUTH);
    assert_client("LOGIN", "nobody", "pencil", SASL_BADAUTH);
    assert_client("SCRAM-SHA-256", "user", "pencils", SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 5);
    assert_int_equal(authd_connections(authd), 1);
    assert_int_equal(session_log_count(), 0);
}

static void
nothing_is_left_of_the_password(void **state)
{
    sasl_conn_t *conn = session_connect(PEER);

    (void) state;
    assert_int_equal(session_plain(conn, BYTES("\0user\0pencil")), SASL_OK);
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
    conn = session_connect(PEER);
    assert_int_equal(session_plain(conn, BYTES("\0user\0pen")), SASL_BADAUTH);
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
    conn = session_connect(PEER);
    assert_int_equal(session_client(conn, "SCRAM-SHA-256", "user", "pencil"),
                     SASL_OK);
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
}

static void
authorization_identity_must_be_the_user(void **state)
{
    (void) state;
    assert_int_equal(try_plain(BYTES("user\0user\0pencil")), SASL_OK);
    assert_int_equal(try_plain(BYTES("boss\0user\0pencil")), SASL_BADAUTH);
    assert_int_equal(try_plain(BYTES("User\0user\0pencil")), SASL_BADAUTH);
    assert_int_equal(try_plain(BYTES("user\0boss\0pencil")), SASL_BADAUTH);
}

static void
odd_user_names_are_refused_unasked(void **state)
{
    static const char *const names[] = {
        "us er", "us\ter", "us\ner", "us\rer", "us\1er", "us\177er",
        "\xc3\xbcser", "us\xff", "user=", "us'er", "us%er", "us\"er",
        "user/", "user\\", "user;", "us$er", "us*er", "us?er",
    };
    char long_name[130];
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_int_equal(session_try(names[i], "pencil"), SASL_BADAUTH);
    memset(long_name, 'a', 129);
    long_name[129] = '\0';
    assert_int_equal(session_try(long_name, "pencil"), SASL_BADAUTH);
    assert_client("SCRAM-SHA-256", "us$er", "pencil", SASL_BADAUTH);
    assert_int_equal(try_login(BYTES("user\0zzz"), BYTES("pencil")),
                     SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 0);

    long_name[128] = '\0';
    assert_int_equal(session_try(long_name, "pencil"), SASL_BADAUTH);
    assert_int_equal(session_try("A.z_0+9@x-y", "pencil"), SASL_BADAUTH);
    assert_true(authd_saw(authd, "user=A.z_0+9@x-y"));
    assert_int_equal(authd_requests(authd), 2);
}

static void
odd_passwords_are_refused_unasked(void **state)
{
    char password[8193];

    (void) state;
    assert_int_equal(session_try("user", ""), SASL_BADAUTH);
    assert_int_equal(try_login(BYTES("user"), BYTES("")), SASL_BADAUTH);
    assert_int_equal(try_login(BYTES("user"), BYTES("pencil\0")),
                     SASL_BADAUTH);
    assert_int_equal(try_login(BYTES("user"), BYTES("\0pencil")),
                     SASL_BADAUTH);
    assert_int_equal(try_login(BYTES("user"), BYTES("pencil\0x")),
                     SASL_BADAUTH);
    memset(password, 'x', sizeof(password));
    assert_int_equal(try_login(BYTES("user"), password, 512), SASL_BADAUTH);
    assert_int_equal(try_login(BYTES("user"), password, 1024), SASL_BADAUTH);
    assert_int_not_equal(try_login(BYTES("user"), password, 8192), SASL_OK);
    assert_int_equal(authd_requests(authd), 0);
}

/* 511 bytes with the high bit set, which base64 makes 684. */
static void
longest_password_is_asked_for_whole(void **state)
{
    char line[16 + 685] = "password=";
    char password[511];
    size_t i;

    (void) state;
    memset(password, 0xff, sizeof(password));
    for (i = 0; i < 680; i++)
        strcat(line, "/");
    strcat(line, "/w==");
    authd_script(authd, AUTHD_REPLY, "status=ok\n\n");
    assert_int_equal(try_login(BYTES("user"), password, sizeof(password)),
                     SASL_OK);
    assert_true(authd_saw(authd, line));
    assert_int_equal(authd_requests(authd), 1);
}

static void
blank_user_name_never_gets_in(void **state)
{
    (void) state;
    assert_int_not_equal(session_try("", "pencil"), SASL_OK);
    assert_int_not_equal(session_try("  ", "pencil"), SASL_OK);
    assert_int_equal(authd_requests(authd), 0);
}

/* A program may try again on the same connection; what an earlier try asked
 * for must neither answer nor hinder the next one. */
static void
tries_on_one_connection_are_apart(void **state)
{
    sasl_conn_t *conn = session_connect(PEER);

    (void) state;
    assert_int_equal(session_plain(conn, BYTES("\0user\0no")), SASL_BADAUTH);
    assert_int_equal(session_login(conn, BYTES("user"), BYTES("no")),
                     SASL_BADAUTH);
    assert_int_equal(session_client(conn, "SCRAM-SHA-256", "user", "no"),
                     SASL_BADAUTH);
    assert_int_equal(session_client(conn, "CRAM-MD5", "user", "pencil"),
                     SASL_NOUSER);
    assert_int_equal(session_plain(conn, BYTES("\0user\0no")), SASL_BADAUTH);
    assert_int_equal(session_login(conn, BYTES("user"), BYTES("pencil")),
                     SASL_OK);
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
    assert_int_equal(session_log_count(), 0);
}

static void
several_connections_at_once_are_apart(void **state)
{
    sasl_conn_t *a = session_connect(PEER), *b = session_connect(PEER);
    const char *out;
    unsigned len;

    (void) state;
    assert_int_equal(sasl_server_start(a, "LOGIN", NULL, 0, &out, &len),
                     SASL_CONTINUE);
    assert_int_equal(sasl_server_start(b, "LOGIN", NULL, 0, &out, &len),
                     SASL_CONTINUE);
    assert_int_equal(sasl_server_step(a, "user", 4, &out, &len),
                     SASL_CONTINUE);
    assert_int_equal(sasl_server_step(b, "user", 4, &out, &len),
                     SASL_CONTINUE);
    assert_int_equal(sasl_server_step(b, "pencil", 6, &out, &len), SASL_OK);
    assert_int_equal(sasl_server_step(a, "pencils", 7, &out, &len),
                     SASL_BADAUTH);
    sasl_dispose(&a);
    sasl_dispose(&b);
}

/* Mechanisms that need the clear text have nothing to compare with, whether
 * or not the user exists; policyd is not asked. */
static void
other_mechanisms_are_refused(void **state)
{
    (void) state;
    assert_client("CRAM-MD5", "user", "pencil", SASL_NOUSER);
    assert_client("CRAM-MD5", "nobody", "pencil", SASL_NOUSER);
    assert_int_equal(authd_requests(authd), 0);
}

/* libsasl calls a verifier for another hash than the one asked for a lack of
 * memory, which the client sees as temporary. */
static void
another_hash_never_gets_in(void **state)
{
    sasl_conn_t *conn = session_connect(PEER);

    (void) state;
    assert_int_not_equal(
        session_client(conn, "SCRAM-SHA-1", "user", "pencil"), SASL_OK);
    sasl_dispose(&conn);
}

static void
client_address_is_without_its_port(void **state)
{
    static const char *const peers[][2] = {
        {"192.0.2.7;25", "client=192.0.2.7"},
        {"2001:db8::7;4711", "client=2001:db8::7"},
        {"::1;25", "client=::1"},
        {NULL, "client="},
    };
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(peers) / sizeof(*peers); i++) {
        sasl_conn_t *conn = session_connect(peers[i][0]);

        assert_int_equal(session_plain(conn, BYTES("\0user\0pencil")),
                         SASL_OK);
        assert_true(authd_saw(authd, peers[i][1]));
        sasl_dispose(&conn);
    }
}

/* No mechanism has told us of the password: we cannot say that it is wrong. */
static void
checkpass_by_the_program_is_temporary(void **state)
{
    sasl_conn_t *conn = session_connect(PEER);

    (void) state;
    assert_int_equal(sasl_checkpass(conn, "user", 4, "pencil", 6),
                     SASL_UNAVAIL);
    assert_int_equal(sasl_checkpass(conn, "user", 4, "pencil", 6),
                     SASL_UNAVAIL);
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged("emailing: password asked for outside"));
    assert_false(session_logged("pencil"));
    sasl_dispose(&conn);
    assert_int_equal(authd_requests(authd), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(right_password_gets_in),
        TEST(wrong_password_does_not),
        TEST(nothing_is_left_of_the_password),
        TEST(authorization_identity_must_be_the_user),
        TEST(odd_user_names_are_refused_unasked),
        TEST(odd_passwords_are_refused_unasked),
        TEST(longest_password_is_asked_for_whole),
        TEST(blank_user_name_never_gets_in),
        TEST(tries_on_one_connection_are_apart),
        TEST(several_connections_at_once_are_apart),
        TEST(other_mechanisms_are_refused),
        TEST(another_hash_never_gets_in),
        TEST(client_address_is_without_its_port),
        TEST(checkpass_by_the_program_is_temporary),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    session_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
