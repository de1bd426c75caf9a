/* SPDX-License-Identifier: MIT */
/*
 * A path below the queue directory is bound from within its folder, by its
 * last component: a longer queue directory does not make it too long, and
 * nobody can swap a folder on the way. Binding goes by a name of our own first
 * and a rename(2), so the socket has its owner before it is found.
 */
#include "config.h"

#include "policyd/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FOLDER_MODE 02750
#define FIRST_INHERITED 3 /* SD_LISTEN_FDS_START */

static int
fail(char *error_r, size_t size, const char *what, const char *name)
{
    snprintf(error_r, size, "%s \"%s\": %s", what, name, strerror(errno));
    return -1;
}

/* Opens the folder of path below dir; one that is missing is made, and ours.
 * *last_r is where the last component begins. */
static int
open_folder(int dir, const char *path, const struct socket_options *options,
            const char **last_r)
{
    const char *slash = strrchr(path, '/');
    char folder[sizeof(((struct sockaddr_un *) 0)->sun_path)];
    int fd;

    *last_r = slash ? slash + 1 : path;
    if (slash == NULL)
        return dup(dir);
    if (slash == path)
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(folder, sizeof(folder), "%.*s", (int) (slash - path), path);
    if (mkdirat(dir, folder, 0700) == 0) {
        fd = openat(dir, folder,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0
            && (fchown(fd, options->uid, options->gid) != 0
                || fchmod(fd, FOLDER_MODE) != 0)) {
            close(fd);
            return -1;
        }
        return fd;
    }
    if (errno != EEXIST)
        return -1;
    return openat(dir, folder,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Whether nobody has the socket any more: the one answer that says so is a
 * refusal. It is asked through /proc for its folder. */
static bool
abandoned(int folder, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused;

    snprintf(address.sun_path, sizeof(address.sun_path),
             "/proc/self/fd/%d/%s", folder, name);
    refused = fd >= 0
              && connect(fd, (struct sockaddr *) &address, sizeof(address))
                     != 0
              && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

/* Whether the name is free, or that of a socket that nobody has. */
static int
check_name(int folder, const char *name, char *error_r, size_t size)
{
    struct stat info;

    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : fail(error_r, size, "cannot stat", name);
    if (!S_ISSOCK(info.st_mode)) {
        snprintf(error_r, size, "\"%s\" is there and is no socket", name);
        return -1;
    }
    if (!abandoned(folder, name)) {
        snprintf(error_r, size, "\"%s\": another process serves it", name);
        return -1;
    }
    return 0;
}

/* A socket of that name is what a crash of ours left; nothing else is ours. */
static void
remove_draft(int folder, const char *draft)
{
    struct stat info;

    if (fstatat(folder, draft, &info, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISSOCK(info.st_mode))
        unlinkat(folder, draft, 0);
}

/* Binds under a name of our own, sets the owner, then renames. The mode comes
 * from the umask: chmod(2) would follow whatever the folder's owner puts in
 * the socket's place. */
static int
bind_in(int folder, const char *name, const struct socket_options *options,
        char *error_r, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char draft[64];
    mode_t mask;
    int status, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return fail(error_r, size, "cannot make a socket for", name);
    snprintf(draft, sizeof(draft), ".%.32s.%ld", name, (long) getpid());
    snprintf(address.sun_path, sizeof(address.sun_path),
             "/proc/self/fd/%d/%s", folder, draft);
    remove_draft(folder, draft);
    mask = umask(~options->mode & 0777);
    status = bind(fd, (struct sockaddr *) &address, sizeof(address));
    umask(mask);
    if (status != 0)
        fail(error_r, size, "cannot bind", name);
    else if (fchownat(folder, draft, options->uid, options->gid,
                      AT_SYMLINK_NOFOLLOW)
             != 0)
        fail(error_r, size, "cannot set the owner of", name);
    else if (renameat(folder, draft, folder, name) != 0)
        fail(error_r, size, "cannot rename", name);
    else
        return fd;
    remove_draft(folder, draft);
    close(fd);
    return -1;
}

static int
bind_unix(const char *path, const struct socket_options *options,
          char *error_r, size_t size)
{
    int dir = open(options->queue_directory,
                   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int folder, fd = -1;
    const char *last;

    if (dir < 0)
        return fail(error_r, size, "cannot open", options->queue_directory);
    folder = open_folder(dir, path, options, &last);
    if (folder < 0)
        fail(error_r, size, "cannot open or make the folder of", path);
    else if (check_name(folder, last, error_r, size) == 0)
        fd = bind_in(folder, last, options, error_r, size);
    if (folder >= 0)
        close(folder);
    close(dir);
    return fd;
}

/* "address:port", the address of IPv6 in brackets. */
static int
bind_inet(const char *place, char *error_r, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
                                         | AI_PASSIVE};
    struct addrinfo *list = NULL;
    char host[128];
    const char *colon = strrchr(place, ':');
    int fd, on = 1;

    snprintf(host, sizeof(host), "%.*s",
             colon ? (int) (colon - place) : 0, place);
    if (host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        memmove(host, host + 1, strlen(host));
    }
    if (colon == NULL || getaddrinfo(host, colon + 1, &hints, &list) != 0) {
        snprintf(error_r, size, "\"%s\" is not ADDRESS:PORT in numbers",
                 place);
        return -1;
    }
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                0);
    if (fd < 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0
        || bind(fd, list->ai_addr, list->ai_addrlen) != 0) {
        fail(error_r, size, "cannot bind", place);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

int
sockets_bind(const char *listen, const struct socket_options *options,
             char *error_r, size_t error_size)
{
    if (strncmp(listen, "inet:", 5) == 0)
        return bind_inet(listen + 5, error_r, error_size);
    if (strncmp(listen, "unix:", 5) != 0)
        return bind_inet(listen, error_r, error_size);
    return bind_unix(listen + strlen("unix:"), options, error_r, error_size);
}

int
sockets_inherited(const char *name)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    long i, n = count ? strtol(count, NULL, 10) : 0;

    if (pid == NULL || strtol(pid, NULL, 10) != (long) getpid())
        return -1;
    for (i = 0; names != NULL && i < n; i++) {
        size_t len = strcspn(names, ":");

        if (len == strlen(name) && memcmp(names, name, len) == 0) {
            int fd = FIRST_INHERITED + (int) i;

            fcntl(fd, F_SETFD, FD_CLOEXEC);
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
            return fd;
        }
        names = names[len] == ':' ? names + len + 1 : NULL;
    }
    return -1;
}

bool
sockets_check(const char *listen, const char *queue_directory, char *error_r,
              size_t error_size)
{
    const size_t max = sizeof(((struct sockaddr_un *) 0)->sun_path) - 1;
    const char *path = listen + strlen("unix:");
    size_t len;

    if (strncmp(listen, "unix:", 5) != 0)
        return true;
    len = strlen(path)
          + (path[0] == '/' ? 0 : strlen(queue_directory) + 1);
    if (path[0] == '\0' || path[strlen(path) - 1] == '/') {
        snprintf(error_r, error_size, "\"%s\" names no socket", listen);
        return false;
    }
    if (len <= max)
        return true;
    snprintf(error_r, error_size,
             "the path of \"%s\" has %zu bytes; a socket's has at most %zu",
             listen, len, max);
    return false;
}
