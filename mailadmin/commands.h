/* SPDX-License-Identifier: MIT */
#ifndef MAILADMIN_COMMANDS_H
#define MAILADMIN_COMMANDS_H

/*
 * The commands, in the order in which help shows them, and running them.
 */

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

/* Of objects.c */
enum status command_add_user(struct session *, const struct arguments *);
enum status command_add_address(struct session *, const struct arguments *);
enum status command_add_domain(struct session *, const struct arguments *);
enum status command_del_user(struct session *, const struct arguments *);
enum status command_del_address(struct session *, const struct arguments *);
enum status command_del_domain(struct session *, const struct arguments *);
enum status command_passwd(struct session *, const struct arguments *);
enum status command_enable(struct session *, const struct arguments *);
enum status command_disable(struct session *, const struct arguments *);

/* Of grants.c */
enum status command_grant_address(struct session *, const struct arguments *);
enum status command_grant_domain(struct session *, const struct arguments *);
enum status command_revoke_address(struct session *,
                                   const struct arguments *);
enum status command_revoke_domain(struct session *, const struct arguments *);

/* Of show.c */
enum status command_list_users(struct session *, const struct arguments *);
enum status command_list_addresses(struct session *,
                                   const struct arguments *);
enum status command_list_domains(struct session *, const struct arguments *);
enum status command_show_user(struct session *, const struct arguments *);
enum status command_show_address(struct session *, const struct arguments *);
enum status command_show_domain(struct session *, const struct arguments *);

/* Of check.c */
enum status command_check(struct session *, const struct arguments *);

/* Of schema.c */
enum status command_schema_init(struct session *, const struct arguments *);
enum status command_schema_upgrade(struct session *,
                                   const struct arguments *);
enum status command_schema_status(struct session *, const struct arguments *);

#endif
