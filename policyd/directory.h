/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_DIRECTORY_H
#define POLICYD_DIRECTORY_H

/*
 * What policyd knows of users: a bounded cache of user records in front of
 * the database. Questions for the same user share one query. The directory
 * owns the records; one handed out is valid until the next return to the loop.
 *
 * A record is fresh while changes are followed (directory_heard()) and it is
 * younger than ttl; else it is stale and loaded again before it is used.
 * Only when that cannot be done does a stale record answer, marked as such,
 * until max_stale after the database was last known good. A record that is
 * known to be outdated is dropped and never answers again.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "lib/addr.h"
#include "lib/decide.h"

struct db;
struct directory;

struct directory_options {
    uint64_t cache_bytes;
    unsigned int cache_ttl; /* seconds */
    unsigned int max_stale; /* seconds */
};

/* Who is asked for. With a sender, a user of very many grants is looked up
 * for that sender only; without, for the secret. What it points to stays until
 * the answer. */
struct directory_question {
    const struct user_name *user;
    const struct addr *sender;   /* or NULL */
    const struct addr *stripped; /* or NULL */
};

/* Someone who waits for an answer; embedded by the waiter. facts is valid
 * during the call. */
struct directory_wait {
    void (*answered)(struct directory_wait *wait,
                     const struct decide_facts *facts);
    /* The directory's own. */
    struct directory_question question;
    uint64_t since; /* clock_boot_ms() */
    struct directory_wait *next, **link;
};

/* NULL when out of memory. The database outlives it, and answers all its
 * queries before directory_free(). */
struct directory *directory_new(struct db *db,
                                const struct directory_options *options);
void directory_free(struct directory **directory);
void directory_set_options(struct directory *directory,
                           const struct directory_options *options);

/* A question for the user of that name, as the client gave it, comes next: see
 * table_expect(). */
void directory_expect(struct directory *directory, const char *name,
                      size_t len);

/* True: an answer is at hand, in *facts_r, that is fresh at now, which is
 * clock_boot_ms(). Allocates nothing. */
bool directory_peek(struct directory *directory,
                    const struct directory_question *question, uint64_t now,
                    struct decide_facts *facts_r);

/*
 * Asks the database. False: it is being asked, and wait->answered is called
 * once from the loop, unless the wait is cancelled. True: it cannot be, and
 * *facts_r has what may be said without it.
 */
bool directory_ask(struct directory *directory,
                   const struct directory_question *question,
                   struct decide_facts *facts_r, struct directory_wait *wait);
void directory_cancel(struct directory_wait *wait);

/* -- what changes.c has to say -------------------------------------------- */

/* Changes up to this moment, of clock_boot_ms(), are known, which counts for
 * five seconds from then on; 0: they are not known any more. */
void directory_heard(struct directory *directory, uint64_t when);

/* The change counter has come to this value: a record loaded from now on that
 * is older comes from a server that lags behind, and is not used. */
void directory_set_counter(struct directory *directory, int64_t counter);

/* This user changed, at this counter; or anyone may have, at any time. */
void directory_drop_user(struct directory *directory, const char *name,
                         size_t len, int64_t counter);
void directory_drop_all(struct directory *directory);

/* -- what preload.c has loaded -------------------------------------------- */

#define DIRECTORY_NAME_COLUMN 8 /* of the user, in rows of DB_LOAD */

/* Takes in the rows of DB_LOAD. False, and nothing is taken in, when they are
 * from before a change that is known. */
bool directory_put(struct directory *directory, const PGresult *rows);

/* Whether a further record would cost one that is there. */
bool directory_full(const struct directory *directory);

/* -- verified passwords --------------------------------------------------- */

/* Whether the password was found right for the user's present secret before
 * (or for the one before it, while that is valid). */
bool directory_password_known(struct directory *directory,
                              const struct user_name *user,
                              const char *password, size_t len);

/* Remembers that the password was found right for this stored secret. Forgotten
 * with the secret. */
void directory_remember_password(struct directory *directory,
                                 const struct user_name *user,
                                 const char *secret, const char *password,
                                 size_t len);

/* -- figures -------------------------------------------------------------- */

struct directory_counts {
    size_t records, unknown_names;
    uint64_t bytes;
    unsigned long hits, misses, shared, stale_answers, evicted, dropped,
        outdated;
};
struct directory_counts directory_counts(const struct directory *directory);

#endif
