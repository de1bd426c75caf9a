/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/proof.h"
#include "policyd/siphash.h"
#include "policyd/table.h"
#include "lib/record.h"
#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024
#define ALLOCATION_OVERHEAD 16 /* malloc's, for each piece */

struct use_list {
    struct entry *newest, *oldest;
    uint64_t bytes;
    size_t count;
};

struct table {
    struct entry **buckets;
    size_t size, count; /* size is a power of two */
    struct siphash_key key;
    struct use_list lists[TABLE_CLASSES];
};

/* -- entries -------------------------------------------------------------------- */

static void
free_answers(struct entry *entry)
{
    struct table_answer *answer;

    while ((answer = entry->answers) != NULL) {
        entry->answers = answer->next;
        record_free(&answer->record);
        free(answer);
    }
}

static void
free_entry(struct entry *entry)
{
    record_free(&entry->record);
    free_answers(entry);
    if (entry->proof != NULL)
        secret_wipe(entry->proof, PROOF_LEN);
    free(entry->proof);
    free(entry);
}

struct table *
table_new(void)
{
    struct table *table = calloc(1, sizeof(*table));

    if (table == NULL)
        return NULL;
    table->size = BUCKETS_MIN;
    table->buckets = calloc(table->size, sizeof(*table->buckets));
    if (table->buckets == NULL
        || !siphash_make_key(&table->key))
        table_free(&table);
    return table;
}

void
table_free(struct table **table)
{
    struct table *old = *table;
    size_t i;

    *table = NULL;
    if (old == NULL)
        return;
    for (i = 0; old->buckets != NULL && i < old->size; i++)
        while (old->buckets[i] != NULL) {
            struct entry *entry = old->buckets[i];

            old->buckets[i] = entry->chain;
            free_entry(entry);
        }
    free(old->buckets);
    free(old);
}

struct entry *
table_find(const struct table *table, const char *name, size_t len)
{
    uint64_t hash = siphash(&table->key, name, len);
    struct entry *entry = table->buckets[hash & (table->size - 1)];

    while (entry != NULL
           && (entry->hash != hash || entry->name_len != len
               || memcmp(entry->name, name, len) != 0))
        entry = entry->chain;
    if (entry != NULL && entry->record != NULL)
        record_prefetch(entry->record);
    return entry;
}

/* Doubles the buckets; a table that cannot grow is only slower. */
static void
grow(struct table *table)
{
    size_t size = table->size * 2, i;
    struct entry **buckets = calloc(size, sizeof(*buckets));

    if (buckets == NULL)
        return;
    for (i = 0; i < table->size; i++)
        while (table->buckets[i] != NULL) {
            struct entry *entry = table->buckets[i];

            table->buckets[i] = entry->chain;
            entry->chain = buckets[entry->hash & (size - 1)];
            buckets[entry->hash & (size - 1)] = entry;
        }
    free(table->buckets);
    table->buckets = buckets;
    table->size = size;
}

static void
unlink_use(struct table *table, struct entry *entry)
{
    struct use_list *list = &table->lists[entry->class];

    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        list->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        list->oldest = entry->newer;
    list->bytes -= entry->cost;
    list->count--;
}

static void
link_use(struct table *table, struct entry *entry)
{
    struct use_list *list = &table->lists[entry->class];

    entry->newer = NULL;
    entry->older = list->newest;
    if (list->newest != NULL)
        list->newest->newer = entry;
    else
        list->oldest = entry;
    list->newest = entry;
    list->bytes += entry->cost;
    list->count++;
}

