/* SPDX-License-Identifier: MIT */
/*
 * Whoever owns the tables can write the whole chain anew. Who has noted its
 * head elsewhere will see it: the head depends on all that came before.
 */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/output.h"
#include "mailadmin/past.h"
#include "mailadmin/session.h"
#include "mailadmin/store_audit.h"
#include "mailadmin/store_verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS, LINKS, BEGINS, HEAD_NUMBER, HEAD_HASH, ANCHOR };

#define HASH_DIGITS 64

/* A head as it is noted: NUMBER:HASH. */
struct head {
    char number[20];
    char hash[HASH_DIGITS + 1];
};

static bool
read_head(struct session *session, const char *text, struct head *head_r)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits >= sizeof(head_r->number)
        || text[digits] != ':' || strlen(text + digits + 1) != HASH_DIGITS
        || strspn(text + digits + 1, "0123456789abcdef") != HASH_DIGITS) {
        session_say(session, STATUS_DATA,
                    "bad head: it is what audit verify printed, NUMBER:HASH");
        return false;
    }
    snprintf(head_r->number, sizeof(head_r->number), "%.*s", (int) digits,
             text);
    snprintf(head_r->hash, sizeof(head_r->hash), "%s", text + digits + 1);
    return true;
}

/* What becomes of a verification. */
struct report {
    json_t *findings; /* in JSON; else they are printed */
    size_t count;
};

static void
report(struct report *report, const char *text)
{
    report->count++;
    if (report->findings != NULL) {
        json_array_append_new(report->findings, json_string(text));
        return;
    }
    output_text(stdout, text);
    putchar('\n');
}

static void
report_findings(struct report *to, const struct store_verify *verify)
{
    size_t i;
    int row, count;

    for (i = 0; i < STORE_CHECKS; i++) {
        count = PQntuples(verify->findings[i]);
        for (row = 0; row < count; row++)
            report(to, PQgetvalue(verify->findings[i], row, 0));
        if (count == STORE_FINDINGS)
            report(to, "and perhaps more of that kind");
    }
}

/* Compares with a head that was noted. STATUS_NOT_KEPT when it is older than
 * what is kept, so that nothing can be said. */
static enum status
compare_head(struct session *session, struct report *to,
             const struct store_verify *verify, const struct head *noted)
{
    char text[128];
    bool found = PQntuples(verify->noted) > 0;
    long long number = strtoll(noted->number, NULL, 10);
    long long anchor = strtoll(PQgetvalue(verify->summary, 0, ANCHOR), NULL,
                               10);

    if (number < anchor)
        return session_say(session, STATUS_NOT_KEPT,
                           "link %s was pruned: the audit begins after link "
                           "%lld, at %s", noted->number, anchor,
                           PQgetvalue(verify->summary, 0, BEGINS));
    if (!found)
        snprintf(text, sizeof(text),
                 "link %s was noted and is missing: the end was removed",
                 noted->number);
    else if (strcmp(PQgetvalue(verify->noted, 0, 0), noted->hash) != 0)
        snprintf(text, sizeof(text),
                 "link %s was noted with another hash: it was written anew",
                 noted->number);
    else
        return STATUS_OK;
    report(to, text);
    return STATUS_OK;
}

static enum status
print_summary(struct session *session, const struct report *of,
              const struct store_verify *verify)
{
    const PGresult *summary = verify->summary;
    bool intact = of->count == 0;
    char head[sizeof(struct head) + 2];

    snprintf(head, sizeof(head), "%s:%s",
             PQgetvalue(summary, 0, HEAD_NUMBER),
             PQgetvalue(summary, 0, HEAD_HASH));
    if (session->json)
        return session_json(
            session,
            json_pack("{s:b, s:I, s:I, s:s, s:s, s:O}", "intact", intact,
                      "rows",
                      (json_int_t) strtoll(PQgetvalue(summary, 0, ROWS), NULL,
                                           10),
                      "links",
                      (json_int_t) strtoll(PQgetvalue(summary, 0, LINKS),
                                           NULL, 10),
                      "begins", PQgetvalue(summary, 0, BEGINS), "head", head,
                      "findings", of->findings));
    output_word(stdout, intact ? "intact" : "not intact",
                intact ? OUTPUT_GOOD : OUTPUT_BAD);
    printf(": %s rows in %s links, from %s on\nhead: %s\n",
           PQgetvalue(summary, 0, ROWS), PQgetvalue(summary, 0, LINKS),
           PQgetvalue(summary, 0, BEGINS), head);
    return STATUS_OK;
}

enum status
command_audit_verify(struct session *session,
                     const struct arguments *arguments)
{
    const char *text = grammar_value(arguments, "--head");
    struct report to = {.findings = session->json ? json_array() : NULL};
    struct store_verify verify;
    enum status status, head = STATUS_OK;
    struct head noted;

    if (text != NULL && !read_head(session, text, &noted)) {
        json_decref(to.findings);
        return STATUS_DATA;
    }
    status = store_verify(session->db, text != NULL ? noted.number : NULL,
                          &verify);
    if (status == STATUS_OK) {
        report_findings(&to, &verify);
        if (text != NULL)
            head = compare_head(session, &to, &verify, &noted);
        status = print_summary(session, &to, &verify);
    } else {
        session_db(session, status);
    }
    store_verify_clear(&verify);
    json_decref(to.findings);
    if (status != STATUS_OK)
        return status;
    return to.count > 0 ? STATUS_REFUSED : head;
}

/* What was tampered with is evidence, not to be forgotten by accident. */
static enum status
look_first(struct session *session)
{
    struct store_verify verify;
    enum status status = store_verify(session->db, NULL, &verify);
    size_t i;

    if (status != STATUS_OK)
        return session_db(session, status);
    for (i = 0; i < STORE_CHECKS && status == STATUS_OK; i++)
        if (PQntuples(verify.findings[i]) > 0)
            status = session_say(session, STATUS_REFUSED,
                                 "the audit is not intact, nothing was pruned "
                                 "(see: mailadmin audit verify)");
    store_verify_clear(&verify);
    return status;
}

enum status
command_audit_prune(struct session *session,
                    const struct arguments *arguments)
{
    struct past before;
    enum status status;
    int64_t rows;

    if (!past_parse(session, arguments->value[0], &before))
        return STATUS_DATA;
    status = look_first(session);
    if (status != STATUS_OK)
        return status;
    status = store_audit_prune(session->db, &before, &rows);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json)
        return session_json(session,
                            json_pack("{s:s, s:b, s:I}", "command",
                                      "audit prune", "changed", rows > 0,
                                      "rows", (json_int_t) rows));
    if (rows == 0)
        session_say(session, STATUS_OK, "nothing is older than %s",
                    before.text);
    return STATUS_OK;
}
