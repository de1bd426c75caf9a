/* SPDX-License-Identifier: MIT */
#ifndef LIB_ATTR_H
#define LIB_ATTR_H

/*
 * Blocks of name=value lines ended by an empty line: the framing of Postfix's
 * policy protocol (SMTPD_POLICY_README) and of our own auth socket.
 *
 * The reader works in place on a buffer of the caller's, in as many pieces as
 * the bytes arrive in, and allocates nothing. It knows no sockets. The writer
 * fills a buffer of the caller's. Neither logs; errors are returned as text.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATTR_LINE_MAX 8192     /* bytes of a line, its newline not counted */
#define ATTR_BLOCK_MAX 65536   /* bytes of a block, the empty line included */
#define ATTR_FIELDS_MAX 32     /* names in a reader's table */

/* The names both ends of a socket use; see DESIGN section 5. */
#define ATTR_REQUEST "request"
#define ATTR_ACTION "action"
#define ATTR_STATUS "status"
#define ATTR_USER "user"
#define ATTR_PASSWORD "password"
#define ATTR_CLIENT "client"
#define ATTR_SERVICE "service"
#define ATTR_VERIFIER "verifier"

#define ATTR_REQUEST_AUTH "auth"
#define ATTR_REQUEST_VERIFIER "verifier"
#define ATTR_STATUS_OK "ok"
#define ATTR_STATUS_DENIED "denied"
#define ATTR_STATUS_UNAVAILABLE "unavailable"

enum attr_result {
    ATTR_MORE,  /* the block has not ended yet */
    ATTR_BLOCK, /* a whole block was read */
    ATTR_BAD    /* this is not the protocol: close the connection */
};

/* A name that the reader is to pick out; names not in the table are read over.
 * A name in the table may come once in a block. */
struct attr_name {
    const char *name;
    size_t len;
};
#define ATTR_NAME(literal) {literal, sizeof(literal) - 1}

/* Where a value stands: offset and length in the caller's buffer. Once the
 * block is whole each value is followed by a NUL byte (in place of its
 * newline). */
struct attr_value {
    uint32_t offset;
    uint32_t len;
    bool present;
};

/* The state between two pieces of one block. Zeroed by attr_reader_reset(). */
struct attr_reader {
    size_t line;    /* offset of the line being read */
    size_t value;   /* offset behind its first '=', 0: none yet */
    size_t scanned; /* offset up to which all newlines were found */
    size_t checked; /* offset up to which no byte is a forbidden one */
    struct attr_value values[ATTR_FIELDS_MAX];
};

void attr_reader_reset(struct attr_reader *reader);

/*
 * Reads on in buf, whose first len bytes hold the block from its first byte
 * (the buffer may have moved since the last call, its bytes may not).
 * ATTR_BLOCK: *used_r is the length of the block, values are set and the
 * reader must be reset before the next block. ATTR_BAD: *error_r says why, a
 * constant text.
 */
enum attr_result attr_read(struct attr_reader *reader,
                           const struct attr_name *names, size_t names_count,
                           char *buf, size_t len, size_t *used_r,
                           const char **error_r);

/* Writes blocks into a buffer of the caller's. After the first failure the
 * writer stays failed. */
struct attr_writer {
    char *buf;
    size_t size;
    size_t len;
    bool failed;
};

void attr_writer_init(struct attr_writer *writer, char *buf, size_t size);

/* Adds name=value. Fails, for good, when a byte of the value is NUL, CR or
 * LF, when the line is over ATTR_LINE_MAX or the buffer is full: what would
 * break the framing is refused here, once, for all callers. */
void attr_write(struct attr_writer *writer, const char *name,
                const char *value, size_t value_len);

/* Ends the block. Returns its whole length, or 0 when the writer failed. */
size_t attr_write_end(struct attr_writer *writer);

#endif
