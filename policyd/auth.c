/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/auth.h"
#include "policyd/clock.h"
#include "policyd/db.h"
#include "policyd/directory.h"
#include "policyd/hash.h"
#include "policyd/throttle.h"
#include "lib/log.h"
#include "lib/record.h"

#include <openssl/evp.h>

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REQUEST, USER, PASSWORD, CLIENT, SERVICE, VALUES };

static const struct attr_name names[VALUES] = {
    [REQUEST] = ATTR_NAME(ATTR_REQUEST),
    [USER] = ATTR_NAME(ATTR_USER),
    [PASSWORD] = ATTR_NAME(ATTR_PASSWORD),
    [CLIENT] = ATTR_NAME(ATTR_CLIENT),
    [SERVICE] = ATTR_NAME(ATTR_SERVICE),
};

#define SHOWN_MAX 160 /* bytes of a value in the log */
/* Base64 of the longest password, and of none longer. */
#define BASE64_MAX ((SECRET_PASSWORD_MAX + 2) / 3 * 4)

/* One request, from its block to its reply. */
struct login {
    struct directory_wait wait; /* first: the directory hands it back */
    struct auth *auth;
    struct conn *conn; /* NULL once it is gone */
    uint64_t began;
    bool verifier; /* asked for, instead of a check */
    bool stale;    /* the record may be out of date */
    bool counted;  /* as failed, until it is not */
    struct throttle_try who;
    struct user_name user;
    char shown_user[SHOWN_MAX], client[SHOWN_MAX], service[SHOWN_MAX];
    char password[SECRET_PASSWORD_MAX + 1];
    size_t password_len;
    const char *reason; /* of a denial, for the log */
};

/* Milliseconds that do not jump. */
static uint64_t
loop_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* -- the end of a request ------------------------------------------------- */

static void
free_login(struct login *login)
{
    secret_wipe(login, sizeof(*login));
    free(login);
}

static const char *
result_word(enum auth_result result)
{
    switch (result) {
    case AUTH_OK:
        return ATTR_STATUS_OK;
    case AUTH_DENIED:
        return ATTR_STATUS_DENIED;
    default:
        return ATTR_STATUS_UNAVAILABLE;
    }
}

static void
log_result(const struct login *login, enum auth_result result)
{
    log_info("auth: %s: user=%s client=%s service=%s reason=%s us=%llu",
             result_word(result), login->shown_user, login->client,
             login->service, login->reason,
             (unsigned long long) ((uv_hrtime() - login->began) / 1000));
}

/* Replies (the client may be gone) and forgets the login. */
static void
finish(struct login *login, enum auth_result result, const char *verifier)
{
    char block[2 * SECRET_MAX];
    struct attr_writer writer;
    const char *word = result_word(result);
    size_t len;

    login->auth->counts[result]++;
    if (result != AUTH_OK)
        log_result(login, result);
    attr_writer_init(&writer, block, sizeof(block));
    attr_write(&writer, ATTR_STATUS, word, strlen(word));
    if (verifier != NULL)
        attr_write(&writer, ATTR_VERIFIER, verifier, strlen(verifier));
    len = attr_write_end(&writer);
    if (login->conn != NULL)
        conn_reply(login->conn, block, len);
    secret_wipe(block, sizeof(block));
    free_login(login);
}

/* It could not be told. Unless it stays counted, it was no failure either. */
static void
unavailable(struct login *login, const char *reason)
{
    if (login->counted)
        throttle_undo(login->auth->throttle, &login->who, loop_ms());
    login->reason = reason;
    finish(login, AUTH_UNAVAILABLE, NULL);
}

/* -- upgrading a legacy row ----------------------------------------------- */

static void
on_upgraded(void *context, const PGresult *rows)
{
    char *name = context;

    if (rows == NULL)
        log_warning("auth: the MD5 secret of user \"%s\" could not be "
                    "replaced; it still works",
                    name);
    else if (PQntuples(rows) == 1 && PQgetvalue(rows, 0, 0)[0] == 't')
        log_info("auth: the MD5 secret of user \"%s\" was replaced", name);
    free(name);
}

/* Whatever comes of it, the login stands. */
static void
upgrade(struct login *login, const char *old, const char *new)
{
    const char *params[DB_PARAMS_MAX] = {login->user.text, old, new};
    char *name = strdup(login->user.text);

    if (name != NULL
        && !db_query(login->auth->db, DB_UPGRADE_SECRET, params, on_upgraded,
                     name))
        on_upgraded(name, NULL);
}

/* -- checking ------------------------------------------------------------- */

/* MD5 that is only verified costs nothing, and is to be replaced at the next
 * login once the configuration says so. */
static bool
worth_remembering(const struct auth *auth, const char *secret)
{
    return auth->legacy_md5 != CONF_MD5_VERIFY
           || secret_form(secret) != SECRET_MD5;
}

