/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_USAGE_H
#define POLICYD_USAGE_H

/*
 * What users send as, and which of their grants that uses, for "mailadmin
 * learn", "unused" and "impact": noted in memory as decisions are made, and
 * every few seconds handed to the database in one batch.
 *
 * Memory is a table of USAGE_ENTRIES, made at once; what does not fit is
 * dropped and counted. A batch goes once: one that may have arrived is not
 * sent again, one that did not is lost and counted. While the database is gone
 * the table waits. No mail depends on any of it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct db;
struct decide_text;
struct decide_verdict;
struct record;
struct usage;

#define USAGE_ENTRIES 8192 /* senders of users not yet handed over */
#define USAGE_BATCH 500    /* of them in one batch */

/* NULL when out of memory. The database outlives it, but answers all its
 * queries before usage_free(). */
struct usage *usage_new(uv_loop_t *loop, struct db *db);
void usage_free(struct usage **usage);

/* Whether this records: begins with a batch that says so, though it be empty.
 * What was noted before goes out all the same. */
void usage_set_recording(struct usage *usage, bool recording);

/*
 * Notes a decision that was made by the user's record. Allocates nothing. The
 * sender is as it came; requests with the same instance are one message.
 */
void usage_note(struct usage *usage, const struct record *record,
                const struct decide_verdict *verdict,
                const struct decide_text *sender,
                const struct decide_text *instance, int64_t now);

/* Hands over what there is now, batch after batch; to be called at the end.
 * usage_busy() is false when all is done, or cannot be. */
void usage_finish(struct usage *usage);
bool usage_busy(const struct usage *usage);

struct usage_counts {
    size_t waiting; /* entries of the table that are taken */
    unsigned long batches, recorded, dropped, lost;
};
struct usage_counts usage_counts(const struct usage *usage);

#endif
