/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The supervisor's socket, which may be abstract ("@name"). Connected while we
 * may still be root, so that its folder need not be open to the daemon. */
static int
connect_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int fd;

    if ((path[0] != '/' && path[0] != '@')
        || len >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0
        && connect(fd, (struct sockaddr *) &address,
                   (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len))
               != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void
tell(const struct notify *notify, const char *state)
{
    if (notify->fd >= 0)
        (void) !send(notify->fd, state, strlen(state), MSG_NOSIGNAL);
}

static void
on_watchdog(uv_timer_t *timer)
{
    tell(timer->data, "WATCHDOG=1");
}

/* How often to show life, in milliseconds; 0 for never. */
static uint64_t
watchdog_interval(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    unsigned long long value = usec ? strtoull(usec, NULL, 10) : 0;

    if (pid != NULL && strtol(pid, NULL, 10) != (long) getpid())
        return 0;
    return value > 0 && value < 2000 ? 1 : value / 2000;
}

void
notify_init(struct notify *notify, uv_loop_t *loop)
{
    const char *path = getenv("NOTIFY_SOCKET");
    uint64_t interval = watchdog_interval();

    notify->fd = path ? connect_socket(path) : -1;
    uv_timer_init(loop, &notify->watchdog);
    notify->watchdog.data = notify;
    if (notify->fd >= 0 && interval > 0) {
        uv_timer_start(&notify->watchdog, on_watchdog, interval, interval);
        uv_unref((uv_handle_t *) &notify->watchdog);
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void
notify_ready(struct notify *notify)
{
    tell(notify, "READY=1");
}

void
notify_reloading(struct notify *notify)
{
    struct timespec now;
    char state[80];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long) now.tv_sec * 1000000 + now.tv_nsec / 1000);
    tell(notify, state);
}

void
notify_stopping(struct notify *notify)
{
    tell(notify, "STOPPING=1");
}
