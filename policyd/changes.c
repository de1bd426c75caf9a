/* SPDX-License-Identifier: MIT */
/*
 * A notification that was committed before the counter was read may arrive a
 * little after the counter does, and one that was committed later may arrive
 * before it. So a counter that is ahead of the notifications is looked at
 * again after a moment, and only one that is behind what was seen before it
 * was asked for means that the database is not the one it was.
 */
#include "config.h"

#include "policyd/changes.h"
#include "policyd/clock.h"
#include "policyd/db.h"
#include "policyd/directory.h"
#include "policyd/pgconn.h"
#include "policyd/probe.h"
#include "lib/log.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS 250
#define BEAT_MS 1000    /* the counter is read so often */
#define SILENCE_MS 4500 /* without an answer: not live any more */
#define PROBE_MS 1000   /* for a notification to ourselves */
#define LATE_MS 80      /* for notifications that the counter overtook */
#define RETRY_MS 1000
#define COMPLAINT_MS 60000
#define CHANNEL "emailing"

/* What the connection does; each step but probing sends one query. */
enum step { DISCONNECTED, CONNECTING, SUBSCRIBING, PROBING, FIRST_COUNTER,
            FOLLOWING };

struct changes {
    uv_timer_t *timer; /* beats, retries and deadlines */
    uv_timer_t *late;  /* looks again at a counter that was ahead */
    struct target *target;
    struct db *db;
    struct directory *directory;
    struct pgconn *pg;
    unsigned int timeout_ms, rotation;
    enum step step;
    bool asking;         /* a query is out */
    bool failed;         /* it got an error */
    bool polling;        /* LISTEN does not work here */
    bool announced;      /* polling was said in the log */
    uint64_t complained; /* uv_now(): the log was told why we do not follow */
    uint64_t asked;      /* uv_now() when the present step began */
    uint64_t asked_boot; /* the same, by clock_boot_ms() */
    bool have_last;
    uint64_t heard;      /* uv_now() of the last answer */
    int64_t last;        /* highest counter seen */
    int64_t before;      /* last, when the counter was asked for */
    int64_t first;       /* the counter read at the start */
    int64_t expected;    /* a counter that notifications must come up to */
    int64_t answer;      /* the counter that was read */
    struct probe probe;
    struct changes_counts counts;
    void (*following)(void *context);
    void *following_context;
    uv_loop_t *loop;
};

static void on_timer(uv_timer_t *timer);

static void
set_live(struct changes *changes, bool live)
{
    if (live && !changes->counts.live)
        log_info("changes: following (%s)",
                 changes->polling ? "by polling" : "by LISTEN");
    changes->counts.live = live;
    directory_heard(changes->directory, live ? changes->asked_boot : 0);
}

static void
set_last(struct changes *changes, int64_t counter)
{
    changes->last = counter;
    changes->have_last = true;
    directory_set_counter(changes->directory, counter);
}

/* Something may have changed that nobody told us. Notifications up to the
 * counter may still come and say nothing new. */
static void
drop_all(struct changes *changes, int64_t counter)
{
    changes->counts.drops++;
    changes->first = counter;
    set_last(changes, counter);
    directory_drop_all(changes->directory);
}

/* While the database is there, that we cannot follow it is told once when it
 * begins and then once a minute. */
static void
complain(struct changes *changes, const char *why)
{
    uint64_t now = uv_now(changes->loop);

    if (!changes->counts.live
        && (!db_available(changes->db)
            || (changes->complained != 0
                && now - changes->complained < COMPLAINT_MS)))
        return;
    log_warning("changes: not following: %s", why);
    changes->complained = now;
}

static void
disconnect(struct changes *changes, const char *why)
{
    complain(changes, why);
    set_live(changes, false);
    pgconn_close(changes->pg);
    probe_forget(&changes->probe);
    uv_timer_stop(changes->late);
    changes->step = DISCONNECTED;
    changes->asking = false;
    uv_timer_start(changes->timer, on_timer, RETRY_MS, 0);
}

/* -- sending -------------------------------------------------------------- */

static void
send_query(struct changes *changes, const char *sql)
{
    PGconn *pq = pgconn_pq(changes->pg);
    bool sent;

    changes->failed = false;
    sent = pq != NULL
           && PQsendQueryParams(pq, sql, 0, NULL, NULL, NULL, NULL, 0)
           && pgconn_flush(changes->pg);
    changes->asking = sent;
    if (!sent)
        disconnect(changes, "cannot send");
}

static void enter(struct changes *changes, enum step step);

