/* SPDX-License-Identifier: MIT */
#ifndef T_FUZZ_REFERENCE_H
#define T_FUZZ_REFERENCE_H

/*
 * The decision once more, written from the rules alone: slow, by whole copies
 * and linear search, sharing no code with lib/decide.c, lib/addr.c or
 * lib/record.c. Of libidn2 both sides ask the same function, this one a label
 * at a time.
 */

#include "t/fuzz/fuzz.h"

#define REFERENCE_TEXT 70000
#define REFERENCE_GRANTS 64

struct reference_grant {
    char kind; /* 'a', 'd', 's' */
    bool ends;
    int64_t until;
    struct piece text;
};

struct reference_record {
    bool known, enabled;
    size_t count;
    struct reference_grant grants[REFERENCE_GRANTS];
};

struct reference_case {
    bool reject_unauthenticated, permit_null_sender;
    const char *delimiters;
    struct piece state, user, method, sender;
    int64_t now;
};

enum reference_answer { REFERENCE_PERMIT, REFERENCE_REFUSE };

/* Reads lines of grants; false when one of them is not in the form, or there
 * are more than REFERENCE_GRANTS. Points into the text. */
bool reference_read_grants(struct piece text, struct reference_record *record);

/* Whether the answer depends on the record of the user, whose name in normal
 * form is then in name_r; if not, *answer_r is the answer. */
bool reference_asks(const struct reference_case *rcase,
                    enum reference_answer *answer_r,
                    char name_r[static 129]);

/* The answer, once the record is known. */
enum reference_answer reference_decide(const struct reference_case *rcase,
                                       const struct reference_record *record);

/* The normal form of an address; false when it is none. */
bool reference_address(struct piece text, char address_r[static 512]);

#endif
