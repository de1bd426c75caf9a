/* SPDX-License-Identifier: MIT */
/* Users and their passwords. */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/conf.h"

#include "mailadmin/change.h"
#include "mailadmin/closest.h"
#include "mailadmin/moment.h"
#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A password that was made here, to be printed once. */
typedef char generated[SECRET_GENERATED + 1];

/* Prints a line without leaving it in a buffer of stdio's. */
static enum status
print_secretly(struct session *session, const char *line, int len)
{
    fflush(stdout);
    if (write(STDOUT_FILENO, line, (size_t) len) == len)
        return STATUS_OK;
    return session_say(session, STATUS_SYSTEM,
                       "the password is set but could not be printed");
}

/* Names and passwords have nothing that JSON would escape. */
static enum status
print_password(struct session *session, const char *command,
               const char *password)
{
    char line[256];
    enum status status;
    int len;

    if (session->json)
        len = snprintf(line, sizeof(line),
                       "{\"command\": \"%s\", \"changed\": true, "
                       "\"password\": \"%s\"}\n",
                       command, password);
    else
        len = snprintf(line, sizeof(line), "%s\n", password);
    status = print_secretly(session, line, len);
    secret_wipe(line, sizeof(line));
    return status;
}

/* The passwords of several new users, each behind its name. */
static enum status
print_passwords(struct session *session, const struct change *change,
                generated *passwords)
{
    static const char opening[] = "{\"command\": \"add user\", "
                                  "\"changed\": %s, \"passwords\": {";
    bool changed = false, first = true;
    enum status status = STATUS_OK;
    char line[256];
    size_t i;

    for (i = 0; i < change->store.count; i++)
        changed = changed || change->store.items[i].changed;
    if (session->json)
        status = print_secretly(session, line,
                                snprintf(line, sizeof(line), opening,
                                         changed ? "true" : "false"));
    for (i = 0; i < change->store.count && status == STATUS_OK; i++) {
        const struct store_item *item = &change->store.items[i];

        if (!item->changed)
            continue;
        status = print_secretly(
            session, line,
            snprintf(line, sizeof(line),
                     session->json ? "%s\"%s\": \"%s\"" : "%s%s %s\n",
                     session->json && !first ? ", " : "", item->text,
                     passwords[i]));
        first = false;
    }
    secret_wipe(line, sizeof(line));
    if (session->json && status == STATUS_OK)
        status = print_secretly(session, "}}\n", 3);
    return status;
}

/* Asks for the password of a user, or makes one, and makes its secret, newly
 * allocated. */
