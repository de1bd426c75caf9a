/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/progress.h"

#include "mailadmin/input.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_MS = 500, EACH_MS = 200 };

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
progress_start(struct progress *progress)
{
    progress->wanted = isatty(STDERR_FILENO) == 1;
    progress->shown = false;
    progress->next_ms = now_ms() + FIRST_MS;
}

void
progress_show(struct progress *progress, const struct input *input,
              unsigned long lines)
{
    int percent;

    if (!progress->wanted || now_ms() < progress->next_ms)
        return;
    percent = input_percent(input);
    fflush(stdout);
    if (percent < 0)
        fprintf(stderr, "\r%lu lines ", lines);
    else
        fprintf(stderr, "\r%lu lines, %d %% ", lines, percent);
    fflush(stderr);
    progress->shown = true;
    progress->next_ms = now_ms() + EACH_MS;
}

void
progress_clear(struct progress *progress)
{
    if (!progress->shown)
        return;
    fprintf(stderr, "\r%*s\r", 40, "");
    fflush(stderr);
    progress->shown = false;
}
