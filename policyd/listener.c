/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define AT_ONCE 64    /* others on the loop have their turn after so many */
#define PAUSE_MS 100  /* when a client cannot even be turned away */

struct listener {
    uv_poll_t poll;
    uv_timer_t pause;
    unsigned int handles; /* of the two, not closed yet */
    int fd;
    int spare; /* a descriptor for when there is none; -1: lost */
    const struct listener_events *events;
    void *context;
};

static int
take_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int
take_client(const struct listener *listener)
{
    return accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* Closes the connection of the next client. What accept4(2) said to that, as
 * an error number; without a descriptor it never says that nobody is there. */
static int
turn_away(struct listener *listener)
{
    int client, error;

    if (listener->spare < 0)
        return EMFILE;
    close(listener->spare);
    client = take_client(listener);
    error = client < 0 ? errno : 0;
    if (client >= 0)
        close(client);
    listener->spare = take_spare();
    return error;
}

static void on_pause_over(uv_timer_t *pause);

/* After an error: whether there may be a next client to look for. */
static bool
go_on(struct listener *listener, int error)
{
    if (error == EINTR || error == ECONNABORTED)
        return true;
    if (error == EAGAIN)
        return false;
    listener->events->failed(listener->context, strerror(error));
    error = turn_away(listener);
    if (error == 0 || error == EAGAIN)
        return error == 0;
    uv_poll_stop(&listener->poll);
    uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
    return false;
}

static void
on_clients(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    bool more = true;
    int i;

    (void) status;
    (void) events;
    for (i = 0; i < AT_ONCE && more; i++) {
        int client = take_client(listener);

        if (client >= 0)
            listener->events->accepted(listener->context, client);
        else
            more = go_on(listener, errno);
    }
}

static void
on_pause_over(uv_timer_t *pause)
{
    struct listener *listener = pause->data;

    if (listener->spare < 0)
        listener->spare = take_spare();
    uv_poll_start(&listener->poll, UV_READABLE, on_clients);
}

static void
on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    if (--listener->handles == 0)
        free(listener);
}

struct listener *
listener_new(uv_loop_t *loop, int fd, const struct listener_events *events,
             void *context, const char **error_r)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    int status;

    *error_r = "out of memory";
    if (listener == NULL)
        return NULL;
    if (listen(fd, BACKLOG) != 0) {
        *error_r = strerror(errno);
        free(listener);
        return NULL;
    }
    status = uv_poll_init(loop, &listener->poll, fd);
    if (status != 0) {
        *error_r = uv_strerror(status);
        free(listener);
        return NULL;
    }
    uv_timer_init(loop, &listener->pause);
    listener->poll.data = listener->pause.data = listener;
    listener->handles = 2;
    listener->fd = fd;
    listener->spare = take_spare();
    listener->events = events;
    listener->context = context;
    uv_poll_start(&listener->poll, UV_READABLE, on_clients);
    return listener;
}

void
listener_free(struct listener **listener)
{
    struct listener *old = *listener;

    *listener = NULL;
    if (old == NULL)
        return;
    uv_close((uv_handle_t *) &old->poll, on_closed);
    uv_close((uv_handle_t *) &old->pause, on_closed);
    close(old->fd);
    if (old->spare >= 0)
        close(old->spare);
}
