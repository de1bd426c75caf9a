/* SPDX-License-Identifier: MIT */
/*
 * Asks a policy server as Postfix does: all attributes, one request at a time
 * on each connection, the next one when the answer is there. Users and senders
 * are drawn from the data set of t/bench/users.sql, by whose rule each answer
 * is held to be right or wrong.
 *
 *   load -s SOCKET -c CONNECTIONS -u USERS -t SECONDS | -n REQUESTS
 *        [-r N]    one request in N is for a sender that is not granted; 0: none
 *        [-i N]    open N more connections, ask once on each and leave them be
 *        [-e]      the server answers DUNNO whatever it is asked
 *        [-p PID]  whose CPU time to measure
 *        [-d N]    seed of the draw
 *
 * Prints name=value lines; exits 1 when an answer was wrong or late.
 */
#include "config.h"

#include "t/bench/times.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LATE_MS 15000 /* without a single answer */
#define EVENTS 256
#define REPLY_MAX 512

/* What Postfix 3.7 sends, in its order; sender and login come between. */
static const char head[] =
    "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
    "client_address=192.0.2.27\nclient_name=app27.example.net\n"
    "client_port=50423\nreverse_client_name=app27.example.net\n"
    "server_address=192.0.2.1\nserver_port=587\n"
    "helo_name=app27.example.net\nsender=";
static const char middle[] =
    "\nrecipient=someone.else@recipient.example.org\nrecipient_count=0\n"
    "queue_id=\ninstance=1e4d.66f0a1b2.c3d4e.0\nsize=0\netrn_domain=\n"
    "stress=\nsasl_method=PLAIN\nsasl_username=";
static const char tail[] =
    "\nsasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n"
    "ccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\n"
    "encryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\n"
    "policy_context=\n\n";

static const char permit[] = "action=DUNNO\n\n";

struct options {
    const char *socket;
    size_t connections, idle;
    unsigned int users, refuse;
    double seconds;
    uint64_t requests, seed;
    bool echo;
    pid_t pid;
};

struct connection {
    int fd;
    bool permitted;    /* what the answer to the question out must be */
    unsigned int user; /* who asked */
    uint64_t asked;    /* when */
    size_t reply_len;
    char reply[REPLY_MAX];
};

struct load {
    struct options options;
    struct connection *connections;
    int epoll;
    uint64_t random, requests, replies, refused, wrong;
    size_t open; /* questions that wait for their answers */
    struct times times;
};

/* -- the draw ---------------------------------------------------------------- */

/* xorshift64*: quick, and good enough to spread over users. */
static uint32_t
draw(struct load *load)
{
    load->random ^= load->random >> 12;
    load->random ^= load->random << 25;
    load->random ^= load->random >> 27;
    return (uint32_t) ((load->random * UINT64_C(2685821657736338717)) >> 32);
}

static char *
put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}
#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

static char *
put_number(char *at, unsigned int number, unsigned int digits)
{
    unsigned int i;

    for (i = digits; i-- > 0; number /= 10)
        at[i] = (char) ('0' + number % 10);
    return at + digits;
}

/* A sender that is granted to the user: two addresses, a domain, and a domain
 * with its subdomains. */
static char *
put_granted(struct load *load, char *at, unsigned int user)
{
    switch (draw(load) % 4) {
    case 0:
        at = PUT(at, "u");
        at = put_number(at, user, 7);
        return PUT(at, "@mail.example");
    case 1:
        at = PUT(at, "first.last");
        at = put_number(at, user, 7);
        return PUT(at, "@corp.example");
    case 2:
        at = PUT(at, "Orders+");
        at = put_number(at, draw(load) % 1000, 3);
        at = PUT(at, "@d");
        at = put_number(at, user / 10, 6);
        return PUT(at, ".example");
    default:
        at = PUT(at, "noreply@news.s");
        at = put_number(at, user / 10, 6);
        return PUT(at, ".example");
    }
}

