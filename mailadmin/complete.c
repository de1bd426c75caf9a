/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/complete.h"

#include "lib/addr.h"

#include "mailadmin/commands.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { FOUND_MAX = 2000 };

struct search {
    struct session *session;
    const char *prefix;
    bool live; /* whether names of the database make sense here */
    bool asked[STORE_DOMAIN + 1];
    char *found[FOUND_MAX];
    size_t count;
};

static void
add(struct search *search, const char *text, size_t len)
{
    char *copy;

    if (search->count == FOUND_MAX || len < strlen(search->prefix)
        || strncasecmp(text, search->prefix, strlen(search->prefix)) != 0)
        return;
    copy = strndup(text, len);
    if (copy != NULL)
        search->found[search->count++] = copy;
}

/* A name that could not be typed in a line, or would harm the terminal. */
static bool
is_plain(const char *name)
{
    for (; *name != '\0'; name++)
        if ((unsigned char) *name <= ' ' || *name == '\x7f')
            return false;
    return true;
}

static void
add_names(struct search *search, enum store_kind kind)
{
    char prefix[ADDR_MAX + 1];
    PGresult *names;
    size_t i;

    if (!search->live || search->asked[kind] || search->session->db == NULL
        || strlen(search->prefix) >= sizeof(prefix))
        return;
    search->asked[kind] = true;
    for (i = 0; search->prefix[i] != '\0'; i++)
        prefix[i] = search->prefix[i] >= 'A' && search->prefix[i] <= 'Z'
                        ? (char) (search->prefix[i] - 'A' + 'a')
                        : search->prefix[i];
    prefix[i] = '\0';
    if (store_complete(search->session->db, kind, prefix, &names)
        != STATUS_OK)
        return;
    for (i = 0; (int) i < PQntuples(names); i++) {
        const char *name = PQgetvalue(names, (int) i, 0);

        if (is_plain(name))
            add(search, name, strlen(name));
    }
    PQclear(names);
}

/* Files that the prefix is the begin of, and folders, which end in a slash. */
static void
add_files(struct search *search)
{
    const char *slash = strrchr(search->prefix, '/');
    size_t len = slash == NULL ? 0 : (size_t) (slash - search->prefix) + 1;
    char path[PATH_MAX];
    struct dirent *entry;
    struct stat file;
    DIR *folder;

    if (len + NAME_MAX + 2 > sizeof(path))
        return;
    snprintf(path, sizeof(path), "%.*s", (int) len, search->prefix);
    folder = opendir(len == 0 ? "." : path);
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.' && search->prefix[len] != '.')
            continue;
        snprintf(path + len, sizeof(path) - len - 1, "%s", entry->d_name);
        if (stat(path, &file) == 0 && S_ISDIR(file.st_mode))
            strcat(path + len, "/");
        if (is_plain(path))
            add(search, path, strlen(path));
    }
    if (folder != NULL)
        closedir(folder);
}

static void
on_token(const char *token, size_t len, void *context)
{
    static const char *const arguments[] = {"USER", "ADDRESS", "DOMAIN"};
    struct search *search = context;
    size_t i;

    for (i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
        if (strlen(arguments[i]) == len
            && memcmp(arguments[i], token, len) == 0) {
            add_names(search, (enum store_kind) i);
            return;
        }
    if ((len == 4 && memcmp(token, "FILE", 4) == 0)
        || (len == 6 && memcmp(token, "EXPORT", 6) == 0))
        add_files(search);
    else if (token[0] < 'A' || token[0] > 'Z')
        add(search, token, len);
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

void
complete(struct session *session, char *const *words, size_t count,
         const char *prefix, complete_fn *fn, void *context)
{
    struct search *search = calloc(1, sizeof(*search));
    const struct command *commands;
    size_t commands_count, i;

    if (search == NULL)
        return;
    /* help is followed by what it is to explain. */
    if (count > 0 && strcasecmp(words[0], "help") == 0) {
        words++;
        count--;
    }
    commands = commands_all(&commands_count);
    search->session = session;
    search->prefix = prefix;
    search->live = count > 0 && strcasecmp(words[0], "add") != 0;
    grammar_next(commands, commands_count, words, count, on_token, search);
    qsort(search->found, search->count, sizeof(search->found[0]), compare);
    for (i = 0; i < search->count; i++)
        if (i == 0 || strcmp(search->found[i - 1], search->found[i]) != 0)
            fn(search->found[i], context);
    for (i = 0; i < search->count; i++)
        free(search->found[i]);
    free(search);
}
