/* SPDX-License-Identifier: MIT */
/*
 * Each name has a skeleton, in which letters that look the same are the same.
 * Names that differ in digits only (mail1, mail2), and those below a domain
 * that is both's (a.example.com, b.example.com), are one owner's habit.
 */
#include "config.h"

#include "mailadmin/lookalike.h"

#include "mailadmin/closest.h"

#include <idn2.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    SKELETON_MAX = 256,
    OFTEN = 10,        /* times as many messages make a name established */
    LETTERS_APART = 4, /* kinds of letters: more are over two letters away */
    LENGTH_APART = 4   /* likewise */
};

struct name {
    const char *text;
    char *skeleton;
    uint32_t letters; /* which it has, a bit each */
    size_t labels;
    int64_t messages;
    bool granted;
    size_t begin, end; /* those of its domain in the set; of a domain, all */
};

struct lookalikes {
    struct name *names;
    size_t count, room;
};

/* -- skeletons ------------------------------------------------------------ */

/* The Latin letter that one of another script looks like; '?' for none. */
static char
latin(uint32_t code)
{
    static const struct {
        uint16_t code;
        char letter;
    } alike[] = {
        {0x430, 'a'}, {0x435, 'e'}, {0x43e, 'o'}, {0x440, 'p'}, {0x441, 'c'},
        {0x443, 'y'}, {0x445, 'x'}, {0x456, 'l'}, {0x458, 'j'}, {0x455, 's'},
        {0x501, 'd'}, {0x51b, 'q'}, {0x51d, 'w'}, {0x4bb, 'h'}, {0x432, 'b'},
        {0x43a, 'k'}, {0x43c, 'm'}, {0x43d, 'h'}, {0x442, 't'}, {0x4cf, 'l'},
        {0x3b1, 'a'}, {0x3bd, 'v'}, {0x3bf, 'o'}, {0x3c1, 'p'}, {0x3b9, 'l'},
        {0x3ba, 'k'}, {0x3c4, 't'}, {0x3c5, 'u'}, {0x131, 'l'}, {0x261, 'g'},
    };
    static const char accented[] = /* U+00E0 to U+00FF */
        "aaaaaaaceeeellll?nooooo?ouuuuy?y";
    size_t i;

    if (code >= 0xe0 && code <= 0xff)
        return accented[code - 0xe0];
    for (i = 0; i < sizeof(alike) / sizeof(alike[0]); i++)
        if (alike[i].code == code)
            return alike[i].letter;
    return '?';
}

/* The next character of UTF-8 text that is known to be good. */
static uint32_t
next_code(const char **text)
{
    const unsigned char *at = (const unsigned char *) *text;
    uint32_t code = *at++;

    if (code >= 0x80)
        code &= code >= 0xf0 ? 0x07 : code >= 0xe0 ? 0x0f : 0x1f;
    while ((*at & 0xc0) == 0x80)
        code = code << 6 | (*at++ & 0x3f);
    *text = (const char *) at;
    return code;
}

static char
plain(char c)
{
    switch (c) {
    case '0':
        return 'o';
    case '1':
    case 'i':
    case '|':
        return 'l';
    case '5':
        return 's';
    default:
        return c;
    }
}

/* Two letters that look like one. */
static char
pair(char a, char b)
{
    return a == 'r' && b == 'n'   ? 'm'
           : a == 'v' && b == 'v' ? 'w'
           : a == 'c' && b == 'l' ? 'd'
                                  : '\0';
}

static void
write_skeleton(const char *text, char skeleton_r[SKELETON_MAX])
{
    size_t len = 0;

    while (*text != '\0' && len + 1 < SKELETON_MAX) {
        uint32_t code = next_code(&text);
        char c = code < 0x80 ? plain((char) code) : latin(code);
        char one = len > 0 ? pair(skeleton_r[len - 1], c) : '\0';

        if (one != '\0')
            skeleton_r[len - 1] = one;
        else
            skeleton_r[len++] = c;
    }
    skeleton_r[len] = '\0';
}

