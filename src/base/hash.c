/* SHA-256 through libcrypto. */
#include <stdio.h>

#include <openssl/evp.h>

#include "base/file.h"

struct pr_sha256_state {
    EVP_MD_CTX *digest;
};

parry_status pr_sha256_begin(parry_ctx *ctx, pr_sha256_state **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->digest = EVP_MD_CTX_new();
    if (!(*out)->digest || EVP_DigestInit_ex((*out)->digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free((*out)->digest);
        pr_free(*out);
        *out = NULL;
        return pr_fail(ctx, PARRY_NO_MEMORY, "SHA-256 could not be started");
    }
    return PARRY_OK;
}

void pr_sha256_add(pr_sha256_state *state, const void *data, size_t size)
{
    EVP_DigestUpdate(state->digest, data, size);
}

static void to_hex(const unsigned char *bytes, unsigned count, char hex[PR_SHA256_HEX])
{
    for (unsigned i = 0; i < count && i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

void pr_sha256_end(pr_sha256_state *state, char hex[PR_SHA256_HEX])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    EVP_DigestFinal_ex(state->digest, bytes, &count);
    to_hex(bytes, count, hex);
    EVP_MD_CTX_free(state->digest);
    pr_free(state);
}

void pr_sha256(const void *data, size_t size, char hex[PR_SHA256_HEX])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    EVP_Digest(data, size, bytes, &count, EVP_sha256(), NULL);
    to_hex(bytes, count, hex);
}
