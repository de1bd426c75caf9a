/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_METRICS_H
#define POLICYD_METRICS_H

/*
 * Everything that policyd counts, in the Prometheus text format.
 */

#include <stdio.h>

struct auth;
struct changes;
struct db;
struct directory;
struct policy;
struct server;
struct usage;

struct metrics_sources {
    const struct policy *policy;
    const struct auth *auth;
    const struct directory *directory;
    const struct usage *usage;
    const struct db *db;
    const struct changes *changes;
    const struct server *policy_server, *auth_server;
};

void metrics_print(const struct metrics_sources *sources, FILE *out);

#endif
