/* SPDX-License-Identifier: MIT */
/*
 * What is hashed is defined in sql/004-audit.sql, and computed here once more.
 * All checks see one snapshot, in which each transaction is whole.
 */
#include "config.h"

#include "mailadmin/store_verify.h"

#include <string.h>

/* Millions of rows take minutes. */
enum { VERIFY_MS = 3600 * 1000 };

#define SENT(column) "encode(timestamptz_send(a." column "), 'hex')"
#define DIGEST                                                               \
    "sha256(convert_to(jsonb_build_array(a.id, " SENT("at") ","              \
    " a.xact::text, a.db_user, a.os_user, a.client::text, a.object,"         \
    " a.operation, a.id_user, a.id_address, a.id_domain, a.name, a.address," \
    " a.domain, a.enabled, a.subdomains, " SENT("expires") ", "              \
    SENT("old_until") ", a.secret_changed, a.was_name, a.was_address,"       \
    " a.was_domain, a.was_enabled, a.was_subdomains, " SENT("was_expires")   \
    ", " SENT("was_old_until") ", a.version, a.notify, " SENT("since")       \
    ", encode(a.base, 'hex'))::text, 'UTF8'))"

/* The hash of the link c behind the hash that is before it. */
#define LINK(before, digests)                                                \
    "sha256(" before " || int8send(c.number) || timestamptz_send(c.at)"      \
    " || xid8send(c.xact) || " digests ")"
#define DIGESTS                                                              \
    "coalesce((SELECT string_agg(d.digest, ''::bytea ORDER BY d.i)"          \
    " FROM unnest(c.digests) WITH ORDINALITY d (digest, i)), '')"

#define CHAIN "public.emailing_audit_chain"
#define ANCHOR "(SELECT b.number FROM " CHAIN " b WHERE b.first IS NULL)"
#define BASE_BEGIN                                                           \
    "(SELECT " LINK("c.hash", "''::bytea") " FROM " CHAIN " c"               \
    " WHERE c.first IS NULL)"
#define LIMIT " LIMIT 100"

static const char summary[] =
    "SELECT (SELECT count(*) FROM public.emailing_audit), count(first),"
    " max(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))"
    "  FILTER (WHERE first IS NULL),"
    " max(number), (SELECT encode(c.hash, 'hex') FROM " CHAIN " c"
    "  ORDER BY c.number DESC LIMIT 1), " ANCHOR
    " FROM " CHAIN;

