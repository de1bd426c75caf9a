/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/plan.h"

#include "mailadmin/moment.h"
#include "mailadmin/output.h"
#include "mailadmin/state_file.h"

#include <stdlib.h>
#include <string.h>

static bool
add_change(struct plan *plan, const struct state_item *before,
           const struct state_item *after)
{
    enum plan_operation operation = before == NULL  ? PLAN_ADD
                                    : after == NULL ? PLAN_DELETE
                                                    : PLAN_CHANGE;
    size_t room = plan->room == 0 ? 64 : 2 * plan->room;
    struct plan_change *changes = plan->changes;

    if (plan->count == plan->room) {
        changes = realloc(changes, room * sizeof(*changes));
        if (changes == NULL)
            return false;
        plan->changes = changes;
        plan->room = room;
    }
    changes[plan->count++] = (struct plan_change){operation, before, after};
    plan->totals[after != NULL ? after->kind : before->kind][operation]++;
    return true;
}

/* Both are sorted: one walk finds what is in one only, and what differs. */
static bool
compare(const struct state *current, const struct state *wanted,
        struct plan *plan)
{
    size_t c = 0, w = 0;
    bool done = true;

    while (done && (c < current->count || w < wanted->count)) {
        const struct state_item *before = NULL, *after = NULL;
        int order = 0;

        if (c < current->count)
            before = &current->items[c];
        if (w < wanted->count)
            after = &wanted->items[w];
        if (before != NULL && after != NULL)
            order = state_compare(before, after);
        if (order < 0)
            after = NULL;
        else if (order > 0)
            before = NULL;
        if (before != NULL) {
            plan->before[before->kind]++;
            c++;
        }
        if (after != NULL)
            w++;
        if (before == NULL || after == NULL
            || !state_equal(before, after, plan->secrets))
            done = add_change(plan, before, after);
    }
    return done;
}

bool
plan_make(const struct state *current, const struct state *wanted,
          struct plan *plan_r)
{
    memset(plan_r, 0, sizeof(*plan_r));
    plan_r->secrets = wanted->secrets;
    if (compare(current, wanted, plan_r)
        && state_digest(current, wanted->secrets, plan_r->id)
        && state_digest(wanted, wanted->secrets,
                        plan_r->id + STATE_DIGEST + 1)) {
        plan_r->id[STATE_DIGEST] = '-';
        return true;
    }
    plan_free(plan_r);
    return false;
}

void
plan_free(struct plan *plan)
{
    free(plan->changes);
    memset(plan, 0, sizeof(*plan));
}

bool
plan_is_id(const char *text)
{
    static const char digits[] = "0123456789abcdef";

    return strlen(text) == PLAN_ID
           && strspn(text, digits) == STATE_DIGEST
           && text[STATE_DIGEST] == '-'
           && strspn(text + STATE_DIGEST + 1, digits) == STATE_DIGEST;
}

bool
plan_same_wanted(const struct plan *plan, const char *id)
{
    return strcmp(plan->id + STATE_DIGEST, id + STATE_DIGEST) == 0;
}

static bool
same_secret(const struct state_item *a, const struct state_item *b)
{
    return a->secret == NULL || b->secret == NULL
               ? a->secret == b->secret
               : strcmp(a->secret, b->secret) == 0;
}

/* Whether a change of a user is one of his secrets, too. */
static bool
changes_secrets(const struct plan_change *change)
{
    struct state_item before;

    if (change->operation != PLAN_CHANGE || change->after->kind != STATE_USER)
        return false;
    before = *change->before;
    before.disabled = change->after->disabled;
    return !state_equal(&before, change->after, true);
}

static const char *
password_before(const struct plan_change *change)
{
    if (same_secret(change->before, change->after))
        return "another old password";
    return change->before->secret == NULL  ? "without a password"
           : change->after->secret == NULL ? "with a password"
                                           : "another password";
}

/* What was before, of that which is another now. */
static void
write_before(FILE *out, const struct plan_change *change, bool secrets)
{
    const struct state_item *before = change->before, *after = change->after;
    const char *between = "";

    fputs(" (before: ", out);
    if (before->disabled != after->disabled) {
        fputs(before->disabled ? "disabled" : "enabled", out);
        between = ", ";
    }
    if (before->subdomains != after->subdomains) {
        fprintf(out, "%s subdomains", before->subdomains ? "with" : "without");
        between = ", ";
    }
    if (before->kind == STATE_USER) {
        if (secrets && changes_secrets(change))
            fprintf(out, "%s%s", between, password_before(change));
    } else if (before->ends != after->ends || before->until != after->until) {
        fprintf(out, "%s%s", between, before->ends ? "until " : "without end");
        if (before->ends)
            state_write_until(out, before->until);
    }
    fputc(')', out);
}

