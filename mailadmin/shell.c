/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/shell.h"

#include "mailadmin/batch.h"
#include "mailadmin/commands.h"
#include "mailadmin/edit.h"
#include "mailadmin/grammar.h"
#include "mailadmin/input.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shell {
    struct session *session;
    struct batch *batch; /* NULL at a terminal */
    struct edit *edit;   /* NULL for scripts and plain terminals */
    unsigned long number; /* of the line, 0 at a terminal */
};

static enum status
run_words(struct shell *shell, char *const *words, size_t count)
{
    struct session *session = shell->session;
    struct arguments arguments;
    const struct command *command;
    enum status status = STATUS_OK;

    command = commands_find(session, words, count, &arguments);
    if (command != NULL && shell->batch != NULL) {
        if (batch_take(shell->batch, session, &arguments, shell->number))
            return STATUS_OK;
        status = batch_flush(shell->batch, session);
        if (status != STATUS_OK)
            return status;
        if (batch_take(shell->batch, session, &arguments, shell->number))
            return STATUS_OK;
    }
    return command == NULL ? STATUS_USAGE
                           : commands_run(session, command, &arguments);
}

static enum status
run_line(struct shell *shell, char *line)
{
    struct session *session = shell->session;
    static char *words[GRAMMAR_WORDS];
    size_t count = grammar_split(line, words);

    if (count == 0 || words[0][0] == '#')
        return STATUS_OK;
    if (count > GRAMMAR_WORDS)
        return session_say(session, STATUS_USAGE, "more than %d words",
                           GRAMMAR_WORDS);
    return run_words(shell, words, count);
}

/* A command may read a line itself, over this one. */
static enum status
run_copy(struct shell *shell, const char *line)
{
    char *copy = strdup(line);
    enum status status;

    if (copy == NULL)
        return session_say(shell->session, STATUS_SYSTEM, "out of memory");
    status = run_line(shell, copy);
    free(copy);
    return status;
}

static enum input_result
read_line(struct shell *shell, char **line_r)
{
    struct input *input = shell->session->input;
    enum input_result result;
    size_t len;

    if (shell->edit != NULL)
        return edit_line(shell->edit, line_r);
    if (shell->batch == NULL) {
        fputs("> ", stdout);
        fflush(stdout);
    }
    result = input_line(input, line_r, &len);
    if (shell->batch != NULL)
        shell->number = input_lines(input);
    return result;
}

/* Runs the next line; false at the end of the input. */
static bool
step(struct shell *shell, enum status *status_r)
{
    struct session *session = shell->session;
    char *line;

    switch (read_line(shell, &line)) {
    case INPUT_LINE:
        *status_r = run_copy(shell, line);
        return true;
    case INPUT_TOO_LONG:
        *status_r = session_say(session, STATUS_USAGE, "line over %d bytes",
                                INPUT_LINE_MAX);
        return true;
    case INPUT_NUL:
        *status_r = session_say(session, STATUS_USAGE,
                                "NUL byte in the line");
        return true;
    case INPUT_ERROR:
        *status_r = session_say(session, STATUS_SYSTEM, "standard input: %s",
                                strerror(errno));
        return false;
    case INPUT_END:
        break;
    }
    *status_r = output_flush(stdout) ? STATUS_OK : STATUS_SYSTEM;
    if (shell->batch == NULL)
        putchar('\n');
    return false;
}

/* Makes what is held back, unless the next line can join it. What a line said
 * comes after what those before it say. */
static enum status
settle(struct shell *shell, bool more, enum status status)
{
    struct session *session = shell->session;
    char message[sizeof(session->message)];
    enum status before = STATUS_OK;

    if (shell->batch == NULL || !batch_holds(shell->batch)
        || (more && !session->leaving && session->message[0] == '\0'
            && input_ready(session->input)))
        return status;
    memcpy(message, session->message, sizeof(message));
    session->message[0] = '\0';
    before = batch_flush(shell->batch, session);
    if (before != STATUS_OK)
        return before;
    memcpy(session->message, message, sizeof(message));
    return status;
}

static enum status
loop(struct shell *shell)
{
    struct session *session = shell->session;
    enum status status;
    bool more;

    do {
        more = step(shell, &status);
        status = settle(shell, more, status);
        if (!more)
            return status;
        session_print(session, shell->number);
        progress_show(&session->progress, session->input, shell->number);
        if (session->strict && status != STATUS_OK)
            return status;
    } while (!session->leaving);
    return STATUS_OK;
}

enum status
shell_run(struct session *session)
{
    struct shell shell = {.session = session};
    enum status status;

    if (input_is_terminal(session->input)) {
        shell.edit = edit_new(session);
    } else {
        session->lines = true;
        shell.batch = batch_new();
        if (shell.batch == NULL)
            return session_say(session, STATUS_SYSTEM, "out of memory");
        progress_start(&session->progress);
    }
    status = loop(&shell);
    progress_clear(&session->progress);
    edit_free(&shell.edit);
    batch_free(&shell.batch);
    return status;
}
