/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_CHANGE_H
#define MAILADMIN_CHANGE_H

/*
 * The commands add, del, grant, revoke, enable and disable: their arguments
 * become one change of the store's. The lines of a script that are of one form
 * become one change together; see batch.h.
 *
 * A change owns its items and their text. change_free() wipes and frees it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "mailadmin/status.h"
#include "mailadmin/store_change.h"

struct arguments;
struct session;

struct change {
    struct store_change store;
    size_t room; /* for items */
};

void change_free(struct change *change);

/* Whether the command is a change that asks for no passwords. */
bool change_is_plain(const struct arguments *arguments);

/*
 * Adds what the arguments name to a change, which was zeroed before the first.
 * False, and the change as it was, when they are of another form than what it
 * holds, or cannot be read: then *status_r is not STATUS_OK, and the message
 * is set.
 */
bool change_add(struct session *session, const struct arguments *arguments,
                struct change *change, enum status *status_r);

/* Makes the change; on failure the message is set. */
enum status change_make(struct session *session, struct change *change);

/* After it was made: the message for items that needed none, and in JSON the
 * object of the command that these items are. */
enum status change_report(struct session *session,
                          const struct change *change, size_t first,
                          size_t count);

#endif
