/* SPDX-License-Identifier: MIT */
#ifndef LIB_CONF_EXPAND_H
#define LIB_CONF_EXPAND_H

/*
 * ${env:NAME} and ${file:/path} in a configuration file.
 *
 * conf_expand_read() reads a file and finds what its values refer to, outside
 * comments and single quotes. libconfuse takes ${X} for the environment
 * variable X, whatever X is; so each value found is put into the environment
 * under the name between the braces ("file:/path") until conf_expand_free()
 * takes it out again and wipes the text. Comments are blanked out, and what
 * libconfuse would misread in silence is refused: a string or a comment
 * without its end, a NUL byte. Not thread-safe, as the environment is not.
 */

#include <stdbool.h>
#include <stddef.h>

struct conf_expand;

/* NULL, with "file:line: what" or "file: what" in error_r, when the file
 * cannot be read or refers to what is not there. */
struct conf_expand *conf_expand_read(const char *path, char *error_r,
                                     size_t error_size);

/* The text without comments, NUL-terminated; lives as long as the object. */
const char *conf_expand_text(const struct conf_expand *expand);

/* Whether users other than its owner and group may read the file. */
bool conf_expand_exposed(const struct conf_expand *expand);

#define CONF_EXPAND_BLANK '\001'

/* Wipes what the references stand for: from now on it is of the same length and
 * of CONF_EXPAND_BLANK, and all else is what the file says by itself. */
void conf_expand_blank(struct conf_expand *expand);

/* Frees *expand (which may be NULL) and sets it to NULL. */
void conf_expand_free(struct conf_expand **expand);

#endif
