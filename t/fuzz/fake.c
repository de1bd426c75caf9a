/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "t/fuzz/fake.h"
#include "policyd/clock.h"
#include "policyd/db.h"
#include "policyd/hash.h"
#include "lib/secret.h"

#define WAITING_MAX 512

struct user {
    const char *name;
    const char *secret; /* of FAKE_PASSWORD, but for scram's */
    bool enabled, heavy;
    const char *grants;
};

#define MD5_OF_PASSWORD "5ebe2294ecd0e0f08eab7690d2a6ee69"
#define SOME_VERIFIER \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==" \
    "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=" \
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static const struct user users[] = {
    {"test1", MD5_OF_PASSWORD, true, false,
     "a - user@test1.com\nd - test1.com\ns - sub.example\n"
     "a 1 old@gone.example\na 99999999999 new@there.example\n"
     "a - q%w@odd.example"},
    {"scram", SOME_VERIFIER, true, false, "s - example"},
    {"off", MD5_OF_PASSWORD, false, false, "d - test1.com"},
    {"none", NULL, true, false, ""},
    {"heavy", MD5_OF_PASSWORD, true, true,
     "a - user@test1.com\nd - test1.com\ns - sub.example"},
};

/* A query or a hash that waits. */
struct job {
    enum db_statement statement;
    char *param[DB_PARAMS_MAX];
    db_done_fn *done;
    hash_done_fn *hashed;
    void *context;
    struct hash_question question;
    char *secret, *password;
};

static struct fake_script script;
static struct job jobs[WAITING_MAX];
static size_t jobs_count, answered;

void
fake_reset(const struct fake_script *with)
{
    CHECK(jobs_count == 0);
    script = *with;
    answered = 0;
}

/* Handed out as opaque pointers and never looked into. */
struct db *
fake_db(void)
{
    return (struct db *) &script;
}

struct hash_pool *
fake_hashes(void)
{
    return (struct hash_pool *) &script;
}

/* -- the users ------------------------------------------------------------ */

static const struct user *
find_user(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(users) / sizeof(users[0]); i++)
        if (strcmp(users[i].name, name) == 0)
            return &users[i];
    return NULL;
}

void
fake_record(const char *name, struct reference_record *record_r)
{
    const struct user *user = find_user(name);
    struct piece grants = {"", 0};

    record_r->known = user != NULL;
    record_r->enabled = user != NULL && user->enabled;
    if (user != NULL)
        grants = (struct piece){user->grants, strlen(user->grants)};
    CHECK(reference_read_grants(grants, record_r));
}

bool
fake_login(const char *name, const char *password, size_t len)
{
    const struct user *user = find_user(name);

    return user != NULL && user->enabled && user->secret != NULL
           && strcmp(user->secret, MD5_OF_PASSWORD) == 0
           && len == strlen(FAKE_PASSWORD)
           && memcmp(password, FAKE_PASSWORD, len) == 0;
}

/* -- rows ----------------------------------------------------------------- */

static void
set(PGresult *rows, int column, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    CHECK(PQsetvalue(rows, 0, column, copy, copy ? (int) strlen(copy) : -1));
    free(copy);
}

static PGresult *
make_rows(int columns)
{
    PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns_of[8] = {{0}};
    int i;

    CHECK(rows != NULL);
    for (i = 0; i < columns; i++)
        columns_of[i].name = (char[]){"c"};
    CHECK(PQsetResultAttrs(rows, columns, columns_of));
    return rows;
}

/* Whether the grant bears on this sender, the way the function in the database
 * tells. */
static bool
bears_on(const struct reference_grant *grant, const struct job *job)
{
    const char *domain = job->param[3];
    size_t len = strlen(domain);

    if (grant->kind == 'a')
        return piece_is(&grant->text, job->param[1])
               || (job->param[2] != NULL
                   && piece_is(&grant->text, job->param[2]));
    if (piece_is(&grant->text, domain))
        return true;
    return grant->kind == 's' && len > grant->text.len + 1
           && domain[len - grant->text.len - 1] == '.'
           && memcmp(domain + len - grant->text.len, grant->text.text,
                     grant->text.len)
                  == 0;
}

static void
set_bearing(PGresult *rows, const struct user *user, const struct job *job)
{
    struct reference_record record;
    char text[1024] = "";
    size_t i, used = 0;

    fake_record(user->name, &record);
    for (i = 0; i < record.count; i++)
        if (bears_on(&record.grants[i], job))
            used += (size_t) snprintf(text + used, sizeof(text) - used,
                                      "%c - %.*s\n", record.grants[i].kind,
                                      (int) record.grants[i].text.len,
                                      record.grants[i].text.text);
    if (used > 0)
        text[used - 1] = '\0';
    set(rows, 7, text);
}

