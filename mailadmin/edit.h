/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_EDIT_H
#define MAILADMIN_EDIT_H

/*
 * A line typed at a terminal, with the keys of libedit (and of ~/.editrc),
 * completion at the tabulator, and a history that outlasts the session: in
 * $MAILADMIN_HISTORY (none if that is empty) or ~/.mailadmin_history. Only
 * what begins as a command goes into the history, so that a password that was
 * typed at the wrong moment does not.
 */

#include "mailadmin/input.h"

struct edit;
struct session;

/* NULL for a terminal that cannot do it, or when out of memory: input_line()
 * serves then. The session must outlive it. */
struct edit *edit_new(struct session *session);

/* Saves the history. *edit may be NULL. */
void edit_free(struct edit **edit);

/* Like input_line(), with the prompt "> ". An interrupt empties the line. */
enum input_result edit_line(struct edit *edit, char **line_r);

#endif
