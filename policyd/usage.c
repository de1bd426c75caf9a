/* SPDX-License-Identifier: MIT */
/*
 * What each decision reads is one slot, half a cache line, of an open table
 * that is never more than half full: found by the keyed hash of user and
 * sender, or in the next free place. Two with one hash of 64 bits are taken to
 * be the same: only a figure would be wrong. The texts stand apart, in a ring,
 * oldest first.
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

#define SLOTS (2 * USAGE_ENTRIES)
#define FLUSH_MS 5000       /* from the first entry to its batch */
#define NEXT_MS 1000        /* to a further one, when one was not enough */
#define PAUSE_MS 60000      /* after a batch that was refused */
#define SIGN_MS 86400000    /* an empty one, to say that this records */
#define BUSY 32             /* queries out: the batch is put off, */
#define PUT_OFF_MAX 12      /* but not for ever */

enum form { FORM_ADDRESS, FORM_NULL, FORM_MALFORMED };

struct slot {
    uint64_t hash;
    uint64_t instance; /* of the last message, its last bytes; 0: none */
    uint32_t messages; /* 0: the slot is free */
    uint32_t refused;
    uint32_t last; /* second since the epoch, enough until 2106 */
};

struct text {
    uint64_t hash; /* of its slot */
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
    struct slot *slots;
    struct text *ring;
    uint32_t head, count; /* of the ring */
    size_t out; /* entries of the batch that is out */
    bool asked; /* a batch is out */
    bool recording, finishing;
    bool pausing; /* the last batch was refused */
    unsigned int put_off;
    struct usage_counts counts;
};

/* -- noting --------------------------------------------------------------- */

/* The slot with that hash, or the free one where it belongs. */
static struct slot *
find(const struct usage *usage, uint64_t hash)
{
    uint64_t i = hash % SLOTS;

    while (usage->slots[i].messages != 0 && usage->slots[i].hash != hash)
        i = (i + 1) % SLOTS;
    return &usage->slots[i];
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

/* A new entry at the end of the ring. False when there is no room. */
static bool
append(struct usage *usage, uint64_t hash, enum form form,
       const struct record *record, const struct decide_verdict *verdict,
       const struct decide_text *sender, int64_t now)
{
    struct text *text =
        &usage->ring[(usage->head + usage->count) % USAGE_ENTRIES];

    if (usage->count == USAGE_ENTRIES) {
        usage->counts.dropped++;
        return false;
    }
    if (usage->count++ == 0 && !usage->asked && !usage->pausing)
        uv_timer_start(usage->timer, on_tick, FLUSH_MS, 0);
    text->hash = hash;
    text->first = now;
    text->form = (uint8_t) form;
    text->user = record_id(record);
    if (form == FORM_MALFORMED)
        addr_printable(text->sender, sizeof(text->sender), sender->text,
                       sender->len);
    else
        memcpy(text->sender, verdict->sender.text, verdict->sender.len + 1);
    set_grant(text, record, verdict, now);
    return true;
}

/* The sender in normal form, or as it came if it has none. */
static enum form
form_of(const struct decide_verdict *verdict, const struct decide_text *sender)
{
    if (sender->len == 0)
        return FORM_NULL;
    return verdict->sender.len == 0 ? FORM_MALFORMED : FORM_ADDRESS;
}

uint64_t
usage_expect(const struct usage *usage, const struct decide_verdict *verdict,
             const struct decide_text *sender)
{
    char text[NAME_MAX_LEN + ADDR_MAX + 2];
    enum form form = form_of(verdict, sender);
    size_t len = verdict->user.len, rest = verdict->sender.len;
    const char *from = verdict->sender.text;
    uint64_t hash;

    if (form == FORM_MALFORMED) {
        from = sender->text;
        rest = sender->len < ADDR_MAX ? sender->len : ADDR_MAX;
    }
    memcpy(text, verdict->user.text, len);
    text[len++] = (char) form; /* no byte of a name */
    memcpy(text + len, from, rest);
    hash = siphash(&usage->key, text, len + rest);
    __builtin_prefetch(&usage->slots[hash % SLOTS], 1);
    return hash;
}

void
usage_note(struct usage *usage, uint64_t expected,
           const struct record *record, const struct decide_verdict *verdict,
           const struct decide_text *sender,
           const struct decide_text *instance, int64_t now)
{
    struct slot *slot = find(usage, expected);
    uint64_t message = last_bytes(instance);

    if (slot->messages == 0) {
        if (!append(usage, expected, form_of(verdict, sender), record, verdict,
                    sender, now))
            return;
        slot->hash = expected;
        slot->refused = 0;
    } else if (message != 0 && message == slot->instance) {
        return;
    }
    slot->last = (uint32_t) now;
    slot->instance = message;
    slot->messages++;
    slot->refused += verdict->action != DECIDE_PERMIT;
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
        const struct text *entry =
            &usage->ring[(usage->head + i) % USAGE_ENTRIES];
        const struct slot *slot = find(usage, entry->hash);

        fprintf(out,
                "%" PRId64 "\t%s\t%" PRIu32 "\t%" PRIu32 "\t%" PRId64
                "\t%" PRIu32 "\t%c\t%s\t%s\n",
                entry->user, forms[entry->form], slot->messages,
                slot->refused, entry->first, slot->last, entry->kind,
                entry->grant, entry->sender);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* Takes the oldest entry out. What stands behind its slot and was pushed there
 * by it moves up, so that find() meets no gap. */
static void
remove_first(struct usage *usage)
{
    uint64_t gap = (uint64_t) (find(usage, usage->ring[usage->head].hash)
                               - usage->slots);
    uint64_t i = gap;

    for (;;) {
        const struct slot *slot;

        i = (i + 1) % SLOTS;
        slot = &usage->slots[i];
        if (slot->messages == 0)
            break;
        /* Not if its own place lies behind the gap. */
        if ((i - slot->hash) % SLOTS < (i - gap) % SLOTS)
            continue;
        usage->slots[gap] = *slot;
        gap = i;
    }
    usage->slots[gap].messages = 0;
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
    usage->slots = calloc(SLOTS, sizeof(*usage->slots));
    usage->timer = calloc(1, sizeof(*usage->timer));
    if (usage->timer != NULL) {
        uv_timer_init(loop, usage->timer);
        usage->timer->data = usage;
    }
    if (usage->ring == NULL || usage->slots == NULL || usage->timer == NULL
        || !siphash_make_key(&usage->key)) {
        usage_free(&usage);
        return NULL;
    }
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
    free(old->slots);
    free(old);
}

struct usage_counts
usage_counts(const struct usage *usage)
{
    struct usage_counts counts = usage->counts;

    counts.waiting = usage->count;
    return counts;
}
