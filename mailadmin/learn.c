/* SPDX-License-Identifier: MIT */
/* The text is a script for a shell: commands, and comments on them. */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/learn.h"
#include "mailadmin/output.h"
#include "mailadmin/quote.h"
#include "mailadmin/session.h"
#include "mailadmin/store_change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SINCE_DAYS = 7,
    THRESHOLD = 5,
    APPLY_MS = 60 * 1000,
    COMMAND_SIZE = 1024
};

/* -- applying ------------------------------------------------------------- */

/* One item of a change for each proposal that goes into it. */
static void
fill(struct store_change *change, const struct lesson *lesson,
     enum doubt most)
{
    size_t i;

    for (i = 0; i < lesson->count; i++) {
        const struct proposal *proposal = &lesson->proposals[i];

        if (proposal->doubt > most
            || proposal->is_domain != (change->kind == STORE_DOMAIN))
            continue;
        change->items[change->count++] = (struct store_item){
            .text = proposal->text,
            .user = change->verb == GRAMMAR_GRANT ? proposal->user : NULL,
        };
    }
}

/* Adds what the proposals up to that doubt are about, and grants it. */
static enum status
apply(struct session *session, const struct lesson *lesson, enum doubt most)
{
    struct store_change changes[] = {
        {.verb = GRAMMAR_ADD, .kind = STORE_ADDRESS, .lenient = true},
        {.verb = GRAMMAR_ADD, .kind = STORE_DOMAIN, .lenient = true},
        {.verb = GRAMMAR_GRANT, .kind = STORE_ADDRESS},
        {.verb = GRAMMAR_GRANT, .kind = STORE_DOMAIN},
    };
    enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };
    struct store_item *items = calloc(CHANGES * (lesson->count + 1),
                                      sizeof(*items));
    enum status status;
    size_t i;

    if (items == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    for (i = 0; i < CHANGES; i++) {
        changes[i].items = items + i * lesson->count;
        fill(&changes[i], lesson, most);
    }
    status = store_changes(session->db, changes, CHANGES, APPLY_MS);
    free(items);
    return status == STATUS_OK ? status : session_db(session, status);
}

/* -- text ----------------------------------------------------------------- */

/* "mailadmin VERB address|domain OBJECT", with more words behind it. */
static void
write_command(char command_r[static COMMAND_SIZE], const char *verb,
              const struct proposal *proposal)
{
    snprintf(command_r, COMMAND_SIZE, "mailadmin %s %s", verb,
             proposal->is_domain ? "domain" : "address");
    quote_append(command_r, COMMAND_SIZE, proposal->text);
    if (strcmp(verb, "grant") != 0) {
        quote_append(command_r, COMMAND_SIZE, "--if-not-exists");
        return;
    }
    quote_append(command_r, COMMAND_SIZE, "to");
    quote_append(command_r, COMMAND_SIZE, proposal->user);
}

static const char *
plural(int64_t number)
{
    return number == 1 ? "" : "s";
}

static void
print_count(const struct proposal *proposal)
{
    char moment[MOMENT_SIZE];

    moment_format(proposal->last, moment);
    printf("  # %" PRId64 " message%s", proposal->messages,
           plural(proposal->messages));
    if (proposal->is_domain)
        printf(" as %" PRId64 " sender%s", proposal->senders,
               plural(proposal->senders));
    printf(", last %s", moment);
}

static void
print_doubt(const struct proposal *proposal)
{
    switch (proposal->doubt) {
    case DOUBT_ENDED:
        fputs("; its grant has ended", stdout);
        break;
    case DOUBT_LOOKALIKE:
        fputs("; looks like ", stdout);
        output_text(stdout, proposal->like);
        break;
    case DOUBT_ONE_OFF:
        fputs("; nothing else came from this domain", stdout);
        break;
    case DOUBT_LOCAL_PART:
        fputs("; has % ! @ or quotes in front of the @", stdout);
        break;
    case DOUBT_UNGRANTABLE:
        fputs("; cannot be granted", stdout);
        break;
    case DOUBT_NONE:
        break;
    }
}

static void
print_proposal(const struct proposal *proposal, bool taken)
{
    static const char *const verbs[] = {"add", "grant"};
    char command[COMMAND_SIZE];
    size_t i;

    for (i = 0; i < 2; i++) {
        write_command(command, verbs[i], proposal);
        fputs(taken ? "" : "# ", stdout);
        output_text(stdout, command);
        if (i == 1) {
            print_count(proposal);
            print_doubt(proposal);
        }
        putchar('\n');
    }
}

static void
print_remark(const struct remark *remark)
{
    char moment[MOMENT_SIZE];

    moment_format(remark->last, moment);
    fputs("# ", stdout);
    output_text(stdout, remark->user);
    switch (remark->form) {
    case USAGE_NULL:
        fputs(": the null sender, a matter of null_sender in emailing.conf",
              stdout);
        break;
    case USAGE_MALFORMED:
        fputs(": no address: ", stdout);
        output_text(stdout, remark->sender);
        break;
    default:
        fputs(": senders beyond those that are recorded one by one", stdout);
        break;
    }
    printf(": %" PRId64 " message%s, last %s\n", remark->messages,
           plural(remark->messages), moment);
}

/* Proposals with a doubt or without, as commands or as comments. */
static void
print_proposals(const struct lesson *lesson, bool doubted, enum doubt most)
{
    size_t i;

    for (i = 0; i < lesson->count; i++)
        if ((lesson->proposals[i].doubt != DOUBT_NONE) == doubted)
            print_proposal(&lesson->proposals[i],
                           lesson->proposals[i].doubt <= most);
}

