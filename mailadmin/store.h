/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_STORE_H
#define MAILADMIN_STORE_H

/*
 * The permissions in the database: every statement of mailadmin but those of
 * its schema and of store_change.h. Text is constant, values travel as
 * parameters. Each function is one transaction. Names, addresses and domains
 * come in their stored form.
 *
 * On failure the text is in db_error(); a PGresult is the caller's. Times are
 * shown as JSON has them, in UTC.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "mailadmin/db.h"

enum store_kind { STORE_USER, STORE_ADDRESS, STORE_DOMAIN };

/* "user", "address", "domain", and their plurals. */
const char *store_kind_name(enum store_kind kind);
const char *store_kind_plural(enum store_kind kind);

/* What to list: NULL or a pattern of LIKE. */
struct store_filter {
    const char *pattern;
    bool disabled; /* users that are */
    bool legacy;   /* users whose secret mailadmin would not make today */
    bool expired;  /* grants that have ended */
};

/* One column, sorted; with legacy a second, the form of the secret. */
enum status store_list(struct db *db, enum store_kind kind,
                       const struct store_filter *filter, PGresult **list_r);

/* user, kind, object, subdomains, expires, whether that is over; sorted. */
enum status store_list_grants(struct db *db,
                              const struct store_filter *filter,
                              PGresult **list_r);

/* Up to limit that begin with prefix, sorted. */
enum status store_complete(struct db *db, enum store_kind kind,
                           const char *prefix, PGresult **list_r);

/* Those that are about as long as text, in no order, up to a bound. */
enum status store_similar(struct db *db, enum store_kind kind,
                          const char *text, PGresult **list_r);

/* One user and what it was granted, from one snapshot. */
struct store_user {
    PGresult *user;      /* enabled, created, changed, old_until */
    PGresult *domains;   /* domain, subdomains, expires, whether it is over */
    PGresult *addresses; /* address, false, expires, whether it is over */
};
enum status store_show_user(struct db *db, const char *name,
                            struct store_user *user_r);
void store_user_clear(struct store_user *user);

/* Who was granted an address or domain: name, subdomains, expires, whether
 * it is over. */
enum status store_show_grants(struct db *db, enum store_kind kind,
                              const char *text, PGresult **users_r);

/* When the user was last changed, as text. */
#define STORE_MOMENT_MAX 64
enum status store_user_changed(struct db *db, const char *name,
                               char changed_r[static STORE_MOMENT_MAX]);

/* Replaces the secret of a user who was last changed at that moment; one who
 * was changed since stays as he is (STATUS_UNAVAILABLE). The secret before
 * stays valid for overlap seconds; one that was kept from an earlier time
 * goes. */
enum status store_set_secret(struct db *db, const char *name,
                             const char *changed,
                             const char *secret, int64_t overlap);

/* STATUS_EXISTS when the new name is taken. */
enum status store_rename(struct db *db, const char *name,
                         const char *new_name);

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

/* What others have of a sender, for an explanation. */
struct store_others {
    bool has_address, has_domain; /* they are stored */
    PGresult *holders; /* user, kind, object, subdomains: the first few */
};
enum status store_others(struct db *db, const struct store_sender *sender,
                         struct store_others *others_r);

#endif
