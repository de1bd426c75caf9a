/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/auth.h"
#include "policyd/changes.h"
#include "policyd/daemon.h"
#include "policyd/db.h"
#include "policyd/directory.h"
#include "policyd/hash.h"
#include "policyd/metrics.h"
#include "policyd/policy.h"
#include "policyd/preload.h"
#include "policyd/server.h"
#include "policyd/status.h"
#include "policyd/target.h"
#include "policyd/throttle.h"
#include "policyd/usage.h"
#include "lib/conf.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Descriptors for the status page, the log, libraries, connecting anew; those
 * of the pool come on top. */
#define RESERVED_FDS 96
#define DRAIN_POLL_MS 20
#define DRAIN_HASH_MS 3000 /* for passwords that are being checked */

struct daemon {
    uv_loop_t *loop;
    struct conf *conf;
    struct target *target;
    struct db *db;
    struct directory *directory;
    struct changes *changes;
    struct hash_pool *hashes;
    struct preload *preload; /* NULL: not asked for */
    struct usage *usage;
    struct server_budget budget;
    struct server *policy_server, *auth_server;
    struct status *status; /* NULL: not asked for */
    struct policy policy;
    struct auth auth;
    uv_timer_t *drain;
    uint64_t drain_until;
    bool finishing; /* all is answered, usage is handed over */
    void (*finished)(void *context);
    void *finished_context;
};

/* The server gives up a little before we do, so that a slow query ends by
 * itself and the connection lives on. */
static struct target *
new_target(uv_loop_t *loop, const struct conf *conf, char *error_r,
           size_t error_size)
{
    return target_new(loop, conf->conninfo,
                      conf->database_timeout_ms
                          - conf->database_timeout_ms / 10,
                      error_r, error_size);
}

static void
on_database(void *context, bool available)
{
    struct daemon *daemon = context;

    if (daemon->changes != NULL)
        changes_database(daemon->changes, available);
    if (available && daemon->db != NULL)
        auth_fetch_key(&daemon->auth);
}

/* Changes are followed: what is loaded from now on may stay. */
static void
on_following(void *context)
{
    struct daemon *daemon = context;

    if (daemon->preload != NULL)
        preload_run(daemon->preload);
}

static bool
is_ready(const void *context)
{
    const struct daemon *daemon = context;

    return db_counts(daemon->db).ever;
}

static void
print_metrics(const void *context, FILE *out)
{
    const struct daemon *daemon = context;
    struct metrics_sources sources = {
        .policy = &daemon->policy,
        .auth = &daemon->auth,
        .directory = daemon->directory,
        .usage = daemon->usage,
        .db = daemon->db,
        .changes = daemon->changes,
        .policy_server = daemon->policy_server,
        .auth_server = daemon->auth_server,
    };

    metrics_print(&sources, out);
}

static struct directory_options
directory_options(const struct conf *conf)
{
    struct directory_options options = {
        .cache_bytes = conf->cache_bytes,
        .cache_ttl = conf->cache_ttl,
        .max_stale = conf->max_stale,
    };

    return options;
}

/* Hands the parts what they need of the configuration. */
static void
apply(struct daemon *daemon)
{
    const struct conf *conf = daemon->conf;
    struct directory_options options = directory_options(conf);

    if (!conf->enforce && !daemon->policy.options.observe)
        log_warning("enforce = no: what is not granted passes");
    directory_set_options(daemon->directory, &options);
    hash_pool_set_policy(daemon->hashes, &conf->secret_policy);
    daemon->policy.options = conf_decide_options(conf);
    daemon->policy.log_permits = conf->log_permits;
    daemon->policy.refusal_reference = conf->refusal_reference;
    usage_set_recording(daemon->usage, conf->record_usage);
    daemon->policy.usage = conf->record_usage ? daemon->usage : NULL;
    daemon->auth.secret_policy = conf->secret_policy;
    daemon->auth.legacy_md5 = conf->legacy_md5;
    daemon->auth.scram = conf->scram;
}

/* Everything but the sockets. */
static bool
make_parts(struct daemon *daemon, char *error_r, size_t error_size)
{
    const struct conf *conf = daemon->conf;
    struct db_options db_options = {conf->database_connections,
                                    conf->database_timeout_ms};
    struct db_events db_events = {on_database, daemon};
    struct directory_options options = directory_options(conf);

    if (!auth_set_clients(&daemon->auth, conf->auth_clients, error_r,
                          error_size))
        return false;
    daemon->target = new_target(daemon->loop, conf, error_r, error_size);
    if (daemon->target == NULL)
        return false;
    snprintf(error_r, error_size, "out of memory");
    daemon->hashes = hash_pool_new(daemon->loop, conf->hash_threads,
                                   &conf->secret_policy);
    daemon->db = db_new(daemon->loop, daemon->target, &db_options, &db_events);
    if (daemon->hashes == NULL || daemon->db == NULL)
        return false;
    daemon->auth.throttle = throttle_new();
    daemon->directory = directory_new(daemon->db, &options);
    daemon->usage = usage_new(daemon->loop, daemon->db);
    if (daemon->directory == NULL || daemon->auth.throttle == NULL
        || daemon->usage == NULL)
        return false;
    daemon->changes =
        changes_new(daemon->loop, daemon->target, daemon->db,
                    daemon->directory, conf->database_timeout_ms);
    if (daemon->changes == NULL)
        return false;
    changes_on_following(daemon->changes, on_following, daemon);
    if (conf->preload) {
        daemon->preload = preload_new(daemon->db, daemon->directory);
        if (daemon->preload == NULL)
            return false;
    }
    daemon->policy.directory = daemon->auth.directory = daemon->directory;
    daemon->auth.db = daemon->db;
    daemon->auth.hashes = daemon->hashes;
    apply(daemon);
    return true;
}

