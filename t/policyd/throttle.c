/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "policyd/throttle.h"

#include <stdio.h>

#define SECOND UINT64_C(1000)
#define HOUR (3600 * SECOND)
#define START (5 * HOUR) /* far from the clock's own beginning */

static struct throttle *throttle;

static int
set_up(void **state)
{
    (void) state;
    throttle = throttle_new();
    return throttle == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
    (void) state;
    throttle_free(&throttle);
    return 0;
}

static struct throttle_try
who(const char *client, const char *user)
{
    return throttle_who(throttle, client, user);
}

/* Client number n, each in a network of its own. */
static struct throttle_try
from(unsigned int n, const char *user)
{
    char client[32];

    snprintf(client, sizeof(client), "10.%u.%u.%u", n >> 16, n >> 8 & 255,
             n & 255);
    return who(client, user);
}

static bool
begin(struct throttle_try try, uint64_t now)
{
    return throttle_begin(throttle, &try, now);
}

static void
good(struct throttle_try try, uint64_t now)
{
    throttle_good(throttle, &try, now);
}

/* How many of so many tries are let through. */
static unsigned int
tries(const char *client, const char *user, unsigned int count, uint64_t now)
{
    unsigned int n = 0;

    while (count-- > 0)
        n += begin(who(client, user), now);
    return n;
}

static unsigned int
tries_of_many(unsigned int first, const char *user, unsigned int count,
              uint64_t now)
{
    unsigned int n = 0, i;

    for (i = 0; i < count; i++)
        n += begin(from(first + i, user), now);
    return n;
}

static void
test_who(void **state)
{
    struct throttle_try try = who("192.0.2.1", "test1");

    (void) state;
    assert_true(try.client == who("192.0.2.1", "test2").client);
    assert_true(try.client != who("192.0.2.2", "test1").client);
    assert_true(try.user == who("192.0.2.9", "test1").user);
    assert_true(try.user != who("192.0.2.1", "test2").user);
    assert_true(try.pair != who("192.0.2.1", "test2").pair);
    assert_true(try.pair != who("192.0.2.2", "test1").pair);
    assert_true(try.client == who("::ffff:192.0.2.1", "x").client);
    assert_true(who("2001:db8:1:2::1", "x").client
                == who("2001:db8:1:2:ffff::2", "x").client);
    assert_true(who("2001:db8:1:2::1", "x").client
                != who("2001:db8:1:3::1", "x").client);
    assert_true(who("", "x").client != who("unknown", "x").client);
}

/* Nobody can tell what hashes to the same place. */
static void
test_keyed(void **state)
{
    struct throttle *other = throttle_new();
    struct throttle_try try = who("192.0.2.1", "test1");

    (void) state;
    assert_non_null(other);
    assert_true(throttle_who(other, "192.0.2.1", "test1").user != try.user);
    throttle_free(&other);
    assert_null(other);
}

static void
test_user_limit(void **state)
{
    (void) state;
    assert_int_equal(tries_of_many(0, "test1", 150, START), 100);
    assert_int_equal(throttle_counts(throttle).held_user, 50);
    assert_true(begin(from(500, "test2"), START));
    /* Held tries are not counted, so the hour ends. */
    assert_int_equal(tries_of_many(200, "test1", 150, START + HOUR - 1), 0);
    assert_int_equal(
        tries_of_many(400, "test1", 150, START + HOUR + 600 * SECOND), 100);
}

/* However the failures lie in time, no hour sees more than the limit. */
static void
test_any_hour(void **state)
{
    static uint64_t when[3000];
    unsigned int count = 0, i, first = 0, client = 0;
    uint64_t now;

    (void) state;
    for (now = START; now < START + 10 * HOUR; now += 7 * SECOND)
        if (begin(from(client++, "test1"), now) && count < 3000)
            when[count++] = now;
    assert_in_range(count, 600, 1100);
    for (i = 0; i < count; i++) {
        while (when[i] - when[first] >= HOUR)
            first++;
        assert_true(i - first + 1 <= THROTTLE_USER_LIMIT);
    }
}

static void
test_pair_pauses(void **state)
{
    static const unsigned int pauses[] = {1, 2, 4, 8, 16, 32, 60, 60};
    uint64_t now = START;
    size_t i;

    (void) state;
    assert_int_equal(tries("192.0.2.1", "test1", 20, now),
                     THROTTLE_PAIR_FREE + 1);
    for (i = 0; i < UNIT_COUNT(pauses); i++) {
        assert_false(
            begin(who("192.0.2.1", "test1"), now + pauses[i] * SECOND - 1));
        now += pauses[i] * SECOND;
        assert_true(begin(who("192.0.2.1", "test1"), now));
    }
    assert_true(begin(who("192.0.2.2", "test1"), now));
    assert_true(begin(who("192.0.2.1", "test2"), now));
    assert_int_equal(throttle_counts(throttle).held_pair,
                     9 + UNIT_COUNT(pauses));
}

