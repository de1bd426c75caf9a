/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/clock.h"
#include "policyd/db.h"
#include "policyd/directory_load.h"
#include "lib/record.h"
#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNKNOWN_TTL_MS 10000
#define HEARD_MS 5000

/* -- what is known -------------------------------------------------------- */

bool
directory_usable(const struct directory *directory, const struct entry *entry)
{
    return entry->known && entry->generation == directory->generation;
}

/* Judged by the time, not by a timer: this process may have stood still. */
static bool
live(const struct directory *directory, uint64_t now)
{
    return directory->heard != 0 && now - directory->heard < HEARD_MS;
}

static bool
fresh(const struct directory *directory, const struct entry *entry,
      uint64_t now)
{
    uint64_t ttl = (uint64_t) directory->options.cache_ttl * 1000;

    if (entry->record == NULL && ttl > UNKNOWN_TTL_MS)
        ttl = UNKNOWN_TTL_MS;
    return live(directory, now) && directory->options.cache_bytes > 0
           && now - entry->loaded < ttl;
}

void
directory_facts(const struct record *record, bool stale,
                struct decide_facts *facts_r)
{
    facts_r->state = record != NULL ? DECIDE_USER_RECORD : DECIDE_USER_UNKNOWN;
    facts_r->record = record;
    facts_r->stale = stale;
}

static void
facts_none(struct decide_facts *facts_r)
{
    facts_r->state = DECIDE_CANNOT_ASK;
    facts_r->record = NULL;
    facts_r->stale = false;
}

const struct record *
directory_record_for(struct entry *entry,
                     const struct directory_question *question)
{
    struct table_answer *answer;

    if (entry->record == NULL || !record_partial(entry->record)
        || question->sender == NULL)
        return entry->record;
    answer = table_answer_find(entry, question->sender->text,
                               question->sender->len);
    return answer != NULL ? answer->record : NULL;
}

void
directory_answer_stale(struct directory *directory, struct entry *entry,
                       const struct directory_question *question,
                       struct decide_facts *facts_r)
{
    uint64_t limit = (uint64_t) directory->options.max_stale * 1000;
    uint64_t good = db_last_good(directory->db);
    const struct record *record = NULL;

    facts_none(facts_r);
    if (entry != NULL && directory_usable(directory, entry) && limit > 0
        && clock_boot_ms() - good < limit)
        record = directory_record_for(entry, question);
    if (record == NULL)
        return;
    directory->counts.stale_answers++;
    directory_facts(record, true, facts_r);
}

/* -- asking --------------------------------------------------------------- */

static struct entry *
find(const struct directory *directory, const struct user_name *user)
{
    return table_find(directory->table, user->text, user->len);
}

/* What is at hand and fresh. */
static bool
answer_fresh(struct directory *directory, struct entry *entry,
             const struct directory_question *question, uint64_t now,
             struct decide_facts *facts_r)
{
    const struct record *record;

    if (!directory_usable(directory, entry) || !fresh(directory, entry, now))
        return false;
    record = directory_record_for(entry, question);
    if (record == NULL && entry->record != NULL)
        return false;
    table_touch(entry);
    directory_facts(record, false, facts_r);
    return true;
}

/* Whether only the answer for the sender is missing. */
static bool
lacks_sender(const struct directory *directory, const struct entry *entry,
             const struct directory_question *question)
{
    return question->sender != NULL && directory_usable(directory, entry)
           && fresh(directory, entry, clock_boot_ms())
           && entry->record != NULL && record_partial(entry->record);
}

void
directory_expect(struct directory *directory, const char *name, size_t len)
{
    table_expect(directory->table, name, len);
}

bool
directory_peek(struct directory *directory,
               const struct directory_question *question, uint64_t now,
               struct decide_facts *facts_r)
{
    struct entry *entry = find(directory, question->user);

    if (entry == NULL
        || !answer_fresh(directory, entry, question, now, facts_r)) {
        directory->counts.misses++;
        return false;
    }
    directory->counts.hits++;
    return true;
}

bool
directory_ask(struct directory *directory,
              const struct directory_question *question,
              struct decide_facts *facts_r, struct directory_wait *wait)
{
    struct entry *entry = find(directory, question->user);
    bool asked = false;

