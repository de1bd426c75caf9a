/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_PAST_H
#define MAILADMIN_PAST_H

/*
 * The moment that an option such as --at gives: one that has been.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mailadmin/moment.h"

struct arguments;
struct session;

struct past {
    bool given;
    int64_t micros;         /* since the epoch */
    char text[MOMENT_SIZE]; /* "" when it was not given */
};

/* Reads a moment; false when it is none, which the session's message says. */
bool past_parse(struct session *session, const char *text,
                struct past *past_r);

/* Reads the argument of the option, if it was given. */
bool past_option(struct session *session, const struct arguments *arguments,
                 const char *option, struct past *past_r);

#endif
