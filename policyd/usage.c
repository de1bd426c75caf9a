/* SPDX-License-Identifier: MIT */
/*
 * The table is a ring, oldest first, with buckets to find an entry by the
 * keyed hash of its user and sender. Two entries with one hash of 64 bits are
 * taken to be the same: only a figure would be wrong. What each decision reads
 * stands apart from the texts, in so little memory that it stays near.
 */
#include "config.h"

#include "policyd/db.h"
#include "policyd/siphash.h"
#include "policyd/usage.h"
#include "lib/decide.h"
#include "lib/explain.h"
#include "lib/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (2 * USAGE_ENTRIES)
#define NONE UINT32_MAX
#define FLUSH_MS 5000       /* from the first entry to its batch */
#define NEXT_MS 1000        /* to a further one, when one was not enough */
#define PAUSE_MS 60000      /* after a batch that was refused */
#define SIGN_MS 86400000    /* an empty one, to say that this records */
#define BUSY 32             /* queries out: the batch is put off, */
#define PUT_OFF_MAX 12      /* but not for ever */

enum form { FORM_ADDRESS, FORM_NULL, FORM_MALFORMED };

struct use {
    uint64_t hash;
    uint64_t instance; /* of the last message, its last bytes; 0: none */
    uint32_t messages, refused;
    uint32_t last;  /* second since the epoch, enough until 2106 */
    uint32_t chain; /* next in its bucket */
};

struct text {
    int64_t user, first;
    uint8_t form;
    char kind; /* of the grant: 'a', 'd', '-' for none */
    char sender[ADDR_MAX + 1];
    char grant[ADDR_MAX + 1];
};

struct usage {
    struct db *db;
    uv_timer_t *timer;
    struct siphash_key key;
    struct use *ring;
    struct text *texts; /* of the ring's entries */
    uint32_t *buckets;
    uint32_t head, count;
    size_t out; /* entries of the batch that is out */
    bool asked; /* a batch is out */
    bool recording, finishing;
    bool pausing; /* the last batch was refused */
    unsigned int put_off;
    struct usage_counts counts;
};

/* -- noting --------------------------------------------------------------- */

static uint32_t
find(const struct usage *usage, uint64_t hash)
{
    uint32_t i = usage->buckets[hash % BUCKETS];

    while (i != NONE && usage->ring[i].hash != hash)
        i = usage->ring[i].chain;
    return i;
}

/* Postfix's instance ends in the microsecond and a number: enough to tell two
 * messages of one sender apart. */
static uint64_t
last_bytes(const struct decide_text *instance)
{
    uint64_t bytes = 0;
    size_t len = instance->len < sizeof(bytes) ? instance->len : sizeof(bytes);

    if (len > 0)
        memcpy(&bytes, instance->text + instance->len - len, len);
    return bytes;
}

/* The grant that permits, as the batch has it. */
static void
set_grant(struct text *text, const struct record *record,
          const struct decide_verdict *verdict, int64_t now)
{
    struct explain explained;

    text->kind = '-';
    text->grant[0] = '\0';
    if (verdict->action != DECIDE_PERMIT)
        return;
    explain(verdict, record, now, &explained);
    if (explained.kind != EXPLAIN_GRANT)
        return;
    text->kind = explained.grant_kind == RECORD_ADDRESS ? 'a' : 'd';
    memcpy(text->grant, explained.grant, sizeof(text->grant));
}

static void on_tick(uv_timer_t *timer);

/* A new entry at the end of the ring; NULL when there is no room. */
static struct use *
append(struct usage *usage, uint64_t hash)
{
    uint32_t i = (usage->head + usage->count) % USAGE_ENTRIES;
    struct use *use = &usage->ring[i];

    if (usage->count == USAGE_ENTRIES) {
        usage->counts.dropped++;
        return NULL;
    }
    if (usage->count++ == 0 && !usage->asked && !usage->pausing)
        uv_timer_start(usage->timer, on_tick, FLUSH_MS, 0);
    use->hash = hash;
    use->chain = usage->buckets[hash % BUCKETS];
    usage->buckets[hash % BUCKETS] = i;
    use->instance = 0;
    use->messages = use->refused = 0;
    return use;
}

static struct use *
new_use(struct usage *usage, uint64_t hash, enum form form,
        const struct record *record, const struct decide_verdict *verdict,
        const struct decide_text *sender, int64_t now)
{
    struct use *use = append(usage, hash);
    struct text *text;

    if (use == NULL)
        return NULL;
    text = &usage->texts[use - usage->ring];
    text->first = now;
    text->form = (uint8_t) form;
    text->user = record_id(record);
    if (form == FORM_MALFORMED)
        addr_printable(text->sender, sizeof(text->sender), sender->text,
                       sender->len);
    else
        memcpy(text->sender, verdict->sender.text, verdict->sender.len + 1);
    set_grant(text, record, verdict, now);
    return use;
}

void
usage_note(struct usage *usage, const struct record *record,
           const struct decide_verdict *verdict,
           const struct decide_text *sender,
           const struct decide_text *instance, int64_t now)
{
    struct decide_text text = {verdict->sender.text, verdict->sender.len};
    enum form form = FORM_ADDRESS;
    uint64_t hash, message;
    struct use *use;
    uint32_t i;

    if (sender->len == 0)
        form = FORM_NULL;
    else if (verdict->sender.len == 0) {
        form = FORM_MALFORMED;
        text = *sender;
    }
    /* An odd number spreads the users, which count from one. */
    hash = siphash(&usage->key, text.text, text.len)
           + (uint64_t) record_id(record) * UINT64_C(0x9e3779b97f4a7c15)
           + form;
    i = find(usage, hash);
    use = i != NONE ? &usage->ring[i]
                    : new_use(usage, hash, form, record, verdict, sender,
                              now);
    if (use == NULL)
        return;
    use->last = (uint32_t) now;
    message = last_bytes(instance);
    if (message != 0 && message == use->instance)
        return;
    use->instance = message;
    use->messages++;
    use->refused += verdict->action != DECIDE_PERMIT;
}

