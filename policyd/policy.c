/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/clock.h"
#include "policyd/directory.h"
#include "policyd/policy.h"
#include "policyd/usage.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* The attributes that matter, in the order of names[]. */
enum { REQUEST, STATE, USERNAME, METHOD, SENDER, RECIPIENT, CLIENT, QUEUE_ID,
       INSTANCE, VALUES };

static const struct attr_name names[VALUES] = {
    [REQUEST] = ATTR_NAME(ATTR_REQUEST),
    [STATE] = ATTR_NAME("protocol_state"),
    [USERNAME] = ATTR_NAME("sasl_username"),
    [METHOD] = ATTR_NAME("sasl_method"),
    [SENDER] = ATTR_NAME("sender"),
    [RECIPIENT] = ATTR_NAME("recipient"),
    [CLIENT] = ATTR_NAME("client_address"),
    [QUEUE_ID] = ATTR_NAME("queue_id"),
    [INSTANCE] = ATTR_NAME("instance"),
};

#define REQUEST_WORD "smtpd_access_policy"
#define SHOWN_MAX 320 /* bytes of a value in the log */

/* A request that is being answered: its values in the connection's input or,
 * while it waits for the directory, in a copy. */
struct question {
    struct policy *policy;
    struct conn *conn;
    struct decide_text value[VALUES];
    uint64_t began; /* clock_boot_ns() */
};

/* A question that waits, with all it points to. */
struct waiting {
    struct directory_wait wait;
    struct question question;
    struct decide_verdict verdict; /* the normal forms that are asked for */
    char text[];
};

static struct decide_request
request_of(const struct question *question)
{
    struct decide_request request = {
        .protocol_state = question->value[STATE],
        .sasl_username = question->value[USERNAME],
        .sasl_method = question->value[METHOD],
        .sender = question->value[SENDER],
    };

    return request;
}

#define REFERENCE_LEN 6

/* What a refused mail client shows, for people to find the log line by: five
 * bits a letter, none that is mistaken for another. "" without randomness. */
static void
make_reference(char reference_r[static REFERENCE_LEN + 1])
{
    static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    unsigned char random[REFERENCE_LEN];
    size_t i;

    reference_r[0] = reference_r[REFERENCE_LEN] = '\0';
    if (getrandom(random, sizeof(random), GRND_NONBLOCK)
        != (ssize_t) sizeof(random))
        return;
    for (i = 0; i < REFERENCE_LEN; i++)
        reference_r[i] = letters[random[i] % 32];
}

static void
log_verdict(const struct question *question,
            const struct decide_verdict *verdict, const char *reference)
{
    static const struct {
        int value;
        const char *name;
    } shown[] = {{USERNAME, "user"}, {SENDER, "sender"},
                 {RECIPIENT, "recipient"}, {CLIENT, "client"},
                 {QUEUE_ID, "queue_id"}};
    char line[2048], text[SHOWN_MAX];
    size_t used = 0, i;

    line[0] = '\0';
    for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const struct decide_text *value = &question->value[shown[i].value];

        addr_printable(text, sizeof(text), value->text, value->len);
        used += (size_t) snprintf(line + used, sizeof(line) - used, " %s=%s",
                                  shown[i].name, text);
    }
    log_info("policy: %s:%s reason=%s us=%llu%s%s",
             decide_action_name(verdict->action), line,
             decide_reason_name(verdict->reason),
             (unsigned long long) ((clock_boot_ns() - question->began) / 1000),
             reference[0] ? " ref=" : "", reference);
}

/* Decides by what is known of the user, and takes that down. */
static void
conclude(const struct question *question, const struct decide_request *request,
         const struct decide_facts *facts, struct decide_verdict *verdict)
{
    const struct policy *policy = question->policy;
    int64_t now = (int64_t) time(NULL);

    decide_asked(&policy->options, request, facts, now, verdict);
    if (policy->usage != NULL && facts->state == DECIDE_USER_RECORD
        && verdict->action != DECIDE_DEFER
        && verdict->reason != DECIDE_DISABLED)
        usage_note(policy->usage, facts->record, verdict,
                   &question->value[SENDER], &question->value[INSTANCE], now);
}

static void
reply(const struct question *question, const struct decide_verdict *verdict)
{
    static const char permit[] = ATTR_ACTION "=" DECIDE_PERMIT_WORD "\n\n";
    struct policy *policy = question->policy;
    char action[DECIDE_REPLY_MAX], block[DECIDE_REPLY_MAX + 32];
    char reference[REFERENCE_LEN + 1] = "";
    struct attr_writer writer;
    size_t len;

    histogram_add(&policy->latency, clock_boot_ns() - question->began);
    policy->counts[verdict->reason][verdict->action < DECIDE_DEFER
                                        ? verdict->action
                                        : DECIDE_DEFER]++;
    if (policy->refusal_reference && verdict->action == DECIDE_REJECT)
        make_reference(reference);
    if (verdict->action != DECIDE_PERMIT || policy->log_permits)
        log_verdict(question, verdict, reference);
    if (verdict->action == DECIDE_PERMIT) { /* nearly all of them */
        conn_reply(question->conn, permit, sizeof(permit) - 1);
        return;
    }
    decide_reply(verdict, &question->value[USERNAME], action);
    if (reference[0] != '\0') {
        len = strlen(action);
        snprintf(action + len, sizeof(action) - len, " (ref %s)", reference);
    }
    attr_writer_init(&writer, block, sizeof(block));
    attr_write(&writer, ATTR_ACTION, action, strlen(action));
    len = attr_write_end(&writer);
    conn_reply(question->conn, block, len);
}

