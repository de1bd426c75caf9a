/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/saslplugin/session.h"

#include <sasl/prop.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAX 8192
#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define CALLBACK(function) ((int (*)(void)) (void (*)(void)) (function))

static char dir[] = "/tmp/saslplugin.XXXXXX";
static const struct session_option *global_options, *connection_options;
static char log_text[LOG_MAX];
static unsigned log_count;

static const char *const mechanisms[] = {"plain", "login", "scram",
                                         "crammd5"};

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

/* -- the folder ----------------------------------------------------------- */

static void
link_mechanism(const char *name)
{
    char pattern[128], link_name[128];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "/usr/lib/*/sasl2/lib%s.so", name);
    snprintf(link_name, sizeof(link_name), "lib%s.so", name);
    must(glob(pattern, 0, NULL, &found) == 0, pattern);
    must(symlink(found.gl_pathv[0], link_name) == 0, link_name);
    globfree(&found);
}

static void
remove_folder(void)
{
    char name[128];
    size_t i;

    for (i = 0; i < COUNT(mechanisms); i++) {
        snprintf(name, sizeof(name), "%s/lib%s.so", dir, mechanisms[i]);
        unlink(name);
    }
    snprintf(name, sizeof(name), "%s/libemailing.so", dir);
    unlink(name);
    snprintf(name, sizeof(name), "%s/auth", dir);
    unlink(name);
    rmdir(dir);
}

void
session_setup(void)
{
    size_t i;

    must(mkdtemp(dir) != NULL && atexit(remove_folder) == 0, dir);
    must(chdir(dir) == 0, dir);
    for (i = 0; i < COUNT(mechanisms); i++)
        link_mechanism(mechanisms[i]);
    must(access(PLUGIN, R_OK) == 0, PLUGIN);
    must(symlink(PLUGIN, "libemailing.so") == 0, "libemailing.so");
    setenv("SASL_PATH", dir, 1);
}

/* -- the host ------------------------------------------------------------- */

static int
get_option(void *context, const char *plugin, const char *name,
           const char **value_r, unsigned *len_r)
{
    const struct session_option *option;

    (void) plugin;
    option = *(const struct session_option **) context;
    for (; option != NULL && option->name != NULL; option++)
        if (strcmp(option->name, name) == 0) {
            *value_r = option->value;
            if (len_r != NULL)
                *len_r = (unsigned) strlen(option->value);
            return SASL_OK;
        }
    return SASL_FAIL;
}

static int
keep_message(void *context, int level, const char *message)
{
    size_t len = strlen(log_text);

    (void) context;
    if (level == SASL_LOG_ERR && strncmp(message, "emailing: ", 10) == 0) {
        log_count++;
        snprintf(log_text + len, sizeof(log_text) - len, "%s\n", message);
    }
    return SASL_OK;
}

static const sasl_callback_t global_callbacks[] = {
    {SASL_CB_GETOPT, CALLBACK(get_option), &global_options},
    {SASL_CB_LOG, CALLBACK(keep_message), NULL},
    {SASL_CB_LIST_END, NULL, NULL},
};

static const sasl_callback_t connection_callbacks[] = {
    {SASL_CB_GETOPT, CALLBACK(get_option), &connection_options},
    {SASL_CB_LIST_END, NULL, NULL},
};

void
session_begin(const struct session_option *options)
{
    global_options = options;
    connection_options = NULL;
    log_count = 0;
    log_text[0] = '\0';
    must(sasl_server_init(global_callbacks, "saslplugin-test") == SASL_OK,
         "sasl_server_init");
    must(sasl_client_init(NULL) == SASL_OK, "sasl_client_init");
}

void
session_end(void)
{
    sasl_server_done();
    sasl_client_done();
}

void
session_connection_options(const struct session_option *options)
{
    connection_options = options;
}

sasl_conn_t *
session_connect(const char *peer)
{
    const sasl_callback_t *callbacks = NULL;
    sasl_conn_t *conn;

    if (connection_options != NULL)
        callbacks = connection_callbacks;
    must(sasl_server_new("smtp", "mail.example", NULL,
                         peer ? "192.0.2.1;25" : NULL, peer, callbacks, 0,
                         &conn) == SASL_OK, "sasl_server_new");
    return conn;
}

/* -- logins --------------------------------------------------------------- */

