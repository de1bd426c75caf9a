/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048 /* a longer message is cut */
#define QUEUE_LINES 1024  /* what waits for the writer, at most */
#define STOP_SECONDS 1    /* for the writer to write what is left */
#define GATHER_MS 3       /* from a line to its being written */

struct line {
    enum log_level level;
    struct timespec when;
    char text[LINE_MAX_LEN];
};

/* Read by every thread that logs while SIGHUP may change them. */
static const char *_Atomic log_ident = "emailing";
static _Atomic enum log_target log_target = LOG_TO_STDERR;
static _Atomic enum log_level log_threshold = LOG_LEVEL_INFO;

/* The queue: a ring of lines, taken by the writer in the order put. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t thread;
    struct line *lines;
    size_t first, count;
    unsigned long dropped;
    bool running, stopping, stopped;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .filled = PTHREAD_COND_INITIALIZER};

void
log_open(const char *ident, enum log_target target, enum log_level level)
{
    log_ident = ident;
    log_threshold = level;
    log_target = target;
    if (target == LOG_TO_SYSLOG)
        openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

static const char *
level_prefix(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error: ";
    case LOG_LEVEL_WARNING:
        return "warning: ";
    case LOG_LEVEL_DEBUG:
        return "debug: ";
    case LOG_LEVEL_INFO:
        break;
    }
    return "";
}

static int
level_priority(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return LOG_ERR;
    case LOG_LEVEL_WARNING:
        return LOG_WARNING;
    case LOG_LEVEL_DEBUG:
        return LOG_DEBUG;
    case LOG_LEVEL_INFO:
        break;
    }
    return LOG_INFO;
}

/* One write(2) a line, so that lines of several processes do not mix. */
static void
write_stderr(enum log_level level, const struct timespec *when,
             const char *text)
{
    char line[LINE_MAX_LEN + 128];
    struct tm tm;
    size_t used;
    int len;

    gmtime_r(&when->tv_sec, &tm);
    used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    len = snprintf(line + used, sizeof(line) - used, ".%03ldZ %s[%ld]: %s%s\n",
                   when->tv_nsec / 1000000, log_ident, (long) getpid(),
                   level_prefix(level), text);
    if (len < 0)
        return;
    used += (size_t) len;
    if (used >= sizeof(line)) {
        used = sizeof(line) - 1;
        line[used - 1] = '\n';
    }
    /* Where the log itself cannot be written there is nobody to tell. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

static void
write_line(enum log_level level, const struct timespec *when, const char *text)
{
    if (log_target == LOG_TO_SYSLOG)
        syslog(level_priority(level), "%s%s", level_prefix(level), text);
    else
        write_stderr(level, when, text);
}

/*
 * Waits for a line, and for those that come with it: to wake the writer costs
 * the caller more than his line does, and with a line for each of many requests
 * that would be most of what they cost. Called with the lock.
 */
static void
gather(void)
{
    const struct timespec pause = {0, GATHER_MS * 1000 * 1000};

    while (queue.count == 0 && !queue.stopping)
        pthread_cond_wait(&queue.filled, &queue.lock);
    if (queue.stopping)
        return;
    pthread_mutex_unlock(&queue.lock);
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&queue.lock);
}

/* Takes the next line into line. False when the writer is to end. */
static bool
take(struct line *line)
{
    bool more;

    pthread_mutex_lock(&queue.lock);
    if (queue.count == 0)
        gather();
    more = queue.count > 0;
    if (more) {
        *line = queue.lines[queue.first];
        queue.first = (queue.first + 1) % QUEUE_LINES;
        queue.count--;
        if (queue.count == 0 && queue.dropped > 0) {
            struct line *notice = &queue.lines[queue.first];

            notice->level = LOG_LEVEL_WARNING;
            notice->when = line->when;
            snprintf(notice->text, sizeof(notice->text),
                     "log: %lu lines dropped: the log is too slow",
                     queue.dropped);
            queue.count = 1;
            queue.dropped = 0;
        }
    }
    pthread_mutex_unlock(&queue.lock);
    return more;
}

static void *
writer(void *unused)
{
    static struct line line;

    (void) unused;
    while (take(&line))
        write_line(line.level, &line.when, line.text);
    pthread_mutex_lock(&queue.lock);
    queue.stopped = true;
    pthread_mutex_unlock(&queue.lock);
    return NULL;
}

bool
log_start_writer(void)
{
    struct line *lines = calloc(QUEUE_LINES, sizeof(struct line));
    bool running;

    if (lines == NULL)
        return false;
    pthread_mutex_lock(&queue.lock);
    queue.lines = lines;
    running = pthread_create(&queue.thread, NULL, writer, NULL) == 0;
    queue.running = running;
    pthread_mutex_unlock(&queue.lock);
    if (!running)
        free(lines);
    return running;
}

void
log_stop_writer(void)
{
    struct timespec pause = {0, 5 * 1000 * 1000};
    bool stopped = false;
    int i;

    if (!queue.running)
        return;
    pthread_mutex_lock(&queue.lock);
    queue.stopping = true;
    pthread_cond_signal(&queue.filled);
    pthread_mutex_unlock(&queue.lock);
    for (i = 0; i < STOP_SECONDS * 200 && !stopped; i++) {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&queue.lock);
        stopped = queue.stopped;
        pthread_mutex_unlock(&queue.lock);
    }
    if (!stopped)
        return; /* it hangs in a write; the process is about to end */
    pthread_join(queue.thread, NULL);
    pthread_mutex_lock(&queue.lock);
    /* What other threads said since the writer looked last. */
    for (; queue.count > 0; queue.count--) {
        struct line *line = &queue.lines[queue.first];

        write_line(line->level, &line->when, line->text);
        queue.first = (queue.first + 1) % QUEUE_LINES;
    }
    free(queue.lines);
    queue.lines = NULL;
    queue.running = queue.stopping = queue.stopped = false;
    queue.first = 0;
    pthread_mutex_unlock(&queue.lock);
}

/* False when there is no writer. */
static bool
enqueue(enum log_level level, const struct timespec *when, const char *text)
{
    struct line *line;
    bool running;

    pthread_mutex_lock(&queue.lock);
    running = queue.running;
    if (running && queue.count == QUEUE_LINES) {
        queue.dropped++;
    } else if (running) {
        line = &queue.lines[(queue.first + queue.count) % QUEUE_LINES];
        line->level = level;
        line->when = *when;
        memcpy(line->text, text, strlen(text) + 1);
        if (queue.count++ == 0)
            pthread_cond_signal(&queue.filled);
    }
    pthread_mutex_unlock(&queue.lock);
    return running;
}

static void log_message(enum log_level level, const char *format,
                        va_list args) __attribute__((format(printf, 2, 0)));

static void
log_message(enum log_level level, const char *format, va_list args)
{
    struct timespec now;
    char text[LINE_MAX_LEN];
    char *at;

    if (level < log_threshold)
        return;
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        return;
    for (at = text; *at != '\0'; at++)
        if ((unsigned char) *at < 0x20 || *at == 0x7f)
            *at = '?';
    clock_gettime(CLOCK_REALTIME, &now);
    if (!enqueue(level, &now, text))
        write_line(level, &now, text);
}

#define LOG_FUNCTION(name, level)                                             \
    void name(const char *format, ...)                                        \
    {                                                                         \
        va_list args;                                                         \
                                                                              \
        va_start(args, format);                                               \
        log_message(level, format, args);                                     \
        va_end(args);                                                         \
    }

LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
