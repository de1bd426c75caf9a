/* SPDX-License-Identifier: MIT */
/*
 * Each observed sender is put to decide(). Those that are not permitted are
 * candidates, one address each; of a user's candidates in one domain many
 * become a grant of the domain, few remain what they are. Then the doubtful
 * are told from the others.
 */
#include "config.h"

#include "mailadmin/learn.h"

#include "lib/addr.h"
#include "lib/record.h"

#include "mailadmin/lookalike.h"
#include "mailadmin/session.h"

#include <stdlib.h>
#include <string.h>

static enum status
out_of_memory(struct session *session)
{
    return session_say(session, STATUS_SYSTEM, "out of memory");
}

/* Room for one more in a list of things of that size; NULL: there is none. */
static void *
grow(void *list, size_t count, size_t *room, size_t size)
{
    size_t more = *room ? *room * 2 : 64;
    void *grown = list;

    if (count < *room)
        return list;
    grown = realloc(list, more * size);
    if (grown != NULL)
        *room = more;
    return grown;
}

static const char *
domain_of(const char *address)
{
    return strrchr(address, '@') + 1;
}

/* -- candidates ----------------------------------------------------------- */

static bool
add_remark(struct lesson *lesson, const struct remark *remark)
{
    struct remark *remarks =
        grow(lesson->remarks, lesson->remarks_count, &lesson->remarks_room,
             sizeof(*remarks));

    if (remarks == NULL)
        return false;
    lesson->remarks = remarks;
    remarks[lesson->remarks_count++] = *remark;
    return true;
}

static bool
add_candidate(struct lesson *lesson, const struct proposal *candidate,
              const char *text)
{
    struct proposal *proposals = grow(lesson->proposals, lesson->count,
                                      &lesson->room, sizeof(*proposals));
    char *copy = strdup(text);

    if (proposals != NULL)
        lesson->proposals = proposals;
    if (proposals == NULL || copy == NULL) {
        free(copy);
        return false;
    }
    proposals[lesson->count] = *candidate;
    proposals[lesson->count++].text = copy;
    return true;
}

/* What stands against a grant, as far as the sender itself tells. */
static enum doubt
doubt_of(const struct decide_verdict *verdict)
{
    const struct addr *sender = &verdict->sender;
    struct addr stored;
    const char *error;

    if (sender->len == 0
        || !addr_parse_grantable(sender->text, sender->len, &stored, &error))
        return DOUBT_UNGRANTABLE;
    if (strcspn(sender->text, "%!@\"") != sender->at)
        return DOUBT_LOCAL_PART;
    return verdict->reason == DECIDE_EXPIRED ? DOUBT_ENDED : DOUBT_NONE;
}

/* Several together count as many as there need to be. */
static int64_t
senders_of(const struct lesson *lesson, int row)
{
    const char *form = PQgetvalue(lesson->usage.observed, row, USAGE_FORM);

    return strcmp(form, "more") == 0 ? lesson->threshold : 1;
}

static bool
take_sender(const struct session *session, struct lesson *lesson,
            const struct record *record, const struct remark *seen, int row)
{
    struct decide_verdict verdict;
    struct proposal candidate = {
        .user = seen->user,
        .messages = seen->messages,
        .last = seen->last,
        .senders = senders_of(lesson, row),
    };
    bool permitted;

    usage_decide(session, seen->user, record, seen->sender, &verdict);
    permitted = verdict.action == DECIDE_PERMIT;
    lesson->senders++;
    lesson->granted += permitted;
    if (strchr(seen->sender, '@') != NULL
        && (!lookalikes_add(lesson->known_domains, domain_of(seen->sender),
                            seen->messages, false)
            || !lookalikes_add(lesson->known_addresses, seen->sender,
                               seen->messages, permitted)))
        return false;
    if (permitted)
        return true;
    candidate.doubt = doubt_of(&verdict);
    return add_candidate(lesson, &candidate,
                         candidate.doubt <= DOUBT_ENDED && verdict.has_stripped
                             ? verdict.stripped.text
                             : seen->sender);
}

static enum status
take_user(struct session *session, struct lesson *lesson, int user, int *row)
{
    const struct store_usage *usage = &lesson->usage;
    int end = usage_rows(usage, user, row);
    struct record *record;
    bool ok = true;

    end += *row;
    if (PQgetvalue(usage->users, user, USAGE_ENABLED)[0] != 't') {
        *row = end;
        return STATUS_OK;
    }
    record = usage_record(session, usage, user, STORE_USER, NULL);
    if (record == NULL)
        return STATUS_SYSTEM;
    for (; ok && *row < end; ++*row) {
        struct remark seen = {
            .user = PQgetvalue(usage->users, user, USAGE_NAME),
            .sender = PQgetvalue(usage->observed, *row, USAGE_SENDER),
            .form = usage_form(usage, *row),
            .messages = usage_number(usage->observed, *row, USAGE_MESSAGES),
            .last = usage_number(usage->observed, *row, USAGE_LAST),
        };

        ok = seen.form == USAGE_ADDRESS
                 ? take_sender(session, lesson, record, &seen, *row)
                 : add_remark(lesson, &seen);
    }
    record_free(&record);
    return ok ? STATUS_OK : out_of_memory(session);
}

/* -- proposals ------------------------------------------------------------ */

