/* SPDX-License-Identifier: MIT */
#ifndef LIB_RECORD_H
#define LIB_RECORD_H

/*
 * A user record: what one user may do, as one snapshot of the database had
 * it. Immutable and in one piece of memory once made, so that any number of
 * readers may hold it; made with record_new(), freed (and its secrets wiped)
 * with record_free().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record;

enum record_kind {
    RECORD_ADDRESS,   /* this address */
    RECORD_DOMAIN,    /* any address of this domain */
    RECORD_SUBDOMAINS /* any address of this domain and of those below it */
};

/* What the columns of emailing_lookup() hold; see sql/README. */
struct record_source {
    int64_t id;
    bool enabled;
    const char *secret;     /* NULL: none */
    const char *old_secret; /* valid until old_until; NULL: none */
    int64_t old_until;      /* seconds since the epoch */
    /* One grant per line: kind ('a', 'd', 's'), a space, the second since the
     * epoch at which it ends or '-', a space, the address or domain. */
    const char *grants;
    size_t grants_len;
    bool partial; /* heavy user: grants are those that bear on one sender */
};

/* NULL and a constant text in *error_r when out of memory or when the source
 * is not in the form above. */
struct record *record_new(const struct record_source *source,
                          const char **error_r);

/* Wipes and frees *record (which may be NULL) and sets it to NULL. */
void record_free(struct record **record);

/* Bytes of memory the record takes. */
size_t record_size(const struct record *record);

/* Has the memory of a record that is about to be read fetched at once, where
 * reading would fetch it piece after piece. */
void record_prefetch(const struct record *record);

int64_t record_id(const struct record *record);
bool record_enabled(const struct record *record);
bool record_partial(const struct record *record);
const char *record_secret(const struct record *record);
/* The secret before the last rotation, or NULL when it is not valid at now. */
const char *record_old_secret(const struct record *record, int64_t now);
size_t record_grants(const struct record *record);

enum record_match { RECORD_NONE, RECORD_ENDED, RECORD_GRANTED };

/* Whether a grant of that kind and text is in the record, and whether it has
 * ended at now (seconds since the epoch). text is in normal form. */
enum record_match record_find(const struct record *record,
                              enum record_kind kind, const char *text,
                              size_t len, int64_t now);

/* When such a grant ends, the longest lasting of several: the second since the
 * epoch, INT64_MAX for never. False when there is none. */
bool record_find_end(const struct record *record, enum record_kind kind,
                     const char *text, size_t len, int64_t *end_r);

#endif
