/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_SESSION_H
#define MAILADMIN_SESSION_H

/*
 * What the commands of one run share, and the means by which a command says
 * what it has to say: results on standard output, everything else as the one
 * message of the command, which the caller of the command prints.
 */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "lib/addr.h"
#include "lib/secret.h"

#include "mailadmin/progress.h"
#include "mailadmin/status.h"

struct conf;
struct db;
struct input;

struct session {
    struct conf *conf; /* NULL for commands that need none */
    struct db *db;     /* NULL likewise */
    struct input *input;
    bool json;
    bool strict;  /* the first failure of a script ends it */
    bool lines;   /* commands are read from standard input */
    bool leaving; /* after exit */
    unsigned int helped; /* how often closest_say() looked */
    struct progress progress; /* of a script */
    char message[2048];
};

/* Sets the message; returns the status. */
enum status session_say(struct session *session, enum status status,
                        const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds to the message: as it comes, or behind a "; " if there is one. */
void session_append(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void session_add(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints the message, if there is one, to standard error and forgets it.
 * number: its line's, 0 for none. */
void session_print(struct session *session, unsigned long number);

/* The message of the database's last failure; returns the status. */
enum status session_db(struct session *session, enum status status);

/* Prints the object in JSON and frees it. */
enum status session_json(struct session *session, json_t *object);

/* In JSON, the end of a command that may have changed something. */
enum status session_done(struct session *session, const char *command,
                         bool changed);

/* Bring an argument into its stored form, or say what is wrong with it: the
 * rule and, where one is to blame, the character. */
bool session_name(struct session *session, const char *text,
                  struct user_name *name_r);
bool session_address(struct session *session, const char *text,
                     struct addr *address_r);
bool session_domain(struct session *session, const char *text,
                    struct domain *domain_r);

/* A password from the terminal or the input, or a new one when generate. The
 * prompt names whom it is for, unless that is NULL. */
enum status session_password(struct session *session, bool generate,
                             const char *whom,
                             char password_r[static SECRET_PASSWORD_MAX + 1],
                             size_t *len_r);

#endif
