/* SPDX-License-Identifier: MIT */
/*
 * mailadmin: one command from the arguments, or commands line by line from
 * standard input.
 */
#include "config.h"

#include "lib/conf.h"

#include "mailadmin/commands.h"
#include "mailadmin/complete.h"
#include "mailadmin/db.h"
#include "mailadmin/grammar.h"
#include "mailadmin/input.h"
#include "mailadmin/output.h"
#include "mailadmin/session.h"
#include "mailadmin/shell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

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
 * the environment names the database, or none is asked: then all options are
 * at their defaults.
 */
static enum status
load_conf(struct session *session, const char *path, bool database)
{
    char error[1024];

    if (path == NULL)
        path = getenv("MAILADMIN_CONF");
    if (path == NULL || path[0] == '\0') {
        path = CONFDIR "/mailadmin.conf";
        if (access(path, F_OK) != 0 && errno == ENOENT
            && (!database || environment_names_database()))
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
        status = load_conf(session, conf_path,
                           !grammar_given(&arguments, "--on"));
        if (status != STATUS_OK)
            return status;
    }
    return commands_run(session, command, &arguments);
}

static void
print_word(const char *word, void *context)
{
    (void) context;
    puts(word);
}

/* What a shell asks when the last of the words is not complete yet. Keywords
 * are told without a database, too. */
static enum status
complete_words(struct session *session, char **words, size_t count,
               const char *conf_path)
{
    if (count == 0)
        return STATUS_OK;
    load_conf(session, conf_path, true);
    session->message[0] = '\0';
    if (count <= GRAMMAR_WORDS)
        complete(session, words, count - 1, words[count - 1], print_word,
                 NULL);
    return output_flush(stdout) ? STATUS_OK : STATUS_SYSTEM;
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
    bool strict;
    bool version;
    bool complete;
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
        } else if (strcmp(argv[i], "--strict") == 0) {
            line_r->strict = true;
        } else if (strcmp(argv[i], "--complete") == 0) {
            line_r->complete = true;
            i++;
            break;
        } else if (strcmp(argv[i], "-c") == 0 && value != NULL) {
            line_r->conf_path = argv[++i];
        } else if (strcmp(argv[i], "-f") == 0 && value != NULL
                   && (strcmp(value, "text") == 0
                       || strcmp(value, "json") == 0)) {
            line_r->json = strcmp(argv[++i], "json") == 0;
        } else {
            return session_say(session, STATUS_USAGE,
                               "usage: mailadmin [-c FILE] [-f text|json] "
                               "[--strict] [COMMAND] (see: mailadmin "
                               "help)");
        }
    }
    line_r->first = i;
    return STATUS_OK;
}

static enum status
start(struct session *session, int argc, char **argv)
{
    struct command_line line = {.conf_path = NULL};
    enum status status = parse_options(session, argc, argv, &line);

    if (status != STATUS_OK)
        return status;
    session->json = line.json;
    session->strict = line.strict;
    if (line.version) {
        puts("mailadmin (" PACKAGE_NAME ") " PACKAGE_VERSION);
        return output_flush(stdout) ? STATUS_OK : STATUS_SYSTEM;
    }
    session->input = input_new(STDIN_FILENO);
    if (session->input == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    if (line.complete)
        return complete_words(session, argv + line.first,
                              (size_t) (argc - line.first), line.conf_path);
    if (line.first < argc)
        return run_words(session, argv + line.first,
                         (size_t) (argc - line.first), line.conf_path);
    status = load_conf(session, line.conf_path, true);
    return status == STATUS_OK ? shell_run(session) : status;
}

int
main(int argc, char **argv)
{
    struct session session;
    enum status status;

    keep_memory_private();
    memset(&session, 0, sizeof(session));
    status = start(&session, argc, argv);
    session_print(&session, 0);
    input_free(&session.input);
    db_free(&session.db);
    conf_free(&session.conf);
    return (int) status;
}
