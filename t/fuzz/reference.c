/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/fuzz/reference.h"

#include <idn2.h>

#include <ctype.h>
#include <strings.h>
#include <wchar.h>

/* -- grants --------------------------------------------------------------- */

static bool
read_number(struct piece text, int64_t *number_r)
{
    __int128 number = 0;
    bool negative = text.len > 0 && text.text[0] == '-';
    size_t i;

    if (text.len == negative || text.len > 23)
        return false;
    for (i = negative; i < text.len; i++) {
        if (text.text[i] < '0' || text.text[i] > '9')
            return false;
        number = number * 10 + (text.text[i] - '0');
    }
    if (negative)
        number = -number;
    if (number > INT64_MAX || number < INT64_MIN)
        return false;
    *number_r = (int64_t) number;
    return true;
}

static bool
read_grant(struct piece line, struct reference_grant *grant_r)
{
    struct piece until = {NULL, 0};
    size_t i;

    if (line.len < 2 || strchr("ads", line.text[0]) == NULL
        || line.text[0] == '\0' || line.text[1] != ' ')
        return false;
    grant_r->kind = line.text[0];
    for (i = 2; i < line.len && line.text[i] != ' '; i++)
        ;
    if (i >= line.len)
        return false;
    until.text = line.text + 2;
    until.len = i - 2;
    grant_r->text.text = line.text + i + 1;
    grant_r->text.len = line.len - i - 1;
    grant_r->ends = !piece_is(&until, "-");
    return grant_r->text.len > 0 && grant_r->text.len <= 65535
           && (!grant_r->ends || read_number(until, &grant_r->until));
}

bool
reference_read_grants(struct piece text, struct reference_record *record)
{
    struct piece line;

    record->count = 0;
    while (fuzz_line(&text, &line)) {
        if (record->count == REFERENCE_GRANTS
            || !read_grant(line, &record->grants[record->count]))
            return false;
        record->count++;
    }
    return true;
}

static bool
granted(const struct reference_record *record, char kind, const char *text,
        int64_t now)
{
    size_t i;

    for (i = 0; i < record->count; i++) {
        const struct reference_grant *grant = &record->grants[i];

        if (grant->kind == kind && piece_is(&grant->text, text)
            && (!grant->ends || grant->until > now))
            return true;
    }
    return false;
}

/* -- addresses ------------------------------------------------------------ */

/* The code points of UTF-8 text, decoded bit by bit; false when it is none or
 * has a control character. */
static bool
is_clean_text(struct piece text)
{
    size_t i = 0;

    while (i < text.len) {
        unsigned char c = (unsigned char) text.text[i++];
        uint32_t code = c;
        int more = 0, n;

        if (c >= 0x80) {
            more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
            if (c < 0xc0 || c >= 0xf8)
                return false;
            code = c & (0x3fu >> more);
        }
        for (n = 0; n < more; n++) {
            if (i == text.len || (text.text[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | ((unsigned char) text.text[i++] & 0x3f);
        }
        if ((more == 1 && code < 0x80) || (more == 2 && code < 0x800)
            || (more == 3 && code < 0x10000) || code > 0x10ffff
            || (code >= 0xd800 && code <= 0xdfff))
            return false;
        if (code < 0x20 || (code >= 0x7f && code < 0xa0))
            return false;
    }
    return true;
}

static bool
has_high_byte(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char) *text >= 0x80)
            return true;
    return false;
}

/* One label, lower-case, of a domain that is not all ASCII, in its ASCII
 * form. */
static bool
convert_label(const char *label, char *out, size_t size)
{
    uint8_t *ascii = NULL;
    bool ok;

    if (!has_high_byte(label))
        return strlen(label) <= 63
               && snprintf(out, size, "%s", label) < (int) size;
    if (idn2_lookup_u8((const uint8_t *) label, &ascii,
                       IDN2_NO_TR46 | IDN2_NFC_INPUT)
        != IDN2_OK)
        return false;
    ok = strncmp((char *) ascii, "xn--", 4) == 0
         && snprintf(out, size, "%s", (char *) ascii) < (int) size;
    idn2_free(ascii);
    return ok;
}

static bool
convert_domain(const char *domain, char *out, size_t size)
{
    const char *dot;
    size_t used = 0;

    for (;; domain = dot + 1) {
        char label[512];

        dot = strchrnul(domain, '.');
        snprintf(label, sizeof(label), "%.*s", (int) (dot - domain), domain);
        if (!convert_label(label, out + used, size - used))
            return false;
        used += strlen(out + used);
        if (*dot == '\0')
            return true;
        if (used + 2 > size)
            return false;
        out[used++] = '.';
        out[used] = '\0';
    }
}

bool
reference_address(struct piece text, char address_r[static 512])
{
    char copy[512], domain[512];
    size_t i, at = 0;
    bool found = false;

    if (text.len > 0 && text.text[text.len - 1] == '.')
        text.len--;
    if (text.len > 254 || !is_clean_text(text))
        return false;
    for (i = 0; i < text.len; i++) {
        char c = text.text[i];

        copy[i] = c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
        if (c == '@') {
            at = i;
            found = true;
        }
    }
    copy[text.len] = '\0';
    if (!found || at == 0 || copy[at + 1] == '\0')
        return false;
    if (has_high_byte(copy + at + 1)
            ? !convert_domain(copy + at + 1, domain, sizeof(domain))
            : false)
        return false;
    if (!has_high_byte(copy + at + 1))
        snprintf(domain, sizeof(domain), "%s", copy + at + 1);
    copy[at] = '\0';
    return snprintf(address_r, 512, "%s@%s", copy, domain) <= 254;
}

/* -- the rules ------------------------------------------------------------ */

static bool
same_word(const struct piece *piece, const char *word)
{
    return piece->len == strlen(word)
           && strncasecmp(piece->text, word, piece->len) == 0;
}

static bool
read_name(const struct piece *text, char name_r[static 129])
{
    size_t i;

    if (text->len < 1 || text->len > 128)
        return false;
    for (i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char) text->text[i];

        if (c >= 0x80 || !(isalnum(c) || (c != 0 && strchr("._+@-", c))))
            return false;
        name_r[i] = (char) tolower(c);
    }
    name_r[text->len] = '\0';
    return true;
}

