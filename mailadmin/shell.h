/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_SHELL_H
#define MAILADMIN_SHELL_H

/*
 * Commands line by line: typed at a terminal, with editing, history and
 * completion, or from a script on standard input. A failure does not end it,
 * unless the session is strict. No transaction is open while it waits.
 */

#include "mailadmin/status.h"

struct session;

/* STATUS_OK at the end of the input or after "exit"; the status of the line
 * that failed in a strict session. */
enum status shell_run(struct session *session);

#endif
