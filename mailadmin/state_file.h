/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STATE_FILE_H
#define MAILADMIN_STATE_FILE_H

/*
 * A state as the text that export writes and that people keep in git: first
 * its version, then one thing a line, in the language of the commands:
 *
 *     version 1
 *     user shop
 *     domain example.com
 *     grant domain example.com to shop with subdomains until 2027-01-01
 *
 * The same state makes the same bytes.
 */

#include <stdbool.h>
#include <stdio.h>

#include "mailadmin/state.h"
#include "mailadmin/status.h"

struct faults;
struct session;
struct textfile;

/* Reads what is left of a file. What is wrong is in faults then, and the state
 * of no use. state_r was zeroed. */
void state_parse(struct textfile *file, struct state *state_r,
                 struct faults *faults);

/* Opens, reads and closes a file. The state is sorted, and the caller's to
 * free. On failure all that is wrong was printed, and the message is set. */
enum status state_read(struct session *session, const char *path,
                       struct state *state_r);

void state_write(FILE *out, const struct state *state);

/* The line of one item, without its end. */
void state_write_item(FILE *out, const struct state_item *item, bool secrets);

/* Seconds since the epoch as "until" has them. */
void state_write_until(FILE *out, int64_t second);

#endif
