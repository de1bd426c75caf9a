/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/proof.h"
#include "policyd/table.h"
#include "lib/record.h"

#include "t/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct table *table;

static int
set_up(void **state)
{
    (void) state;
    table = table_new();
    return table == NULL;
}

static int
tear_down(void **state)
{
    (void) state;
    table_free(&table);
    return table != NULL;
}

static struct record *
make_record(const char *grants)
{
    struct record_source source = {.id = 1, .enabled = true, .secret = "*",
                                   .grants = grants,
                                   .grants_len = strlen(grants)};
    const char *error;
    struct record *record = record_new(&source, &error);

    assert_non_null(record);
    return record;
}

static struct entry *
find(const char *name)
{
    return table_find(table, name, strlen(name));
}

static struct entry *
add(const char *name)
{
    struct entry *entry = table_add(table, name, strlen(name));

    assert_non_null(entry);
    return entry;
}

static struct entry *
add_user(const char *name)
{
    struct entry *entry = add(name);

    table_set_record(entry, make_record("d - d.example"));
    table_account(table, entry);
    return entry;
}

static void
test_find(void **state)
{
    char name[16];
    unsigned int i;

    (void) state;
    assert_null(find("user1"));
    for (i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "user%u", i);
        add(name);
    }
    for (i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "user%u", i);
        assert_non_null(find(name));
        assert_memory_equal(find(name)->name, name, strlen(name));
    }
    assert_null(find("user5000"));
    assert_null(find("user"));
    assert_null(find(""));
    table_remove(table, find("user77"));
    assert_null(find("user77"));
    assert_non_null(find("user7"));
    assert_int_equal(table_count(table, TABLE_UNKNOWN), 4999);
}

static void
test_classes(void **state)
{
    struct entry *entry = add("user1");
    uint64_t bytes = table_bytes(table, TABLE_UNKNOWN);

    (void) state;
    assert_int_equal(table_count(table, TABLE_UNKNOWN), 1);
    assert_int_equal(table_count(table, TABLE_USERS), 0);
    assert_true(bytes > 0);
    table_set_record(entry, make_record("d - d.example"));
    table_account(table, entry);
    assert_int_equal(table_count(table, TABLE_UNKNOWN), 0);
    assert_int_equal(table_bytes(table, TABLE_UNKNOWN), 0);
    assert_int_equal(table_count(table, TABLE_USERS), 1);
    assert_true(table_bytes(table, TABLE_USERS)
                >= bytes + record_size(entry->record));
    table_set_record(entry, NULL);
    table_account(table, entry);
    assert_int_equal(table_bytes(table, TABLE_USERS), 0);
    assert_int_equal(table_bytes(table, TABLE_UNKNOWN), bytes);
    /* A verified password without a record is still a user's. */
    entry->proof = calloc(1, PROOF_LEN);
    table_account(table, entry);
    assert_int_equal(table_count(table, TABLE_USERS), 1);
    table_remove(table, entry);
    assert_int_equal(table_bytes(table, TABLE_USERS), 0);
    assert_int_equal(table_count(table, TABLE_USERS), 0);
}

static void
test_shrink(void **state)
{
    uint64_t each;

    (void) state;
    add_user("user1");
    each = table_bytes(table, TABLE_USERS);
    add_user("user2");
    add_user("user3");
    add("nobody");
    table_touch(find("user1"));
    assert_int_equal(table_shrink(table, TABLE_USERS, 3 * each), 0);
    assert_int_equal(table_shrink(table, TABLE_USERS, 3 * each - 1), 1);
    assert_null(find("user2")); /* the oldest that was not used */
    assert_non_null(find("user1"));
    assert_non_null(find("user3"));
    assert_int_equal(table_shrink(table, TABLE_USERS, each), 1);
    assert_null(find("user3"));
    assert_int_equal(table_shrink(table, TABLE_USERS, 0), 1);
    assert_int_equal(table_bytes(table, TABLE_USERS), 0);
    assert_non_null(find("nobody")); /* of the other class */
    assert_int_equal(table_shrink(table, TABLE_UNKNOWN, 0), 1);
    assert_null(find("nobody"));
}

