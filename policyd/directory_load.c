/* SPDX-License-Identifier: MIT */
/*
 * Three counters decide whether a record that was loaded may be kept. Every
 * record carries the change counter of its snapshot. A notification names a
 * user and a counter: a record of that user from before it is dropped, and one
 * that is being loaded is loaded again when it turns out to be from before it.
 * And no record may be older than what was already known when it was asked
 * for: then it comes from a server that lags behind.
 */
#include "config.h"

#include "policyd/clock.h"
#include "policyd/db.h"
#include "policyd/directory_load.h"
#include "policyd/row.h"
#include "lib/log.h"
#include "lib/record.h"
#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>

#define UNKNOWN_SHARE 20  /* a 20th of cache_bytes for names nobody has */
#define LARGE_RECORD 4096 /* bytes: the cache counts as full a little before */
#define LOAD_TRIES 3      /* for a record that is not from before a change */
#define COMPLAINT_MS 60000 /* the same trouble is logged once a minute */
#define LOAD_AGAIN_MS 1000 /* who has waited longer is answered without */

/* A query that is out: for a user, or for a user and a sender. */
struct load {
    struct directory *directory;
    struct entry *entry; /* of a user; NULL for a sender */
    struct load *next, **link; /* loads for a sender */
    struct directory_wait *waits;
    struct user_name user;
    struct addr sender;
    int64_t floor;  /* an older snapshot is not taken */
    uint64_t since; /* clock_boot_ms() */
    unsigned int generation, tries;
};

static bool start_load(struct load *load);

static void
add_wait(struct load *load, struct directory_wait *wait)
{
    wait->next = load->waits;
    if (wait->next != NULL)
        wait->next->link = &wait->next;
    wait->link = &load->waits;
    load->waits = wait;
}

static void
free_load(struct load *load)
{
    if (load->entry != NULL)
        load->entry->load = NULL;
    if (load->link != NULL)
        *load->link = load->next;
    if (load->next != NULL)
        load->next->link = load->link;
    free(load);
}

/* Whether the snapshot is from before something that is known by now. */
static bool
outdated(const struct load *load, int64_t counter)
{
    return load->generation != load->directory->generation
           || counter < load->floor;
}

static struct load *
new_load(struct directory *directory, struct entry *entry)
{
    struct load *load = calloc(1, sizeof(*load));

    if (load == NULL)
        return NULL;
    load->directory = directory;
    load->generation = directory->generation;
    load->floor = directory->counter;
    load->since = clock_boot_ms();
    load->entry = entry;
    return load;
}

/* The load for that user and sender that is out, or NULL. */
static struct load *
find_sender(const struct directory *directory, const struct entry *entry,
            const struct addr *sender)
{
    struct load *load = directory->senders;

    while (load != NULL
           && (load->user.len != entry->name_len
               || memcmp(load->user.text, entry->name, entry->name_len) != 0
               || load->sender.len != sender->len
               || memcmp(load->sender.text, sender->text, sender->len) != 0))
        load = load->next;
    return load;
}

static struct load *
new_sender_load(struct directory *directory, const struct entry *entry,
                const struct addr *sender)
{
    struct load *load = new_load(directory, NULL);

    if (load == NULL)
        return NULL;
    memcpy(load->user.text, entry->name, entry->name_len);
    load->user.text[entry->name_len] = '\0';
    load->user.len = entry->name_len;
    load->sender = *sender;
    load->next = directory->senders;
    if (load->next != NULL)
        load->next->link = &load->next;
    load->link = &directory->senders;
    directory->senders = load;
    return load;
}

bool
directory_load_sender(struct directory *directory, struct entry *entry,
                      struct directory_wait *wait)
{
    struct load *load = find_sender(directory, entry, wait->question.sender);

    if (load != NULL) {
        directory->counts.shared++;
        add_wait(load, wait);
        return true;
    }
    load = new_sender_load(directory, entry, wait->question.sender);
    if (load == NULL)
        return false;
    add_wait(load, wait);
    if (start_load(load))
        return true;
    directory_cancel(wait);
    free_load(load);
    return false;
}

/* Answers one who waited for the user, or lets him wait for the sender. */
static void
answer_wait(struct directory *directory, struct entry *entry, bool loaded,
            struct directory_wait *wait)
{
    const struct record *record = NULL;
    struct decide_facts facts;