/* Of a domain as people see it. */
static char *
make_skeleton(const char *text)
{
    char skeleton[SKELETON_MAX], *unicode = NULL;

    if (strstr(text, "xn--") != NULL
        && idn2_to_unicode_8z8z(text, &unicode, 0) == IDN2_OK)
        text = unicode;
    write_skeleton(text, skeleton);
    idn2_free(unicode);
    return strdup(skeleton);
}

static uint32_t
letters_of(const char *text)
{
    uint32_t letters = 0;

    for (; *text != '\0'; text++)
        letters |= UINT32_C(1) << (islower((unsigned char) *text)
                                       ? *text - 'a'
                                       : 26 + (unsigned char) *text % 6);
    return letters;
}

/* -- comparing ------------------------------------------------------------ */

static size_t
labels(const char *domain)
{
    size_t count = 1;

    for (; *domain != '\0'; domain++)
        count += *domain == '.';
    return count;
}

/* Those behind so many in front. */
static const char *
last_labels(const char *domain, size_t skipped)
{
    for (; skipped > 0; skipped--)
        domain = strchr(domain, '.') + 1;
    return domain;
}

/* Whether two sets of letters are those of names that may be alike. */
static bool
near(uint32_t letters, uint32_t others)
{
    return __builtin_popcount(letters ^ others) <= LETTERS_APART;
}

/* Whether they differ in digits for other digits, and nothing else. */
static bool
same_but_digits(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++)
        if (*a != *b
            && !(isdigit((unsigned char) *a) && isdigit((unsigned char) *b)))
            return false;
    return *a == *b;
}

/* Letters, of the longer one, in front of the labels that both end in;
 * *shared_r are those. */
static size_t
own_letters(const char *a, const char *b, const char **shared_r)
{
    size_t i = strlen(a), j = strlen(b), own = i, other = j;

    while (i > 0 && j > 0 && a[i - 1] == b[j - 1]) {
        i--, j--;
        if (a[i] == '.') {
            own = i;
            other = j;
        }
    }
    *shared_r = a + own + (a[own] == '.');
    return own > other ? own : other;
}

/* Whether a domain that both are below of has an owner, which .com and .co.uk
 * have not: by its length, for no list of them is at hand. */
static bool
is_owned(const char *shared)
{
    return strchr(shared, '.') != NULL && strcspn(shared, ".") > 3;
}

static bool
few_mistakes(const char *a, const char *b, size_t own)
{
    size_t limit = own < 4 ? 0 : own < 10 ? 1 : 2;

    return closest_distance(a, b, limit + 1) <= limit;
}

static bool
alike_domains(const struct name *a, const struct name *b)
{
    size_t count = a->labels < b->labels ? a->labels : b->labels, own;
    const char *text, *text_b, *skeleton, *skeleton_b, *shared;

    if (count < 2
        || (a->labels == b->labels && !near(a->letters, b->letters)))
        return false;
    text = last_labels(a->text, a->labels - count);
    text_b = last_labels(b->text, b->labels - count);
    skeleton = last_labels(a->skeleton, a->labels - count);
    skeleton_b = last_labels(b->skeleton, b->labels - count);
    if (strlen(skeleton) > strlen(skeleton_b) + LENGTH_APART
        || strlen(skeleton_b) > strlen(skeleton) + LENGTH_APART
        || same_but_digits(text, text_b))
        return false;
    own = own_letters(text, text_b, &shared);
    if (is_owned(shared))
        return false;
    return strcmp(skeleton, skeleton_b) == 0
           || few_mistakes(skeleton, skeleton_b, own);
}

/* Of one domain; what they share, its '@' included, is no dot's end. */
static bool
alike_addresses(const struct name *a, const struct name *b)
{
    size_t own = strcspn(a->text, "@");

    if (same_but_digits(a->text, b->text))
        return false;
    return strcmp(a->skeleton, b->skeleton) == 0
           || (own > 4 && few_mistakes(a->skeleton, b->skeleton, 4));
}