/* One that is not: the next user's address, or below a domain that is granted
 * without its subdomains. */
static char *
put_refused(struct load *load, char *at, unsigned int user)
{
    if (draw(load) % 2 == 0) {
        at = PUT(at, "u");
        at = put_number(at, (user + 1) % load->options.users, 7);
        return PUT(at, "@mail.example");
    }
    at = PUT(at, "noreply@news.d");
    at = put_number(at, user / 10, 6);
    return PUT(at, ".example");
}

static size_t
make_request(struct load *load, struct connection *connection, char *buf)
{
    const struct options *options = &load->options;
    char *at = PUT(buf, head);

    connection->user = draw(load) % options->users;
    connection->permitted =
        options->refuse == 0 || draw(load) % options->refuse != 0;
    if (connection->permitted)
        at = put_granted(load, at, connection->user);
    else
        at = put_refused(load, at, connection->user);
    at = PUT(at, middle);
    at = PUT(at, "u");
    at = put_number(at, connection->user, 7);
    at = PUT(at, tail);
    return (size_t) (at - buf);
}

/* -- questions and answers ------------------------------------------------------ */

static void
ask(struct load *load, struct connection *connection)
{
    char buf[2048];
    size_t len = make_request(load, connection, buf);
    ssize_t n;

    connection->reply_len = 0;
    connection->asked = times_now();
    n = send(connection->fd, buf, len, MSG_NOSIGNAL);
    if (n != (ssize_t) len)
        err(1, "send: %zd of %zu bytes", n, len);
    load->requests++;
    load->open++;
}

static void
check(struct load *load, const struct connection *connection)
{
    char expected[REPLY_MAX];

    if (connection->permitted || load->options.echo)
        snprintf(expected, sizeof(expected), "%s", permit);
    else
        snprintf(expected, sizeof(expected),
                 "action=553 5.7.1 not granted to user u%07u\n\n",
                 connection->user);
    load->refused += !connection->permitted;
    if (connection->reply_len == strlen(expected)
        && memcmp(connection->reply, expected, connection->reply_len) == 0)
        return;
    if (load->wrong++ < 3)
        warnx("u%07u: should be \"%.*s\", is \"%.*s\"", connection->user,
              (int) strcspn(expected, "\n"), expected,
              (int) connection->reply_len, connection->reply);
}

/* Reads what came. True when it is the whole answer. */
static bool
answered(struct load *load, struct connection *connection)
{
    ssize_t n = recv(connection->fd,
                     connection->reply + connection->reply_len,
                     sizeof(connection->reply) - connection->reply_len, 0);

    if (n <= 0)
        err(1, "%s", n == 0 ? "server closed the connection" : "recv");
    connection->reply_len += (size_t) n;
    if (connection->reply_len < 2
        || memcmp(connection->reply + connection->reply_len - 2, "\n\n", 2)
               != 0) {
        if (connection->reply_len == sizeof(connection->reply))
            errx(1, "reply too long");
        return false;
    }
    times_add(&load->times, times_now() - connection->asked);
    load->replies++;
    load->open--;
    check(load, connection);
    return true;
}

/* -- the run ---------------------------------------------------------------------- */

static int
open_connection(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval late = {.tv_sec = LATE_MS / 1000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path))
        errx(64, "%s: path too long", path);
    strcpy(address.sun_path, path);
    if (fd < 0
        || connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &late, sizeof(late)) != 0
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &late, sizeof(late)) != 0)
        err(1, "%s", path);
    return fd;
}

static void
open_all(struct load *load)
{
    size_t count = load->options.connections, i;
    struct connection idle;

    for (i = 0; i < load->options.idle; i++) {
        idle.fd = open_connection(load->options.socket);
        ask(load, &idle);
        while (!answered(load, &idle))
            continue;
    }
    load->connections = calloc(count, sizeof(*load->connections));
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->connections == NULL || load->epoll < 0)
        err(1, "start");
    for (i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN};

        event.data.ptr = &load->connections[i];
        load->connections[i].fd = open_connection(load->options.socket);
        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->connections[i].fd,
                      &event)
            != 0)
            err(1, "epoll");
    }
}