static void
on_checked(void *context, const struct hash_answer *answer)
{
    struct login *login = context;

    if (answer->result == SECRET_MATCH) {
        throttle_good(login->auth->throttle, &login->who, loop_ms());
        if (worth_remembering(login->auth, answer->matched))
            directory_remember_password(login->auth->directory, &login->user,
                                        answer->matched, login->password,
                                        login->password_len);
        if (answer->upgraded != NULL)
            upgrade(login, answer->matched, answer->upgraded);
        finish(login, AUTH_OK, NULL);
        return;
    }
    if (answer->result == SECRET_UNTOLD) {
        unavailable(login, "memory");
        return;
    }
    if (login->reason == NULL)
        login->reason = answer->result == SECRET_ERROR ? "unusable-secret"
                                                       : "wrong-password";
    /* Out of date, it cannot tell that a password is wrong. It stays counted:
     * nobody may guess without a limit while the database is away. */
    login->counted = false;
    if (login->stale)
        unavailable(login, "stale");
    else
        finish(login, AUTH_DENIED, NULL);
}

/* Has the password checked against the record; without one (or with one that
 * does not count) only the time is spent. */
static void
check(struct login *login, const struct record *record)
{
    struct auth *auth = login->auth;
    struct hash_question question = {
        .password = login->password,
        .len = login->password_len,
        .client = login->who.client,
        .refuse_md5 = auth->legacy_md5 == CONF_MD5_REFUSE,
        .upgrade_md5 = auth->legacy_md5 == CONF_MD5_UPGRADE && !login->stale,
    };

    if (record != NULL) {
        question.secret = record_secret(record);
        question.old_secret =
            record_old_secret(record, (int64_t) time(NULL));
        if (secret_form(question.secret) == SECRET_UNUSABLE
            && question.old_secret == NULL)
            login->reason = "unusable-secret";
    }
    login->counted = throttle_begin(auth->throttle, &login->who, loop_ms());
    if (!login->counted)
        unavailable(login, "held");
    else if (!hash_check(auth->hashes, &question, on_checked, login))
        unavailable(login, "overload");
}

static void
on_key(void *context, const PGresult *rows)
{
    struct auth *auth = context;
    const char *hex;
    size_t len;

    auth->key_asked = false;
    if (rows == NULL || PQntuples(rows) != 1)
        return;
    hex = PQgetvalue(rows, 0, 0);
    for (len = 0; len < AUTH_KEY_MAX; len++)
        if (sscanf(hex + 2 * len, "%2hhx", &auth->key[len]) != 1)
            break;
    auth->key_len = len;
}

void
auth_fetch_key(struct auth *auth)
{
    const char *params[DB_PARAMS_MAX] = {NULL};

    if (auth->key_len == 0 && !auth->key_asked)
        auth->key_asked =
            db_query(auth->db, DB_MOCK_KEY, params, on_key, auth);
}

/* The verifier of a user who has one, or one made up. */
static void
give_verifier(struct login *login, const struct record *record)
{
    struct auth *auth = login->auth;
    char mock[SECRET_MAX];
    const char *verifier = mock;

    auth_fetch_key(auth);
    if (record != NULL && record_enabled(record)
        && secret_form(record_secret(record)) == SECRET_SCRAM)
        verifier = record_secret(record);
    else if (login->stale || auth->key_len == 0
             || !secret_mock_verifier(&auth->secret_policy, auth->key,
                                      auth->key_len, login->user.text, mock)) {
        unavailable(login, login->stale ? "stale" : "no-mock-key");
        return;
    }
    finish(login, AUTH_OK, verifier);
}

/* Whether the password was right before, for a secret that still counts. */
static bool
known(const struct login *login, const struct record *record)
{
    const struct auth *auth = login->auth;

    if (auth->legacy_md5 == CONF_MD5_REFUSE
        && secret_form(record_secret(record)) == SECRET_MD5)
        return false;
    return directory_password_known(auth->directory, &login->user,
                                    login->password, login->password_len);
}

/* The directory has answered. */
static void
on_facts(struct directory_wait *wait, const struct decide_facts *facts)
{
    struct login *login = (struct login *) wait;
    const struct record *record = facts->record;

    login->stale = facts->stale;
    if (facts->state != DECIDE_USER_RECORD
        && facts->state != DECIDE_USER_UNKNOWN) {
        unavailable(login, "database");
        return;
    }
    if (login->verifier) {
        give_verifier(login, record);
        return;
    }
    if (record == NULL)
        login->reason = "unknown-user";
    else if (!record_enabled(record))
        login->reason = "disabled";
    if (login->reason != NULL)
        record = NULL;
    if (record != NULL && known(login, record)) {
        throttle_known(login->auth->throttle, &login->who, loop_ms());
        finish(login, AUTH_OK, NULL);
    } else {
        check(login, record);
    }
}

/* -- reading -------------------------------------------------------------- */

static void
on_cancel(void *context)
{
    struct login *login = context;

    login->conn = NULL;
    /* What runs on a worker thread comes back and finds nobody; what waits for
     * the directory is not to be answered any more. */
    if (login->wait.link != NULL) {
        directory_cancel(&login->wait);
        free_login(login);
    }
}

