/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/edit.h"

#include "mailadmin/commands.h"
#include "mailadmin/complete.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"

#include <histedit.h>

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 1000 };

struct edit {
    struct session *session;
    EditLine *line;
    History *history;
    char path[PATH_MAX]; /* of the history, "" for none */
    size_t read;         /* characters of this line */
    bool saved;          /* something is to be saved */
    char *text;          /* the last line */
};

/* What completion has found so far. */
struct found {
    char *common; /* what all have in common, newly allocated */
    char **words;
    size_t count;
    size_t longest;
};

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int number)
{
    (void) number;
    interrupted = 1;
}

static char *
prompt(EditLine *line)
{
    static char text[] = "> ";

    (void) line;
    return text;
}

/* libedit's own would go on after an interrupt, and without an end. */
static int
get_character(EditLine *line, wchar_t *character_r)
{
    struct edit *edit;
    mbstate_t state;
    size_t used;
    ssize_t n;
    char byte;

    el_get(line, EL_CLIENTDATA, &edit);
    memset(&state, 0, sizeof(state));
    do {
        n = read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR && !interrupted)
            continue;
        if (n <= 0)
            return (int) n;
        /* The rest of a line that is too long is not kept. */
        if (++edit->read > INPUT_LINE_MAX && byte != '\n' && byte != '\r')
            continue;
        used = mbrtowc(character_r, &byte, 1, &state);
        if (used == (size_t) -1) {
            memset(&state, 0, sizeof(state));
            *character_r = L'?';
            return 1;
        }
        if (used != (size_t) -2)
            return 1;
    } while (true);
}

static void
on_found(const char *word, void *context)
{
    struct found *found = context;
    char **words = realloc(found->words,
                           (found->count + 1) * sizeof(*words));
    size_t same = 0;

    if (words == NULL)
        return;
    found->words = words;
    words[found->count] = strdup(word);
    if (words[found->count] == NULL)
        return;
    if (found->count++ == 0) {
        found->common = strdup(word);
    } else if (found->common != NULL) {
        while (word[same] != '\0' && word[same] == found->common[same])
            same++;
        found->common[same] = '\0';
    }
    if (output_columns(word) > found->longest)
        found->longest = output_columns(word);
}

static void
found_clear(struct found *found)
{
    size_t i;

    for (i = 0; i < found->count; i++)
        free(found->words[i]);
    free(found->words);
    free(found->common);
}

/* Shows the choices below the line, in as many columns as there is room. */
static void
show_choices(const struct found *found)
{
    size_t width = output_width(stdout), i;
    size_t columns = width / (found->longest + 2);

    columns = columns == 0 ? 1 : columns;
    for (i = 0; i < found->count; i++) {
        if (i % columns == 0)
            fputs("\r\n", stdout);
        output_cell(stdout, found->words[i],
                    (i + 1) % columns == 0 ? 0 : found->longest + 2);
    }
    fputs("\r\n", stdout);
    fflush(stdout);
}

/* Puts in what is certain; shows the choices when nothing more is. */
static unsigned char
use_found(EditLine *line, const struct found *found, const char *prefix)
{
    size_t typed = strlen(prefix);
    bool grew;

    if (found->count == 0 || found->common == NULL)
        return CC_REFRESH_BEEP;
    grew = strlen(found->common) > typed;
    /* What was typed in capitals is stored, and put in, in small ones. */
    if (grew || found->count == 1) {
        el_deletestr(line, (int) typed);
        el_insertstr(line, found->common);
    }
    if (found->count == 1) {
        /* A folder goes on. */
        if (found->common[strlen(found->common) - 1] != '/')
            el_insertstr(line, " ");
    } else if (!grew) {
        show_choices(found);
        return CC_REDISPLAY;
    }
    return CC_REFRESH;
}

