/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "policyd/auth.h"
#include "policyd/changes.h"
#include "policyd/db.h"
#include "policyd/directory.h"
#include "policyd/hash.h"
#include "policyd/metrics.h"
#include "policyd/policy.h"
#include "policyd/server.h"
#include "policyd/throttle.h"
#include "policyd/usage.h"

static void
head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
counter(FILE *out, const char *name, const char *help, unsigned long value)
{
    head(out, name, "counter", help);
    fprintf(out, "%s %lu\n", name, value);
}

static void
gauge(FILE *out, const char *name, const char *help, unsigned long value)
{
    head(out, name, "gauge", help);
    fprintf(out, "%s %lu\n", name, value);
}

static void
print_policy(const struct policy *policy, FILE *out)
{
    const char *name = "emailing_decisions_total";
    unsigned int reason, action;

    head(out, name, "counter", "Policy requests answered.");
    for (reason = DECIDE_NO_REASON + 1; reason < DECIDE_REASONS; reason++)
        for (action = DECIDE_PERMIT; action <= DECIDE_DEFER; action++)
            if (policy->counts[reason][action] > 0)
                fprintf(out, "%s{verdict=\"%s\",reason=\"%s\"} %lu\n", name,
                        decide_action_name(action), decide_reason_name(reason),
                        policy->counts[reason][action]);
    gauge(out, "emailing_enforcing",
          "Whether what is not granted is refused.",
          !policy->options.observe);
    name = "emailing_decision_duration_seconds";
    head(out, name, "histogram", "Time from request to answer.");
    histogram_print(&policy->latency, name, out);
}

static void
print_auth(const struct auth *auth, FILE *out)
{
    static const char *const results[AUTH_RESULTS] = {"ok", "denied",
                                                      "unavailable"};
    struct throttle_counts throttle = throttle_counts(auth->throttle);
    struct hash_counts hash = hash_counts(auth->hashes);
    const char *name = "emailing_logins_total";
    unsigned int i;

    head(out, name, "counter", "Requests of the SASL plugin answered.");
    for (i = 0; i < AUTH_RESULTS; i++)
        fprintf(out, "%s{result=\"%s\"} %lu\n", name, results[i],
                auth->counts[i]);
    name = "emailing_logins_held_total";
    head(out, name, "counter", "Logins not checked because of failed ones.");
    fprintf(out, "%s{by=\"user\"} %lu\n", name, throttle.held_user);
    fprintf(out, "%s{by=\"client\"} %lu\n", name, throttle.held_client);
    fprintf(out, "%s{by=\"pair\"} %lu\n", name, throttle.held_pair);
    name = "emailing_guessing_entries";
    head(out, name, "gauge", "Entries in the tables of failed logins.");
    fprintf(out, "%s{of=\"user\"} %zu\n", name, throttle.users);
    fprintf(out, "%s{of=\"client\"} %zu\n", name, throttle.clients);
    fprintf(out, "%s{of=\"pair\"} %zu\n", name, throttle.pairs);
    counter(out, "emailing_hashes_total", "Password checks computed.",
            hash.checked);
    counter(out, "emailing_hashes_shared_total",
            "Password checks that shared another one's computation.",
            hash.shared);
    counter(out, "emailing_hashes_refused_total",
            "Password checks refused because too many waited.", hash.refused);
    gauge(out, "emailing_hashes_waiting", "Password checks in the queue.",
          hash.waiting);
    gauge(out, "emailing_hashes_running", "Password checks being computed.",
          hash.running);
}