struct entry *
table_add(struct table *table, const char *name, size_t len)
{
    struct entry *entry = calloc(1, sizeof(*entry) + len);
    struct entry **bucket;

    if (entry == NULL)
        return NULL;
    if (table->count >= table->size)
        grow(table);
    entry->hash = siphash(&table->key, name, len);
    entry->name_len = (uint8_t) len;
    memcpy(entry->name, name, len);
    bucket = &table->buckets[entry->hash & (table->size - 1)];
    entry->chain = *bucket;
    *bucket = entry;
    table->count++;
    entry->class = TABLE_UNKNOWN; /* until it is known to be a user */
    link_use(table, entry);
    table_account(table, entry);
    return entry;
}

void
table_remove(struct table *table, struct entry *entry)
{
    struct entry **at = &table->buckets[entry->hash & (table->size - 1)];

    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    table->count--;
    unlink_use(table, entry);
    free_entry(entry);
}

void
table_touch(struct table *table, struct entry *entry)
{
    if (entry->newer == NULL)
        return;
    unlink_use(table, entry);
    link_use(table, entry);
}

void
table_account(struct table *table, struct entry *entry)
{
    const struct table_answer *answer;
    size_t cost = sizeof(*entry) + entry->name_len + ALLOCATION_OVERHEAD;

    unlink_use(table, entry);
    if (entry->record != NULL)
        cost += record_size(entry->record) + ALLOCATION_OVERHEAD;
    if (entry->proof != NULL)
        cost += PROOF_LEN + ALLOCATION_OVERHEAD;
    for (answer = entry->answers; answer != NULL; answer = answer->next)
        cost += sizeof(*answer) + answer->sender_len
                + record_size(answer->record) + 2 * ALLOCATION_OVERHEAD;
    entry->cost = cost < UINT32_MAX ? (uint32_t) cost : UINT32_MAX;
    if (entry->record != NULL || entry->proof != NULL)
        entry->class = TABLE_USERS;
    else
        entry->class = TABLE_UNKNOWN;
    link_use(table, entry);
}

void
table_set_record(struct entry *entry, struct record *record)
{
    free_answers(entry);
    record_free(&entry->record);
    entry->record = record;
}

size_t
table_shrink(struct table *table, enum table_class class, uint64_t bytes)
{
    struct use_list *list = &table->lists[class];
    struct entry *entry = list->oldest, *newer;
    size_t removed = 0;

    while (entry != NULL && list->bytes > bytes) {
        newer = entry->newer;
        if (entry->load == NULL) {
            table_remove(table, entry);
            removed++;
        }
        entry = newer;
    }
    return removed;
}

uint64_t
table_bytes(const struct table *table, enum table_class class)
{
    return table->lists[class].bytes;
}

size_t
table_count(const struct table *table, enum table_class class)
{
    return table->lists[class].count;
}

/* -- answers for single senders --------------------------------------------------- */

struct table_answer *
table_answer_find(struct entry *entry, const char *sender, size_t len)
{
    struct table_answer *answer = entry->answers;

    while (answer != NULL
           && (answer->sender_len != len
               || memcmp(answer->sender, sender, len) != 0))
        answer = answer->next;
    return answer;
}

/* Takes out the answer for this sender, and all beyond the bound. */
static void
make_room(struct entry *entry, const char *sender, size_t len)
{
    struct table_answer **at = &entry->answers, *answer;
    size_t kept = 0;

    while ((answer = *at) != NULL) {
        if (kept + 1 < TABLE_ANSWERS_MAX
            && (answer->sender_len != len
                || memcmp(answer->sender, sender, len) != 0)) {
            kept++;
            at = &answer->next;
            continue;
        }
        *at = answer->next;
        record_free(&answer->record);
        free(answer);
    }
}

bool
table_answer_put(struct entry *entry, const char *sender, size_t len,
                 struct record *record)
{
    struct table_answer *answer = malloc(sizeof(*answer) + len);

    if (answer == NULL) {
        record_free(&record);
        return false;
    }
    make_room(entry, sender, len);
    answer->record = record;
    answer->sender_len = len;
    memcpy(answer->sender, sender, len);
    answer->next = entry->answers;
    entry->answers = answer;
    return true;
}
