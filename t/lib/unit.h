/* SPDX-License-Identifier: MIT */
#ifndef T_LIB_UNIT_H
#define T_LIB_UNIT_H

/*
 * What every unit test begins with: cmocka, which wants these headers first,
 * and a main() whose output is TAP.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define UNIT_MAIN_WITH(tests, set_up, tear_down)                              \
    int main(void)                                                            \
    {                                                                         \
        cmocka_set_message_output(CM_OUTPUT_TAP);                             \
        return cmocka_run_group_tests(tests, set_up, tear_down);              \
    }
#define UNIT_MAIN(tests) UNIT_MAIN_WITH(tests, NULL, NULL)

#endif
