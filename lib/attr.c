/* SPDX-License-Identifier: MIT */
/*
 * To read a request, some thirty lines of thirty bytes, is half of the work of
 * an answer from memory. So the newlines and '=' of 64 bytes are found at once,
 * and a name by its place in a table: 0.13 us a request, where a memchr(3) for
 * each of them and a search for each name took 0.20.
 */
#include "config.h"

#include "lib/attr.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define WORD 64 /* bytes that are looked at together */

void
attr_reader_reset(struct attr_reader *reader)
{
    memset(reader, 0, sizeof(*reader));
}

/* Which of the WORD bytes at text are c: the first is the lowest bit. */
#ifdef __SSE2__
static inline uint64_t
piece_bits(const char *text, unsigned int i, __m128i wanted)
{
    __m128i piece = _mm_loadu_si128((const __m128i *) (text + i));
    int bits = _mm_movemask_epi8(_mm_cmpeq_epi8(piece, wanted));

    return (uint64_t) (unsigned int) bits << i;
}

static inline uint64_t
word_bits(const char *text, char c)
{
    const __m128i wanted = _mm_set1_epi8(c);

    return piece_bits(text, 0, wanted) | piece_bits(text, 16, wanted)
           | piece_bits(text, 32, wanted) | piece_bits(text, 48, wanted);
}
#else
static inline uint64_t
word_bits(const char *text, char c)
{
    uint64_t bits = 0;
    unsigned int i;

    for (i = 0; i < WORD; i++)
        bits |= (uint64_t) (text[i] == c) << i;
    return bits;
}
#endif

/* The same for as many of the bytes from offset at on as there are in buf. */
static inline uint64_t
find_bits(const char *buf, size_t len, size_t at, char c)
{
    uint64_t bits = 0;
    size_t i, left = len - at;

    if (left >= WORD)
        return word_bits(buf + at, c);
    if (len >= WORD)
        return word_bits(buf + len - WORD, c) >> (WORD - left);
    for (i = 0; i < left; i++)
        bits |= (uint64_t) (buf[at + i] == c) << i;
    return bits;
}

#define PLACES 64

/* A place for each name: with these factors none that Postfix sends has that
 * of another one which policyd reads. */
static unsigned int
name_place(const char *name, size_t len)
{
    unsigned int first = (unsigned char) name[0];
    unsigned int last = (unsigned char) name[len - 1];

    return (unsigned int) (first + 2 * last + 5 * len) % PLACES;
}

struct table {
    const struct attr_name *names;
    size_t count;
    uint8_t at[PLACES]; /* one more than the index of a name there; 0: none */
};

static void
fill_table(struct table *table, const struct attr_name *names, size_t count)
{
    size_t i;

    table->names = names;
    table->count = count;
    memset(table->at, 0, sizeof(table->at));
    for (i = 0; i < count; i++)
        table->at[name_place(names[i].name, names[i].len)] =
            (uint8_t) (i + 1);
}

static bool
is_name(const struct attr_name *known, const char *name, size_t len)
{
    return known->len == len && memcmp(known->name, name, len) == 0;
}

/* Returns the index of the name, which is not empty, in the table, or its
 * count. Most names are not in it, and are compared with none that is. */
static size_t
find_name(const struct table *table, const char *name, size_t len)
{
    size_t i = table->at[name_place(name, len)];

    if (i == 0)
        return table->count;
    if (is_name(&table->names[i - 1], name, len))
        return i - 1;
    for (i = 0; i < table->count; i++)
        if (is_name(&table->names[i], name, len))
            break;
    return i;
}

/* Reads the line begun, which is not empty and whose newline is at end.
 * Returns an error. */
static const char *
read_line(struct attr_reader *reader, const struct table *table,
          const char *buf, size_t end)
{
    size_t name_len, i;
    struct attr_value *value;

    if (reader->value == 0)
        return "line without '='";
    name_len = reader->value - 1 - reader->line;
    if (name_len == 0)
        return "line without a name";
    i = find_name(table, buf + reader->line, name_len);
    if (i == table->count)
        return NULL;
    value = &reader->values[i];
    if (value->present)
        return "attribute given twice";
    value->present = true;
    value->offset = (uint32_t) reader->value;
    value->len = (uint32_t) (end - reader->value);
    return NULL;
}

/* Refuses the bytes that no line may hold. */
static const char *
check_bytes(const char *piece, size_t len)
{
    if (memchr(piece, '\0', len) != NULL)
        return "NUL byte";
    if (memchr(piece, '\r', len) != NULL)
        return "carriage return";
    return NULL;
}

