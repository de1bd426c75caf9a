/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "lib/attr.h"

#include <stdlib.h>
#include <string.h>

enum { REQUEST, SENDER, USER, NAMES };

static const struct attr_name names[NAMES] = {
    [REQUEST] = ATTR_NAME("request"),
    [SENDER] = ATTR_NAME("sender"),
    [USER] = ATTR_NAME("sasl_username"),
};

static const char request[] = "request=smtpd_access_policy\n"
                              "protocol_state=RCPT\n"
                              "sender=user=x@test1.com\n"
                              "sasl_username=\n"
                              "\n";

/* Reads text in one piece, from an allocation of just its size. */
static enum attr_result
read_text(const char *text, size_t len, size_t *used_r, const char **error_r)
{
    struct attr_reader reader;
    char *buf = malloc(len + 1);
    enum attr_result result;

    assert_non_null(buf);
    memcpy(buf, text, len);
    attr_reader_reset(&reader);
    result = attr_read(&reader, names, NAMES, buf, len, used_r, error_r);
    free(buf);
    return result;
}

static void
assert_bad(const char *text, size_t len, const char *why)
{
    const char *error = NULL;
    size_t used = 0;

    assert_int_equal(read_text(text, len, &used, &error), ATTR_BAD);
    assert_non_null(error);
    assert_string_equal(error, why);
}

static void
assert_values(const struct attr_reader *reader, const char *buf)
{
    const struct attr_value *values = reader->values;

    assert_true(values[REQUEST].present);
    assert_string_equal(buf + values[REQUEST].offset, "smtpd_access_policy");
    assert_int_equal(values[REQUEST].len, strlen("smtpd_access_policy"));
    assert_true(values[SENDER].present);
    assert_string_equal(buf + values[SENDER].offset, "user=x@test1.com");
    assert_int_equal(values[SENDER].len, strlen("user=x@test1.com"));
    assert_true(values[USER].present);
    assert_string_equal(buf + values[USER].offset, "");
    assert_int_equal(values[USER].len, 0);
}

/* Every cut of a request into three pieces, the buffer moved between them. */
static void
test_every_cut(void **state)
{
    const size_t len = sizeof(request) - 1;
    size_t first, second, i;

    (void) state;
    for (first = 0; first <= len; first++) {
        for (second = first; second <= len; second++) {
            size_t ends[] = {first, second, len}, have = 0, used = 0;
            enum attr_result result = ATTR_MORE;
            struct attr_reader reader;
            const char *error;
            char *buf = NULL;

            attr_reader_reset(&reader);
            for (i = 0; i < UNIT_COUNT(ends) && result == ATTR_MORE; i++) {
                char *moved = malloc(ends[i] + 1);

                assert_non_null(moved);
                if (have > 0)
                    memcpy(moved, buf, have);
                memcpy(moved + have, request + have, ends[i] - have);
                free(buf);
                buf = moved;
                have = ends[i];
                result = attr_read(&reader, names, NAMES, buf, have, &used,
                                   &error);
                assert_int_equal(result,
                                 have == len ? ATTR_BLOCK : ATTR_MORE);
            }
            assert_int_equal(used, len);
            assert_values(&reader, buf);
            free(buf);
        }
    }
}

static void
test_byte_by_byte(void **state)
{
    const size_t len = sizeof(request) - 1;
    struct attr_reader reader;
    char buf[sizeof(request)];
    const char *error;
    size_t i, used = 0;

    (void) state;
    memcpy(buf, request, sizeof(request));
    attr_reader_reset(&reader);
    for (i = 0; i < len; i++)
        assert_int_equal(
            attr_read(&reader, names, NAMES, buf, i, &used, &error),
            ATTR_MORE);
    assert_int_equal(attr_read(&reader, names, NAMES, buf, len, &used, &error),
                     ATTR_BLOCK);
    assert_values(&reader, buf);
}

