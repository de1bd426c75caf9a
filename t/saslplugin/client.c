/* SPDX-License-Identifier: MIT */
/* The client by itself: its parser, and the hosts it may find itself in. */
#include "config.h"

#include "saslplugin/client.h"

#include "lib/attr.h"

#include "t/saslplugin/authd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static char dir[] = "/tmp/saslplugin.XXXXXX";
static struct authd *authd;
static struct client *client;

static void
remove_folder(void)
{
    unlink("auth");
    if (chdir("/") == 0)
        rmdir(dir);
}

static int
begin(void **state)
{
    (void) state;
    authd = authd_start("auth");
    client = client_new("auth", 5);
    return client == NULL;
}

static int
end(void **state)
{
    (void) state;
    client_free(&client);
    assert_null(client);
    authd_stop(&authd);
    return 0;
}

static struct client_request
auth_request(const char *password)
{
    return (struct client_request) {.request = ATTR_REQUEST_AUTH,
                                    .user = AUTHD_USER,
                                    .user_len = strlen(AUTHD_USER),
                                    .password = password,
                                    .client = "192.0.2.7",
                                    .client_len = strlen("192.0.2.7"),
                                    .service = "smtp"};
}

static enum client_status
ask(const char *password)
{
    const struct client_request request = auth_request(password);
    struct client_reply reply;

    client_ask(client, &request, &reply);
    return reply.status;
}

#define RIGHT "cGVuY2ls"
#define WRONG "d3Jvbmc="

/* -- the parser ----------------------------------------------------------- */

static enum client_parse
parse(const char *text, struct client_reply *reply)
{
    return client_parse_reply(text, strlen(text), reply);
}

static void
whole_replies_are_parsed(void **state)
{
    static const struct {
        const char *text;
        enum client_status status;
        const char *verifier;
    } replies[] = {
        {"status=ok\n\n", CLIENT_OK, ""},
        {"status=denied\n\n", CLIENT_DENIED, ""},
        {"status=unavailable\n\n", CLIENT_UNAVAILABLE, ""},
        {"status=ok\nverifier=a$b=c\n\n", CLIENT_OK, "a$b=c"},
        {"verifier=v\nstatus=ok\n\n", CLIENT_OK, "v"},
        {"new=1\nstatus=denied\nnew=2\n\n", CLIENT_DENIED, ""},
    };
    struct client_reply reply;
    size_t i;

    (void) state;
    for (i = 0; i < COUNT(replies); i++) {
        assert_int_equal(parse(replies[i].text, &reply), CLIENT_PARSE_DONE);
        assert_int_equal(reply.status, replies[i].status);
        assert_string_equal(reply.verifier, replies[i].verifier);
        assert_string_equal(reply.error, "");
    }
}

/* No part of a reply is a reply. */
static void
parts_of_replies_are_not(void **state)
{
    static const char text[] = "status=ok\nverifier=abc\n\n";
    struct client_reply reply;
    size_t len;

    (void) state;
    for (len = 0; len < sizeof(text) - 1; len++) {
        assert_int_equal(client_parse_reply(text, len, &reply),
                         CLIENT_PARSE_MORE);
        assert_int_equal(reply.status, CLIENT_FAILED);
    }
}

static void
other_bytes_are_bad(void **state)
{
    static const char *const texts[] = {
        "\n",
        "=ok\n\n",
        "ok\n\n",
        "verifier=x\n\n",
        "status=\n\n",
        "status=Ok\n\n",
        "status=ok \n\n",
        "status=ok\r\n",
        "status=ok\nstatus=ok\n",
        "status=ok\n\nx",
        "status=ok\n\nstatus=denied\n\n",
    };
    struct client_reply reply;
    size_t i;

    (void) state;
    for (i = 0; i < COUNT(texts); i++) {
        assert_int_equal(parse(texts[i], &reply), CLIENT_PARSE_BAD);
        assert_int_equal(reply.status, CLIENT_FAILED);
        assert_string_not_equal(reply.error, "");
    }
    assert_int_equal(client_parse_reply("status=o\0k\n\n", 12, &reply),
                     CLIENT_PARSE_BAD);
}

static void
lengths_are_bounded(void **state)
{
    char text[CLIENT_REPLY_MAX + 2];
    struct client_reply reply;
    size_t room = CLIENT_VERIFIER_MAX - 1;
    int len;

    (void) state;
    len = snprintf(text, sizeof(text), "status=ok\nverifier=%0*d\n\n",
                   (int) room, 0);
    assert_int_equal(client_parse_reply(text, (size_t) len, &reply),
                     CLIENT_PARSE_DONE);
    assert_int_equal(strlen(reply.verifier), room);
    len = snprintf(text, sizeof(text), "status=ok\nverifier=%0*d\n\n",
                   (int) room + 1, 0);
    assert_int_equal(client_parse_reply(text, (size_t) len, &reply),
                     CLIENT_PARSE_BAD);

    memset(text, 'x', sizeof(text));
    memcpy(text, "x=", 2);
    assert_int_equal(client_parse_reply(text, CLIENT_REPLY_MAX, &reply),
                     CLIENT_PARSE_MORE);
    assert_int_equal(client_parse_reply(text, CLIENT_REPLY_MAX + 1, &reply),
                     CLIENT_PARSE_BAD);
}

