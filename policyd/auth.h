/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_AUTH_H
#define POLICYD_AUTH_H

/*
 * The auth socket: password checks and SCRAM verifiers for the SASL plugin,
 * with one log line for every login that fails. Wrong password, unknown user,
 * disabled user and unusable secret get the same answer, at the same cost at
 * least; what cannot be told for now is "unavailable", never "denied".
 */

#include <stdbool.h>
#include <stddef.h>

#include "policyd/server.h"
#include "lib/conf.h"
#include "lib/secret.h"

struct db;
struct directory;
struct hash_pool;
struct throttle;

#define AUTH_CLIENTS_MAX 32
#define AUTH_KEY_MAX 64

enum auth_result { AUTH_OK, AUTH_DENIED, AUTH_UNAVAILABLE, AUTH_RESULTS };

struct auth {
    struct directory *directory;
    struct db *db;
    struct hash_pool *hashes;
    struct throttle *throttle;
    uid_t clients[AUTH_CLIENTS_MAX]; /* who may connect */
    size_t clients_count;
    struct secret_policy secret_policy;
    enum conf_legacy_md5 legacy_md5;
    bool scram;
    unsigned char key[AUTH_KEY_MAX]; /* of made-up verifiers; len 0: not yet */
    size_t key_len;
    bool key_asked; /* a query for it is out */
    unsigned long counts[AUTH_RESULTS];
};

/* Resolves a list of user names, separated by blanks, to auth->clients. False,
 * with what is wrong in error_r and nothing changed, when one is no user or
 * there are too many. */
bool auth_set_clients(struct auth *auth, const char *names, char *error_r,
                      size_t error_size);

/* Asks the database for the key of made-up verifiers, unless it is here or on
 * its way. */
void auth_fetch_key(struct auth *auth);

/* The protocol of the auth socket; its context is a struct auth. */
extern const struct protocol auth_protocol;

#endif