static enum status
make_secret(struct session *session, bool generate, const char *whom,
            char **secret_r, generated generated_r)
{
    char password[SECRET_PASSWORD_MAX + 1];
    const char *error;
    enum status status;
    size_t len;

    *secret_r = calloc(1, SECRET_MAX);
    if (*secret_r == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    status = session_password(session, generate, whom, password, &len);
    if (status != STATUS_OK)
        return status;
    if (!secret_make(&session->conf->secret_policy, password, len, *secret_r,
                     &error))
        status = session_say(session, STATUS_SYSTEM, "%s", error);
    else if (generate)
        memcpy(generated_r, password, len + 1);
    secret_wipe(password, sizeof(password));
    return status;
}

/* Among lines of commands each password is a line of its own, which must not
 * be taken for the next command. The message stays that of the failure. */
static void
skip_passwords(struct session *session, size_t count)
{
    char password[SECRET_PASSWORD_MAX + 1], message[sizeof(session->message)];
    size_t len;

    memcpy(message, session->message, sizeof(message));
    while (session->lines && count-- > 0)
        if (session_password(session, false, NULL, password, &len)
            == STATUS_OK)
            secret_wipe(password, sizeof(password));
    memcpy(session->message, message, sizeof(message));
}

static enum status
add_users(struct session *session, struct change *change, bool generate,
          generated *passwords)
{
    enum status status = STATUS_OK;
    size_t count = change->store.count, i;

    for (i = 0; i < count && status == STATUS_OK; i++) {
        struct store_item *item = &change->store.items[i];
        char *secret;

        status = make_secret(session, generate, count > 1 ? item->text : NULL,
                             &secret, passwords[i]);
        item->secret = secret;
    }
    if (status != STATUS_OK && !generate)
        skip_passwords(session, count - i);
    if (status == STATUS_OK)
        status = change_make(session, change);
    if (status != STATUS_OK)
        return status;
    if (!generate || (count == 1 && !change->store.items[0].changed))
        return change_report(session, change, 0, count);
    if (count == 1)
        return print_password(session, "add user", passwords[0]);
    return print_passwords(session, change, passwords);
}

enum status
command_add_user(struct session *session, const struct arguments *arguments)
{
    bool generate = grammar_given(arguments, "--generate");
    size_t count = arguments->rest_count;
    struct change change = {0};
    generated *passwords;
    enum status status;

    if (grammar_given(arguments, "--no-password"))
        return generate ? session_say(session, STATUS_USAGE,
                                      "--generate or --no-password, not both")
                        : command_change(session, arguments);
    passwords = calloc(count, sizeof(*passwords));
    if (passwords == NULL)
        return session_say(session, STATUS_SYSTEM, "out of memory");
    if (change_add(session, arguments, &change, &status))
        status = add_users(session, &change, generate, passwords);
    else if (!generate)
        skip_passwords(session, count);
    secret_wipe(passwords, count * sizeof(*passwords));
    free(passwords);
    change_free(&change);
    return status;
}

static enum status
set_password(struct session *session, const struct user_name *name,
             bool generate, int64_t overlap)
{
    char changed[STORE_MOMENT_MAX];
    generated password;
    char *secret = NULL;
    enum status status, made;

    /* Whoever changes the user while a password is typed was faster. */
    status = store_user_changed(session->db, name->text, changed);
    if (status == STATUS_OK) {
        made = make_secret(session, generate, NULL, &secret, password);
        status = made != STATUS_OK
                     ? made
                     : store_set_secret(session->db, name->text, changed,
                                        secret, overlap);
        if (made == STATUS_OK && status != STATUS_OK)
            session_db(session, status);
    } else {
        session_db(session, status);
        if (status == STATUS_UNKNOWN)
            closest_say(session, STORE_USER, name->text);
        if (!generate)
            skip_passwords(session, 1);
    }
    if (status == STATUS_OK)
        status = generate ? print_password(session, "passwd", password)
                          : session_done(session, "passwd", true);
    secret_wipe(password, sizeof(password));
    if (secret != NULL)
        secret_wipe(secret, SECRET_MAX);
    free(secret);
    return status;
}

enum status
command_passwd(struct session *session, const struct arguments *arguments)
{
    bool generate = grammar_given(arguments, "--generate");
    const char *span = grammar_value(arguments, "--overlap");
    struct user_name name;
    int64_t overlap = 0;
    enum status status = STATUS_DATA;

    if (!session_name(session, arguments->value[0], &name))
        status = STATUS_DATA;
    else if (span != NULL && !moment_parse_span(span, &overlap))
        session_say(session, STATUS_DATA,
                    "bad overlap: a number and s, m, h, d or w, such as 24h, "
                    "a year at most");
    else
        return set_password(session, &name, generate, overlap);
    if (!generate)
        skip_passwords(session, 1);
    return status;
}

enum status
command_rename(struct session *session, const struct arguments *arguments)
{
    struct user_name name, new_name;
    enum status status;

    if (!session_name(session, arguments->value[0], &name)
        || !session_name(session, arguments->value[1], &new_name))
        return STATUS_DATA;
    status = store_rename(session->db, name.text, new_name.text);
    if (status == STATUS_OK)
        return session_done(session, "rename user", true);
    session_db(session, status);
    if (status == STATUS_UNKNOWN)
        closest_say(session, STORE_USER, name.text);
    return status;
}
