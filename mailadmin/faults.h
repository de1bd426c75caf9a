/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_FAULTS_H
#define MAILADMIN_FAULTS_H

/*
 * What is wrong with a file that was read: all of it, line by line, since who
 * mends a file wants to mend it once. Owns its texts; faults_free() frees
 * them.
 */

#include <stddef.h>

#include "mailadmin/status.h"

#define FAULTS_MAX 1000 /* that are kept; more are counted */

struct session;

struct faults {
    struct fault {
        unsigned long line;
        char *text;
    } *items;
    size_t kept;
    size_t count;
};

void faults_add(struct faults *faults, unsigned long line,
                const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* STATUS_OK when there is none. Else prints each as "name:line: what" to
 * standard error, in the order of the lines, sets the message to how many they
 * are, and returns STATUS_DATA. */
enum status faults_print(struct session *session, const char *name,
                         struct faults *faults);

void faults_free(struct faults *faults);

#endif
