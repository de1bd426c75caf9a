/* SPDX-License-Identifier: MIT */
/*
 * decisions SOCKET COUNT WINDOW_MS DEFER_OK [SEED] - asks policyd random
 * questions over eight connections, one at a time on each, until COUNT of them
 * were not deferred, while a process of its own changes what is granted, in the
 * database that the PG* environment names. Every answer must be right for some moment between WINDOW_MS before
 * its question and itself. Prints "asked N changed N deferred N wrong N" and
 * the first wrong answers; exits 0 when nothing is wrong, and with DEFER_OK 0
 * nothing was deferred.
 *
 * The process that changes writes down each new state of a user before it asks
 * for the change and the time when that was confirmed, in memory that both
 * share. So when an answer comes, every state that it may be right for is
 * known, and from when to when it may have held.
 */
#include "config.h"

#include <libpq-fe.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define USERS 100
#define DOMAINS 8
#define LOCALS 3
#define ADDRESSES (DOMAINS * LOCALS)
#define CONNECTIONS 8
#define VERSIONS 4096 /* remembered of each user */
#define ANSWER_MS 6000
#define NEVER UINT64_MAX

enum verdict { PERMIT, NO_USER, NOT_GRANTED, DEFER, OTHER };

static const char *const verdict_names[] = {"permit", "no such user",
                                            "not granted", "defer", "other"};

struct state {
    bool exists, enabled;
    uint32_t addresses, domains, subdomains; /* bits */
};

struct version {
    struct state state;
    uint64_t begun;             /* it cannot have held before */
    _Atomic uint64_t confirmed; /* it holds from here on; NEVER: not yet */
};

struct history {
    _Atomic unsigned int count;
    struct version versions[VERSIONS];
};

struct shared {
    _Atomic bool stop;
    _Atomic unsigned long changes;
    struct history users[USERS];
};

struct question {
    unsigned int user, domain, local; /* local LOCALS: one that no address has */
    bool below;                       /* a subdomain of the domain */
};

struct client {
    int fd;
    struct question question;
    uint64_t asked;
    size_t used;
    char reply[1024];
};

static struct shared *shared;
static uint64_t window_us;

static uint64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static void
die(const char *what, const char *why)
{
    fprintf(stderr, "decisions: %s: %s\n", what, why);
    exit(2);
}

/* -- changing ------------------------------------------------------------------ */

static void
sql(PGconn *pg, const char *text)
{
    PGresult *result = PQexec(pg, text);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        die(text, PQerrorMessage(pg));
    PQclear(result);
}

#define OF_USER "(SELECT id FROM emailing_users WHERE name = 'user%u')"
#define OF_ADDRESS "(SELECT id FROM emailing_addresses" \
                   " WHERE address = 'local%u@domain%u.example')"
#define OF_DOMAIN "(SELECT id FROM emailing_domains" \
                  " WHERE domain = 'domain%u.example')"

static void
change_address(unsigned int user, struct state *state, char *text, size_t size)
{
    unsigned int n = (unsigned int) random() % ADDRESSES;

    state->addresses ^= 1u << n;
    snprintf(text, size,
             state->addresses & (1u << n)
                 ? "INSERT INTO emailing_users_addresses (id_user, id_address)"
                   " VALUES (" OF_USER ", " OF_ADDRESS ")"
                 : "DELETE FROM emailing_users_addresses WHERE id_user = "
                   OF_USER " AND id_address = " OF_ADDRESS,
             user, n % LOCALS, n / LOCALS);
}

static void
change_domain(unsigned int user, struct state *state, char *text, size_t size)
{
    unsigned int n = (unsigned int) random() % DOMAINS;
    uint32_t bit = 1u << n;

    if (!(state->domains & bit)) {
        bool below = random() % 2;

        state->domains |= bit;
        state->subdomains = (state->subdomains & ~bit) | (below ? bit : 0);
        snprintf(text, size,
                 "INSERT INTO emailing_users_domains"
                 " (id_user, id_domain, subdomains)"
                 " VALUES (" OF_USER ", " OF_DOMAIN ", %s)",
                 user, n, below ? "true" : "false");
    } else if (random() % 3 == 0) {
        state->subdomains ^= bit;
        snprintf(text, size,
                 "UPDATE emailing_users_domains SET subdomains = NOT"
                 " subdomains WHERE id_user = " OF_USER
                 " AND id_domain = " OF_DOMAIN,
                 user, n);
    } else {
        state->domains &= ~bit;
        snprintf(text, size,
                 "DELETE FROM emailing_users_domains WHERE id_user = " OF_USER
                 " AND id_domain = " OF_DOMAIN,
                 user, n);
    }
}

