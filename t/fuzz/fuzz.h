/* SPDX-License-Identifier: MIT */
#ifndef T_FUZZ_FUZZ_H
#define T_FUZZ_FUZZ_H

/*
 * What the fuzz targets share: a failed check ends the process the way a
 * crash would, so that libFuzzer keeps the input; and a reader that cuts the
 * input into lines, so that inputs are text that people can read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) \
    ((condition) ? (void) 0 : fuzz_failed(#condition, __FILE__, __LINE__))

_Noreturn static inline void
fuzz_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    abort();
}

/* A piece of the input; not NUL-terminated. */
struct piece {
    const char *text;
    size_t len;
};

/* Takes the next line off the input; false at its end. */
static inline bool
fuzz_line(struct piece *input, struct piece *line_r)
{
    const char *newline;

    if (input->len == 0)
        return false;
    newline = memchr(input->text, '\n', input->len);
    line_r->text = input->text;
    line_r->len = newline ? (size_t) (newline - input->text) : input->len;
    input->text += line_r->len + (newline != NULL);
    input->len -= line_r->len + (newline != NULL);
    return true;
}

/* The next byte as a set of choices; 0 at the end. */
static inline unsigned int
fuzz_choices(struct piece *input)
{
    if (input->len == 0)
        return 0;
    input->len--;
    return (unsigned char) *input->text++;
}

static inline bool
piece_is(const struct piece *piece, const char *word)
{
    return piece->len == strlen(word)
           && memcmp(piece->text, word, piece->len) == 0;
}

/* A NUL-terminated copy of its own, so that reading past the end is seen. */
static inline char *
piece_copy(const struct piece *piece)
{
    char *copy = malloc(piece->len + 1);

    CHECK(copy != NULL);
    if (piece->len > 0)
        memcpy(copy, piece->text, piece->len);
    copy[piece->len] = '\0';
    return copy;
}

static inline bool
is_printable(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

#endif
