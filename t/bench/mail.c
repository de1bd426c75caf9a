/* SPDX-License-Identifier: MIT */
/*
 * Sends mail: a number of SMTP clients at once, each of which connects, logs
 * in if it is told to, sends its messages one command at a time, quits and
 * begins again. Users and senders are those of t/bench/users.sql; a client
 * that does not get the answer it should ends the run.
 *
 *   mail -P PORT -c CLIENTS -m MESSAGES -t SECONDS | -n SESSIONS
 *        [-u USERS]  log in, as one of that many, by AUTH PLAIN; the password
 *                    is the line on standard input
 *        [-x]        use senders that are not granted: each must get a 553
 *
 * Sessions that are under way when time is up are finished, but what they then
 * send is not counted. Prints name=value lines.
 */
#include "config.h"

#include "t/bench/times.h"

#include <openssl/evp.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATE_MS 60000 /* without a single answer */
#define EVENTS 64
#define REPLY_MAX 4096

static const char message[] =
    "From: Sender <sender@example.com>\r\nTo: someone@example.org\r\n"
    "Subject: An invoice\r\nMessage-Id: <1@bench.example>\r\n"
    "Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n"
    "Dear customer,\r\n\r\nthis is what one looks like.\r\n.\r\n";

struct options {
    unsigned int port, clients, messages, users;
    uint64_t sessions;
    double seconds;
    bool refused;
};

/* What the answer that is waited for belongs to. */
enum step { GREETING, EHLO, AUTH, MAIL, RCPT, DATA, BODY, RSET, QUIT };
static const char *const step_names[] = {"greeting", "EHLO", "AUTH",
                                         "MAIL",     "RCPT", "DATA",
                                         "message",  "RSET", "QUIT"};

struct client {
    int fd; /* -1: none */
    enum step step;
    unsigned int user, sent; /* messages, in this session */
    uint64_t began;          /* the message that is being sent */
    size_t reply_len;
    char reply[REPLY_MAX];
};

struct mail {
    struct options options;
    struct client *clients;
    char password[256];
    int epoll;
    unsigned int open;
    uint64_t end, sessions, accepted, refused;
    struct times times;
};

/* -- commands ------------------------------------------------------------------ */

static void
say(struct client *client, enum step step, const char *text, size_t len)
{
    ssize_t n = send(client->fd, text, len, MSG_NOSIGNAL);

    if (n != (ssize_t) len)
        err(1, "%s: send", step_names[step]);
    client->step = step;
    client->reply_len = 0;
}

static void
say_text(struct client *client, enum step step, const char *text)
{
    say(client, step, text, strlen(text));
}

static void
say_auth(struct mail *mail, struct client *client)
{
    char plain[300], line[512] = "AUTH PLAIN ";
    size_t len = strlen(line);
    int n = snprintf(plain, sizeof(plain), "%cu%07u%c%s", '\0', client->user,
                     '\0', mail->password);

    len += (size_t) EVP_EncodeBlock((unsigned char *) line + len,
                                    (unsigned char *) plain, n);
    memcpy(line + len, "\r\n", 2);
    say(client, AUTH, line, len + 2);
}

static void
say_mail(struct mail *mail, struct client *client)
{
    unsigned int user = client->user;
    char line[128];

    if (mail->options.refused)
        user = (user + 1) % mail->options.users;
    snprintf(line, sizeof(line), "MAIL FROM:<u%07u@mail.example>\r\n", user);
    client->began = times_now();
    say_text(client, MAIL, line);
}

/* -- sessions -------------------------------------------------------------------- */

static bool
another_session(const struct mail *mail)
{
    if (mail->options.sessions > 0)
        return mail->sessions < mail->options.sessions;
    return times_now() < mail->end;
}

