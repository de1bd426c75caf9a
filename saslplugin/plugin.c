/* SPDX-License-Identifier: MIT */
/*
 * The auxprop plugin "emailing" of Cyrus SASL.
 *
 * Stock libsasl compares the client's password with a clear text property and
 * shows no plugin what the client sent. PLAIN and LOGIN do look the user up
 * once, for nothing in particular, before they call utils->checkpass. In that
 * lookup the pointer is replaced by check_candidate(), which keeps the
 * password at hand while libsasl goes its usual way: libsasl asks for
 * *userPassword, policyd is asked whether the password is right and, if so,
 * the property becomes the password itself, so that libsasl's comparison
 * agrees. Where the pointer was not replaced nothing is ever set: no login.
 *
 * Results: BADAUTH for every refusal, whatever its reason; UNAVAIL, a
 * temporary failure to the client, whenever policyd gave no answer; NOMECH,
 * which libsasl passes over, in programs that are not configured for us. Never
 * NOUSER, and never an abort: a host that dies at start-up is held back by its
 * master for a minute.
 */
#include "config.h"

#include "lib/attr.h"

#include "saslplugin/client.h"
#include "saslplugin/options.h"

#include <sasl/sasl.h>
#include <sasl/saslplug.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SERVICE "smtp"

#define PROP_PASSWORD SASL_AUX_PASSWORD
#define PROP_CMU_PLAIN "*cmusaslsecretPLAIN" /* only checkpass asks for it */
#define PROP_VERIFIER "*authPassword"
#define VERIFIER_PREFIX "SCRAM-SHA-256$"

/* What libsasl holds between plug_init and auxprop_free. */
struct plugin {
    sasl_auxprop_plug_t plug;
    struct options options;
    struct client *client;  /* NULL when an option is bad */
    atomic_bool in_trouble; /* and that was logged */
};

/* A password on its way through libsasl's checkpass, on the stack of
 * check_candidate(). A call inside a call, for another connection of the same
 * thread, is kept apart by the list. */
struct candidate {
    sasl_conn_t *conn;
    const sasl_utils_t *utils; /* set by the lookup that sees the candidate */
    struct propctx *propctx;
    size_t len;
    char password[CLIENT_PASSWORD_MAX + 1];
    struct candidate *outer;
};

typedef int checkpass_fn(sasl_conn_t *conn, const char *user, unsigned ulen,
                         const char *password, unsigned len);

static __thread struct candidate *candidates;

/* What utils->checkpass was: the same function for every connection. */
static _Atomic(checkpass_fn *) libsasl_checkpass;

/* What a lookup is about: which properties are asked for and still free. */
struct wanted {
    bool password;
    bool cmu_plain;
    bool verifier;
    bool password_is_set; /* by another plugin */
};

/* -- log ------------------------------------------------------------------ */

/* Trouble is logged when it begins, not at each login that meets it. */
static void
log_trouble(struct plugin *plugin, const sasl_utils_t *utils, const char *text)
{
    char line[CLIENT_ERROR_MAX + sizeof(PLUGIN_NAME) + 2];

    if (atomic_exchange(&plugin->in_trouble, true))
        return;
    snprintf(line, sizeof(line), PLUGIN_NAME ": %s", text);
    utils->log(utils->conn, SASL_LOG_ERR, "%s", line);
}

static void
log_recovery(struct plugin *plugin, const sasl_utils_t *utils)
{
    if (atomic_exchange(&plugin->in_trouble, false))
        utils->log(utils->conn, SASL_LOG_NOTE, "%s",
                   PLUGIN_NAME ": policyd answers again");
}

/* -- the candidate password ----------------------------------------------- */

static struct candidate *
find_candidate(const sasl_conn_t *conn)
{
    struct candidate *candidate = candidates;

    while (candidate != NULL && candidate->conn != conn)
        candidate = candidate->outer;
    return candidate;
}

/* Stands in for utils->checkpass. An empty password, one too long for any
 * stored secret, and a NUL byte in the password or in the user name, which
 * LOGIN lets pass and the lookup would not see, are refused without asking.
 * libsasl leaves the clear text in the properties after a success; it is
 * erased. */
static int
check_candidate(sasl_conn_t *conn, const char *user, unsigned ulen,
                const char *password, unsigned len)
{
    checkpass_fn *checkpass = atomic_load(&libsasl_checkpass);
    struct candidate candidate = {.conn = conn, .len = len};
    int result;

    if (user == NULL || password == NULL)
        return checkpass(conn, user, ulen, password, len);
    if (len == 0 || len > CLIENT_PASSWORD_MAX
        || memchr(password, '\0', len) != NULL
        || memchr(user, '\0', ulen) != NULL)
        return SASL_BADAUTH;
    memcpy(candidate.password, password, len);
    candidate.outer = candidates;
    candidates = &candidate;
    result = checkpass(conn, user, ulen, candidate.password, len);
    candidates = candidate.outer;
    if (candidate.propctx != NULL)
        candidate.utils->prop_erase(candidate.propctx, PROP_PASSWORD);
    explicit_bzero(&candidate, sizeof(candidate));
    return result;
}

