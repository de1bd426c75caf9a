/* SPDX-License-Identifier: MIT */
/*
 * The policy socket: four bytes of choices, then the bytes of a client. Each
 * whole request gets exactly one reply, the one that the reference gives, and
 * no database trouble ever makes a permit of what it would refuse.
 */
#include "config.h"

#include "t/fuzz/fake.h"
#include "t/fuzz/reference.h"
#include "t/fuzz/stream.h"
#include "policyd/clock.h"
#include "policyd/directory.h"
#include "policyd/policy.h"
#include "policyd/usage.h"
#include "lib/log.h"

#include <time.h>

enum { REQUEST, STATE, USER, METHOD, SENDER, RECIPIENT, CLIENT, QUEUE_ID,
       INSTANCE };
static const char *const names[STREAM_VALUES] = {
    "request", "protocol_state", "sasl_username", "sasl_method", "sender",
    "recipient", "client_address", "queue_id", "instance"};

static char replies[STREAM_MAX];

struct choices {
    struct fake_script script;
    struct stream_choices stream;
    struct decide_options options;
    bool live, tildes, log_permits, cache;
};

static void
choose(struct piece *input, struct choices *choices)
{
    unsigned int database = fuzz_choices(input);
    unsigned int piece = fuzz_choices(input);
    unsigned int rules = fuzz_choices(input);
    unsigned int client = fuzz_choices(input);

    choices->script = (struct fake_script){.gone = database & 1,
                                           .fails = database & 2,
                                           .backwards = database & 8};
    choices->live = !(database & 4);
    choices->stream.piece = piece % 64;
    choices->stream.half_close = client & 1;
    choices->stream.leave = client & 2;
    choices->stream.read_late = client & 4;
    choices->log_permits = client & 8;
    choices->options.reject_unauthenticated = rules & 1;
    choices->options.permit_null_sender = rules & 2;
    choices->options.recipient_delimiter =
        rules & 4 ? "+" : rules & 8 ? "+-" : "";
    choices->tildes = rules & 16;
    choices->cache = !(rules & 32);
}

/* Whether the action is one of the closed set; 0 permit, 4 or 5. */
static int
read_action(const struct piece *reply)
{
    const char *text = reply->text + strlen("action=");

    CHECK(reply->len > 7 && memcmp(reply->text, "action=", 7) == 0);
    CHECK(is_printable(reply->text, reply->len));
    if (reply->len == 12 && memcmp(text, "DUNNO", 5) == 0)
        return 0;
    CHECK(reply->len > 17);
    if (memcmp(text, "451 4.3.0 ", 10) == 0)
        return 4;
    CHECK(memcmp(text, "553 5.7.1 ", 10) == 0);
    return 5;
}

static void
check_action(int action, const struct choices *choices,
             const struct piece *values)
{
    struct reference_record record;
    struct reference_case rcase = {
        choices->options.reject_unauthenticated,
        choices->options.permit_null_sender,
        choices->options.recipient_delimiter,
        values[STATE],
        values[USER],
        values[METHOD],
        values[SENDER],
        (int64_t) time(NULL),
    };
    enum reference_answer answer;
    char name[129];
    bool trouble = choices->script.gone || choices->script.fails;

    if (reference_asks(&rcase, &answer, name)) {
        fake_record(name, &record);
        answer = reference_decide(&rcase, &record);
    } else {
        trouble = false;
    }
    if (trouble && action == 4)
        return;
    CHECK(action == (answer == REFERENCE_PERMIT ? 0 : 5));
}

static void
check_replies(struct piece bytes, struct piece got, bool closed,
              const struct choices *choices)
{
    struct piece values[STREAM_VALUES], reply;
    bool good = true;

    while ((good = stream_request(&bytes, names, STREAM_VALUES, values))) {
        if (!piece_is(&values[REQUEST], "smtpd_access_policy"))
            break;
        if (!stream_reply(&got, &reply)) {
            CHECK(choices->stream.leave);
            return;
        }
        check_action(read_action(&reply), choices, values);
    }
    CHECK(got.len == 0);
    CHECK(!good || closed || choices->stream.leave);
}

/* Usage is noted of all inputs, by one recorder on a loop of its own. */
static struct usage *
recorder(uv_loop_t **loop_r)
{
    static struct usage *usage;
    static uv_loop_t loop;

    *loop_r = &loop;
    if (usage == NULL) {
        CHECK(uv_loop_init(&loop) == 0);
        usage = usage_new(&loop, fake_db());
        CHECK(usage != NULL);
    }
    return usage;
}

/* Hands over what was noted, to a database that takes it or not. */
static void
hand_over(struct usage *usage, uv_loop_t *loop)
{
    usage_finish(usage);
    while (usage_busy(usage)) {
        uv_run(loop, UV_RUN_NOWAIT);
        fake_step();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size}, bytes;
    struct directory_options options = {1 << 20, 60, 300};
    struct choices choices = {.live = false};
    struct policy policy = {.directory = NULL};
    uv_loop_t *loop;
    size_t len = 0;
    bool closed;

    log_open("fuzz", LOG_TO_STDERR, LOG_LEVEL_ERROR);
    choose(&input, &choices);
    bytes = stream_expand(input, choices.tildes);
    fake_reset(&choices.script);
    if (!choices.cache)
        options.cache_bytes = 0;
    policy.directory = directory_new(fake_db(), &options);
    CHECK(policy.directory != NULL);
    directory_heard(policy.directory, choices.live ? clock_boot_ms() : 0);
    policy.options = choices.options;
    policy.log_permits = choices.log_permits;
    policy.usage = recorder(&loop);
    closed = stream_run(&policy_protocol, &policy, bytes, &choices.stream,
                        replies, &len);
    check_replies(bytes, (struct piece){replies, len}, closed, &choices);
    hand_over(policy.usage, loop);
    directory_free(&policy.directory);
    free((char *) bytes.text);
    return 0;
}
