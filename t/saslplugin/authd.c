/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/saslplugin/authd.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STEPS_MAX 64
#define CONNECTIONS_MAX 32
#define REQUEST_MAX 4096

struct step {
    enum authd_step step;
    const char *text;
};

struct connection {
    int fd;
    size_t len;
    char buf[REQUEST_MAX];
};

struct authd {
    pthread_t thread;
    pthread_mutex_t lock; /* of what stands up to the empty line */
    struct step steps[STEPS_MAX];
    unsigned steps_count, next_step;
    unsigned requests, connections;
    char last[REQUEST_MAX];

    struct sockaddr_un address;
    int listener, wake[2];
    struct connection peers[CONNECTIONS_MAX];
    unsigned peers_count;
    int late_fd;
    const char *late_text; /* due on late_fd, or NULL */
};

static void
must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void
send_text(int fd, const char *text, size_t piece)
{
    for (; *text != '\0'; text += piece) {
        if (send(fd, text, piece, MSG_NOSIGNAL) < 0)
            return;
        if (text[piece] != '\0')
            usleep(500);
    }
}

static bool
has_line(const char *request, const char *line)
{
    size_t len = strlen(line);

    for (; *request != '\0'; request += strcspn(request, "\n") + 1)
        if (strcspn(request, "\n") == len && memcmp(request, line, len) == 0)
            return true;
    return false;
}

/* "cGVuY2ls" is the password. */
static const char *
know(const char *request)
{
    if (has_line(request, "request=verifier"))
        return "status=ok\nverifier=" AUTHD_VERIFIER "\n\n";
    if (has_line(request, "user=" AUTHD_USER)
        && has_line(request, "password=cGVuY2ls"))
        return "status=ok\n\n";
    return "status=denied\n\n";
}

static struct step
next_step(struct authd *authd, const char *request)
{
    struct step step = {AUTHD_REPLY, NULL};

    pthread_mutex_lock(&authd->lock);
    authd->requests++;
    strcpy(authd->last, request);
    if (authd->next_step < authd->steps_count)
        step = authd->steps[authd->next_step++];
    pthread_mutex_unlock(&authd->lock);
    if (step.text == NULL)
        step.text = know(request);
    return step;
}

/* Returns false when the connection is to be closed. */
static bool
play(struct authd *authd, int fd, const char *request)
{
    struct step step = next_step(authd, request);

    if (authd->late_text != NULL)
        send_text(authd->late_fd, authd->late_text,
                  strlen(authd->late_text));
    authd->late_text = NULL;
    if (step.step == AUTHD_LATE) {
        authd->late_fd = fd;
        authd->late_text = step.text;
    } else if (step.step != AUTHD_SILENT && *step.text != '\0') {
        send_text(fd, step.text,
                  step.step == AUTHD_PIECES ? 1 : strlen(step.text));
    }
    return step.step != AUTHD_CLOSE;
}

static bool
serve(struct authd *authd, struct connection *peer)
{
    ssize_t n = recv(peer->fd, peer->buf + peer->len,
                     sizeof(peer->buf) - 1 - peer->len, 0);

    if (n <= 0)
        return false;
    peer->len += (size_t) n;
    peer->buf[peer->len] = '\0';
    if (strstr(peer->buf, "\n\n") == NULL)
        return true;
    peer->len = 0;
    return play(authd, peer->fd, peer->buf);
}

static void
accept_one(struct authd *authd)
{
    int fd = accept(authd->listener, NULL, NULL);

    must(fd >= 0 && authd->peers_count < CONNECTIONS_MAX, "accept");
    authd->peers[authd->peers_count].fd = fd;
    authd->peers[authd->peers_count].len = 0;
    authd->peers_count++;
    pthread_mutex_lock(&authd->lock);
    authd->connections++;
    pthread_mutex_unlock(&authd->lock);
}

static void
drop(struct authd *authd, unsigned i)
{
    if (authd->late_fd == authd->peers[i].fd)
        authd->late_text = NULL;
    close(authd->peers[i].fd);
    authd->peers[i] = authd->peers[--authd->peers_count];
}

static void *
run(void *arg)
{
    struct authd *authd = arg;
    struct pollfd fds[CONNECTIONS_MAX + 2];
    unsigned i, count;

    for (;;) {
        fds[0] = (struct pollfd) {.fd = authd->wake[0], .events = POLLIN};
        fds[1] = (struct pollfd) {.fd = authd->listener, .events = POLLIN};
        count = authd->peers_count;
        for (i = 0; i < count; i++)
            fds[i + 2] = (struct pollfd) {.fd = authd->peers[i].fd,
                                          .events = POLLIN};
        must(poll(fds, count + 2, -1) > 0, "poll");
        if (fds[0].revents != 0)
            return NULL;
        for (i = count; i-- > 0;)
            if (fds[i + 2].revents != 0 && !serve(authd, &authd->peers[i]))
                drop(authd, i);
        if (fds[1].revents != 0)
            accept_one(authd);
    }
}

struct authd *
authd_start(const char *path)
{
    struct authd *authd = calloc(1, sizeof(*authd));

    must(authd != NULL, "calloc");
    authd->address.sun_family = AF_UNIX;
    must(strlen(path) < sizeof(authd->address.sun_path), path);
    strcpy(authd->address.sun_path, path);
    authd->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(authd->listener >= 0, "socket");
    must(bind(authd->listener, (struct sockaddr *) &authd->address,
              sizeof(authd->address)) == 0, "bind");
    must(listen(authd->listener, 16) == 0, "listen");
    must(pipe(authd->wake) == 0, "pipe");
    pthread_mutex_init(&authd->lock, NULL);
    must(pthread_create(&authd->thread, NULL, run, authd) == 0, "thread");
    return authd;
}

void
authd_stop(struct authd **authd)
{
    struct authd *old = *authd;

    must(write(old->wake[1], "", 1) == 1, "write");
    pthread_join(old->thread, NULL);
    while (old->peers_count > 0)
        drop(old, 0);
    close(old->listener);
    close(old->wake[0]);
    close(old->wake[1]);
    unlink(old->address.sun_path);
    pthread_mutex_destroy(&old->lock);
    free(old);
    *authd = NULL;
}

void
authd_script(struct authd *authd, enum authd_step step, const char *text)
{
    pthread_mutex_lock(&authd->lock);
    must(authd->steps_count < STEPS_MAX, "script");
    authd->steps[authd->steps_count++] = (struct step) {step, text};
    pthread_mutex_unlock(&authd->lock);
}

static unsigned
get(struct authd *authd, const unsigned *counter)
{
    unsigned n;

    pthread_mutex_lock(&authd->lock);
    n = *counter;
    pthread_mutex_unlock(&authd->lock);
    return n;
}

unsigned
authd_requests(struct authd *authd)
{
    return get(authd, &authd->requests);
}

unsigned
authd_connections(struct authd *authd)
{
    return get(authd, &authd->connections);
}

bool
authd_saw(struct authd *authd, const char *line)
{
    bool saw;

    pthread_mutex_lock(&authd->lock);
    saw = has_line(authd->last, line);
    pthread_mutex_unlock(&authd->lock);
    return saw;
}
