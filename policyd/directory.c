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
#include "policyd/directory.h"
#include "policyd/table.h"
#include "lib/log.h"
#include "lib/record.h"
#include "lib/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <stdlib.h>
#include <string.h>

#define UNKNOWN_TTL_MS 10000
#define UNKNOWN_SHARE 20 /* a 20th of cache_bytes for names nobody has */
#define LARGE_RECORD 4096 /* bytes: the cache counts as full a little before */
#define LOAD_TRIES 3     /* for a record that is not from before a change */

/* The columns of emailing_lookup(), as db.c selects them. */
enum column { COUNTER, ID, ENABLED, PASSWD, OLD_PASSWD, OLD_UNTIL, HEAVY,
              GRANTS, COLUMNS };

/* A query that is out: for a user, or for a user and a sender. */
struct load {
    struct directory *directory;
    struct entry *entry; /* of a user; NULL for a sender */
    struct directory_wait *waits;
    struct user_name user;
    struct addr sender;
    int64_t floor; /* an older snapshot is not taken */
    unsigned int generation, tries;
};

struct directory {
    struct db *db;
    struct table *table;
    struct directory_options options;
    struct directory_counts counts;
    bool live;
    int64_t counter;
    uint32_t generation; /* records of an earlier one are dropped ones */
    unsigned char key[TABLE_PROOF_LEN];
};

static bool start_load(struct load *load);

/* -- waiting ------------------------------------------------------------------- */

static void
add_wait(struct load *load, struct directory_wait *wait)
{
    wait->next = load->waits;
    if (wait->next != NULL)
        wait->next->link = &wait->next;
    wait->link = &load->waits;
    load->waits = wait;
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

/* -- what is known -------------------------------------------------------------- */

/* Whether the entry holds what was loaded and not dropped since. */
static bool
usable(const struct directory *directory, const struct entry *entry)
{
    return entry->known && entry->generation == directory->generation;
}

static bool
fresh(const struct directory *directory, const struct entry *entry,
      uint64_t now)
{
    uint64_t ttl = (uint64_t) directory->options.cache_ttl * 1000;

    if (entry->record == NULL && ttl > UNKNOWN_TTL_MS)
        ttl = UNKNOWN_TTL_MS;
    return directory->live && directory->options.cache_bytes > 0
           && now - entry->loaded < ttl;
}

static void
facts_of(const struct record *record, bool stale, struct decide_facts *facts_r)
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

/* The record that answers this question, of those that are at hand. */
static const struct record *
record_for(struct entry *entry, const struct directory_question *question)
{
    struct table_answer *answer;

    if (entry->record == NULL || !record_partial(entry->record)
        || question->sender == NULL)
        return entry->record;
    answer = table_answer_find(entry, question->sender->text,
                               question->sender->len);
    return answer != NULL ? answer->record : NULL;
}

/* The database cannot be had: what a stale record says, if it still may. */
static void
answer_stale(struct directory *directory, struct entry *entry,
             const struct directory_question *question,
             struct decide_facts *facts_r)
{
    uint64_t limit = (uint64_t) directory->options.max_stale * 1000;
    uint64_t good = db_last_good(directory->db);
    const struct record *record = NULL;

    facts_none(facts_r);
    if (entry != NULL && usable(directory, entry) && limit > 0
        && clock_boot_ms() - good < limit)
        record = record_for(entry, question);
    if (record == NULL)
        return;
    directory->counts.stale_answers++;
    facts_of(record, true, facts_r);
}

/* -- loading ---------------------------------------------------------------------- */

static const char *
column(const PGresult *rows, int row, enum column which)
{
    return PQgetisnull(rows, row, which) ? NULL : PQgetvalue(rows, row, which);
}

static int64_t
number(const PGresult *rows, int row, enum column which)
{
    const char *text = column(rows, row, which);

    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

static bool
flag(const PGresult *rows, int row, enum column which)
{
    const char *text = column(rows, row, which);

    return text != NULL && text[0] == 't';
}

/* Makes the record of a row; *ok_r is false when it cannot be made. NULL with
 * *ok_r: there is no such user. */
static struct record *
make_record(const PGresult *rows, int row, const char *name, bool *ok_r)
{
    struct record_source source = {
        .id = number(rows, row, ID),
        .enabled = flag(rows, row, ENABLED),
        .secret = column(rows, row, PASSWD),
        .old_secret = column(rows, row, OLD_PASSWD),
        .old_until = number(rows, row, OLD_UNTIL),
        .grants = column(rows, row, GRANTS),
        .partial = flag(rows, row, HEAVY),
    };
    struct record *record;
    const char *error;

    *ok_r = true;
    if (column(rows, row, ID) == NULL)
        return NULL;
    if (source.grants == NULL)
        source.grants = "";
    source.grants_len = strlen(source.grants);
    record = record_new(&source, &error);
    if (record == NULL) {
        log_error("directory: user \"%s\": %s", name, error);
        *ok_r = false;
    }
    return record;
}

static void
free_load(struct load *load)
{
    if (load->entry != NULL)
        load->entry->load = NULL;
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
    load->entry = entry;
    return load;
}

/* A question about one sender of a user of very many grants. False when it is
 * not to be had. */
static bool
load_sender(struct directory *directory, struct entry *entry,
            struct directory_wait *wait)
{
    struct load *load = new_load(directory, NULL);

    if (load == NULL)
        return false;
    memcpy(load->user.text, entry->name, entry->name_len);
    load->user.text[entry->name_len] = '\0';
    load->user.len = entry->name_len;
    load->sender = *wait->question.sender;
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
        record = record_for(entry, &wait->question);
    if (loaded && entry->record != NULL && record == NULL
        && load_sender(directory, entry, wait))
        return;
    if (!loaded || (entry->record != NULL && record == NULL))
        answer_stale(directory, entry, &wait->question, &facts);
    else
        facts_of(record, false, &facts);
    wait->answered(wait, &facts);
}

/* Holds both classes to their bounds. */
static void
shrink(struct directory *directory)
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
        secret_wipe(entry->proof, TABLE_PROOF_LEN);
        free(entry->proof);
        entry->proof = NULL;
    }
    table_account(directory->table, entry);
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
        record = make_record(rows, 0, load->user.text, &loaded);
        if (loaded)
            store(directory, entry, record, number(rows, 0, COUNTER));
    }
    while (load->waits != NULL)
        answer_wait(directory, entry, loaded, load->waits);
    free_load(load);
    shrink(directory);
}

