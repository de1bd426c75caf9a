/* SPDX-License-Identifier: MIT */
/*
 * A pattern is read from left to right beside the words, without going back:
 * what follows an optional part or a list begins with a keyword or ends the
 * line. Completion reads it the same way, and is told what would have been
 * taken where the words end.
 */
#include "config.h"

#include "mailadmin/grammar.h"

#include <string.h>
#include <strings.h>

struct token {
    const char *text;
    size_t len;
};

/* The words not yet matched, options taken out. */
struct words {
    char *word[GRAMMAR_WORDS];
    size_t count;
    size_t next;
};

/* Who wants to know what may come where the words end; NULL: nobody. */
struct listener {
    grammar_next_fn *fn;
    void *context;
};

struct match {
    const char *pattern; /* what is left of it */
    struct words *words;
    struct arguments *arguments;
    size_t values;
    const struct listener *listener;
    struct token waits; /* the argument of an option that ends the words */
};

static bool
next_token(const char **pattern, struct token *token_r)
{
    *pattern += strspn(*pattern, " ");
    token_r->text = *pattern;
    token_r->len = strcspn(*pattern, " ");
    *pattern += token_r->len;
    return token_r->len > 0;
}

static bool
is_argument(const struct token *token)
{
    return token->text[0] >= 'A' && token->text[0] <= 'Z';
}

static bool
is_list(const struct token *token)
{
    return token->len > 3 && is_argument(token)
           && memcmp(token->text + token->len - 3, "...", 3) == 0;
}

static bool
is_keyword(const struct token *token, const char *word)
{
    return strlen(word) == token->len
           && strncasecmp(word, token->text, token->len) == 0;
}

static bool
at_end(const struct words *words)
{
    return words->next == words->count;
}

static void
tell(const struct match *match, const struct token *token)
{
    if (match->listener != NULL)
        match->listener->fn(token->text,
                            token->len - (is_list(token) ? 3 : 0),
                            match->listener->context);
}

static void
take_out(struct words *words, size_t i)
{
    memmove(&words->word[i], &words->word[i + 1],
            (words->count - i - 1) * sizeof(words->word[0]));
    words->count--;
}

static struct grammar_given *
add_given(struct arguments *arguments, const struct token *name)
{
    struct grammar_given *given;

    if (arguments->given_count == GRAMMAR_GROUPS)
        return NULL;
    given = &arguments->given[arguments->given_count++];
    given->name = name->text;
    given->len = name->len;
    given->value = NULL;
    return given;
}

/* Takes an option out of the words, wherever it is. False when its argument
 * is missing. An option without one has a value of no length. */
static bool
take_option(struct match *match, struct token option, struct token value)
{
    struct words *words = match->words;
    struct grammar_given *given;
    size_t i;

    for (i = 0; i < words->count; i++)
        if (strlen(words->word[i]) == option.len
            && memcmp(words->word[i], option.text, option.len) == 0)
            break;
    if (i == words->count) {
        tell(match, &option);
        return true;
    }
    given = add_given(match->arguments, &option);
    take_out(words, i);
    if (value.len == 0)
        return given != NULL;
    if (i == words->count) {
        match->waits = value;
        return false;
    }
    if (given != NULL)
        given->value = words->word[i];
    take_out(words, i);
    return given != NULL;
}

/* The options come first, for they may stand before anything else. */
static bool
take_options(struct match *match)
{
    const char *pattern = match->pattern;
    struct token token;

    while (next_token(&pattern, &token)) {
        bool last = token.text[token.len - 1] == ']';
        struct token value = {NULL, 0};

        if (token.len < 4 || memcmp(token.text, "[--", 3) != 0)
            continue;
        token.text++;
        token.len -= last ? 2 : 1;
        if (!last && next_token(&pattern, &value))
            value.len--;
        if (!take_option(match, token, value))
            return false;
    }
    return true;
}

/* Takes words for a list up to the keyword that follows it. */
static bool
match_list(struct match *match, const struct token *list)
{
    struct words *words = match->words;
    struct arguments *arguments = match->arguments;
    const char *after = match->pattern;
    struct token next;
    bool stops = next_token(&after, &next) && !is_argument(&next)
                 && next.text[0] != '[';

    if (at_end(words)) {
        tell(match, list);
        return false;
    }
    arguments->rest = words->word + words->next;
    if (match->values < GRAMMAR_ARGUMENTS)
        arguments->value[match->values++] = words->word[words->next];
    do {
        words->next++;
        arguments->rest_count++;
    } while (!at_end(words)
             && !(stops && is_keyword(&next, words->word[words->next])));
    if (at_end(words))
        tell(match, list);
    return true;
}

static bool
match_token(struct match *match, const struct token *token)
{
    struct words *words = match->words;

    if (is_list(token))
        return match_list(match, token);
    if (at_end(words)) {
        tell(match, token);
        return false;
    }
    if (!is_argument(token))
        return is_keyword(token, words->word[words->next++]);
    if (match->values < GRAMMAR_ARGUMENTS)
        match->arguments->value[match->values++] = words->word[words->next];
    words->next++;
    return true;
}

/* Whether the words go on with this optional part. */
static bool
group_begins(struct match *match, const struct token *token)
{
    struct words *words = match->words;

    if (at_end(words)) {
        tell(match, token);
        return false;
    }
    return is_argument(token) || is_keyword(token, words->word[words->next]);
}