static const char *const checks[STORE_CHECKS] = {
    /* Each link follows from the one before it; the anchor from nothing. */
    "SELECT CASE WHEN c.number > c.anchor AND c.number - c.left > 1"
    "  THEN CASE WHEN c.number - c.left = 2"
    "   THEN format('link %s is missing', c.number - 1)"
    "   ELSE format('links %s to %s are missing', c.left + 1, c.number - 1)"
    "   END"
    "  ELSE format('link %s (rows %s to %s) does not follow from the one"
    " before it', c.number, c.first, c.last) END"
    " FROM (SELECT c.*, lag(c.number) OVER w AS left,"
    "  CASE WHEN c.number < " ANCHOR
    "   THEN coalesce(lag(c.hash) OVER w, " BASE_BEGIN ")"
    "   ELSE lag(c.hash) OVER w END AS before, " ANCHOR " AS anchor"
    "  FROM " CHAIN " c WINDOW w AS (ORDER BY c.number)) c"
    " WHERE c.first IS NOT NULL AND (c.left < c.number - 1"
    "  OR c.hash IS DISTINCT FROM " LINK("c.before", DIGESTS)
    "  OR c.first <> c.ids[1] OR c.last <> c.ids[cardinality(c.ids)]"
    "  OR cardinality(c.ids) <> cardinality(c.digests))"
    " ORDER BY c.number" LIMIT,

    /* Each row is as its link has it. */
    "SELECT format('link %s: row %s %s', c.number, r.id,"
    "  CASE WHEN a.id IS NULL THEN 'is missing' ELSE 'was changed' END)"
    " FROM " CHAIN " c CROSS JOIN unnest(c.ids, c.digests) r (id, digest)"
    " LEFT JOIN public.emailing_audit a ON a.id = r.id"
    " WHERE a.id IS NULL OR a.xact <> c.xact"
    "  OR r.digest IS DISTINCT FROM " DIGEST
    " ORDER BY c.number, r.id" LIMIT,

    /* Each row is in a link. */
    "SELECT format('row %s is in no link', a.id)"
    " FROM public.emailing_audit a"
    " LEFT JOIN (SELECT unnest(c.ids) AS id FROM " CHAIN " c) r USING (id)"
    " WHERE r.id IS NULL ORDER BY a.id" LIMIT,

    /* The baseline is the one that its row names. */
    "SELECT 'the baseline is another one than that of the row which begins"
    " the audit'"
    " WHERE (SELECT a.base FROM public.emailing_audit a"
    "  JOIN " CHAIN " c ON c.xact = a.xact AND c.first >> 13 = a.id >> 13"
    "   AND a.id BETWEEN c.first AND c.last"
    "  WHERE a.object = 'audit'"
    "  ORDER BY c.number DESC LIMIT 1)"
    " IS DISTINCT FROM coalesce((SELECT c.hash FROM " CHAIN " c"
    "  WHERE c.number < " ANCHOR " ORDER BY c.number DESC LIMIT 1), "
    BASE_BEGIN ")",

    /* The chain ends where it was last written to. */
    "SELECT format('the chain ends with link %s, and was written up to link"
    " %s', coalesce(c.number::text, '-'), coalesce(e.link::text, '-'))"
    " FROM (SELECT max(link) AS link, max(encode(head, 'hex')) AS head"
    "  FROM public.emailing_changes) e"
    " LEFT JOIN LATERAL (SELECT c.number, c.hash FROM " CHAIN " c"
    "  ORDER BY c.number DESC LIMIT 1) c ON true"
    " WHERE (c.number, encode(c.hash, 'hex'))"
    "  IS DISTINCT FROM (e.link, e.head)",

    /* What it comes to is what there is. */
    "SELECT format('%s %s%s: %s', coalesce(s.object, p.object),"
    "  coalesce(s.name, p.name, s.address, p.address, s.domain, p.domain,"
    "   'of user ' || p.id_user, 'of user ' || s.id_user),"
    "  CASE coalesce(s.object, p.object)"
    "   WHEN 'user_address' THEN ' and address '"
    "    || coalesce(s.id_address, p.id_address)"
    "   WHEN 'user_domain' THEN ' and domain '"
    "    || coalesce(s.id_domain, p.id_domain) END,"
    "  CASE WHEN s.object IS NULL THEN 'the audit does not have it'"
    "   WHEN p.object IS NULL THEN 'the tables do not have it'"
    "   ELSE 'the tables and the audit differ' END)"
    " FROM (SELECT s.object, s.id_user, s.id_address, s.id_domain, s.enabled,"
    "   s.old_until, s.subdomains, s.expires,"
    "   CASE WHEN s.object = 'user' THEN s.name END AS name,"
    "   CASE WHEN s.object = 'address' THEN s.address END AS address,"
    "   CASE WHEN s.object = 'domain' THEN s.domain END AS domain,"
    "   concat_ws(' ', s.object, s.id_user, s.id_address, s.id_domain) AS key"
    "  FROM public.emailing_state((SELECT max(number) FROM " CHAIN ")) s) s"
    " FULL JOIN (SELECT p.*, concat_ws(' ', p.object, p.id_user,"
    "   p.id_address, p.id_domain) AS key"
    "  FROM (SELECT 'user' AS object, id AS id_user, NULL::bigint AS"
    "   id_address, NULL::bigint AS id_domain, enabled, old_until,"
    "   NULL::boolean AS subdomains, NULL::timestamptz AS expires, name,"
    "   NULL AS address, NULL AS domain FROM public.emailing_users"
    "  UNION ALL SELECT 'address', NULL, id, NULL, NULL, NULL, NULL, NULL,"
    "   NULL, address, NULL FROM public.emailing_addresses"
    "  UNION ALL SELECT 'domain', NULL, NULL, id, NULL, NULL, NULL, NULL,"
    "   NULL, NULL, domain FROM public.emailing_domains"
    "  UNION ALL SELECT 'user_address', id_user, id_address, NULL, NULL, NULL,"
    "   NULL, expires, NULL, NULL, NULL FROM public.emailing_users_addresses"
    "  UNION ALL SELECT 'user_domain', id_user, NULL, id_domain, NULL, NULL,"
    "   subdomains, expires, NULL, NULL, NULL"
    "   FROM public.emailing_users_domains) p) p"
    " ON s.key = p.key"
    " WHERE (s.key, s.enabled, s.old_until, s.subdomains, s.expires, s.name,"
    "  s.address, s.domain) IS DISTINCT FROM (p.key, p.enabled, p.old_until,"
    "  p.subdomains, p.expires, p.name, p.address, p.domain)"
    " ORDER BY coalesce(s.key, p.key) COLLATE \"C\"" LIMIT,
};

struct job {
    const char *noted;
    struct store_verify *verify;
};

static enum status
verify(struct db *db, void *context)
{
    struct job *job = context;
    struct store_verify *verify = job->verify;
    enum status status;
    size_t i;

    /* No function in another schema comes before PostgreSQL's own. */
    status = db_script(db, "SET LOCAL search_path = pg_catalog, pg_temp");
    if (status == STATUS_OK)
        status = db_query(db, summary, 0, NULL, &verify->summary);
    for (i = 0; status == STATUS_OK && i < STORE_CHECKS; i++)
        status = db_query(db, checks[i], 0, NULL, &verify->findings[i]);
    if (status == STATUS_OK && job->noted != NULL)
        status = db_query(db,
                          "SELECT encode(hash, 'hex') FROM " CHAIN
                          " WHERE number = $1::bigint",
                          1, &job->noted, &verify->noted);
    return status;
}

enum status
store_verify(struct db *db, const char *noted, struct store_verify *verify_r)
{
    struct job job = {noted, verify_r};
    enum status status;

    memset(verify_r, 0, sizeof(*verify_r));
    status = db_transact(db, DB_READ, VERIFY_MS, verify, &job);
    if (status != STATUS_OK)
        store_verify_clear(verify_r);
    return status;
}

void
store_verify_clear(struct store_verify *verify)
{
    size_t i;

    PQclear(verify->summary);
    PQclear(verify->noted);
    for (i = 0; i < STORE_CHECKS; i++)
        PQclear(verify->findings[i]);
    memset(verify, 0, sizeof(*verify));
}
