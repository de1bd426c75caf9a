/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/conf_expand.h"
#include "lib/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1024 * 1024) /* bytes of a configuration file */
#define VALUE_MAX 65536        /* bytes of a file that a value refers to */
#define REFERENCES_MAX 64

/* What is in the environment and ours to take out. */
struct entry {
    char *name;
    char *text; /* "NAME=value" */
};

struct conf_expand {
    char *text;
    bool exposed;
    struct entry entries[REFERENCES_MAX];
    size_t count;
};

/* Where the scan of the text stands. */
struct scan {
    const char *path;
    char *at;
    unsigned int line;
    bool in_word; /* the byte before belongs to a word without quotes */
    char *error;
    size_t error_size;
};

/* Wipes and frees text, which may be NULL. */
static void
discard(char *text, size_t len)
{
    if (text != NULL)
        secret_wipe(text, len);
    free(text);
}

/* Reads a whole file of at most max bytes, none of them NUL. NULL with why in
 * *error_r. */
static char *
read_file(const char *path, size_t max, mode_t *mode_r, const char **error_r)
{
    char *text = malloc(max + 1);
    struct stat info;
    size_t len = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool known = fd >= 0 && fstat(fd, &info) == 0;
    /* A pipe without a writer would read as an empty file, as /dev/null is. */
    bool file = known && (S_ISREG(info.st_mode) || S_ISCHR(info.st_mode));

    *error_r = NULL;
    while (file && text != NULL && len <= max
           && (n = read(fd, text + len, max + 1 - len)) > 0)
        len += (size_t) n;
    if (known && !file)
        *error_r = "not a regular file";
    else if (!known || text == NULL || n < 0)
        *error_r = strerror(errno);
    else if (len > max)
        *error_r = strerror(EFBIG);
    else if (memchr(text, '\0', len) != NULL)
        *error_r = "NUL byte";
    if (fd >= 0)
        close(fd);
    if (*error_r != NULL || text == NULL) {
        discard(text, len);
        return NULL;
    }
    text[len] = '\0';
    *mode_r = info.st_mode;
    return text;
}

static bool
fail(struct scan *scan, const char *what, const char *name, const char *why)
{
    snprintf(scan->error, scan->error_size, "%s:%u: %s ${%s}: %s", scan->path,
             scan->line, what, name, why);
    return false;
}

static bool
refuse(struct scan *scan, unsigned int line, const char *what)
{
    snprintf(scan->error, scan->error_size, "%s:%u: %s", scan->path, line,
             what);
    return false;
}

/* Takes an entry out of the environment; parts of it may be NULL. */
static void
take_out(struct entry *entry)
{
    if (entry->name != NULL)
        unsetenv(entry->name);
    free(entry->name);
    if (entry->text != NULL)
        discard(entry->text, strlen(entry->text));
}

/*
 * Puts NAME=value into the environment. With setenv(3) the C library would
 * keep the text until the process ends.
 */
static bool
put(struct scan *scan, struct conf_expand *expand, const char *name,
    const char *value)
{
    struct entry *entry = &expand->entries[expand->count];
    size_t size = strlen(name) + 1 + strlen(value) + 1;

    entry->name = strdup(name);
    entry->text = malloc(size);
    if (entry->name != NULL && entry->text != NULL) {
        snprintf(entry->text, size, "%s=%s", name, value);
        if (putenv(entry->text) == 0) {
            expand->count++;
            return true;
        }
    }
    take_out(entry);
    return fail(scan, "cannot expand", name, "out of memory");
}

static bool
refer_to_file(struct scan *scan, struct conf_expand *expand, const char *name)
{
    const char *path = name + strlen("file:"), *error;
    mode_t mode;
    char *value;
    size_t len;
    bool ok;

    if (path[0] != '/')
        return fail(scan, "cannot read", name, "not an absolute path");
    value = read_file(path, VALUE_MAX, &mode, &error);
    if (value == NULL)
        return fail(scan, "cannot read", name, error);
    len = strlen(value);
    if (len > 0 && value[len - 1] == '\n')
        value[len - 1] = '\0';
    ok = put(scan, expand, name, value);
    discard(value, len);
    return ok;
}

static bool
refer(struct scan *scan, struct conf_expand *expand, const char *name)
{
    const char *value;

    if (expand->count == REFERENCES_MAX)
        return fail(scan, "too many references at", name, "at most 64");
    if (strchr(name, '=') != NULL)
        return fail(scan, "cannot expand", name, "'=' in a name");
    if (strncmp(name, "file:", 5) == 0)
        return refer_to_file(scan, expand, name);
    if (strncmp(name, "env:", 4) != 0)
        return fail(scan, "unknown reference", name,
                    "use ${env:NAME} or ${file:/path}");
    value = getenv(name + 4);
    if (value == NULL)
        return fail(scan, "cannot expand", name, "not in the environment");
    return put(scan, expand, name, value);
}

/* At "${": reads the name and behind its brace. */
static bool
read_reference(struct scan *scan, struct conf_expand *expand)
{
    char *name = scan->at + 2;
    size_t len = strcspn(name, "}\n");
    bool ok;

    if (name[len] != '}')
        return fail(scan, "unfinished", "", "no '}' on this line");
    name[len] = '\0';
    ok = scan->in_word
             ? fail(scan, "cannot expand", name,
                    "put the whole value in double quotes")
             : refer(scan, expand, name);
    name[len] = '}';
    scan->at = name + len + 1;
    return ok;
}

