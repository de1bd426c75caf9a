/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "mailadmin/connect.h"

#include "lib/secret.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Shared by the caller and the thread; who is last frees it. */
struct attempt {
    pthread_mutex_t lock;
    pthread_cond_t done;
    char *conninfo;
    char timeout[16];
    PGconn *conn;
    bool finished;
    bool abandoned;
};

static void
attempt_free(struct attempt *attempt)
{
    if (attempt->conninfo != NULL) {
        secret_wipe(attempt->conninfo, strlen(attempt->conninfo));
        free(attempt->conninfo);
    }
    pthread_cond_destroy(&attempt->done);
    pthread_mutex_destroy(&attempt->lock);
    free(attempt);
}

static void *
attempt_run(void *context)
{
    struct attempt *attempt = context;
    /* The conninfo comes as "dbname", which libpq expands; what follows it
     * overrides, what precedes it are defaults. */
    const char *names[] = {"connect_timeout", "dbname", "client_encoding",
                           "fallback_application_name", NULL};
    const char *values[] = {attempt->timeout, attempt->conninfo, "UTF8",
                            "mailadmin", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);
    bool abandoned;

    pthread_mutex_lock(&attempt->lock);
    attempt->conn = conn;
    attempt->finished = true;
    abandoned = attempt->abandoned;
    pthread_cond_signal(&attempt->done);
    pthread_mutex_unlock(&attempt->lock);
    if (abandoned) {
        PQfinish(conn);
        attempt_free(attempt);
    }
    return NULL;
}

/* Starts the thread, without signals: they are for the caller. */
static bool
attempt_start(struct attempt *attempt)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int error;

    sigfillset(&all);
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, attempt_run, attempt);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error == 0;
}

static struct attempt *
attempt_new(const char *conninfo, unsigned int limit_ms)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    pthread_condattr_t attr;

    if (attempt == NULL)
        return NULL;
    pthread_mutex_init(&attempt->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&attempt->done, &attr);
    pthread_condattr_destroy(&attr);
    /* Only there to end an abandoned thread some day. */
    snprintf(attempt->timeout, sizeof(attempt->timeout), "%u",
             limit_ms / 1000 + 2);
    attempt->conninfo = strdup(conninfo);
    if (attempt->conninfo == NULL) {
        attempt_free(attempt);
        return NULL;
    }
    return attempt;
}

PGconn *
connect_within(const char *conninfo, unsigned int limit_ms)
{
    struct attempt *attempt = attempt_new(conninfo, limit_ms);
    struct timespec until;
    PGconn *conn = NULL;
    int error = 0;

    if (attempt == NULL)
        return NULL;
    if (!attempt_start(attempt)) {
        attempt_free(attempt);
        return NULL;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t) (limit_ms / 1000);
    until.tv_nsec += (long) (limit_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&attempt->lock);
    while (!attempt->finished && error == 0)
        error = pthread_cond_timedwait(&attempt->done, &attempt->lock,
                                       &until);
    if (!attempt->finished) {
        attempt->abandoned = true;
        pthread_mutex_unlock(&attempt->lock);
        return NULL;
    }
    conn = attempt->conn;
    pthread_mutex_unlock(&attempt->lock);
    attempt_free(attempt);
    return conn;
}
