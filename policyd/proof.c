/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/proof.h"
#include "lib/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <string.h>

bool
proof_key_make(struct proof_key *key)
{
    return RAND_bytes(key->bytes, sizeof(key->bytes)) == 1;
}

void
proof_key_wipe(struct proof_key *key)
{
    secret_wipe(key->bytes, sizeof(key->bytes));
}

bool
proof_make(const struct proof_key *key, const char *secret,
           const char *password, size_t len,
           unsigned char proof_r[static PROOF_LEN])
{
    unsigned char text[SECRET_MAX + SECRET_PASSWORD_MAX];
    size_t secret_len = strlen(secret) + 1; /* its NUL parts the two */
    unsigned int n = 0;
    bool ok;

    if (secret_len > SECRET_MAX || len > SECRET_PASSWORD_MAX)
        return false;
    memcpy(text, secret, secret_len);
    memcpy(text + secret_len, password, len);
    ok = HMAC(EVP_sha256(), key->bytes, sizeof(key->bytes), text,
              secret_len + len, proof_r, &n)
             != NULL
         && n == PROOF_LEN;
    secret_wipe(text, sizeof(text));
    return ok;
}

bool
proof_holds(const struct proof_key *key,
            const unsigned char proof[static PROOF_LEN], const char *secret,
            const char *password, size_t len)
{
    unsigned char made[PROOF_LEN];

    return secret != NULL && proof_make(key, secret, password, len, made)
           && CRYPTO_memcmp(made, proof, sizeof(made)) == 0;
}
