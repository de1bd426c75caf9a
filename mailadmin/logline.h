/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_LOGLINE_H
#define MAILADMIN_LOGLINE_H

/*
 * Lines of Postfix's log and of policyd's: who wanted to send as whom. Also
 * what a mail client shows of a refusal, which is a part of such a line.
 */

#include <stdbool.h>
#include <stddef.h>

#define LOGLINE_VALUE 512 /* bytes of a value, its NUL included */
#define LOGLINE_REF 8     /* bytes of a reference, its NUL included */

struct logline {
    bool has_user, has_sender;
    bool cut; /* a value was too long for the log, and is not whole */
    bool login; /* it is about a login, which names no sender */
    char user[LOGLINE_VALUE];
    char sender[LOGLINE_VALUE]; /* "" for <> */
    char verdict[LOGLINE_VALUE]; /* what the line says became of it */
    char ref[LOGLINE_REF];
};

/* False when the line is none that says anything of this. */
bool logline_parse(const char *line, struct logline *logline_r);

/* Whether a line has the reference, as policyd writes it or Postfix. */
bool logline_has_ref(const char *line, const char *ref);

/* Whether text is a reference by itself; in capitals in *ref_r. */
bool logline_is_ref(const char *text, char ref_r[static LOGLINE_REF]);

#endif