/* Looks at the bytes up to end that were not looked at yet, all lines of a
 * block at once: line by line would cost more than all the rest. */
static const char *
check_read(struct attr_reader *reader, const char *buf, size_t end)
{
    const char *error = check_bytes(buf + reader->checked,
                                    end - reader->checked);

    reader->checked = end;
    return error;
}

/* Only now, for the check of the block refuses NUL. */
static void
end_values(const struct attr_reader *reader, size_t names_count, char *buf)
{
    size_t i;

    for (i = 0; i < names_count; i++)
        if (reader->values[i].present)
            buf[reader->values[i].offset + reader->values[i].len] = '\0';
}

/* The line begun has its newline at end. Returns an error. */
static const char *
end_line(struct attr_reader *reader, const struct table *table,
         const char *buf, size_t end)
{
    const char *error, *byte;

    if (end - reader->line > ATTR_LINE_MAX)
        return "line too long";
    if (end >= ATTR_BLOCK_MAX)
        return "request too long";
    if (end == reader->line)
        return end > 0 ? check_read(reader, buf, end + 1) : "empty request";
    error = read_line(reader, table, buf, end);
    if (error == NULL)
        return NULL;
    /* A line that ends in CR LF is best told from that. */
    byte = check_read(reader, buf, end);
    return byte != NULL ? byte : error;
}

/* The first of these '=', from offset at on, is that of the line begun unless
 * it has one. */
static void
note_equals(struct attr_reader *reader, size_t at, uint64_t equals)
{
    if (reader->value == 0 && equals != 0)
        reader->value = at + (size_t) __builtin_ctzll(equals) + 1;
}

enum attr_result
attr_read(struct attr_reader *reader, const struct attr_name *names,
          size_t names_count, char *buf, size_t len, size_t *used_r,
          const char **error_r)
{
    struct table table;

    *error_r = NULL;
    if (names_count > ATTR_FIELDS_MAX) {
        *error_r = "table of names too large";
        return ATTR_BAD;
    }
    fill_table(&table, names, names_count);
    while (reader->scanned < len) {
        size_t at = reader->scanned;
        uint64_t newlines = find_bits(buf, len, at, '\n');
        uint64_t equals = find_bits(buf, len, at, '=');

        for (; newlines != 0; newlines &= newlines - 1) {
            size_t end = at + (size_t) __builtin_ctzll(newlines);
            uint64_t before = newlines ^ (newlines - 1);

            note_equals(reader, at, equals & before);
            *error_r = end_line(reader, &table, buf, end);
            if (*error_r != NULL)
                return ATTR_BAD;
            if (end == reader->line) {
                *used_r = end + 1;
                end_values(reader, names_count, buf);
                return ATTR_BLOCK;
            }
            reader->line = end + 1;
            reader->value = 0;
            equals &= ~before;
        }
        note_equals(reader, at, equals);
        reader->scanned = len - at > WORD ? at + WORD : len;
        if (reader->scanned - reader->line > ATTR_LINE_MAX) {
            *error_r = "line too long";
            return ATTR_BAD;
        }
    }
    /* Even the empty line would be too much: a caller whose buffer is as
     * large as a block has no room for it. */
    if (reader->scanned >= ATTR_BLOCK_MAX)
        *error_r = "request too long";
    else
        *error_r = check_read(reader, buf, reader->scanned);
    return *error_r != NULL ? ATTR_BAD : ATTR_MORE;
}

void
attr_writer_init(struct attr_writer *writer, char *buf, size_t size)
{
    writer->buf = buf;
    writer->size = size;
    writer->len = 0;
    writer->failed = false;
}

static void
put(struct attr_writer *writer, const char *bytes, size_t len)
{
    if (writer->failed || len > writer->size - writer->len) {
        writer->failed = true;
        return;
    }
    if (len > 0)
        memcpy(writer->buf + writer->len, bytes, len);
    writer->len += len;
}

void
attr_write(struct attr_writer *writer, const char *name, const char *value,
           size_t value_len)
{
    size_t name_len = strlen(name);

    if (name_len + 1 > ATTR_LINE_MAX
        || value_len > ATTR_LINE_MAX - name_len - 1
        || memchr(value, '\n', value_len) != NULL
        || check_bytes(value, value_len) != NULL)
        writer->failed = true;
    put(writer, name, name_len);
    put(writer, "=", 1);
    put(writer, value, value_len);
    put(writer, "\n", 1);
}

size_t
attr_write_end(struct attr_writer *writer)
{
    put(writer, "\n", 1);
    return writer->failed ? 0 : writer->len;
}
