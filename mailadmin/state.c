/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/state.h"

#include "lib/secret.h"

#include <openssl/evp.h>

#include <stdlib.h>
#include <string.h>

/* Texts are carved from pieces, so that they never move. */
struct state_text {
    struct state_text *next;
    size_t used, size;
    char text[];
};

enum { TEXT_SIZE = 1 << 16 };

const char *
state_copy(struct state *state, const char *text)
{
    size_t len = strlen(text) + 1;
    struct state_text *piece = state->texts;
    char *copy;

    if (piece == NULL || piece->size - piece->used < len) {
        size_t size = len > TEXT_SIZE ? len : TEXT_SIZE;

        piece = malloc(sizeof(*piece) + size);
        if (piece == NULL)
            return NULL;
        piece->size = size;
        piece->used = 0;
        piece->next = state->texts;
        state->texts = piece;
    }
    copy = piece->text + piece->used;
    memcpy(copy, text, len);
    piece->used += len;
    return copy;
}

void
state_free(struct state *state)
{
    struct state_text *next;

    for (; state->texts != NULL; state->texts = next) {
        next = state->texts->next;
        secret_wipe(state->texts->text, state->texts->used);
        free(state->texts);
    }
    free(state->items);
    memset(state, 0, sizeof(*state));
}

static bool
make_room(struct state *state)
{
    size_t room = state->room == 0 ? 64 : 2 * state->room;
    struct state_item *items;

    if (state->count < state->room)
        return true;
    if (state->count == STATE_MAX)
        return false;
    items = realloc(state->items, room * sizeof(*items));
    if (items == NULL)
        return false;
    state->items = items;
    state->room = room;
    return true;
}

struct state_item *
state_add(struct state *state, enum state_kind kind, const char *text,
          const char *user)
{
    struct state_item item = {.kind = kind, .user = ""};

    if (!make_room(state) || (item.text = state_copy(state, text)) == NULL
        || (user != NULL && (item.user = state_copy(state, user)) == NULL))
        return NULL;
    state->items[state->count] = item;
    return &state->items[state->count++];
}

/* Grants come last, and those of a user are together. */
static int
section(const struct state_item *item)
{
    return item->kind < STATE_GRANT_ADDRESS ? (int) item->kind
                                            : STATE_GRANT_ADDRESS;
}

int
state_compare(const struct state_item *a, const struct state_item *b)
{
    int order = section(a) - section(b);

    if (order == 0)
        order = strcmp(a->user, b->user);
    if (order == 0)
        order = (int) a->kind - (int) b->kind;
    return order != 0 ? order : strcmp(a->text, b->text);
}

/* Of what a file has twice the first line comes first. */
static int
compare_lines(const void *left, const void *right)
{
    const struct state_item *a = left, *b = right;
    int order = state_compare(a, b);

    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

void
state_sort(struct state *state)
{
    if (state->count > 1)
        qsort(state->items, state->count, sizeof(*state->items),
              compare_lines);
}

static bool
same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
state_equal(const struct state_item *a, const struct state_item *b,
            bool secrets)
{
    if (a->disabled != b->disabled || a->subdomains != b->subdomains)
        return false;
    if (a->kind == STATE_USER && !secrets)
        return true;
    return a->ends == b->ends && a->until == b->until
           && same_text(a->secret, b->secret)
           && same_text(a->old_secret, b->old_secret);
}

/* The first item that is not less. */
static size_t
lower_bound(const struct state *state, const struct state_item *wanted)
{
    size_t low = 0, high = state->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (state_compare(&state->items[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct state_item *
state_find(const struct state *state, enum state_kind kind, const char *text,
           const char *user)
{
    const struct state_item wanted = {.kind = kind, .text = text,
                                      .user = user != NULL ? user : ""};
    size_t at = lower_bound(state, &wanted);

    if (at == state->count || state_compare(&state->items[at], &wanted) != 0)
        return NULL;
    return &state->items[at];
}

const struct state_item *
state_grants(const struct state *state, const char *user, size_t *count_r)
{
    const struct state_item wanted = {.kind = STATE_GRANT_ADDRESS,
                                      .text = "", .user = user};
    size_t first = lower_bound(state, &wanted), at = first;

    while (at < state->count && strcmp(state->items[at].user, user) == 0)
        at++;
    *count_r = at - first;
    return first < state->count ? &state->items[first] : NULL;
}

/* A text cannot be taken for the end of another and the begin of a third. */
static bool
digest_text(EVP_MD_CTX *hash, const char *text)
{
    static const char none[] = "\1";

    return text == NULL ? EVP_DigestUpdate(hash, none, sizeof(none))
                        : EVP_DigestUpdate(hash, text, strlen(text) + 1);
}

static bool
digest_item(EVP_MD_CTX *hash, const struct state_item *item, bool secrets)
{
    bool ends = item->ends && (secrets || item->kind != STATE_USER);
    char form[64];

    snprintf(form, sizeof(form), "%d %d %d %d %lld", (int) item->kind,
             item->disabled, item->subdomains, ends,
             ends ? (long long) item->until : 0);
    return digest_text(hash, form) && digest_text(hash, item->user)
           && digest_text(hash, item->text)
           && (!secrets || (digest_text(hash, item->secret)
                            && digest_text(hash, item->old_secret)));
}

bool
state_digest(const struct state *state, bool secrets,
             char digest_r[static STATE_DIGEST + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool done;
    size_t i;

    done = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL)
           && digest_text(hash, secrets ? "with secrets" : "");
    for (i = 0; i < state->count && done; i++)
        done = digest_item(hash, &state->items[i], secrets);
    done = done && EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    for (i = 0; i < STATE_DIGEST / 2 && done; i++)
        snprintf(digest_r + 2 * i, 3, "%02x", digest[i]);
    return done;
}
