/* SPDX-License-Identifier: MIT */
/*
 * Normalisation of addresses, domains and names: the same as the reference's,
 * and the same again when done twice. The first byte chooses delimiters and
 * the size of the printable copy.
 */
#include "config.h"

#include "t/fuzz/fuzz.h"
#include "t/fuzz/reference.h"
#include "lib/addr.h"

static void
check_strip(const struct addr *addr, const char *delimiters)
{
    struct addr stripped;
    size_t cut;

    if (!addr_strip_extension(addr, delimiters, &stripped))
        return;
    cut = stripped.at;
    CHECK(cut > 0 && cut < addr->at);
    CHECK(strchr(delimiters, addr->text[cut]) != NULL);
    CHECK(stripped.len == strlen(stripped.text));
    CHECK(strcmp(stripped.text + stripped.at, addr->text + addr->at) == 0);
    CHECK(memcmp(stripped.text, addr->text, cut) == 0);
}

static void
check_address(struct piece input, const char *delimiters)
{
    char expected[512];
    struct addr addr, again;
    const char *error;
    bool ok = addr_parse(input.text, input.len, &addr, &error);

    CHECK(ok == (error == NULL));
    CHECK(ok == reference_address(input, expected));
    if (!ok) {
        CHECK(addr.len == 0 && addr.text[0] == '\0');
        return;
    }
    CHECK(strcmp(addr.text, expected) == 0);
    CHECK(addr.len == strlen(addr.text) && addr.len <= ADDR_MAX);
    CHECK(addr.text[addr.at] == '@' && addr.at > 0);
    CHECK(strchr(addr.text + addr.at + 1, '@') == NULL);
    /* A domain that ends in two dots keeps one. */
    if (addr.text[addr.len - 1] != '.') {
        CHECK(addr_parse(addr.text, addr.len, &again, &error));
        CHECK(again.at == addr.at && strcmp(again.text, addr.text) == 0);
    }
    check_strip(&addr, delimiters);
}

static void
check_grantable(struct piece input)
{
    struct domain domain, again;
    struct addr addr, plain;
    const char *error;

    if (addr_parse_grantable(input.text, input.len, &addr, &error)) {
        CHECK(addr_parse(input.text, input.len, &plain, &error));
        CHECK(strcmp(addr.text, plain.text) == 0);
        CHECK(addr_parse_domain(addr.text + addr.at + 1,
                                addr.len - addr.at - 1, &domain, &error));
        CHECK(strcmp(domain.text, addr.text + addr.at + 1) == 0);
    } else {
        CHECK(error != NULL && addr.len == 0);
    }
    if (addr_parse_domain(input.text, input.len, &domain, &error)) {
        CHECK(domain.len == strlen(domain.text) && domain.len <= DOMAIN_MAX);
        CHECK(is_printable(domain.text, domain.len));
        CHECK(addr_parse_domain(domain.text, domain.len, &again, &error));
        CHECK(strcmp(domain.text, again.text) == 0);
    } else {
        CHECK(error != NULL && domain.len == 0);
    }
}

static void
check_name(struct piece input)
{
    struct user_name name, again;
    const char *error;

    if (addr_parse_name(input.text, input.len, &name, &error)) {
        CHECK(name.len == input.len && strlen(name.text) == name.len);
        CHECK(addr_parse_name(name.text, name.len, &again, &error));
        CHECK(strcmp(name.text, again.text) == 0);
    } else {
        CHECK(error != NULL && name.len == 0);
    }
}

static void
check_printable(struct piece input, size_t size)
{
    char *copy = malloc(size);
    size_t len;

    CHECK(copy != NULL);
    CHECK(addr_printable(copy, size, input.text, input.len) == copy);
    len = strnlen(copy, size);
    CHECK(len < size && is_printable(copy, len));
    CHECK(memchr(copy, ' ', len) == NULL);
    CHECK(size <= 4 * input.len || len >= input.len);
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const delimiters[] = {"", "+", "+-", "-"};
    struct piece input = {(const char *) data, size};
    unsigned int choices = fuzz_choices(&input);
    char *copy = piece_copy(&input);

    input.text = copy;
    check_address(input, delimiters[choices % 4]);
    check_grantable(input);
    check_name(input);
    check_printable(input, 5 + choices);
    free(copy);
    return 0;
}