static void
on_probe_failed(void *context)
{
    struct changes *changes = context;

    if (!db_available(changes->db)) {
        disconnect(changes, "the database is gone");
        return;
    }
    changes->polling = true;
    enter(changes, FIRST_COUNTER);
}

static void
enter(struct changes *changes, enum step step)
{
    bool ok = true;

    changes->step = step;
    changes->asked = uv_now(changes->loop);
    changes->asked_boot = clock_boot_ms();
    changes->before = changes->last;
    if (step == SUBSCRIBING)
        send_query(changes, "LISTEN " CHANNEL);
    else if (step == PROBING)
        ok = probe_send(&changes->probe, changes->db);
    else
        send_query(changes, "SELECT public.emailing_counter()");
    if (!ok)
        disconnect(changes, "the database is gone");
}

/* -- notifications -------------------------------------------------------- */

/* "<counter> <user name>", or '*' for everyone. */
static void
on_notification(struct changes *changes, const char *payload)
{
    char *name;
    int64_t counter;

    if (probe_notified(&changes->probe, payload))
        return;
    changes->counts.notifications++;
    counter = strtoll(payload, &name, 10);
    if (*name != ' ' || counter <= 0) {
        log_warning("changes: notification in no form known");
        drop_all(changes, changes->last);
        return;
    }
    name++;
    if (strcmp(name, "*") == 0)
        directory_drop_all(changes->directory);
    else
        directory_drop_user(changes->directory, name, strlen(name), counter);
    if (changes->step != FOLLOWING || counter <= changes->first)
        return; /* from before the counter that was read first */
    if (counter == changes->last + 1)
        set_last(changes, counter);
    else if (counter < changes->last)
        drop_all(changes, changes->last);
    else if (counter != changes->last)
        drop_all(changes, counter);
}

/* -- the counter ---------------------------------------------------------- */

static void
on_late(uv_timer_t *timer)
{
    struct changes *changes = timer->data;

    if (changes->last < changes->expected)
        drop_all(changes, changes->expected);
}

static void
announce_polling(struct changes *changes)
{
    if (changes->polling && !changes->announced)
        log_warning("changes: LISTEN does not work on this connection (a hot "
                    "standby, a pooler in transaction mode?); polling the "
                    "change counter every second");
    changes->announced = changes->polling;
}

static void
on_first_counter(struct changes *changes)
{
    if (!changes->have_last || changes->last != changes->answer)
        drop_all(changes, changes->answer);
    changes->first = changes->answer;
    changes->step = FOLLOWING;
    announce_polling(changes);
}

static void
on_counter(struct changes *changes)
{
    int64_t counter = changes->answer;

    if (changes->polling) {
        if (counter != changes->last)
            drop_all(changes, counter);
    } else if (counter < changes->before) {
        drop_all(changes, counter);
    } else if (counter > changes->last) {
        changes->expected = counter;
        uv_timer_start(changes->late, on_late, LATE_MS, 0);
    }
}

/* -- answers -------------------------------------------------------------- */

/* The query of the present step is answered. */
static void
on_answer(struct changes *changes)
{
    changes->heard = uv_now(changes->loop);
    switch (changes->step) {
    case SUBSCRIBING:
        changes->polling = changes->failed;
        enter(changes, changes->polling ? FIRST_COUNTER : PROBING);
        break;
    case FIRST_COUNTER:
    case FOLLOWING:
        if (changes->failed) {
            disconnect(changes, "the change counter cannot be read");
            return;
        }
        db_note_good(changes->db);
        if (changes->step == FIRST_COUNTER)
            on_first_counter(changes);
        else
            on_counter(changes);
        set_live(changes, true);
        if (changes->following != NULL)
            changes->following(changes->following_context);
        break;
    default:
        break;
    }
}

static void
take_result(struct changes *changes, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_TUPLES_OK && PQntuples(result) == 1
        && !PQgetisnull(result, 0, 0))
        changes->answer = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    else if (status != PGRES_COMMAND_OK)
        changes->failed = true;
    PQclear(result);
}

static void
on_input(void *context)
{
    struct changes *changes = context;
    bool answered = false;
    PGnotify *notify;
    PGconn *pq = pgconn_pq(changes->pg);

    while (changes->asking && !answered && !PQisBusy(pq)) {
        PGresult *result = PQgetResult(pq);

        if (result == NULL)
            answered = true;
        else
            take_result(changes, result);
    }
    while ((notify = PQnotifies(pq)) != NULL) {
        on_notification(changes, notify->extra);
        PQfreemem(notify);
    }
    /* Any of these may have closed the socket, whose number is not to be
     * watched any longer: it will be another's. */
    if (PQstatus(pq) == CONNECTION_BAD) {
        disconnect(changes, "connection lost");
        return;
    }
    if (answered) {
        changes->asking = false;
        on_answer(changes);
    } else if (changes->step == PROBING && changes->probe.arrived) {
        probe_forget(&changes->probe);
        enter(changes, FIRST_COUNTER);
    }
}

