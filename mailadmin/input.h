/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_INPUT_H
#define MAILADMIN_INPUT_H

/*
 * Standard input: lines of commands, and passwords, which come the same way
 * when it is no terminal. What was read is wiped as it is used, since it may
 * be a password.
 */

#include <stdbool.h>
#include <stddef.h>

#define INPUT_LINE_MAX 65536

enum input_result {
    INPUT_LINE,
    INPUT_END,
    INPUT_TOO_LONG, /* over INPUT_LINE_MAX; read to its end and forgotten */
    INPUT_NUL,      /* a NUL byte in it */
    INPUT_ERROR     /* errno */
};

struct input;

struct input *input_new(int fd);
void input_free(struct input **input);

bool input_is_terminal(const struct input *input);

/* The next line, without its newline; valid until the next call. */
enum input_result input_line(struct input *input, char **line_r,
                             size_t *len_r);

/* Whether input_line() would return at once. */
bool input_ready(struct input *input);

/* How much of it was read, in per cent; -1 where that is not known. */
int input_percent(const struct input *input);

/* How many lines were read so far, passwords included. */
unsigned long input_lines(const struct input *input);

/* input_line() from a terminal that does not show what is typed. The prompt
 * goes to standard error. The terminal is as before afterwards, also when a
 * signal ends the program. */
enum input_result input_hidden_line(struct input *input, const char *prompt,
                                    char **line_r, size_t *len_r);

#endif
