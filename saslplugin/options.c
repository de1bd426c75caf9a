/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "saslplugin/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define OPTION_SOCKET "emailing_socket"
#define OPTION_TIMEOUT "emailing_timeout"
#define DEFAULT_SOCKET "emailing/auth"
#define DEFAULT_TIMEOUT 10
#define TIMEOUT_MAX 60

static const char *
get_option(const sasl_utils_t *utils, const char *name)
{
    const char *value = NULL;

    if (utils->getopt(utils->getopt_context, PLUGIN_NAME, name, &value, NULL)
        != SASL_OK)
        return NULL;
    return value;
}

/* Reads the list as libsasl does: apart by white space, in either case. */
bool
options_name_us(const sasl_utils_t *utils)
{
    const char *list = get_option(utils, "auxprop_plugin");

    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, " \t\r\n\v\f");

        if (len == strlen(PLUGIN_NAME)
            && strncasecmp(list, PLUGIN_NAME, len) == 0)
            return true;
        list += len + (list[len] != '\0');
    }
    return false;
}

/* Returns 0 for what is no number of seconds from 1 to TIMEOUT_MAX. */
static int
parse_timeout(const char *text)
{
    int seconds = 0;

    for (; isdigit((unsigned char) *text) && seconds <= TIMEOUT_MAX; text++)
        seconds = seconds * 10 + (*text - '0');
    return *text == '\0' && seconds <= TIMEOUT_MAX ? seconds : 0;
}

void
options_read(struct options *options_r, const sasl_utils_t *utils)
{
    const char *path = get_option(utils, OPTION_SOCKET);
    const char *timeout = get_option(utils, OPTION_TIMEOUT);

    memset(options_r, 0, sizeof(*options_r));
    options_r->configured = path != NULL || timeout != NULL
                            || options_name_us(utils);
    options_r->timeout = timeout ? parse_timeout(timeout) : DEFAULT_TIMEOUT;
    if (path == NULL)
        path = DEFAULT_SOCKET;
    if (options_r->timeout == 0)
        snprintf(options_r->error, sizeof(options_r->error),
                 OPTION_TIMEOUT ": not 1..%d: %.80s", TIMEOUT_MAX, timeout);
    else if (*path == '\0' || strlen(path) > CLIENT_PATH_MAX)
        snprintf(options_r->error, sizeof(options_r->error),
                 OPTION_SOCKET ": not 1..%d bytes: %.*s", CLIENT_PATH_MAX,
                 CLIENT_PATH_MAX, path);
    else
        memcpy(options_r->socket, path, strlen(path));
}
