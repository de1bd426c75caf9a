/* SPDX-License-Identifier: MIT */
/*
 * The lines are read by the patterns of the commands' language; a thing is
 * brought into its stored form as an argument of a command would be. Their
 * order is free, but for the version: what a grant is of may come behind it.
 *
 * What a file says of a line that it refuses is not repeated, but for names,
 * addresses and domains: it may be a secret.
 */
#include "config.h"

#include "mailadmin/state_file.h"

#include "mailadmin/faults.h"
#include "mailadmin/grammar.h"
#include "mailadmin/moment.h"
#include "mailadmin/session.h"
#include "mailadmin/textfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DAY = 86400, SECRET_LEN_MAX = 1000 };

#define FORMAT "1" /* the version of what is written */

/* Seconds that YYYY-MM-DD can say, and those that a timestamp can hold. */
#define WRITTEN_MAX INT64_C(253402300799)
#define SECOND_MIN (-INT64_C(210866803200))
#define SECOND_MAX INT64_C(9224318015999)

struct reader {
    struct textfile *file;
    struct faults *faults;
    struct state *state;
    struct session scratch; /* for its message */
    bool versioned;
};

typedef void read_fn(struct reader *reader, const struct arguments *arguments);
static read_fn read_version, read_user, read_address, read_domain,
    read_address_grant, read_domain_grant;

static const struct command lines[] = {
    {.pattern = "version NUMBER [with secrets]"},
    {.pattern = "user USER [disabled] [secret SECRET] [old SECRET] "
                "[until DATE]"},
    {.pattern = "address ADDRESS"},
    {.pattern = "domain DOMAIN"},
    {.pattern = "grant address ADDRESS to USER [until DATE]"},
    {.pattern = "grant domain DOMAIN to USER [with subdomains] [until DATE]"},
};
enum { LINES = sizeof(lines) / sizeof(lines[0]) };

static read_fn *const readers[LINES] = {read_version,       read_user,
                                        read_address,       read_domain,
                                        read_address_grant, read_domain_grant};

#define FAULT(reader, ...)                                                   \
    faults_add((reader)->faults, (reader)->file->line, __VA_ARGS__)

/* NULL, and a fault, when there is no room. */
static struct state_item *
add(struct reader *reader, enum state_kind kind, const char *text,
    const char *user)
{
    struct state_item *item = state_add(reader->state, kind, text, user);

    if (item != NULL)
        item->line = reader->file->line;
    else
        FAULT(reader, "out of memory, or more than %d lines", STATE_MAX);
    return item;
}

static void
bad(struct reader *reader)
{
    FAULT(reader, "%s", reader->scratch.message);
}

static bool
parse_second(const char *text, int64_t *second_r)
{
    char *end;

    if (text[0] != '@' || strchr("-0123456789", text[1]) == NULL)
        return moment_parse(text, second_r);
    errno = 0;
    *second_r = strtoll(text + 1, &end, 10);
    return errno == 0 && text[1] != '\0' && *end == '\0'
           && *second_r >= SECOND_MIN && *second_r <= SECOND_MAX;
}

static void
read_until(struct reader *reader, const struct arguments *arguments,
           struct state_item *item)
{
    const char *until = grammar_value(arguments, "until");

    if (item == NULL || until == NULL)
        return;
    item->ends = parse_second(until, &item->until);
    if (!item->ends)
        FAULT(reader, "bad date: neither YYYY-MM-DD nor YYYY-MM-DDTHH:MM:SSZ");
}

static void
read_version(struct reader *reader, const struct arguments *arguments)
{
    if (reader->versioned)
        FAULT(reader, "a second version");
    if (strcmp(arguments->value[0], FORMAT) != 0) {
        FAULT(reader, "this program reads version " FORMAT);
        reader->file->at = reader->file->len; /* whatever may follow */
    }
    reader->versioned = true;
    reader->state->secrets = grammar_given(arguments, "with");
}

