/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/conninfo.h"
#include "lib/secret.h"

#include <libpq-fe.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
wipe_free(char **text)
{
    if (*text != NULL)
        secret_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

/* Index of a keyword, or of the place for a new one. */
static size_t
keyword_index(const struct conninfo *conninfo, const char *keyword)
{
    size_t i;

    for (i = 0; i < conninfo->count; i++)
        if (strcmp(conninfo->keywords[i], keyword) == 0)
            break;
    return i;
}

const char *
conninfo_get(const struct conninfo *conninfo, const char *keyword)
{
    return conninfo->values[keyword_index(conninfo, keyword)];
}

bool
conninfo_set(struct conninfo *conninfo, const char *keyword, const char *value)
{
    size_t i = keyword_index(conninfo, keyword);

    if (i == CONNINFO_MAX)
        return false;
    if (i == conninfo->count) {
        conninfo->keywords[i] = strdup(keyword);
        if (conninfo->keywords[i] == NULL)
            return false;
        conninfo->count++;
    }
    wipe_free(&conninfo->values[i]);
    if (value == NULL)
        return true;
    conninfo->values[i] = strdup(value);
    return conninfo->values[i] != NULL;
}

static bool
set_options(struct conninfo *conninfo, const PQconninfoOption *options)
{
    for (; options->keyword != NULL; options++)
        if (options->val != NULL
            && !conninfo_set(conninfo, options->keyword, options->val))
            return false;
    return true;
}

/* The value of a parsed conninfo's keyword, or NULL. */
static const char *
given_option(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    return NULL;
}

/*
 * What the environment and the service file say. PQconndefaults() reads the
 * service that PGSERVICE names, so one that the conninfo names stands there
 * while it runs.
 */
static PQconninfoOption *
defaults_for(const char *service)
{
    char *outer = getenv("PGSERVICE") ? strdup(getenv("PGSERVICE")) : NULL;
    PQconninfoOption *defaults;

    if (service != NULL)
        setenv("PGSERVICE", service, 1);
    defaults = PQconndefaults();
    if (service != NULL && outer != NULL)
        setenv("PGSERVICE", outer, 1);
    else if (service != NULL)
        unsetenv("PGSERVICE");
    free(outer);
    return defaults;
}

static bool
add_own(struct conninfo *conninfo, unsigned int statement_timeout_ms)
{
    const char *given = conninfo_get(conninfo, "options");
    char options[1024];
    int len;

    len = snprintf(options, sizeof(options), "%s -c statement_timeout=%u",
                   given ? given : "", statement_timeout_ms);
    if (len < 0 || (size_t) len >= sizeof(options))
        return false;
    if (statement_timeout_ms > 0
        && !conninfo_set(conninfo, "options", options))
        return false;
    return conninfo_set(conninfo, "fallback_application_name",
                        "emailing-policyd")
           && conninfo_set(conninfo, "client_encoding", "UTF8");
}

/*
 * libpq's messages quote what they do not understand, which may be a password
 * or all of a URI: from the first quotation of more than a character on nothing
 * is shown but its end. The name of an unknown option is.
 */
static void
hide_quoted(char *message)
{
    char *at = message, *end;

    message[strcspn(message, "\n")] = '\0';
    if (strncmp(message, "invalid connection option", 25) == 0)
        return;
    while ((at = strchr(at, '"')) != NULL && at[1] != '\0' && at[2] == '"')
        at += 3;
    if (at == NULL || (end = strrchr(at, '"')) == at)
        return;
    secret_wipe(at + 1, (size_t) (end - at - 1));
    memmove(at + 1, end, strlen(end) + 1);
}

bool
conninfo_read(struct conninfo *conninfo, const char *text,
              unsigned int statement_timeout_ms, char *error_r,
              size_t error_size)
{
    char *message = NULL;
    PQconninfoOption *given = PQconninfoParse(text, &message), *defaults;
    bool ok;

    memset(conninfo, 0, sizeof(*conninfo));
    if (message != NULL)
        hide_quoted(message);
    snprintf(error_r, error_size, "conninfo: %s",
             message ? message : "out of memory");
    PQfreemem(message);
    if (given == NULL)
        return false;
    defaults = defaults_for(given_option(given, "service"));
    ok = defaults != NULL && set_options(conninfo, defaults)
         && set_options(conninfo, given)
         && add_own(conninfo, statement_timeout_ms);
    PQconninfoFree(defaults);
    PQconninfoFree(given);
    return ok;
}

void
conninfo_wipe(struct conninfo *conninfo)
{
    size_t i;

    for (i = 0; i < conninfo->count; i++) {
        wipe_free(&conninfo->values[i]);
        free(conninfo->keywords[i]);
    }
    memset(conninfo, 0, sizeof(*conninfo));
}
