/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/session.h"

#include "mailadmin/db.h"
#include "mailadmin/input.h"
#include "mailadmin/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status
session_say(struct session *session, enum status status, const char *format,
            ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(session->message, sizeof(session->message), format, args);
    va_end(args);
    return status;
}

static void append(struct session *session, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void
append(struct session *session, const char *format, va_list args)
{
    size_t used = strlen(session->message);

    vsnprintf(session->message + used, sizeof(session->message) - used,
              format, args);
}

void
session_append(struct session *session, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    append(session, format, args);
    va_end(args);
}

void
session_add(struct session *session, const char *format, ...)
{
    va_list args;

    if (session->message[0] != '\0')
        session_append(session, "; ");
    va_start(args, format);
    append(session, format, args);
    va_end(args);
}

void
session_print(struct session *session, unsigned long number)
{
    if (session->message[0] == '\0')
        return;
    progress_clear(&session->progress);
    fflush(stdout);
    fputs("mailadmin: ", stderr);
    if (number > 0)
        fprintf(stderr, "line %lu: ", number);
    output_text(stderr, session->message);
    fputc('\n', stderr);
    session->message[0] = '\0';
}

enum status
session_db(struct session *session, enum status status)
{
    return session_say(session, status, "%s", db_error(session->db));
}

enum status
session_json(struct session *session, json_t *object)
{
    if (!output_json(stdout, object))
        return session_say(session, STATUS_SYSTEM, "out of memory");
    return STATUS_OK;
}

enum status
session_done(struct session *session, const char *command, bool changed)
{
    if (!session->json)
        return STATUS_OK;
    return session_json(session, json_pack("{s:s, s:b}", "command", command,
                                           "changed", changed));
}

/* The first byte that no name, address or domain may have; NULL for none. */
static const char *
first_bad(const char *text, const char *good)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char) *text;

        if (good != NULL ? strchr(good, c) == NULL : c < 0x20 || c == 0x7f)
            return text;
    }
    return NULL;
}

/* "bad what 'text': rule: character 'c' at n"; text is cut. */
static void
say_bad(struct session *session, const char *what, const char *text,
        const char *rule, const char *good)
{
    const char *bad = first_bad(text, good);
    char shown[128], byte[8];

    addr_printable(shown, sizeof(shown), text, strlen(text));
    if (bad == NULL) {
        session_say(session, STATUS_DATA, "bad %s '%s': %s", what, shown,
                    rule);
        return;
    }
    addr_printable(byte, sizeof(byte), bad, 1);
    session_say(session, STATUS_DATA, "bad %s '%s': %s: '%s' at byte %zu",
                what, shown, rule, byte, (size_t) (bad - text) + 1);
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

bool
session_name(struct session *session, const char *text,
             struct user_name *name_r)
{
    const char *error;

    if (addr_parse_name(text, strlen(text), name_r, &error))
        return true;
    say_bad(session, "user name", text, error, LETTERS DIGITS "._+@-");
    return false;
}

bool
session_address(struct session *session, const char *text,
                struct addr *address_r)
{
    const char *error;

    if (addr_parse_grantable(text, strlen(text), address_r, &error))
        return true;
    say_bad(session, "address", text, error, NULL);
    return false;
}

bool
session_domain(struct session *session, const char *text,
               struct domain *domain_r)
{
    const char *error, *c;
    bool ascii = true;

    if (addr_parse_domain(text, strlen(text), domain_r, &error))
        return true;
    for (c = text; *c != '\0'; c++)
        ascii = ascii && (unsigned char) *c < 0x80;
    say_bad(session, "domain", text, error,
            ascii ? LETTERS DIGITS "-_.[]:" : NULL);
    return false;
}

static enum status
no_password(struct session *session, enum input_result result)
{
    switch (result) {
    case INPUT_TOO_LONG:
    case INPUT_NUL:
        return session_say(session, STATUS_DATA,
                           "a password is 1 to %d bytes, none of them NUL",
                           SECRET_PASSWORD_MAX);
    case INPUT_ERROR:
        return session_say(session, STATUS_SYSTEM, "standard input: %s",
                           strerror(errno));
    default:
        return session_say(session, STATUS_DATA,
                           "no password on standard input");
    }
}

enum status
session_password(struct session *session, bool generate, const char *whom,
                 char password_r[static SECRET_PASSWORD_MAX + 1],
                 size_t *len_r)
{
    enum input_result result;
    char prompt[NAME_MAX_LEN + 32], *line;

    if (generate) {
        *len_r = SECRET_GENERATED;
        if (secret_generate(password_r))
            return STATUS_OK;
        return session_say(session, STATUS_SYSTEM, "no random numbers");
    }
    snprintf(prompt, sizeof(prompt), "password%s%s: ", whom ? " for " : "",
             whom ? whom : "");
    result = input_is_terminal(session->input)
                 ? input_hidden_line(session->input, prompt, &line, len_r)
                 : input_line(session->input, &line, len_r);
    if (result != INPUT_LINE)
        return no_password(session, result);
    if (!secret_password_ok(line, *len_r))
        return no_password(session, INPUT_TOO_LONG);
    memcpy(password_r, line, *len_r + 1);
    secret_wipe(line, *len_r);
    return STATUS_OK;
}