/* Several requests in one write: each is read from its own first byte. */
static void
test_pipelined(void **state)
{
    char buf[3 * sizeof(request)], *at = buf;
    struct attr_reader reader;
    const char *error;
    size_t i, used = 0, left;

    (void) state;
    buf[0] = '\0';
    for (i = 0; i < 3; i++)
        strcat(buf, request);
    left = strlen(buf);
    for (i = 0; i < 3; i++) {
        attr_reader_reset(&reader);
        assert_int_equal(
            attr_read(&reader, names, NAMES, at, left, &used, &error),
            ATTR_BLOCK);
        assert_int_equal(used, sizeof(request) - 1);
        assert_values(&reader, at);
        at += used;
        left -= used;
    }
    assert_int_equal(left, 0);
}

/* An attribute that did not come is told from an empty one. */
static void
test_absent(void **state)
{
    char buf[] = "request=x\nsenders=y\nsende=z\nSENDER=w\n\n";
    struct attr_reader reader;
    const char *error;
    size_t used = 0;

    (void) state;
    attr_reader_reset(&reader);
    assert_int_equal(attr_read(&reader, names, NAMES, buf, sizeof(buf) - 1,
                               &used, &error),
                     ATTR_BLOCK);
    assert_true(reader.values[REQUEST].present);
    assert_false(reader.values[SENDER].present);
    assert_int_equal(reader.values[SENDER].len, 0);
    assert_false(reader.values[USER].present);
}

static void
test_malformed(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *why;
    } cases[] = {
#define CASE(text, why) {text, sizeof(text) - 1, why}
        CASE("\n", "empty request"),
        CASE("request\n\n", "line without '='"),
        CASE("request=x\nnonsense\n", "line without '='"),
        CASE(" \n\n", "line without '='"),
        CASE("=x\n\n", "line without a name"),
        CASE("sender=a@b\nsender=a@b\n\n", "attribute given twice"),
        CASE("sender=\nsender=a@b\n\n", "attribute given twice"),
        CASE("sasl_username=a\nx=y\nsasl_username=\n",
             "attribute given twice"),
        CASE("sender=a\0b\n\n", "NUL byte"),
        CASE("sender=a\0", "NUL byte"),
        CASE("sen\0der=a\n\n", "NUL byte"),
        CASE("unknown=a\0b\n\n", "NUL byte"),
        CASE("sender=a\r\n\r\n", "carriage return"),
        CASE("sender=a\rb\n\n", "carriage return"),
        CASE("\r\n", "carriage return"),
        CASE("unknown=\r", "carriage return"),
#undef CASE
    };
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(cases); i++)
        assert_bad(cases[i].text, cases[i].len, cases[i].why);
}

/* Names not in the table may come as often as they like. */
static void
test_unknown_twice(void **state)
{
    static const char text[] = "other=1\nother=2\nrequest=x\n\n";
    const char *error;
    size_t used = 0;

    (void) state;
    assert_int_equal(read_text(text, sizeof(text) - 1, &used, &error),
                     ATTR_BLOCK);
    assert_int_equal(used, sizeof(text) - 1);
}

static void
test_line_limit(void **state)
{
    char *text = malloc(ATTR_LINE_MAX + 3);
    const char *error;
    size_t used = 0;

    (void) state;
    assert_non_null(text);
    memset(text, 'a', ATTR_LINE_MAX + 3);
    memcpy(text, "sender=", 7);
    /* Exactly the limit, before and with the bytes that end it. */
    assert_int_equal(read_text(text, ATTR_LINE_MAX, &used, &error), ATTR_MORE);
    text[ATTR_LINE_MAX] = text[ATTR_LINE_MAX + 1] = '\n';
    assert_int_equal(read_text(text, ATTR_LINE_MAX + 2, &used, &error),
                     ATTR_BLOCK);
    assert_int_equal(used, ATTR_LINE_MAX + 2);
    /* One more: refused as soon as it is there, without its newline. */
    text[ATTR_LINE_MAX] = 'a';
    assert_bad(text, ATTR_LINE_MAX + 1, "line too long");
    text[ATTR_LINE_MAX + 1] = '\n';
    assert_bad(text, ATTR_LINE_MAX + 2, "line too long");
    free(text);
}

