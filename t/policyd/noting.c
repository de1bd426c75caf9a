/* SPDX-License-Identifier: MIT */
/*
 * What is noted is handed over, each message once: decisions at random, and
 * batches in between, held against sums of the same decisions.
 */
#include "config.h"

#include "policyd/db.h"
#include "policyd/usage.h"
#include "lib/decide.h"
#include "lib/record.h"

#include "t/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 40, SENDERS = 300, ROUNDS = 60, NOTES = 9000 };

/* Messages and refused ones, as noted and as handed over. */
static uint64_t noted[USERS][SENDERS][2], given[USERS][SENDERS][2];
static struct record *records[USERS];
static bool database_gone;
static db_done_fn *answer;
static void *answer_context;
static size_t batches, lines;

/* -- in place of the database --------------------------------------------- */

static void
read_line(const char *line)
{
    unsigned int user, sender, messages, refused;
    long long first, last;
    char kind, rest[64];

    assert_int_equal(sscanf(line,
                            "%u\taddress\t%u\t%u\t%lld\t%lld\t%c\t%63[^\n]",
                            &user, &messages, &refused, &first, &last, &kind,
                            rest),
                     7);
    assert_true(first <= last && user >= 1 && user <= USERS);
    if (kind == 'd') { /* granted to even users */
        assert_int_equal(user % 2, 0);
        assert_int_equal(sscanf(rest, "x.example\ts%u@x.example", &sender), 1);
    } else {
        assert_int_equal(kind, '-');
        assert_int_equal(user % 2, 1);
        assert_int_equal(sscanf(rest, "s%u@x.example", &sender), 1);
    }
    given[user - 1][sender][0] += messages;
    given[user - 1][sender][1] += refused;
}

bool
db_query(struct db *db, enum db_statement statement,
         const char *const params[], db_done_fn *done, void *context)
{
    const char *line = params[0];

    (void) db;
    assert_int_equal(statement, DB_RECORD_USAGE);
    if (database_gone)
        return false;
    assert_null(answer);
    for (; *line != '\0'; line = strchr(line, '\n') + 1, lines++)
        read_line(line);
    answer = done;
    answer_context = context;
    batches++;
    return true;
}

struct db_counts
db_counts(const struct db *db)
{
    struct db_counts counts = {.available = true};

    (void) db;
    return counts;
}

/* -- decisions ------------------------------------------------------------ */

static void
note(struct usage *usage, unsigned int user, unsigned int sender,
     unsigned int message)
{
    char text[32], instance[32];
    struct decide_text came = {text, 0}, which = {instance, 0};
    struct decide_verdict verdict = {
        .action = user % 2 ? DECIDE_PERMIT : DECIDE_OBSERVE,
        .reason = user % 2 ? DECIDE_DOMAIN : DECIDE_NOT_GRANTED};
    const char *error;

    came.len = (size_t) snprintf(text, sizeof(text), "s%u@x.example", sender);
    which.len = (size_t) snprintf(instance, sizeof(instance), "1.2.%08x",
                                  message);
    assert_true(addr_parse(text, came.len, &verdict.sender, &error));
    verdict.user.len = (size_t) snprintf(verdict.user.text,
                                         sizeof(verdict.user.text), "u%u",
                                         user);
    usage_note(usage, usage_expect(usage, &verdict, &came), records[user],
               &verdict, &came, &which, 1000 + message);
}

static void
make_records(void)
{
    const char *error;
    int i;

    for (i = 0; i < USERS; i++) {
        const char *grants = i % 2 ? "d - x.example" : "";
        struct record_source source = {.id = i + 1,
                                       .enabled = true,
                                       .grants = grants,
                                       .grants_len = strlen(grants)};

        records[i] = record_new(&source, &error);
        assert_non_null(records[i]);
    }
}

/* One batch, answered well. */
static void
hand_over(struct usage *usage, uv_loop_t *loop)
{
    PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    db_done_fn *done;

    usage_finish(usage);
    uv_run(loop, UV_RUN_NOWAIT);
    done = answer;
    answer = NULL;
    if (done != NULL)
        done(answer_context, rows);
    PQclear(rows);
}

static void
test_random(void **state)
{
    struct usage_counts counts;
    struct usage *usage;
    unsigned int message = 0, round, i;
    uint64_t dropped = 0;
    uv_loop_t loop;

    (void) state;
    make_records();
    assert_int_equal(uv_loop_init(&loop), 0);
    usage = usage_new(&loop, NULL);
    assert_non_null(usage);
    srand(1);
    for (round = 0; round < ROUNDS; round++) {
        database_gone = round % 4 == 1;
        for (i = 0; i < NOTES; i++) {
            unsigned int user = (unsigned int) rand() % USERS;
            unsigned int sender = (unsigned int) rand() % SENDERS;

            note(usage, user, sender, ++message);
            counts = usage_counts(usage);
            assert_true(counts.waiting <= USAGE_ENTRIES);
            if (counts.dropped > dropped) {
                dropped = counts.dropped;
                continue;
            }
            noted[user][sender][0]++;
            noted[user][sender][1] += user % 2 == 0;
            if (rand() % 3 == 0) /* asked once more for the same message */
                note(usage, user, sender, message);
        }
        for (i = 0; i < round % 9; i++)
            hand_over(usage, &loop);
    }
    database_gone = false;
    while (usage_counts(usage).waiting > 0)
        hand_over(usage, &loop);
    assert_memory_equal(noted, given, sizeof(noted));
    counts = usage_counts(usage);
    assert_int_equal(counts.recorded, lines);
    assert_int_equal(counts.batches, batches);
    assert_int_equal(counts.lost, 0);
    assert_true(dropped > 0 && lines > 4 * USAGE_ENTRIES);
    usage_free(&usage);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (i = 0; i < USERS; i++)
        record_free(&records[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_random),
};

UNIT_MAIN(tests)