/* Matches a group from its first token on. */
static bool
match_group(struct match *match, struct token token)
{
    bool last = token.text[token.len - 1] == ']', taken;
    struct grammar_given *given = NULL;
    struct token word;

    token.text++;
    token.len -= last ? 2 : 1;
    taken = token.text[0] != '-' && group_begins(match, &token);
    if (taken && (given = add_given(match->arguments, &token)) == NULL)
        return false;
    for (word = token;;) {
        if (taken && !match_token(match, &word))
            return false;
        if (taken && is_argument(&word))
            given->value = match->words->word[match->words->next - 1];
        if (last)
            return true;
        if (!next_token(&match->pattern, &word))
            return false;
        last = word.text[word.len - 1] == ']';
        word.len -= last ? 1 : 0;
    }
}

static bool
match_words(struct match *match)
{
    struct token token;

    if (!take_options(match))
        return false;
    while (next_token(&match->pattern, &token))
        if (token.text[0] == '[' ? !match_group(match, token)
                                 : !match_token(match, &token))
            return false;
    return at_end(match->words);
}

/* Options are told of before it is known whether the words begin the pattern:
 * this is to be asked first. */
static bool
begins(const struct command *command, char *const *words, size_t count)
{
    const char *pattern = command->pattern;
    struct token token;
    size_t keywords = 0;

    while (next_token(&pattern, &token) && token.text[0] != '['
           && !is_argument(&token))
        keywords++;
    if (count > keywords)
        count = keywords;
    return grammar_likeness(command, words, count) == count;
}

const struct command *
grammar_match(const struct command *commands, size_t count,
              char *const *words, size_t words_count,
              struct arguments *arguments_r)
{
    /* The rest of a line is handed out from here. */
    static struct words copy;
    size_t i;

    if (words_count > GRAMMAR_WORDS)
        return NULL;
    for (i = 0; i < count; i++) {
        struct match match = {.pattern = commands[i].pattern, .words = &copy,
                              .arguments = arguments_r};

        memset(arguments_r, 0, sizeof(*arguments_r));
        memcpy(copy.word, words, words_count * sizeof(words[0]));
        copy.count = words_count;
        copy.next = 0;
        arguments_r->command = &commands[i];
        if (match_words(&match))
            return &commands[i];
    }
    return NULL;
}

/* What one command has to say. Its options are told of once it is named; when
 * one of them waits for its argument, that comes next and nothing else. */
static void
next_of(const struct command *command, char *const *words, size_t count,
        const struct listener *listener)
{
    static struct words copy;
    struct arguments arguments = {0};
    struct match match = {.pattern = command->pattern, .words = &copy,
                          .arguments = &arguments};
    struct token token;

    memcpy(copy.word, words, count * sizeof(words[0]));
    copy.count = count;
    copy.next = 0;
    if (!take_options(&match)) {
        if (match.waits.len > 0)
            listener->fn(match.waits.text, match.waits.len,
                         listener->context);
        return;
    }
    memcpy(copy.word, words, count * sizeof(words[0]));
    copy.count = count;
    arguments.given_count = 0;
    match.listener = count > 0 ? listener : NULL;
    take_options(&match);
    match.listener = listener;
    while (next_token(&match.pattern, &token)
           && (token.text[0] == '[' ? match_group(&match, token)
                                    : match_token(&match, &token)))
        ;
}

void
grammar_next(const struct command *commands, size_t count,
             char *const *words, size_t words_count, grammar_next_fn *fn,
             void *context)
{
    const struct listener listener = {fn, context};
    size_t i;

    if (words_count > GRAMMAR_WORDS)
        return;
    for (i = 0; i < count; i++)
        if (begins(&commands[i], words, words_count))
            next_of(&commands[i], words, words_count, &listener);
}

bool
grammar_given(const struct arguments *arguments, const char *name)
{
    size_t i;

    for (i = 0; i < arguments->given_count; i++)
        if (arguments->given[i].len == strlen(name)
            && memcmp(arguments->given[i].name, name, strlen(name)) == 0)
            return true;
    return false;
}

const char *
grammar_value(const struct arguments *arguments, const char *name)
{
    size_t i;

    for (i = 0; i < arguments->given_count; i++)
        if (arguments->given[i].len == strlen(name)
            && memcmp(arguments->given[i].name, name, strlen(name)) == 0)
            return arguments->given[i].value;
    return NULL;
}

size_t
grammar_likeness(const struct command *command, char *const *words,
                 size_t words_count)
{
    const char *pattern = command->pattern;
    struct token token;
    size_t n = 0;

    while (n < words_count && next_token(&pattern, &token)
           && token.text[0] != '[' && !is_argument(&token)
           && is_keyword(&token, words[n]))
        n++;
    return n;
}

size_t
grammar_split(char *line, char *words_r[GRAMMAR_WORDS])
{
    char *rest = NULL, *word;
    size_t count = 0;

    for (word = strtok_r(line, " \t", &rest); word != NULL;
         word = strtok_r(NULL, " \t", &rest)) {
        if (count == GRAMMAR_WORDS)
            return GRAMMAR_WORDS + 1;
        words_r[count++] = word;
    }
    return count;
}
