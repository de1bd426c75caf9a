/* SPDX-License-Identifier: MIT */
/* Beside another auxprop plugin, which also serves to call ours with flags
 * that this libsasl does not set by itself. */
#include "config.h"

#include "t/saslplugin/authd.h"
#include "t/saslplugin/session.h"

#include <sasl/saslplug.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct authd *authd;
static sasl_auxprop_plug_t ours; /* libsasl's copy of the plugin's table */

/* What the other plugin does in a lookup that asks for *userPassword. */
static struct second {
    int result;
    const char *password; /* to be set, or NULL */
    unsigned call_flags;  /* call ours with these flags, unless 0 */
    int call_result;
    unsigned calls;
    bool log_in; /* in the midst of it all, as another user */
    int log_in_result;
} second;

static bool
is_asked_for(sasl_server_params_t *sparams, const char *name)
{
    const struct propval *prop = sparams->utils->prop_get(sparams->propctx);

    for (; prop != NULL && prop->name != NULL; prop++)
        if (strcmp(prop->name, name) == 0)
            return true;
    return false;
}

static int
second_lookup(void *context, sasl_server_params_t *sparams, unsigned flags,
              const char *user, unsigned len)
{
    (void) context;
    if ((flags & SASL_AUXPROP_AUTHZID) != 0
        || !is_asked_for(sparams, SASL_AUX_PASSWORD))
        return SASL_OK;
    if (second.password != NULL)
        sparams->utils->prop_set(sparams->propctx, SASL_AUX_PASSWORD,
                                 second.password, 0);
    if (second.log_in) {
        second.log_in = false;
        second.log_in_result = session_try("nobody", "pencil");
    }
    if (second.call_flags != 0) {
        second.calls++;
        second.call_result = ours.auxprop_lookup(
            ours.glob_context, sparams, second.call_flags, user, len);
    }
    return second.result;
}

static int
second_init(const sasl_utils_t *utils, int max_version, int *out_version,
            sasl_auxprop_plug_t **plug, const char *name)
{
    static char plug_name[] = "second";
    static sasl_auxprop_plug_t second_plug = {
        .auxprop_lookup = second_lookup,
        .name = plug_name,
    };

    (void) utils;
    (void) max_version;
    (void) name;
    *plug = &second_plug;
    *out_version = SASL_AUXPROP_PLUG_VERSION;
    return SASL_OK;
}

static void
keep_ours(sasl_auxprop_plug_t *plug, sasl_info_callback_stage_t stage,
          void *rock)
{
    (void) rock;
    if (stage == SASL_INFO_LIST_MECH && strcmp(plug->name, "emailing") == 0)
        ours = *plug;
}

static void
begin_with(const char *plugins)
{
    static struct session_option options[5];

    options[0] = (struct session_option) {"auxprop_plugin", plugins};
    options[1] = (struct session_option) {"pwcheck_method", "auxprop"};
    options[2] = (struct session_option) {"emailing_socket", "auth"};
    options[3] = (struct session_option) {"emailing_timeout", "5"};
    if (plugins == NULL)
        options[0] = options[3];
    session_begin(options);
    assert_int_equal(sasl_auxprop_add_plugin("second", second_init), SASL_OK);
    memset(&ours, 0, sizeof(ours));
    auxprop_plugin_info(NULL, keep_ours, NULL);
    assert_non_null(ours.auxprop_lookup);
}

static int
begin(void **state)
{
    (void) state;
    authd = authd_start("auth");
    memset(&second, 0, sizeof(second));
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

static void
property_of_the_first_plugin_stays(void **state)
{
    (void) state;
    begin_with("second emailing");
    second.password = "theirs";
    assert_int_equal(session_try("user", "theirs"), SASL_OK);
    assert_int_equal(session_try("user", "pencil"), SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 0);
    second.password = NULL;
    assert_int_equal(session_try("user", "pencil"), SASL_OK);
    assert_int_equal(session_try("user", "theirs"), SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 2);
}

static void
clear_text_of_the_first_plugin_serves_scram(void **state)
{
    sasl_conn_t *conn;

    (void) state;
    begin_with("second emailing");
    second.password = "theirs";
    conn = session_connect("192.0.2.7;1");
    assert_int_equal(session_client(conn, "SCRAM-SHA-256", "user", "theirs"),
                     SASL_OK);
    sasl_dispose(&conn);
    assert_int_equal(authd_requests(authd), 0);
}

/* The other plugin knows nobody, or cannot tell, before and after us, named
 * and not. */
static void
results_are_merged_as_ever(void **state)
{
    static const char *const lists[] = {"second emailing", "emailing second",
                                        NULL};
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        begin_with(lists[i]);
        second.result = SASL_NOUSER;
        assert_int_equal(session_try("user", "pencil"), SASL_OK);
        assert_int_equal(session_try("user", "wrong"), SASL_BADAUTH);
        authd_script(authd, AUTHD_REPLY, "status=unavailable\n\n");
        assert_int_equal(session_try("user", "pencil"), SASL_UNAVAIL);
        second.result = SASL_UNAVAIL;
        assert_int_not_equal(session_try("user", "pencil"), SASL_OK);
        session_end();
    }
    begin_with("emailing");
    second.result = SASL_FAIL;
    assert_int_equal(session_try("user", "pencil"), SASL_OK);
}

/* What the client sent must not be left where libsasl would compare it with
 * itself. */
static void
verify_against_hash_is_refused(void **state)
{
    sasl_conn_t *conn;

    (void) state;
    begin_with("second");
    second.password = "pencil";
    second.call_flags = SASL_AUXPROP_VERIFY_AGAINST_HASH;
    conn = session_connect("192.0.2.7;1");
    assert_int_not_equal(session_plain(conn, "\0user\0pencil", 12), SASL_OK);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.call_result, SASL_BADAUTH);
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
    assert_int_equal(authd_requests(authd), 0);
}

static void
override_replaces_the_property(void **state)
{
    (void) state;
    begin_with("emailing second");
    second.password = "theirs";
    second.call_flags = SASL_AUXPROP_OVERRIDE;
    assert_int_equal(session_try("user", "pencil"), SASL_OK);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.call_result, SASL_OK);
    assert_int_equal(authd_requests(authd), 2);
}

/* libsasl may be entered again, on the same thread, while one of its own
 * calls has a password at hand. */
static void
login_within_a_login_is_apart(void **state)
{
    sasl_conn_t *conn;

    (void) state;
    begin_with("second emailing");
    conn = session_connect("192.0.2.7;1");
    second.log_in = true;
    assert_int_equal(session_plain(conn, "\0user\0pencil", 12), SASL_OK);
    assert_int_equal(second.log_in_result, SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 2);
    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
}

static void
other_identity_is_not_looked_up(void **state)
{
    (void) state;
    begin_with("second");
    second.call_flags = SASL_AUXPROP_AUTHZID;
    assert_int_not_equal(session_try("user", "pencil"), SASL_OK);
    assert_int_equal(second.call_result, SASL_OK);
    assert_int_equal(authd_requests(authd), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(property_of_the_first_plugin_stays),
        TEST(clear_text_of_the_first_plugin_serves_scram),
        TEST(results_are_merged_as_ever),
        TEST(verify_against_hash_is_refused),
        TEST(override_replaces_the_property),
        TEST(login_within_a_login_is_apart),
        TEST(other_identity_is_not_looked_up),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    session_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
