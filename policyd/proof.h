/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_PROOF_H
#define POLICYD_PROOF_H

/*
 * That a password was found right for a stored secret, in a form that is of no
 * use to whoever reads it: HMAC-SHA-256 over both, under a key that this
 * process made and nobody else has. The caller owns what it is handed.
 */

#include <stdbool.h>
#include <stddef.h>

#define PROOF_LEN 32

struct proof_key {
    unsigned char bytes[PROOF_LEN];
};

bool proof_key_make(struct proof_key *key);
void proof_key_wipe(struct proof_key *key);

/* False when one of the two is too long, or the library fails. */
bool proof_make(const struct proof_key *key, const char *secret,
                const char *password, size_t len,
                unsigned char proof_r[static PROOF_LEN]);

/* Whether the proof is of this password and secret (NULL: of none). */
bool proof_holds(const struct proof_key *key,
                 const unsigned char proof[static PROOF_LEN],
                 const char *secret, const char *password, size_t len);

#endif
