-- SPDX-License-Identifier: MIT
-- What policyd may call, and all that it may do; see README for the columns.
-- Run again at each upgrade. plpgsql, since its plans are kept for the life of
-- a connection where those of an SQL function are made for each call. Each text
-- is a scalar sub-select by its key, which no stale statistics turn into a scan
-- of the whole table; and no statement here is worth compiling.

CREATE OR REPLACE FUNCTION public.emailing_lookup(name text)
RETURNS TABLE (counter bigint, id bigint, enabled boolean, passwd text,
               old_passwd text, old_until bigint, heavy boolean, grants text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    addresses text[];
    domains text[];
BEGIN
    -- Most users have few grants: no aggregate, no second look, and a third
    -- less time. The grants of one more than that many are not used.
    SELECT (SELECT e.counter FROM public.emailing_changes e WHERE e.one),
           u.id, u.enabled, u.passwd, u.old_passwd,
           floor(extract(epoch FROM u.old_until))::bigint,
           ARRAY(SELECT 'a '
                        || coalesce(floor(extract(epoch FROM g.expires))::text,
                                    '-') || ' '
                        || (SELECT a.address FROM public.emailing_addresses a
                             WHERE a.id = g.id_address)
                   FROM public.emailing_users_addresses g
                  WHERE g.id_user = u.id
                  LIMIT 65),
           ARRAY(SELECT CASE WHEN g.subdomains THEN 's ' ELSE 'd ' END
                        || coalesce(floor(extract(epoch FROM g.expires))::text,
                                    '-') || ' '
                        || (SELECT d.domain FROM public.emailing_domains d
                             WHERE d.id = g.id_domain)
                   FROM public.emailing_users_domains g
                  WHERE g.id_user = u.id
                  LIMIT 65)
      INTO counter, id, enabled, passwd, old_passwd, old_until,
           addresses, domains
      FROM (SELECT) one
      LEFT JOIN public.emailing_users u ON u.name = emailing_lookup.name;
    IF cardinality(addresses) <= 64 AND cardinality(domains) <= 64 THEN
        heavy := false;
        grants := array_to_string(addresses || domains, E'\n');
        RETURN NEXT;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.counter, u.id, u.enabled, u.passwd, u.old_passwd,
           floor(extract(epoch FROM u.old_until))::bigint,
           h.heavy,
           CASE WHEN NOT h.heavy THEN
               (SELECT coalesce(string_agg(l.kind || l.until || l.what, E'\n'
                                           ORDER BY l.kind, l.what), '')
                  FROM (SELECT 'a ' AS kind,
                               (SELECT a.address
                                  FROM public.emailing_addresses a
                                 WHERE a.id = g.id_address) AS what,
                               coalesce(floor(extract(epoch FROM g.expires))
                                            ::text, '-') || ' ' AS until
                          FROM public.emailing_users_addresses g
                         WHERE g.id_user = u.id
                         UNION ALL
                        SELECT CASE WHEN g.subdomains THEN 's ' ELSE 'd ' END,
                               (SELECT d.domain
                                  FROM public.emailing_domains d
                                 WHERE d.id = g.id_domain),
                               coalesce(floor(extract(epoch FROM g.expires))
                                            ::text, '-') || ' '
                          FROM public.emailing_users_domains g
                         WHERE g.id_user = u.id) l)
           END
      FROM (SELECT (SELECT e.counter FROM public.emailing_changes e
                     WHERE e.one) AS counter) c
      LEFT JOIN public.emailing_users u ON u.name = emailing_lookup.name
     CROSS JOIN LATERAL (
               SELECT EXISTS (
                   SELECT 1
                     FROM (SELECT 1 FROM public.emailing_users_addresses g
                            WHERE g.id_user = u.id
                            UNION ALL
                           SELECT 1 FROM public.emailing_users_domains g
                            WHERE g.id_user = u.id) every
                   OFFSET 10000) AS heavy
               OFFSET 0) h;
END $$;

-- For a user with more grants than one wants to fetch: those that bear on one
-- sender. Each is looked up by its whole key: joins over all grants of such a
-- user would take a thousand times longer.
CREATE OR REPLACE FUNCTION public.emailing_lookup_sender(
    name text, address text, stripped text, domain text)
RETURNS TABLE (counter bigint, id bigint, enabled boolean, passwd text,
               old_passwd text, old_until bigint, heavy boolean, grants text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    -- The domain and its parents: from each label to the end.
    labels text[] := string_to_array(emailing_lookup_sender.domain, '.');
BEGIN
    RETURN QUERY
    SELECT c.counter, u.id, u.enabled, u.passwd, u.old_passwd,
           floor(extract(epoch FROM u.old_until))::bigint,
           true,
           (SELECT coalesce(string_agg(l.line, E'\n' ORDER BY l.line), '')
              FROM (SELECT (SELECT 'a ' || coalesce(
                                       floor(extract(epoch FROM g.expires))
                                           ::text, '-')
                              FROM public.emailing_users_addresses g
                             WHERE g.id_user = u.id
                               AND g.id_address = (
                                       SELECT a.id
                                         FROM public.emailing_addresses a
                                        WHERE a.address = asked.text))
                           || ' ' || asked.text AS line
                      FROM unnest(ARRAY[
                               emailing_lookup_sender.address,
                               nullif(emailing_lookup_sender.stripped,
                                      emailing_lookup_sender.address)])
                           AS asked (text)
                     UNION ALL
                    SELECT (SELECT CASE WHEN g.subdomains THEN 's '
                                        ELSE 'd ' END || coalesce(
                                       floor(extract(epoch FROM g.expires))
                                           ::text, '-')
                              FROM public.emailing_users_domains g
                             WHERE g.id_user = u.id
                               AND g.id_domain = (
                                       SELECT d.id
                                         FROM public.emailing_domains d
                                        WHERE d.domain = asked.text)
                               AND (g.subdomains OR asked.i = 1))
                           || ' ' || asked.text
                      FROM (SELECT i, array_to_string(labels[i:], '.') AS text
                              FROM generate_series(1, cardinality(labels))
                                   AS i) asked) l)
      FROM (SELECT (SELECT e.counter FROM public.emailing_changes e
                     WHERE e.one) AS counter) c
      LEFT JOIN public.emailing_users u
             ON u.name = emailing_lookup_sender.name;
END $$;

-- Users in the order of their names, for filling a cache. Their grants are in
-- none: to sort those would be a seventh of all the time it takes.
CREATE OR REPLACE FUNCTION public.emailing_load(after text, most integer)
RETURNS TABLE (name text, counter bigint, id bigint, enabled boolean,
               passwd text, old_passwd text, old_until bigint, heavy boolean,
               grants text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT p.name, (SELECT c.counter FROM public.emailing_changes c
                     WHERE c.one),
           p.id, p.enabled, p.passwd, p.old_passwd,
           floor(extract(epoch FROM p.old_until))::bigint,
           l.number > 10000,
           CASE WHEN l.number <= 10000 THEN coalesce(l.lines, '') END
      FROM (SELECT u.* FROM public.emailing_users u
             WHERE u.name > coalesce(emailing_load.after, '')
             ORDER BY u.name
             LIMIT greatest(0, least(emailing_load.most, 10000))) p
     CROSS JOIN LATERAL (
           SELECT count(*) AS number,
                  string_agg(g.kind || coalesce(floor(extract(
                                 epoch FROM g.expires))::text, '-')
                             || ' ' || g.what, E'\n') AS lines
             FROM (SELECT 'a ' AS kind,
                          (SELECT a.address FROM public.emailing_addresses a
                            WHERE a.id = x.id_address) AS what,
                          x.expires
                     FROM public.emailing_users_addresses x
                    WHERE x.id_user = p.id
                    UNION ALL
                   SELECT CASE WHEN x.subdomains THEN 's ' ELSE 'd ' END,
                          (SELECT d.domain FROM public.emailing_domains d
                            WHERE d.id = x.id_domain),
                          x.expires
                     FROM public.emailing_users_domains x
                    WHERE x.id_user = p.id
                    LIMIT 10001) g) l
     ORDER BY p.name;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_counter()
RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT c.counter FROM public.emailing_changes c WHERE c.one);
END $$;

-- Replaces the MD5 of the original after a login has shown the password, if
-- the row still holds it. An administrator who holds the row is not waited
-- for: the next login tries again.
CREATE OR REPLACE FUNCTION public.emailing_upgrade_secret(
    name text, old text, new text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
BEGIN
    IF (old ~ '^[0-9A-Fa-f]{32}$' AND octet_length(new) <= 511
        AND new ~ '^([$]|SCRAM-SHA-256[$])[!-~]+$') IS NOT TRUE THEN
        RETURN false;
    END IF;
    UPDATE public.emailing_users u
       SET passwd = emailing_upgrade_secret.new
     WHERE u.name = emailing_upgrade_secret.name
       AND u.passwd = emailing_upgrade_secret.old;
    RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_mock_key()
RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT m.key FROM public.emailing_mock m WHERE m.one);
END $$;

-- Everybody may call a new function until told otherwise.
REVOKE ALL ON FUNCTION
    public.emailing_lookup(text),
    public.emailing_lookup_sender(text, text, text, text),
    public.emailing_load(text, integer),
    public.emailing_counter(),
    public.emailing_upgrade_secret(text, text, text),
    public.emailing_mock_key()
    FROM PUBLIC;
