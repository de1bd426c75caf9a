/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/query.h"
#include "lib/secret.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_COLUMNS "counter, id, enabled, passwd, old_passwd, old_until," \
                       " heavy, grants"

const struct statement query_statements[DB_STATEMENTS] = {
    [DB_LOOKUP] = {"lookup",
                   "SELECT " RECORD_COLUMNS
                   " FROM public.emailing_lookup($1::pg_catalog.text)",
                   1, false},
    [DB_LOOKUP_SENDER] = {"lookup_sender",
                          "SELECT " RECORD_COLUMNS
                          " FROM public.emailing_lookup_sender("
                          "$1::pg_catalog.text, $2::pg_catalog.text,"
                          " $3::pg_catalog.text, $4::pg_catalog.text)",
                          4, false},
    [DB_LOAD] = {"load",
                 "SELECT " RECORD_COLUMNS ", name"
                 " FROM public.emailing_load("
                 "$1::pg_catalog.text, $2::pg_catalog.int4)",
                 2, false},
    [DB_UPGRADE_SECRET] = {"upgrade_secret",
                           "SELECT public.emailing_upgrade_secret("
                           "$1::pg_catalog.text, $2::pg_catalog.text,"
                           " $3::pg_catalog.text)",
                           3, false},
    [DB_MOCK_KEY] = {"mock_key",
                     "SELECT pg_catalog.encode("
                     "public.emailing_mock_key(), 'hex')",
                     0, false},
    [DB_NOTIFY] = {"notify",
                   "SELECT pg_catalog.pg_notify('emailing',"
                   " $1::pg_catalog.text)",
                   1, false},
    [DB_RECORD_USAGE] = {"record_usage",
                         "SELECT public.emailing_record_usage("
                         "$1::pg_catalog.text)",
                         1, true},
};

static void
free_query(struct query *query)
{
    size_t i;

    for (i = 0; i < DB_PARAMS_MAX; i++) {
        if (query->params[i] != NULL)
            secret_wipe(query->params[i], strlen(query->params[i]));
        free(query->params[i]);
    }
    free(query);
}

struct query *
query_new(enum db_statement statement, const char *const params[],
          db_done_fn *done, void *context)
{
    struct query *query = calloc(1, sizeof(*query));
    int i;

    if (query == NULL)
        return NULL;
    query->statement = statement;
    query->done = done;
    query->context = context;
    for (i = 0; i < query_statements[statement].params; i++) {
        if (params[i] == NULL)
            continue;
        query->params[i] = strdup(params[i]);
        if (query->params[i] == NULL) {
            free_query(query);
            return NULL;
        }
    }
    return query;
}

void
query_answer(struct query *query, const PGresult *rows)
{
    query->done(query->context, rows);
    free_query(query);
}

void
queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
    queue->count = 0;
}

void
queue_put(struct queue *queue, struct query *query)
{
    query->next = NULL;
    *queue->last = query;
    queue->last = &query->next;
    queue->count++;
}

struct query *
queue_take(struct queue *queue)
{
    struct query *query = queue->first;

    if (query == NULL)
        return NULL;
    queue->first = query->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    queue->count--;
    return query;
}

void
queue_put_back(struct queue *queue, struct queue *other)
{
    if (other->first == NULL)
        return;
    *other->last = queue->first;
    if (queue->first == NULL)
        queue->last = other->last;
    queue->first = other->first;
    queue->count += other->count;
    queue_init(other);
}