static unsigned char
on_tabulator(EditLine *line, int key)
{
    const LineInfo *info = el_line(line);
    size_t len = (size_t) (info->cursor - info->buffer), count;
    static char *words[GRAMMAR_WORDS];
    struct found found = {0};
    const char *prefix = "";
    struct edit *edit;
    char *text = strndup(info->buffer, len);
    unsigned char result;

    (void) key;
    if (text == NULL)
        return CC_ERROR;
    el_get(line, EL_CLIENTDATA, &edit);
    count = grammar_split(text, words);
    if (count > GRAMMAR_WORDS) {
        free(text);
        return CC_ERROR;
    }
    if (count > 0 && info->buffer[len - 1] != ' '
        && info->buffer[len - 1] != '\t')
        prefix = words[--count];
    complete(edit->session, words, count, prefix, on_found, &found);
    result = use_found(line, &found, prefix);
    found_clear(&found);
    free(text);
    return result;
}

static void
find_history(struct edit *edit)
{
    const char *path = getenv("MAILADMIN_HISTORY"), *home = getenv("HOME");

    if (path != NULL)
        snprintf(edit->path, sizeof(edit->path), "%s", path);
    else if (home != NULL && home[0] == '/')
        snprintf(edit->path, sizeof(edit->path), "%s/.mailadmin_history",
                 home);
}

/* Whether the terminal can move its cursor. */
static bool
can_edit(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) == 1 && term != NULL && term[0] != '\0'
           && strcmp(term, "dumb") != 0 && strcmp(term, "unknown") != 0;
}

struct edit *
edit_new(struct session *session)
{
    struct edit *edit;
    HistEvent event;

    if (!can_edit() || (edit = calloc(1, sizeof(*edit))) == NULL)
        return NULL;
    setlocale(LC_CTYPE, "");
    edit->session = session;
    edit->line = el_init("mailadmin", stdin, stdout, stderr);
    edit->history = history_init();
    if (edit->line == NULL || edit->history == NULL) {
        edit_free(&edit);
        return NULL;
    }
    find_history(edit);
    history(edit->history, &event, H_SETSIZE, HISTORY_LINES);
    history(edit->history, &event, H_SETUNIQUE, 1);
    if (edit->path[0] != '\0')
        history(edit->history, &event, H_LOAD, edit->path);
    el_set(edit->line, EL_CLIENTDATA, edit);
    el_set(edit->line, EL_PROMPT, prompt);
    el_set(edit->line, EL_EDITOR, "emacs");
    el_set(edit->line, EL_HIST, history, edit->history);
    el_set(edit->line, EL_GETCFN, get_character);
    el_set(edit->line, EL_ADDFN, "mailadmin-complete", "Complete a word",
           on_tabulator);
    el_set(edit->line, EL_BIND, "^I", "mailadmin-complete", NULL);
    el_set(edit->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(edit->line, NULL);
    return edit;
}

void
edit_free(struct edit **edit)
{
    HistEvent event;
    mode_t mask;

    if (*edit == NULL)
        return;
    if ((*edit)->saved && (*edit)->path[0] != '\0') {
        mask = umask(077);
        history((*edit)->history, &event, H_SAVE, (*edit)->path);
        umask(mask);
    }
    if ((*edit)->line != NULL)
        el_end((*edit)->line);
    if ((*edit)->history != NULL)
        history_end((*edit)->history);
    free((*edit)->text);
    free(*edit);
    *edit = NULL;
}

static void
remember(struct edit *edit, const char *line)
{
    HistEvent event;

    if (!commands_begin(line))
        return;
    history(edit->history, &event, H_ENTER, line);
    edit->saved = true;
}

enum input_result
edit_line(struct edit *edit, char **line_r)
{
    struct sigaction action = {.sa_handler = on_interrupt}, before;
    const char *line;
    int len;

    edit->read = 0;
    interrupted = 0;
    sigaction(SIGINT, &action, &before);
    line = el_gets(edit->line, &len);
    sigaction(SIGINT, &before, NULL);
    free(edit->text);
    *line_r = edit->text = NULL;
    if (interrupted) {
        fputs("^C\n", stdout);
        el_reset(edit->line);
    } else if (line == NULL || len <= 0) {
        return INPUT_END;
    }
    edit->text = strndup(interrupted ? "" : line,
                         interrupted ? 0 : strcspn(line, "\n"));
    if (edit->text == NULL)
        return INPUT_ERROR;
    *line_r = edit->text;
    if (edit->read > INPUT_LINE_MAX)
        return INPUT_TOO_LONG;
    remember(edit, edit->text);
    return INPUT_LINE;
}