/* One change of one user, as a statement, and what he may do after it. */
static void
choose_change(unsigned int user, struct state *state, char *text, size_t size)
{
    unsigned int kind = (unsigned int) random() % 20;

    if (!state->exists) {
        *state = (struct state){.exists = true, .enabled = true};
        snprintf(text, size,
                 "INSERT INTO emailing_users (name, passwd)"
                 " VALUES ('user%u', '*')",
                 user);
    } else if (kind == 0) {
        *state = (struct state){.exists = false};
        snprintf(text, size, "DELETE FROM emailing_users WHERE name ="
                             " 'user%u'",
                 user);
    } else if (kind <= 2 || !state->enabled) {
        state->enabled = !state->enabled;
        snprintf(text, size, "UPDATE emailing_users SET enabled = %s"
                             " WHERE name = 'user%u'",
                 state->enabled ? "true" : "false", user);
    } else if (kind <= 12) {
        change_address(user, state, text, size);
    } else {
        change_domain(user, state, text, size);
    }
}

static void
change_one(PGconn *pg)
{
    unsigned int user = (unsigned int) random() % USERS;
    struct history *history = &shared->users[user];
    unsigned int count = history->count;
    struct version *next = &history->versions[count % VERSIONS];
    char text[600];

    next->state = history->versions[(count - 1) % VERSIONS].state;
    choose_change(user, &next->state, text, sizeof(text));
    next->confirmed = NEVER;
    next->begun = now_us();
    history->count = count + 1;
    sql(pg, text);
    next->confirmed = now_us();
    shared->changes++;
}

static void
change_all(unsigned int seed)
{
    PGconn *pg = PQconnectdb("");

    if (PQstatus(pg) != CONNECTION_OK)
        die("connect", PQerrorMessage(pg));
    srandom(seed + 1);
    while (!shared->stop)
        change_one(pg);
    PQfinish(pg);
    exit(0);
}

static void
set_up(void)
{
    PGconn *pg = PQconnectdb("");
    char text[300];
    unsigned int i;

    if (PQstatus(pg) != CONNECTION_OK)
        die("connect", PQerrorMessage(pg));
    sql(pg, "DELETE FROM emailing_users");
    sql(pg, "DELETE FROM emailing_addresses");
    sql(pg, "DELETE FROM emailing_domains");
    snprintf(text, sizeof(text),
             "INSERT INTO emailing_domains (domain) SELECT 'domain' || i ||"
             " '.example' FROM generate_series(0, %d) i",
             DOMAINS - 1);
    sql(pg, text);
    snprintf(text, sizeof(text),
             "INSERT INTO emailing_addresses (address) SELECT 'local' || l ||"
             " '@domain' || d || '.example' FROM generate_series(0, %d) l,"
             " generate_series(0, %d) d",
             LOCALS - 1, DOMAINS - 1);
    sql(pg, text);
    snprintf(text, sizeof(text),
             "INSERT INTO emailing_users (name, passwd) SELECT 'user' || i,"
             " '*' FROM generate_series(0, %d) i",
             USERS - 1);
    sql(pg, text);
    for (i = 0; i < USERS; i++) {
        shared->users[i].versions[0].state.exists = true;
        shared->users[i].versions[0].state.enabled = true;
        shared->users[i].count = 1;
    }
    PQfinish(pg);
}

/* -- asking -------------------------------------------------------------------- */

static enum verdict
right_answer(const struct state *state, const struct question *question)
{
    uint32_t domain = 1u << question->domain, address;

    if (!state->exists || !state->enabled)
        return NO_USER;
    if (question->below)
        return state->domains & state->subdomains & domain ? PERMIT
                                                           : NOT_GRANTED;
    if (state->domains & domain)
        return PERMIT;
    if (question->local == LOCALS)
        return NOT_GRANTED;
    address = 1u << (question->domain * LOCALS + question->local);
    return state->addresses & address ? PERMIT : NOT_GRANTED;
}

/* Whether the answer is right for a state that held between the two times. */
static bool
is_right(const struct question *question, enum verdict verdict, uint64_t from,
         uint64_t to)
{
    struct history *history = &shared->users[question->user];
    unsigned int i = history->count;
    uint64_t ended = NEVER;

    while (i-- > 0) {
        struct version *version = &history->versions[i % VERSIONS];

        if (ended < from)
            return false;
        if (version->begun <= to
            && right_answer(&version->state, question) == verdict)
            return true;
        ended = version->confirmed;
    }
    return false;
}

