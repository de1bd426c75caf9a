/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/quote.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void
quote_append(char *command, size_t size, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "@%+=:,./_-";
    bool quoted = strspn(word, plain) != strlen(word);
    size_t used = strlen(command);

    used += (size_t) snprintf(command + used, size - used, " %s",
                              quoted ? "'" : "");
    for (; *word != '\0' && used + 8 < size; word++) {
        if (*word == '\'')
            used += (size_t) snprintf(command + used, size - used, "'\\''");
        else
            command[used++] = *word;
        command[used] = '\0';
    }
    snprintf(command + used, size - used, "%s", quoted ? "'" : "");
}