    wait->question = *question;
    wait->since = clock_boot_ms();
    if (db_available(directory->db)) {
        if (entry == NULL)
            entry = table_add(directory->table, question->user->text,
                              question->user->len);
        if (entry != NULL && lacks_sender(directory, entry, question))
            asked = directory_load_sender(directory, entry, wait);
        else if (entry != NULL)
            asked = directory_load_user(directory, entry, wait);
        if (asked)
            return false;
    }
    directory_answer_stale(directory, entry, question, facts_r);
    if (entry != NULL && !entry->known && entry->load == NULL
        && entry->proof == NULL)
        table_remove(directory->table, entry);
    return true;
}

void
directory_cancel(struct directory_wait *wait)
{
    if (wait->link == NULL)
        return;
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    wait->next = NULL;
    wait->link = NULL;
}

/* -- changes -------------------------------------------------------------- */

void
directory_heard(struct directory *directory, uint64_t when)
{
    directory->heard = when;
}

void
directory_set_counter(struct directory *directory, int64_t counter)
{
    directory->counter = counter;
}

void
directory_drop_user(struct directory *directory, const char *name, size_t len,
                    int64_t counter)
{
    struct entry *entry = table_find(directory->table, name, len);

    directory_load_floor(directory, name, len, counter);
    if (entry == NULL || !entry->known || entry->counter >= counter)
        return;
    directory->counts.dropped++;
    entry->known = false;
    table_set_record(entry, NULL);
    table_account(directory->table, entry);
}

void
directory_drop_all(struct directory *directory)
{
    directory->counts.dropped += table_count(directory->table, TABLE_USERS);
    directory->generation++;
}

/* -- verified passwords --------------------------------------------------- */

bool
directory_password_known(struct directory *directory,
                         const struct user_name *user, const char *password,
                         size_t len)
{
    const struct entry *entry = find(directory, user);
    int64_t now = (int64_t) time(NULL);

    if (entry == NULL || entry->proof == NULL || entry->record == NULL
        || !directory_usable(directory, entry))
        return false;
    return proof_holds(&directory->key, entry->proof,
                       record_secret(entry->record), password, len)
           || proof_holds(&directory->key, entry->proof,
                          record_old_secret(entry->record, now), password,
                          len);
}

void
directory_remember_password(struct directory *directory,
                            const struct user_name *user, const char *secret,
                            const char *password, size_t len)
{
    struct entry *entry = find(directory, user);
    unsigned char proof[PROOF_LEN];

    if (entry == NULL || entry->record == NULL
        || directory->options.cache_bytes == 0
        || !proof_make(&directory->key, secret, password, len, proof))
        return;
    if (entry->proof == NULL)
        entry->proof = malloc(sizeof(proof));
    if (entry->proof != NULL)
        memcpy(entry->proof, proof, sizeof(proof));
    table_account(directory->table, entry);
}

/* -- life ----------------------------------------------------------------- */

struct directory *
directory_new(struct db *db, const struct directory_options *options)
{
    struct directory *directory = calloc(1, sizeof(*directory));

    if (directory == NULL)
        return NULL;
    directory->db = db;
    directory->options = *options;
    directory->table = table_new();
    if (directory->table == NULL || !proof_key_make(&directory->key))
        directory_free(&directory);
    return directory;
}

void
directory_free(struct directory **directory)
{
    if (*directory == NULL)
        return;
    table_free(&(*directory)->table);
    proof_key_wipe(&(*directory)->key);
    free(*directory);
    *directory = NULL;
}

void
directory_set_options(struct directory *directory,
                      const struct directory_options *options)
{
    directory->options = *options;
    directory_shrink(directory);
}

struct directory_counts
directory_counts(const struct directory *directory)
{
    struct directory_counts counts = directory->counts;

    counts.records = table_count(directory->table, TABLE_USERS);
    counts.unknown_names = table_count(directory->table, TABLE_UNKNOWN);
    counts.bytes = table_bytes(directory->table, TABLE_USERS)
                   + table_bytes(directory->table, TABLE_UNKNOWN);
    return counts;
}
