/* SPDX-License-Identifier: MIT */
/*
 * An entry counts its failures in slots of ten minutes. The sum over the
 * present slot and the six before it covers at least an hour, so no hour sees
 * more failures than a limit on that sum.
 */
#include "config.h"

#include "policyd/siphash.h"
#include "policyd/throttle.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SLOT_MS (10 * 60 * 1000)
#define SLOTS 7
#define GOOD_MS (60 * 60 * 1000)
#define PAUSE_FIRST_MS 1000
#define BUCKETS THROTTLE_ENTRIES
#define NONE UINT32_MAX
#define CANDIDATES 8 /* of which one makes room */

struct failures {
    uint64_t key;
    uint64_t last;      /* time of the last failure */
    uint64_t good;      /* time of the last success; 0: none */
    uint32_t chain;     /* next in its bucket */
    uint32_t newer, older;
    uint32_t slot;      /* number of the present slot */
    uint8_t count[SLOTS];
};

struct failure_table {
    struct failures *entries; /* grows to THROTTLE_ENTRIES */
    uint32_t *buckets;
    uint32_t used, size, newest, oldest;
};

struct throttle {
    struct siphash_key key;
    struct failure_table users, clients, pairs;
    struct throttle_counts counts;
};

/* -- a table ------------------------------------------------------------------- */

static bool
table_init(struct failure_table *table)
{
    size_t i;

    table->newest = table->oldest = NONE;
    table->buckets = malloc(BUCKETS * sizeof(*table->buckets));
    for (i = 0; table->buckets != NULL && i < BUCKETS; i++)
        table->buckets[i] = NONE;
    return table->buckets != NULL;
}

static void
unlink_entry(struct failure_table *table, uint32_t i)
{
    struct failures *entry = &table->entries[i];

    if (entry->newer != NONE)
        table->entries[entry->newer].older = entry->older;
    else
        table->newest = entry->older;
    if (entry->older != NONE)
        table->entries[entry->older].newer = entry->newer;
    else
        table->oldest = entry->newer;
}

static void
link_newest(struct failure_table *table, uint32_t i)
{
    struct failures *entry = &table->entries[i];

    entry->newer = NONE;
    entry->older = table->newest;
    if (table->newest != NONE)
        table->entries[table->newest].newer = i;
    else
        table->oldest = i;
    table->newest = i;
}

static struct failures *
find(const struct failure_table *table, uint64_t key)
{
    uint32_t i = table->buckets[key % BUCKETS];

    while (i != NONE && table->entries[i].key != key)
        i = table->entries[i].chain;
    return i == NONE ? NULL : &table->entries[i];
}

/* -- an entry -------------------------------------------------------------------- */

/* Empties the slots that time has passed over. */
static void
advance(struct failures *entry, uint64_t now)
{
    uint32_t slot = (uint32_t) (now / SLOT_MS);

    if (slot - entry->slot >= SLOTS)
        memset(entry->count, 0, sizeof(entry->count));
    else
        for (; entry->slot != slot; entry->slot++)
            entry->count[(entry->slot + 1) % SLOTS] = 0;
    entry->slot = slot;
}

static unsigned int
failed(struct failures *entry, uint64_t now)
{
    unsigned int sum = 0, i;

    advance(entry, now);
    for (i = 0; i < SLOTS; i++)
        sum += entry->count[i];
    return sum;
}

/* -- making room -------------------------------------------------------------- */

/* What is lost with an entry. */
static unsigned int
weight(struct failures *entry, uint64_t now)
{
    return failed(entry, now)
           + (entry->good != 0 && now - entry->good < GOOD_MS
                  ? THROTTLE_USER_LIMIT
                  : 0);
}

/* The lightest of those untouched for longest, which count as touched. */
static uint32_t
find_lightest(struct failure_table *table, uint64_t now)
{
    unsigned int lightest = UINT_MAX, i;
    uint32_t found = NONE;

    for (i = 0; i < CANDIDATES && table->oldest != NONE; i++) {
        uint32_t at = table->oldest;
        unsigned int its = weight(&table->entries[at], now);

        if (its < lightest) {
            lightest = its;
            found = at;
        }
        unlink_entry(table, at);
        link_newest(table, at);
    }
    return found;
}