static size_t
count_doubted(const struct lesson *lesson)
{
    size_t i, count = 0;

    for (i = 0; i < lesson->count; i++)
        count += lesson->proposals[i].doubt != DOUBT_NONE;
    return count;
}

static void
print_text(const struct lesson *lesson, enum doubt most, bool applied)
{
    size_t doubted = count_doubted(lesson), i;
    char moment[MOMENT_SIZE];

    moment_format(lesson->since, moment);
    printf("# since %s: %" PRId64 " sender%s of users, %" PRId64
           " of them granted\n",
           moment, lesson->senders, plural(lesson->senders),
           lesson->granted);
    printf("# %s: %zu\n", applied ? "granted now" : "to grant",
           lesson->count - doubted);
    print_proposals(lesson, false, most);
    if (doubted > 0)
        printf("# suspicious%s: %zu\n",
               most == DOUBT_NONE ? ", left out without --suspicious" : "",
               doubted);
    print_proposals(lesson, true, most);
    if (lesson->remarks_count > 0)
        printf("# no matter of grants: %zu\n", lesson->remarks_count);
    for (i = 0; i < lesson->remarks_count; i++)
        print_remark(&lesson->remarks[i]);
}

/* -- JSON ----------------------------------------------------------------- */

static json_t *
proposals_json(const struct lesson *lesson, bool doubted, enum doubt most)
{
    static const char *const doubts[] = {
        "", "ended", "look-alike", "one-off", "local-part", "ungrantable"};
    json_t *list = json_array();
    char moment[MOMENT_SIZE];
    size_t i;

    for (i = 0; i < lesson->count; i++) {
        const struct proposal *proposal = &lesson->proposals[i];
        json_t *object;

        if ((proposal->doubt != DOUBT_NONE) != doubted)
            continue;
        moment_format(proposal->last, moment);
        object = json_pack("{s:s, s:s, s:I, s:I, s:s, s:b}", "user",
                           proposal->user,
                           proposal->is_domain ? "domain" : "address",
                           proposal->text, "messages",
                           (json_int_t) proposal->messages, "senders",
                           (json_int_t) proposal->senders, "last", moment,
                           "proposed", proposal->doubt <= most);
        if (doubted && object != NULL) {
            json_object_set_new(object, "why",
                                json_string(doubts[proposal->doubt]));
            json_object_set_new(object, "like",
                                proposal->like ? json_string(proposal->like)
                                               : json_null());
        }
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *
remarks_json(const struct lesson *lesson)
{
    static const char *const forms[] = {"address", "null", "malformed",
                                        "more"};
    json_t *list = json_array();
    char moment[MOMENT_SIZE];
    size_t i;

    for (i = 0; i < lesson->remarks_count; i++) {
        const struct remark *remark = &lesson->remarks[i];

        moment_format(remark->last, moment);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:I, s:s}", "user", remark->user,
                            "form", forms[remark->form], "sender",
                            remark->sender, "messages",
                            (json_int_t) remark->messages, "last", moment));
    }
    return list;
}

static enum status
print_json(struct session *session, const struct lesson *lesson,
           enum doubt most, bool applied, int64_t recorded)
{
    char since[MOMENT_SIZE], begun[MOMENT_SIZE];

    moment_format(lesson->since, since);
    moment_format(recorded, begun);
    return session_json(
        session,
        json_pack("{s:s, s:s?, s:I, s:I, s:o, s:o, s:o, s:b}", "since", since,
                  "recorded_since", recorded ? begun : NULL, "senders",
                  (json_int_t) lesson->senders, "granted",
                  (json_int_t) lesson->granted, "grants",
                  proposals_json(lesson, false, most), "suspicious",
                  proposals_json(lesson, true, most), "others",
                  remarks_json(lesson), "applied", applied));
}

/* -- the command ---------------------------------------------------------- */

static enum status
read_threshold(struct session *session, const struct arguments *arguments,
               int64_t *threshold_r)
{
    const char *text = grammar_value(arguments, "--domain-threshold");

    *threshold_r = THRESHOLD;
    if (text == NULL)
        return STATUS_OK;
    if (strspn(text, "0123456789") == strlen(text) && strlen(text) < 7)
        *threshold_r = strtoll(text, NULL, 10);
    else
        *threshold_r = 0;
    if (*threshold_r < 2)
        return session_say(session, STATUS_DATA,
                           "bad threshold: a number of addresses, 2 or more");
    return STATUS_OK;
}

enum status
command_learn(struct session *session, const struct arguments *arguments)
{
    bool applied = grammar_given(arguments, "--apply");
    enum doubt most = grammar_given(arguments, "--suspicious")
                          ? DOUBT_LOCAL_PART
                          : DOUBT_NONE;
    struct lesson lesson = {0};
    int64_t recorded;
    enum status status;

    status = usage_since(session, arguments, SINCE_DAYS, &lesson.since);
    if (status == STATUS_OK)
        status = read_threshold(session, arguments, &lesson.threshold);
    if (status == STATUS_OK)
        status = lesson_learn(session, &lesson);
    if (status == STATUS_OK && applied)
        status = apply(session, &lesson, most);
    if (status == STATUS_OK) {
        recorded = usage_recorded(session, lesson.usage.state, lesson.since);
        if (session->json)
            status = print_json(session, &lesson, most, applied, recorded);
        else
            print_text(&lesson, most, applied);
    }
    lesson_free(&lesson);
    return status;
}