/* What bears on one sender came, or NULL. */
static void
sender_loaded(struct load *load, const PGresult *rows)
{
    struct directory *directory = load->directory;
    struct entry *entry = table_find(directory->table, load->user.text,
                                     load->user.len);
    struct record *record = NULL;
    struct directory_wait *wait;
    struct decide_facts facts;
    bool loaded = false;

    if (rows != NULL)
        record = make_record(rows, 0, load->user.text, &loaded);
    while ((wait = load->waits) != NULL) {
        directory_cancel(wait);
        if (loaded)
            facts_of(record, false, &facts);
        else
            answer_stale(directory, entry, &wait->question, &facts);
        wait->answered(wait, &facts);
    }
    if (record != NULL && entry != NULL && entry->record != NULL
        && usable(directory, entry) && record_partial(entry->record)
        && number(rows, 0, COUNTER) >= entry->counter
        && table_answer_put(entry, load->sender.text, load->sender.len,
                            record))
        table_account(directory->table, entry);
    else
        record_free(&record);
    free_load(load);
    shrink(directory);
}

static void
on_loaded(void *context, const PGresult *rows)
{
    struct load *load = context;
    struct directory *directory = load->directory;

    if (rows != NULL && (PQntuples(rows) != 1 || PQnfields(rows) < COLUMNS))
        rows = NULL;
    if (rows != NULL && outdated(load, number(rows, 0, COUNTER))) {
        directory->counts.outdated++;
        load->generation = directory->generation;
        if (load->floor < directory->counter)
            load->floor = directory->counter;
        if (++load->tries < LOAD_TRIES && start_load(load))
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

/* Asks the database for the user, or joins those who do. */
static bool
load_user(struct directory *directory, struct entry *entry,
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

/* -- asking --------------------------------------------------------------------------- */

/* What is at hand and fresh. */
static bool
answer_fresh(struct directory *directory, struct entry *entry,
             const struct directory_question *question,
             struct decide_facts *facts_r)
{
    uint64_t now = clock_boot_ms();
    const struct record *record;

    if (!usable(directory, entry) || !fresh(directory, entry, now))
        return false;
    record = record_for(entry, question);
    if (record == NULL && entry->record != NULL)
        return false;
    table_touch(directory->table, entry);
    facts_of(record, false, facts_r);
    return true;
}

/* Whether only the answer for the sender is missing. */
static bool
lacks_sender(const struct directory *directory, const struct entry *entry,
             const struct directory_question *question)
{
    return question->sender != NULL && usable(directory, entry)
           && fresh(directory, entry, clock_boot_ms())
           && entry->record != NULL && record_partial(entry->record);
}

bool
directory_peek(struct directory *directory,
               const struct directory_question *question,
               struct decide_facts *facts_r)
{
    struct entry *entry = table_find(directory->table, question->user->text,
                                     question->user->len);

    if (entry == NULL || !answer_fresh(directory, entry, question, facts_r)) {
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
    struct entry *entry = table_find(directory->table, question->user->text,
                                     question->user->len);
    bool asked = false;

    wait->question = *question;
    if (db_available(directory->db)) {
        if (entry == NULL)
            entry = table_add(directory->table, question->user->text,
                              question->user->len);
        if (entry != NULL && lacks_sender(directory, entry, question))
            asked = load_sender(directory, entry, wait);
        else if (entry != NULL)
            asked = load_user(directory, entry, wait);
        if (asked)
            return false;
    }
    answer_stale(directory, entry, question, facts_r);
    if (entry != NULL && !entry->known && entry->load == NULL
        && entry->proof == NULL)
        table_remove(directory->table, entry);
    return true;
}

/* -- changes ---------------------------------------------------------------------------- */

void
directory_set_live(struct directory *directory, bool live)
{
    directory->live = live;
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

    if (entry == NULL)
        return;
    if (entry->load != NULL && entry->load->floor < counter)
        entry->load->floor = counter;
    if (!entry->known || entry->counter >= counter)
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

/* -- preloading ------------------------------------------------------------------------------- */

/* Takes in one row, unless a query or a newer record is there. */
static void
put_row(struct directory *directory, const PGresult *rows, int row)
{
    const char *name = PQgetvalue(rows, row, DIRECTORY_NAME_COLUMN);
    int64_t counter = number(rows, row, COUNTER);
    struct entry *entry;
    struct record *record;
    bool ok;

    if (strlen(name) > NAME_MAX_LEN)
        return;
    entry = table_find(directory->table, name, strlen(name));
    if (entry != NULL
        && (entry->load != NULL
            || (usable(directory, entry) && entry->counter >= counter)))
        return;
    record = make_record(rows, row, name, &ok);
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
    if (count > 0 && number(rows, 0, COUNTER) < directory->counter) {
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

/* -- verified passwords ------------------------------------------------------------------- */

/* HMAC-SHA-256 under a key that this process made: of no use elsewhere. */
static bool
make_proof(const struct directory *directory, const char *secret,
           const char *password, size_t len,
           unsigned char proof_r[static TABLE_PROOF_LEN])
{
    unsigned char text[SECRET_MAX + SECRET_PASSWORD_MAX];
    size_t secret_len = strlen(secret) + 1; /* its NUL parts the two */
    unsigned int n = 0;
    bool ok;

    if (secret_len > SECRET_MAX || len > SECRET_PASSWORD_MAX)
        return false;
    memcpy(text, secret, secret_len);
    memcpy(text + secret_len, password, len);
    ok = HMAC(EVP_sha256(), directory->key, sizeof(directory->key), text,
              secret_len + len, proof_r, &n)
             != NULL
         && n == TABLE_PROOF_LEN;
    secret_wipe(text, sizeof(text));
    return ok;
}

static bool
proves(const struct directory *directory, const struct entry *entry,
       const char *secret, const char *password, size_t len)
{
    unsigned char proof[TABLE_PROOF_LEN];

    return secret != NULL
           && make_proof(directory, secret, password, len, proof)
           && CRYPTO_memcmp(proof, entry->proof, sizeof(proof)) == 0;
}

bool
directory_password_known(struct directory *directory,
                         const struct user_name *user, const char *password,
                         size_t len)
{
    const struct entry *entry = table_find(directory->table, user->text,
                                           user->len);

    if (entry == NULL || entry->proof == NULL || entry->record == NULL
        || !usable(directory, entry))
        return false;
    return proves(directory, entry, record_secret(entry->record), password,
                  len)
           || proves(directory, entry,
                     record_old_secret(entry->record, (int64_t) time(NULL)),
                     password, len);
}

void
directory_remember_password(struct directory *directory,
                            const struct user_name *user, const char *secret,
                            const char *password, size_t len)
{
    struct entry *entry = table_find(directory->table, user->text, user->len);
    unsigned char proof[TABLE_PROOF_LEN];

    if (entry == NULL || entry->record == NULL
        || directory->options.cache_bytes == 0
        || !make_proof(directory, secret, password, len, proof))
        return;
    if (entry->proof == NULL)
        entry->proof = malloc(sizeof(proof));
    if (entry->proof != NULL)
        memcpy(entry->proof, proof, sizeof(proof));
    table_account(directory->table, entry);
}

/* -- life ------------------------------------------------------------------------------------ */

struct directory *
directory_new(struct db *db, const struct directory_options *options)
{
    struct directory *directory = calloc(1, sizeof(*directory));

    if (directory == NULL)
        return NULL;
    directory->db = db;
    directory->options = *options;
    directory->table = table_new();
    if (directory->table == NULL
        || RAND_bytes(directory->key, sizeof(directory->key)) != 1)
        directory_free(&directory);
    return directory;
}

void
directory_free(struct directory **directory)
{
    if (*directory == NULL)
        return;
    table_free(&(*directory)->table);
    secret_wipe((*directory)->key, sizeof((*directory)->key));
    free(*directory);
    *directory = NULL;
}

void
directory_set_options(struct directory *directory,
                      const struct directory_options *options)
{
    directory->options = *options;
    shrink(directory);
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