/* Fills text with len bytes of lines, the last byte being a newline. */
static void
fill_lines(char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        text[i] = i % 64 == 0 ? 'x' : i % 64 == 1 ? '=' : 'y';
    for (i = 63; i < len; i += 64)
        text[i] = '\n';
    text[len - 1] = '\n';
}

static void
test_block_limit(void **state)
{
    char *text = malloc(ATTR_BLOCK_MAX + 1);
    const char *error;
    size_t used = 0;

    (void) state;
    assert_non_null(text);
    fill_lines(text, ATTR_BLOCK_MAX - 1);
    text[ATTR_BLOCK_MAX - 1] = '\n';
    assert_int_equal(read_text(text, ATTR_BLOCK_MAX - 1, &used, &error),
                     ATTR_MORE);
    assert_int_equal(read_text(text, ATTR_BLOCK_MAX, &used, &error),
                     ATTR_BLOCK);
    assert_int_equal(used, ATTR_BLOCK_MAX);
    fill_lines(text, ATTR_BLOCK_MAX);
    text[ATTR_BLOCK_MAX] = '\n';
    assert_bad(text, ATTR_BLOCK_MAX + 1, "request too long");
    free(text);
}

/* A reader must not ask for more once a buffer of the limit is full: its
 * caller would wait for room that never comes. */
static void
test_full_buffer(void **state)
{
    char *text = malloc(ATTR_BLOCK_MAX);

    (void) state;
    assert_non_null(text);
    fill_lines(text, ATTR_BLOCK_MAX);
    assert_bad(text, ATTR_BLOCK_MAX, "request too long");
    text[ATTR_BLOCK_MAX - 1] = 'y';
    assert_bad(text, ATTR_BLOCK_MAX, "request too long");
    free(text);
}

static void
test_table_limit(void **state)
{
    struct attr_name table[ATTR_FIELDS_MAX + 1];
    struct attr_reader reader;
    char buf[] = "a=b\n\n";
    const char *error;
    size_t i, used;

    (void) state;
    for (i = 0; i < UNIT_COUNT(table); i++)
        table[i] = (struct attr_name) ATTR_NAME("a");
    attr_reader_reset(&reader);
    assert_int_equal(attr_read(&reader, table, ATTR_FIELDS_MAX + 1, buf,
                               sizeof(buf) - 1, &used, &error),
                     ATTR_BAD);
    attr_reader_reset(&reader);
    assert_int_equal(attr_read(&reader, table, ATTR_FIELDS_MAX, buf,
                               sizeof(buf) - 1, &used, &error),
                     ATTR_BLOCK);
}

static void
test_write_and_read(void **state)
{
    struct attr_writer writer;
    struct attr_reader reader;
    const char *error;
    char buf[128];
    size_t len, used = 0;

    (void) state;
    attr_writer_init(&writer, buf, sizeof(buf));
    attr_write(&writer, "request", "auth", 4);
    attr_write(&writer, "sender", "a=\x01\xff", 4);
    attr_write(&writer, "sasl_username", "", 0);
    len = attr_write_end(&writer);
    assert_int_equal(len, strlen("request=auth\nsender=a=..\n"
                                 "sasl_username=\n\n"));
    attr_reader_reset(&reader);
    assert_int_equal(attr_read(&reader, names, NAMES, buf, len, &used, &error),
                     ATTR_BLOCK);
    assert_int_equal(used, len);
    assert_string_equal(buf + reader.values[SENDER].offset, "a=\x01\xff");
}

/* The writer refuses, for good, what would break the framing. */
static void
test_write_refuses(void **state)
{
    static const char *const values[] = {"a\nb", "\n", "a\r", "\0"};
    struct attr_writer writer;
    char buf[128];
    size_t i;

    (void) state;
    for (i = 0; i < UNIT_COUNT(values); i++) {
        attr_writer_init(&writer, buf, sizeof(buf));
        attr_write(&writer, "user", "good", 4);
        attr_write(&writer, "user", values[i],
                   values[i][0] == '\0' ? 1 : strlen(values[i]));
        attr_write(&writer, "user", "good", 4);
        assert_true(writer.failed);
        assert_int_equal(attr_write_end(&writer), 0);
    }
}

