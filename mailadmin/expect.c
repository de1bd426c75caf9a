/* SPDX-License-Identifier: MIT */
/*
 * Tests of permissions: each line says what a user may or may not send as, and
 * is put to decide(), the function that policyd asks. The users come from the
 * database, in one snapshot, or from a file that export wrote.
 */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/conf.h"
#include "lib/decide.h"
#include "lib/explain.h"
#include "lib/record.h"

#include "mailadmin/advice.h"
#include "mailadmin/faults.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/state_file.h"
#include "mailadmin/state_store.h"
#include "mailadmin/textfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct command lines[] = {
    {.pattern = "USER may not SENDER [on DATE]"},
    {.pattern = "USER may SENDER [on DATE]"},
};
enum { MAY_NOT, MAY, LINES };

#define EXPECTED "expected: USER may [not] SENDER [on DATE]"

/* One line. The texts are the file's. */
struct expectation {
    unsigned long line;
    bool may;
    struct user_name user;
    const char *sender; /* as it is written */
    int64_t when;
};

struct suite {
    struct textfile file;
    struct expectation *items;
    size_t count, room;
    struct decide_options options;
    struct state state;
    struct record **records; /* of the users among the state's items */
    size_t failed;
    json_t *failures;
};

static struct expectation *
add(struct suite *suite)
{
    size_t room = suite->room == 0 ? 64 : 2 * suite->room;
    struct expectation *items = suite->items;

    if (suite->count == suite->room) {
        items = realloc(items, room * sizeof(*items));
        if (items == NULL)
            return NULL;
        suite->items = items;
        suite->room = room;
    }
    memset(&items[suite->count], 0, sizeof(*items));
    return &items[suite->count++];
}

/* NULL, or what is wrong with the line. */
static const char *
read_line(struct suite *suite, char *const *words, size_t count,
          struct session *session)
{
    struct expectation *item;
    struct arguments arguments;
    const struct command *line;
    const char *on;

    line = grammar_match(lines, LINES, words, count, &arguments);
    if (line == NULL || strcmp(arguments.value[1], "not") == 0)
        return EXPECTED;
    item = add(suite);
    if (item == NULL)
        return "out of memory";
    item->line = suite->file.line;
    item->may = line == &lines[MAY];
    item->sender = arguments.value[1];
    item->when = (int64_t) time(NULL);
    on = grammar_value(&arguments, "on");
    if (on != NULL && !moment_parse(on, &item->when))
        return "bad date: neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM";
    return session_name(session, arguments.value[0], &item->user)
               ? NULL : session->message;
}

static enum status
read_suite(struct session *session, const char *path, struct suite *suite)
{
    struct session scratch = {.conf = NULL};
    struct faults faults = {0};
    char *words[GRAMMAR_WORDS];
    const char *error;
    enum status status;
    size_t count;

    status = textfile_read(session, path, &suite->file);
    if (status != STATUS_OK)
        return status;
    while (textfile_next(&suite->file, &faults, words, &count)) {
        error = read_line(suite, words, count, &scratch);
        if (error != NULL)
            faults_add(&faults, suite->file.line, "%s", error);
    }
    if (suite->count == 0 && faults.count == 0)
        faults_add(&faults, 1, "the file has no test; " EXPECTED);
    status = faults_print(session, suite->file.name, &faults);
    faults_free(&faults);
    return status;
}

