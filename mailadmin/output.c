/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/output.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Decodes the UTF-8 sequence at text; its length, 0 when it is none. */
static size_t
decode(const unsigned char *text, uint32_t *code_r)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need, i;

    if (text[0] < 0x80) {
        *code_r = text[0];
        return 1;
    }
    if ((text[0] & 0xe0) == 0xc0)
        need = 2;
    else if ((text[0] & 0xf0) == 0xe0)
        need = 3;
    else if ((text[0] & 0xf8) == 0xf0)
        need = 4;
    else
        return 0;
    *code_r = text[0] & (0xffu >> (need + 1));
    for (i = 1; i < need; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *code_r = *code_r << 6 | (text[i] & 0x3fu);
    }
    if (*code_r < least[need] || *code_r > 0x10ffff
        || (*code_r >= 0xd800 && *code_r <= 0xdfff))
        return 0;
    return need;
}

/* Controls, and the invisible that changes how the rest of a line looks. */
static bool
is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0)
           || (code >= 0x200b && code <= 0x200f)
           || (code >= 0x2028 && code <= 0x202e)
           || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff
           || code == 0x61c || (code >= 0xe0000 && code <= 0xe0fff);
}

static void
escape(FILE *file, const char *text, bool blanks)
{
    const unsigned char *next = (const unsigned char *) text;

    while (*next != '\0') {
        uint32_t code;
        size_t len = decode(next, &code), i;

        if (len > 0 && !is_harmful(code) && !(blanks && code == ' ')) {
            fwrite(next, 1, len, file);
        } else {
            if (len == 0)
                len = 1;
            for (i = 0; i < len; i++)
                fprintf(file, "\\x%02x", next[i]);
        }
        next += len;
    }
}

void
output_text(FILE *file, const char *text)
{
    escape(file, text, false);
}

void
output_name(FILE *file, const char *text)
{
    escape(file, text, true);
}

size_t
output_width(FILE *file)
{
    struct winsize size;

    if (isatty(fileno(file)) != 1)
        return 0;
    if (ioctl(fileno(file), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

/* The columns of what is left at *next, up to a bound, and *next behind them.
 * A character counts as one; what is escaped, as it is written. */
static size_t
take_columns(const unsigned char **next, size_t bound)
{
    size_t columns = 0;

    while (**next != '\0') {
        uint32_t code;
        size_t len = decode(*next, &code), need = 1;

        if (len == 0 || is_harmful(code)) {
            len = len == 0 ? 1 : len;
            need = 4 * len;
        }
        if (columns + need > bound)
            break;
        columns += need;
        *next += len;
    }
    return columns;
}

size_t
output_columns(const char *text)
{
    const unsigned char *next = (const unsigned char *) text;

    return take_columns(&next, SIZE_MAX);
}

void
output_cell(FILE *file, const char *text, size_t columns)
{
    const unsigned char *next = (const unsigned char *) text;
    size_t used = output_columns(text);
    char *cut;

    if (columns == 0 || used <= columns) {
        output_text(file, text);
    } else {
        used = take_columns(&next, columns > 3 ? columns - 3 : 0);
        cut = strndup(text, (size_t) ((const char *) next - text));
        if (cut != NULL)
            output_text(file, cut);
        free(cut);
        for (; used < columns; used++)
            fputc('.', file);
    }
    for (; used < columns; used++)
        fputc(' ', file);
}

static bool
in_colour(FILE *file)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fileno(file)) == 1 && (no == NULL || no[0] == '\0')
           && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

void
output_word(FILE *file, const char *word, enum output_colour colour)
{
    if (in_colour(file))
        fprintf(file, "\033[%dm%s\033[0m", colour == OUTPUT_GOOD ? 32 : 31,
                word);
    else
        fputs(word, file);
}

bool
output_json(FILE *file, json_t *object)
{
    bool done = object != NULL
                && json_dumpf(object, file, JSON_ENSURE_ASCII) == 0;

    if (done)
        fputc('\n', file);
    json_decref(object);
    return done;
}

bool
output_flush(FILE *file)
{
    return fflush(file) == 0 && !ferror(file);
}
