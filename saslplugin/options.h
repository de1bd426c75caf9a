/* SPDX-License-Identifier: MIT */
#ifndef SASLPLUGIN_OPTIONS_H
#define SASLPLUGIN_OPTIONS_H

/*
 * The plugin's options, and whether the program we are in means us at all:
 * every server program of Cyrus SASL loads every plugin it finds.
 *
 * The text is copied: libsasl's own may go away. Fails by its error, which is
 * for the administrator.
 */

#include "saslplugin/client.h"

#include <sasl/sasl.h>
#include <sasl/saslplug.h>

#include <stdbool.h>

#define PLUGIN_NAME "emailing"

struct options {
    bool configured; /* one of our options is set, or we are named */
    char socket[CLIENT_PATH_MAX + 1];
    int timeout; /* seconds */
    char error[CLIENT_ERROR_MAX]; /* empty when the options are good */
};

void options_read(struct options *options_r, const sasl_utils_t *utils);

/* Whether auxprop_plugin, of the program or the connection, names us. */
bool options_name_us(const sasl_utils_t *utils);

#endif
