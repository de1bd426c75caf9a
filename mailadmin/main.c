/* SPDX-License-Identifier: MIT */
/*
 * mailadmin: one command from the arguments, or commands line by line from
 * standard input.
 */
#include "config.h"

#include "lib/conf.h"

#include "mailadmin/commands.h"
#include "mailadmin/db.h"
#include "mailadmin/grammar.h"
#include "mailadmin/input.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* The one message of a command; number 0 for none of a line. */
static void
print_message(struct session *session, unsigned long number)
{
    if (session->message[0] == '\0')
        return;
    fflush(stdout);
    fputs("mailadmin: ", stderr);
    if (number > 0)
        fprintf(stderr, "line %lu: ", number);
    output_text(stderr, session->message);
    fputc('\n', stderr);
    session->message[0] = '\0';
}

/* Whether libpq's environment says which database it is. */
static bool
environment_names_database(void)
{
    static const char *const names[] = {"PGSERVICE", "PGHOST", "PGHOSTADDR",
                                        "PGPORT", "PGDATABASE"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (getenv(names[i]) != NULL)
            return true;
    return false;
}

/*
 * A file that was asked for must be there. The default one may be absent when
 * the environment names the database: then all options are at their defaults.
 */
static enum status
load_conf(struct session *session, const char *path)
{
    char error[1024];

    if (path == NULL)
        path = getenv("MAILADMIN_CONF");
    if (path == NULL || path[0] == '\0') {
        path = CONFDIR "/mailadmin.conf";
        if (access(path, F_OK) != 0 && errno == ENOENT
            && environment_names_database())
            path = "/dev/null";
    }
    session->conf = conf_load(CONF_MAILADMIN, path, error, sizeof(error));
    if (session->conf == NULL)
        return session_say(session, STATUS_CONFIG, "%s", error);
    session->db = db_new(session->conf->conninfo,
                         session->conf->database_timeout_ms);
    if (session->db == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    return STATUS_OK;
}

static enum status
run(struct session *session, const struct command *command,
    const struct arguments *arguments)
{
    enum status status = command->run(session, arguments);

    if (!output_flush(stdout)) {
        clearerr(stdout);
        return session_say(session, STATUS_SYSTEM,
                           "standard output: cannot write");
    }
    return status;
}

static enum status
run_words(struct session *session, char **words, size_t count,
          const char *conf_path)
{
    const struct command *command;
    struct arguments arguments;
    enum status status;

    command = commands_find(session, words, count, &arguments);
    if (command == NULL)
        return STATUS_USAGE;
    if (!command->alone) {
        status = load_conf(session, conf_path);
        if (status != STATUS_OK)
            return status;
    }
    return run(session, command, &arguments);
}

static void
run_line(struct session *session, char *line)
{
    char *words[GRAMMAR_WORDS];
    struct arguments arguments;
    const struct command *command;
    size_t count = grammar_split(line, words), i;
    char *copies[GRAMMAR_WORDS];

    if (count == 0)
        return;
    if (count > GRAMMAR_WORDS) {
        session_say(session, STATUS_USAGE, "more than %d words",
                    GRAMMAR_WORDS);
        return;
    }
    /* A command may read a line itself, over this one. */
    for (i = 0; i < count; i++)
        copies[i] = strdup(words[i]);
    for (i = 0; i < count && copies[i] != NULL; i++)
        ;
    if (i < count)
        session_say(session, STATUS_SYSTEM, "out of memory");
    else if ((command = commands_find(session, copies, count, &arguments))
             != NULL)
        run(session, command, &arguments);
    for (i = 0; i < count; i++)
        free(copies[i]);
}

/* Failures do not end a session and do not count at its end: what stands on a
 * line has no bearing on the next. */
static enum status
run_session(struct session *session)
{
    bool terminal = input_is_terminal(session->input);
    enum input_result result;
    unsigned long number;
    char *line;
    size_t len;

    session->lines = !terminal;
    while (!session->leaving) {
        if (terminal) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        result = input_line(session->input, &line, &len);
        number = input_lines(session->input);
        switch (result) {
        case INPUT_LINE:
            run_line(session, line);
            break;
        case INPUT_TOO_LONG:
            session_say(session, STATUS_USAGE, "line over %d bytes",
                        INPUT_LINE_MAX);
            break;
        case INPUT_NUL:
            session_say(session, STATUS_USAGE, "NUL byte in the line");
            break;
        case INPUT_ERROR:
            return session_say(session, STATUS_SYSTEM, "standard input: %s",
                               strerror(errno));
        case INPUT_END:
            if (terminal)
                putchar('\n');
            return output_flush(stdout) ? STATUS_OK : STATUS_SYSTEM;
        }
        print_message(session, terminal ? 0 : number);
    }
    return STATUS_OK;
}

/* The password of the database and those of users are in memory. */
static void
keep_memory_private(void)
{
    const struct rlimit none = {0, 0};

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
}

struct command_line {
    const char *conf_path;
    bool json;
    bool version;
    int first; /* word of the command in argv */
};

static enum status
parse_options(struct session *session, int argc, char **argv,
              struct command_line *line_r)
{
    int i = 1;

    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--version") == 0) {
            line_r->version = true;
        } else if (strcmp(argv[i], "-c") == 0 && value != NULL) {
            line_r->conf_path = argv[++i];
        } else if (strcmp(argv[i], "-f") == 0 && value != NULL
                   && (strcmp(value, "text") == 0
                       || strcmp(value, "json") == 0)) {
            line_r->json = strcmp(argv[++i], "json") == 0;
        } else {
            return session_say(session, STATUS_USAGE,
                               "usage: mailadmin [-c FILE] [-f text|json] "
                               "[COMMAND] (see: mailadmin help)");
        }
    }
    line_r->first = i;
    return STATUS_OK;
}

static enum status
start(struct session *session, int argc, char **argv)
{
    struct command_line line = {NULL, false, false, 0};
    enum status status = parse_options(session, argc, argv, &line);

    if (status != STATUS_OK)
        return status;
    session->json = line.json;
    if (line.version) {
        puts("mailadmin (" PACKAGE_NAME ") " PACKAGE_VERSION);
        return output_flush(stdout) ? STATUS_OK : STATUS_SYSTEM;
    }
    session->input = input_new(STDIN_FILENO);
    if (session->input == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    if (line.first < argc)
        return run_words(session, argv + line.first,
                         (size_t) (argc - line.first), line.conf_path);
    status = load_conf(session, line.conf_path);
    return status == STATUS_OK ? run_session(session) : status;
}

int
main(int argc, char **argv)
{
    struct session session;
    enum status status;

    keep_memory_private();
    memset(&session, 0, sizeof(session));
    status = start(&session, argc, argv);
    print_message(&session, 0);
    input_free(&session.input);
    db_free(&session.db);
    conf_free(&session.conf);
    return (int) status;
}
