/* SPDX-License-Identifier: MIT */
/* Users, addresses and domains themselves; passwords. */
#include "config.h"

#include "mailadmin/commands.h"

#include "lib/conf.h"

#include "mailadmin/session.h"
#include "mailadmin/store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Prints a generated password without leaving it in a buffer of stdio's. */
static enum status
print_password(struct session *session, const char *command,
               const char *password)
{
    char line[256];
    int len;
    bool written;

    fflush(stdout);
    if (session->json)
        len = snprintf(line, sizeof(line),
                       "{\"command\": \"%s\", \"changed\": true, "
                       "\"password\": \"%s\"}\n",
                       command, password);
    else
        len = snprintf(line, sizeof(line), "%s\n", password);
    written = write(STDOUT_FILENO, line, (size_t) len) == len;
    secret_wipe(line, sizeof(line));
    if (!written)
        return session_say(session, STATUS_SYSTEM,
                           "the password is set but could not be printed");
    return STATUS_OK;
}

/* Makes a secret of a password that is asked for, and stores it. */
static enum status
set_password(struct session *session, const char *command,
             const struct arguments *arguments,
             enum status (*store)(struct session *, const char *name,
                                  const char *secret))
{
    char password[SECRET_PASSWORD_MAX + 1], secret[SECRET_MAX];
    bool generate = arguments->option[0], good;
    struct user_name name;
    const char *error;
    enum status status;
    size_t len;

    /* Among lines of commands the password is a line of its own, which must
     * not be taken for the next command. */
    good = session_name(session, arguments->value[0], &name);
    if (!good && (generate || !session->lines))
        return STATUS_DATA;
    status = session_password(session, generate, password, &len);
    if (status != STATUS_OK)
        return status;
    if (!good) {
        secret_wipe(password, sizeof(password));
        return STATUS_DATA;
    }
    if (secret_make(&session->conf->secret_policy, password, len, secret,
                    &error))
        status = store(session, name.text, secret);
    else
        status = session_say(session, STATUS_SYSTEM, "%s", error);
    secret_wipe(secret, sizeof(secret));
    if (status == STATUS_OK)
        status = generate ? print_password(session, command, password)
                          : session_done(session, command, true);
    secret_wipe(password, sizeof(password));
    return status;
}

static enum status
add_with_secret(struct session *session, const char *name,
                const char *secret)
{
    enum status status = store_add(session->db, STORE_USER, name, secret);

    return status == STATUS_OK ? status : session_db(session, status);
}

enum status
command_add_user(struct session *session, const struct arguments *arguments)
{
    return set_password(session, "add user", arguments, add_with_secret);
}

static enum status
replace_secret(struct session *session, const char *name, const char *secret)
{
    enum status status = store_set_secret(session->db, name, secret);

    return status == STATUS_OK ? status : session_db(session, status);
}

enum status
command_passwd(struct session *session, const struct arguments *arguments)
{
    return set_password(session, "passwd", arguments, replace_secret);
}

enum status
command_add_address(struct session *session,
                    const struct arguments *arguments)
{
    struct addr address;
    enum status status;

    if (!session_address(session, arguments->value[0], &address))
        return STATUS_DATA;
    status = store_add(session->db, STORE_ADDRESS, address.text, NULL);
    if (status != STATUS_OK)
        return session_db(session, status);
    return session_done(session, "add address", true);
}

enum status
command_add_domain(struct session *session,
                   const struct arguments *arguments)
{
    struct domain domain;
    enum status status;

    if (!session_domain(session, arguments->value[0], &domain))
        return STATUS_DATA;
    status = store_add(session->db, STORE_DOMAIN, domain.text, NULL);
    if (status != STATUS_OK)
        return session_db(session, status);
    return session_done(session, "add domain", true);
}

static enum status
del(struct session *session, enum store_kind kind, const char *command,
    const char *text)
{
    enum status status = store_del(session->db, kind, text);

    if (status != STATUS_OK)
        return session_db(session, status);
    return session_done(session, command, true);
}

enum status
command_del_user(struct session *session, const struct arguments *arguments)
{
    struct user_name name;

    if (!session_name(session, arguments->value[0], &name))
        return STATUS_DATA;
    return del(session, STORE_USER, "del user", name.text);
}

enum status
command_del_address(struct session *session,
                    const struct arguments *arguments)
{
    struct addr address;

    if (!session_address(session, arguments->value[0], &address))
        return STATUS_DATA;
    return del(session, STORE_ADDRESS, "del address", address.text);
}

enum status
command_del_domain(struct session *session,
                   const struct arguments *arguments)
{
    struct domain domain;

    if (!session_domain(session, arguments->value[0], &domain))
        return STATUS_DATA;
    return del(session, STORE_DOMAIN, "del domain", domain.text);
}

static enum status
set_enabled(struct session *session, const struct arguments *arguments,
            bool enabled)
{
    const char *command = enabled ? "enable user" : "disable user";
    struct user_name name;
    enum status status;
    bool changed;

    if (!session_name(session, arguments->value[0], &name))
        return STATUS_DATA;
    status = store_set_enabled(session->db, name.text, enabled, &changed);
    if (status != STATUS_OK)
        return session_db(session, status);
    if (!changed)
        session_say(session, STATUS_OK, "user %s is %s already", name.text,
                    enabled ? "enabled" : "disabled");
    return session_done(session, command, changed);
}

enum status
command_enable(struct session *session, const struct arguments *arguments)
{
    return set_enabled(session, arguments, true);
}

enum status
command_disable(struct session *session, const struct arguments *arguments)
{
    return set_enabled(session, arguments, false);
}
