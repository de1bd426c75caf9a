/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_PROBE_H
#define POLICYD_PROBE_H

/*
 * Whether notifications arrive here: one to ourselves, sent over another
 * connection, for it must arrive while the listening one has nothing to ask. A
 * pooler passes on what comes along with an answer, but not what comes on its
 * own.
 *
 * Embedded by its owner.
 */

#include <stdbool.h>

struct db;
struct probe_query;

struct probe {
    bool arrived;
    /* It could not be sent; from the loop. */
    void (*failed)(void *context);
    void *context;
    struct probe_query *query; /* NULL: none is out */
    char text[40];
};

/* False when the database cannot be asked. */
bool probe_send(struct probe *probe, struct db *db);

/* Whether what came is a probe, ours or another one's; notes when it is this
 * one. */
bool probe_notified(struct probe *probe, const char *payload);

/* No callback comes after this. */
void probe_forget(struct probe *probe);

#endif
