/* SPDX-License-Identifier: MIT */
/*
 * The host (smtpd) serves one SMTP client per process and blocks while it
 * waits for us, so this is plain blocking code with one deadline. The things
 * that go wrong are the reason for its length:
 *
 * - policyd is restarted: an idle connection is looked at before it is used,
 *   one that breaks is replaced once, and a socket that is not there, or that
 *   nobody listens on, is tried again for a second;
 * - an answer comes too late: the connection is closed, so that it can never
 *   be taken for the answer to the next question;
 * - the host forks, or closes descriptors that are not its own: a connection
 *   remembers its process and its inode, or a password might be sent to
 *   whoever has the descriptor's number now.
 */
#include "config.h"

#include "saslplugin/client.h"

#include "lib/attr.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX 2048
#define CONNECT_MS 1000 /* about what a restart of policyd takes */
#define CONNECT_PAUSE_MS 50
#define TRIES 2 /* a connection that breaks is replaced once */

struct peer {
    int fd;
    pid_t owner;
    dev_t dev;
    ino_t ino;
};

struct client {
    struct sockaddr_un address;
    int64_t timeout_ms;
    _Atomic(struct peer *) idle;
};

enum exchange {
    EXCHANGE_DONE,  /* there is a reply */
    EXCHANGE_LOST,  /* the connection broke: another may do better */
    EXCHANGE_FAILED /* too late, or not the protocol */
};

struct client *
client_new(const char *path, int timeout_seconds)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    client->address.sun_family = AF_UNIX;
    memcpy(client->address.sun_path, path, strnlen(path, CLIENT_PATH_MAX));
    client->timeout_ms = (int64_t) timeout_seconds * 1000;
    atomic_init(&client->idle, NULL);
    return client;
}

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* -- connections ---------------------------------------------------------- */

static struct peer *
peer_new(int fd)
{
    struct peer *peer = malloc(sizeof(*peer));
    struct stat st;

    if (peer == NULL || fstat(fd, &st) != 0) {
        free(peer);
        return NULL;
    }
    peer->fd = fd;
    peer->owner = getpid();
    peer->dev = st.st_dev;
    peer->ino = st.st_ino;
    return peer;
}

/* A descriptor whose number now belongs to something else is left alone. */
static void
peer_close(struct peer *peer)
{
    struct stat st;

    if (fstat(peer->fd, &st) == 0 && st.st_dev == peer->dev
        && st.st_ino == peer->ino)
        close(peer->fd);
    free(peer);
}

/* An idle connection has nothing to read: neither an end of file, which says
 * that policyd went away, nor bytes that no question of ours asked for. */
