/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_TABLE_H
#define POLICYD_TABLE_H

/*
 * The directory's memory: entries found by user name, in two lists by age
 * (users, and names that no user has), each held to its own number of bytes.
 * What is old goes first, unless it was used since it was last looked at. The
 * table owns its entries and what hangs on them.
 *
 * Names come from clients, so the hash has a secret key (SipHash).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load;
struct record;
struct table;
struct table_answer;

#define TABLE_ANSWERS_MAX 64 /* of one user of very many grants */

enum table_class { TABLE_USERS, TABLE_UNKNOWN, TABLE_CLASSES };

/* What finding and judging an entry needs stands together at the end, with the
 * name: with many users each cache line is a trip to memory. */
struct entry {
    struct entry *newer, *older; /* in the list of its class */
    struct load *load;           /* a query that is out, or NULL */
    unsigned char *proof;        /* see proof.h, or NULL */
    struct table_answer *answers; /* of a partial record, latest first */
    int64_t counter;             /* of the snapshot the record is from */
    uint32_t cost; /* bytes accounted for it */

    uint32_t generation;
    struct record *record;       /* NULL: none, see known */
    uint64_t loaded;             /* clock_boot_ms() */
    uint8_t class;
    bool known; /* the record, or that there is none, is what was loaded */
    bool used;  /* since it was last looked at for room */
    uint8_t name_len;
    char name[];
};

/* What is granted to a user of very many grants for one sender; never older
 * than the entry's own record. */
struct table_answer {
    struct table_answer *next;
    struct record *record;
    size_t sender_len;
    char sender[];
};

struct table *table_new(void);
void table_free(struct table **table);

/* That name is going to be looked for: has the memory where it will be found
 * fetched while other things are done. A guess, which costs little if wrong. */
void table_expect(struct table *table, const char *name, size_t len);

struct entry *table_find(const struct table *table, const char *name,
                         size_t len);

/* A new entry, the youngest; NULL when out of memory. */
struct entry *table_add(struct table *table, const char *name, size_t len);

/* Frees the entry and all it owns; no query may be out for it. */
void table_remove(struct table *table, struct entry *entry);

/* It was used. That is all: with very many users, to move it in its list would
 * be three more trips to memory for each answer. */
void table_touch(struct entry *entry);

/* Accounts anew for what the entry holds, in the class it now belongs to. */
void table_account(struct table *table, struct entry *entry);

/* Sets the record (which the entry then owns) or NULL; answers go with the
 * old one. */
void table_set_record(struct entry *entry, struct record *record);

/* Removes the oldest entries of the class until it is within bytes, those with
 * a query out excepted; those that were used since the last time become the
 * youngest instead, a bounded number of them. Returns how many went. */
size_t table_shrink(struct table *table, enum table_class class,
                    uint64_t bytes);

uint64_t table_bytes(const struct table *table, enum table_class class);
size_t table_count(const struct table *table, enum table_class class);

/* The answer for this sender, or NULL. */
struct table_answer *table_answer_find(struct entry *entry, const char *sender,
                                       size_t len);

/* Puts an answer first, in place of one for the same sender or, when there
 * are too many, of the oldest. Takes the record over. False when out of
 * memory (the record is freed). */
bool table_answer_put(struct entry *entry, const char *sender, size_t len,
                      struct record *record);

#endif