/* Puts check_candidate() in the place of this connection's checkpass. The
 * struct is the connection's own and on the heap; only our view of it is
 * const. A checkpass that is neither ours nor the one we know belongs to
 * someone who had the same idea: it is left alone, and nobody logs in. */
static void
replace_checkpass(struct plugin *plugin, const sasl_utils_t *utils)
{
    checkpass_fn *known = NULL;

    if (utils->conn == NULL || utils->checkpass == NULL
        || utils->checkpass == check_candidate)
        return;
    if (!atomic_compare_exchange_strong(&libsasl_checkpass, &known,
                                        utils->checkpass)
        && known != utils->checkpass)
        log_trouble(plugin, utils, "checkpass is not libsasl's own");
    else
        ((sasl_utils_t *) utils)->checkpass = check_candidate;
}

/* -- questions to policyd ------------------------------------------------- */

/* The form of a name that mailadmin can have stored, in either case. A name
 * of any other form has no user: policyd need not be asked, and what would
 * look odd in a log or on the wire gets no further. */
static bool
is_user_name(const char *user, unsigned len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._+@-";
    unsigned i;

    for (i = 0; i < len; i++)
        if (user[i] == '\0' || strchr(letters, user[i]) == NULL)
            return false;
    return len >= 1 && len <= CLIENT_USER_MAX;
}

/* A question for a verifier that was answered with something else. */
static bool
is_useless(const struct client_request *request,
           const struct client_reply *reply)
{
    return request->password == NULL && reply->status == CLIENT_OK
           && strncmp(reply->verifier, VERIFIER_PREFIX,
                      strlen(VERIFIER_PREFIX)) != 0;
}

/* Asks policyd. Returns SASL_OK, with the reply, or why not. */
static int
ask(struct plugin *plugin, const sasl_server_params_t *sparams,
    struct client_request *request, struct client_reply *reply)
{
    const char *client = sparams->ipremoteport ? sparams->ipremoteport : "";
    const char *port = strrchr(client, ';');

    if (plugin->client == NULL) {
        log_trouble(plugin, sparams->utils, plugin->options.error);
        return SASL_UNAVAIL;
    }
    request->client = client;
    request->client_len = port ? (size_t) (port - client) : strlen(client);
    request->service = sparams->service ? sparams->service : DEFAULT_SERVICE;
    client_ask(plugin->client, request, reply);
    if (reply->status == CLIENT_FAILED || is_useless(request, reply)) {
        log_trouble(plugin, sparams->utils,
                    reply->status == CLIENT_FAILED
                        ? reply->error
                        : "the verifier is none of SCRAM-SHA-256");
        return SASL_UNAVAIL;
    }
    log_recovery(plugin, sparams->utils);
    switch (reply->status) {
    case CLIENT_OK:
        return SASL_OK;
    case CLIENT_DENIED:
        return SASL_BADAUTH;
    default:
        return SASL_UNAVAIL;
    }
}

static int
set_property(const sasl_server_params_t *sparams, const char *name,
             const char *value)
{
    const sasl_utils_t *utils = sparams->utils;

    utils->prop_erase(sparams->propctx, name);
    if (utils->prop_set(sparams->propctx, name, value, 0) != SASL_OK)
        return SASL_UNAVAIL;
    return SASL_OK;
}

static int
check_password(struct plugin *plugin, const sasl_server_params_t *sparams,
               const char *user, unsigned ulen,
               const struct candidate *candidate)
{
    char base64[CLIENT_BASE64_MAX];
    struct client_request request = {.request = ATTR_REQUEST_AUTH,
                                     .user = user,
                                     .user_len = ulen,
                                     .password = base64};
    struct client_reply reply;
    int result = SASL_UNAVAIL;

    if (!is_user_name(user, ulen))
        return SASL_BADAUTH;
    if (sparams->utils->encode64(candidate->password,
                                 (unsigned) candidate->len, base64,
                                 sizeof(base64), NULL)
        == SASL_OK)
        result = ask(plugin, sparams, &request, &reply);
    explicit_bzero(base64, sizeof(base64));
    if (result == SASL_OK)
        result = set_property(sparams, PROP_PASSWORD, candidate->password);
    return result;
}

static int
fetch_verifier(struct plugin *plugin, const sasl_server_params_t *sparams,
               const char *user, unsigned ulen)
{
    struct client_request request = {.request = ATTR_REQUEST_VERIFIER,
                                     .user = user,
                                     .user_len = ulen};
    struct client_reply reply;
    int result;

    if (!is_user_name(user, ulen))
        return SASL_BADAUTH;
    result = ask(plugin, sparams, &request, &reply);
    if (result == SASL_OK)
        result = set_property(sparams, PROP_VERIFIER, reply.verifier);
    explicit_bzero(&reply, sizeof(reply));
    return result;
}