/* An unused place: a further one, or one that an entry is removed from. */
static uint32_t
make_room(struct failure_table *table, uint64_t now)
{
    uint32_t *at, i;

    if (table->used == table->size && table->size < THROTTLE_ENTRIES) {
        uint32_t size = table->size ? table->size * 2 : 64;
        struct failures *entries =
            realloc(table->entries, size * sizeof(*entries));

        if (entries != NULL) {
            table->entries = entries;
            table->size = size;
        }
    }
    if (table->used < table->size)
        return table->used++;
    i = find_lightest(table, now);
    if (i == NONE)
        return NONE;
    unlink_entry(table, i);
    at = &table->buckets[table->entries[i].key % BUCKETS];
    while (*at != i)
        at = &table->entries[*at].chain;
    *at = table->entries[i].chain;
    return i;
}

/* The entry of the key, new if there is none; NULL when out of memory. */
static struct failures *
obtain(struct failure_table *table, uint64_t key, uint64_t now)
{
    struct failures *entry = find(table, key);
    uint32_t i;

    if (entry != NULL) {
        i = (uint32_t) (entry - table->entries);
        unlink_entry(table, i);
        link_newest(table, i);
        return entry;
    }
    i = make_room(table, now);
    if (i == NONE)
        return NULL;
    entry = &table->entries[i];
    memset(entry, 0, sizeof(*entry));
    entry->key = key;
    entry->chain = table->buckets[key % BUCKETS];
    table->buckets[key % BUCKETS] = i;
    link_newest(table, i);
    return entry;
}

/* -- counting ---------------------------------------------------------------- */

static void
add_failure(struct failures *entry, uint64_t now)
{
    advance(entry, now);
    if (entry->count[entry->slot % SLOTS] < UINT8_MAX)
        entry->count[entry->slot % SLOTS]++;
    entry->last = now;
}

/* Takes back one failure, of the present slot or the latest that has one. */
static void
take_back(struct failure_table *table, uint64_t key, uint64_t now)
{
    struct failures *entry = find(table, key);
    unsigned int i;

    if (entry == NULL)
        return;
    advance(entry, now);
    for (i = 0; i < SLOTS; i++) {
        uint8_t *count = &entry->count[(entry->slot + SLOTS - i) % SLOTS];

        if (*count > 0) {
            (*count)--;
            return;
        }
    }
}

/* Whether the pause that so many failures ask for is not over yet. */
static bool
pausing(const struct failure_table *table, uint64_t key, unsigned int free,
        uint64_t longest, uint64_t now)
{
    struct failures *entry = find(table, key);
    unsigned int over;
    uint64_t pause = PAUSE_FIRST_MS;

    if (entry == NULL)
        return false;
    over = failed(entry, now);
    if (over <= free)
        return false;
    for (over -= free; over > 1 && pause < longest; over--)
        pause *= 2;
    return now - entry->last < (pause < longest ? pause : longest);
}

static bool
over_limit(const struct failure_table *table, uint64_t key, uint64_t now)
{
    struct failures *entry = find(table, key);

    return entry != NULL && failed(entry, now) >= THROTTLE_USER_LIMIT;
}

static bool
recently_good(const struct failure_table *table, uint64_t key, uint64_t now)
{
    const struct failures *entry = find(table, key);

    return entry != NULL && entry->good != 0 && now - entry->good < GOOD_MS;
}

/* -- tries ------------------------------------------------------------------------ */

