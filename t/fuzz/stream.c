/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/fuzz/fake.h"
#include "t/fuzz/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IDLE_ROUNDS 3 /* of the loop, before it counts as done */

struct run {
    uv_loop_t loop;
    int fd; /* the client's */
    bool closed;
    char *replies;
    size_t len;
};

/* An abstract name that the kernel picks: no file, no port. */
static int
make_listener(struct sockaddr_un *address, socklen_t *len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    address->sun_family = AF_UNIX;
    CHECK(bind(fd, (struct sockaddr *) address, sizeof(sa_family_t)) == 0);
    *len = sizeof(*address);
    CHECK(getsockname(fd, (struct sockaddr *) address, len) == 0);
    return fd;
}

static int
make_client(const struct sockaddr_un *address, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *) address, len) == 0);
    return fd;
}

/* True when something came. */
static bool
receive(struct run *run)
{
    ssize_t n;

    if (run->fd < 0 || run->closed)
        return false;
    CHECK(run->len < STREAM_MAX);
    n = recv(run->fd, run->replies + run->len, STREAM_MAX - run->len, 0);
    if (n > 0)
        run->len += (size_t) n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        run->closed = true;
    return n > 0;
}

static void
pump(struct run *run, bool reading)
{
    int idle = 0;

    while (idle < IDLE_ROUNDS) {
        bool busy = fake_step();

        uv_run(&run->loop, UV_RUN_NOWAIT);
        if (reading)
            busy |= receive(run);
        idle = busy ? 0 : idle + 1;
    }
}

static void
send_all(struct run *run, struct piece bytes,
         const struct stream_choices *choices)
{
    size_t at = 0, piece = choices->piece > 0 ? choices->piece : bytes.len;
    size_t end = choices->leave ? bytes.len / 2 : bytes.len;

    while (at < end && !run->closed) {
        size_t len = end - at < piece ? end - at : piece;
        ssize_t n = send(run->fd, bytes.text + at, len, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t) n;
        else if (errno != EAGAIN)
            break;
        /* A full socket must be read from, or nothing would ever move. */
        pump(run, !choices->read_late || n < 0);
    }
}

static void
close_server(struct run *run, struct server **server)
{
    server_free(server);
    while (fake_step())
        ;
    uv_run(&run->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&run->loop) == 0);
}

bool
stream_run(const struct protocol *protocol, void *context, struct piece bytes,
           const struct stream_choices *choices, char *replies_r,
           size_t *len_r)
{
    struct server_budget budget = {.most = 16};
    struct run run = {.replies = replies_r};
    struct sockaddr_un address;
    struct server *server;
    const char *error;
    socklen_t len;
    int listener = make_listener(&address, &len);

    CHECK(uv_loop_init(&run.loop) == 0);
    server = server_new(&run.loop, listener, protocol, context, &budget,
                        &error);
    CHECK(server != NULL);
    run.fd = make_client(&address, len);
    send_all(&run, bytes, choices);
    if (choices->leave) {
        close(run.fd);
        run.fd = -1;
    } else if (choices->half_close) {
        shutdown(run.fd, SHUT_WR);
    }
    pump(&run, true);
    CHECK(run.fd >= 0 || server_counts(server).connections == 0);
    CHECK(!choices->half_close || run.closed || run.fd < 0);
    close_server(&run, &server);
    if (run.fd >= 0)
        close(run.fd);
    *len_r = run.len;
    return run.closed;
}

struct piece
stream_expand(struct piece bytes, bool tildes)
{
    size_t size = bytes.len, i, at = 0;
    char *copy;

    for (i = 0; tildes && i < bytes.len; i++)
        if (bytes.text[i] == '~' && size < STREAM_MAX - STREAM_TILDE)
            size += STREAM_TILDE - 1;
    copy = malloc(size + 1);
    CHECK(copy != NULL);
    for (i = 0; i < bytes.len; i++)
        if (tildes && bytes.text[i] == '~'
            && at + STREAM_TILDE + (bytes.len - i - 1) <= size) {
            memset(copy + at, 'x', STREAM_TILDE);
            at += STREAM_TILDE;
        } else {
            copy[at++] = bytes.text[i];
        }
    return (struct piece){copy, at};
}

/* Adds one line to the values; false when it breaks a rule. */
static bool
take_line(struct piece line, const char *const *names, size_t count,
          struct piece *values, bool *seen)
{
    struct piece name = line;
    size_t i;

    if (line.len > ATTR_LINE_MAX || memchr(line.text, '\0', line.len)
        || memchr(line.text, '\r', line.len))
        return false;
    for (name.len = 0; name.len < line.len && name.text[name.len] != '=';
         name.len++)
        ;
    if (name.len == line.len || name.len == 0)
        return false;
    for (i = 0; i < count && !piece_is(&name, names[i]); i++)
        ;
    if (i == count)
        return true;
    if (seen[i])
        return false;
    seen[i] = true;
    values[i].text = line.text + name.len + 1;
    values[i].len = line.len - name.len - 1;
    return true;
}

bool
stream_request(struct piece *bytes, const char *const *names, size_t count,
               struct piece *values_r)
{
    bool seen[STREAM_VALUES] = {false};
    size_t start = bytes->len, i;
    struct piece line;

    for (i = 0; i < count; i++)
        values_r[i] = (struct piece){"", 0};
    while (memchr(bytes->text, '\n', bytes->len) != NULL
           && fuzz_line(bytes, &line)) {
        if (start - bytes->len > ATTR_BLOCK_MAX)
            return false;
        if (line.len == 0)
            return start - bytes->len > 1;
        if (!take_line(line, names, count, values_r, seen))
            return false;
    }
    return false;
}

bool
stream_reply(struct piece *replies, struct piece *reply_r)
{
    const char *end = memmem(replies->text, replies->len, "\n\n", 2);

    if (replies->len == 0)
        return false;
    CHECK(end != NULL);
    reply_r->text = replies->text;
    reply_r->len = (size_t) (end - replies->text);
    replies->text = end + 2;
    replies->len -= reply_r->len + 2;
    CHECK(reply_r->len > 0 && reply_r->len + 2 <= 512);
    return true;
}
