/* SPDX-License-Identifier: MIT */
#ifndef LIB_ADDR_H
#define LIB_ADDR_H

/*
 * The one form in which user names, addresses and domains are stored and
 * compared (DESIGN section 4). Every program, and what it stores, goes
 * through these functions; the checks in sql/ hold the same rules.
 *
 * Results are written into structs of the caller's; nothing is allocated that
 * is not freed before the return; nothing is logged.
 */

#include <stdbool.h>
#include <stddef.h>

#define ADDR_MAX 254   /* bytes of an address, RFC 5321 4.5.3.1.3 less <> */
#define DOMAIN_MAX 253 /* bytes of a domain name, RFC 1035 without its dot */
#define NAME_MAX_LEN 128 /* bytes of a user name */

/* An address in its normal form: "local@domain", NUL-terminated. */
struct addr {
    char text[ADDR_MAX + 1];
    size_t len;
    size_t at; /* offset of the last '@'; the domain begins behind it */
};

struct domain {
    char text[DOMAIN_MAX + 1];
    size_t len;
};

/* A user name, lower-case. */
struct user_name {
    char text[NAME_MAX_LEN + 1];
    size_t len;
};

/*
 * Normalise what a peer sent as an envelope sender: split at the last '@', one
 * trailing dot of the domain dropped, A-Z folded, U-labels turned into
 * A-labels without any mapping. False, and a constant text in *error_r, when
 * it is no address: no '@', an empty part, a control character (C0, DEL, C1),
 * invalid UTF-8, over ADDR_MAX bytes before or after, or a non-ASCII domain
 * that IDNA2008 refuses.
 */
bool addr_parse(const char *text, size_t len, struct addr *addr_r,
                const char **error_r);

/*
 * The same for a domain that an administrator names. Stricter than the domain
 * part of a sender, for it must be one that can be granted: labels of 1..63
 * letters, digits, '-' or '_', or an address literal in brackets.
 */
bool addr_parse_domain(const char *text, size_t len, struct domain *domain_r,
                       const char **error_r);

/* addr_parse(), then the rule of addr_parse_domain() for its domain: what an
 * administrator may store as an address. */
bool addr_parse_grantable(const char *text, size_t len, struct addr *addr_r,
                          const char **error_r);

/* 1..128 bytes of [a-z0-9._+@-] after ASCII lower-casing. */
bool addr_parse_name(const char *text, size_t len, struct user_name *name_r,
                     const char **error_r);

/*
 * The address without its extension, the way Postfix splits it: the local part
 * up to the first byte that is in delimiters, unless that is its first.
 * False when there is none, or delimiters is empty.
 */
bool addr_strip_extension(const struct addr *addr, const char *delimiters,
                          struct addr *stripped_r);

/* Copies text for people: bytes outside 0x21..0x7e and the backslash become
 * \xNN. Cut to fit size (at least 5), always NUL-terminated; a cut copy ends
 * in "...". Returns dst. */
char *addr_printable(char *dst, size_t size, const char *text, size_t len);

#endif
