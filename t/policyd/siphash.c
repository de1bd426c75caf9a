/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

#include "policyd/siphash.h"

#include <string.h>

/* From the authors' reference code: of the bytes 0, 1, 2 ... n - 1 under the
 * key 0, 1 ... 15. */
static const struct {
    size_t len;
    uint64_t hash;
} vectors[] = {
    {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
    {2, UINT64_C(0x0d6c8009d9a94f5a)},  {3, UINT64_C(0x85676696d7fb7e2d)},
    {4, UINT64_C(0xcf2794e0277187b7)},  {5, UINT64_C(0x18765564cd99a68d)},
    {6, UINT64_C(0xcbc9466e58fee3ce)},  {7, UINT64_C(0xab0200f58b01d137)},
    {8, UINT64_C(0x93f5f5799a932462)},  {9, UINT64_C(0x9e0082df0ba9e4b0)},
    {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
};

static void
test_vectors(void **state)
{
    struct siphash_key key;
    unsigned char bytes[64];
    size_t i;

    (void) state;
    for (i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char) i;
    memcpy(key.words, bytes, sizeof(key.words));
    for (i = 0; i < UNIT_COUNT(vectors); i++)
        assert_true(siphash(&key, bytes, vectors[i].len) == vectors[i].hash);
}

static void
test_keys(void **state)
{
    struct siphash_key one, two;

    (void) state;
    assert_true(siphash_make_key(&one));
    assert_true(siphash_make_key(&two));
    assert_memory_not_equal(&one, &two, sizeof(one));
    assert_true(siphash(&one, "x", 1) != siphash(&two, "x", 1));
    assert_true(siphash(&one, "x", 1) == siphash(&one, "x", 1));
    assert_true(siphash(&one, "x", 1) != siphash(&one, "x", 2));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_vectors),
    cmocka_unit_test(test_keys),
};

UNIT_MAIN(tests)
