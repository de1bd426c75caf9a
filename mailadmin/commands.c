/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/output.h"
#include "mailadmin/session.h"

#include <stdio.h>
#include <string.h>

static enum status help(struct session *, const struct arguments *);
static enum status leave(struct session *, const struct arguments *);

static const struct command commands[] = {
    {"add user USER... [--generate] [--no-password] [--if-not-exists]",
     "add users; asks for the password of each, or makes and prints one, or "
     "lets them not log in yet",
     command_add_user, false, GRAMMAR_ADD},
    {"add address ADDRESS... [--if-not-exists]", "add addresses",
     command_change, false, GRAMMAR_ADD},
    {"add domain DOMAIN... [--if-not-exists]", "add domains", command_change,
     false, GRAMMAR_ADD},
    {"del user USER... [--if-exists]", "delete users and their grants",
     command_change, false, GRAMMAR_DEL},
    {"del address ADDRESS... [--if-exists]",
     "delete addresses and their grants", command_change, false, GRAMMAR_DEL},
    {"del domain DOMAIN... [--if-exists]", "delete domains and their grants",
     command_change, false, GRAMMAR_DEL},
    {"rename user USER to NAME",
     "rename a user, who keeps grants and password",
     command_rename, false, GRAMMAR_NO_CHANGE},
    {"grant address ADDRESS... to USER [until DATE]",
     "let a user send as these addresses", command_change, false,
     GRAMMAR_GRANT},
    {"grant domain DOMAIN... to USER [with subdomains] [until DATE]",
     "let a user send as any address of these domains", command_change, false,
     GRAMMAR_GRANT},
    {"revoke address ADDRESS... from USER [--if-exists]",
     "take grants back", command_change, false, GRAMMAR_REVOKE},
    {"revoke domain DOMAIN... from USER [--if-exists]", "take grants back",
     command_change, false, GRAMMAR_REVOKE},
    {"list users [PATTERN] [--disabled] [--legacy]",
     "list users: all, the disabled, those whose secret is of an old form",
     command_list_users, false, GRAMMAR_NO_CHANGE},
    {"list addresses [PATTERN]", "list addresses", command_list_addresses,
     false, GRAMMAR_NO_CHANGE},
    {"list domains [PATTERN]", "list domains", command_list_domains, false,
     GRAMMAR_NO_CHANGE},
    {"list grants [PATTERN] [--expired]",
     "list who may send as what, or what has ended", command_list_grants,
     false, GRAMMAR_NO_CHANGE},
    {"show user USER", "show what a user was granted", command_show_user,
     false, GRAMMAR_NO_CHANGE},
    {"show address ADDRESS", "show who was granted an address",
     command_show_address, false, GRAMMAR_NO_CHANGE},
    {"show domain DOMAIN", "show who was granted a domain",
     command_show_domain, false, GRAMMAR_NO_CHANGE},
    {"passwd USER [--generate] [--overlap TIME]",
     "set a password; asks for it, or makes and prints one; the old one stays "
     "valid for TIME, such as 24h",
     command_passwd, false, GRAMMAR_NO_CHANGE},
    {"enable user USER...", "let users log in and send again", command_change,
     false, GRAMMAR_ENABLE},
    {"disable user USER...", "stop users, keeping their grants",
     command_change, false, GRAMMAR_DISABLE},
    {"check --log LINE...",
     "explain a line of the log of Postfix or policyd", command_check_log,
     false, GRAMMAR_NO_CHANGE},
    {"check --ref LINE...",
     "explain a refusal by its reference, from the line that has it or from "
     "a log on standard input",
     command_check_ref, false, GRAMMAR_NO_CHANGE},
    {"check USER SENDER",
     "say whether a user may send as SENDER, why, and what would permit it",
     command_check, false, GRAMMAR_NO_CHANGE},
    {"export [--with-secrets]",
     "write users, addresses, domains and grants as a text for plan, apply "
     "and test, with stored passwords or without",
     command_export, false, GRAMMAR_NO_CHANGE},
    {"plan FILE", "say what apply would change", command_plan, false,
     GRAMMAR_NO_CHANGE},
    {"apply FILE [--plan ID]",
     "make everything what FILE says; with --plan only if that is still what "
     "this plan said",
     command_apply, false, GRAMMAR_NO_CHANGE},
    {"test FILE [--on EXPORT]",
     "check each line of FILE, such as \"shop may sale@example.com\", against "
     "the database or a text that export wrote",
     command_test, false, GRAMMAR_NO_CHANGE},
    {"learn [--since TIME] [--domain-threshold N] [--suspicious] [--apply]",
     "propose grants that would have permitted what was observed, or make "
     "them",
     command_learn, false, GRAMMAR_NO_CHANGE},
    {"unused [--since TIME]", "list grants that nothing has used",
     command_unused, false, GRAMMAR_NO_CHANGE},
    {"impact revoke address ADDRESS from USER [--since TIME]",
     "list what was observed and would be refused without the grant",
     command_impact_address, false, GRAMMAR_NO_CHANGE},
    {"impact revoke domain DOMAIN from USER [--since TIME]",
     "list what was observed and would be refused without the grant",
     command_impact_domain, false, GRAMMAR_NO_CHANGE},
    {"impact del user USER [--since TIME]",
     "list what was observed and would be refused without the user",
     command_impact_user, false, GRAMMAR_NO_CHANGE},
    {"impact del address ADDRESS [--since TIME]",
     "list what was observed and would be refused without the address",
     command_impact_address, false, GRAMMAR_NO_CHANGE},
    {"impact del domain DOMAIN [--since TIME]",
     "list what was observed and would be refused without the domain",
     command_impact_domain, false, GRAMMAR_NO_CHANGE},
    {"impact disable user USER [--since TIME]",
     "list what was observed and would be refused were the user disabled",
     command_impact_user, false, GRAMMAR_NO_CHANGE},
    {"schema init [--demo]",
     "make the tables in an empty database; --demo adds a user demo",
     command_schema_init, false, GRAMMAR_NO_CHANGE},
    {"schema upgrade", "bring the tables of an older version up to date",
     command_schema_upgrade, false, GRAMMAR_NO_CHANGE},
    {"schema status", "say which version the tables are",
     command_schema_status, false, GRAMMAR_NO_CHANGE},
    {"help [COMMAND...]", "explain the commands", help, true,
     GRAMMAR_NO_CHANGE},
    {"exit", "leave the interactive mode", leave, true, GRAMMAR_NO_CHANGE},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

const struct command *
commands_all(size_t *count_r)
{
    *count_r = COMMANDS;
    return commands;
}

/* The words are not repeated: on standard input one may be a password that
 * its command did not ask for. */
static void
say_usage(struct session *session, char *const *words, size_t count)
{
    size_t i, best = 0, used;

    for (i = 0; i < COMMANDS; i++) {
        size_t n = grammar_likeness(&commands[i], words, count);

        best = n > best ? n : best;
    }
    if (best == 0) {
        session_say(session, STATUS_USAGE,
                    "unknown command (see: mailadmin help)");
        return;
    }
    session_say(session, STATUS_USAGE, "usage:");
    for (i = 0; i < COMMANDS; i++) {
        if (grammar_likeness(&commands[i], words, count) != best)
            continue;
        used = strlen(session->message);
        snprintf(session->message + used, sizeof(session->message) - used,
                 "%s %s", session->message[used - 1] == ':' ? "" : " |",
                 commands[i].pattern);
    }
}

const struct command *
commands_find(struct session *session, char *const *words, size_t count,
              struct arguments *arguments_r)
{
    const struct command *command;

    command = grammar_match(commands, COMMANDS, words, count, arguments_r);
    if (command == NULL)
        say_usage(session, words, count);
    return command;
}

enum status
commands_run(struct session *session, const struct command *command,
             const struct arguments *arguments)
{
    enum status status;

    progress_clear(&session->progress);
    status = command->run(session, arguments);
    if (!output_flush(stdout)) {
        clearerr(stdout);
        return session_say(session, STATUS_SYSTEM,
                           "standard output: cannot write");
    }
    return status;
}

bool
commands_begin(const char *line)
{
    size_t start = strspn(line, " \t");
    size_t len = strcspn(line + start, " \t"), i;
    char word[16], *words[] = {word};

    if (len == 0 || len >= sizeof(word))
        return false;
    memcpy(word, line + start, len);
    word[len] = '\0';
    for (i = 0; i < COMMANDS; i++)
        if (grammar_likeness(&commands[i], words, 1) == 1)
            return true;
    return false;
}

static const char notes[] =
    "\n"
    "PATTERN is a name in which * stands for anything and ? for a letter. A\n"
    "DATE is YYYY-MM-DD, as it begins, or YYYY-MM-DDTHH:MM, in UTC.\n"
    "\n"
    "Without a command, commands are read from standard input, one a line; a\n"
    "line that begins with # is a comment. With --strict the first failure\n"
    "ends that, with its exit status.\n"
    "Passwords are asked for on a terminal; otherwise they are the next line\n"
    "of standard input.\n"
    "\n"
    "A FILE that is - is standard input.\n"
    "\n"
    "Exit status: 0 done or permitted, 1 refused by check, or would be by\n"
    "impact, a test failed, or plan found something to do, 64 usage, 65 bad\n"
    "name, address, domain or file, 67 no such user, address or domain,\n"
    "71 system error, 73 already there, 75 database unavailable or changed\n"
    "meanwhile, 77 not allowed,\n"
    "78 configuration. Commands read from standard input change it only with\n"
    "--strict: else it is 0 at the end of the input.\n";

static json_t *
help_json(const struct arguments *arguments, size_t like)
{
    json_t *list = json_array();
    size_t i;

    for (i = 0; i < COMMANDS; i++)
        if (grammar_likeness(&commands[i], arguments->rest,
                             arguments->rest_count)
            == like)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s}", "usage",
                                            commands[i].pattern, "help",
                                            commands[i].help));
    return json_pack("{s:o}", "commands", list);
}

static enum status
help(struct session *session, const struct arguments *arguments)
{
    size_t i, like = arguments->rest_count, shown = 0;

    for (i = 0; i < COMMANDS; i++)
        if (grammar_likeness(&commands[i], arguments->rest, like) == like)
            shown++;
    if (shown == 0)
        return session_say(session, STATUS_USAGE,
                           "no such command (see: mailadmin help)");
    if (session->json)
        return session_json(session, help_json(arguments, like));
    puts("usage: mailadmin [-c FILE] [-f text|json] [--strict] [COMMAND]\n");
    for (i = 0; i < COMMANDS; i++)
        if (grammar_likeness(&commands[i], arguments->rest, like) == like)
            printf("    %s\n        %s\n", commands[i].pattern,
                   commands[i].help);
    if (like == 0)
        fputs(notes, stdout);
    return STATUS_OK;
}

static enum status
leave(struct session *session, const struct arguments *arguments)
{
    (void) arguments;
    session->leaving = true;
    if (!session->json)
        puts("Bye");
    return STATUS_OK;
}
