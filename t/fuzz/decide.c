/* SPDX-License-Identifier: MIT */
/*
 * decide() and record_new() against the reference. A line each: choices
 * (letters: r n d s k), state, user, method, sender, delimiters, the present
 * second; then grants, one per line.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "t/fuzz/reference.h"
#include "lib/decide.h"
#include "lib/record.h"

static bool
chosen(const struct piece *choices, char letter)
{
    return choices->len > 0
           && memchr(choices->text, letter, choices->len) != NULL;
}

static struct decide_text
text_of(const struct piece *piece)
{
    struct decide_text text = {piece->text, piece->len};

    return text;
}

/* What every verdict must be, whatever it is. */
static void
check_reply(const struct decide_verdict *verdict,
            const struct decide_request *request)
{
    char reply[DECIDE_REPLY_MAX];

    memset(reply, 0x5a, sizeof(reply));
    decide_reply(verdict, &request->sasl_username, reply);
    CHECK(memchr(reply, '\0', sizeof(reply)) != NULL);
    CHECK(is_printable(reply, strlen(reply)));
    if (verdict->action == DECIDE_PERMIT)
        CHECK(strcmp(reply, "DUNNO") == 0);
    else if (verdict->action == DECIDE_REJECT)
        CHECK(strncmp(reply, "553 5.7.1 ", 10) == 0 && strlen(reply) > 10);
    else
        CHECK(strncmp(reply, "451 4.3.0 ", 10) == 0 && strlen(reply) > 10);
    CHECK(strcmp(decide_action_name(verdict->action), "") != 0);
    CHECK(strcmp(decide_reason_name(verdict->reason), "none") != 0
          || verdict->action == DECIDE_ASK);
}

struct world {
    struct decide_options options;
    struct decide_request request;
    struct decide_facts facts;
    struct reference_case rcase;
    struct reference_record rrecord;
};

static enum decide_action
decide_in(const struct world *world)
{
    struct decide_verdict verdict;

    decide(&world->options, &world->request, &world->facts, world->rcase.now,
           &verdict);
    check_reply(&verdict, &world->request);
    return verdict.action;
}

/* The verdict under every state of knowledge there is. */
static void
compare(struct world *world)
{
    enum reference_answer answer, known;
    char name[129];
    bool asks = reference_asks(&world->rcase, &answer, name);
    enum decide_action action, expected;

    expected = answer == REFERENCE_PERMIT ? DECIDE_PERMIT : DECIDE_REJECT;
    world->facts.state = DECIDE_NOT_ASKED;
    action = decide_in(world);
    CHECK(action == (asks ? DECIDE_ASK : expected));
    world->facts.state = DECIDE_CANNOT_ASK;
    action = decide_in(world);
    CHECK(action == (asks ? DECIDE_DEFER : expected));
    if (!asks)
        return;
    known = reference_decide(&world->rcase, &world->rrecord);
    expected = known == REFERENCE_PERMIT ? DECIDE_PERMIT : DECIDE_REJECT;
    world->facts.state = world->facts.record != NULL ? DECIDE_USER_RECORD
                                                     : DECIDE_USER_UNKNOWN;
    CHECK(decide_in(world) == expected);
    world->facts.stale = true;
    CHECK(decide_in(world)
          == (known == REFERENCE_PERMIT ? DECIDE_PERMIT : DECIDE_DEFER));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size};
    struct piece line[7] = {{NULL, 0}};
    struct record_source source = {.id = 1};
    struct world world = {.rcase = {.now = 0}};
    struct record *record = NULL;
    const char *error;
    char *delimiters, *now;
    bool readable;
    size_t i;

    for (i = 0; i < 7 && fuzz_line(&input, &line[i]); i++)
        ;
    delimiters = piece_copy(&line[5]);
    now = piece_copy(&line[6]);
    world.options.reject_unauthenticated =
        world.rcase.reject_unauthenticated = chosen(&line[0], 'r');
    world.options.permit_null_sender = world.rcase.permit_null_sender =
        chosen(&line[0], 'n');
    world.options.recipient_delimiter = world.rcase.delimiters = delimiters;
    world.request.protocol_state = text_of(&line[1]);
    world.request.sasl_username = text_of(&line[2]);
    world.request.sasl_method = text_of(&line[3]);
    world.request.sender = text_of(&line[4]);
    world.rcase.state = line[1];
    world.rcase.user = line[2];
    world.rcase.method = line[3];
    world.rcase.sender = line[4];
    world.rcase.now = strtoll(now, NULL, 10);
    source.enabled = world.rrecord.enabled = !chosen(&line[0], 'd');
    source.grants = input.text;
    source.grants_len = input.len;
    readable = reference_read_grants(input, &world.rrecord);
    world.rrecord.known = !chosen(&line[0], 'k');
    if (world.rrecord.known) {
        record = record_new(&source, &error);
        CHECK((record == NULL) == (error != NULL));
        CHECK(record != NULL || !readable);
        if (readable)
            CHECK(record_grants(record) == world.rrecord.count);
    }
    world.facts.record = record;
    if (readable)
        compare(&world);
    record_free(&record);
    free(delimiters);
    free(now);
    return 0;
}
