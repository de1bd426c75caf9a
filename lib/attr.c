/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/attr.h"

#include <string.h>

void
attr_reader_reset(struct attr_reader *reader)
{
    memset(reader, 0, sizeof(*reader));
}

/* Returns the index of the name, which is not empty, in the table, or
 * count. */
static size_t
find_name(const struct attr_name *names, size_t count, const char *name,
          size_t len)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (names[i].len == len && names[i].name[0] == name[0]
            && memcmp(names[i].name, name, len) == 0)
            break;
    return i;
}

/* Reads one line without its newline. Returns an error. */
static const char *
read_line(struct attr_reader *reader, const struct attr_name *names,
          size_t names_count, const char *buf, size_t line, size_t len)
{
    const char *equals = memchr(buf + line, '=', len);
    struct attr_value *value;
    size_t name_len, i;

    if (equals == NULL)
        return "line without '='";
    name_len = (size_t) (equals - (buf + line));
    if (name_len == 0)
        return "line without a name";
    i = find_name(names, names_count, buf + line, name_len);
    if (i == names_count)
        return NULL;
    value = &reader->values[i];
    if (value->present)
        return "attribute given twice";
    value->present = true;
    value->offset = (uint32_t) (line + name_len + 1);
    value->len = (uint32_t) (len - name_len - 1);
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

enum attr_result
attr_read(struct attr_reader *reader, const struct attr_name *names,
          size_t names_count, char *buf, size_t len, size_t *used_r,
          const char **error_r)
{
    *error_r = NULL;
    if (names_count > ATTR_FIELDS_MAX) {
        *error_r = "table of names too large";
        return ATTR_BAD;
    }
    while (reader->scanned < len) {
        char *piece = buf + reader->scanned;
        size_t rest = len - reader->scanned;
        char *newline = memchr(piece, '\n', rest);
        size_t piece_len = newline ? (size_t) (newline - piece) : rest;
        size_t line_len = reader->scanned + piece_len - reader->line;

        if (line_len > ATTR_LINE_MAX)
            *error_r = "line too long";
        else if (reader->scanned + piece_len + 1 > ATTR_BLOCK_MAX)
            *error_r = "request too long";
        if (*error_r != NULL)
            return ATTR_BAD;
        reader->scanned += piece_len;
        if (newline == NULL)
            break;
        if (line_len == 0) {
            *used_r = ++reader->scanned;
            *error_r = *used_r > 1 ? check_read(reader, buf, *used_r)
                                   : "empty request";
            if (*error_r != NULL)
                return ATTR_BAD;
            end_values(reader, names_count, buf);
            return ATTR_BLOCK;
        }
        *error_r = read_line(reader, names, names_count, buf, reader->line,
                             line_len);
        if (*error_r != NULL) {
            const char *byte = check_read(reader, buf, reader->scanned);

            /* A line that ends in CR LF is best told from that. */
            *error_r = byte != NULL ? byte : *error_r;
            return ATTR_BAD;
        }
        reader->line = ++reader->scanned;
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
