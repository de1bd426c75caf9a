/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/past.h"

#include "mailadmin/grammar.h"
#include "mailadmin/session.h"

#include <string.h>
#include <time.h>

bool
past_parse(struct session *session, const char *text, struct past *past_r)
{
    char shown[64];

    memset(past_r, 0, sizeof(*past_r));
    if (!moment_parse_past(text, (int64_t) time(NULL), &past_r->micros)) {
        addr_printable(shown, sizeof(shown), text, strlen(text));
        session_say(session, STATUS_DATA,
                    "bad time '%s': YYYY-MM-DD, YYYY-MM-DDTHH:MM or with "
                    ":SS, in UTC, or how long ago, such as 7d", shown);
        return false;
    }
    past_r->given = true;
    moment_format_exact(past_r->micros, past_r->text);
    return true;
}

bool
past_option(struct session *session, const struct arguments *arguments,
            const char *option, struct past *past_r)
{
    const char *text = grammar_value(arguments, option);

    if (text != NULL)
        return past_parse(session, text, past_r);
    memset(past_r, 0, sizeof(*past_r));
    return true;
}
