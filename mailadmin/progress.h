/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_PROGRESS_H
#define MAILADMIN_PROGRESS_H

/*
 * A line on standard error, if that is a terminal, that counts the lines of a
 * long script while it runs.
 */

#include <stdbool.h>
#include <stdint.h>

struct input;

struct progress {
    bool wanted;
    bool shown;
    int64_t next_ms; /* when it is worth showing again */
};

void progress_start(struct progress *progress);
void progress_show(struct progress *progress, const struct input *input,
                   unsigned long lines);

/* Takes the line away. */
void progress_clear(struct progress *progress);

#endif
