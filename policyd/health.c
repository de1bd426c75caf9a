/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/clock.h"
#include "policyd/health.h"
#include "policyd/query.h"
#include "lib/log.h"

#define COMPLAINT_MS 60000 /* the same trouble is logged once a minute */

static void
announce(struct health *health, bool available)
{
    bool changed = health->announced != available;

    health->announced = available;
    if (changed && health->events.state_changed != NULL)
        health->events.state_changed(health->events.context, available);
}

void
health_gone(struct health *health, const char *why)
{
    if (!health->gone)
        log_warning("db: gone: %s", why);
    health->gone = true;
    announce(health, false);
}

void
health_back(struct health *health)
{
    if (health->gone || !health->ever)
        log_info("db: %s", health->ever ? "back" : "connected");
    health->gone = false;
    health->ever = true;
    announce(health, true);
}

/* Whether it is time to tell the log of this again. */
static bool
may_complain(struct health *health, size_t about)
{
    uint64_t now = uv_now(health->loop), *last = &health->complained[about];

    if (*last != 0 && now - *last < COMPLAINT_MS)
        return false;
    *last = now;
    return true;
}

static void
note_lookup(struct health *health, enum db_statement statement, bool failed)
{
    if (statement == DB_LOOKUP || statement == DB_LOOKUP_SENDER)
        health->failing = failed;
}

void
health_answered(struct health *health, enum db_statement statement)
{
    note_lookup(health, statement, false);
    health_heard(health);
}

void
health_refused(struct health *health, enum db_statement statement,
               const PGresult *error)
{
    const char *text = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(error, PG_DIAG_SQLSTATE);

    note_lookup(health, statement, true);
    if (may_complain(health, statement))
        log_error("db: statement \"%s\": %s: %s",
                  query_statements[statement].name, state ? state : "-",
                  text ? text : "no answer");
}

void
health_connection_lost(struct health *health, const char *why)
{
    if (may_complain(health, DB_STATEMENTS))
        log_warning("db: a connection is lost, others are there: %s", why);
}

void
health_heard(struct health *health)
{
    if (!health->failing)
        health->last_good = clock_boot_ms();
}
