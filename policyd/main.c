/* SPDX-License-Identifier: MIT */
/*
 * emailing-policyd: options, privileges, signals. As root it binds its sockets
 * and becomes the configured user before it reads a byte from anyone.
 */
#include "config.h"

#include "policyd/auth.h"
#include "policyd/daemon.h"
#include "policyd/notify.h"
#include "policyd/sockets.h"
#include "policyd/target.h"
#include "lib/conf.h"
#include "lib/log.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#define IDENT "emailing-policyd"
#define ERROR_MAX 1024

struct program {
    const char *path;
    struct conf *conf;
    uv_loop_t loop;
    uv_signal_t hangup, terminate, interrupt;
    struct daemon *daemon;
    struct notify notify;
    struct daemon_sockets sockets;
    uid_t uid;
    gid_t gid, socket_gid;
};

static const char usage[] =
    "usage: emailing-policyd [-c FILE] [-t]\n"
    "  -c FILE    configuration (default $EMAILING_CONF, else " CONFDIR
    "/emailing.conf)\n"
    "  -t         check the configuration and exit\n"
    "  --version  print the version and exit\n"
    "It stays in the foreground. SIGHUP reads the configuration again,\n"
    "SIGTERM answers what was asked and ends.\n";

static int
complain(int status, const char *what)
{
    fprintf(stderr, IDENT ": %s\n", what);
    return status;
}

/* -- before it runs ------------------------------------------------------------ */

/* Who the daemon will be, and who may connect. */
static bool
find_identity(struct program *program, char *error_r, size_t size)
{
    const struct conf *conf = program->conf;
    struct passwd *user = getpwnam(conf->user);
    struct group *group = getgrnam(conf->socket_group);

    program->uid = geteuid();
    program->gid = getegid();
    if (program->uid == 0 && user == NULL) {
        snprintf(error_r, size, "%s: user: there is no user \"%s\"",
                 program->path, conf->user);
        return false;
    }
    if (program->uid == 0) {
        program->uid = user->pw_uid;
        program->gid = user->pw_gid;
    }
    if (group == NULL) {
        snprintf(error_r, size, "%s: socket_group: there is no group \"%s\"",
                 program->path, conf->socket_group);
        return false;
    }
    program->socket_gid = group->gr_gid;
    return true;
}

/* Reads the configuration and checks what only the system can tell. */
static bool
read_configuration(struct program *program, char *error_r, size_t size)
{
    const struct conf *conf;
    struct target *target;
    struct auth probe;
    char why[ERROR_MAX / 2];

    program->conf = conf_load(CONF_POLICYD, program->path, error_r, size);
    if (program->conf == NULL)
        return false;
    conf = program->conf;
    if (!sockets_check(conf->policy_listen, conf->queue_directory, why,
                       sizeof(why))
        || !sockets_check(conf->auth_listen, conf->queue_directory, why,
                          sizeof(why))
        || !auth_set_clients(&probe, conf->auth_clients, why, sizeof(why))) {
        snprintf(error_r, size, "%s: %s", program->path, why);
        return false;
    }
    target = target_new(&program->loop, conf->conninfo, 0, why, sizeof(why));
    if (target == NULL) {
        snprintf(error_r, size, "%s: %s", program->path, why);
        return false;
    }
    target_free(&target);
    return find_identity(program, error_r, size);
}

static void
limit_process(void)
{
    struct rlimit none = {0, 0}, files;

    /* No secret is to be found in a core or by a debugger. */
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* until it can be obeyed */
    umask(077);
}

static bool
bind_sockets(struct program *program, char *error_r, size_t size)
{
    const struct conf *conf = program->conf;
    struct socket_options options = {
        .queue_directory = conf->queue_directory,
        .mode = conf->socket_mode_bits,
        .uid = program->uid,
        .gid = program->socket_gid,
    };

    program->sockets.policy = sockets_inherited("policy");
    program->sockets.auth = sockets_inherited("auth");
    if (program->sockets.policy < 0)
        program->sockets.policy =
            sockets_bind(conf->policy_listen, &options, error_r, size);
    if (program->sockets.policy >= 0 && program->sockets.auth < 0)
        program->sockets.auth =
            sockets_bind(conf->auth_listen, &options, error_r, size);
    program->sockets.status = -1;
    if (program->sockets.auth >= 0 && conf->status_listen[0] != '\0') {
        program->sockets.status =
            sockets_bind(conf->status_listen, &options, error_r, size);
        return program->sockets.status >= 0;
    }
    return program->sockets.auth >= 0;
}