static struct server *
serve(struct daemon *daemon, int fd, const struct protocol *protocol,
      void *context, char *error_r, size_t error_size)
{
    const char *error;
    struct server *server =
        server_new(daemon->loop, fd, protocol, context, &daemon->budget,
                   &error);

    if (server == NULL)
        snprintf(error_r, error_size, "%s socket: %s", protocol->name, error);
    return server;
}

static bool
serve_all(struct daemon *daemon, const struct daemon_sockets *sockets,
          char *error_r, size_t error_size)
{
    const struct status_source source = {is_ready, print_metrics, daemon};

    daemon->budget =
        server_budget(RESERVED_FDS + daemon->conf->database_connections);
    daemon->policy_server = serve(daemon, sockets->policy, &policy_protocol,
                                  &daemon->policy, error_r, error_size);
    if (daemon->policy_server == NULL)
        return false;
    daemon->auth_server = serve(daemon, sockets->auth, &auth_protocol,
                                &daemon->auth, error_r, error_size);
    if (daemon->auth_server == NULL)
        return false;
    if (sockets->status < 0)
        return true;
    daemon->status = status_new(daemon->loop, sockets->status, &source);
    if (daemon->status == NULL)
        snprintf(error_r, error_size, "cannot serve the status page");
    return daemon->status != NULL;
}

struct daemon *
daemon_new(uv_loop_t *loop, struct conf *conf,
           const struct daemon_sockets *sockets, char *error_r,
           size_t error_size)
{
    struct daemon *daemon = calloc(1, sizeof(*daemon));

    snprintf(error_r, error_size, "out of memory");
    if (daemon == NULL)
        return NULL;
    daemon->loop = loop;
    daemon->conf = conf;
    daemon->drain = calloc(1, sizeof(*daemon->drain));
    if (daemon->drain == NULL) {
        free(daemon);
        return NULL;
    }
    uv_timer_init(loop, daemon->drain);
    daemon->drain->data = daemon;
    if (!make_parts(daemon, error_r, error_size)
        || !serve_all(daemon, sockets, error_r, error_size))
        daemon_free(&daemon);
    return daemon;
}

/* Turns to another database, if it is another. */
static void
retarget(struct daemon *daemon, struct target *target)
{
    struct target *old = daemon->target;
    unsigned int timeout_ms = daemon->conf->database_timeout_ms;

    daemon->target = target;
    db_reconfigure(daemon->db, target, timeout_ms);
    changes_reconfigure(daemon->changes, target, timeout_ms);
    target_free(&old);
}

bool
daemon_reload(struct daemon *daemon, struct conf *fresh, char *error_r,
              size_t error_size)
{
    bool moved = strcmp(fresh->conninfo, daemon->conf->conninfo) != 0
                 || fresh->database_timeout_ms
                        != daemon->conf->database_timeout_ms;
    struct target *target = NULL;
    char *restart;

    if (moved) {
        target = new_target(daemon->loop, fresh, error_r, error_size);
        if (target == NULL)
            return false;
    }
    if (!auth_set_clients(&daemon->auth, fresh->auth_clients, error_r,
                          error_size)) {
        target_free(&target);
        return false;
    }
    restart = conf_reload(daemon->conf, fresh);
    if (restart != NULL && restart[0] != '\0')
        log_warning("these options change only with a restart: %s", restart);
    free(restart);
    apply(daemon);
    if (moved)
        retarget(daemon, target);
    return true;
}

static void
on_drain(uv_timer_t *timer)
{
    struct daemon *daemon = timer->data;

    if ((server_busy(daemon->policy_server)
         || server_busy(daemon->auth_server))
        && uv_now(daemon->loop) < daemon->drain_until && !daemon->finishing)
        return;
    if (!daemon->finishing) {
        daemon->finishing = true;
        daemon->drain_until =
            uv_now(daemon->loop) + daemon->conf->database_timeout_ms;
        usage_finish(daemon->usage);
    }
    if (usage_busy(daemon->usage)
        && uv_now(daemon->loop) < daemon->drain_until)
        return;
    uv_timer_stop(timer);
    daemon->finished(daemon->finished_context);
}

void
daemon_drain(struct daemon *daemon, void (*finished)(void *context),
             void *context)
{
    daemon->finished = finished;
    daemon->finished_context = context;
    daemon->drain_until = uv_now(daemon->loop)
                          + daemon->conf->database_timeout_ms + DRAIN_HASH_MS;
    server_drain(daemon->policy_server);
    server_drain(daemon->auth_server);
    uv_timer_start(daemon->drain, on_drain, 0, DRAIN_POLL_MS);
}

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

void
daemon_free(struct daemon **daemon)
{
    struct daemon *old = *daemon;

    *daemon = NULL;
    if (old == NULL)
        return;
    status_free(&old->status);
    server_free(&old->policy_server);
    server_free(&old->auth_server);
    if (old->changes != NULL)
        changes_free(&old->changes);
    db_free(&old->db);
    hash_pool_free(&old->hashes);
    preload_free(&old->preload);
    directory_free(&old->directory);
    usage_free(&old->usage);
    throttle_free(&old->auth.throttle);
    target_free(&old->target);
    uv_close((uv_handle_t *) old->drain, free_handle);
    secret_wipe(old->auth.key, sizeof(old->auth.key));
    free(old);
}