static void
ask(struct client *client)
{
    struct question *question = &client->question;
    char text[512], local[16] = "other";
    int len;

    question->user = (unsigned int) random() % USERS;
    question->domain = (unsigned int) random() % DOMAINS;
    question->local = (unsigned int) random() % (LOCALS + 1);
    question->below = random() % 4 == 0;
    if (question->local < LOCALS)
        snprintf(local, sizeof(local), "local%u", question->local);
    len = snprintf(text, sizeof(text),
                   "request=smtpd_access_policy\nprotocol_state=RCPT\n"
                   "sasl_method=PLAIN\nsasl_username=user%u\n"
                   "sender=%s@%sdomain%u.example\n\n",
                   question->user, local, question->below ? "below." : "",
                   question->domain);
    client->used = 0;
    client->asked = now_us();
    if (send(client->fd, text, (size_t) len, MSG_NOSIGNAL) != len)
        die("send", strerror(errno));
}

static enum verdict
read_verdict(const char *reply)
{
    if (strcmp(reply, "action=DUNNO\n\n") == 0)
        return PERMIT;
    if (strncmp(reply, "action=553 5.7.1 user ", 22) == 0)
        return NO_USER;
    if (strncmp(reply, "action=553 5.7.1 not granted", 28) == 0)
        return NOT_GRANTED;
    return strncmp(reply, "action=451 4.3.0 ", 17) == 0 ? DEFER : OTHER;
}

/* True once a whole reply is there. */
static bool
receive(struct client *client)
{
    ssize_t n = recv(client->fd, client->reply + client->used,
                     sizeof(client->reply) - 1 - client->used, 0);

    if (n <= 0)
        die("recv", n == 0 ? "closed" : strerror(errno));
    client->used += (size_t) n;
    client->reply[client->used] = '\0';
    return strstr(client->reply, "\n\n") != NULL;
}

static bool
check(const struct client *client, enum verdict verdict)
{
    const struct question *question = &client->question;
    uint64_t now = now_us(), from = client->asked - window_us;
    static int told;

    if (is_right(question, verdict, from, now))
        return true;
    if (told++ < 10)
        printf("# wrong: user%u local %u %sdomain %u: %s, after %u states,"
               " %llu us\n",
               question->user, question->local,
               question->below ? "below " : "", question->domain,
               verdict_names[verdict], shared->users[question->user].count,
               (unsigned long long) (now - client->asked));
    return false;
}

static int
connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        die(path, "no socket");
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
        die(path, strerror(errno));
    return fd;
}

static void
ask_all(const char *path, unsigned long count, bool defer_ok)
{
    struct client clients[CONNECTIONS];
    struct pollfd fds[CONNECTIONS];
    unsigned long asked = 0, deferred = 0, wrong = 0;
    int i;

    for (i = 0; i < CONNECTIONS; i++) {
        clients[i].fd = fds[i].fd = connect_to(path);
        fds[i].events = POLLIN;
        ask(&clients[i]);
    }
    while (asked - deferred < count) {
        if (poll(fds, CONNECTIONS, ANSWER_MS) <= 0)
            die("poll", "no answer in time");
        for (i = 0; i < CONNECTIONS; i++) {
            enum verdict verdict;

            if (now_us() - clients[i].asked > ANSWER_MS * 1000ull)
                die("answer", "late");
            if (!(fds[i].revents & (POLLIN | POLLHUP | POLLERR))
                || !receive(&clients[i]))
                continue;
            asked++;
            verdict = read_verdict(clients[i].reply);
            if (verdict == DEFER)
                deferred++;
            else if (!check(&clients[i], verdict))
                wrong++;
            ask(&clients[i]);
        }
    }
    printf("asked %lu changed %lu deferred %lu wrong %lu\n", asked,
           shared->changes, deferred, wrong);
    if (wrong > 0 || (deferred > 0 && !defer_ok))
        exit(1);
}

static pid_t changer;

static void
end_changer(void)
{
    if (changer > 0)
        kill(changer, SIGKILL);
}

int
main(int argc, char **argv)
{
    unsigned int seed = argc > 5 ? (unsigned int) atoi(argv[5]) : 1;
    int status;

    if (argc < 5)
        die("usage", "SOCKET COUNT WINDOW_MS DEFER_OK [SEED]");
    window_us = strtoul(argv[3], NULL, 10) * 1000;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("mmap", strerror(errno));
    srandom(seed);
    set_up();
    usleep(300000);
    changer = fork();
    if (changer < 0)
        die("fork", strerror(errno));
    if (changer == 0)
        change_all(seed);
    atexit(end_changer);
    ask_all(argv[1], strtoul(argv[2], NULL, 10), atoi(argv[4]) != 0);
    shared->stop = true;
    if (waitpid(changer, &status, 0) != changer || status != 0)
        die("changes", "failed");
    changer = 0;
    return 0;
}