static void
print_directory(const struct directory *directory, FILE *out)
{
    struct directory_counts counts = directory_counts(directory);

    counter(out, "emailing_cache_hits_total",
            "Questions answered from memory.", counts.hits);
    counter(out, "emailing_cache_misses_total",
            "Questions that needed the database.", counts.misses);
    counter(out, "emailing_cache_shared_total",
            "Questions that waited for a query that was out already.",
            counts.shared);
    counter(out, "emailing_cache_stale_answers_total",
            "Questions answered from stale records.", counts.stale_answers);
    counter(out, "emailing_cache_evictions_total",
            "Records removed to make room.", counts.evicted);
    counter(out, "emailing_cache_drops_total",
            "Records dropped because of a change.", counts.dropped);
    counter(out, "emailing_cache_outdated_total",
            "Records not kept because a change was known already.",
            counts.outdated);
    gauge(out, "emailing_cache_bytes", "Bytes that the cache takes.",
          counts.bytes);
    gauge(out, "emailing_cache_records", "User records in the cache.",
          counts.records);
    gauge(out, "emailing_cache_unknown_names",
          "Names in the cache that no user has.", counts.unknown_names);
}

static void
print_usage(const struct usage *usage, FILE *out)
{
    struct usage_counts counts = usage_counts(usage);

    counter(out, "emailing_usage_batches_total",
            "Batches of usage that the database took in.", counts.batches);
    counter(out, "emailing_usage_recorded_total",
            "Senders of users in them.", counts.recorded);
    counter(out, "emailing_usage_dropped_total",
            "Requests not noted because too much waited.", counts.dropped);
    counter(out, "emailing_usage_lost_total",
            "Senders of users in batches that were lost.", counts.lost);
    gauge(out, "emailing_usage_waiting",
          "Senders of users that wait for the next batch.", counts.waiting);
}

static void
print_database(const struct db *db, const struct changes *changes, FILE *out)
{
    struct changes_counts following = changes_counts(changes);
    struct db_counts counts = db_counts(db);
    const char *name = "emailing_database_query_duration_seconds";

    gauge(out, "emailing_database_up", "Whether the database answers.",
          counts.available);
    gauge(out, "emailing_database_connections",
          "Connections ready for queries.", counts.connections);
    gauge(out, "emailing_database_queries_waiting",
          "Queries not answered yet.", counts.waiting);
    counter(out, "emailing_database_connects_total", "Attempts to connect.",
            counts.connects + following.reconnects);
    counter(out, "emailing_database_errors_total",
            "Queries that the database answered with an error.",
            counts.failures);
    head(out, name, "histogram", "Time from query to answer.");
    histogram_print(counts.latency, name, out);
    gauge(out, "emailing_following", "Whether changes are followed.",
          following.live);
    gauge(out, "emailing_polling",
          "Whether they are, by polling, because LISTEN does not work.",
          following.polling);
    counter(out, "emailing_notifications_total", "Notifications received.",
            following.notifications);
    counter(out, "emailing_cache_resets_total",
            "Times that everything was dropped from the cache.",
            following.drops);
}

static void
print_connections(const struct metrics_sources *sources, FILE *out)
{
    struct server_counts policy = server_counts(sources->policy_server);
    struct server_counts auth = server_counts(sources->auth_server);
    const char *name = "emailing_connections";

    head(out, name, "gauge", "Connections of clients.");
    fprintf(out, "%s{socket=\"policy\"} %zu\n", name, policy.connections);
    fprintf(out, "%s{socket=\"auth\"} %zu\n", name, auth.connections);
    name = "emailing_connections_accepted_total";
    head(out, name, "counter", "Connections accepted.");
    fprintf(out, "%s{socket=\"policy\"} %lu\n", name, policy.accepted);
    fprintf(out, "%s{socket=\"auth\"} %lu\n", name, auth.accepted);
    name = "emailing_connections_refused_total";
    head(out, name, "counter", "Connections closed for breaking a rule.");
    fprintf(out, "%s{socket=\"policy\"} %lu\n", name, policy.closed_bad);
    fprintf(out, "%s{socket=\"auth\"} %lu\n", name, auth.closed_bad);
}

void
metrics_print(const struct metrics_sources *sources, FILE *out)
{
    head(out, "emailing_build_info", "gauge", "The version that runs.");
    fprintf(out, "emailing_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    print_policy(sources->policy, out);
    print_auth(sources->auth, out);
    print_directory(sources->directory, out);
    print_usage(sources->usage, out);
    print_database(sources->db, sources->changes, out);
    print_connections(sources, out);
}
