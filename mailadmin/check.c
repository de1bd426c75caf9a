/* SPDX-License-Identifier: MIT */
/*
 * Asks what policyd would answer, by the function policyd asks: decide(). It
 * is asked twice, as there: the first time it brings the sender into normal
 * form, which a user with very many grants is looked up by. advice.h says the
 * rest.
 */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/conf.h"
#include "lib/decide.h"
#include "lib/explain.h"
#include "lib/record.h"

#include "mailadmin/advice.h"
#include "mailadmin/closest.h"
#include "mailadmin/input.h"
#include "mailadmin/logline.h"
#include "mailadmin/output.h"
#include "mailadmin/past.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"
#include "mailadmin/store_at.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The row of emailing_lookup(). */
enum { COUNTER, ID, ENABLED, PASSWD, OLD_PASSWD, OLD_UNTIL, HEAVY, GRANTS };

/* A question, and all that becomes of it. */
struct question {
    struct user_name name;
    struct decide_options options;
    struct decide_request request;
    struct decide_facts facts;
    struct decide_verdict verdict;
    struct store_sender sender;
    const struct logline *line; /* that it is about, or NULL */
    const struct past *at;      /* likewise; NULL: now */
    int64_t now;
};

static int64_t
number(const PGresult *row, int column)
{
    return strtoll(PQgetvalue(row, 0, column), NULL, 10);
}

/* NULL with *error_r unset when there is no such user. */
static struct record *
make_record(const PGresult *row, bool enabled, const char **error_r)
{
    struct record_source source = {
        .id = number(row, ID),
        .enabled = enabled || PQgetvalue(row, 0, ENABLED)[0] == 't',
        .old_until = number(row, OLD_UNTIL),
        .grants = PQgetvalue(row, 0, GRANTS),
        .grants_len = (size_t) PQgetlength(row, 0, GRANTS),
        .partial = PQgetvalue(row, 0, HEAVY)[0] == 't',
    };

    /* The secrets have no part in this, and are left where they are. */
    *error_r = NULL;
    if (PQgetisnull(row, 0, ID))
        return NULL;
    return record_new(&source, error_r);
}

static void
ask(struct question *question, const struct record *record)
{
    question->facts.state = record == NULL ? DECIDE_NOT_ASKED
                                           : DECIDE_USER_RECORD;
    question->facts.record = record;
    decide(&question->options, &question->request, &question->facts,
           question->now, &question->verdict);
}

/* Reads the question; its normal forms are what the database is asked for. */
static void
prepare(struct session *session, struct question *question,
        const char *sender)
{
    struct store_sender *asked = &question->sender;

    question->options = conf_decide_options(session->conf);
    question->now = question->at != NULL ? question->at->micros / 1000000
                                         : (int64_t) time(NULL);
    question->request.protocol_state = (struct decide_text){"RCPT", 4};
    question->request.sasl_method = (struct decide_text){"PLAIN", 5};
    question->request.sasl_username =
        (struct decide_text){question->name.text, question->name.len};
    question->request.sender = (struct decide_text){sender, strlen(sender)};
    ask(question, NULL);
    asked->name = question->name.text;
    if (question->verdict.sender.len > 0) {
        asked->address = question->verdict.sender.text;
        asked->domain = asked->address + question->verdict.sender.at + 1;
    }
    if (question->verdict.has_stripped)
        asked->stripped = question->verdict.stripped.text;
}

static json_t *
grant_json(const struct explain *explain, const struct advice *advice)
{
    static const char *const kinds[] = {"address", "domain", "domain"};
    json_t *grant;

    if (explain->grant[0] == '\0')
        return json_null();
    grant = json_pack("{s:s, s:s?}", kinds[explain->grant_kind],
                      explain->grant, "expires",
                      advice->end[0] ? advice->end : NULL);
    if (explain->grant_kind != RECORD_ADDRESS)
        json_object_set_new(
            grant, "subdomains",
            json_boolean(explain->grant_kind == RECORD_SUBDOMAINS));
    return grant;
}