/* Every size of the buffer: the block fits or the writer fails, and no byte
 * behind the buffer is touched. */
static void
test_write_sizes(void **state)
{
    static const char block[] = "user=name\n\n";
    size_t size;

    (void) state;
    for (size = 0; size <= sizeof(block); size++) {
        struct attr_writer writer;
        char buf[sizeof(block) + 1];
        size_t len;

        memset(buf, '#', sizeof(buf));
        attr_writer_init(&writer, buf, size);
        attr_write(&writer, "user", "name", 4);
        len = attr_write_end(&writer);
        assert_int_equal(buf[size], '#');
        if (size < sizeof(block) - 1) {
            assert_int_equal(len, 0);
        } else {
            assert_int_equal(len, sizeof(block) - 1);
            assert_memory_equal(buf, block, len);
        }
    }
}

static void
test_write_line_limit(void **state)
{
    char *value = malloc(ATTR_LINE_MAX), *buf = malloc(2 * ATTR_LINE_MAX);
    struct attr_writer writer;

    (void) state;
    assert_non_null(value);
    assert_non_null(buf);
    memset(value, 'v', ATTR_LINE_MAX);
    attr_writer_init(&writer, buf, 2 * ATTR_LINE_MAX);
    attr_write(&writer, "user", value, ATTR_LINE_MAX - 5);
    assert_int_equal(attr_write_end(&writer), ATTR_LINE_MAX + 2);
    attr_writer_init(&writer, buf, 2 * ATTR_LINE_MAX);
    attr_write(&writer, "user", value, ATTR_LINE_MAX - 4);
    assert_int_equal(attr_write_end(&writer), 0);
    free(value);
    free(buf);
}

/* Lines that end, and values that begin, at every offset of the words that the
 * reader looks at, in one piece and in two. */
static void
test_words(void **state)
{
    static const char rest[] = "\nsender=user=x@test1.com\nother=\n"
                               "request=smtpd_access_policy\n"
                               "sasl_username=\n\n";
    char text[256], buf[256];
    const char *error = NULL;
    size_t pad, cut, used = 0;

    (void) state;
    for (pad = 2; pad < 140; pad++) {
        size_t len = pad + strlen(rest);

        memset(text, 'x', pad - 1);
        text[pad - 1] = '=';
        memcpy(text + pad, rest, sizeof(rest));
        for (cut = 0; cut < len; cut++) {
            struct attr_reader reader;

            memcpy(buf, text, len);
            attr_reader_reset(&reader);
            assert_int_equal(attr_read(&reader, names, NAMES, buf, cut, &used,
                                       &error),
                             ATTR_MORE);
            assert_int_equal(attr_read(&reader, names, NAMES, buf, len, &used,
                                       &error),
                             ATTR_BLOCK);
            assert_int_equal(used, len);
            assert_values(&reader, buf);
        }
        /* The '=' of the next line is none of this one. */
        text[pad - 1] = 'x';
        assert_bad(text, len, "line without '='");
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_cut),
    cmocka_unit_test(test_words),
    cmocka_unit_test(test_byte_by_byte),
    cmocka_unit_test(test_pipelined),
    cmocka_unit_test(test_absent),
    cmocka_unit_test(test_malformed),
    cmocka_unit_test(test_unknown_twice),
    cmocka_unit_test(test_line_limit),
    cmocka_unit_test(test_block_limit),
    cmocka_unit_test(test_full_buffer),
    cmocka_unit_test(test_table_limit),
    cmocka_unit_test(test_write_and_read),
    cmocka_unit_test(test_write_refuses),
    cmocka_unit_test(test_write_sizes),
    cmocka_unit_test(test_write_line_limit),
};

UNIT_MAIN(tests)
