/* SPDX-License-Identifier: MIT */
#ifndef T_SASLPLUGIN_SESSION_H
#define T_SASLPLUGIN_SESSION_H

/*
 * A host for the plugin, within the test program: the real libsasl with its
 * stock mechanisms and our plugin, found through SASL_PATH as a program finds
 * them. Options come from a table in place of a file, messages go to a buffer.
 *
 * A failure of its own (no mechanism, no folder) ends the test program.
 */

#include <sasl/sasl.h>
#include <stdbool.h>

struct session_option {
    const char *name;
    const char *value;
};

/* Makes the folder that SASL_PATH names and works in it, so that the relative
 * socket name "auth" is the test's own. It is removed when the program ends.
 * Once in a program. */
void session_setup(void);

/* Loads all plugins with these options, which end with a NULL name. */
void session_begin(const struct session_option *options);
void session_end(void);

/* Options of their own for the connections that begin after the call. */
void session_connection_options(const struct session_option *options);

sasl_conn_t *session_connect(const char *peer);

/* One login each, by the bytes that a client sends. Returns libsasl's last
 * result. */
int session_plain(sasl_conn_t *conn, const char *message, unsigned len);
int session_login(sasl_conn_t *conn, const char *user, unsigned user_len,
                  const char *password, unsigned password_len);
/* One by the mechanism of a libsasl client. */
int session_client(sasl_conn_t *conn, const char *mechanism,
                   const char *user, const char *password);

/* A new connection, PLAIN, and its end. */
int session_try(const char *user, const char *password);

/* Whether the connection has a value of the property. */
bool session_holds(sasl_conn_t *conn, const char *property);

/* What the plugin logged at SASL_LOG_ERR since session_begin(). */
unsigned session_log_count(void);
bool session_logged(const char *text);

#endif
