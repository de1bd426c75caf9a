/* SPDX-License-Identifier: MIT */
#ifndef T_FUZZ_STREAM_H
#define T_FUZZ_STREAM_H

/*
 * Bytes into policyd's own connection handler, over a socket, and its replies
 * out of it. The oracle beside it cuts the same bytes into requests in one go,
 * sharing no code with lib/attr.c.
 */

#include "t/fuzz/fuzz.h"
#include "policyd/server.h"

#define STREAM_TILDE 4000 /* bytes that one '~' may stand for */
#define STREAM_MAX 262144
#define STREAM_VALUES 9

struct stream_choices {
    size_t piece;    /* bytes of a write, 0: all at once */
    bool half_close; /* after the last byte */
    bool leave;      /* in the middle of it */
    bool read_late;  /* nothing is read before the last byte is written */
};

/* Sends the bytes and fills replies_r (of STREAM_MAX bytes). True when the
 * server closed the connection. Whatever waits is answered by fake_step(). */
bool stream_run(const struct protocol *protocol, void *context,
                struct piece bytes, const struct stream_choices *choices,
                char *replies_r, size_t *len_r);

/* With tildes, each of them becomes STREAM_TILDE letters. The copy is the
 * caller's to free. */
struct piece stream_expand(struct piece bytes, bool tildes);

/* Takes the next request off the bytes: its values of the names given, empty
 * when there is none. False when no whole good one follows. */
bool stream_request(struct piece *bytes, const char *const *names,
                    size_t count, struct piece *values_r);

/* Takes the next reply; false when there is none; dies if it is not one. */
bool stream_reply(struct piece *replies, struct piece *reply_r);

#endif
