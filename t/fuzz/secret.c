/* SPDX-License-Identifier: MIT */
/*
 * Stored secrets, first line, against a password, the rest. What is slow is
 * replaced at link time: crypt(3) by one that keeps the setting and no
 * entropy, PBKDF2 by one round. So every branch is reached at full speed.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "lib/secret.h"

#include <crypt.h>
#include <openssl/evp.h>

/* These take the places of the library's, by the linker's --wrap. */
char *__wrap_crypt_rn(const char *phrase, const char *setting, void *data,
                      int size);
int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int passlen,
                             const unsigned char *salt, int saltlen, int iter,
                             const EVP_MD *digest, int keylen,
                             unsigned char *out);
int __real_PKCS5_PBKDF2_HMAC(const char *pass, int passlen,
                             const unsigned char *salt, int saltlen, int iter,
                             const EVP_MD *digest, int keylen,
                             unsigned char *out);

static bool crypt_called;

/* A hash as long as the setting says: what stands behind its last '$' is
 * replaced by a digest of the phrase. */
char *
__wrap_crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
    char *out = data;
    const char *dollar = strrchr(setting, '$');
    size_t kept = dollar != NULL ? (size_t) (dollar - setting) + 1 : 2, i;
    size_t len = strlen(setting);

    crypt_called = true;
    CHECK(size == (int) sizeof(struct crypt_data));
    if (len % 7 == 3)
        return NULL;
    if (len % 7 == 4)
        return strcpy(out, "*0");
    if (len < kept)
        kept = len;
    memcpy(out, setting, kept);
    for (i = kept; i < len; i++)
        out[i] = phrase[(i - kept) % (strlen(phrase) + 1)] == 'a' ? 'x' : 'y';
    out[i] = '\0';
    return out;
}

int
__wrap_PKCS5_PBKDF2_HMAC(const char *pass, int passlen,
                         const unsigned char *salt, int saltlen, int iter,
                         const EVP_MD *digest, int keylen, unsigned char *out)
{
    CHECK(iter >= SECRET_ITERATIONS_MIN && iter <= SECRET_ITERATIONS_MAX);
    CHECK(saltlen >= 1 && saltlen <= 64);
    return __real_PKCS5_PBKDF2_HMAC(pass, passlen, salt, saltlen, 1, digest,
                                    keylen, out);
}

static void
check_stored(const char *stored, const struct piece *password)
{
    enum secret_form form = secret_form(stored);
    struct secret_policy policy = {SECRET_SCRAM_SHA_256, 4096};
    enum secret_result result;

    crypt_called = false;
    result = secret_check(stored, password->text, password->len);
    CHECK(form == SECRET_CRYPT || !crypt_called);
    CHECK(form != SECRET_UNUSABLE || result != SECRET_MATCH);
    CHECK(secret_password_ok(password->text, password->len)
          || result == SECRET_MISMATCH);
    if (strlen(stored) == 32
        && strspn(stored, "0123456789abcdefABCDEF") == 32)
        CHECK(form == SECRET_MD5);
    if (form == SECRET_MD5)
        CHECK(!secret_costs_enough(&policy, stored));
    if (secret_costs_enough(&policy, stored)
        && strncmp(stored, "$y$", 3) != 0)
        CHECK(form == SECRET_SCRAM);
}

/* What is made from a password matches it, and nothing shorter. */
static void
check_made(const struct piece *password)
{
    struct secret_policy policy = {SECRET_SCRAM_SHA_256, 4096};
    char secret[SECRET_MAX], mock[SECRET_MAX];
    const unsigned char key[32] = "key";
    const char *error = NULL;

    if (!secret_make(&policy, password->text, password->len, secret,
                     &error)) {
        CHECK(error != NULL);
        CHECK(!secret_password_ok(password->text, password->len));
        return;
    }
    CHECK(secret_form(secret) == SECRET_SCRAM);
    CHECK(secret_check(secret, password->text, password->len)
          == SECRET_MATCH);
    CHECK(secret_check(secret, password->text, password->len - 1)
          == SECRET_MISMATCH);
    CHECK(secret_mock_verifier(&policy, key, sizeof(key), "someone", mock));
    CHECK(secret_form(mock) == SECRET_SCRAM
          && strlen(mock) == strlen(secret));
    secret_check_dummy(&policy, password->text, password->len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct piece input = {(const char *) data, size};
    struct piece line = {NULL, 0}, password;
    char *stored, *copy;

    fuzz_line(&input, &line);
    stored = piece_copy(&line);
    copy = piece_copy(&input);
    password.text = copy;
    password.len = input.len;
    check_stored(stored, &password);
    check_made(&password);
    free(stored);
    free(copy);
    return 0;
}
