/* SPDX-License-Identifier: MIT */
#ifndef LIB_CONF_CHECK_H
#define LIB_CONF_CHECK_H

/*
 * What the texts of some options must look like. Each returns NULL, or what
 * is wrong, a constant text. Nothing is looked up, bound or allocated, but for
 * the last.
 */

#include <stdbool.h>

#define CONF_UNIX_PATH_MAX 107 /* sun_path less its NUL */

/* An octal mode that lets only owner and group in, such as 0660. */
const char *conf_check_mode(const char *text, unsigned int *bits_r);

/* unix:PATH or, unless unix_only, inet:ADDRESS:PORT. */
const char *conf_check_listen(const char *text, bool unix_only);

/* ADDRESS:PORT, an IPv6 address in brackets. */
const char *conf_check_endpoint(const char *text);

/* Whether a conninfo of libpq's holds a password with another character than
 * blank; one that cannot be read as such does not. Allocates for the moment. */
bool conf_check_password(const char *conninfo, char blank);

#endif
