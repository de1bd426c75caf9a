/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_CHANGES_H
#define POLICYD_CHANGES_H

/*
 * Follows changes of the database on a connection of its own and tells the
 * directory: by LISTEN, and by reading the change counter every second, which
 * finds out when a notification was lost. Where LISTEN cannot work (a hot
 * standby, a pooler in transaction mode) the counter alone is polled.
 *
 * The directory hears from the moment both are in place until the connection is
 * lost or has been silent for five seconds.
 */

#include <stdbool.h>

#include <uv.h>

struct changes;
struct db;
struct directory;
struct target;

struct changes_counts {
    bool live, polling;
    unsigned long notifications, reconnects, drops;
};

/* NULL when out of memory. What it is given outlives it. */
struct changes *changes_new(uv_loop_t *loop, struct target *target,
                            struct db *db, struct directory *directory,
                            unsigned int timeout_ms);
void changes_free(struct changes **changes);

/* Follows another database from now on. */
void changes_reconfigure(struct changes *changes, struct target *target,
                         unsigned int timeout_ms);

/* The database is there (again), or gone: connects at once, or waits. */
void changes_database(struct changes *changes, bool available);

/* following is called when the directory has become live, and every second
 * for as long as it is. */
void changes_on_following(struct changes *changes,
                          void (*following)(void *context), void *context);

struct changes_counts changes_counts(const struct changes *changes);

#endif
