/* SPDX-License-Identifier: MIT */
/*
 * The auth socket: four bytes of choices, then the bytes of the plugin. "ok"
 * goes to the right password of an enabled user and to nothing else.
 */
#include "config.h"

#include "t/fuzz/fake.h"
#include "t/fuzz/stream.h"
#include "policyd/auth.h"
#include "policyd/clock.h"
#include "policyd/directory.h"
#include "policyd/throttle.h"
#include "lib/log.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <unistd.h>

enum { REQUEST, USER, PASSWORD, CLIENT, SERVICE, VALUES };
static const char *const names[VALUES] = {"request", "user", "password",
                                          "client", "service"};

#define THROTTLE_RUNS 64 /* that share one, which is costly to make */

static char replies[STREAM_MAX];
static struct throttle *throttle;
static unsigned int runs;

struct choices {
    struct fake_script script;
    struct stream_choices stream;
    bool live, tildes, scram;
    enum conf_legacy_md5 legacy_md5;
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
                                           .backwards = database & 8,
                                           .overload = database & 16};
    choices->live = !(database & 4);
    choices->stream.piece = piece % 64;
    choices->stream.half_close = client & 1;
    choices->stream.leave = client & 2;
    choices->stream.read_late = client & 4;
    choices->scram = rules & 1;
    choices->legacy_md5 = rules & 2   ? CONF_MD5_REFUSE
                          : rules & 4 ? CONF_MD5_VERIFY
                                      : CONF_MD5_UPGRADE;
    choices->tildes = rules & 16;
}

/* Whether the request names a user and that user's password. */
static bool
is_right(const struct piece *values)
{
    unsigned char raw[STREAM_MAX];
    char name[129], *text;
    int n;
    size_t i;
    bool right;

    if (values[USER].len > 128 || values[PASSWORD].len > STREAM_MAX
        || values[PASSWORD].len % 4 != 0)
        return false;
    for (i = 0; i < values[USER].len; i++)
        name[i] = (char) tolower((unsigned char) values[USER].text[i]);
    name[i] = '\0';
    text = piece_copy(&values[PASSWORD]);
    n = EVP_DecodeBlock(raw, (unsigned char *) text,
                        (int) values[PASSWORD].len);
    for (i = values[PASSWORD].len; n > 0 && i > 0 && text[i - 1] == '='; i--)
        n--;
    right = n > 0 && fake_login(name, (char *) raw, (size_t) n);
    free(text);
    return right;
}

/* The word behind "status="; the verifier, if any, in verifier_r. */
static struct piece
read_status(struct piece reply, struct piece *verifier_r)
{
    struct piece line, status = {"", 0};

    CHECK(fuzz_line(&reply, &line));
    CHECK(line.len > 7 && memcmp(line.text, "status=", 7) == 0);
    status.text = line.text + 7;
    status.len = line.len - 7;
    *verifier_r = (struct piece){"", 0};
    if (fuzz_line(&reply, &line)) {
        CHECK(line.len > 9 && memcmp(line.text, "verifier=", 9) == 0);
        verifier_r->text = line.text + 9;
        verifier_r->len = line.len - 9;
    }
    CHECK(reply.len == 0);
    return status;
}

static void
check_reply(struct piece reply, const struct choices *choices,
            const struct piece *values)
{
    struct piece verifier, status = read_status(reply, &verifier);
    bool ok = piece_is(&status, "ok"), denied = piece_is(&status, "denied");

    CHECK(ok || denied || piece_is(&status, "unavailable"));
    if (piece_is(&values[REQUEST], "verifier")) {
        CHECK(ok == (verifier.len > 0));
        CHECK(!ok || choices->scram);
        CHECK(!ok || memcmp(verifier.text, "SCRAM-SHA-256$", 14) == 0);
        return;
    }
    CHECK(verifier.len == 0);
    CHECK(!ok || (is_right(values)
                  && choices->legacy_md5 != CONF_MD5_REFUSE));
    CHECK(!denied || !is_right(values)
          || choices->legacy_md5 == CONF_MD5_REFUSE);
}

static void
check_replies(struct piece bytes, struct piece got, bool closed,
              const struct choices *choices)
{
    struct piece values[VALUES], reply;
    bool good = true;

    while ((good = stream_request(&bytes, names, VALUES, values))) {
        if (!piece_is(&values[REQUEST], "auth")
            && !piece_is(&values[REQUEST], "verifier"))
            break;
        if (!stream_reply(&got, &reply)) {
            CHECK(choices->stream.leave);
            return;
        }
        check_reply(reply, choices, values);
    }
    CHECK(got.len == 0);
    CHECK(!good || closed || choices->stream.leave);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size}, bytes;
    struct directory_options options = {1 << 20, 60, 300};
    struct choices choices = {.live = false};
    struct auth auth = {.db = fake_db(), .hashes = fake_hashes(),
                        .clients = {getuid()}, .clients_count = 1,
                        .secret_policy = {SECRET_SCRAM_SHA_256, 4096}};
    size_t len = 0;
    bool closed;

    log_open("fuzz", LOG_TO_STDERR, LOG_LEVEL_ERROR);
    choose(&input, &choices);
    bytes = stream_expand(input, choices.tildes);
    fake_reset(&choices.script);
    auth.directory = directory_new(fake_db(), &options);
    if (runs++ % THROTTLE_RUNS == 0) {
        throttle_free(&throttle);
        throttle = throttle_new();
    }
    auth.throttle = throttle;
    CHECK(auth.directory != NULL && throttle != NULL);
    directory_heard(auth.directory, choices.live ? clock_boot_ms() : 0);
    auth.scram = choices.scram;
    auth.legacy_md5 = choices.legacy_md5;
    closed = stream_run(&auth_protocol, &auth, bytes, &choices.stream,
                        replies, &len);
    check_replies(bytes, (struct piece){replies, len}, closed, &choices);
    directory_free(&auth.directory);
    free((char *) bytes.text);
    return 0;
}
