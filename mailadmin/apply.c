/* SPDX-License-Identifier: MIT */
/*
 * Permissions as a text: export writes it, plan says what it would change, and
 * apply changes it. What apply compares the file with is read again, in its
 * own transaction and while nobody else can change anything: what was decided
 * upon is what is done, or nothing is.
 */
#include "config.h"

#include "mailadmin/commands.h"

#include "mailadmin/db.h"
#include "mailadmin/plan.h"
#include "mailadmin/session.h"
#include "mailadmin/state_file.h"
#include "mailadmin/state_store.h"

#include <stdio.h>
#include <string.h>

/* From how many users on half of them is a lot. */
enum { MANY_USERS = 10, NAMES_TOLD = 10 };

/* NULL when out of memory. */
static json_t *
export_json(const struct state *state)
{
    static const char *const names[] = {"users", "addresses", "domains",
                                        "grants", "grants"};
    json_t *object = json_pack("{s:i, s:[], s:[], s:[], s:[]}", "version", 1,
                               names[STATE_USER], names[STATE_ADDRESS],
                               names[STATE_DOMAIN],
                               names[STATE_GRANT_ADDRESS]);
    size_t i;

    for (i = 0; i < state->count && object != NULL; i++) {
        const struct state_item *item = &state->items[i];

        if (json_array_append_new(json_object_get(object, names[item->kind]),
                                  plan_item_json(item, state->secrets))
            != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

enum status
command_export(struct session *session, const struct arguments *arguments)
{
    struct state state = {.secrets = grammar_given(arguments,
                                                   "--with-secrets")};
    enum status status = state_load(session->db, NULL, 0, &state);

    if (status != STATUS_OK)
        return session_db(session, status);
    if (session->json)
        status = session_json(session, export_json(&state));
    else
        state_write(stdout, &state);
    if (status == STATUS_OK && state.secrets)
        session_say(session, STATUS_OK,
                    "this holds stored passwords: keep it secret");
    state_free(&state);
    return status;
}

enum status
command_plan(struct session *session, const struct arguments *arguments)
{
    struct state current = {0}, wanted;
    struct plan plan = {0};
    enum status status;

    status = state_read(session, arguments->value[0], &wanted);
    if (status != STATUS_OK)
        return status;
    current.secrets = wanted.secrets;
    status = state_load(session->db, NULL, 0, &current);
    if (status != STATUS_OK) {
        session_db(session, status);
    } else if (!plan_make(&current, &wanted, &plan)) {
        status = session_say(session, STATUS_SYSTEM, "out of memory");
    } else {
        if (session->json)
            status = session_json(session, plan_json(&plan));
        else
            plan_write(stdout, &plan);
        if (status == STATUS_OK && plan.count > 0)
            status = STATUS_REFUSED;
    }
    plan_free(&plan);
    state_free(&current);
    state_free(&wanted);
    return status;
}

/* A file to apply, and what becomes of it. */
struct job {
    const char *path;
    const char *id; /* of the plan that was looked at, or NULL */
    struct state wanted, current;
    struct plan plan;
};

/* A plan that nobody looked at, of a file that may be the wrong one. */
static enum status
check_harm(struct db *db, const struct job *job)
{
    size_t before = job->plan.before[STATE_USER];
    size_t gone = job->plan.totals[STATE_USER][PLAN_DELETE];
    size_t added = job->plan.totals[STATE_USER][PLAN_ADD];

    if (gone == 0
        || (before < MANY_USERS ? gone < before || added > 0
                                : gone <= before / 2))
        return STATUS_OK;
    return db_fail(db, STATUS_DENIED,
                   "this would delete %zu of %zu users: look at mailadmin "
                   "plan %s, and name that plan by --plan; nothing done",
                   gone, before, job->path);
}

static enum status
check_plan(struct db *db, const struct job *job)
{
    if (job->id == NULL)
        return check_harm(db, job);
    if (strcmp(job->plan.id, job->id) == 0)
        return STATUS_OK;
    if (!plan_same_wanted(&job->plan, job->id))
        return db_fail(db, STATUS_DATA,
                       "%s is not what this plan was made of: look at "
                       "mailadmin plan %s again; nothing done",
                       job->path, job->path);
    return db_fail(db, STATUS_UNAVAILABLE,
                   "the database was changed since this plan was made: look "
                   "at mailadmin plan %s again; nothing done", job->path);
}

static enum status
work(struct db *db, void *context)
{
    struct job *job = context;
    enum status status = state_lock(db);

    job->current.secrets = job->wanted.secrets;
    if (status == STATUS_OK)
        status = state_fetch(db, NULL, 0, &job->current);
    if (status == STATUS_OK
        && !plan_make(&job->current, &job->wanted, &job->plan))
        status = db_fail(db, STATUS_SYSTEM, "out of memory");
    if (status == STATUS_OK)
        status = check_plan(db, job);
    return status == STATUS_OK ? state_change(db, &job->plan) : status;
}

/* New users who cannot log in yet. */
static void
tell_without_password(struct session *session, const struct plan *plan)
{
    size_t told = 0, all = 0, i;

    for (i = 0; i < plan->count; i++) {
        const struct plan_change *change = &plan->changes[i];

        if (change->operation != PLAN_ADD || change->after->kind != STATE_USER
            || change->after->secret != NULL)
            continue;
        all++;
        if (told < NAMES_TOLD) {
            session_append(session, "%s%s",
                           told++ > 0 ? ", " : "no password was set for ",
                           change->after->text);
        }
    }
    if (all > told)
        session_append(session, " and %zu more", all - told);
    if (all > 0)
        session_append(session, ": no login until passwd does");
}

enum status
command_apply(struct session *session, const struct arguments *arguments)
{
    struct job job = {.path = arguments->value[0],
                      .id = grammar_value(arguments, "--plan")};
    enum status status;

    if (job.id != NULL && !plan_is_id(job.id))
        return session_say(session, STATUS_DATA,
                           "bad ID of a plan: it is in the last line of what "
                           "mailadmin plan prints");
    status = state_read(session, job.path, &job.wanted);
    if (status != STATUS_OK)
        return status;
    status = db_transact(session->db, DB_CHANGE, STATE_CHANGE_MS, work, &job);
    if (status != STATUS_OK) {
        session_db(session, status);
    } else {
        if (job.plan.count == 0)
            session_say(session, status, "nothing to do");
        tell_without_password(session, &job.plan);
        status = session_done(session, "apply", job.plan.count > 0);
    }
    plan_free(&job.plan);
    state_free(&job.current);
    state_free(&job.wanted);
    return status;
}
