/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/usage.h"

#include "lib/conf.h"
#include "lib/record.h"

#include "mailadmin/grammar.h"
#include "mailadmin/session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY 86400

enum status
usage_since(struct session *session, const struct arguments *arguments,
            int days, int64_t *since_r)
{
    const char *text = grammar_value(arguments, "--since");
    int64_t now = (int64_t) time(NULL), span = (int64_t) days * DAY;

    if (text != NULL && moment_parse(text, since_r))
        return STATUS_OK;
    if (text != NULL && !moment_parse_span(text, &span))
        return session_say(session, STATUS_DATA,
                           "bad time: neither a span such as 7d nor "
                           "YYYY-MM-DD nor YYYY-MM-DDTHH:MM (in UTC)");
    *since_r = now - span;
    return STATUS_OK;
}

int64_t
usage_number(const PGresult *result, int row, int column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

int64_t
usage_recorded(struct session *session, const PGresult *state, int64_t since)
{
    char moment[MOMENT_SIZE];
    int64_t recorded;

    if (PQntuples(state) == 0 || PQgetisnull(state, 0, 0)) {
        session_add(session, "usage was never recorded (see record_usage in "
                             "emailing.conf)");
        return 0;
    }
    recorded = usage_number(state, 0, 0);
    moment_format(recorded, moment);
    if (recorded > since)
        session_add(session, "usage is recorded since %s only", moment);
    return recorded;
}

int
usage_rows(const struct store_usage *usage, int user, int *row_r)
{
    int rows = PQntuples(usage->observed), count = 0;
    int64_t id = usage_number(usage->users, user, USAGE_USER);

    while (*row_r < rows
           && usage_number(usage->observed, *row_r, USAGE_OF) < id)
        ++*row_r;
    while (*row_r + count < rows
           && usage_number(usage->observed, *row_r + count, USAGE_OF) == id)
        count++;
    return count;
}

enum usage_form
usage_form(const struct store_usage *usage, int row)
{
    const char *form = PQgetvalue(usage->observed, row, USAGE_FORM);
    const char *sender = PQgetvalue(usage->observed, row, USAGE_SENDER);

    if (strcmp(form, "null") == 0)
        return USAGE_NULL;
    if (strcmp(form, "malformed") == 0)
        return USAGE_MALFORMED;
    return strcmp(form, "more") == 0 && strcmp(sender, "*") == 0
               ? USAGE_MORE
               : USAGE_ADDRESS;
}

/* Whether a line of grants is of that kind and object. */
static bool
grants(const char *line, size_t len, enum store_kind kind, const char *object)
{
    const char *text = memchr(line + 2, ' ', len - 2);
    size_t object_len = strlen(object);

    return (line[0] == 'a') == (kind == STORE_ADDRESS) && text != NULL
           && (size_t) (line + len - (text + 1)) == object_len
           && memcmp(text + 1, object, object_len) == 0;
}

/* The lines but those of the object, newly allocated. */
static char *
leave_out(const char *lines, enum store_kind kind, const char *object)
{
    char *copy = malloc(strlen(lines) + 1), *to = copy;
    const char *line = lines;

    while (copy != NULL && *line != '\0') {
        size_t len = strcspn(line, "\n");

        if (!grants(line, len, kind, object)) {
            memcpy(to, line, len);
            to += len;
            *to++ = '\n';
        }
        line += len + (line[len] == '\n');
    }
    /* The last of the lines may have gained its newline. */
    if (copy != NULL)
        *(to > copy ? to - 1 : to) = '\0';
    return copy;
}

struct record *
usage_record(struct session *session, const struct store_usage *usage,
             int user, enum store_kind kind, const char *without)
{
    const char *lines = PQgetvalue(usage->users, user, USAGE_GRANTS);
    const char *error = "out of memory";
    struct record_source source = {
        .id = usage_number(usage->users, user, USAGE_USER),
        .enabled = true,
    };
    struct record *record = NULL;
    char *rest = NULL;

    if (without != NULL)
        lines = rest = leave_out(lines, kind, without);
    if (lines != NULL) {
        source.grants = lines;
        source.grants_len = strlen(lines);
        record = record_new(&source, &error);
    }
    if (record == NULL)
        session_say(session, STATUS_SYSTEM, "user %s: %s",
                    PQgetvalue(usage->users, user, USAGE_NAME), error);
    free(rest);
    return record;
}

void
usage_decide(const struct session *session, const char *user,
             const struct record *record, const char *sender,
             struct decide_verdict *verdict_r)
{
    struct decide_options options = conf_decide_options(session->conf);
    struct decide_request request = {
        .protocol_state = {"RCPT", 4},
        .sasl_method = {"PLAIN", 5},
        .sasl_username = {user, strlen(user)},
        .sender = {sender, strlen(sender)},
    };
    struct decide_facts facts = {.state = DECIDE_USER_RECORD,
                                 .record = record};

    decide(&options, &request, &facts, (int64_t) time(NULL), verdict_r);
}
