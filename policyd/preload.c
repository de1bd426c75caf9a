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
    unsigned int tries;
    unsigned long users;
    char after[NAME_MAX_LEN + 1]; /* the last name that was loaded */
    bool started;
};

static void ask(struct preload *preload);

static void
finish(struct preload *preload, const char *why)
{
    preload->done = true;
    log_info("preload: %lu users loaded%s", preload->users, why);
}

static void
on_piece(void *context, const PGresult *rows)
{
    struct preload *preload = context;
    int count = rows == NULL ? 0 : PQntuples(rows);

    preload->running = false;
    if (rows == NULL)
        return; /* preload_run() comes when the database is back */
    if (count == 0) {
        finish(preload, "");
        return;
    }
    if (!directory_put(preload->directory, rows)
        && ++preload->tries < TRIES) {
        ask(preload);
        return;
    }
    preload->tries = 0;
    preload->users += (unsigned long) count;
    preload->started = true;
    snprintf(preload->after, sizeof(preload->after), "%s",
             PQgetvalue(rows, count - 1, DIRECTORY_NAME_COLUMN));
    if (directory_full(preload->directory))
        finish(preload, "; the cache is full");
    else
        ask(preload);
}

static void
ask(struct preload *preload)
{
    const char *params[DB_PARAMS_MAX] = {
        preload->started ? preload->after : NULL, PIECE};

    preload->running =
        db_query(preload->db, DB_LOAD, params, on_piece, preload);
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
