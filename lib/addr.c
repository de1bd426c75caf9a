/* SPDX-License-Identifier: MIT */
/*
 * The normal form must be what Postfix queues, or something a mail system
 * later on cannot take for anything else: so there is no mapping here. ASCII
 * domains never pass through libidn2, which refuses valid ones (ab--cd.com);
 * of the others, a non-ASCII label must come out as an A-label. Canonical
 * composition alone would turn KELVIN SIGN into the letter K.
 */
#include "config.h"

#include "lib/addr.h"

#include <idn2.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool
is_upper(unsigned char c)
{
    return c >= 'A' && c <= 'Z';
}

static void
fold(char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (is_upper((unsigned char) text[i]))
            text[i] = (char) (text[i] + ('a' - 'A'));
}

static bool
is_ascii(const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if ((unsigned char) text[i] >= 0x80)
            return false;
    return true;
}

/* Length of the UTF-8 sequence at text (RFC 3629), 0 when it is none. */
static size_t
utf8_sequence(const unsigned char *text, size_t len)
{
    unsigned char c = text[0], low = 0x80, high = 0xbf;
    size_t need, i;

    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        need = 2;
    else if (c >= 0xe0 && c <= 0xef)
        need = 3;
    else if (c >= 0xf0 && c <= 0xf4)
        need = 4;
    else
        return 0;
    if (c == 0xe0)
        low = 0xa0;
    if (c == 0xed)
        high = 0x9f;
    if (c == 0xf0)
        low = 0x90;
    if (c == 0xf4)
        high = 0x8f;
    if (len < need || text[1] < low || text[1] > high)
        return 0;
    for (i = 2; i < need; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

/* Refuses control characters (C0, DEL, and C1 as UTF-8) and bad UTF-8. */
static const char *
check_text(const char *text, size_t len)
{
    const unsigned char *bytes = (const unsigned char *) text;
    size_t i = 0, n;

    while (i < len) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return "control character";
        n = utf8_sequence(bytes + i, len - i);
        if (n == 0)
            return "not UTF-8";
        if (n == 2 && bytes[i] == 0xc2 && bytes[i + 1] < 0xa0)
            return "control character";
        i += n;
    }
    return NULL;
}

/* Whether idn2 left ASCII labels alone and made A-labels of all others. */
static bool
labels_kept(const char *before, const char *after)
{
    for (;;) {
        size_t a = strcspn(before, "."), b = strcspn(after, ".");

        if (is_ascii(before, a)
                ? a != b || memcmp(before, after, a) != 0
                : b < 4 || memcmp(after, "xn--", 4) != 0)
            return false;
        if (before[a] != after[b])
            return false;
        if (before[a] == '\0')
            return true;
        before += a + 1;
        after += b + 1;
    }
}

/*
 * Writes the normal form of a domain, which has no control characters, to dst
 * of size bytes. Sets *len_r.
 */
static const char *
normalise_domain(char *dst, size_t size, const char *text, size_t len,
                 size_t *len_r)
{
    char folded[ADDR_MAX + 1];
    uint8_t *ascii = NULL;
    const char *error = NULL;

    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len == 0)
        return "empty domain";
    if (len > ADDR_MAX)
        return "too long";
    memcpy(folded, text, len);
    folded[len] = '\0';
    fold(folded, len);
    if (!is_ascii(folded, len)) {
        if (idn2_lookup_u8((const uint8_t *) folded, &ascii,
                           IDN2_NO_TR46 | IDN2_NFC_INPUT)
            != IDN2_OK)
            return "domain is not valid in IDNA2008";
        if (!labels_kept(folded, (const char *) ascii))
            error = "domain is not valid in IDNA2008";
        else
            len = strlen((const char *) ascii);
    }
    if (error == NULL && len >= size)
        error = "too long";
    if (error == NULL) {
        memcpy(dst, ascii ? (const char *) ascii : folded, len);
        dst[len] = '\0';
        *len_r = len;
    }
    if (ascii != NULL)
        idn2_free(ascii);
    return error;
}

/* Copies and folds what nearly all addresses are: printable ASCII. False when
 * this is none of them. One pass instead of the six that the others take,
 * since this is called for each request. */
static bool
copy_plain(char *dst, const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char) text[i];

        if (c < 0x20 || c >= 0x7f)
            return false;
        dst[i] = (char) (is_upper(c) ? c + ('a' - 'A') : c);
    }
    return true;
}