static PGresult *
lookup(const struct job *job)
{
    const struct user *user = find_user(job->param[0]);
    PGresult *rows = make_rows(8);

    set(rows, 0, "7");
    set(rows, 1, user != NULL ? "1" : NULL);
    set(rows, 2, user != NULL && user->enabled ? "t" : "f");
    set(rows, 3, user != NULL ? user->secret : NULL);
    set(rows, 4, NULL);
    set(rows, 5, NULL);
    set(rows, 6, user != NULL && user->heavy ? "t" : "f");
    if (user != NULL && user->heavy && job->statement == DB_LOOKUP_SENDER)
        set_bearing(rows, user, job);
    else
        set(rows, 7, user != NULL && !user->heavy ? user->grants : "");
    return rows;
}

static PGresult *
rows_for(const struct job *job)
{
    PGresult *rows;

    if (job->statement == DB_LOOKUP || job->statement == DB_LOOKUP_SENDER)
        return lookup(job);
    rows = make_rows(1);
    set(rows, 0,
        job->statement == DB_MOCK_KEY
            ? "000102030405060708090a0b0c0d0e0f0011223344556677"
            : "t");
    return rows;
}

/* -- jobs ----------------------------------------------------------------- */

static char *
copy_of(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

bool
db_query(struct db *db, enum db_statement statement,
         const char *const params[], db_done_fn *done, void *context)
{
    struct job job = {.statement = statement, .done = done,
                      .context = context};
    size_t i;

    CHECK(db == fake_db());
    if (script.gone || jobs_count == WAITING_MAX)
        return false;
    for (i = 0; i < DB_PARAMS_MAX; i++)
        job.param[i] = copy_of(params[i]);
    jobs[jobs_count++] = job;
    return true;
}

bool
hash_check(struct hash_pool *pool, const struct hash_question *question,
           hash_done_fn *done, void *context)
{
    struct job job = {.hashed = done, .context = context,
                      .question = *question};

    CHECK(pool == fake_hashes());
    CHECK(secret_password_ok(question->password, question->len));
    if (script.overload || jobs_count == WAITING_MAX)
        return false;
    job.secret = copy_of(question->secret);
    job.password = strndup(question->password, question->len);
    jobs[jobs_count++] = job;
    return true;
}

static void
answer_hash(struct job *job)
{
    struct hash_answer answer = {.result = SECRET_ERROR};
    enum secret_form form = secret_form(job->secret);

    if (form == SECRET_MD5 && !job->question.refuse_md5)
        answer.result = secret_check(job->secret, job->password,
                                     job->question.len);
    else if (form != SECRET_UNUSABLE)
        answer.result = SECRET_MISMATCH;
    if (answer.result == SECRET_MATCH) {
        answer.matched = job->secret;
        answer.upgraded = job->question.upgrade_md5 ? SOME_VERIFIER : NULL;
    }
    job->hashed(job->context, &answer);
}

static void
answer_query(struct job *job)
{
    PGresult *rows = NULL;

    if (!script.gone && !(script.fails && answered % 2 == 0))
        rows = rows_for(job);
    job->done(job->context, rows);
    PQclear(rows);
}

bool
fake_step(void)
{
    struct job job;
    size_t i;

    if (jobs_count == 0)
        return false;
    i = script.backwards ? jobs_count - 1 : 0;
    job = jobs[i];
    memmove(&jobs[i], &jobs[i + 1], (jobs_count - i - 1) * sizeof(jobs[0]));
    jobs_count--;
    answered++;
    if (job.hashed != NULL)
        answer_hash(&job);
    else
        answer_query(&job);
    for (i = 0; i < DB_PARAMS_MAX; i++)
        free(job.param[i]);
    free(job.secret);
    free(job.password);
    return true;
}

/* -- what is asked of the state ------------------------------------------- */

struct db_counts
db_counts(const struct db *db)
{
    struct db_counts counts = {.available = !script.gone,
                               .waiting = jobs_count};

    (void) db;
    return counts;
}

bool
db_available(const struct db *db)
{
    (void) db;
    return !script.gone;
}

uint64_t
db_last_good(const struct db *db)
{
    (void) db;
    return clock_boot_ms();
}