int
session_plain(sasl_conn_t *conn, const char *message, unsigned len)
{
    const char *out;
    unsigned out_len;

    return sasl_server_start(conn, "PLAIN", message, len, &out, &out_len);
}

int
session_login(sasl_conn_t *conn, const char *user, unsigned user_len,
              const char *password, unsigned password_len)
{
    const char *out;
    unsigned out_len;
    int result = sasl_server_start(conn, "LOGIN", NULL, 0, &out, &out_len);

    if (result == SASL_CONTINUE)
        result = sasl_server_step(conn, user, user_len, &out, &out_len);
    if (result == SASL_CONTINUE)
        result = sasl_server_step(conn, password, password_len, &out,
                                  &out_len);
    return result;
}

struct credentials {
    const char *user;
    sasl_secret_t *password;
};

static int
give_name(void *context, int id, const char **name_r, unsigned *len_r)
{
    const struct credentials *credentials = context;

    (void) id;
    *name_r = credentials->user;
    if (len_r != NULL)
        *len_r = (unsigned) strlen(*name_r);
    return SASL_OK;
}

static int
give_password(sasl_conn_t *conn, void *context, int id,
              sasl_secret_t **secret_r)
{
    const struct credentials *credentials = context;

    (void) conn;
    (void) id;
    *secret_r = credentials->password;
    return SASL_OK;
}

/* Lets client and server talk until either has had enough. */
static int
talk(sasl_conn_t *server, sasl_conn_t *client, const char *mechanism)
{
    const char *out, *in, *chosen;
    unsigned out_len, in_len;
    int theirs, ours;

    theirs = sasl_client_start(client, mechanism, NULL, &out, &out_len,
                               &chosen);
    must(theirs == SASL_OK || theirs == SASL_CONTINUE, "sasl_client_start");
    ours = sasl_server_start(server, chosen, out, out_len, &in, &in_len);
    while (ours == SASL_CONTINUE) {
        theirs = sasl_client_step(client, in, in_len, NULL, &out, &out_len);
        if (theirs != SASL_OK && theirs != SASL_CONTINUE)
            return theirs;
        ours = sasl_server_step(server, out, out_len, &in, &in_len);
    }
    if (ours == SASL_OK && theirs == SASL_CONTINUE)
        theirs = sasl_client_step(client, in, in_len, NULL, &out, &out_len);
    return ours != SASL_OK ? ours : theirs;
}

int
session_client(sasl_conn_t *conn, const char *mechanism, const char *user,
               const char *password)
{
    size_t len = strlen(password);
    struct credentials credentials = {user, malloc(sizeof(sasl_secret_t)
                                                   + len)};
    const sasl_callback_t callbacks[] = {
        {SASL_CB_USER, CALLBACK(give_name), &credentials},
        {SASL_CB_AUTHNAME, CALLBACK(give_name), &credentials},
        {SASL_CB_PASS, CALLBACK(give_password), &credentials},
        {SASL_CB_LIST_END, NULL, NULL},
    };
    sasl_conn_t *client;
    int result;

    must(credentials.password != NULL, "malloc");
    credentials.password->len = len;
    memcpy(credentials.password->data, password, len + 1);
    must(sasl_client_new("smtp", "mail.example", NULL, NULL, callbacks, 0,
                         &client) == SASL_OK, "sasl_client_new");
    result = talk(conn, client, mechanism);
    sasl_dispose(&client);
    free(credentials.password);
    return result;
}

int
session_try(const char *user, const char *password)
{
    sasl_conn_t *conn = session_connect("192.0.2.7;4711");
    char message[2048];
    int result, len;

    len = snprintf(message, sizeof(message), "%c%s%c%s", 0, user, 0,
                   password);
    result = session_plain(conn, message, (unsigned) len);
    sasl_dispose(&conn);
    return result;
}

bool
session_holds(sasl_conn_t *conn, const char *property)
{
    const char *names[] = {property, NULL};
    struct propval values[2];

    if (prop_getnames(sasl_auxprop_getctx(conn), names, values) < 1)
        return false;
    return values[0].values != NULL && values[0].values[0] != NULL;
}

unsigned
session_log_count(void)
{
    return log_count;
}

bool
session_logged(const char *text)
{
    return strstr(log_text, text) != NULL;
}
