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
    {"add user USER [--generate]",
     "add a user; asks for the password, or makes and prints one",
     command_add_user, false},
    {"add address ADDRESS", "add an address", command_add_address, false},
    {"add domain DOMAIN", "add a domain", command_add_domain, false},
    {"del user USER", "delete a user and its grants", command_del_user,
     false},
    {"del address ADDRESS", "delete an address and its grants",
     command_del_address, false},
    {"del domain DOMAIN", "delete a domain and its grants",
     command_del_domain, false},
    {"grant address ADDRESS to USER", "let a user send as an address",
     command_grant_address, false},
    {"grant domain DOMAIN to USER [with subdomains]",
     "let a user send as any address of a domain", command_grant_domain,
     false},
    {"revoke address ADDRESS from USER", "take a grant back",
     command_revoke_address, false},
    {"revoke domain DOMAIN from USER", "take a grant back",
     command_revoke_domain, false},
    {"list users", "list all users", command_list_users, false},
    {"list addresses", "list all addresses", command_list_addresses, false},
    {"list domains", "list all domains", command_list_domains, false},
    {"show user USER", "show what a user was granted", command_show_user,
     false},
    {"show address ADDRESS", "show who was granted an address",
     command_show_address, false},
    {"show domain DOMAIN", "show who was granted a domain",
     command_show_domain, false},
    {"passwd USER [--generate]",
     "set a password; asks for it, or makes and prints one", command_passwd,
     false},
    {"enable user USER", "let a user log in and send again", command_enable,
     false},
    {"disable user USER", "stop a user, keeping its grants",
     command_disable, false},
    {"check USER SENDER", "say whether a user may send as SENDER, and why",
     command_check, false},
    {"schema init [--demo]",
     "make the tables in an empty database; --demo adds a user demo",
     command_schema_init, false},
    {"schema upgrade", "bring the tables of an older version up to date",
     command_schema_upgrade, false},
    {"schema status", "say which version the tables are",
     command_schema_status, false},
    {"help [COMMAND...]", "explain the commands", help, true},
    {"exit", "leave", leave, true},
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

static const char notes[] =
    "\n"
    "Without a command, commands are read from standard input, one a line.\n"
    "Passwords are asked for on a terminal; otherwise they are the next line\n"
    "of standard input.\n"
    "\n"
    "Exit status: 0 done or permitted, 1 refused by check, 64 usage, 65 bad\n"
    "name, address or domain, 67 no such user, address or domain, 71 system\n"
    "error, 73 already there, 75 database unavailable, 77 not allowed,\n"
    "78 configuration. Commands read from standard input do not change it:\n"
    "it is 0 at the end of the input.\n";

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
    printf("usage: mailadmin [-c FILE] [-f text|json] COMMAND\n\n");
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