/* -- the set -------------------------------------------------------------- */

struct lookalikes *
lookalikes_new(void)
{
    return calloc(1, sizeof(struct lookalikes));
}

void
lookalikes_free(struct lookalikes **set)
{
    size_t i;

    if (*set == NULL)
        return;
    for (i = 0; i < (*set)->count; i++)
        free((*set)->names[i].skeleton);
    free((*set)->names);
    free(*set);
    *set = NULL;
}

bool
lookalikes_add(struct lookalikes *set, const char *text, int64_t messages,
               bool granted)
{
    struct name *name;

    if (set->count == set->room) {
        size_t room = set->room ? set->room * 2 : 256;

        name = realloc(set->names, room * sizeof(*name));
        if (name == NULL)
            return false;
        set->names = name;
        set->room = room;
    }
    name = &set->names[set->count];
    *name = (struct name){text, make_skeleton(text), 0, labels(text),
                          messages, granted, 0, 0};
    if (name->skeleton == NULL)
        return false;
    name->letters = letters_of(name->skeleton);
    set->count++;
    return true;
}

/* Behind the last '@'; of a domain, all of it. */
static const char *
domain_of(const char *text)
{
    const char *at = strrchr(text, '@');

    return at == NULL ? text : at + 1;
}

/* Those of one domain stand together. */
static int
compare(const void *a, const void *b)
{
    const struct name *left = a, *right = b;
    int order = strcmp(domain_of(left->text), domain_of(right->text));

    return order != 0 ? order : strcmp(left->text, right->text);
}

/* Notes for each what it is compared with. */
static void
set_neighbours(struct lookalikes *set)
{
    size_t begin = 0, end, i;

    for (; begin < set->count; begin = end) {
        const char *text = set->names[begin].text;
        bool addresses = strchr(text, '@') != NULL;

        for (end = begin + 1; end < set->count; end++)
            if (addresses
                && strcmp(domain_of(set->names[end].text), domain_of(text))
                       != 0)
                break;
        for (i = begin; i < end; i++) {
            set->names[i].begin = begin;
            set->names[i].end = end;
        }
    }
}

void
lookalikes_sort(struct lookalikes *set)
{
    size_t i, kept = 0;

    if (set->count > 0)
        qsort(set->names, set->count, sizeof(set->names[0]), compare);
    for (i = 0; i < set->count; i++) {
        struct name *name = &set->names[i];

        if (kept > 0 && compare(name, &set->names[kept - 1]) == 0) {
            set->names[kept - 1].messages += name->messages;
            set->names[kept - 1].granted |= name->granted;
            free(name->skeleton);
        } else {
            set->names[kept++] = *name;
        }
    }
    set->count = kept;
    set_neighbours(set);
}

static const struct name *
find(const struct lookalikes *set, const char *text)
{
    struct name key = {.text = text};

    if (set->count == 0)
        return NULL;
    return bsearch(&key, set->names, set->count, sizeof(key), compare);
}

int64_t
lookalikes_messages(const struct lookalikes *set, const char *text)
{
    const struct name *name = find(set, text);

    return name == NULL ? 0 : name->messages;
}

bool
lookalikes_granted(const struct lookalikes *set, const char *text)
{
    const struct name *name = find(set, text);

    return name != NULL && name->granted;
}

static bool
alike(const struct name *name, const struct name *other)
{
    bool addresses = strchr(name->text, '@') != NULL;

    if (other == name
        || (!other->granted && other->messages < OFTEN * name->messages))
        return false;
    if (!addresses)
        return alike_domains(name, other);
    return near(name->letters, other->letters) && alike_addresses(name, other);
}

const char *
lookalikes_find(const struct lookalikes *set, const char *text)
{
    const struct name *name = find(set, text);
    size_t i;

    if (name == NULL || name->granted)
        return NULL;
    for (i = name->begin; i < name->end; i++)
        if (alike(name, &set->names[i]))
            return set->names[i].text;
    return NULL;
}