static bool
peer_is_usable(const struct peer *peer)
{
    struct stat st;
    char byte;

    return peer->owner == getpid() && fstat(peer->fd, &st) == 0
           && st.st_dev == peer->dev && st.st_ino == peer->ino
           && recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1
           && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static struct peer *
take_idle(struct client *client)
{
    struct peer *peer = atomic_exchange(&client->idle, NULL);

    if (peer != NULL && !peer_is_usable(peer)) {
        peer_close(peer);
        peer = NULL;
    }
    return peer;
}

/* Keeps one connection; a second one, of another thread, is closed. */
static void
put_idle(struct client *client, struct peer *peer)
{
    peer = atomic_exchange(&client->idle, peer);
    if (peer != NULL)
        peer_close(peer);
}

void
client_free(struct client **client)
{
    if (*client == NULL)
        return;
    put_idle(*client, NULL);
    free(*client);
    *client = NULL;
}

/* Says why there was no answer. */
static void
fail(const struct client *client, struct client_reply *reply,
     const char *doing, const char *why)
{
    reply->status = CLIENT_FAILED;
    snprintf(reply->error, sizeof(reply->error), "%.*s: %s: %.80s",
             CLIENT_PATH_MAX, client->address.sun_path, doing, why);
}

/* Waits until the time or, when there is a descriptor, for an event on it.
 * Returns false when the time has come. */
static bool
wait_until(int fd, short events, int64_t when)
{
    struct pollfd pollfd = {.fd = fd, .events = events};
    int64_t left;

    while ((left = when - now_ms()) > 0) {
        int n = poll(&pollfd, 1, (int) left);

        if (n > 0 || (n < 0 && errno != EINTR))
            return true; /* the next call on the descriptor says what it is */
    }
    return false;
}

/* Restarts of policyd and a full backlog pass. */
static bool
is_passing(int error)
{
    return error == ECONNREFUSED || error == ENOENT || error == EAGAIN
           || error == EINTR;
}

static int
connect_once(const struct client *client)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error;

    if (fd >= 0
        && connect(fd, (const struct sockaddr *) &client->address,
                   sizeof(client->address)) != 0) {
        error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static struct peer *
peer_open(const struct client *client, int64_t deadline,
          struct client_reply *reply)
{
    int64_t give_up = now_ms() + CONNECT_MS;
    struct peer *peer;
    int fd, error;

    if (give_up > deadline)
        give_up = deadline;
    while ((fd = connect_once(client)) < 0) {
        error = errno;
        if (!is_passing(error) || now_ms() + CONNECT_PAUSE_MS >= give_up) {
            fail(client, reply, "connect", strerror(error));
            return NULL;
        }
        wait_until(-1, 0, now_ms() + CONNECT_PAUSE_MS);
    }
    peer = peer_new(fd);
    if (peer == NULL) {
        fail(client, reply, "connect", strerror(errno));
        close(fd);
    }
    return peer;
}

/* -- one question --------------------------------------------------------- */

static const struct attr_name reply_names[] = {
    ATTR_NAME(ATTR_STATUS),
    ATTR_NAME(ATTR_VERIFIER),
};
enum { REPLY_STATUS, REPLY_VERIFIER, REPLY_NAMES };

static bool
parse_status(const char *status, enum client_status *status_r)
{
    if (strcmp(status, ATTR_STATUS_OK) == 0)
        *status_r = CLIENT_OK;
    else if (strcmp(status, ATTR_STATUS_DENIED) == 0)
        *status_r = CLIENT_DENIED;
    else if (strcmp(status, ATTR_STATUS_UNAVAILABLE) == 0)
        *status_r = CLIENT_UNAVAILABLE;
    else
        return false;
    return true;
}

/* Returns an error. */
static const char *
parse_block(const char *buf, const struct attr_value *values,
            struct client_reply *reply)
{
    const struct attr_value *verifier = &values[REPLY_VERIFIER];

    if (!values[REPLY_STATUS].present)
        return "no status";
    if (!parse_status(buf + values[REPLY_STATUS].offset, &reply->status))
        return "unknown status";
    if (verifier->present && verifier->len >= sizeof(reply->verifier))
        return "verifier too long";
    if (verifier->present)
        memcpy(reply->verifier, buf + verifier->offset, verifier->len);
    return NULL;
}

/* attr_read() works in place and a reply may come in pieces, each of which
 * makes this start over: hence the copy. Replies are short and come whole. */
enum client_parse
client_parse_reply(const char *buf, size_t len, struct client_reply *reply_r)
{
    char copy[CLIENT_REPLY_MAX];
    struct attr_reader reader;
    enum attr_result result = ATTR_BAD;
    const char *error = "reply too long";
    size_t used = 0;

    memset(reply_r, 0, sizeof(*reply_r));
    attr_reader_reset(&reader);
    if (len <= sizeof(copy)) {
        memcpy(copy, buf, len);
        result = attr_read(&reader, reply_names, REPLY_NAMES, copy, len, &used,
                           &error);
    }
    if (result == ATTR_BLOCK)
        error = used == len ? parse_block(copy, reader.values, reply_r)
                            : "more than one reply";
    explicit_bzero(copy, sizeof(copy));
    if (result == ATTR_BLOCK && error == NULL)
        return CLIENT_PARSE_DONE;
    reply_r->status = CLIENT_FAILED;
    if (result == ATTR_MORE)
        return CLIENT_PARSE_MORE;
    snprintf(reply_r->error, sizeof(reply_r->error), "%s", error);
    return CLIENT_PARSE_BAD;
}

/* Returns the length of the request, 0 when it cannot be sent: a value that
 * would break the framing, or an address or a service beyond all reason. */
static size_t
write_request(const struct client_request *request, char *buf, size_t size)
{
    struct attr_writer writer;

    attr_writer_init(&writer, buf, size);
    attr_write(&writer, ATTR_REQUEST, request->request,
               strlen(request->request));
    attr_write(&writer, ATTR_USER, request->user, request->user_len);
    if (request->password != NULL)
        attr_write(&writer, ATTR_PASSWORD, request->password,
                   strlen(request->password));
    attr_write(&writer, ATTR_CLIENT, request->client, request->client_len);
    attr_write(&writer, ATTR_SERVICE, request->service,
               strlen(request->service));
    return attr_write_end(&writer);
}

static bool
is_again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static enum exchange
send_request(const struct client *client, int fd, const char *request,
             size_t len, int64_t deadline, struct client_reply *reply)
{
    while (len > 0) {
        ssize_t n = send(fd, request, len, MSG_NOSIGNAL);

        if (n > 0) {
            request += n;
            len -= (size_t) n;
        } else if (n < 0 && !is_again()) {
            fail(client, reply, "send", strerror(errno));
            return EXCHANGE_LOST;
        } else if (!wait_until(fd, POLLOUT, deadline)) {
            fail(client, reply, "send", "timed out");
            return EXCHANGE_FAILED;
        }
    }
    return EXCHANGE_DONE;
}

/* One byte more than a reply may have is read, so that the parser sees it. */
static enum exchange
receive_reply(const struct client *client, int fd, char *buf, int64_t deadline,
              struct client_reply *reply)
{
    char error[CLIENT_ERROR_MAX];
    enum client_parse parse = CLIENT_PARSE_MORE;
    size_t len = 0;

    while (parse == CLIENT_PARSE_MORE) {
        ssize_t n = recv(fd, buf + len, CLIENT_REPLY_MAX + 1 - len, 0);

        if (n > 0) {
            len += (size_t) n;
            parse = client_parse_reply(buf, len, reply);
        } else if (n == 0 || !is_again()) {
            fail(client, reply, "receive",
                 n == 0 ? "connection closed" : strerror(errno));
            return EXCHANGE_LOST;
        } else if (!wait_until(fd, POLLIN, deadline)) {
            fail(client, reply, "receive", "timed out");
            return EXCHANGE_FAILED;
        }
    }
    if (parse == CLIENT_PARSE_DONE)
        return EXCHANGE_DONE;
    memcpy(error, reply->error, sizeof(error));
    fail(client, reply, "not a reply", error);
    return EXCHANGE_FAILED;
}

static enum exchange
ask_peer(const struct client *client, int fd, const char *request, size_t len,
         int64_t deadline, struct client_reply *reply)
{
    char buf[CLIENT_REPLY_MAX + 1];
    enum exchange exchange;

    exchange = send_request(client, fd, request, len, deadline, reply);
    if (exchange == EXCHANGE_DONE)
        exchange = receive_reply(client, fd, buf, deadline, reply);
    explicit_bzero(buf, sizeof(buf));
    return exchange;
}

void
client_ask(struct client *client, const struct client_request *request,
           struct client_reply *reply_r)
{
    int64_t deadline = now_ms() + client->timeout_ms;
    enum exchange exchange = EXCHANGE_LOST;
    char buf[REQUEST_MAX];
    size_t len = write_request(request, buf, sizeof(buf));
    int tries;

    memset(reply_r, 0, sizeof(*reply_r));
    if (len == 0)
        fail(client, reply_r, "request", "a value cannot be sent");
    for (tries = 0; len > 0 && exchange == EXCHANGE_LOST && tries < TRIES;
         tries++) {
        struct peer *peer = take_idle(client);

        if (peer == NULL)
            peer = peer_open(client, deadline, reply_r);
        if (peer == NULL)
            break;
        exchange = ask_peer(client, peer->fd, buf, len, deadline, reply_r);
        if (exchange == EXCHANGE_DONE)
            put_idle(client, peer);
        else
            peer_close(peer);
    }
    explicit_bzero(buf, sizeof(buf));
}
