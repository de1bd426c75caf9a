/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/addr.h"
#include "lib/secret.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN 32  /* of SHA-256 */
#define SALT_LEN 16 /* of the verifiers we make; PostgreSQL's, too */
#define SALT_MAX 64 /* of those we check */
#define BASE64_KEY_LEN 44
#define MD5_HEX_LEN 32
#define BCRYPT_PASSWORD_MAX 72
/* libxcrypt's own cost for new yescrypt secrets, as its settings begin. */
#define YESCRYPT_DEFAULT "$y$j9T$"

/* RFC 5803 in parts. */
struct scram {
    unsigned int iterations;
    unsigned char salt[SALT_MAX];
    size_t salt_len;
    unsigned char stored_key[KEY_LEN];
    unsigned char server_key[KEY_LEN];
};

void
secret_wipe(void *memory, size_t len)
{
    explicit_bzero(memory, len);
}

static bool
equal(const char *a, const char *b)
{
    size_t len = strlen(a);

    return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}

static bool
is_md5(const char *stored)
{
    return strlen(stored) == MD5_HEX_LEN
           && strspn(stored, "0123456789abcdefABCDEF") == MD5_HEX_LEN;
}

/* Decodes exactly the canonical base64 of 1..size bytes; 0 on all else. */
static size_t
decode_base64(const char *text, size_t len, unsigned char *out, size_t size)
{
    unsigned char raw[SALT_MAX + 3];
    char again[SALT_MAX * 2];
    size_t n;

    if (len == 0 || len % 4 != 0 || len / 4 * 3 > sizeof(raw))
        return 0;
    n = len / 4 * 3;
    /* Blanks around it are not decoded, and leave raw unset. */
    if (EVP_DecodeBlock(raw, (const unsigned char *) text, (int) len)
        != (int) n)
        return 0;
    if (text[len - 1] == '=')
        n--;
    if (text[len - 2] == '=')
        n--;
    if (n > size)
        return 0;
    /* OpenSSL is lenient about blanks and stray bits; we are not. */
    EVP_EncodeBlock((unsigned char *) again, raw, (int) n);
    if (strlen(again) != len || memcmp(again, text, len) != 0)
        return 0;
    memcpy(out, raw, n);
    return n;
}

/* Reads decimal digits up to the byte end; NULL when it is no number there. */
static const char *
parse_iterations(const char *text, char end, unsigned int *value_r)
{
    unsigned int value = 0;
    const char *at;

    if (*text == '0')
        return NULL;
    for (at = text; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (unsigned int) (*at - '0');
        if (value > SECRET_ITERATIONS_MAX)
            return NULL;
    }
    if (at == text || *at != end || value < SECRET_ITERATIONS_MIN)
        return NULL;
    *value_r = value;
    return at + 1;
}

static bool
parse_scram(const char *stored, struct scram *scram)
{
    const char *at, *end;

    if (strncmp(stored, SECRET_SCRAM_PREFIX, strlen(SECRET_SCRAM_PREFIX)) != 0)
        return false;
    at = parse_iterations(stored + strlen(SECRET_SCRAM_PREFIX), ':',
                          &scram->iterations);
    if (at == NULL || (end = strchr(at, '$')) == NULL)
        return false;
    scram->salt_len = decode_base64(at, (size_t) (end - at), scram->salt,
                                    sizeof(scram->salt));
    at = end + 1;
    return scram->salt_len > 0 && strlen(at) == 2 * BASE64_KEY_LEN + 1
           && at[BASE64_KEY_LEN] == ':'
           && decode_base64(at, BASE64_KEY_LEN, scram->stored_key, KEY_LEN)
                  == KEY_LEN
           && decode_base64(at + BASE64_KEY_LEN + 1, BASE64_KEY_LEN,
                            scram->server_key, KEY_LEN)
                  == KEY_LEN;
}

enum secret_form
secret_form(const char *stored)
{
    struct scram scram;

    if (stored == NULL || stored[0] == '\0' || strlen(stored) >= SECRET_MAX)
        return SECRET_UNUSABLE;
    /* Before crypt(3), which would take the digits for DES. */
    if (is_md5(stored))
        return SECRET_MD5;
    if (strncmp(stored, SECRET_SCRAM_PREFIX, strlen(SECRET_SCRAM_PREFIX)) == 0)
        return parse_scram(stored, &scram) ? SECRET_SCRAM : SECRET_UNUSABLE;
    switch (crypt_checksalt(stored)) {
    case CRYPT_SALT_OK:
    case CRYPT_SALT_METHOD_LEGACY:
    case CRYPT_SALT_TOO_CHEAP:
        return SECRET_CRYPT;
    default:
        return SECRET_UNUSABLE;
    }
}

bool
secret_password_ok(const char *password, size_t len)
{
    return len >= 1 && len <= SECRET_PASSWORD_MAX
           && memchr(password, '\0', len) == NULL;
}