static void
test_client_pauses(void **state)
{
    char user[32];
    unsigned int n = 0, i;

    (void) state;
    for (i = 0; i < 200; i++) {
        snprintf(user, sizeof(user), "user%u", i);
        n += begin(who("2001:db8::1", user), START);
    }
    assert_int_equal(n, THROTTLE_CLIENT_FREE + 1);
    assert_int_equal(throttle_counts(throttle).held_client, 200 - n);
    assert_false(begin(who("2001:db8::2", "other"), START + SECOND - 1));
    assert_true(begin(who("2001:db8:0:1::2", "other"), START));
    /* An hour of trying on gets one through each pause. */
    for (n = i = 0; i < 3600; i++) {
        snprintf(user, sizeof(user), "more%u", i);
        n += begin(who("2001:db8::1", user), START + i * SECOND);
    }
    assert_in_range(n, 200, 250);
}

/* Tries that have no outcome yet count as well. */
static void
test_in_flight(void **state)
{
    (void) state;
    assert_int_equal(tries("192.0.2.1", "test1", 1000, START),
                     THROTTLE_PAIR_FREE + 1);
}

static void
test_good(void **state)
{
    unsigned int i;

    (void) state;
    for (i = 0; i < 1000; i++) {
        assert_true(begin(who("192.0.2.1", "test1"), START));
        good(who("192.0.2.1", "test1"), START);
    }
    /* The user and the client are as if nothing had been. */
    assert_int_equal(tries_of_many(0, "test1", 200, START), 100);
}

static void
test_undo(void **state)
{
    struct throttle_try try = who("192.0.2.1", "test1");
    unsigned int i;

    (void) state;
    for (i = 0; i < 1000; i++) {
        assert_true(begin(try, START));
        throttle_undo(throttle, &try, START);
    }
    assert_int_equal(tries("192.0.2.1", "test1", 20, START),
                     THROTTLE_PAIR_FREE + 1);
    throttle_undo(throttle, &(struct throttle_try){1, 2, 3}, START);
}

/* Others cannot lock a user out from where he was right in the last hour. */
static void
test_good_pair(void **state)
{
    struct throttle_try home = who("192.0.2.1", "test1");
    char user[32];
    unsigned int i;

    (void) state;
    assert_true(begin(home, START));
    good(home, START);
    assert_int_equal(tries_of_many(0, "test1", 200, START + SECOND), 100);
    for (i = 0; i < 200; i++) {
        snprintf(user, sizeof(user), "neighbour%u", i);
        begin(who("192.0.2.1", user), START + SECOND);
    }
    assert_false(begin(who("192.0.2.1", "test2"), START + SECOND));
    assert_false(begin(who("192.0.2.2", "test1"), START + SECOND));
    assert_true(begin(home, START + HOUR - 1));
    /* It has its own pauses all the same. */
    assert_int_equal(tries("192.0.2.1", "test1", 50, START + HOUR - 1),
                     THROTTLE_PAIR_FREE);
}

static void
test_good_ends(void **state)
{
    struct throttle_try home = who("192.0.2.1", "test1");

    (void) state;
    assert_true(begin(home, START));
    good(home, START);
    assert_int_equal(tries_of_many(0, "test1", 200, START + SECOND), 100);
    assert_false(begin(home, START + HOUR));
}

/* A password that was known needs no try, and counts as right all the same. */
static void
test_known(void **state)
{
    struct throttle_try home = who("192.0.2.1", "test1");

    (void) state;
    assert_true(begin(home, START));
    good(home, START);
    throttle_known(throttle, &home, START + HOUR - SECOND);
    assert_int_equal(tries_of_many(0, "test1", 200, START + HOUR), 100);
    assert_false(begin(who("192.0.2.2", "test1"), START + HOUR));
    assert_true(begin(home, START + HOUR + 1800 * SECOND));
}

static void
test_bounds(void **state)
{
    struct throttle_counts counts;
    char user[32];
    unsigned int i;

    (void) state;
    for (i = 0; i < 3 * THROTTLE_ENTRIES; i++) {
        snprintf(user, sizeof(user), "user%u", i);
        assert_true(begin(from(i, user), START));
    }
    counts = throttle_counts(throttle);
    assert_int_equal(counts.users, THROTTLE_ENTRIES);
    assert_int_equal(counts.clients, THROTTLE_ENTRIES);
    assert_int_equal(counts.pairs, THROTTLE_ENTRIES);
}

/* Nor does it help to fail elsewhere, often enough to fill the tables. */
static void
test_no_wiping_out(void **state)
{
    struct throttle_try home = who("192.0.2.1", "test1");
    char user[32];
    unsigned int i;

    (void) state;
    assert_true(begin(home, START));
    good(home, START);
    assert_int_equal(tries_of_many(0, "test1", 200, START), 100);
    for (i = 0; i < 3 * THROTTLE_ENTRIES; i++) {
        snprintf(user, sizeof(user), "user%u", i);
        begin(from(1000 + i, user), START);
    }
    assert_int_equal(tries_of_many(500, "test1", 50, START), 0);
    assert_true(begin(home, START));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_who),           TEST(test_keyed),
        TEST(test_user_limit),    TEST(test_any_hour),
        TEST(test_pair_pauses),   TEST(test_client_pauses),
        TEST(test_in_flight),     TEST(test_good),
        TEST(test_undo),          TEST(test_good_pair),
        TEST(test_good_ends),     TEST(test_known),
        TEST(test_bounds),        TEST(test_no_wiping_out),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
