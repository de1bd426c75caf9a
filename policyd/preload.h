/* SPDX-License-Identifier: MIT */
#ifndef POLICYD_PRELOAD_H
#define POLICYD_PRELOAD_H

/*
 * Loads all users into the directory, piece by piece in the order of their
 * names, until there are no more or the cache is full. Questions are answered
 * meanwhile, from the database where need be.
 */

#include <stdbool.h>

struct db;
struct directory;
struct preload;

/* NULL when out of memory. What it is given outlives it. */
struct preload *preload_new(struct db *db, struct directory *directory);

/* The database answers all queries before this. */
void preload_free(struct preload **preload);

/* Begins, or goes on where an outage ended it; nothing once it is done. */
void preload_run(struct preload *preload);

#endif
