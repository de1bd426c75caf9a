/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/output.h"

#include <stdint.h>
#include <string.h>

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

void
output_text(FILE *file, const char *text)
{
    const unsigned char *next = (const unsigned char *) text;

    while (*next != '\0') {
        uint32_t code;
        size_t len = decode(next, &code), i;

        if (len > 0 && !is_harmful(code)) {
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
