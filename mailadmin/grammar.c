/* SPDX-License-Identifier: MIT */
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
is_keyword(const struct token *token, const char *word)
{
    return strlen(word) == token->len
           && strncasecmp(word, token->text, token->len) == 0;
}

/* Takes an option out of the words, wherever it is. */
static bool
take_option(struct words *words, const struct token *option)
{
    size_t i;

    for (i = 0; i < words->count; i++)
        if (strlen(words->word[i]) == option->len
            && memcmp(words->word[i], option->text, option->len) == 0) {
            memmove(&words->word[i], &words->word[i + 1],
                    (words->count - i - 1) * sizeof(words->word[0]));
            words->count--;
            return true;
        }
    return false;
}

/* The options come first, for they may stand before anything else. */
static void
take_options(const char *pattern, struct words *words,
             struct arguments *arguments)
{
    struct token token;
    size_t group = 0;

    while (next_token(&pattern, &token)) {
        if (token.text[0] != '[')
            continue;
        if (token.len > 4 && memcmp(token.text, "[--", 3) == 0) {
            token.text++;
            token.len -= 2;
            arguments->option[group] = take_option(words, &token);
        }
        group++;
    }
}

/* Matches an optional group from its first token on; pattern is behind it. */
static bool
match_group(const char **pattern, struct token token, struct words *words,
            struct arguments *arguments, size_t *values, size_t group)
{
    bool last = token.text[token.len - 1] == ']', given;

    token.text++;
    token.len -= last ? 2 : 1;
    if (token.text[0] == '-')
        return true;
    if (is_argument(&token)) {
        if (token.len > 3
            && memcmp(token.text + token.len - 3, "...", 3) == 0) {
            arguments->rest = words->word + words->next;
            arguments->rest_count = words->count - words->next;
            words->next = words->count;
        } else if (words->next < words->count) {
            arguments->value[(*values)++] = words->word[words->next++];
            arguments->option[group] = true;
        }
        return true;
    }
    given = words->next < words->count;
    for (;;) {
        if (given
            && (words->next == words->count
                || !is_keyword(&token, words->word[words->next++])))
            return false;
        if (last)
            break;
        next_token(pattern, &token);
        last = token.text[token.len - 1] == ']';
        token.len -= last ? 1 : 0;
    }
    arguments->option[group] = given;
    return true;
}

static bool
match(const char *pattern, struct words *words, struct arguments *arguments)
{
    struct token token;
    size_t values = 0, group = 0;

    take_options(pattern, words, arguments);
    while (next_token(&pattern, &token)) {
        if (token.text[0] == '[') {
            if (!match_group(&pattern, token, words, arguments, &values,
                             group++))
                return false;
        } else if (words->next == words->count) {
            return false;
        } else if (is_argument(&token)) {
            arguments->value[values++] = words->word[words->next++];
        } else if (!is_keyword(&token, words->word[words->next++])) {
            return false;
        }
    }
    return words->next == words->count;
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
        memset(arguments_r, 0, sizeof(*arguments_r));
        memcpy(copy.word, words, words_count * sizeof(words[0]));
        copy.count = words_count;
        copy.next = 0;
        arguments_r->command = &commands[i];
        if (match(commands[i].pattern, &copy, arguments_r))
            return &commands[i];
    }
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
