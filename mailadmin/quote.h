/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_QUOTE_H
#define MAILADMIN_QUOTE_H

/*
 * Commands for people to paste into a shell.
 */

#include <stddef.h>

/* Appends a blank and the word to the command, quoted where a shell needs it;
 * what does not fit into size is cut. */
void quote_append(char *command, size_t size, const char *word);

#endif
