/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_TEXTFILE_H
#define MAILADMIN_TEXTFILE_H

/*
 * Files of lines of words, such as what export writes: words are separated by
 * blanks and tabs, one that begins with # begins a comment, and \xNN stands
 * for a byte that could not be written otherwise. An empty line is none.
 *
 * A file is read whole, within bounds that a file without end meets soon. It
 * owns its text, which is wiped when it is freed, for it may hold secrets.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "mailadmin/grammar.h"
#include "mailadmin/status.h"

#define TEXTFILE_LINE_MAX 65536
#define TEXTFILE_MAX (256UL << 20) /* bytes of a file */

struct faults;
struct session;

struct textfile {
    const char *name; /* for messages */
    char *text;       /* room for one more byte behind len */
    size_t len, room;
    size_t at;
    unsigned long line; /* the number of the line that was read last */
};

/* Reads a file, "-" for standard input. On failure the message is set. */
enum status textfile_read(struct session *session, const char *path,
                          struct textfile *file_r);
void textfile_free(struct textfile *file);

/* The words of the next line that has some, which are cut out of the text and
 * stay valid as long as it; false at the end. Lines that cannot be read are
 * faults, and left out. */
bool textfile_next(struct textfile *file, struct faults *faults,
                   char *words_r[GRAMMAR_WORDS], size_t *count_r);

/* Writes a word so that it is read as it was: escaped as far as output_text()
 * would, and where it would be taken for something else. */
void textfile_write(FILE *out, const char *word);

#endif
