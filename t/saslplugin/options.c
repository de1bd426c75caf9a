/* SPDX-License-Identifier: MIT */
/* Which options are good, and which programs the plugin is for. */
#include "config.h"

#include "t/saslplugin/authd.h"
#include "t/saslplugin/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct authd *authd;

static int
begin(void **state)
{
    (void) state;
    authd = authd_start("auth");
    return 0;
}

static int
end(void **state)
{
    (void) state;
    authd_stop(&authd);
    return 0;
}

static void
assert_login(int expected)
{
    assert_int_equal(session_try("user", "pencil"), expected);
}

static void
assert_login_by_scram(int expected)
{
    sasl_conn_t *conn = session_connect("192.0.2.7;1");

    assert_int_equal(session_client(conn, "SCRAM-SHA-256", "user", "pencil"),
                     expected);
    sasl_dispose(&conn);
}

static void
assert_bad_option(const char *name, const char *value, const char *message)
{
    const struct session_option bad[] = {
        {name, value},
        {"auxprop_plugin", "emailing"},
        {"emailing_socket", "auth"},
        {NULL, NULL},
    };

    session_begin(bad);
    assert_login(SASL_UNAVAIL);
    assert_login_by_scram(SASL_UNAVAIL);
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged(message));
    session_end();
}

static void
bad_option_is_temporary_and_logged(void **state)
{
    static const char *const timeouts[] = {
        "0", "61", "-1", "x", "1s", " 1", "1.5", "99999999999999999999",
    };
    char path[109];
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(timeouts) / sizeof(*timeouts); i++)
        assert_bad_option("emailing_timeout", timeouts[i],
                          "emailing: emailing_timeout: not 1..60: ");
    memset(path, 'p', 108);
    path[108] = '\0';
    assert_bad_option("emailing_socket", path,
                      "emailing: emailing_socket: not 1..107 bytes: ppp");
    assert_int_equal(authd_requests(authd), 0);
}

static void
begin_with(const char *name, const char *value)
{
    static struct session_option one[2];

    one[0] = (struct session_option) {name, value};
    session_begin(one);
}

/* Whoever names us, or sets an option of ours, means us; the other options
 * then have their defaults. */
static void
program_that_means_us(void **state)
{
    (void) state;
    begin_with("auxprop_plugin", "sasldb Emailing");
    assert_login(SASL_UNAVAIL);
    assert_true(session_logged("emailing: emailing/auth: connect: "));
    session_end();
    begin_with("emailing_timeout", "1");
    assert_login(SASL_UNAVAIL);
    assert_true(session_logged("emailing: emailing/auth: connect: "));
    session_end();
    begin_with("emailing_socket", "auth");
    assert_login(SASL_OK);
    assert_int_equal(authd_requests(authd), 1);
    session_end();
}

static void
program_that_does_not_mean_us(void **state)
{
    (void) state;
    begin_with("pwcheck_method", "auxprop");
    assert_login(SASL_NOMECH);
    assert_int_equal(session_log_count(), 0);
    session_end();
    begin_with("auxprop_plugin", "emailing2 myemailing");
    assert_login(SASL_NOMECH);
    assert_int_equal(authd_requests(authd), 0);
    assert_int_equal(session_log_count(), 0);
    session_end();
}

/* Options that a program has for the connection only. */
static void
connection_that_means_us(void **state)
{
    static const struct session_option named[] = {
        {"auxprop_plugin", "emailing"},
        {NULL, NULL},
    };

    (void) state;
    begin_with("pwcheck_method", "auxprop");
    session_connection_options(named);
    assert_login(SASL_UNAVAIL);
    assert_true(session_logged("emailing: emailing/auth: connect: "));
    session_end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_option_is_temporary_and_logged),
        TEST(program_that_means_us),
        TEST(program_that_does_not_mean_us),
        TEST(connection_that_means_us),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    session_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
