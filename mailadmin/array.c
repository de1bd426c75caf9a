/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/array.h"

#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>

char *
array_make(size_t count, array_text_fn *fn, const void *context)
{
    size_t size = 3, i;
    char *array, *at;

    for (i = 0; i < count; i++) {
        const char *text = fn(context, i);

        size += text == NULL ? 5 : 2 * strlen(text) + 3;
    }
    array = malloc(size);
    if (array == NULL)
        return NULL;
    at = array;
    *at++ = '{';
    for (i = 0; i < count; i++) {
        const char *text = fn(context, i);

        if (i > 0)
            *at++ = ',';
        if (text == NULL) {
            memcpy(at, "NULL", 4);
            at += 4;
            continue;
        }
        *at++ = '"';
        for (; *text != '\0'; text++) {
            if (*text == '"' || *text == '\\')
                *at++ = '\\';
            *at++ = *text;
        }
        *at++ = '"';
    }
    memcpy(at, "}", 2);
    return array;
}

void
array_free(char **array)
{
    if (*array != NULL)
        secret_wipe(*array, strlen(*array));
    free(*array);
    *array = NULL;
}