/* The users of the tests, and what they were granted. */
static enum status
load_users(struct session *session, struct suite *suite)
{
    char **names = malloc(suite->count * sizeof(char *));
    enum status status;
    size_t i;

    if (names == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    for (i = 0; i < suite->count; i++)
        names[i] = suite->items[i].user.text;
    status = state_load(session->db, names, suite->count, &suite->state);
    free(names);
    return status == STATUS_OK ? status : session_db(session, status);
}

/* The grants of a user as lines of a record's source; newly allocated. */
static char *
grants_of(const struct state *state, const char *user)
{
    size_t count, size = 1, used = 0, i;
    const struct state_item *grants = state_grants(state, user, &count);
    char *text;

    for (i = 0; i < count; i++)
        size += strlen(grants[i].text) + 32;
    text = malloc(size);
    if (text == NULL)
        return NULL;
    text[0] = '\0';
    for (i = 0; i < count; i++) {
        const struct state_item *grant = &grants[i];
        char until[24] = "-";

        if (grant->ends)
            snprintf(until, sizeof(until), "%" PRId64, grant->until);
        used += (size_t) snprintf(text + used, size - used, "%c %s %s\n",
                                  grant->kind == STATE_GRANT_ADDRESS ? 'a'
                                  : grant->subdomains                ? 's'
                                                                     : 'd',
                                  until, grant->text);
    }
    return text;
}

static struct record *
make_record(const struct state *state, const struct state_item *user)
{
    struct record_source source = {.id = 1, .enabled = !user->disabled};
    struct record *record;
    const char *error;
    char *grants = grants_of(state, user->text);

    if (grants == NULL)
        return NULL;
    source.grants = grants;
    source.grants_len = strlen(grants);
    record = record_new(&source, &error);
    free(grants);
    return record;
}

/* False when out of memory; *record_r is NULL for a user who is not there. */
static bool
find_record(struct suite *suite, const char *name,
            const struct record **record_r)
{
    const struct state_item *user;
    struct record **record;

    *record_r = NULL;
    user = state_find(&suite->state, STATE_USER, name, NULL);
    if (user == NULL)
        return true;
    record = &suite->records[user - suite->state.items];
    if (*record == NULL)
        *record = make_record(&suite->state, user);
    *record_r = *record;
    return *record != NULL;
}

static void
decide_test(const struct suite *suite, const struct expectation *item,
            const struct record *record, struct decide_verdict *verdict_r,
            struct advice *advice_r)
{
    const char *sender = strcmp(item->sender, "<>") == 0 ? "" : item->sender;
    const struct decide_request request = {
        .protocol_state = {"RCPT", 4},
        .sasl_username = {item->user.text, item->user.len},
        .sasl_method = {"PLAIN", 5},
        .sender = {sender, strlen(sender)},
    };
    const struct decide_facts facts = {
        .state = record != NULL ? DECIDE_USER_RECORD : DECIDE_USER_UNKNOWN,
        .record = record,
    };
    struct explain why = {.kind = EXPLAIN_NOTHING};

    decide(&suite->options, &request, &facts, item->when, verdict_r);
    if (record != NULL)
        explain(verdict_r, record, item->when, &why);
    advice_begin(advice_r, verdict_r, &why, &suite->options);
    if (record == NULL)
        snprintf(advice_r->nearest, sizeof(advice_r->nearest),
                 "there is no such user");
}

static void
print_failure(const struct suite *suite, const struct expectation *item,
              bool may, const struct advice *advice)
{
    output_text(stdout, suite->file.name);
    printf(":%lu: %s %s ", item->line, item->user.text,
           item->may ? "may" : "may not");
    output_text(stdout, item->sender);
    fputs(may ? ": is permitted: " : ": is refused: ", stdout);
    output_text(stdout, advice->text);
    if (advice->nearest[0] != '\0') {
        fputs(" (", stdout);
        output_text(stdout, advice->nearest);
        putchar(')');
    }
    putchar('\n');
}

static json_t *
failure_json(const struct expectation *item,
             const struct decide_verdict *verdict, const struct advice *advice)
{
    json_t *sender = json_string(item->sender);
    char shown[ADVICE_TEXT];

    if (sender == NULL) /* it is not UTF-8 */
        sender = json_string(addr_printable(shown, sizeof(shown), item->sender,
                                            strlen(item->sender)));
    return json_pack("{s:i, s:s, s:o, s:b, s:b, s:s, s:s, s:s?}", "line",
                     (int) item->line, "user", item->user.text, "sender",
                     sender, "expected", item->may, "permitted",
                     verdict->action == DECIDE_PERMIT, "reason",
                     decide_reason_name(verdict->reason), "text",
                     advice->text, "nearest",
                     advice->nearest[0] ? advice->nearest : NULL);
}

/* A user who is not there may not send, as policyd sees it; whoever misspelt
 * a name would like to know. */
static void
warn_of_unknown(struct session *session, const struct suite *suite,
                const struct expectation *item)
{
    session_say(session, STATUS_OK, "%s:%lu: there is no user %s",
                suite->file.name, item->line, item->user.text);
    session_print(session, 0);
}

static enum status
run_test(struct session *session, struct suite *suite,
         const struct expectation *item)
{
    const struct record *record;
    struct decide_verdict verdict;
    struct advice advice;
    bool may;

    if (!find_record(suite, item->user.text, &record))
        return session_say(session, STATUS_SYSTEM, "out of memory");
    decide_test(suite, item, record, &verdict, &advice);
    may = verdict.action == DECIDE_PERMIT;
    if (may == item->may) {
        if (record == NULL)
            warn_of_unknown(session, suite, item);
        return STATUS_OK;
    }
    suite->failed++;
    if (!session->json)
        print_failure(suite, item, may, &advice);
    else if (json_array_append_new(suite->failures,
                                   failure_json(item, &verdict, &advice))
             != 0)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    return STATUS_OK;
}

static enum status
run_suite(struct session *session, struct suite *suite)
{
    enum status status = STATUS_OK;
    size_t i;

    suite->options = conf_decide_options(session->conf);
    suite->records = calloc(suite->state.count + 1, sizeof(struct record *));
    suite->failures = json_array();
    if (suite->records == NULL || suite->failures == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    for (i = 0; i < suite->count && status == STATUS_OK; i++)
        status = run_test(session, suite, &suite->items[i]);
    if (status != STATUS_OK)
        return status;
    if (session->json)
        status = session_json(session,
                              json_pack("{s:i, s:i, s:O}", "tests",
                                        (int) suite->count, "failed",
                                        (int) suite->failed, "failures",
                                        suite->failures));
    else
        printf("%zu test%s, %zu failed\n", suite->count,
               suite->count == 1 ? "" : "s", suite->failed);
    return status == STATUS_OK && suite->failed > 0 ? STATUS_REFUSED : status;
}

static void
suite_free(struct suite *suite)
{
    size_t i;

    for (i = 0; suite->records != NULL && i < suite->state.count; i++)
        record_free(&suite->records[i]);
    free(suite->records);
    json_decref(suite->failures);
    state_free(&suite->state);
    free(suite->items);
    textfile_free(&suite->file);
}

enum status
command_test(struct session *session, const struct arguments *arguments)
{
    const char *on = grammar_value(arguments, "--on");
    struct suite suite = {.count = 0};
    enum status status;

    if (on != NULL && strcmp(on, "-") == 0
        && strcmp(arguments->value[0], "-") == 0)
        return session_say(session, STATUS_USAGE,
                           "only one of the files can be standard input");
    status = read_suite(session, arguments->value[0], &suite);
    if (status == STATUS_OK)
        status = on != NULL ? state_read(session, on, &suite.state)
                            : load_users(session, &suite);
    if (status == STATUS_OK)
        status = run_suite(session, &suite);
    suite_free(&suite);
    return status;
}
