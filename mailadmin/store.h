/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_H
#define MAILADMIN_STORE_H

/*
 * The permissions in the database: every statement of mailadmin but those of
 * its schema. Text is constant, values travel as parameters. Each function is
 * one transaction. Names, addresses and domains come in their stored form.
 *
 * On failure the text is in db_error(); a PGresult is the caller's.
 */

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "mailadmin/db.h"

enum store_kind { STORE_USER, STORE_ADDRESS, STORE_DOMAIN };

/* "user", "address", "domain", and their plurals. */
const char *store_kind_name(enum store_kind kind);
const char *store_kind_plural(enum store_kind kind);

/* secret is for users only. STATUS_EXISTS when it is there. */
enum status store_add(struct db *db, enum store_kind kind, const char *text,
                      const char *secret);

/* Its grants go first. STATUS_UNKNOWN when it is not there. */
enum status store_del(struct db *db, enum store_kind kind, const char *text);

/* One column, sorted. */
enum status store_list(struct db *db, enum store_kind kind,
                       PGresult **list_r);

/* One user and what it was granted, from one snapshot. */
struct store_user {
    PGresult *user;      /* enabled, created, changed */
    PGresult *domains;   /* domain, subdomains, expires */
    PGresult *addresses; /* address, expires */
};
enum status store_show_user(struct db *db, const char *name,
                            struct store_user *user_r);
void store_user_clear(struct store_user *user);

/* Who was granted an address or domain: name, expires, subdomains. */
enum status store_show_grants(struct db *db, enum store_kind kind,
                              const char *text, PGresult **users_r);

/* Makes the grant what is asked for, without an end. *changed_r is false when
 * it was that already. */
enum status store_grant(struct db *db, enum store_kind kind,
                        const char *text, const char *name, bool subdomains,
                        bool *changed_r);
enum status store_revoke(struct db *db, enum store_kind kind,
                         const char *text, const char *name,
                         bool *changed_r);

/* Replaces the secret; an old one kept for an overlap goes. */
enum status store_set_secret(struct db *db, const char *name,
                             const char *secret);
enum status store_set_enabled(struct db *db, const char *name, bool enabled,
                              bool *changed_r);

/*
 * The row of emailing_lookup(), from the second ask on only with the grants
 * that bear on the sender when the user has too many.
 */
struct store_sender {
    const char *name;
    const char *address;  /* NULL: none */
    const char *stripped; /* without its extension; NULL: none */
    const char *domain;   /* NULL: none */
};
enum status store_lookup(struct db *db, const struct store_sender *sender,
                         PGresult **row_r);

#endif
