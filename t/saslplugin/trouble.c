/* SPDX-License-Identifier: MIT */
/* Policyd away, slow or mad: always a temporary failure, in time, logged once;
 * never a wrong answer. */
#include "config.h"

#include "t/saslplugin/authd.h"
#include "t/saslplugin/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT "1"
#define LIMIT_MS 3000 /* what a login may take with it, by a wide margin */

static const struct session_option options[] = {
    {"auxprop_plugin", "emailing"},
    {"pwcheck_method", "auxprop"},
    {"emailing_socket", "auth"},
    {"emailing_timeout", TIME_LIMIT},
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
    if (authd != NULL)
        authd_stop(&authd);
    return 0;
}

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The right password, and what became of it. */
static void
assert_login(int expected)
{
    int64_t start = now_ms();

    assert_int_equal(session_try("user", "pencil"), expected);
    assert_true(now_ms() - start < LIMIT_MS);
}

static void
unavailable_is_temporary(void **state)
{
    (void) state;
    authd_script(authd, AUTHD_REPLY, "status=unavailable\n\n");
    assert_login(SASL_UNAVAIL);
    assert_login(SASL_OK);
    assert_int_equal(authd_requests(authd), 2);
    assert_int_equal(authd_connections(authd), 1);
    assert_int_equal(session_log_count(), 0);
}

static int
try_scram(void)
{
    sasl_conn_t *conn = session_connect("192.0.2.7;1");
    int result = session_client(conn, "SCRAM-SHA-256", "user", "pencil");

    assert_false(session_holds(conn, "*userPassword"));
    sasl_dispose(&conn);
    return result;
}

static void
unusable_verifiers_are_temporary(void **state)
{
    static const char *const replies[] = {
        "status=unavailable\n\n",
        "status=ok\n\n",
        "status=ok\nverifier=\n\n",
        "status=ok\nverifier=$y$j9T$abc$def\n\n",
        "status=ok\nverifier=SCRAM-SHA-1$4096:YWJj$YWJj:YWJj\n\n",
    };
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
        authd_script(authd, AUTHD_REPLY, replies[i]);
        assert_int_equal(try_scram(), SASL_UNAVAIL);
    }
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged("emailing: the verifier is none of SCRAM"));
    authd_script(authd, AUTHD_REPLY, "status=denied\n\n");
    assert_int_equal(try_scram(), SASL_BADAUTH);
    assert_int_equal(try_scram(), SASL_OK);
}

static void
garbage_is_no_answer(void **state)
{
    static const char *const replies[] = {
        "\n",
        "\n\n",
        "ok\n\n",
        "status\n\n",
        "status=\n\n",
        "status=OK\n\n",
        "status= ok\n\n",
        "status=okay\n\n",
        "status=ok\r\n\r\n",
        "Status=ok\n\n",
        "x=status=ok\n\n",
        "status=denied\nstatus=ok\n\n",
        "status=ok\nstatus=ok\n\n",
        "status=ok\n\nstatus=ok\n\n",
        "status=denied\n\nstatus=ok\n\n",
        "status=ok\n\n\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    };
    const unsigned count = sizeof(replies) / sizeof(*replies);
    unsigned i;

    (void) state;
    for (i = 0; i < count; i++) {
        authd_script(authd, AUTHD_REPLY, replies[i]);
        assert_login(SASL_UNAVAIL);
        assert_int_equal(authd_requests(authd), i + 1);
        assert_int_equal(authd_connections(authd), i + 1);
    }
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged("emailing: auth: not a reply: "));
    assert_login(SASL_OK);
}

static void
endless_reply_is_no_answer(void **state)
{
    static char endless[4096];

    (void) state;
    memset(endless, 'x', sizeof(endless) - 1);
    memcpy(endless, "status=ok\nx=", 12);
    authd_script(authd, AUTHD_REPLY, endless);
    assert_login(SASL_UNAVAIL);
    assert_true(session_logged("auth: not a reply: reply too long"));
}

static void
reply_in_pieces_is_read(void **state)
{
    (void) state;
    authd_script(authd, AUTHD_PIECES, "status=ok\nnew=thing\n\n");
    assert_login(SASL_OK);
    authd_script(authd, AUTHD_PIECES, "reason=x\nstatus=denied\n\n");
    assert_login(SASL_BADAUTH);
    assert_int_equal(authd_connections(authd), 1);
}

static void
silence_ends_with_the_deadline(void **state)
{
    (void) state;
    authd_script(authd, AUTHD_SILENT, "");
    assert_login(SASL_UNAVAIL);
    authd_script(authd, AUTHD_REPLY, "status=ok\n");
    assert_login(SASL_UNAVAIL);
    assert_int_equal(authd_requests(authd), 2);
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged("emailing: auth: receive: timed out"));
    assert_false(session_logged("pencil"));
    assert_login(SASL_OK);
}