static void
on_answer(struct directory_wait *wait, const struct decide_facts *facts)
{
    struct waiting *waiting = (struct waiting *) wait;
    struct question *question = &waiting->question;
    struct decide_request request = request_of(question);

    conclude(question, &request, facts, &waiting->verdict);
    reply(question, &waiting->verdict);
    free(waiting);
}

static void
on_cancel(void *context)
{
    struct waiting *waiting = context;

    directory_cancel(&waiting->wait);
    free(waiting);
}

/* Copies a question and what it points to. */
static struct waiting *
copy_question(const struct question *question,
              const struct decide_verdict *verdict)
{
    struct waiting *waiting;
    size_t size = 0, i;
    char *at;

    for (i = 0; i < VALUES; i++)
        size += question->value[i].len;
    waiting = calloc(1, sizeof(*waiting) + size);
    if (waiting == NULL)
        return NULL;
    waiting->question = *question;
    waiting->verdict = *verdict;
    waiting->wait.answered = on_answer;
    at = waiting->text;
    for (i = 0; i < VALUES; i++) {
        if (question->value[i].len > 0)
            memcpy(at, question->value[i].text, question->value[i].len);
        waiting->question.value[i].text = at;
        at += question->value[i].len;
    }
    return waiting;
}

/* What the directory is asked; points into the verdict. */
static struct directory_question
asked_for(const struct decide_verdict *verdict)
{
    struct directory_question asked = {
        .user = &verdict->user,
        .sender = verdict->sender.len > 0 ? &verdict->sender : NULL,
        .stripped = verdict->has_stripped ? &verdict->stripped : NULL,
    };

    return asked;
}

/* Has the database asked; answers at once when that cannot be. */
static enum server_handled
ask(const struct question *question, const struct decide_verdict *verdict)
{
    struct waiting *waiting = copy_question(question, verdict);
    struct directory_question asked;
    struct decide_facts facts;

    if (waiting == NULL) {
        struct decide_verdict defer = {.action = DECIDE_DEFER,
                                       .reason = DECIDE_UNAVAILABLE};

        reply(question, &defer);
        return SERVER_ANSWERED;
    }
    asked = asked_for(&waiting->verdict);
    if (!directory_ask(question->policy->directory, &asked, &facts,
                       &waiting->wait)) {
        conn_set_waiting(question->conn, on_cancel, waiting);
        return SERVER_WAITING;
    }
    on_answer(&waiting->wait, &facts);
    return SERVER_ANSWERED;
}

static enum server_handled
handle(void *context, struct conn *conn, char *buf,
       const struct attr_value *values, const char **error_r)
{
    struct policy *policy = context;
    struct question question = {policy, conn, {{0}}, 0};
    struct decide_facts facts = {.state = DECIDE_NOT_ASKED};
    struct decide_request request;
    struct decide_verdict verdict;
    size_t i;

    for (i = 0; i < VALUES; i++) {
        question.value[i].text = buf + values[i].offset;
        question.value[i].len = values[i].len;
    }
    if (question.value[REQUEST].len != strlen(REQUEST_WORD)
        || memcmp(question.value[REQUEST].text, REQUEST_WORD,
                  strlen(REQUEST_WORD))
               != 0) {
        *error_r = "not a request=" REQUEST_WORD;
        return SERVER_CLOSE;
    }
    /* With very many users that memory is far: 0.05 us less to wait for. */
    directory_expect(policy->directory, question.value[USERNAME].text,
                     question.value[USERNAME].len);
    question.began = clock_boot_ns();
    request = request_of(&question);
    decide(&policy->options, &request, &facts, 0, &verdict);
    if (verdict.action == DECIDE_ASK) {
        struct directory_question asked = asked_for(&verdict);

        /* One look at the clock serves both: it is a hundredth of all that an
         * answer costs. */
        if (!directory_peek(policy->directory, &asked,
                            clock_ms(question.began), &facts))
            return ask(&question, &verdict);
        conclude(&question, &request, &facts, &verdict);
    }
    reply(&question, &verdict);
    return SERVER_ANSWERED;
}

const struct protocol policy_protocol = {
    .name = "policy",
    .names = names,
    .names_count = VALUES,
    .handle = handle,
};
