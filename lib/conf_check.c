/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/conf_check.h"

#include <libpq-fe.h>

#include <stdlib.h>
#include <string.h>

const char *
conf_check_mode(const char *text, unsigned int *bits_r)
{
    size_t len = strlen(text);
    unsigned long bits;

    if (len == 0 || len > 4 || strspn(text, "01234567") != len
        || (bits = strtoul(text, NULL, 8)) > 0777)
        return "must be an octal mode such as 0660";
    if ((bits & 07) != 0)
        return "must not let others in";
    *bits_r = (unsigned int) bits;
    return NULL;
}

/* A colon in the address, outside brackets, leaves open where the port
 * begins. */
static bool
is_endpoint(const char *text, const char *colon)
{
    size_t len = (size_t) (colon - text);

    if (len > 2 && text[0] == '[')
        return text[len - 1] == ']';
    return len > 0 && memchr(text, ':', len) == NULL;
}

static const char *
check_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long port = strtoul(text, NULL, 10);

    return digits == 0 || digits > 5 || text[digits] != '\0' || port < 1
                   || port > 65535
               ? "port must be 1 to 65535"
               : NULL;
}

const char *
conf_check_endpoint(const char *text)
{
    const char *colon = strrchr(text, ':');

    if (colon == NULL || !is_endpoint(text, colon))
        return "must be ADDRESS:PORT";
    return check_port(colon + 1);
}

const char *
conf_check_listen(const char *text, bool unix_only)
{
    const char *colon;

    if (strncmp(text, "unix:", 5) == 0) {
        if (text[5] == '\0')
            return "empty path";
        return strlen(text + 5) > CONF_UNIX_PATH_MAX ? "path over 107 bytes"
                                                     : NULL;
    }
    if (unix_only)
        return "must be unix:PATH";
    if (strncmp(text, "inet:", 5) != 0
        || (colon = strrchr(text + 5, ':')) == NULL
        || !is_endpoint(text + 5, colon))
        return "must be unix:PATH or inet:ADDRESS:PORT";
    return check_port(colon + 1);
}

bool
conf_check_password(const char *conninfo, char blank)
{
    const char all_blank[] = {blank, '\0'};
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL), *option;
    bool found = false;

    for (option = options; option != NULL && option->keyword != NULL;
         option++) {
        size_t len = strlen(option->keyword);
        const char *end = option->keyword
                          + (len < strlen("password")
                                 ? 0
                                 : len - strlen("password"));

        /* "password" and "sslpassword" */
        found |= strcmp(end, "password") == 0 && option->val != NULL
                 && option->val[strspn(option->val, all_blank)] != '\0';
    }
    PQconninfoFree(options);
    return found;
}
