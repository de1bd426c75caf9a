/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_GRAMMAR_H
#define MAILADMIN_GRAMMAR_H

/*
 * The language of mailadmin. A pattern is grammar, usage text and what
 * completion knows, at once:
 *
 *     grant domain DOMAIN... to USER [with subdomains] [until DATE]
 *
 * Lower-case words are keywords (matched in any case), upper-case words are
 * arguments; one that ends in "..." takes all words up to the keyword behind
 * it, and at least one. Brackets hold what may be left out: keywords with or
 * without an argument, an argument, the rest of the line ("[COMMAND...]"), or
 * an option such as [--generate] or [--overlap TIME], which may stand
 * anywhere.
 *
 * Owns nothing: arguments point to the caller's words and to the pattern.
 */

#include <stdbool.h>
#include <stddef.h>

#include "mailadmin/status.h"

#define GRAMMAR_WORDS 1024 /* of a line; more is no command */
#define GRAMMAR_ARGUMENTS 4
#define GRAMMAR_GROUPS 6 /* brackets of a pattern */

struct session;

struct arguments {
    const char *value[GRAMMAR_ARGUMENTS]; /* in the order of the pattern */
    char *const *rest;                    /* of "NAME...", value included */
    size_t rest_count;
    /* The brackets that were given: their first word, their last argument. */
    struct grammar_given {
        const char *name;
        size_t len;
        const char *value;
    } given[GRAMMAR_GROUPS];
    size_t given_count;
    const struct command *command;
};

/* What a command that is nothing but a change of rows does; see change.h. */
enum grammar_change {
    GRAMMAR_NO_CHANGE,
    GRAMMAR_ADD,
    GRAMMAR_DEL,
    GRAMMAR_GRANT,
    GRAMMAR_REVOKE,
    GRAMMAR_ENABLE,
    GRAMMAR_DISABLE
};

struct command {
    const char *pattern;
    const char *help;
    enum status (*run)(struct session *session,
                       const struct arguments *arguments);
    bool alone; /* needs neither configuration nor database */
    enum grammar_change change;
};

/* The command that the words are, NULL when they are none. The rest of the
 * arguments is valid until the next call. */
const struct command *grammar_match(const struct command *commands,
                                    size_t count, char *const *words,
                                    size_t words_count,
                                    struct arguments *arguments_r);

/* Whether a bracket that begins with that word was given. */
bool grammar_given(const struct arguments *arguments, const char *name);

/* The argument of such a bracket, NULL when it was not given. */
const char *grammar_value(const struct arguments *arguments,
                          const char *name);

/* How many keywords at the start of the pattern the words begin with. */
size_t grammar_likeness(const struct command *command, char *const *words,
                        size_t words_count);

/*
 * Calls back for each token that may come behind the words in some command: a
 * keyword, an option, or the name of an argument, of which the dots are not
 * part. One may be reported more than once.
 */
typedef void grammar_next_fn(const char *token, size_t len, void *context);
void grammar_next(const struct command *commands, size_t count,
                  char *const *words, size_t words_count,
                  grammar_next_fn *fn, void *context);

/* Splits a line, in place, at blanks and tabs. Returns the number of words,
 * GRAMMAR_WORDS + 1 when there are more. */
size_t grammar_split(char *line, char *words_r[GRAMMAR_WORDS]);

#endif