static enum status
print_json(struct session *session, const struct question *question,
           const struct explain *explain, const struct advice *advice)
{
    json_t *commands = json_array(), *object;
    size_t i;

    for (i = 0; i < advice->commands_count; i++)
        json_array_append_new(commands, json_string(advice->command[i]));
    object = json_pack(
        "{s:s, s:s, s:b, s:s, s:s, s:o, s:s?, s:o}", "user",
        question->verdict.user.text, "sender", question->verdict.sender.text,
        "permitted", question->verdict.action == DECIDE_PERMIT, "reason",
        decide_reason_name(question->verdict.reason), "text", advice->text,
        "grant", grant_json(explain, advice), "nearest",
        advice->nearest[0] ? advice->nearest : NULL, "commands", commands);
    if (question->line != NULL && object != NULL)
        json_object_set_new(
            object, "log",
            json_pack("{s:s, s:s?}", "verdict", question->line->verdict,
                      "ref",
                      question->line->ref[0] ? question->line->ref : NULL));
    if (question->at != NULL && object != NULL)
        json_object_set_new(object, "at", json_string(question->at->text));
    return session_json(session, object);
}

static void
print_line(const char *label, const char *text)
{
    printf("  %s: ", label);
    output_text(stdout, text);
    putchar('\n');
}

/* Whether the sender came in its normal form. */
static bool
as_typed(const struct question *question)
{
    const struct decide_text *typed = &question->request.sender;
    const struct addr *sender = &question->verdict.sender;

    return typed->len == sender->len
           && memcmp(typed->text, sender->text, sender->len) == 0;
}

static void
print_text(const struct question *question, const struct advice *advice)
{
    bool permitted = question->verdict.action == DECIDE_PERMIT;
    size_t i;

    output_word(stdout, permitted ? "permitted" : "refused",
                permitted ? OUTPUT_GOOD : OUTPUT_BAD);
    fputs(": ", stdout);
    output_text(stdout, advice->text);
    putchar('\n');
    if (question->line != NULL) {
        print_line("the log says", question->line->verdict);
        print_line("user", question->name.text);
    }
    if (question->at != NULL)
        print_line("at", question->at->text);
    if (question->verdict.sender.len > 0
        && (!permitted || question->line != NULL || !as_typed(question)))
        print_line("sender", question->verdict.sender.text);
    if (advice->nearest[0] != '\0')
        print_line("nearest", advice->nearest);
    for (i = 0; i < advice->commands_count; i++)
        print_line(i == 0 ? "to permit" : "     then", advice->command[i]);
}

/* What would still be missing if the user were enabled. */
static enum status
explain_all(struct session *session, struct question *question,
            const PGresult *row, const struct record *record)
{
    struct decide_verdict first = question->verdict;
    struct explain explained, within;
    struct record *enabled = NULL;
    struct store_others others;
    struct advice advice;
    const char *error;
    enum status status;

    status = store_others(session->db, &question->sender, &others);
    if (status != STATUS_OK)
        return session_db(session, status);
    explain(&first, record, question->now, &explained);
    advice_begin(&advice, &first, &explained, &question->options);
    within = explained;
    if (explained.kind == EXPLAIN_DISABLED
        && (enabled = make_record(row, true, &error)) != NULL) {
        ask(question, enabled);
        explain(&question->verdict, enabled, question->now, &within);
    }
    advice_end(&advice, &question->verdict, &within, &others);
    question->verdict = first;
    if (session->json)
        status = print_json(session, question, &explained, &advice);
    else
        print_text(question, &advice);
    record_free(&enabled);
    PQclear(others.holders);
    return status != STATUS_OK                   ? status
           : first.action == DECIDE_PERMIT ? STATUS_OK
                                                 : STATUS_REFUSED;
}

/* What was is explained, and no longer to be mended. */
static enum status
explain_past(struct session *session, struct question *question,
             const struct record *record)
{
    struct explain explained;
    struct advice advice;
    enum status status = STATUS_OK;

    explain(&question->verdict, record, question->now, &explained);
    advice_begin(&advice, &question->verdict, &explained, &question->options);
    if (session->json)
        status = print_json(session, question, &explained, &advice);
    else
        print_text(question, &advice);
    if (status != STATUS_OK || question->verdict.action == DECIDE_PERMIT)
        return status;
    return STATUS_REFUSED;
}

static enum status
check(struct session *session, const char *user, const char *sender,
      const struct logline *line, const struct past *at)
{
    struct question question = {.line = line, .at = at};
    struct record *record;
    const char *error;
    PGresult *row;
    enum status status;

    if (!session_name(session, user, &question.name))
        return STATUS_DATA;
    prepare(session, &question, strcmp(sender, "<>") == 0 ? "" : sender);
    status = at != NULL ? store_lookup_at(session->db, question.name.text,
                                          at->micros, &row)
                        : store_lookup(session->db, &question.sender, &row);
    if (status != STATUS_OK)
        return session_db(session, status);
    record = make_record(row, false, &error);
    if (record != NULL) {
        ask(&question, record);
        status = at != NULL ? explain_past(session, &question, record)
                            : explain_all(session, &question, row, record);
    } else if (error != NULL) {
        status = session_say(session, STATUS_SYSTEM, "user %s: %s",
                             question.name.text, error);
    } else {
        status = session_say(session, STATUS_UNKNOWN, "no such user: %s",
                             question.name.text);
        closest_say(session, STORE_USER, question.name.text);
    }
    record_free(&record);
    PQclear(row);
    return status;
}

