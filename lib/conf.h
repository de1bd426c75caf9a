/* SPDX-License-Identifier: MIT */
#ifndef LIB_CONF_H
#define LIB_CONF_H

/*
 * The configuration: one table of options over libconfuse, for emailing.conf
 * (policyd) and mailadmin.conf (mailadmin). Each option says which file it
 * belongs to, its default, its range and whether SIGHUP changes it.
 *
 * Every value may hold ${env:NAME} and ${file:/path} (a file's content without
 * its last newline), in double quotes or bare. conf_load() makes a struct that
 * the caller frees with conf_free(), which wipes the secrets in it.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "lib/decide.h"
#include "lib/log.h"
#include "lib/secret.h"

enum conf_program { CONF_POLICYD = 1, CONF_MAILADMIN = 2 };

enum conf_legacy_md5 { CONF_MD5_UPGRADE, CONF_MD5_VERIFY, CONF_MD5_REFUSE };

struct conf {
    char *conninfo; /* never NULL; "" leaves it to the PG* environment */
    char *queue_directory;
    char *policy_listen;
    char *auth_listen;
    char *auth_clients;
    char *socket_mode;
    unsigned int socket_mode_bits;
    char *socket_group;
    char *user;
    char *status_listen; /* "" for none */
    char *recipient_delimiter;
    bool reject_unauthenticated;
    bool permit_null_sender;
    bool enforce;
    bool record_usage;
    uint64_t cache_bytes;
    unsigned int cache_ttl; /* seconds */
    unsigned int max_stale; /* seconds */
    bool preload;
    unsigned int database_connections;
    unsigned int database_timeout_ms;
    unsigned int hash_threads;
    struct secret_policy secret_policy; /* password_scheme, scram_iterations */
    bool scram;
    enum conf_legacy_md5 legacy_md5;
    enum log_target log_to;
    enum log_level log_level;
    bool log_permits;
    bool refusal_reference;
};

/*
 * Reads a file; one that holds a password must not let others read it. NULL on
 * failure, with "file:line: what" (or "file: what") in error_r, which is cut
 * to fit.
 */
struct conf *conf_load(enum conf_program program, const char *path,
                       char *error_r, size_t error_size);

/* Frees *conf (which may be NULL) and sets it to NULL. */
void conf_free(struct conf **conf);

/*
 * Takes into *running what SIGHUP may change, from *fresh. Returns a newly
 * allocated, comma separated list of changed options that need a restart, ""
 * for none, NULL when out of memory. Texts of *running, and what came from
 * conf_decide_options(), may be gone once *fresh is freed: take them anew.
 */
char *conf_reload(struct conf *running, struct conf *fresh);

struct decide_options conf_decide_options(const struct conf *conf);

/* Calls back for each option of the program, in the order of the table. */
struct conf_option_info {
    const char *name;
    const char *default_value; /* as it would be written in a file */
    bool reloadable;
};
void conf_each(enum conf_program program,
               void (*fn)(const struct conf_option_info *, void *),
               void *context);

#endif