/* crypt(3) on a NUL-terminated copy, its scratch memory wiped. False, with
 * ENOMEM in errno when memory ran out. */
static bool
hash_crypt(const char *setting, const char *password, size_t len,
           char hash_r[static SECRET_MAX])
{
    char phrase[SECRET_PASSWORD_MAX + 1];
    struct crypt_data *data;
    const char *hash;
    bool ok = false;
    int error;

    errno = 0;
    if (len > SECRET_PASSWORD_MAX)
        return false;
    data = calloc(1, sizeof(*data));
    if (data == NULL)
        return false;
    memcpy(phrase, password, len);
    phrase[len] = '\0';
    errno = 0;
    hash = crypt_rn(phrase, setting, data, (int) sizeof(*data));
    if (hash != NULL && hash[0] != '*' && strlen(hash) < SECRET_MAX) {
        memcpy(hash_r, hash, strlen(hash) + 1);
        ok = true;
    }
    error = errno;
    secret_wipe(phrase, sizeof(phrase));
    secret_wipe(data, sizeof(*data));
    free(data);
    errno = error;
    return ok;
}

static enum secret_result
check_crypt(const char *stored, const char *password, size_t len)
{
    char hash[SECRET_MAX];
    enum secret_result result;

    /* bcrypt would ignore the rest. */
    if (strncmp(stored, "$2", 2) == 0 && len > BCRYPT_PASSWORD_MAX)
        return SECRET_MISMATCH;
    if (!hash_crypt(stored, password, len, hash))
        return errno == ENOMEM ? SECRET_UNTOLD : SECRET_ERROR;
    /* A secret that lost its end matches nothing, whatever the password. */
    if (strlen(hash) != strlen(stored))
        result = SECRET_ERROR;
    else
        result = equal(hash, stored) ? SECRET_MATCH : SECRET_MISMATCH;
    secret_wipe(hash, sizeof(hash));
    return result;
}

static bool
hmac(const unsigned char *key, size_t key_len, const char *text, size_t len,
     unsigned char out[static KEY_LEN])
{
    unsigned int n = 0;

    return HMAC(EVP_sha256(), key, (int) key_len,
                (const unsigned char *) text, len, out, &n)
               != NULL
           && n == KEY_LEN;
}

/* RFC 5802 section 3, from the password to what the server keeps. */
static bool
derive_scram(struct scram *scram, const char *password, size_t len)
{
    unsigned char salted[KEY_LEN], client_key[KEY_LEN];
    bool ok;

    ok = PKCS5_PBKDF2_HMAC(password, (int) len, scram->salt,
                           (int) scram->salt_len, (int) scram->iterations,
                           EVP_sha256(), KEY_LEN, salted)
             == 1
         && hmac(salted, KEY_LEN, "Client Key", 10, client_key)
         && hmac(salted, KEY_LEN, "Server Key", 10, scram->server_key)
         && EVP_Digest(client_key, KEY_LEN, scram->stored_key, NULL,
                       EVP_sha256(), NULL)
                == 1;
    secret_wipe(salted, sizeof(salted));
    secret_wipe(client_key, sizeof(client_key));
    return ok;
}

static enum secret_result
check_scram(const char *stored, const char *password, size_t len)
{
    struct scram kept, derived;
    enum secret_result result = SECRET_UNTOLD;

    if (!parse_scram(stored, &kept))
        return SECRET_ERROR;
    derived = kept;
    if (derive_scram(&derived, password, len))
        result = CRYPTO_memcmp(kept.stored_key, derived.stored_key, KEY_LEN)
                         == 0
                     ? SECRET_MATCH
                     : SECRET_MISMATCH;
    secret_wipe(&kept, sizeof(kept));
    secret_wipe(&derived, sizeof(derived));
    return result;
}