bool
throttle_begin(struct throttle *throttle, const struct throttle_try *who,
               uint64_t now)
{
    struct failures *user, *client, *pair;

    if (pausing(&throttle->pairs, who->pair, THROTTLE_PAIR_FREE,
                THROTTLE_PAIR_PAUSE_MS, now)) {
        throttle->counts.held_pair++;
        return false;
    }
    if (!recently_good(&throttle->pairs, who->pair, now)) {
        if (pausing(&throttle->clients, who->client, THROTTLE_CLIENT_FREE,
                    THROTTLE_CLIENT_PAUSE_MS, now)) {
            throttle->counts.held_client++;
            return false;
        }
        if (over_limit(&throttle->users, who->user, now)) {
            throttle->counts.held_user++;
            return false;
        }
    }
    user = obtain(&throttle->users, who->user, now);
    client = obtain(&throttle->clients, who->client, now);
    pair = obtain(&throttle->pairs, who->pair, now);
    if (user == NULL || client == NULL || pair == NULL)
        return false;
    add_failure(user, now);
    add_failure(client, now);
    add_failure(pair, now);
    return true;
}

void
throttle_undo(struct throttle *throttle, const struct throttle_try *who,
              uint64_t now)
{
    take_back(&throttle->users, who->user, now);
    take_back(&throttle->clients, who->client, now);
    take_back(&throttle->pairs, who->pair, now);
}

/* The pair is known to be good; its failures are forgiven. */
static void
mark_good(struct failures *pair, uint64_t now)
{
    memset(pair->count, 0, sizeof(pair->count));
    pair->good = now > 0 ? now : 1;
}

void
throttle_good(struct throttle *throttle, const struct throttle_try *who,
              uint64_t now)
{
    struct failures *pair = find(&throttle->pairs, who->pair);

    take_back(&throttle->users, who->user, now);
    take_back(&throttle->clients, who->client, now);
    if (pair != NULL)
        mark_good(pair, now);
}

void
throttle_known(struct throttle *throttle, const struct throttle_try *who,
               uint64_t now)
{
    struct failures *pair = obtain(&throttle->pairs, who->pair, now);

    if (pair != NULL)
        mark_good(pair, now);
}

/* -- who ------------------------------------------------------------------------------ */

/* The part of an address that one party has: all of IPv4, a /64 of IPv6. */
static size_t
network_of(const char *client, unsigned char network_r[static 16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET, client, network_r) == 1)
        return 4;
    if (inet_pton(AF_INET6, client, network_r) != 1)
        return 0;
    if (memcmp(network_r, mapped, sizeof(mapped)) != 0)
        return 8;
    memmove(network_r, network_r + sizeof(mapped), 4);
    return 4;
}

struct throttle_try
throttle_who(const struct throttle *throttle, const char *client,
             const char *user)
{
    unsigned char network[16];
    size_t len = network_of(client, network);
    struct throttle_try who;
    uint64_t both[2];

    who.user = siphash(&throttle->key, user, strlen(user));
    who.client = len > 0 ? siphash(&throttle->key, network, len)
                         : siphash(&throttle->key, client, strlen(client));
    both[0] = who.user;
    both[1] = who.client;
    who.pair = siphash(&throttle->key, both, sizeof(both));
    return who;
}

/* -- life ------------------------------------------------------------------------------- */

static void
table_clear(struct failure_table *table)
{
    free(table->entries);
    free(table->buckets);
}

struct throttle *
throttle_new(void)
{
    struct throttle *throttle = calloc(1, sizeof(*throttle));

    if (throttle != NULL
        && (!siphash_make_key(&throttle->key) || !table_init(&throttle->users)
            || !table_init(&throttle->clients)
            || !table_init(&throttle->pairs)))
        throttle_free(&throttle);
    return throttle;
}

void
throttle_free(struct throttle **throttle)
{
    if (*throttle == NULL)
        return;
    table_clear(&(*throttle)->users);
    table_clear(&(*throttle)->clients);
    table_clear(&(*throttle)->pairs);
    free(*throttle);
    *throttle = NULL;
}

struct throttle_counts
throttle_counts(const struct throttle *throttle)
{
    struct throttle_counts counts = throttle->counts;

    counts.users = throttle->users.used;
    counts.clients = throttle->clients.used;
    counts.pairs = throttle->pairs.used;
    return counts;
}