/* -- SASL contract -------------------------------------------------------- */

static struct wanted
find_wanted(const sasl_server_params_t *sparams, bool override)
{
    const struct propval *prop = sparams->utils->prop_get(sparams->propctx);
    struct wanted wanted = {false, false, false, false};

    for (; prop != NULL && prop->name != NULL; prop++) {
        bool is_free = override || prop->values == NULL;

        if (strcmp(prop->name, PROP_PASSWORD) == 0) {
            wanted.password = is_free;
            wanted.password_is_set = !is_free;
        } else if (strcmp(prop->name, PROP_CMU_PLAIN) == 0) {
            wanted.cmu_plain = true;
        } else if (strcmp(prop->name, PROP_VERIFIER) == 0) {
            wanted.verifier = is_free;
        }
    }
    return wanted;
}

/*
 * The names that begin with '*' belong to the user who logs in; the lookup
 * for the other identity (AUTHZID) is none of ours. A property that another
 * plugin has set stays.
 *
 * On a connection that was seen before, properties may still be asked for
 * from an earlier try: the lookup before checkpass must then do nothing. On
 * one that was not, a question for the password comes from a program that
 * calls sasl_checkpass() by itself. It gets a temporary failure, since we
 * cannot tell.
 */
static int
look_up(struct plugin *plugin, sasl_server_params_t *sparams, unsigned flags,
        const char *user, unsigned ulen)
{
    const sasl_utils_t *utils = sparams->utils;
    struct wanted wanted = find_wanted(sparams, flags & SASL_AUXPROP_OVERRIDE);
    struct candidate *candidate = find_candidate(utils->conn);

    if (candidate != NULL) {
        candidate->utils = utils;
        candidate->propctx = sparams->propctx;
        if (wanted.password)
            return check_password(plugin, sparams, user, ulen, candidate);
        return SASL_OK;
    }
    if (utils->checkpass != check_candidate && wanted.password
        && wanted.cmu_plain) {
        log_trouble(plugin, utils, "password asked for outside PLAIN, LOGIN");
        return SASL_UNAVAIL;
    }
    replace_checkpass(plugin, utils);
    if (wanted.verifier && !wanted.password_is_set)
        return fetch_verifier(plugin, sparams, user, ulen);
    return SASL_OK;
}

/* VERIFY_AGAINST_HASH is a promise that *userPassword, which holds what the
 * client sent, is erased unless it is right (libsasl up to 2.1.27, method
 * auxprop-hashed). We have no use for that way in. */
static int
auxprop_lookup(void *glob_context, sasl_server_params_t *sparams,
               unsigned flags, const char *user, unsigned ulen)
{
    struct plugin *plugin = glob_context;
    const sasl_utils_t *utils = sparams->utils;

    if (!plugin->options.configured && !options_name_us(utils))
        return SASL_NOMECH;
    if (flags & SASL_AUXPROP_VERIFY_AGAINST_HASH) {
        utils->prop_erase(sparams->propctx, PROP_PASSWORD);
        return SASL_BADAUTH;
    }
    if (flags & SASL_AUXPROP_AUTHZID)
        return SASL_OK;
    return look_up(plugin, sparams, flags, user, ulen);
}

static void
auxprop_free(void *glob_context, const sasl_utils_t *utils)
{
    struct plugin *plugin = glob_context;

    (void) utils;
    client_free(&plugin->client);
    free(plugin);
}

/* Registers whatever the options are: a bad one is a temporary failure at each
 * login, while without a plugin logins would be refused for good. It is logged
 * at the first of them, for what is logged before there is a connection does
 * not reach Postfix's log. */
sasl_auxprop_init_t sasl_auxprop_plug_init;

int
sasl_auxprop_plug_init(const sasl_utils_t *utils, int max_version,
                       int *out_version, sasl_auxprop_plug_t **plug,
                       const char *plugname)
{
    static char name[] = PLUGIN_NAME;
    struct plugin *plugin;
    struct options *options;

    (void) plugname;
    if (max_version < SASL_AUXPROP_PLUG_VERSION)
        return SASL_BADVERS;
    plugin = calloc(1, sizeof(*plugin));
    if (plugin == NULL)
        return SASL_NOMEM;
    plugin->plug.glob_context = plugin;
    plugin->plug.auxprop_free = auxprop_free;
    plugin->plug.auxprop_lookup = auxprop_lookup;
    plugin->plug.name = name;
    options = &plugin->options;
    options_read(options, utils);
    if (options->error[0] == '\0') {
        plugin->client = client_new(options->socket, options->timeout);
        if (plugin->client == NULL)
            strcpy(options->error, "out of memory");
    }
    *plug = &plugin->plug;
    *out_version = SASL_AUXPROP_PLUG_VERSION;
    return SASL_OK;
}