/* The work of addr_parse(); returns the error. */
static const char *
parse(const char *text, size_t len, struct addr *addr)
{
    const char *at, *error;
    size_t local, domain;

    if (len > ADDR_MAX + 1 || (len > ADDR_MAX && text[len - 1] != '.'))
        return "longer than 254 bytes";
    at = len == 0 ? NULL : memrchr(text, '@', len);
    if (at == NULL)
        return "no '@'";
    local = (size_t) (at - text);
    if (local == 0)
        return "nothing before the '@'";
    addr->at = local;
    if (copy_plain(addr->text, text, len)) {
        len -= text[len - 1] == '.';
        addr->text[len] = '\0';
        addr->len = len;
        return len == local + 1 ? "empty domain" : NULL;
    }
    error = check_text(text, len);
    if (error != NULL)
        return error;
    error = normalise_domain(addr->text + local + 1,
                             sizeof(addr->text) - local - 1, at + 1,
                             len - local - 1, &domain);
    if (error != NULL)
        return error;
    memcpy(addr->text, text, local + 1);
    fold(addr->text, local);
    addr->len = local + 1 + domain;
    return NULL;
}

bool
addr_parse(const char *text, size_t len, struct addr *addr_r,
           const char **error_r)
{
    *error_r = parse(text, len, addr_r);
    if (*error_r == NULL)
        return true;
    memset(addr_r, 0, sizeof(*addr_r));
    return false;
}

/* Refuses what is no domain that a mail system could send from. */
static const char *
check_hostname(const char *text, size_t len)
{
    size_t i, label = 0;

    if (len > DOMAIN_MAX)
        return "domain longer than 253 bytes";
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        for (i = 1; i < len - 1; i++)
            if (strchr("abcdefghijklmnopqrstuvwxyz0123456789.:", text[i])
                == NULL)
                return "not an address literal";
        return NULL;
    }
    for (i = 0; i <= len; i++) {
        if (i == len || text[i] == '.') {
            if (label == 0)
                return "domain with an empty label";
            if (label > 63)
                return "domain with a label over 63 bytes";
            label = 0;
        } else if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", text[i])
                   == NULL) {
            return "a domain is letters, digits, '-', '_' and dots";
        } else {
            label++;
        }
    }
    return NULL;
}

bool
addr_parse_domain(const char *text, size_t len, struct domain *domain_r,
                  const char **error_r)
{
    *error_r = check_text(text, len);
    if (*error_r == NULL && memchr(text, '@', len) != NULL)
        *error_r = "a domain has no '@'";
    if (*error_r == NULL)
        *error_r = normalise_domain(domain_r->text, sizeof(domain_r->text),
                                    text, len, &domain_r->len);
    if (*error_r == NULL)
        *error_r = check_hostname(domain_r->text, domain_r->len);
    if (*error_r == NULL)
        return true;
    memset(domain_r, 0, sizeof(*domain_r));
    return false;
}

bool
addr_parse_grantable(const char *text, size_t len, struct addr *addr_r,
                     const char **error_r)
{
    if (!addr_parse(text, len, addr_r, error_r))
        return false;
    *error_r = check_hostname(addr_r->text + addr_r->at + 1,
                              addr_r->len - addr_r->at - 1);
    if (*error_r == NULL)
        return true;
    memset(addr_r, 0, sizeof(*addr_r));
    return false;
}

/* Called for each byte of each request, so not by way of a string. */
static bool
name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '+'
           || c == '@' || c == '-';
}

bool
addr_parse_name(const char *text, size_t len, struct user_name *name_r,
                const char **error_r)
{
    size_t i;

    memset(name_r, 0, sizeof(*name_r));
    *error_r = NULL;
    if (len == 0)
        *error_r = "empty name";
    else if (len > NAME_MAX_LEN)
        *error_r = "longer than 128 bytes";
    for (i = 0; *error_r == NULL && i < len; i++)
        if (!name_byte(text[i]))
            *error_r = "a name is letters, digits and . _ + @ -";
    if (*error_r != NULL)
        return false;
    memcpy(name_r->text, text, len);
    fold(name_r->text, len);
    name_r->len = len;
    return true;
}

bool
addr_strip_extension(const struct addr *addr, const char *delimiters,
                     struct addr *stripped_r)
{
    size_t local = strcspn(addr->text, delimiters);

    if (delimiters[0] == '\0' || local == 0 || local >= addr->at)
        return false;
    memcpy(stripped_r->text, addr->text, local);
    memcpy(stripped_r->text + local, addr->text + addr->at,
           addr->len - addr->at + 1);
    stripped_r->at = local;
    stripped_r->len = addr->len - (addr->at - local);
    return true;
}

char *
addr_printable(char *dst, size_t size, const char *text, size_t len)
{
    static const char dots[] = "...";
    size_t used = 0, kept = 0, i;

    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char) text[i];
        char piece[5];
        size_t n = 1;

        if (c > 0x20 && c < 0x7f && c != '\\')
            piece[0] = (char) c;
        else
            n = (size_t) snprintf(piece, sizeof(piece), "\\x%02x", c);
        if (used + n >= size) {
            memcpy(dst + kept, dots, sizeof(dots));
            return dst;
        }
        memcpy(dst + used, piece, n);
        used += n;
        if (used + sizeof(dots) <= size)
            kept = used;
    }
    dst[used] = '\0';
    return dst;
}
