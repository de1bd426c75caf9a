/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/faults.h"

#include "mailadmin/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
faults_add(struct faults *faults, unsigned long line, const char *format, ...)
{
    struct fault *fault;
    va_list args;

    faults->count++;
    if (faults->items == NULL)
        faults->items = calloc(FAULTS_MAX, sizeof(*faults->items));
    if (faults->items == NULL || faults->kept == FAULTS_MAX)
        return;
    fault = &faults->items[faults->kept];
    va_start(args, format);
    if (vasprintf(&fault->text, format, args) >= 0) {
        fault->line = line;
        faults->kept++;
    }
    va_end(args);
}

/* By line; those of one line stay as they were found. */
static void
sort(struct faults *faults)
{
    size_t i, at;

    for (i = 1; i < faults->kept; i++) {
        struct fault fault = faults->items[i];

        for (at = i; at > 0 && faults->items[at - 1].line > fault.line; at--)
            faults->items[at] = faults->items[at - 1];
        faults->items[at] = fault;
    }
}

enum status
faults_print(struct session *session, const char *name, struct faults *faults)
{
    size_t i;

    if (faults->count == 0)
        return STATUS_OK;
    sort(faults);
    for (i = 0; i < faults->kept; i++) {
        session_say(session, STATUS_DATA, "%s:%lu: %s", name,
                    faults->items[i].line, faults->items[i].text);
        session_print(session, 0);
    }
    session_say(session, STATUS_DATA, "%s: %zu error%s", name, faults->count,
                faults->count == 1 ? "" : "s");
    if (faults->count > faults->kept)
        session_append(session, ", of which %zu are not shown",
                       faults->count - faults->kept);
    session_append(session, "; nothing done");
    return STATUS_DATA;
}

void
faults_free(struct faults *faults)
{
    size_t i;

    for (i = 0; i < faults->kept; i++)
        free(faults->items[i].text);
    free(faults->items);
    memset(faults, 0, sizeof(*faults));
}