/* A query that is out will come back to its entry. */
static void
test_shrink_spares_loads(void **state)
{
    struct load *load = (struct load *) table; /* anything but NULL */

    (void) state;
    add_user("user1")->load = load;
    add_user("user2");
    assert_int_equal(table_shrink(table, TABLE_USERS, 0), 1);
    assert_non_null(find("user1"));
    assert_null(find("user2"));
    find("user1")->load = NULL;
}

static void
test_touch(void **state)
{
    uint64_t each;

    (void) state;
    add_user("user1");
    each = table_bytes(table, TABLE_USERS);
    table_touch(find("user1")); /* the only one */
    add_user("user2");
    add_user("user3");
    table_touch(find("user2"));
    assert_int_equal(table_shrink(table, TABLE_USERS, 2 * each), 1);
    assert_null(find("user3")); /* the only one that was not used */
    table_touch(find("user1"));
    assert_int_equal(table_shrink(table, TABLE_USERS, each), 1);
    assert_null(find("user2")); /* not used since */
    assert_int_equal(table_bytes(table, TABLE_USERS), each);
    table_touch(find("user1"));
    assert_int_equal(table_shrink(table, TABLE_USERS, 0), 1);
    assert_null(find("user1")); /* used or not, the bound holds */
}

/* However many were used, only so many are passed over at one time. */
static void
test_shrink_is_bounded(void **state)
{
    char name[16];
    uint64_t each;
    unsigned int i, left = 0;

    (void) state;
    for (i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "u%04u", i);
        table_touch(add_user(name));
    }
    each = table_bytes(table, TABLE_USERS) / 2000;
    assert_int_equal(table_shrink(table, TABLE_USERS, 1999 * each), 1);
    for (i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "u%04u", i);
        left += find(name) != NULL;
    }
    assert_int_equal(left, 999); /* one of the older half, not the youngest */
}

/* All that are left are found after others have gone, whatever stood where. */
static void
test_remove(void **state)
{
    char name[16];
    unsigned int i, seed = 1;
    bool gone[3000] = {false};

    (void) state;
    for (i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "user%u", i);
        add(name);
    }
    for (i = 0; i < 20000; i++) {
        unsigned int n = (seed = seed * 1103515245 + 12345) / 65536 % 3000;

        snprintf(name, sizeof(name), "user%u", n);
        if (gone[n])
            add(name);
        else
            table_remove(table, find(name));
        gone[n] = !gone[n];
    }
    for (i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "user%u", i);
        assert_int_equal(find(name) == NULL, gone[i]);
    }
}

static void
put(struct entry *entry, const char *sender)
{
    assert_true(table_answer_put(entry, sender, strlen(sender),
                                 make_record("a - x@d.example")));
}

static struct table_answer *
answer(struct entry *entry, const char *sender)
{
    return table_answer_find(entry, sender, strlen(sender));
}

static void
test_answers(void **state)
{
    struct entry *entry = add_user("user1");
    const struct record *first;
    char sender[32];
    unsigned int i;
    uint64_t bytes;

    (void) state;
    assert_null(answer(entry, "x@d.example"));
    put(entry, "x@d.example");
    first = answer(entry, "x@d.example")->record;
    assert_null(answer(entry, "x@d.exampl"));
    put(entry, "x@d.example"); /* in place of the first */
    assert_ptr_not_equal(answer(entry, "x@d.example")->record, first);
    bytes = table_bytes(table, TABLE_USERS);
    table_account(table, entry);
    assert_true(table_bytes(table, TABLE_USERS) > bytes);
    for (i = 1; i < TABLE_ANSWERS_MAX; i++) {
        snprintf(sender, sizeof(sender), "x%u@d.example", i);
        put(entry, sender);
    }
    assert_non_null(answer(entry, "x@d.example"));
    put(entry, "y@d.example"); /* one too many: the oldest goes */
    assert_null(answer(entry, "x@d.example"));
    assert_non_null(answer(entry, "x1@d.example"));
    assert_non_null(answer(entry, "y@d.example"));
    table_set_record(entry, make_record("d - d.example"));
    assert_null(answer(entry, "y@d.example")); /* with the old record */
    table_account(table, entry);
    assert_int_equal(table_bytes(table, TABLE_USERS), bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_classes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shrink, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shrink_spares_loads, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_touch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shrink_is_bounded, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_remove, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