/* False when it was given and cannot be stored. */
static bool
read_secret(struct reader *reader, const struct arguments *arguments,
            const char *keyword, const char **secret_r)
{
    const char *secret = grammar_value(arguments, keyword);

    if (secret == NULL)
        return true;
    if (strlen(secret) > SECRET_LEN_MAX) {
        FAULT(reader, "a secret over %d bytes", SECRET_LEN_MAX);
        return false;
    }
    *secret_r = state_copy(reader->state, secret);
    if (*secret_r == NULL)
        FAULT(reader, "out of memory");
    return *secret_r != NULL;
}

static void
read_user(struct reader *reader, const struct arguments *arguments)
{
    bool old = grammar_given(arguments, "old");
    struct state_item *item;
    struct user_name name;

    if (!session_name(&reader->scratch, arguments->value[0], &name)) {
        bad(reader);
        return;
    }
    if (old != grammar_given(arguments, "until"))
        FAULT(reader, "\"old\" and \"until\" belong together");
    if ((old || grammar_given(arguments, "secret"))
        && !reader->state->secrets)
        FAULT(reader, "secrets need \"version " FORMAT " with secrets\"");
    item = add(reader, STATE_USER, name.text, NULL);
    if (item == NULL
        || !read_secret(reader, arguments, "secret", &item->secret)
        || !read_secret(reader, arguments, "old", &item->old_secret))
        return;
    item->disabled = grammar_given(arguments, "disabled");
    read_until(reader, arguments, item);
}

static void
read_address(struct reader *reader, const struct arguments *arguments)
{
    struct addr address;

    if (session_address(&reader->scratch, arguments->value[0], &address))
        add(reader, STATE_ADDRESS, address.text, NULL);
    else
        bad(reader);
}

static void
read_domain(struct reader *reader, const struct arguments *arguments)
{
    struct domain domain;

    if (session_domain(&reader->scratch, arguments->value[0], &domain))
        add(reader, STATE_DOMAIN, domain.text, NULL);
    else
        bad(reader);
}

static void
read_address_grant(struct reader *reader, const struct arguments *arguments)
{
    struct addr address;
    struct user_name name;

    if (session_address(&reader->scratch, arguments->value[0], &address)
        && session_name(&reader->scratch, arguments->value[1], &name))
        read_until(reader, arguments,
                   add(reader, STATE_GRANT_ADDRESS, address.text, name.text));
    else
        bad(reader);
}

static void
read_domain_grant(struct reader *reader, const struct arguments *arguments)
{
    struct state_item *item;
    struct domain domain;
    struct user_name name;

    if (!session_domain(&reader->scratch, arguments->value[0], &domain)
        || !session_name(&reader->scratch, arguments->value[1], &name)) {
        bad(reader);
        return;
    }
    item = add(reader, STATE_GRANT_DOMAIN, domain.text, name.text);
    if (item != NULL)
        item->subdomains = grammar_given(arguments, "with");
    read_until(reader, arguments, item);
}

/* No line of ours: the patterns that begin as it does. */
static void
say_usage(struct reader *reader, char *const *words, size_t count)
{
    char usage[512] = "";
    size_t best = 0, like, i;

    for (i = 0; i < LINES; i++) {
        like = grammar_likeness(&lines[i], words, count);
        best = like > best ? like : best;
    }
    for (i = 0; i < LINES; i++)
        if (grammar_likeness(&lines[i], words, count) == best)
            snprintf(usage + strlen(usage), sizeof(usage) - strlen(usage),
                     "%s%s", usage[0] ? " | " : "", lines[i].pattern);
    FAULT(reader, "expected: %s", usage);
}

static void
read_line(struct reader *reader, char *const *words, size_t count)
{
    struct arguments arguments;
    const struct command *line;

    line = grammar_match(lines, LINES, words, count, &arguments);
    if (!reader->versioned && line != &lines[0]) {
        FAULT(reader, "the file has to begin with \"version " FORMAT "\"");
        reader->versioned = true;
        reader->state->secrets = true; /* that is not what is wrong */
    }
    if (line == NULL)
        say_usage(reader, words, count);
    else
        readers[line - lines](reader, &arguments);
}

