/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/lib/unit.h"

int
main(void)
{
    return 0;
}
