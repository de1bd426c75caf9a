/* SPDX-License-Identifier: MIT */
/*
 * policyd:  policy: reject: user=U sender=S ... reason=R us=N ref=X
 *           auth: denied: user=U client=C ... reason=R us=N
 * Postfix:  ... 553 5.7.1 <S>: Sender address rejected: TEXT; from=<S> ...
 *           ... SASL PLAIN authentication failed: ..., sasl_username=U
 * TEXT names the user; it is one of those that decide_reply() writes.
 */
#include "config.h"

#include "mailadmin/logline.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REF_LEN = 6 };

/* Turns \xNN back into the byte. */
static void
unescape(char *text)
{
    char *to = text, digits[3] = "";

    for (; *text != '\0'; text++) {
        if (text[0] == '\\' && text[1] == 'x'
            && isxdigit((unsigned char) text[2])
            && isxdigit((unsigned char) text[3])) {
            memcpy(digits, text + 2, 2);
            *to++ = (char) strtol(digits, NULL, 16);
            text += 3;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
}

/* Copies up to one of the bytes of end, or to the end of the line. */
static void
copy_until(const char *text, const char *end, char value_r[LOGLINE_VALUE])
{
    size_t len = strcspn(text, end);

    snprintf(value_r, LOGLINE_VALUE, "%.*s",
             (int) (len < LOGLINE_VALUE ? len : LOGLINE_VALUE - 1), text);
}

/* The value behind " name=", or behind it at the start. */
static bool
find_value(const char *line, const char *name, char value_r[LOGLINE_VALUE])
{
    const char *at = line;
    size_t len = strlen(name);

    for (; (at = strstr(at, name)) != NULL; at += len) {
        if (at[len] != '=' || (at != line && at[-1] != ' '))
            continue;
        at += len + 1;
        if (*at == '<')
            copy_until(at + 1, ">", value_r);
        else
            copy_until(at, " ,", value_r);
        return true;
    }
    return false;
}

static bool
is_cut(const char *value)
{
    size_t len = strlen(value);

    return len >= 3 && strcmp(value + len - 3, "...") == 0;
}

static void
find_ref(const char *line, struct logline *logline)
{
    const char *at = strstr(line, "(ref ");

    if (at != NULL)
        at += 5;
    else if ((at = strstr(line, " ref=")) != NULL)
        at += 5;
    if (at != NULL && strlen(at) >= REF_LEN)
        snprintf(logline->ref, sizeof(logline->ref), "%.*s", REF_LEN, at);
}

/* "policy: " or "auth: " of policyd's. */
static bool
parse_ours(const char *line, struct logline *logline)
{
    const char *at = strstr(line, "policy: ");
    char reason[LOGLINE_VALUE], word[LOGLINE_VALUE];

    if (at == NULL) {
        at = strstr(line, "auth: ");
        logline->login = true;
    }
    if (at == NULL || !find_value(at, "user", logline->user))
        return false;
    copy_until(strchr(at, ' ') + 1, ":", word);
    if (!find_value(at, "reason", reason))
        return false;
    snprintf(logline->verdict, sizeof(logline->verdict), "%.200s: %.200s",
             word, reason);
    logline->has_user = logline->user[0] != '\0';
    logline->has_sender = !logline->login
                          && find_value(at, "sender", logline->sender);
    logline->cut = is_cut(logline->user) || is_cut(logline->sender);
    unescape(logline->user);
    unescape(logline->sender);
    return logline->login || logline->has_sender;
}

/* The user whom the text of a refusal names. */
static void
find_refused_user(const char *text, struct logline *logline)
{
    static const char *const before[] = {"granted to user ", "user "};
    const char *at;
    size_t i;

    for (i = 0; i < 2; i++) {
        at = strstr(text, before[i]);
        if (at == NULL)
            continue;
        copy_until(at + strlen(before[i]), " ;,", logline->user);
        logline->has_user = true;
        logline->cut = logline->cut || is_cut(logline->user);
        unescape(logline->user);
        return;
    }
}

static bool
parse_refusal(const char *line, struct logline *logline)
{
    static const char mark[] = ">: Sender address rejected: ";
    const char *at = strstr(line, mark), *start = at;

    if (at == NULL)
        return false;
    while (start > line && *start != '<')
        start--;
    if (*start != '<')
        return false;
    logline->has_sender = true;
    snprintf(logline->sender, sizeof(logline->sender), "%.*s",
             (int) (at - start - 1 < LOGLINE_VALUE ? at - start - 1
                                                   : LOGLINE_VALUE - 1),
             start + 1);
    at += strlen(mark);
    copy_until(at, ";", logline->verdict);
    find_refused_user(logline->verdict, logline);
    if (!logline->has_user)
        logline->has_user = find_value(line, "sasl_username", logline->user);
    return true;
}

/* A login that Postfix logs: failed, or the first line of a message. */
static bool
parse_login(const char *line, struct logline *logline)
{
    const char *failed = strstr(line, "authentication failed");

    if (!find_value(line, "sasl_username", logline->user))
        return false;
    logline->has_user = true;
    logline->has_sender = find_value(line, "from", logline->sender);
    logline->login = !logline->has_sender;
    snprintf(logline->verdict, sizeof(logline->verdict), "%s",
             failed != NULL ? "login failed" : "logged in");
    return true;
}

bool
logline_parse(const char *line, struct logline *logline_r)
{
    memset(logline_r, 0, sizeof(*logline_r));
    find_ref(line, logline_r);
    if (parse_refusal(line, logline_r))
        return true;
    if (parse_ours(line, logline_r))
        return true;
    logline_r->login = logline_r->has_sender = false;
    return parse_login(line, logline_r);
}

bool
logline_is_ref(const char *text, char ref_r[static LOGLINE_REF])
{
    size_t i;

    if (strlen(text) != REF_LEN)
        return false;
    for (i = 0; i <= REF_LEN; i++)
        ref_r[i] = (char) toupper((unsigned char) text[i]);
    return strspn(ref_r, "ABCDEFGHJKLMNPQRSTUVWXYZ23456789") == REF_LEN;
}

bool
logline_has_ref(const char *line, const char *ref)
{
    struct logline logline = {0};

    find_ref(line, &logline);
    return strcmp(logline.ref, ref) == 0;
}