static void
write_change(FILE *out, const struct plan_change *change, bool secrets)
{
    const struct state_item *after = change->after;

    switch (change->operation) {
    case PLAN_ADD:
        output_word(out, "+", OUTPUT_GOOD);
        break;
    case PLAN_DELETE:
        output_word(out, "-", OUTPUT_BAD);
        break;
    case PLAN_CHANGE:
        fputc('~', out);
        break;
    }
    fputc(' ', out);
    state_write_item(out, after != NULL ? after : change->before, false);
    if (change->operation == PLAN_CHANGE)
        write_before(out, change, secrets);
    else if (change->operation == PLAN_ADD && after->kind == STATE_USER
             && after->secret == NULL)
        fputs(" (without a password: no login)", out);
    fputc('\n', out);
}

/* "users: 1 to add, 0 to change, 1 of 12 to delete" */
static void
write_totals(FILE *out, const struct plan *plan, const char *name,
             enum state_kind first, enum state_kind last)
{
    size_t totals[PLAN_OPERATIONS] = {0}, before = 0, o;
    int kind;

    for (kind = (int) first; kind <= (int) last; kind++) {
        before += plan->before[kind];
        for (o = 0; o < PLAN_OPERATIONS; o++)
            totals[o] += plan->totals[kind][o];
    }
    if (totals[PLAN_ADD] + totals[PLAN_CHANGE] + totals[PLAN_DELETE] == 0)
        return;
    fprintf(out, "%s: %zu to add, %zu to change, %zu", name, totals[PLAN_ADD],
            totals[PLAN_CHANGE], totals[PLAN_DELETE]);
    if (totals[PLAN_DELETE] > 0)
        fprintf(out, " of %zu", before);
    fputs(" to delete\n", out);
}

void
plan_write(FILE *out, const struct plan *plan)
{
    size_t i;

    for (i = 0; i < plan->count; i++)
        write_change(out, &plan->changes[i], plan->secrets);
    if (plan->count == 0)
        fputs("nothing to do\n", out);
    write_totals(out, plan, "users", STATE_USER, STATE_USER);
    write_totals(out, plan, "addresses", STATE_ADDRESS, STATE_ADDRESS);
    write_totals(out, plan, "domains", STATE_DOMAIN, STATE_DOMAIN);
    write_totals(out, plan, "grants", STATE_GRANT_ADDRESS,
                 STATE_GRANT_DOMAIN);
    fprintf(out, "plan: %s\n", plan->id);
}

static json_t *
moment_json(bool given, int64_t second)
{
    char text[MOMENT_SIZE];

    if (!given)
        return json_null();
    moment_format(second, text);
    return json_string(text);
}

static json_t *
user_json(const struct state_item *item, bool secrets)
{
    json_t *user = json_pack("{s:s, s:b}", "user", item->text, "enabled",
                             !item->disabled);

    if (secrets && user != NULL
        && json_object_update_new(
               user, json_pack("{s:s?, s:s?, s:o}", "secret", item->secret,
                               "old_secret", item->old_secret,
                               "old_password_until",
                               moment_json(item->ends, item->until)))
               != 0) {
        json_decref(user);
        return NULL;
    }
    return user;
}

json_t *
plan_item_json(const struct state_item *item, bool secrets)
{
    switch (item->kind) {
    case STATE_USER:
        return user_json(item, secrets);
    case STATE_ADDRESS:
        return json_pack("{s:s}", "address", item->text);
    case STATE_DOMAIN:
        return json_pack("{s:s}", "domain", item->text);
    case STATE_GRANT_ADDRESS:
        return json_pack("{s:s, s:s, s:o}", "user", item->user, "address",
                         item->text, "expires",
                         moment_json(item->ends, item->until));
    case STATE_GRANT_DOMAIN:
        return json_pack("{s:s, s:s, s:b, s:o}", "user", item->user, "domain",
                         item->text, "subdomains", item->subdomains,
                         "expires", moment_json(item->ends, item->until));
    }
    return NULL;
}

static json_t *
change_json(const struct plan_change *change, bool secrets)
{
    static const char *const operations[] = {"add", "change", "delete"};
    static const char *const kinds[] = {"user", "address", "domain", "grant",
                                        "grant"};
    const struct state_item *before = change->before, *after = change->after;
    const struct state_item *object = after != NULL ? after : before;

    return json_pack(
        "{s:s, s:s, s:b, s:o, s:o}", "change", operations[change->operation],
        "object", kinds[object->kind],
        "secret_changed", secrets && changes_secrets(change), "before",
        before != NULL ? plan_item_json(before, false) : json_null(), "after",
        after != NULL ? plan_item_json(after, false) : json_null());
}

json_t *
plan_json(const struct plan *plan)
{
    json_t *changes = json_array();
    size_t i;

    for (i = 0; i < plan->count; i++)
        if (json_array_append_new(changes, change_json(&plan->changes[i],
                                                       plan->secrets))
            != 0) {
            json_decref(changes);
            return NULL;
        }
    return json_pack("{s:s, s:o}", "plan", plan->id, "changes", changes);
}