bool
reference_asks(const struct reference_case *rcase,
               enum reference_answer *answer_r, char name_r[static 129])
{
    const struct piece *state = &rcase->state;

    *answer_r = REFERENCE_PERMIT;
    if (rcase->sender.len == 0
        && (same_word(state, "CONNECT") || same_word(state, "HELO")
            || same_word(state, "EHLO") || same_word(state, "VRFY")
            || same_word(state, "ETRN")))
        return false;
    if (rcase->user.len == 0 || same_word(&rcase->method, "ANONYMOUS")) {
        if (rcase->reject_unauthenticated)
            *answer_r = REFERENCE_REFUSE;
        return false;
    }
    *answer_r = REFERENCE_REFUSE;
    return read_name(&rcase->user, name_r);
}

static bool
is_host_label(const char *label, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (!islower((unsigned char) label[i])
            && !isdigit((unsigned char) label[i]) && label[i] != '-'
            && label[i] != '_')
            return false;
    return len > 0;
}

/* Whether a grant with subdomains of a domain above this one is there. */
static bool
parent_granted(const struct reference_record *record, const char *domain,
               int64_t now)
{
    const char *dot = strchr(domain, '.');

    if (dot == NULL || !is_host_label(domain, (size_t) (dot - domain)))
        return false;
    return granted(record, 's', dot + 1, now)
           || parent_granted(record, dot + 1, now);
}

static enum reference_answer
decide_address(const struct reference_case *rcase,
               const struct reference_record *record, const char *address)
{
    char stripped[512];
    const char *domain = strrchr(address, '@') + 1;
    size_t local = (size_t) (domain - address) - 1, cut;

    if (granted(record, 'a', address, rcase->now))
        return REFERENCE_PERMIT;
    for (cut = 0; cut < local; cut++)
        if (strchr("%!@\"", address[cut]) != NULL)
            return REFERENCE_REFUSE;
    for (cut = 0; cut < local; cut++)
        if (strchr(rcase->delimiters, address[cut]) != NULL)
            break;
    if (cut > 0 && cut < local) {
        snprintf(stripped, sizeof(stripped), "%.*s@%s", (int) cut, address,
                 domain);
        if (granted(record, 'a', stripped, rcase->now))
            return REFERENCE_PERMIT;
    }
    if (granted(record, 'd', domain, rcase->now)
        || granted(record, 's', domain, rcase->now)
        || parent_granted(record, domain, rcase->now))
        return REFERENCE_PERMIT;
    return REFERENCE_REFUSE;
}

enum reference_answer
reference_decide(const struct reference_case *rcase,
                 const struct reference_record *record)
{
    char address[512];

    if (!record->known || !record->enabled)
        return REFERENCE_REFUSE;
    if (rcase->sender.len == 0)
        return rcase->permit_null_sender ? REFERENCE_PERMIT
                                         : REFERENCE_REFUSE;
    if (!reference_address(rcase->sender, address))
        return REFERENCE_REFUSE;
    return decide_address(rcase, record, address);
}
