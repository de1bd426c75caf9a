/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_COMMANDS_H
#define MAILADMIN_COMMANDS_H

/*
 * The commands, in the order in which help shows them, and running them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "mailadmin/grammar.h"
#include "mailadmin/status.h"

struct session;

/* The table, and its length in *count_r. */
const struct command *commands_all(size_t *count_r);

/* The command that the words are. NULL when they are none, with the usage in
 * the session's message. */
const struct command *commands_find(struct session *session,
                                    char *const *words, size_t count,
                                    struct arguments *arguments_r);

/* Runs it and sees that its output got out. */
enum status commands_run(struct session *session,
                         const struct command *command,
                         const struct arguments *arguments);

/* Whether a line begins with a word that a command begins with. */
bool commands_begin(const char *line);

/* Of change.c */
enum status command_change(struct session *, const struct arguments *);

/* Of objects.c */
enum status command_add_user(struct session *, const struct arguments *);
enum status command_passwd(struct session *, const struct arguments *);
enum status command_rename(struct session *, const struct arguments *);

/* Of list.c */
enum status command_list_users(struct session *, const struct arguments *);
enum status command_list_addresses(struct session *,
                                   const struct arguments *);
enum status command_list_domains(struct session *, const struct arguments *);
enum status command_list_grants(struct session *, const struct arguments *);

/* Of show.c */
enum status command_show_user(struct session *, const struct arguments *);
enum status command_show_address(struct session *, const struct arguments *);
enum status command_show_domain(struct session *, const struct arguments *);

/* Of check.c */
enum status command_check(struct session *, const struct arguments *);
enum status command_check_log(struct session *, const struct arguments *);
enum status command_check_ref(struct session *, const struct arguments *);

/* Of apply.c */
enum status command_export(struct session *, const struct arguments *);
enum status command_plan(struct session *, const struct arguments *);
enum status command_apply(struct session *, const struct arguments *);

/* Of expect.c */
enum status command_test(struct session *, const struct arguments *);

/* Of learn.c, unused.c and impact.c */
enum status command_learn(struct session *, const struct arguments *);
enum status command_unused(struct session *, const struct arguments *);
enum status command_impact_address(struct session *,
                                   const struct arguments *);
enum status command_impact_domain(struct session *,
                                  const struct arguments *);
enum status command_impact_user(struct session *, const struct arguments *);

/* Of schema.c */
enum status command_schema_init(struct session *, const struct arguments *);
enum status command_schema_upgrade(struct session *,
                                   const struct arguments *);
enum status command_schema_status(struct session *, const struct arguments *);

#endif