/* -- handing over --------------------------------------------------------- */

static void
schedule(struct usage *usage, uint64_t ms)
{
    uv_timer_start(usage->timer, on_tick, usage->finishing ? 0 : ms, 0);
}

/* Lines as emailing_record_usage() reads them, newly allocated. No field
 * holds a tab or a newline: senders are free of control characters. */
static char *
make_batch(const struct usage *usage, uint32_t count)
{
    static const char *const forms[] = {"address", "null", "malformed"};
    char *text = NULL;
    size_t len;
    uint32_t i;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    for (i = 0; i < count; i++) {
        uint32_t at = (usage->head + i) % USAGE_ENTRIES;
        const struct use *use = &usage->ring[at];
        const struct text *entry = &usage->texts[at];

        fprintf(out,
                "%" PRId64 "\t%s\t%" PRIu32 "\t%" PRIu32 "\t%" PRId64
                "\t%" PRIu32 "\t%c\t%s\t%s\n",
                entry->user, forms[entry->form], use->messages, use->refused,
                entry->first, use->last, entry->kind, entry->grant,
                entry->sender);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* Takes the oldest entry out. */
static void
remove_first(struct usage *usage)
{
    struct use *use = &usage->ring[usage->head];
    uint32_t *at = &usage->buckets[use->hash % BUCKETS];

    while (*at != usage->head)
        at = &usage->ring[*at].chain;
    *at = use->chain;
    usage->head = (usage->head + 1) % USAGE_ENTRIES;
    usage->count--;
}

static void
on_recorded(void *context, const PGresult *rows)
{
    struct usage *usage = context;

    usage->asked = false;
    if (rows != NULL) {
        usage->counts.batches++;
        usage->counts.recorded += usage->out;
    } else {
        usage->counts.lost += usage->out;
        if (usage->finishing)
            return;
    }
    usage->pausing = rows == NULL;
    schedule(usage, rows == NULL                   ? PAUSE_MS
                    : usage->count >= USAGE_BATCH ? NEXT_MS
                    : usage->count > 0            ? FLUSH_MS
                                                  : SIGN_MS);
}

/* Hands over one batch, which may be empty. False when it cannot be. */
static bool
hand_over(struct usage *usage)
{
    uint32_t count = usage->count < USAGE_BATCH ? usage->count : USAGE_BATCH;
    char *batch = make_batch(usage, count);
    const char *params[DB_PARAMS_MAX] = {batch};

    usage->asked = batch != NULL
                   && db_query(usage->db, DB_RECORD_USAGE, params,
                               on_recorded, usage);
    free(batch);
    if (!usage->asked)
        return false;
    usage->out = count;
    usage->put_off = 0;
    while (count-- > 0)
        remove_first(usage);
    return true;
}

static void
on_tick(uv_timer_t *timer)
{
    struct usage *usage = timer->data;

    bool idle = usage->finishing || !usage->recording;

    usage->pausing = false;
    if (usage->asked || (idle && usage->count == 0))
        return;
    /* Lookups first. */
    if (!usage->finishing && db_counts(usage->db).waiting > BUSY
        && usage->put_off++ < PUT_OFF_MAX) {
        schedule(usage, FLUSH_MS);
        return;
    }
    if (!hand_over(usage) && !usage->finishing)
        schedule(usage, FLUSH_MS);
}

void
usage_set_recording(struct usage *usage, bool recording)
{
    if (recording && !usage->recording)
        schedule(usage, FLUSH_MS);
    usage->recording = recording;
}

void
usage_finish(struct usage *usage)
{
    usage->finishing = true;
    schedule(usage, 0);
}

bool
usage_busy(const struct usage *usage)
{
    return usage->asked || uv_is_active((uv_handle_t *) usage->timer);
}

/* -- life ----------------------------------------------------------------- */

struct usage *
usage_new(uv_loop_t *loop, struct db *db)
{
    struct usage *usage = calloc(1, sizeof(*usage));

    if (usage == NULL)
        return NULL;
    usage->db = db;
    usage->ring = calloc(USAGE_ENTRIES, sizeof(*usage->ring));
    usage->texts = calloc(USAGE_ENTRIES, sizeof(*usage->texts));
    usage->buckets = malloc(BUCKETS * sizeof(*usage->buckets));
    usage->timer = calloc(1, sizeof(*usage->timer));
    if (usage->timer != NULL) {
        uv_timer_init(loop, usage->timer);
        usage->timer->data = usage;
    }
    if (usage->ring == NULL || usage->texts == NULL || usage->buckets == NULL || usage->timer == NULL
        || !siphash_make_key(&usage->key)) {
        usage_free(&usage);
        return NULL;
    }
    memset(usage->buckets, 0xff, BUCKETS * sizeof(*usage->buckets));
    return usage;
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

void
usage_free(struct usage **usage)
{
    struct usage *old = *usage;

    *usage = NULL;
    if (old == NULL)
        return;
    if (old->timer != NULL)
        uv_close((uv_handle_t *) old->timer, free_handle);
    free(old->ring);
    free(old->texts);
    free(old->buckets);
    free(old);
}

struct usage_counts
usage_counts(const struct usage *usage)
{
    struct usage_counts counts = usage->counts;

    counts.waiting = usage->count;
    return counts;
}
