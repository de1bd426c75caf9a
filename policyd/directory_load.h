/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_DIRECTORY_LOAD_H
#define POLICYD_DIRECTORY_LOAD_H

/*
 * The inside of the directory, for its two halves only: directory.c answers
 * from what is there, directory_load.c gets what is not. A load is a query
 * that is out and those who wait for it; it is freed when it is answered.
 */

#include <stdbool.h>
#include <stdint.h>

#include "policyd/directory.h"
#include "policyd/proof.h"
#include "policyd/table.h"

struct load;

struct directory {
    struct db *db;
    struct table *table;
    struct directory_options options;
    struct directory_counts counts;
    uint64_t heard; /* clock_boot_ms(); 0: changes are not followed */
    int64_t counter;
    uint32_t generation; /* records of an earlier one are dropped ones */
    uint64_t complained; /* clock_boot_ms(), of rows in no form known */
    struct load *senders; /* loads for a sender that are out */
    struct proof_key key;
};

/* -- directory.c ---------------------------------------------------------- */

/* Whether the entry holds what was loaded and not dropped since. */
bool directory_usable(const struct directory *directory,
                      const struct entry *entry);

/* The record that answers this question, of those that are at hand. */
const struct record *
directory_record_for(struct entry *entry,
                     const struct directory_question *question);

void directory_facts(const struct record *record, bool stale,
                     struct decide_facts *facts_r);

/* What may be said when the database cannot be had. entry may be NULL. */
void directory_answer_stale(struct directory *directory, struct entry *entry,
                            const struct directory_question *question,
                            struct decide_facts *facts_r);

/* -- directory_load.c ----------------------------------------------------- */

/* Asks for the user, or for what is granted to him for the sender; or joins
 * those who do. False when the database cannot be asked. */
bool directory_load_user(struct directory *directory, struct entry *entry,
                         struct directory_wait *wait);
bool directory_load_sender(struct directory *directory, struct entry *entry,
                           struct directory_wait *wait);

/* The user changed: what is loaded for him from before that is not taken. */
void directory_load_floor(struct directory *directory, const char *name,
                          size_t len, int64_t counter);

/* Holds both classes of entries to their bounds. */
void directory_shrink(struct directory *directory);

#endif