    directory_cancel(wait);
    if (loaded)
        record = directory_record_for(entry, &wait->question);
    if (loaded && entry->record != NULL && record == NULL
        && clock_boot_ms() - wait->since < LOAD_AGAIN_MS
        && directory_load_sender(directory, entry, wait))
        return;
    if (!loaded || (entry->record != NULL && record == NULL))
        directory_answer_stale(directory, entry, &wait->question, &facts);
    else
        directory_facts(record, false, &facts);
    wait->answered(wait, &facts);
}

void
directory_shrink(struct directory *directory)
{
    uint64_t bytes = directory->options.cache_bytes;

    directory->counts.evicted +=
        table_shrink(directory->table, TABLE_USERS, bytes)
        + table_shrink(directory->table, TABLE_UNKNOWN, bytes / UNKNOWN_SHARE);
}

static void
store(struct directory *directory, struct entry *entry, struct record *record,
      int64_t counter)
{
    table_set_record(entry, record);
    entry->known = true;
    entry->loaded = clock_boot_ms();
    entry->counter = counter;
    entry->generation = directory->generation;
    if (record == NULL && entry->proof != NULL) {
        secret_wipe(entry->proof, PROOF_LEN);
        free(entry->proof);
        entry->proof = NULL;
    }
    table_account(directory->table, entry);
}

/* What the database has is of no use, and what it had before is not what it
 * has. */
static void
forget(struct directory *directory, struct entry *entry)
{
    entry->known = false;
    table_set_record(entry, NULL);
    table_account(directory->table, entry);
}

/* A row as a record; NULL with *ok_r: there is no such user. */
static struct record *
read_record(struct directory *directory, const PGresult *rows, int row,
            const char *name, bool *ok_r)
{
    uint64_t now = clock_boot_ms();
    const char *error;
    struct record *record = row_record(rows, row, &error);

    *ok_r = error == NULL;
    if (error != NULL
        && (directory->complained == 0
            || now - directory->complained >= COMPLAINT_MS)) {
        directory->complained = now;
        log_error("directory: user \"%s\": %s", name, error);
    }
    return record;
}

/* The user's row came, or NULL. */
static void
user_loaded(struct load *load, const PGresult *rows)
{
    struct directory *directory = load->directory;
    struct entry *entry = load->entry;
    struct record *record;
    bool loaded = false;

    if (rows != NULL) {
        record = read_record(directory, rows, 0, load->user.text, &loaded);
        if (loaded)
            store(directory, entry, record, row_counter(rows, 0));
        else
            forget(directory, entry);
    }
    while (load->waits != NULL)
        answer_wait(directory, entry, loaded, load->waits);
    free_load(load);
    directory_shrink(directory);
}

/* Remembers what bears on one sender, beside a user's record that is no newer.
 * Takes the record over. */
static void
store_answer(struct load *load, struct record *record, int64_t counter)
{
    struct directory *directory = load->directory;
    struct entry *entry = table_find(directory->table, load->user.text,
                                     load->user.len);

    if (record != NULL && entry != NULL && entry->record != NULL
        && directory_usable(directory, entry) && record_partial(entry->record)
        && counter >= entry->counter
        && table_answer_put(entry, load->sender.text, load->sender.len,
                            record))
        table_account(directory->table, entry);
    else
        record_free(&record);
}

/* What bears on one sender came, or NULL. Those who are answered may ask again
 * and change the table, so the entry is looked for each time. */
static void
sender_loaded(struct load *load, const PGresult *rows)
{
    struct directory *directory = load->directory;
    struct record *record = NULL;
    struct directory_wait *wait;
    struct decide_facts facts;
    bool loaded = false;

    if (rows != NULL)
        record = read_record(directory, rows, 0, load->user.text, &loaded);
    while ((wait = load->waits) != NULL) {
        directory_cancel(wait);
        if (loaded)
            directory_facts(record, false, &facts);
        else
            directory_answer_stale(directory,
                                   table_find(directory->table,
                                              load->user.text, load->user.len),
                                   &wait->question, &facts);
        wait->answered(wait, &facts);
    }
    store_answer(load, record, rows == NULL ? 0 : row_counter(rows, 0));
    free_load(load);
    directory_shrink(directory);
}