/* -- the clock ------------------------------------------------------------ */

static void
connect_now(struct changes *changes)
{
    changes->step = CONNECTING;
    changes->counts.reconnects++;
    pgconn_connect(changes->pg, changes->target, changes->rotation,
                   changes->timeout_ms);
}

static void
on_ready(void *context)
{
    struct changes *changes = context;

    changes->heard = uv_now(changes->loop);
    uv_timer_start(changes->timer, on_timer, TICK_MS, TICK_MS);
    enter(changes, SUBSCRIBING);
}

static void
on_failed(void *context, const char *why)
{
    struct changes *changes = context;

    changes->rotation++;
    disconnect(changes, why);
}

static void
on_timer(uv_timer_t *timer)
{
    struct changes *changes = timer->data;
    uint64_t now = uv_now(changes->loop);

    if (changes->step == DISCONNECTED) {
        if (db_available(changes->db))
            connect_now(changes);
    } else if (changes->asking) {
        if (now - changes->heard >= SILENCE_MS)
            disconnect(changes, "no answer from the server");
    } else if (changes->step == PROBING) {
        if (now - changes->asked < PROBE_MS)
            return;
        probe_forget(&changes->probe);
        changes->polling = true;
        enter(changes, FIRST_COUNTER);
    } else if (changes->step == FOLLOWING) {
        if (now - changes->asked >= BEAT_MS)
            enter(changes, FOLLOWING);
    }
}

void
changes_database(struct changes *changes, bool available)
{
    if (available && changes->step == DISCONNECTED)
        uv_timer_start(changes->timer, on_timer, 0, RETRY_MS);
}

/* -- life ----------------------------------------------------------------- */

static const struct pgconn_events connection_events = {
    .ready = on_ready,
    .failed = on_failed,
    .input = on_input,
};

static void
free_handle(uv_handle_t *handle)
{
    free(handle);
}

static uv_timer_t *
new_timer(struct changes *changes)
{
    uv_timer_t *timer = calloc(1, sizeof(*timer));

    if (timer != NULL) {
        uv_timer_init(changes->loop, timer);
        timer->data = changes;
    }
    return timer;
}

struct changes *
changes_new(uv_loop_t *loop, struct target *target, struct db *db,
            struct directory *directory, unsigned int timeout_ms)
{
    struct changes *changes = calloc(1, sizeof(*changes));

    if (changes == NULL)
        return NULL;
    changes->loop = loop;
    changes->target = target;
    changes->db = db;
    changes->directory = directory;
    changes->timeout_ms = timeout_ms;
    changes->timer = new_timer(changes);
    changes->late = new_timer(changes);
    changes->probe.failed = on_probe_failed;
    changes->probe.context = changes;
    changes->pg = pgconn_new(loop, &connection_events, changes);
    if (changes->timer == NULL || changes->late == NULL
        || changes->pg == NULL)
        changes_free(&changes);
    return changes;
}

void
changes_free(struct changes **changes)
{
    struct changes *old = *changes;

    *changes = NULL;
    if (old == NULL)
        return;
    probe_forget(&old->probe);
    pgconn_free(&old->pg);
    if (old->timer != NULL)
        uv_close((uv_handle_t *) old->timer, free_handle);
    if (old->late != NULL)
        uv_close((uv_handle_t *) old->late, free_handle);
    free(old);
}

void
changes_reconfigure(struct changes *changes, struct target *target,
                    unsigned int timeout_ms)
{
    changes->timeout_ms = timeout_ms;
    if (target == changes->target)
        return;
    changes->target = target;
    changes->rotation = 0;
    changes->have_last = false; /* another database's counter says nothing */
    disconnect(changes, "the configuration has changed");
    uv_timer_start(changes->timer, on_timer, 0, RETRY_MS);
}

void
changes_on_following(struct changes *changes,
                     void (*following)(void *context), void *context)
{
    changes->following = following;
    changes->following_context = context;
}

struct changes_counts
changes_counts(const struct changes *changes)
{
    struct changes_counts counts = changes->counts;

    counts.polling = changes->polling;
    return counts;
}
