/* SPDX-License-Identifier: MIT */
/*
 * With very many users each line of memory that is looked at costs as much as
 * some hundred instructions. So this is open addressing with the hash beside
 * the pointer, and a slot tells where the record is as well: entry and record
 * are fetched at the same time, and that is all there is to fetch: 0.46 us for
 * one of 1,000,000, where buckets and a list by last use took 0.70.
 */
#include "config.h"

#include "policyd/proof.h"
#include "policyd/siphash.h"
#include "policyd/table.h"
#include "lib/addr.h"
#include "lib/record.h"
#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 1024
#define SPARED_MAX 256 /* at one time, for having been used */
#define ALLOCATION_OVERHEAD 16 /* malloc's, for each piece */

struct use_list {
    struct entry *newest, *oldest;
    uint64_t bytes;
    size_t count;
};

#define UNIT 16 /* what malloc(3) aligns to: 31 bits of these reach far */

struct slot {
    uint32_t hash;
    int32_t distance;    /* of the record from the entry, in UNITs; 0: none */
    struct entry *entry; /* NULL: free */
};

struct table {
    struct slot *slots;
    size_t size, count; /* size is a power of two, and more than count */
    struct siphash_key key;
    struct {
        uint32_t hash;
        size_t len; /* 0: none */
        char name[NAME_MAX_LEN];
    } expected; /* the last name of which table_expect() was told */
    struct use_list lists[TABLE_CLASSES];
};

/* -- entries -------------------------------------------------------------- */

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
    table->size = SLOTS_MIN;
    table->slots = calloc(table->size, sizeof(*table->slots));
    if (table->slots == NULL || !siphash_make_key(&table->key))
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
    for (i = 0; old->slots != NULL && i < old->size; i++)
        if (old->slots[i].entry != NULL)
            free_entry(old->slots[i].entry);
    free(old->slots);
    free(old);
}

static uint32_t
hash_name(const struct table *table, const char *name, size_t len)
{
    if (len > 0 && len == table->expected.len
        && memcmp(name, table->expected.name, len) == 0)
        return table->expected.hash;
    return (uint32_t) siphash(&table->key, name, len);
}

void
table_expect(struct table *table, const char *name, size_t len)
{
    uint32_t hash;

    if (len == 0 || len > sizeof(table->expected.name))
        return;
    hash = hash_name(table, name, len);
    __builtin_prefetch(&table->slots[hash & (table->size - 1)]);
    table->expected.hash = hash;
    table->expected.len = len;
    memcpy(table->expected.name, name, len);
}

/* A guess: what is there is not read before it is looked up. */
static void
prefetch(const struct slot *slot)
{
    intptr_t record =
        (intptr_t) slot->entry + (intptr_t) slot->distance * UNIT;

    /* What an entry is judged by, and its name, may be in two lines. */
    __builtin_prefetch(&slot->entry->generation);
    __builtin_prefetch(slot->entry->name);
    if (slot->distance != 0)
        record_prefetch((const struct record *) record);
}

/* The slot of the name, or the free one that would be its. */
static struct slot *
find_slot(const struct table *table, uint32_t hash, const char *name,
          size_t len)
{
    size_t i = hash & (table->size - 1);
    struct slot *slot;

    while ((slot = &table->slots[i])->entry != NULL) {
        if (slot->hash == hash) {
            prefetch(slot);
            if (slot->entry->name_len == len
                && memcmp(slot->entry->name, name, len) == 0)
                break;
        }
        i = (i + 1) & (table->size - 1);
    }
    return slot;
}

static struct slot *
slot_of(const struct table *table, const struct entry *entry)
{
    return find_slot(table, hash_name(table, entry->name, entry->name_len),
                     entry->name, entry->name_len);
}

struct entry *
table_find(const struct table *table, const char *name, size_t len)
{
    return find_slot(table, hash_name(table, name, len), name, len)->entry;
}

/* Tells the slot of the entry where its record is. */
static void
note_record(struct table *table, const struct entry *entry)
{
    intptr_t distance = (intptr_t) entry->record - (intptr_t) entry;

    if (entry->record == NULL || distance / UNIT > INT32_MAX
        || distance / UNIT < INT32_MIN)
        distance = 0;
    slot_of(table, entry)->distance = (int32_t) (distance / UNIT);
}

static void
put_slot(struct slot *slots, size_t size, const struct slot *slot)
{
    size_t i = slot->hash & (size - 1);

    while (slots[i].entry != NULL)
        i = (i + 1) & (size - 1);
    slots[i] = *slot;
}

/* Doubles the slots before more than three of four are taken. One that cannot
 * grow is only slower, until it is full. */
static bool
make_room_for_one(struct table *table)
{
    size_t size = table->size * 2, i;
    struct slot *slots;

    if (table->count + 1 <= table->size / 4 * 3)
        return true;
    slots = calloc(size, sizeof(*slots));
    if (slots == NULL)
        return table->count + 1 < table->size;
    for (i = 0; i < table->size; i++)
        if (table->slots[i].entry != NULL)
            put_slot(slots, size, &table->slots[i]);
    free(table->slots);
    table->slots = slots;
    table->size = size;
    return true;
}

/* Frees a slot: those behind it that would not be found any more, since a
 * search ends at a free slot, move up. */
static void
free_slot(struct table *table, struct slot *slot)
{
    size_t mask = table->size - 1;
    size_t hole = (size_t) (slot - table->slots), i = hole;

    while (table->slots[i = (i + 1) & mask].entry != NULL) {
        size_t home = table->slots[i].hash & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole].entry = NULL;
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
    uint32_t hash = hash_name(table, name, len);
    struct entry *entry;
    struct slot *slot;

    if (!make_room_for_one(table))
        return NULL;
    entry = calloc(1, sizeof(*entry) + len);
    if (entry == NULL)
        return NULL;
    entry->name_len = (uint8_t) len;
    memcpy(entry->name, name, len);
    slot = find_slot(table, hash, name, len);
    *slot = (struct slot){.hash = hash, .entry = entry};
    table->count++;
    entry->class = TABLE_UNKNOWN; /* until it is known to be a user */
    link_use(table, entry);
    table_account(table, entry);
    return entry;
}

void
table_remove(struct table *table, struct entry *entry)
{
    free_slot(table, slot_of(table, entry));
    table->count--;
    unlink_use(table, entry);
    free_entry(entry);
}

void
table_touch(struct entry *entry)
{
    if (!entry->used) /* a line that is not written need not go back */
        entry->used = true;
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
    note_record(table, entry);
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
    size_t removed = 0, spared = 0;

    while (entry != NULL && list->bytes > bytes) {
        newer = entry->newer;
        if (entry->used && spared++ < SPARED_MAX) {
            entry->used = false;
            unlink_use(table, entry);
            link_use(table, entry);
            if (newer == NULL)
                newer = entry; /* it was and is the youngest: its turn */
        } else if (entry->load == NULL) {
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

/* -- answers for single senders ------------------------------------------- */

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