static void
on_loaded(void *context, const PGresult *rows)
{
    struct load *load = context;
    struct directory *directory = load->directory;

    if (rows != NULL && (PQntuples(rows) != 1 || PQnfields(rows) < ROW_COLUMNS))
        rows = NULL;
    if (rows != NULL && outdated(load, row_counter(rows, 0))) {
        directory->counts.outdated++;
        /* After a drop of everything the counter may have begun anew. */
        if (load->generation != directory->generation
            || load->floor < directory->counter)
            load->floor = directory->counter;
        load->generation = directory->generation;
        if (++load->tries < LOAD_TRIES
            && clock_boot_ms() - load->since < LOAD_AGAIN_MS
            && start_load(load))
            return;
        rows = NULL;
    }
    if (load->entry != NULL)
        user_loaded(load, rows);
    else
        sender_loaded(load, rows);
}

static bool
start_load(struct load *load)
{
    struct db *db = load->directory->db;
    const struct directory_wait *wait = load->waits;
    const char *params[DB_PARAMS_MAX] = {load->user.text};

    if (load->entry != NULL)
        return db_query(db, DB_LOOKUP, params, on_loaded, load);
    if (wait == NULL)
        return false; /* nobody waits any more */
    params[1] = wait->question.sender->text;
    params[2] = wait->question.stripped ? wait->question.stripped->text : NULL;
    params[3] = wait->question.sender->text + wait->question.sender->at + 1;
    return db_query(db, DB_LOOKUP_SENDER, params, on_loaded, load);
}

bool
directory_load_user(struct directory *directory, struct entry *entry,
                    struct directory_wait *wait)
{
    struct load *load;

    if (entry->load != NULL) {
        directory->counts.shared++;
        add_wait(entry->load, wait);
        return true;
    }
    load = new_load(directory, entry);
    if (load == NULL)
        return false;
    load->user = *wait->question.user;
    entry->load = load;
    add_wait(load, wait);
    if (start_load(load))
        return true;
    directory_cancel(wait);
    free_load(load);
    return false;
}

static void
raise_floor(struct load *load, int64_t counter)
{
    if (load->floor < counter)
        load->floor = counter;
}

void
directory_load_floor(struct directory *directory, const char *name,
                     size_t len, int64_t counter)
{
    struct entry *entry = table_find(directory->table, name, len);
    struct load *load;

    if (entry != NULL && entry->load != NULL)
        raise_floor(entry->load, counter);
    for (load = directory->senders; load != NULL; load = load->next)
        if (load->user.len == len && memcmp(load->user.text, name, len) == 0)
            raise_floor(load, counter);
}

/* -- preloading ----------------------------------------------------------- */

/* Takes in one row, unless a query or a newer record is there. */
static void
put_row(struct directory *directory, const PGresult *rows, int row)
{
    const char *name = PQgetvalue(rows, row, DIRECTORY_NAME_COLUMN);
    int64_t counter = row_counter(rows, row);
    struct entry *entry;
    struct record *record;
    bool ok;

    if (strlen(name) > NAME_MAX_LEN)
        return;
    entry = table_find(directory->table, name, strlen(name));
    if (entry != NULL
        && (entry->load != NULL
            || (directory_usable(directory, entry) && entry->counter >= counter)))
        return;
    record = read_record(directory, rows, row, name, &ok);
    if (record == NULL)
        return;
    if (entry == NULL)
        entry = table_add(directory->table, name, strlen(name));
    if (entry != NULL)
        store(directory, entry, record, counter);
    else
        record_free(&record);
}

bool
directory_put(struct directory *directory, const PGresult *rows)
{
    int count = PQntuples(rows), i;

    /* One snapshot, so the first row speaks for all. */
    if (count > 0 && row_counter(rows, 0) < directory->counter) {
        directory->counts.outdated++;
        return false;
    }
    for (i = 0; i < count && !directory_full(directory); i++)
        put_row(directory, rows, i);
    return true;
}

bool
directory_full(const struct directory *directory)
{
    return table_bytes(directory->table, TABLE_USERS) + LARGE_RECORD
           >= directory->options.cache_bytes;
}