static bool
value_is(const char *buf, const struct attr_value *value, const char *word)
{
    return value->len == strlen(word)
           && memcmp(buf + value->offset, word, value->len) == 0;
}

/* Decodes the password. False when it is none that a secret can be of. */
static bool
read_password(struct login *login, const char *text, size_t len)
{
    unsigned char raw[BASE64_MAX];
    bool ok;
    int n;

    if (len == 0 || len > BASE64_MAX || len % 4 != 0)
        return false;
    n = EVP_DecodeBlock(raw, (const unsigned char *) text, (int) len);
    if (n > 0 && text[len - 1] == '=')
        n--;
    if (n > 0 && text[len - 2] == '=')
        n--;
    ok = n > 0 && secret_password_ok((const char *) raw, (size_t) n);
    if (ok) {
        memcpy(login->password, raw, (size_t) n);
        login->password_len = (size_t) n;
    }
    secret_wipe(raw, sizeof(raw));
    return ok;
}

/* Fills the login from the block. False: denied, without asking anyone. */
static bool
read_login(struct login *login, const char *buf,
           const struct attr_value *values)
{
    const char *error;

    addr_printable(login->shown_user, sizeof(login->shown_user),
                   buf + values[USER].offset, values[USER].len);
    addr_printable(login->client, sizeof(login->client),
                   buf + values[CLIENT].offset, values[CLIENT].len);
    addr_printable(login->service, sizeof(login->service),
                   buf + values[SERVICE].offset, values[SERVICE].len);
    if (!addr_parse_name(buf + values[USER].offset, values[USER].len,
                         &login->user, &error)) {
        login->reason = "malformed-user";
        return false;
    }
    login->who = throttle_who(login->auth->throttle, login->client,
                              login->user.text);
    if (!login->verifier
        && !read_password(login, buf + values[PASSWORD].offset,
                          values[PASSWORD].len)) {
        login->reason = "malformed-password";
        return false;
    }
    return true;
}

static void
start(struct login *login)
{
    struct directory_question asked = {.user = &login->user};
    struct decide_facts facts;

    if (directory_peek(login->auth->directory, &asked, clock_boot_ms(), &facts)
        || directory_ask(login->auth->directory, &asked, &facts,
                         &login->wait))
        on_facts(&login->wait, &facts);
}

static enum server_handled
handle(void *context, struct conn *conn, char *buf,
       const struct attr_value *values, const char **error_r)
{
    struct auth *auth = context;
    bool verifier = value_is(buf, &values[REQUEST], ATTR_REQUEST_VERIFIER);
    struct login *login;

    *error_r = "not a request=auth or request=verifier";
    if (!verifier && !value_is(buf, &values[REQUEST], ATTR_REQUEST_AUTH))
        return SERVER_CLOSE;
    *error_r = "out of memory";
    login = calloc(1, sizeof(*login));
    if (login == NULL)
        return SERVER_CLOSE;
    login->wait.answered = on_facts;
    login->auth = auth;
    login->conn = conn;
    login->began = uv_hrtime();
    login->verifier = verifier;
    conn_set_waiting(conn, on_cancel, login);
    if (!read_login(login, buf, values))
        finish(login, AUTH_DENIED, NULL);
    else if (verifier && !auth->scram)
        unavailable(login, "scram-off");
    else
        start(login);
    /* Answered or not, the server knows: conn_reply() was called or will be. */
    return SERVER_WAITING;
}

static bool
admit(void *context, uid_t peer)
{
    const struct auth *auth = context;
    size_t i;

    for (i = 0; i < auth->clients_count; i++)
        if (auth->clients[i] == peer)
            return true;
    return false;
}

bool
auth_set_clients(struct auth *auth, const char *list, char *error_r,
                 size_t error_size)
{
    uid_t clients[AUTH_CLIENTS_MAX];
    size_t count = 0;

    for (;;) {
        char name[128], buffer[4096];
        struct passwd entry, *found = NULL;
        size_t len;

        list += strspn(list, " \t,");
        len = strcspn(list, " \t,");
        if (len == 0)
            break;
        snprintf(name, sizeof(name), "%.*s", (int) len, list);
        list += len;
        if (getpwnam_r(name, &entry, buffer, sizeof(buffer), &found) != 0
            || found == NULL) {
            snprintf(error_r, error_size, "auth_clients: no user \"%s\"",
                     name);
            return false;
        }
        if (count == AUTH_CLIENTS_MAX) {
            snprintf(error_r, error_size, "auth_clients: more than %d users",
                     AUTH_CLIENTS_MAX);
            return false;
        }
        clients[count++] = entry.pw_uid;
    }
    memcpy(auth->clients, clients, count * sizeof(clients[0]));
    auth->clients_count = count;
    return true;
}

const struct protocol auth_protocol = {
    .name = "auth",
    .names = names,
    .names_count = VALUES,
    .secret = true,
    .handle = handle,
    .admit = admit,
};
