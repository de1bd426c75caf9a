/* SPDX-License-Identifier: MIT */
/*
 * The plugin's reading of policyd's replies: whole, and in pieces as they
 * arrive. Only one whole reply with a known status is taken.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "saslplugin/client.h"

static enum client_parse
parse(const char *bytes, size_t len, struct client_reply *reply)
{
    char *copy = malloc(len + 1);
    enum client_parse result;

    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    memset(reply, 0, sizeof(*reply));
    result = client_parse_reply(copy, len, reply);
    CHECK(len == 0 || memcmp(copy, bytes, len) == 0);
    free(copy);
    return result;
}

/* Whether a status line is in the text; only then may it be believed. */
static bool
says(const char *bytes, size_t len, const char *line)
{
    size_t i;

    for (i = 0; i + strlen(line) <= len; i++)
        if (memcmp(bytes + i, line, strlen(line)) == 0
            && (i == 0 || bytes[i - 1] == '\n'))
            return true;
    return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *) data;
    struct client_reply reply, early;
    enum client_parse result, before;
    size_t cut;

    if (size > CLIENT_REPLY_MAX + 1)
        size = CLIENT_REPLY_MAX + 1;
    result = parse(bytes, size, &reply);
    if (result == CLIENT_PARSE_BAD)
        CHECK(reply.error[0] != '\0');
    if (result == CLIENT_PARSE_DONE) {
        CHECK(size >= 2 && memcmp(bytes + size - 2, "\n\n", 2) == 0);
        CHECK(reply.status != CLIENT_FAILED);
        CHECK(reply.status != CLIENT_OK || says(bytes, size, "status=ok\n"));
        CHECK(strlen(reply.verifier) < sizeof(reply.verifier));
    }
    /* No beginning of a reply is a reply, or else what follows is refused. */
    for (cut = 0; cut < size && cut < 600; cut++) {
        before = parse(bytes, cut, &early);
        if (before == CLIENT_PARSE_BAD)
            CHECK(result == CLIENT_PARSE_BAD);
        if (before == CLIENT_PARSE_DONE)
            CHECK(result == CLIENT_PARSE_BAD);
    }
    return 0;
}