/* Each session is another user's, so that all take their turn. */
static void
begin(struct mail *mail, struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};

    client->user = mail->options.users == 0
                       ? 0
                       : (unsigned int) (mail->sessions % mail->options.users);
    client->sent = 0;
    client->step = GREETING;
    client->reply_len = 0;
    mail->sessions++;
    mail->open++;
    address.sin_port = htons((uint16_t) mail->options.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0
        || connect(client->fd, (struct sockaddr *) &address, sizeof(address))
               != 0
        || epoll_ctl(mail->epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
        err(1, "127.0.0.1:%u", mail->options.port);
}

static void
finish(struct mail *mail, struct client *client)
{
    close(client->fd);
    mail->open--;
    if (another_session(mail))
        begin(mail, client);
}

static void
next_message(struct mail *mail, struct client *client)
{
    if (client->sent++ < mail->options.messages)
        say_mail(mail, client);
    else
        say_text(client, QUIT, "QUIT\r\n");
}

static void
count_accepted(struct mail *mail, struct client *client)
{
    uint64_t now = times_now();

    if (mail->options.sessions == 0 && now > mail->end)
        return;
    mail->accepted++;
    times_add(&mail->times, now - client->began);
}

static void
expect(const struct client *client, const char *code)
{
    if (strncmp(client->reply, code, 3) != 0)
        errx(1, "u%07u: %s should get %s, gets %s", client->user,
             step_names[client->step], code, client->reply);
}

static void
step_on(struct mail *mail, struct client *client)
{
    static const char *const codes[] = {"220", "250", "235", "250", "250",
                                        "354", "250", "250", "221"};
    bool refuse = mail->options.refused && client->step == RCPT;

    expect(client, refuse ? "553" : codes[client->step]);
    switch (client->step) {
    case GREETING:
        say_text(client, EHLO, "EHLO client.example\r\n");
        break;
    case EHLO:
        if (mail->options.users > 0)
            say_auth(mail, client);
        else
            next_message(mail, client);
        break;
    case MAIL:
        say_text(client, RCPT, "RCPT TO:<someone@example.org>\r\n");
        break;
    case RCPT:
        if (!refuse) {
            say_text(client, DATA, "DATA\r\n");
            break;
        }
        mail->refused++;
        say_text(client, RSET, "RSET\r\n");
        break;
    case DATA:
        say(client, BODY, message, sizeof(message) - 1);
        break;
    case BODY:
        count_accepted(mail, client);
        next_message(mail, client);
        break;
    case AUTH:
    case RSET:
        next_message(mail, client);
        break;
    case QUIT:
        finish(mail, client);
        break;
    }
}

/* Whether the last line there is ends the answer: a blank behind its code. */
static bool
reply_whole(const struct client *client)
{
    const char *end = client->reply + client->reply_len, *line;

    if (client->reply_len < 5 || end[-1] != '\n')
        return false;
    for (line = end - 1; line > client->reply && line[-1] != '\n'; line--)
        continue;
    return end - line >= 4 && line[3] == ' ';
}

static void
on_input(struct mail *mail, struct client *client)
{
    ssize_t n = recv(client->fd, client->reply + client->reply_len,
                     sizeof(client->reply) - 1 - client->reply_len, 0);

    if (n <= 0)
        err(1, "%s: %s", step_names[client->step],
            n == 0 ? "server closed the connection" : "recv");
    client->reply_len += (size_t) n;
    client->reply[client->reply_len] = '\0';
    if (client->reply_len + 1 == sizeof(client->reply))
        errx(1, "%s: answer too long", step_names[client->step]);
    if (reply_whole(client))
        step_on(mail, client);
}

/* -- the run ------------------------------------------------------------------------ */

static void
run(struct mail *mail)
{
    struct epoll_event events[EVENTS];
    unsigned int i;
    int n;

    for (i = 0; i < mail->options.clients; i++)
        if (another_session(mail))
            begin(mail, &mail->clients[i]);
    while (mail->open > 0) {
        n = epoll_wait(mail->epoll, events, EVENTS, LATE_MS);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        if (n == 0)
            errx(1, "no answer within %d ms", LATE_MS);
        while (n-- > 0)
            on_input(mail, events[n].data.ptr);
    }
}

static void
read_password(struct mail *mail)
{
    if (fgets(mail->password, sizeof(mail->password), stdin) == NULL)
        errx(64, "no password on standard input");
    mail->password[strcspn(mail->password, "\n")] = '\0';
}

static void
read_options(struct options *options, int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "P:c:m:t:n:u:x")) != -1) {
        double number = optarg ? strtod(optarg, NULL) : 0;

        switch (option) {
        case 'P': options->port = (unsigned int) number; break;
        case 'c': options->clients = (unsigned int) number; break;
        case 'm': options->messages = (unsigned int) number; break;
        case 't': options->seconds = number; break;
        case 'n': options->sessions = (uint64_t) number; break;
        case 'u': options->users = (unsigned int) number; break;
        case 'x': options->refused = true; break;
        default: exit(64);
        }
    }
    if (optind != argc || options->port == 0 || options->clients == 0
        || options->messages == 0
        || (options->seconds <= 0) == (options->sessions == 0)
        || (options->refused && options->users < 2))
        errx(64, "usage: mail -P PORT -c CLIENTS -m MESSAGES "
                 "-t SECONDS | -n SESSIONS [-u USERS] [-x]");
}

int
main(int argc, char **argv)
{
    static struct mail mail;
    uint64_t began, elapsed;

    read_options(&mail.options, argc, argv);
    if (mail.options.users > 0)
        read_password(&mail);
    mail.clients = calloc(mail.options.clients, sizeof(*mail.clients));
    mail.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (mail.clients == NULL || mail.epoll < 0)
        err(1, "start");
    began = times_now();
    mail.end = began + (uint64_t) (mail.options.seconds * 1e9);
    run(&mail);
    elapsed = mail.options.sessions > 0 ? times_now() - began
                                        : mail.end - began;
    printf("sessions=%" PRIu64 "\n", mail.sessions);
    printf("accepted=%" PRIu64 "\n", mail.accepted);
    printf("refused=%" PRIu64 "\n", mail.refused);
    printf("rate=%.2f\n", (double) mail.accepted * 1e9 / (double) elapsed);
    printf("p50_us=%.1f\n", times_quantile(&mail.times, 0.5));
    printf("p99_us=%.1f\n", times_quantile(&mail.times, 0.99));
    return 0;
}