static bool
drop_privileges(const struct program *program, char *error_r, size_t size)
{
    if (geteuid() != 0)
        return true;
    if (initgroups(program->conf->user, program->gid) == 0
        && setresgid(program->gid, program->gid, program->gid) == 0
        && setresuid(program->uid, program->uid, program->uid) == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        return program->uid == 0 || setuid(0) != 0;
    }
    snprintf(error_r, size, "cannot become user \"%s\": %s",
             program->conf->user, strerror(errno));
    return false;
}

/* -- while it runs ---------------------------------------------------------------- */

static void
on_hangup(uv_signal_t *handle, int signum)
{
    struct program *program = handle->data;
    char error[ERROR_MAX];
    struct conf *fresh;

    (void) signum;
    notify_reloading(&program->notify);
    fresh = conf_load(CONF_POLICYD, program->path, error, sizeof(error));
    if (fresh == NULL
        || !daemon_reload(program->daemon, fresh, error, sizeof(error))) {
        log_error("%s; the old configuration stays in force", error);
    } else {
        log_open(IDENT, program->conf->log_to, program->conf->log_level);
        log_info("configuration read again");
    }
    conf_free(&fresh);
    notify_ready(&program->notify);
}

static void
on_drained(void *context)
{
    struct program *program = context;

    uv_stop(&program->loop);
}

static void
on_terminate(uv_signal_t *handle, int signum)
{
    struct program *program = handle->data;

    log_info("signal %d: finishing what is in flight", signum);
    notify_stopping(&program->notify);
    uv_signal_stop(&program->terminate);
    uv_signal_stop(&program->interrupt);
    daemon_drain(program->daemon, on_drained, program);
}

static void
watch_signal(struct program *program, uv_signal_t *handle,
             uv_signal_cb callback, int signum)
{
    uv_signal_init(&program->loop, handle);
    handle->data = program;
    uv_signal_start(handle, callback, signum);
}

static int
serve(struct program *program)
{
    char error[ERROR_MAX];

    program->daemon = daemon_new(&program->loop, program->conf,
                                 &program->sockets, error, sizeof(error));
    if (program->daemon == NULL) {
        log_error("%s", error);
        return EX_CONFIG;
    }
    watch_signal(program, &program->hangup, on_hangup, SIGHUP);
    watch_signal(program, &program->terminate, on_terminate, SIGTERM);
    watch_signal(program, &program->interrupt, on_terminate, SIGINT);
    log_info("version %s: serving", PACKAGE_VERSION);
    notify_ready(&program->notify);
    uv_run(&program->loop, UV_RUN_DEFAULT);
    log_info("ended");
    daemon_free(&program->daemon);
    return EX_OK;
}

static int
run(struct program *program)
{
    const struct conf *conf = program->conf;
    char error[ERROR_MAX];
    int status;

    limit_process();
    notify_init(&program->notify, &program->loop);
    if (!bind_sockets(program, error, sizeof(error)))
        return complain(EX_CANTCREAT, error);
    log_open(IDENT, conf->log_to, conf->log_level);
    if (!drop_privileges(program, error, sizeof(error)))
        return complain(EX_NOPERM, error);
    if (!log_start_writer())
        return complain(EX_OSERR, "cannot start a thread");
    status = serve(program);
    log_stop_writer();
    return status;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static struct program program;
    char error[ERROR_MAX];
    bool check = false;
    int option, status = EX_OK;

    program.path = getenv("EMAILING_CONF");
    if (program.path == NULL)
        program.path = CONFDIR "/emailing.conf";
    while ((option = getopt_long(argc, argv, "c:t", options, NULL)) != -1)
        switch (option) {
        case 'c':
            program.path = optarg;
            break;
        case 't':
            check = true;
            break;
        case 'V':
            puts(IDENT " " PACKAGE_VERSION);
            return EX_OK;
        case 'h':
            fputs(usage, stdout);
            return EX_OK;
        default:
            fputs(usage, stderr);
            return EX_USAGE;
        }
    if (optind != argc) {
        fputs(usage, stderr);
        return EX_USAGE;
    }
    if (uv_loop_init(&program.loop) != 0)
        return complain(EX_OSERR, "cannot make an event loop");
    if (!read_configuration(&program, error, sizeof(error)))
        status = complain(EX_CONFIG, error);
    else if (!check)
        status = run(&program);
    conf_free(&program.conf);
    /* exit(3) would join libuv's threads, one of which may wait for a resolver
     * that never answers. */
    fflush(NULL);
    _exit(status);
}
