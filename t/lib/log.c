/* SPDX-License-Identifier: MIT */
/*
 * Standard error is a pipe that the test reads, or does not read. cmocka's
 * TAP goes to standard output and is not in the way; what a failing assertion
 * says goes to standard error, so the pipe is taken away before any of them.
 */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (8 * 1024 * 1024)

static int saved_stderr = -1, reading = -1;
static char *text; /* what was read */
static size_t text_len;

/* Puts a pipe of one page in the place of standard error. */
static void
capture(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    reading = ends[0];
    text_len = 0;
}

/* Reads the pipe until it is closed, as the log's reader should. */
static void *
drain(void *unused)
{
    ssize_t n;

    (void) unused;
    while (text_len < TEXT_MAX - 1
           && (n = read(reading, text + text_len, TEXT_MAX - 1 - text_len))
                  > 0)
        text_len += (size_t) n;
    text[text_len] = '\0';
    return NULL;
}

static void
restore(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
}

/* What fn writes to standard error. */
static const char *
written(void (*fn)(void))
{
    pthread_t reader;

    capture();
    if (pthread_create(&reader, NULL, drain, NULL) != 0)
        abort();
    fn();
    restore();
    pthread_join(reader, NULL);
    close(reading);
    return text;
}

static size_t
count(const char *what)
{
    const char *at = text;
    size_t n = 0;

    while ((at = strstr(at, what)) != NULL) {
        at += strlen(what);
        n++;
    }
    return n;
}

static size_t
lines(void)
{
    return count("\n");
}

static void
say_all(void)
{
    log_debug("d%d", 1);
    log_info("i%d", 2);
    log_warning("w%d", 3);
    log_error("e%d", 4);
}

static void
test_levels(void **state)
{
    static const char *const words[] = {"debug: d1", "i2", "warning: w3",
                                        "error: e4"};
    int level, word;

    (void) state;
    for (level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
        log_open("test", LOG_TO_STDERR, (enum log_level) level);
        written(say_all);
        assert_int_equal(lines(), 4 - level);
        for (word = 0; word < 4; word++)
            assert_int_equal(count(words[word]), word >= level);
        assert_int_equal(count(" test["), 4 - level);
    }
    log_open("test", LOG_TO_STDERR, LOG_LEVEL_INFO);
}

static void
say_control(void)
{
    char bytes[256], *at = bytes;
    int c;

    for (c = 1; c < 256; c++)
        *at++ = (char) c;
    *at = '\0';
    log_info("<%s>", bytes);
    log_info("%s", "%s%n%d");
    log_info("a\r\nforged: line\x1b[2J\x7f");
}

static void
test_control_bytes(void **state)
{
    const char *at;

    (void) state;
    written(say_control);
    assert_int_equal(lines(), 3);
    for (at = text; *at != '\0'; at++)
        assert_true(((unsigned char) *at >= 0x20 && *at != 0x7f)
                    || *at == '\n');
    assert_non_null(strstr(text, "%s%n%d\n"));
    assert_non_null(strstr(text, "a??forged: line?[2J?\n"));
    assert_non_null(strstr(text, " !\"#$%&'()*+"));
}

static void
say_long(void)
{
    static char line[100000];

    memset(line, 'x', sizeof(line) - 1);
    log_error("%s", line);
    log_info("next");
}

/* A line that is too long is cut, and still a line. */
static void
test_long(void **state)
{
    (void) state;
    written(say_long);
    assert_int_equal(lines(), 2);
    assert_true(text_len < 4096);
    assert_true(count("x") > 1000);
    assert_non_null(strstr(text, ": next\n"));
}

static void
say_over_writer(void)
{
    int i;

    if (!log_start_writer())
        abort();
    for (i = 0; i < 100; i++)
        log_info("line %d.", i);
    log_stop_writer();
    log_info("direct");
}

/* The writer writes all, in order, before it stops; then lines go straight. */
static void
test_writer(void **state)
{
    const char *at;
    char want[32];
    int i, round;

    (void) state;
    for (round = 0; round < 3; round++) {
        at = written(say_over_writer);
        assert_int_equal(lines(), 101);
        for (i = 0; i < 100; i++) {
            snprintf(want, sizeof(want), ": line %d.\n", i);
            at = strstr(at, want);
            assert_non_null(at);
        }
        assert_non_null(strstr(at, ": direct\n"));
    }
}

enum { THREADS = 4, EACH = 200 };

static void *
say_many(void *number)
{
    int i;

    for (i = 0; i < EACH; i++) {
        log_info("thread %d says %d.", *(int *) number, i);
        log_debug("not heard");
    }
    return NULL;
}

static void
say_from_threads(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS], i;

    if (!log_start_writer())
        abort();
    for (i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, say_many, &numbers[i]) != 0)
            abort();
    }
    /* As SIGHUP does, while others write. */
    log_open("test", LOG_TO_STDERR, LOG_LEVEL_INFO);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_stop_writer();
}

static void
test_threads(void **state)
{
    (void) state;
    written(say_from_threads);
    assert_int_equal(lines(), THREADS * EACH);
    assert_int_equal(count(" says "), THREADS * EACH);
    assert_int_equal(count(" says 199."), THREADS);
}

/*
 * Nobody reads: the caller goes on, at once, however much it says; what does
 * not fit is counted, and the count is written once somebody reads again.
 */
static void
test_blocked(void **state)
{
    enum { SAID = 20000 };
    struct timespec begun, ended;
    unsigned long dropped = 0;
    const char *notice;
    pthread_t reader;
    int i;

    (void) state;
    capture();
    if (!log_start_writer())
        abort();
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (i = 0; i < SAID; i++)
        log_info("said %d.", i);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (pthread_create(&reader, NULL, drain, NULL) != 0)
        abort();
    log_stop_writer();
    restore();
    pthread_join(reader, NULL);
    close(reading);
    assert_true(ended.tv_sec - begun.tv_sec < 5);
    notice = strstr(text, "warning: log: ");
    assert_non_null(notice);
    assert_int_equal(
        sscanf(notice, "warning: log: %lu lines dropped", &dropped), 1);
    assert_true(dropped > 0);
    assert_int_equal(count(": said ") + dropped, SAID);
    assert_int_equal(count("lines dropped"), 1);
    assert_non_null(strstr(text, ": said 0.\n"));
}

/* A writer that hangs in a write does not keep the program from ending. */
static void
test_stop_blocked(void **state)
{
    struct timespec begun, ended;
    pthread_t reader;
    int i;

    (void) state;
    capture();
    if (!log_start_writer())
        abort();
    for (i = 0; i < 500; i++)
        log_info("said %d.", i);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    log_stop_writer();
    clock_gettime(CLOCK_MONOTONIC, &ended);
    /* Let it write the rest after all, so that nothing is left behind. */
    if (pthread_create(&reader, NULL, drain, NULL) != 0)
        abort();
    log_stop_writer();
    restore();
    pthread_join(reader, NULL);
    close(reading);
    assert_true(ended.tv_sec - begun.tv_sec < 5);
    assert_int_equal(count(": said "), 500);
}

static int
set_up(void **state)
{
    (void) state;
    text = malloc(TEXT_MAX);
    return text == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
    (void) state;
    free(text);
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_levels),
    cmocka_unit_test(test_control_bytes),
    cmocka_unit_test(test_long),
    cmocka_unit_test(test_writer),
    cmocka_unit_test(test_threads),
    cmocka_unit_test(test_blocked),
    cmocka_unit_test(test_stop_blocked),
};

UNIT_MAIN_WITH(tests, set_up, tear_down)