/* The server sends the first answer when it has the second question. */
static void
late_answer_never_meets_the_next_question(void **state)
{
    (void) state;
    authd_script(authd, AUTHD_LATE, "status=ok\n\n");
    assert_login(SASL_UNAVAIL);
    assert_int_equal(session_try("user", "wrong"), SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 2);
    assert_int_equal(authd_connections(authd), 2);
}

/* A second answer that comes after the first was read: the connection is not
 * used again. */
static void
unasked_answer_ends_the_connection(void **state)
{
    (void) state;
    authd_script(authd, AUTHD_REPLY, NULL);
    authd_script(authd, AUTHD_PIECES, "status=denied\n\nstatus=ok\n\n");
    assert_login(SASL_OK);
    assert_int_not_equal(session_try("user", "wrong"), SASL_OK);
    usleep(20000);
    assert_int_equal(session_try("user", "wrong"), SASL_BADAUTH);
    assert_int_equal(authd_requests(authd), 3);
    assert_int_equal(authd_connections(authd), 2);
}

static void
broken_connection_is_replaced_once(void **state)
{
    (void) state;
    authd_script(authd, AUTHD_CLOSE, "");
    assert_login(SASL_OK);
    assert_int_equal(authd_requests(authd), 2);
    authd_script(authd, AUTHD_CLOSE, "status=ok\n");
    assert_login(SASL_OK);
    assert_int_equal(authd_requests(authd), 4);
    assert_int_equal(session_log_count(), 0);

    authd_script(authd, AUTHD_CLOSE, "");
    authd_script(authd, AUTHD_CLOSE, "");
    authd_script(authd, AUTHD_CLOSE, "");
    assert_login(SASL_UNAVAIL);
    assert_int_equal(authd_requests(authd), 6);
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged("auth: receive: connection closed"));
}

static void
restart_between_logins_is_not_noticed(void **state)
{
    (void) state;
    assert_login(SASL_OK);
    authd_stop(&authd);
    authd = authd_start("auth");
    assert_login(SASL_OK);
    assert_int_equal(authd_requests(authd), 1);
    assert_int_equal(authd_connections(authd), 1);
    assert_int_equal(session_log_count(), 0);
}

static void *
start_soon(void *arg)
{
    (void) arg;
    usleep(300000);
    authd = authd_start("auth");
    return NULL;
}

static void
restart_during_a_login_is_waited_for(void **state)
{
    pthread_t thread;
    int fd;

    (void) state;
    authd_stop(&authd);
    assert_int_equal(pthread_create(&thread, NULL, start_soon, NULL), 0);
    fd = session_try("user", "pencil");
    pthread_join(thread, NULL);
    assert_int_equal(fd, SASL_OK);
    assert_int_equal(authd_requests(authd), 1);
    assert_int_equal(session_log_count(), 0);
}

static void
absence_is_temporary_and_logged_once(void **state)
{
    (void) state;
    authd_stop(&authd);
    assert_login(SASL_UNAVAIL);
    assert_login(SASL_UNAVAIL);
    assert_login(SASL_UNAVAIL);
    assert_int_equal(session_log_count(), 1);
    assert_true(session_logged("emailing: auth: connect: No such file"));
    authd = authd_start("auth");
    assert_login(SASL_OK);
    authd_stop(&authd);
    assert_login(SASL_UNAVAIL);
    assert_int_equal(session_log_count(), 2);
}

/* A socket with nobody behind it, and one whose backlog is full. */
static void
dead_socket_is_temporary(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "auth"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int waiting = socket(AF_UNIX, SOCK_STREAM, 0);

    (void) state;
    authd_stop(&authd);
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)),
                     0);
    assert_login(SASL_UNAVAIL);
    assert_true(session_logged("auth: connect: Connection refused"));
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(connect(waiting, (struct sockaddr *) &address,
                             sizeof(address)), 0);
    assert_login(SASL_UNAVAIL);
    assert_int_equal(session_log_count(), 1);
    close(waiting);
    close(fd);
    unlink("auth");
}

static void
names_that_cannot_exist_are_refused_even_then(void **state)
{
    (void) state;
    authd_stop(&authd);
    assert_int_equal(session_try("us er", "pencil"), SASL_BADAUTH);
    assert_int_equal(session_try("user", ""), SASL_BADAUTH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unavailable_is_temporary),
        TEST(unusable_verifiers_are_temporary),
        TEST(garbage_is_no_answer),
        TEST(endless_reply_is_no_answer),
        TEST(reply_in_pieces_is_read),
        TEST(silence_ends_with_the_deadline),
        TEST(late_answer_never_meets_the_next_question),
        TEST(unasked_answer_ends_the_connection),
        TEST(broken_connection_is_replaced_once),
        TEST(restart_between_logins_is_not_noticed),
        TEST(restart_during_a_login_is_waited_for),
        TEST(absence_is_temporary_and_logged_once),
        TEST(dead_socket_is_temporary),
        TEST(names_that_cannot_exist_are_refused_even_then),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    session_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
