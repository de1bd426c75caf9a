/* SPDX-License-Identifier: MIT */
/*
 * Reads cases on standard input, decides them, and writes one line for each:
 * action, reason and reply. A case is lines of "name value", the value with
 * \xNN for what is not printable, ended by an empty line. "grant" comes any
 * number of times. A line that it does not know ends it with status 1.
 */
#include "config.h"

#include "lib/decide.h"
#include "lib/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 65536
#define GRANTS_SIZE 65536

struct text {
    char bytes[LINE_SIZE];
    size_t len;
};

static struct text state, user, method, sender, delimiter;
static char grants[GRANTS_SIZE];
static size_t grants_len;
static bool reject_unauthenticated, permit_null_sender, disabled, stale,
    observe;
static enum decide_facts_state facts_state;
static long long now;

static void
reset(void)
{
    state.len = user.len = method.len = sender.len = delimiter.len = 0;
    grants_len = 0;
    reject_unauthenticated = permit_null_sender = disabled = stale = false;
    observe = false;
    facts_state = DECIDE_NOT_ASKED;
    now = 0;
}

static void
unescape(const char *from, struct text *to)
{
    to->len = 0;
    while (*from != '\0') {
        unsigned int byte;

        if (sscanf(from, "\\x%2x", &byte) == 1) {
            to->bytes[to->len++] = (char) byte;
            from += 4;
        } else {
            to->bytes[to->len++] = *from++;
        }
    }
    to->bytes[to->len] = '\0';
}

static bool
read_facts(const char *value)
{
    static const char *const names[] = {"not-asked", "cannot-ask", "unknown",
                                        "record"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(value, names[i]) == 0)
            facts_state = (enum decide_facts_state) i;
    return true;
}

/* False when there is no such name. */
static bool
read_line(const char *name, const char *value)
{
    static struct text grant;

    if (strcmp(name, "state") == 0)
        unescape(value, &state);
    else if (strcmp(name, "user") == 0)
        unescape(value, &user);
    else if (strcmp(name, "method") == 0)
        unescape(value, &method);
    else if (strcmp(name, "sender") == 0)
        unescape(value, &sender);
    else if (strcmp(name, "delimiter") == 0)
        unescape(value, &delimiter);
    else if (strcmp(name, "now") == 0)
        now = atoll(value);
    else if (strcmp(name, "reject-unauthenticated") == 0)
        reject_unauthenticated = true;
    else if (strcmp(name, "permit-null-sender") == 0)
        permit_null_sender = true;
    else if (strcmp(name, "disabled") == 0)
        disabled = true;
    else if (strcmp(name, "stale") == 0)
        stale = true;
    else if (strcmp(name, "observe") == 0)
        observe = true;
    else if (strcmp(name, "facts") == 0)
        return read_facts(value);
    else if (strcmp(name, "grant") == 0) {
        unescape(value, &grant);
        if (grants_len + grant.len + 1 > sizeof(grants))
            return false;
        memcpy(grants + grants_len, grant.bytes, grant.len);
        grants_len += grant.len;
        grants[grants_len++] = '\n';
    } else
        return false;
    return true;
}

/* An empty value is passed as nothing at all, as one that did not come. */
static struct decide_text
pass(const struct text *text)
{
    struct decide_text passed = {text->len > 0 ? text->bytes : NULL,
                                 text->len};

    return passed;
}

static bool
answer(void)
{
    struct record_source source = {.enabled = !disabled, .grants = grants,
                                   .grants_len = grants_len};
    struct decide_options options = {reject_unauthenticated,
                                     permit_null_sender,
                                     delimiter.len ? delimiter.bytes : "",
                                     observe};
    struct decide_request request = {pass(&state), pass(&user), pass(&method),
                                     pass(&sender)};
    struct decide_facts facts = {facts_state, NULL, stale};
    struct decide_verdict verdict;
    char reply[DECIDE_REPLY_MAX];
    struct record *record = NULL;
    const char *error;

    if (facts_state == DECIDE_USER_RECORD) {
        record = record_new(&source, &error);
        if (record == NULL) {
            fprintf(stderr, "decide_cli: %s\n", error);
            return false;
        }
        facts.record = record;
    }
    decide(&options, &request, &facts, now, &verdict);
    decide_reply(&verdict, &request.sasl_username, reply);
    printf("%s %s %s\n",
           verdict.action == DECIDE_ASK ? "ask"
                                        : decide_action_name(verdict.action),
           decide_reason_name(verdict.reason), reply);
    record_free(&record);
    return true;
}

int
main(void)
{
    static char line[LINE_SIZE];

    reset();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *value;

        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0') {
            if (!answer())
                return 1;
            reset();
            continue;
        }
        value = strchr(line, ' ');
        if (value != NULL)
            *value++ = '\0';
        if (!read_line(line, value ? value : "")) {
            fprintf(stderr, "decide_cli: no such name: %s\n", line);
            return 1;
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
