/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_GRAMMAR_H
#define MAILADMIN_GRAMMAR_H

/*
 * The language of mailadmin. A pattern is grammar and usage text at once:
 *
 *     grant domain DOMAIN to USER [with subdomains]
 *
 * Lower-case words are keywords (matched in any case), upper-case words are
 * arguments, brackets hold what may be left out: keywords, one argument, an
 * argument that takes the rest of the line ("[COMMAND...]"), or an option such
 * as [--generate], which may stand anywhere.
 *
 * Owns nothing: arguments point to the caller's words.
 */

#include <stdbool.h>
#include <stddef.h>

#include "mailadmin/status.h"

#define GRAMMAR_WORDS 64 /* of a line; more is no command */
#define GRAMMAR_ARGUMENTS 4
#define GRAMMAR_OPTIONS 4

struct session;

struct arguments {
    const char *value[GRAMMAR_ARGUMENTS]; /* in the order of the pattern */
    bool option[GRAMMAR_OPTIONS];         /* brackets, in their order */
    char *const *rest;                    /* of "[NAME...]" */
    size_t rest_count;
    const struct command *command;
};

struct command {
    const char *pattern;
    const char *help;
    enum status (*run)(struct session *session,
                       const struct arguments *arguments);
    bool alone; /* needs neither configuration nor database */
};

/* The command that the words are, NULL when they are none. */
const struct command *grammar_match(const struct command *commands,
                                    size_t count, char *const *words,
                                    size_t words_count,
                                    struct arguments *arguments_r);

/* How many keywords at the start of the pattern the words begin with. */
size_t grammar_likeness(const struct command *command, char *const *words,
                        size_t words_count);

/* Splits a line, in place, at blanks and tabs. Returns the number of words,
 * GRAMMAR_WORDS + 1 when there are more. */
size_t grammar_split(char *line, char *words_r[GRAMMAR_WORDS]);

#endif
