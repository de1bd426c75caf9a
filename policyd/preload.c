/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/db.h"
#include "policyd/directory.h"
#include "policyd/preload.h"
#include "lib/addr.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE "1000" /* users in one query: a millisecond or two of the loop */
#define TRIES 10     /* for a piece that changes while it is loaded */

struct preload {
    struct db *db;
    struct directory *directory;
    bool running, done;
    bool back; /* the piece that is out is not the one that is needed next */
    unsigned int tries;
    unsigned long users;
    char after[NAME_MAX_LEN + 1]; /* the last name before the next piece */
};

static void
finish(struct preload *preload, const char *why)
{
    preload->done = true;
    log_info("preload: %lu users loaded%s", preload->users, why);
}

static void on_piece(void *context, const PGresult *rows);

static void
ask(struct preload *preload)
{
    const char *params[DB_PARAMS_MAX] = {preload->after, PIECE};

    preload->running =
        db_query(preload->db, DB_LOAD, params, on_piece, preload);
}

static void
set_after(struct preload *preload, const char *name)
{
    snprintf(preload->after, sizeof(preload->after), "%s", name);
}

/* Takes in a piece, behind the name that after was; or sees to it that it is
 * asked for again. */
static void
take(struct preload *preload, const PGresult *rows, const char *after)
{
    if (!directory_put(preload->directory, rows)
        && ++preload->tries < TRIES) {
        set_after(preload, after);
        preload->back = preload->running;
        return;
    }
    preload->tries = 0;
    preload->users += (unsigned long) PQntuples(rows);
    if (directory_full(preload->directory))
        finish(preload, "; the cache is full");
}

/* The next piece is asked for first: the server makes it while this one is
 * stored. */
static void
on_piece(void *context, const PGresult *rows)
{
    struct preload *preload = context;
    int count = rows == NULL ? 0 : PQntuples(rows);
    char after[sizeof(preload->after)];
    bool back = preload->back;

    preload->running = preload->back = false;
    if (rows == NULL || preload->done)
        return; /* preload_run() comes when the database is back */
    if (back) {
        ask(preload);
    } else if (count == 0) {
        finish(preload, "");
    } else {
        memcpy(after, preload->after, sizeof(after));
        set_after(preload,
                  PQgetvalue(rows, count - 1, DIRECTORY_NAME_COLUMN));
        ask(preload);
        take(preload, rows, after);
    }
}

struct preload *
preload_new(struct db *db, struct directory *directory)
{
    struct preload *preload = calloc(1, sizeof(*preload));

    if (preload != NULL) {
        preload->db = db;
        preload->directory = directory;
    }
    return preload;
}

void
preload_free(struct preload **preload)
{
    free(*preload);
    *preload = NULL;
}

void
preload_run(struct preload *preload)
{
    if (!preload->running && !preload->done)
        ask(preload);
}
