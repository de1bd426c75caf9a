/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/db.h"
#include "policyd/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#define PREFIX "probe "

/* Outlives a probe that is forgotten, until the database has answered. */
struct probe_query {
    struct probe *probe;
};

static void
on_sent(void *context, const PGresult *rows)
{
    struct probe_query *query = context;
    struct probe *probe = query->probe;

    free(query);
    if (probe == NULL)
        return;
    probe->query = NULL;
    if (rows == NULL)
        probe->failed(probe->context);
}

bool
probe_send(struct probe *probe, struct db *db)
{
    const char *params[DB_PARAMS_MAX] = {probe->text};
    unsigned char random[16] = "";
    size_t i;

    probe_forget(probe);
    probe->arrived = false;
    uv_random(NULL, NULL, random, sizeof(random), 0, NULL);
    memcpy(probe->text, PREFIX, sizeof(PREFIX));
    for (i = 0; i < sizeof(random); i++)
        snprintf(probe->text + strlen(PREFIX) + 2 * i, 3, "%02x", random[i]);
    probe->query = calloc(1, sizeof(*probe->query));
    if (probe->query == NULL)
        return false;
    probe->query->probe = probe;
    if (db_query(db, DB_NOTIFY, params, on_sent, probe->query))
        return true;
    free(probe->query);
    probe->query = NULL;
    return false;
}

bool
probe_notified(struct probe *probe, const char *payload)
{
    if (strncmp(payload, PREFIX, strlen(PREFIX)) != 0)
        return false;
    if (strcmp(payload, probe->text) == 0)
        probe->arrived = true;
    return true;
}

void
probe_forget(struct probe *probe)
{
    if (probe->query != NULL)
        probe->query->probe = NULL;
    probe->query = NULL;
}
