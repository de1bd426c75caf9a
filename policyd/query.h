/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_QUERY_H
#define POLICYD_QUERY_H

/*
 * Questions to the database, before and while they are asked: the SQL of each
 * statement, a query with its parameters, queues of them.
 *
 * A query is in one queue at a time, which owns it; query_answer() ends its
 * life. Parameters may be secrets and are wiped.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policyd/db.h"

struct statement {
    const char *name, *sql;
    int params;
    bool once; /* not to be sent again when the first answer is lost */
};

/* The whole of the SQL that policyd's queries speak. */
extern const struct statement query_statements[DB_STATEMENTS];

struct query {
    struct query *next;
    enum db_statement statement;
    bool sent;          /* and no answer says that it was in vain */
    bool preparing;     /* its statement was prepared along with it */
    unsigned int again; /* how often it was sent anew, in another form */
    uint64_t asked;     /* uv_hrtime() */
    uint64_t deadline;  /* milliseconds of the loop's clock */
    db_done_fn *done;
    void *context;
    char *params[DB_PARAMS_MAX];
};

/* Copies what params hold; NULL when out of memory. */
struct query *query_new(enum db_statement statement,
                        const char *const params[], db_done_fn *done,
                        void *context);

/* Calls back with the rows, or NULL, and frees the query. */
void query_answer(struct query *query, const PGresult *rows);

/* First in, first out. */
struct queue {
    struct query *first, **last;
    size_t count;
};

void queue_init(struct queue *queue);
void queue_put(struct queue *queue, struct query *query);
struct query *queue_take(struct queue *queue);

/* Moves all of other to the front of queue. */
void queue_put_back(struct queue *queue, struct queue *other);

#endif
