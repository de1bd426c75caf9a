/* SPDX-License-Identifier: MIT */
#ifndef T_FUZZ_FAKE_H
#define T_FUZZ_FAKE_H

/*
 * In place of policyd's database and hashing threads, at link level: db.h
 * and hash.h with a small fixed set of users and no time of their own. What is
 * asked waits until fake_step() answers it, so that a target can put anything
 * in between.
 */

#include "t/fuzz/reference.h"

#define FAKE_PASSWORD "secret"

struct fake_script {
    bool gone;      /* the database is known to be gone */
    bool fails;     /* every other query is not answered with rows */
    bool backwards; /* the latest query is answered first */
    bool overload;  /* the queue of hashes is full */
};

/* Starts anew; nothing may be waiting. */
void fake_reset(const struct fake_script *script);

/* Answers one thing that waits; false when nothing does. */
bool fake_step(void);

struct db *fake_db(void);
struct hash_pool *fake_hashes(void);

/* What the database knows of a user; name in normal form. */
void fake_record(const char *name, struct reference_record *record_r);

/* Whether these are a user and the password of that user. */
bool fake_login(const char *name, const char *password, size_t len);

#endif