static enum secret_result
check_md5(const char *stored, const char *password, size_t len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[MD5_HEX_LEN + 1], lower[MD5_HEX_LEN + 1];
    enum secret_result result;
    size_t i;

    if (EVP_Digest(password, len, digest, NULL, EVP_md5(), NULL) != 1)
        return SECRET_UNTOLD;
    for (i = 0; i < MD5_HEX_LEN / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    for (i = 0; i <= MD5_HEX_LEN; i++)
        lower[i] = (char) (stored[i] >= 'A' && stored[i] <= 'F'
                               ? stored[i] + ('a' - 'A')
                               : stored[i]);
    result = equal(hex, lower) ? SECRET_MATCH : SECRET_MISMATCH;
    secret_wipe(digest, sizeof(digest));
    secret_wipe(hex, sizeof(hex));
    return result;
}

enum secret_result
secret_check(const char *stored, const char *password, size_t len)
{
    if (!secret_password_ok(password, len))
        return SECRET_MISMATCH;
    switch (secret_form(stored)) {
    case SECRET_CRYPT:
        return check_crypt(stored, password, len);
    case SECRET_SCRAM:
        return check_scram(stored, password, len);
    case SECRET_MD5:
        return check_md5(stored, password, len);
    case SECRET_UNUSABLE:
        break;
    }
    return SECRET_ERROR;
}

static void
format_scram(const struct scram *scram, char secret_r[static SECRET_MAX])
{
    unsigned char salt[SALT_MAX * 2], stored[64], server[64];

    EVP_EncodeBlock(salt, scram->salt, (int) scram->salt_len);
    EVP_EncodeBlock(stored, scram->stored_key, KEY_LEN);
    EVP_EncodeBlock(server, scram->server_key, KEY_LEN);
    snprintf(secret_r, SECRET_MAX, "%s%u:%s$%s:%s", SECRET_SCRAM_PREFIX,
             scram->iterations, salt, stored, server);
    secret_wipe(stored, sizeof(stored));
    secret_wipe(server, sizeof(server));
}

static bool
make_scram(unsigned int iterations, const char *password, size_t len,
           char secret_r[static SECRET_MAX])
{
    struct scram scram;
    bool ok;

    memset(&scram, 0, sizeof(scram));
    scram.iterations = iterations;
    scram.salt_len = SALT_LEN;
    ok = RAND_bytes(scram.salt, SALT_LEN) == 1
         && derive_scram(&scram, password, len);
    if (ok)
        format_scram(&scram, secret_r);
    secret_wipe(&scram, sizeof(scram));
    return ok;
}

static bool
make_yescrypt(const char *password, size_t len,
              char secret_r[static SECRET_MAX])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    return crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting))
               != NULL
           && hash_crypt(setting, password, len, secret_r);
}

bool
secret_make(const struct secret_policy *policy, const char *password,
            size_t len, char secret_r[static SECRET_MAX],
            const char **error_r)
{
    bool ok;

    *error_r = "a password is 1 to 511 bytes without NUL";
    if (!secret_password_ok(password, len))
        return false;
    *error_r = "cannot make a secret (memory or random numbers)";
    if (policy->scheme == SECRET_SCRAM_SHA_256)
        ok = make_scram(policy->iterations, password, len, secret_r);
    else
        ok = make_yescrypt(password, len, secret_r);
    if (ok)
        *error_r = NULL;
    return ok;
}

bool
secret_check_dummy(const struct secret_policy *policy, const char *password,
                   size_t len)
{
    char secret[SECRET_MAX];
    const char *error;

    if (!secret_password_ok(password, len)) {
        password = "-";
        len = 1;
    }
    if (!secret_make(policy, password, len, secret, &error))
        return false;
    secret_wipe(secret, sizeof(secret));
    return true;
}

bool
secret_costs_enough(const struct secret_policy *policy, const char *stored)
{
    struct scram scram;

    if (stored == NULL)
        return false;
    /* 20 ms against 28 ms for the most iterations we take: near enough. */
    if (strncmp(stored, YESCRYPT_DEFAULT, strlen(YESCRYPT_DEFAULT)) == 0)
        return true;
    return policy->scheme == SECRET_SCRAM_SHA_256
           && parse_scram(stored, &scram)
           && scram.iterations >= policy->iterations;
}

/* Fills out with bytes that only the key's holder can tell from random. */
static bool
mock_bytes(const unsigned char *key, size_t key_len, const char *what,
           const char *name, unsigned char out[static KEY_LEN])
{
    char text[32 + NAME_MAX_LEN];
    int len = snprintf(text, sizeof(text), "%s:%s", what, name);

    return len > 0 && (size_t) len < sizeof(text)
           && hmac(key, key_len, text, (size_t) len, out);
}

bool
secret_mock_verifier(const struct secret_policy *policy,
                     const unsigned char *key, size_t key_len,
                     const char *name, char secret_r[static SECRET_MAX])
{
    unsigned char salt[KEY_LEN];
    struct scram scram;
    bool ok;

    memset(&scram, 0, sizeof(scram));
    scram.iterations = policy->iterations;
    scram.salt_len = SALT_LEN;
    ok = key_len > 0 && mock_bytes(key, key_len, "salt", name, salt)
         && mock_bytes(key, key_len, "stored", name, scram.stored_key)
         && mock_bytes(key, key_len, "server", name, scram.server_key);
    if (ok) {
        memcpy(scram.salt, salt, SALT_LEN);
        format_scram(&scram, secret_r);
    }
    return ok;
}

bool
secret_generate(char password_r[static SECRET_GENERATED + 1])
{
    /* 32 letters that nobody mistakes for another: 120 bits in all. */
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    unsigned char random[SECRET_GENERATED];
    size_t i;

    if (RAND_bytes(random, sizeof(random)) != 1)
        return false;
    for (i = 0; i < sizeof(random); i++)
        password_r[i] = letters[random[i] % 32];
    password_r[sizeof(random)] = '\0';
    secret_wipe(random, sizeof(random));
    return true;
}
