/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/batch.h"

#include "mailadmin/change.h"
#include "mailadmin/db.h"
#include "mailadmin/grammar.h"
#include "mailadmin/session.h"

#include <stdlib.h>
#include <string.h>

enum { LINES = 500, ITEMS = 1000 };

struct line {
    unsigned long number;
    size_t first, count; /* of its items */
};

struct batch {
    struct change change;
    struct line lines[LINES];
    size_t count;
};

struct batch *
batch_new(void)
{
    return calloc(1, sizeof(struct batch));
}

void
batch_free(struct batch **batch)
{
    if (*batch == NULL)
        return;
    change_free(&(*batch)->change);
    free(*batch);
    *batch = NULL;
}

bool
batch_holds(const struct batch *batch)
{
    return batch->count > 0;
}

bool
batch_take(struct batch *batch, struct session *session,
           const struct arguments *arguments, unsigned long number)
{
    size_t before = batch->change.store.count;
    enum status status;

    if (!change_is_plain(arguments) || batch->count == LINES
        || before >= ITEMS)
        return false;
    if (!change_add(session, arguments, &batch->change, &status)) {
        /* It is run by itself, and says the same again. */
        session->message[0] = '\0';
        return false;
    }
    batch->lines[batch->count++] = (struct line){
        number, before, batch->change.store.count - before};
    return true;
}

/* One line's part of the batch, by itself. */
static enum status
make_line(struct batch *batch, struct session *session,
          const struct line *line)
{
    struct change one = {.store = batch->change.store};
    enum status status;

    one.store.items += line->first;
    one.store.count = line->count;
    status = change_make(session, &one);
    if (status == STATUS_OK)
        status = change_report(session, &one, 0, line->count);
    session_print(session, line->number);
    return status;
}

static enum status
make_each(struct batch *batch, struct session *session)
{
    enum status status;
    size_t i;

    for (i = 0; i < batch->count; i++) {
        status = make_line(batch, session, &batch->lines[i]);
        if (status != STATUS_OK && session->strict)
            return status;
    }
    return STATUS_OK;
}

static void
report_each(struct batch *batch, struct session *session)
{
    size_t i;

    for (i = 0; i < batch->count; i++) {
        change_report(session, &batch->change, batch->lines[i].first,
                      batch->lines[i].count);
        session_print(session, batch->lines[i].number);
    }
}

enum status
batch_flush(struct batch *batch, struct session *session)
{
    enum status status = STATUS_OK, first = STATUS_OK;
    struct store_change *store = &batch->change.store;

    if (batch->count > 1)
        status = store_change(session->db, store, NULL, NULL);
    if (batch->count == 1) {
        first = make_each(batch, session);
    } else if (batch->count > 1 && status == STATUS_OK) {
        report_each(batch, session);
    } else if (status == STATUS_UNAVAILABLE) {
        /* Each would have to wait for the same. */
        session_db(session, status);
        session_append(session, " (this and the %zu lines after it)",
                       batch->count - 1);
        session_print(session, batch->lines[0].number);
        first = session->strict ? status : STATUS_OK;
    } else if (batch->count > 1) {
        first = make_each(batch, session);
    }
    change_free(&batch->change);
    batch->count = 0;
    return first;
}