/* Things that are there twice, and grants of or to what is not there. */
static void
check_items(const struct state *state, struct faults *faults)
{
    size_t i;

    for (i = 0; i < state->count; i++) {
        const struct state_item *item = &state->items[i];
        bool domain = item->kind == STATE_GRANT_DOMAIN;

        if (i > 0 && state_compare(item - 1, item) == 0)
            faults_add(faults, item->line, "line %lu is about the same",
                       item[-1].line);
        if (item->kind < STATE_GRANT_ADDRESS)
            continue;
        if (!state_find(state, domain ? STATE_DOMAIN : STATE_ADDRESS,
                        item->text, NULL))
            faults_add(faults, item->line, "no line has \"%s %s\"",
                       domain ? "domain" : "address", item->text);
        if (!state_find(state, STATE_USER, item->user, NULL))
            faults_add(faults, item->line, "no line has \"user %s\"",
                       item->user);
    }
}

void
state_parse(struct textfile *file, struct state *state_r,
            struct faults *faults)
{
    struct reader reader = {.file = file, .faults = faults, .state = state_r};
    char *words[GRAMMAR_WORDS];
    size_t count;

    while (textfile_next(file, faults, words, &count))
        read_line(&reader, words, count);
    if (!reader.versioned)
        faults_add(faults, 1, "the file is empty: it has to begin with "
                              "\"version " FORMAT "\"");
    state_sort(state_r);
    check_items(state_r, faults);
}

enum status
state_read(struct session *session, const char *path, struct state *state_r)
{
    struct faults faults = {0};
    struct textfile file;
    enum status status;

    memset(state_r, 0, sizeof(*state_r));
    status = textfile_read(session, path, &file);
    if (status != STATUS_OK)
        return status;
    state_parse(&file, state_r, &faults);
    status = faults_print(session, file.name, &faults);
    faults_free(&faults);
    textfile_free(&file);
    if (status != STATUS_OK)
        state_free(state_r);
    return status;
}

void
state_write_until(FILE *out, int64_t second)
{
    char text[MOMENT_SIZE];

    if (second < 0 || second > WRITTEN_MAX) {
        fprintf(out, "@%" PRId64, second);
        return;
    }
    moment_format(second, text);
    if (second % DAY == 0)
        text[strlen("YYYY-MM-DD")] = '\0';
    fputs(text, out);
}

static void
write_secrets(FILE *out, const struct state_item *item)
{
    if (item->secret != NULL) {
        fputs(" secret ", out);
        textfile_write(out, item->secret);
    }
    if (item->old_secret != NULL) {
        fputs(" old ", out);
        textfile_write(out, item->old_secret);
    }
}

void
state_write_item(FILE *out, const struct state_item *item, bool secrets)
{
    static const char *const begins[] = {"user ", "address ", "domain ",
                                         "grant address ", "grant domain "};

    fputs(begins[item->kind], out);
    textfile_write(out, item->text);
    if (item->user[0] != '\0')
        fprintf(out, " to %s", item->user);
    if (item->disabled)
        fputs(" disabled", out);
    if (item->subdomains)
        fputs(" with subdomains", out);
    if (item->kind == STATE_USER && secrets)
        write_secrets(out, item);
    if (item->ends && (item->kind != STATE_USER || secrets)) {
        fputs(" until ", out);
        state_write_until(out, item->until);
    }
}

void
state_write(FILE *out, const struct state *state)
{
    size_t i;

    fputs("# Who may send mail as whom. mailadmin(1) says how to change and "
          "apply this.\n", out);
    if (state->secrets)
        fputs("# It holds stored passwords: keep it where nobody else "
              "reads.\n", out);
    fprintf(out, "version " FORMAT "%s\n",
            state->secrets ? " with secrets" : "");
    for (i = 0; i < state->count; i++) {
        const struct state_item *item = &state->items[i];

        if (i == 0 || (item[-1].kind != item->kind
                       && item[-1].kind < STATE_GRANT_ADDRESS))
            fputc('\n', out);
        state_write_item(out, item, state->secrets);
        fputc('\n', out);
    }
}