/* Whether there is to be another question. */
static bool
on_with_it(const struct load *load, uint64_t now, uint64_t end)
{
    if (load->options.requests > 0)
        return load->requests < load->options.requests;
    return now < end;
}

static void
run(struct load *load, uint64_t end)
{
    struct epoll_event events[EVENTS];
    size_t i;
    int n;

    for (i = 0; i < load->options.connections; i++)
        if (on_with_it(load, 0, end))
            ask(load, &load->connections[i]);
    while (load->open > 0) {
        uint64_t now;

        n = epoll_wait(load->epoll, events, EVENTS, LATE_MS);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        if (n == 0)
            errx(1, "no answer within %d ms", LATE_MS);
        now = times_now();
        while (n-- > 0)
            if (answered(load, events[n].data.ptr)
                && on_with_it(load, now, end))
                ask(load, events[n].data.ptr);
    }
}

static void
report(const struct load *load, uint64_t elapsed, uint64_t cpu, uint64_t own)
{
    double replies = load->replies > 0 ? (double) load->replies : 1;

    printf("requests=%" PRIu64 "\n", load->replies);
    printf("refused=%" PRIu64 "\n", load->refused);
    printf("wrong=%" PRIu64 "\n", load->wrong);
    printf("seconds=%.6f\n", (double) elapsed / 1e9);
    printf("rate=%.1f\n", replies * 1e9 / (double) elapsed);
    printf("p50_us=%.1f\n", times_quantile(&load->times, 0.5));
    printf("p99_us=%.1f\n", times_quantile(&load->times, 0.99));
    printf("cpu_us=%.3f\n", (double) cpu / replies / 1000);
    printf("generator_us=%.3f\n", (double) own / replies / 1000);
}

static void
read_options(struct options *options, int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "s:c:u:t:n:r:i:p:d:e")) != -1) {
        double number = optarg ? strtod(optarg, NULL) : 0;

        switch (option) {
        case 's': options->socket = optarg; break;
        case 'c': options->connections = (size_t) number; break;
        case 'u': options->users = (unsigned int) number; break;
        case 't': options->seconds = number; break;
        case 'n': options->requests = (uint64_t) number; break;
        case 'r': options->refuse = (unsigned int) number; break;
        case 'i': options->idle = (size_t) number; break;
        case 'p': options->pid = (pid_t) number; break;
        case 'd': options->seed = (uint64_t) number; break;
        case 'e': options->echo = true; break;
        default: exit(64);
        }
    }
    if (optind != argc || options->socket == NULL
        || options->connections == 0 || options->users < 2
        || (options->seconds <= 0) == (options->requests == 0))
        errx(64, "usage: load -s SOCKET -c CONNECTIONS -u USERS "
                 "-t SECONDS | -n REQUESTS [-r N] [-i N] [-e] [-p PID] "
                 "[-d N]");
}

int
main(int argc, char **argv)
{
    static struct load load;
    uint64_t begin, elapsed, cpu, own;

    read_options(&load.options, argc, argv);
    load.random = load.options.seed * UINT64_C(2654435769) + 88172645463325252;
    open_all(&load);
    memset(&load.times, 0, sizeof(load.times));
    load.requests = load.replies = load.refused = 0;
    cpu = times_cpu(load.options.pid);
    own = times_cpu(getpid());
    begin = times_now();
    run(&load, begin + (uint64_t) (load.options.seconds * 1e9));
    elapsed = times_now() - begin;
    cpu = times_cpu(load.options.pid) - cpu;
    report(&load, elapsed, cpu, times_cpu(getpid()) - own);
    return load.wrong == 0 ? 0 : 1;
}