/* -- questions ------------------------------------------------------------ */

static void
one_connection_serves_many_questions(void **state)
{
    int i;

    (void) state;
    for (i = 0; i < 20; i++) {
        assert_int_equal(ask(RIGHT), CLIENT_OK);
        assert_int_equal(ask(WRONG), CLIENT_DENIED);
    }
    assert_int_equal(authd_requests(authd), 40);
    assert_int_equal(authd_connections(authd), 1);
}

static void
what_breaks_the_framing_is_not_sent(void **state)
{
    struct client_request request = auth_request(RIGHT);
    static char endless[4096];
    struct client_reply reply;

    (void) state;
    request.client = "::1\nuser=boss";
    request.client_len = strlen(request.client);
    client_ask(client, &request, &reply);
    assert_int_equal(reply.status, CLIENT_FAILED);
    assert_string_equal(reply.error, "auth: request: a value cannot be sent");
    memset(endless, 'x', sizeof(endless) - 1);
    request = auth_request(RIGHT);
    request.service = endless;
    client_ask(client, &request, &reply);
    assert_int_equal(reply.status, CLIENT_FAILED);
    assert_int_equal(authd_requests(authd), 0);
    assert_int_equal(authd_connections(authd), 0);
}

/* A child must not talk on its parent's connection: one of them would read
 * the other's answer. */
static void
child_has_a_connection_of_its_own(void **state)
{
    pid_t child;
    int status;

    (void) state;
    assert_int_equal(ask(RIGHT), CLIENT_OK);
    child = fork();
    if (child == 0)
        _exit(ask(WRONG) == CLIENT_DENIED ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(authd_connections(authd), 2);
    assert_int_equal(ask(RIGHT), CLIENT_OK);
    assert_int_equal(authd_connections(authd), 2);
}

/* Finds the descriptor that the client keeps: the newest socket of ours that
 * is connected to the server. */
static int
find_descriptor(void)
{
    int fd, found = -1;

    for (fd = 3; fd < 256; fd++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);

        if (getpeername(fd, (struct sockaddr *) &peer, &len) == 0
            && len > sizeof(peer.ss_family))
            found = fd;
    }
    return found;
}

/* A host that closes "all" descriptors may get the number again, for a socket
 * that is as quiet as ours was. */
static void
stranger_with_our_number_gets_nothing(void **state)
{
    int stranger[2], fd;
    char byte;

    (void) state;
    assert_int_equal(ask(RIGHT), CLIENT_OK);
    fd = find_descriptor();
    assert_true(fd >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, stranger), 0);
    assert_int_equal(dup2(stranger[0], fd), fd);
    assert_int_equal(ask(RIGHT), CLIENT_OK);
    assert_int_equal(authd_requests(authd), 2);
    assert_int_equal(recv(stranger[1], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
    close(fd);
    close(stranger[0]);
    close(stranger[1]);
}

static void *
ask_often(void *arg)
{
    unsigned *wrong_answers = arg;
    const bool right = *wrong_answers != 0;
    int i;

    *wrong_answers = 0;
    for (i = 0; i < 200; i++)
        if (ask(right ? RIGHT : WRONG) != (right ? CLIENT_OK : CLIENT_DENIED))
            ++*wrong_answers;
    return NULL;
}

static void
threads_get_their_own_answers(void **state)
{
    pthread_t threads[4];
    unsigned wrong_answers[4] = {0, 1, 0, 1}; /* first: if right */
    size_t i;

    (void) state;
    for (i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often,
                                        &wrong_answers[i]), 0);
    for (i = 0; i < COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong_answers[i], 0);
    }
    assert_int_equal(authd_requests(authd), 800);
}

static int
lowest_free_descriptor(void)
{
    int fd = dup(STDOUT_FILENO);

    close(fd);
    return fd;
}

/* Each of these ends a connection; none leaves its descriptor behind. The
 * server's ends are descriptors of this process too, and close a little
 * later. */
static void
failures_leave_no_descriptor(void **state)
{
    int i, before = lowest_free_descriptor();

    (void) state;
    for (i = 0; i < 10; i++) {
        authd_script(authd, AUTHD_CLOSE, "");
        authd_script(authd, AUTHD_CLOSE, "");
        authd_script(authd, AUTHD_REPLY, "garbage\n\n");
        assert_int_equal(ask(RIGHT), CLIENT_FAILED);
        assert_int_equal(ask(RIGHT), CLIENT_FAILED);
    }
    assert_int_equal(ask(RIGHT), CLIENT_OK);
    assert_int_equal(authd_connections(authd), 31);
    assert_true(lowest_free_descriptor() < before + 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_replies_are_parsed),
        cmocka_unit_test(parts_of_replies_are_not),
        cmocka_unit_test(other_bytes_are_bad),
        cmocka_unit_test(lengths_are_bounded),
        TEST(one_connection_serves_many_questions),
        TEST(what_breaks_the_framing_is_not_sent),
        TEST(child_has_a_connection_of_its_own),
        TEST(stranger_with_our_number_gets_nothing),
        TEST(threads_get_their_own_answers),
        TEST(failures_leave_no_descriptor),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (mkdtemp(dir) == NULL || chdir(dir) != 0
        || atexit(remove_folder) != 0) {
        perror(dir);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
