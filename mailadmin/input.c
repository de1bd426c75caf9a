/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/input.h"

#include "lib/secret.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

struct input {
    int fd;
    size_t start; /* of what was not handed out yet */
    size_t end;
    unsigned long lines;
    const sigset_t *open; /* signals that may come while it waits, or NULL */
    char buf[INPUT_LINE_MAX + 2];
};

static volatile sig_atomic_t caught;

struct input *
input_new(int fd)
{
    struct input *input = calloc(1, sizeof(*input));

    if (input != NULL)
        input->fd = fd;
    return input;
}

void
input_free(struct input **input)
{
    if (*input == NULL)
        return;
    secret_wipe(*input, sizeof(**input));
    free(*input);
    *input = NULL;
}

bool
input_is_terminal(const struct input *input)
{
    return isatty(input->fd) == 1;
}

unsigned long
input_lines(const struct input *input)
{
    return input->lines;
}

/* Reads more to the end of the buffer, which has room. 0 at the end of the
 * input, -1 on errors and signals of ours. */
static ssize_t
fill(struct input *input)
{
    size_t room = sizeof(input->buf) - 1 - input->end;
    struct pollfd wait = {.fd = input->fd, .events = POLLIN};
    ssize_t n;

    do {
        /* A signal between a look at caught and read(2) would be lost, so
         * they come only while ppoll(2) waits. */
        n = input->open == NULL ? 1 : ppoll(&wait, 1, NULL, input->open);
        if (n > 0)
            n = read(input->fd, input->buf + input->end, room);
    } while (n < 0 && errno == EINTR && !caught);
    if (n > 0)
        input->end += (size_t) n;
    return n;
}

/* Drops what was handed out. */
static void
compact(struct input *input)
{
    size_t left = input->end - input->start;

    memmove(input->buf, input->buf + input->start, left);
    secret_wipe(input->buf + left, input->end - left);
    input->start = 0;
    input->end = left;
}

/* Reads on to the end of a line that is too long. */
static enum input_result
skip_line(struct input *input)
{
    char *newline;
    ssize_t n;

    do {
        secret_wipe(input->buf, input->end);
        input->start = input->end = 0;
        n = fill(input);
        if (n < 0)
            return INPUT_ERROR;
        newline = memchr(input->buf, '\n', input->end);
    } while (n > 0 && newline == NULL);
    if (newline != NULL)
        input->start = (size_t) (newline - input->buf) + 1;
    return INPUT_TOO_LONG;
}

enum input_result
input_line(struct input *input, char **line_r, size_t *len_r)
{
    char *newline;
    size_t scanned = 0;
    ssize_t n = 1;

    compact(input);
    input->lines++;
    while ((newline = memchr(input->buf + scanned, '\n',
                             input->end - scanned)) == NULL) {
        scanned = input->end;
        if (input->end > INPUT_LINE_MAX)
            return skip_line(input);
        n = fill(input);
        if (n < 0)
            return INPUT_ERROR;
        if (n == 0)
            break;
    }
    if (newline == NULL && input->end == 0)
        return INPUT_END;
    *len_r = newline ? (size_t) (newline - input->buf) : input->end;
    input->start = newline ? *len_r + 1 : input->end;
    input->buf[*len_r] = '\0';
    *line_r = input->buf;
    if (*len_r > INPUT_LINE_MAX)
        return INPUT_TOO_LONG;
    return memchr(input->buf, '\0', *len_r) ? INPUT_NUL : INPUT_LINE;
}

bool
input_ready(struct input *input)
{
    struct pollfd fd = {.fd = input->fd, .events = POLLIN};
    size_t left = input->end - input->start;

    if (memchr(input->buf + input->start, '\n', left) != NULL)
        return true;
    if (left == INPUT_LINE_MAX + 1 || poll(&fd, 1, 0) <= 0)
        return left == INPUT_LINE_MAX + 1;
    compact(input);
    return fill(input) <= 0
           || memchr(input->buf, '\n', input->end) != NULL;
}

int
input_percent(const struct input *input)
{
    struct stat file;
    off_t at = lseek(input->fd, 0, SEEK_CUR);

    if (at < 0 || fstat(input->fd, &file) != 0 || !S_ISREG(file.st_mode)
        || file.st_size <= 0)
        return -1;
    at -= (off_t) (input->end - input->start);
    return at >= file.st_size ? 100 : (int) (at * 100 / file.st_size);
}

static void
catch(int signal)
{
    caught = signal;
}

enum input_result
input_hidden_line(struct input *input, const char *prompt, char **line_r,
                  size_t *len_r)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };
    struct sigaction action = {.sa_handler = catch}, before[SIGNALS];
    struct termios shown, hidden;
    enum input_result result;
    sigset_t closed, open;
    size_t i;

    if (tcgetattr(input->fd, &shown) != 0)
        return INPUT_ERROR;
    caught = 0;
    sigemptyset(&closed);
    for (i = 0; i < SIGNALS; i++)
        sigaddset(&closed, signals[i]);
    sigprocmask(SIG_BLOCK, &closed, &open);
    for (i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, &before[i]);
    input->open = &open;
    hidden = shown;
    hidden.c_lflag &= (tcflag_t) ~(ECHO | ECHOE | ECHOK);
    hidden.c_lflag |= ECHONL;
    tcsetattr(input->fd, TCSAFLUSH, &hidden);
    if (write(STDERR_FILENO, prompt, strlen(prompt)) < 0)
        result = INPUT_ERROR;
    else
        result = input_line(input, line_r, len_r);
    tcsetattr(input->fd, TCSAFLUSH, &shown);
    input->open = NULL;
    for (i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    sigprocmask(SIG_SETMASK, &open, NULL);
    if (caught != 0) {
        raise(caught);
        errno = EINTR;
        result = INPUT_ERROR;
    }
    return result;
}