/* Moves over one byte, counting lines. */
static void
step(struct scan *scan)
{
    if (*scan->at == '\n')
        scan->line++;
    if (*scan->at != '\0')
        scan->at++;
}

/* A comment of libconfuse: '#' begins one anywhere, the others do not within a
 * word, such as a URI. */
static bool
at_comment(const struct scan *scan)
{
    char c = scan->at[0], next = scan->at[1];

    return c == '#' || (!scan->in_word && c == '/'
                        && (next == '/' || next == '*'));
}

/*
 * Blanks the comment out but for its newlines: libconfuse counts the line on
 * which a comment ends twice, and takes none between an option and its value.
 */
static bool
blank_comment(struct scan *scan)
{
    bool block = scan->at[0] == '/' && scan->at[1] == '*';
    unsigned int line = scan->line;
    size_t left = block ? 2 : 0; /* bytes that cannot end it */

    while (*scan->at != '\0' && (block || *scan->at != '\n')) {
        bool end = block && left == 0 && scan->at[0] == '*'
                   && scan->at[1] == '/';

        if (left > 0)
            left--;
        if (*scan->at != '\n')
            *scan->at = ' ';
        if (end) {
            scan->at[1] = ' ';
            scan->at += 2;
            return true;
        }
        step(scan);
    }
    return !block || refuse(scan, line, "comment without its end");
}

/* Whether the escape sequence at a backslash stands for a NUL byte. */
static bool
escapes_nul(const char *at)
{
    bool hex = at[1] == 'x';
    const char *digits = at + (hex ? 2 : 1);
    size_t most = hex ? 2 : 3;
    size_t n = strspn(digits, hex ? "0123456789abcdefABCDEF" : "01234567");

    if (n > most)
        n = most;
    return n > 0 && strspn(digits, "0") >= n;
}

/* At a backslash: steps over it and what it stands before. */
static bool
step_escape(struct scan *scan, char quote)
{
    if (quote == '"' && escapes_nul(scan->at))
        return refuse(scan, scan->line, "NUL byte in a string");
    step(scan);
    step(scan);
    return true;
}

/* At a quote: reads to behind the one that closes it. */
static bool
read_quoted(struct scan *scan, struct conf_expand *expand)
{
    unsigned int line = scan->line;
    char quote = *scan->at;

    step(scan);
    while (*scan->at != quote) {
        bool ok = true;

        if (*scan->at == '\0')
            return refuse(scan, line, "string without its end");
        if (*scan->at == '\\')
            ok = step_escape(scan, quote);
        else if (quote == '"' && scan->at[0] == '$' && scan->at[1] == '{')
            ok = read_reference(scan, expand);
        else
            step(scan);
        if (!ok)
            return false;
    }
    step(scan);
    return true;
}

/* Walks over the text as libconfuse's lexer does. */
static bool
find_references(struct scan *scan, struct conf_expand *expand)
{
    while (*scan->at != '\0') {
        char c = *scan->at;
        bool ok = true, word = false;

        if (at_comment(scan)) {
            ok = blank_comment(scan);
        } else if (c == '$' && scan->at[1] == '{') {
            ok = read_reference(scan, expand);
        } else if (c == '"' || c == '\'') {
            ok = read_quoted(scan, expand);
        } else {
            word = strchr(" \t\r\n={}()+,*", c) == NULL;
            step(scan);
        }
        if (!ok)
            return false;
        scan->in_word = word;
    }
    return true;
}

struct conf_expand *
conf_expand_read(const char *path, char *error_r, size_t error_size)
{
    struct conf_expand *expand = calloc(1, sizeof(*expand));
    const char *error = "out of memory";
    mode_t mode = 0;
    struct scan scan = {.path = path, .line = 1, .error = error_r,
                        .error_size = error_size};

    if (expand != NULL)
        expand->text = read_file(path, FILE_MAX, &mode, &error);
    if (expand == NULL || expand->text == NULL) {
        snprintf(error_r, error_size, "%s: %s", path, error);
        free(expand);
        return NULL;
    }
    expand->exposed = (mode & S_IROTH) != 0;
    scan.at = expand->text;
    if (!find_references(&scan, expand))
        conf_expand_free(&expand);
    return expand;
}

const char *
conf_expand_text(const struct conf_expand *expand)
{
    return expand->text;
}

bool
conf_expand_exposed(const struct conf_expand *expand)
{
    return expand->exposed;
}

void
conf_expand_blank(struct conf_expand *expand)
{
    size_t i;

    for (i = 0; i < expand->count; i++) {
        char *value = expand->entries[i].text
                      + strlen(expand->entries[i].name) + 1;

        memset(value, CONF_EXPAND_BLANK, strlen(value));
    }
}

void
conf_expand_free(struct conf_expand **expand)
{
    size_t i;

    if (*expand == NULL)
        return;
    for (i = 0; i < (*expand)->count; i++)
        take_out(&(*expand)->entries[i]);
    discard((*expand)->text, strlen((*expand)->text));
    free(*expand);
    *expand = NULL;
}