/* By user, domain, doubt, address. */
static int
compare_group(const struct proposal *a, const struct proposal *b)
{
    int order = strcmp(a->user, b->user);

    if (order == 0)
        order = strcmp(domain_of(a->text), domain_of(b->text));
    return order != 0 ? order : (int) a->doubt - (int) b->doubt;
}

static int
compare(const void *a, const void *b)
{
    const struct proposal *left = a, *right = b;
    int order = compare_group(left, right);

    return order != 0 ? order : strcmp(left->text, right->text);
}

/* Adds one to another, and does away with it. */
static void
merge(struct proposal *into, struct proposal *other)
{
    into->messages += other->messages;
    if (other->last > into->last)
        into->last = other->last;
    free(other->text);
    other->text = NULL;
}

/* Those of one group that are the same, into one each. Returns how many. */
static size_t
merge_same(struct proposal *group, size_t count)
{
    size_t kept = 1, i;

    for (i = 1; i < count; i++) {
        if (strcmp(group[i].text, group[kept - 1].text) == 0)
            merge(&group[kept - 1], &group[i]);
        else
            group[kept++] = group[i];
    }
    return kept;
}

/* Makes a grant of the domain of them if they are many, those that look like
 * another one aside. Returns how many they are then. */
static size_t
make_domain(const struct lesson *lesson, struct proposal *group,
            size_t count)
{
    int64_t senders = 0;
    size_t i;

    for (i = 0; i < count; i++) {
        if (group[i].doubt == DOUBT_NONE)
            group[i].like = lookalikes_find(lesson->known_addresses,
                                            group[i].text);
        senders += group[i].like == NULL ? group[i].senders : 0;
    }
    if (senders < lesson->threshold || group->doubt > DOUBT_ENDED)
        return count;
    for (i = 1; i < count; i++)
        merge(group, &group[i]);
    group->is_domain = true;
    group->like = NULL;
    group->senders = (int64_t) count;
    memmove(group->text, domain_of(group->text),
            strlen(domain_of(group->text)) + 1);
    return 1;
}

static void
make_proposals(struct lesson *lesson)
{
    struct proposal *all = lesson->proposals;
    size_t i = 0, kept = 0, count;

    if (lesson->count > 0)
        qsort(all, lesson->count, sizeof(*all), compare);
    while (i < lesson->count) {
        for (count = 1; i + count < lesson->count
                        && compare_group(&all[i], &all[i + count]) == 0;)
            count++;
        memmove(&all[kept], &all[i], count * sizeof(*all));
        i += count;
        count = merge_same(&all[kept], count);
        kept += make_domain(lesson, &all[kept], count);
    }
    lesson->count = kept;
}

/* What stands against a grant, as far as the others tell. */
static void
judge(const struct lesson *lesson, struct proposal *proposal)
{
    const char *domain = proposal->is_domain ? proposal->text
                                             : domain_of(proposal->text);

    if (proposal->doubt != DOUBT_NONE)
        return;
    if (proposal->like == NULL)
        proposal->like = lookalikes_find(lesson->known_domains, domain);
    if (proposal->like != NULL)
        proposal->doubt = DOUBT_LOOKALIKE;
    else if (lookalikes_messages(lesson->known_domains, domain) == 1
             && !lookalikes_granted(lesson->known_domains, domain))
        proposal->doubt = DOUBT_ONE_OFF;
}

/* -- the whole ------------------------------------------------------------ */

static bool
add_granted(struct lookalikes *set, const PGresult *list)
{
    bool ok = true;
    int i;

    for (i = 0; ok && i < PQntuples(list); i++)
        ok = lookalikes_add(set, PQgetvalue(list, i, 0), 0, true);
    lookalikes_sort(set);
    return ok;
}

enum status
lesson_learn(struct session *session, struct lesson *lesson)
{
    const struct store_usage_filter filter = {.since = lesson->since};
    enum status status = store_usage(session->db, &filter, &lesson->usage);
    int user, row = 0;
    size_t i;

    if (status == STATUS_OK)
        status = store_granted(session->db, lesson->since, &lesson->domains,
                               &lesson->addresses);
    if (status != STATUS_OK)
        return session_db(session, status);
    lesson->known_domains = lookalikes_new();
    lesson->known_addresses = lookalikes_new();
    if (lesson->known_domains == NULL || lesson->known_addresses == NULL)
        return out_of_memory(session);
    for (user = 0; user < PQntuples(lesson->usage.users); user++) {
        status = take_user(session, lesson, user, &row);
        if (status != STATUS_OK)
            return status;
    }
    if (!add_granted(lesson->known_domains, lesson->domains)
        || !add_granted(lesson->known_addresses, lesson->addresses))
        return out_of_memory(session);
    make_proposals(lesson);
    for (i = 0; i < lesson->count; i++)
        judge(lesson, &lesson->proposals[i]);
    return STATUS_OK;
}

void
lesson_free(struct lesson *lesson)
{
    size_t i;

    for (i = 0; i < lesson->count; i++)
        free(lesson->proposals[i].text);
    free(lesson->proposals);
    free(lesson->remarks);
    lookalikes_free(&lesson->known_domains);
    lookalikes_free(&lesson->known_addresses);
    PQclear(lesson->domains);
    PQclear(lesson->addresses);
    store_usage_clear(&lesson->usage);
    memset(lesson, 0, sizeof(*lesson));
}