enum status
command_check(struct session *session, const struct arguments *arguments)
{
    struct past at;

    if (!past_option(session, arguments, "--at", &at))
        return STATUS_DATA;
    return check(session, arguments->value[0], arguments->value[1], NULL,
                 at.given ? &at : NULL);
}

/* A login has no sender to check: what is known of its user says enough. */
static enum status
explain_login(struct session *session, const struct logline *line)
{
    struct store_user user;
    struct user_name name;
    enum status status;
    bool enabled;

    if (!session_name(session, line->user, &name))
        return STATUS_DATA;
    status = store_show_user(session->db, name.text, &user);
    if (status == STATUS_UNKNOWN) {
        session_db(session, status);
        closest_say(session, STORE_USER, name.text);
        return status;
    }
    if (status != STATUS_OK)
        return session_db(session, status);
    enabled = PQgetvalue(user.user, 0, 0)[0] == 't';
    store_user_clear(&user);
    if (session->json)
        return session_json(session,
                            json_pack("{s:s, s:b, s:{s:s}}", "user",
                                      name.text, "enabled", enabled, "log",
                                      "verdict", line->verdict));
    printf("%s: user %s is %s\n", "login", name.text,
           enabled ? "enabled: if it failed, the password was another, or "
                     "none is set"
                   : "disabled");
    print_line("the log says", line->verdict);
    if (!enabled)
        printf("  to permit: mailadmin enable user %s\n", name.text);
    return STATUS_OK;
}

static enum status
check_line(struct session *session, const char *text)
{
    struct logline line;

    if (!logline_parse(text, &line))
        return session_say(session, STATUS_DATA,
                           "the line says nothing of a sender or a login: "
                           "neither Postfix's nor policyd's");
    if (line.cut)
        return session_say(session, STATUS_DATA,
                           "the log cut the user or the sender short");
    if (!line.has_user)
        return session_say(session, STATUS_DATA,
                           "the line does not say which user it was: %s",
                           line.verdict);
    if (line.login)
        return explain_login(session, &line);
    return check(session, line.user, line.sender, &line, NULL);
}

/* The words of a line, as one again; newly allocated. */
static char *
join(const struct arguments *arguments)
{
    size_t size = 1, i;
    char *line, *at;

    for (i = 0; i < arguments->rest_count; i++)
        size += strlen(arguments->rest[i]) + 1;
    line = at = malloc(size);
    if (line == NULL)
        return NULL;
    *at = '\0';
    for (i = 0; i < arguments->rest_count; i++)
        at += sprintf(at, "%s%s", i > 0 ? " " : "", arguments->rest[i]);
    return line;
}

enum status
command_check_log(struct session *session, const struct arguments *arguments)
{
    char *line = join(arguments);
    enum status status;

    if (line == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    status = check_line(session, line);
    free(line);
    return status;
}

/* Looks for the line with a reference in a log on standard input. */
static enum status
find_ref(struct session *session, const char *ref)
{
    enum input_result result;
    char *line;
    size_t len;

    if (session->lines || input_is_terminal(session->input))
        return session_say(session, STATUS_USAGE,
                           "give the line that has %s, or a log on standard "
                           "input", ref);
    while ((result = input_line(session->input, &line, &len)) != INPUT_END
           && result != INPUT_ERROR)
        if (result == INPUT_LINE && logline_has_ref(line, ref))
            return check_line(session, line);
    return session_say(session, STATUS_UNKNOWN,
                       "no line on standard input has the reference %s", ref);
}

enum status
command_check_ref(struct session *session, const struct arguments *arguments)
{
    char *line = join(arguments), ref[LOGLINE_REF];
    struct logline parsed;
    enum status status;

    if (line == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    if (logline_is_ref(line, ref))
        status = find_ref(session, ref);
    else if (logline_parse(line, &parsed) && parsed.has_user)
        status = check_line(session, line);
    else if (parsed.ref[0] != '\0')
        status = find_ref(session, parsed.ref);
    else
        status = session_say(session, STATUS_DATA,
                             "neither a reference nor a line that has one");
    free(line);
    return status;
}
