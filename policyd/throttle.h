/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_THROTTLE_H
#define POLICYD_THROTTLE_H

/*
 * Against guessing: failed logins of the last hour, counted per user, per
 * client (an IPv4 address, the /64 of an IPv6 one) and per pair of the two, in
 * tables of a fixed bound. Of the entries untouched for longest the one with
 * the fewest failures makes room, so that failures elsewhere do not wipe out
 * many in one place.
 *
 * A user may fail THROTTLE_USER_LIMIT times in an hour, wherever from; a
 * client and a pair must pause longer after each failure beyond the first few.
 * A try that is over a limit is held: not checked, so not counted either. A
 * pair that was right in the last hour is held by its own pauses only, so that
 * nobody locks a user out from where he works.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THROTTLE_ENTRIES 65536 /* of each of the three tables */
#define THROTTLE_USER_LIMIT 100
#define THROTTLE_PAIR_FREE 10  /* failures before there are pauses */
#define THROTTLE_PAIR_PAUSE_MS 60000
#define THROTTLE_CLIENT_FREE 50
#define THROTTLE_CLIENT_PAUSE_MS 15000

struct throttle;

/* Whose try it is; made once, kept by the caller until the outcome. */
struct throttle_try {
    uint64_t user, client, pair; /* keyed hashes */
};

/* NULL when out of memory. */
struct throttle *throttle_new(void);
void throttle_free(struct throttle **throttle);

/* client: an address as text, anything else counts as it stands. user: in
 * normal form. */
struct throttle_try throttle_who(const struct throttle *throttle,
                                 const char *client, const char *user);

/*
 * Whether the try may be checked. If so it counts as failed from now on, so
 * that tries at the same time are counted, too, until throttle_good() or
 * throttle_undo() says otherwise. now: milliseconds that do not jump.
 */
bool throttle_begin(struct throttle *throttle, const struct throttle_try *who,
                    uint64_t now);

/* The password was right, of a try that had begun. */
void throttle_good(struct throttle *throttle, const struct throttle_try *who,
                   uint64_t now);

/* It was right without a try: it was known already. */
void throttle_known(struct throttle *throttle, const struct throttle_try *who,
                    uint64_t now);

/* It was not checked after all. */
void throttle_undo(struct throttle *throttle, const struct throttle_try *who,
                   uint64_t now);

struct throttle_counts {
    size_t users, clients, pairs;
    unsigned long held_user, held_client, held_pair;
};
struct throttle_counts throttle_counts(const struct throttle *throttle);

#endif
