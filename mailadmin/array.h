/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_ARRAY_H
#define MAILADMIN_ARRAY_H

/*
 * Many values as one parameter: an array in the text form of PostgreSQL.
 */

#include <stddef.h>

/* The text of the i-th element, NULL for null; valid until the next call. */
typedef const char *array_text_fn(const void *context, size_t i);

/* Newly allocated; NULL when out of memory. To be freed by array_free(). */
char *array_make(size_t count, array_text_fn *fn, const void *context);

/* Wipes and frees *array, which may be NULL. */
void array_free(char **array);

#endif
