-- SPDX-License-Identifier: MIT
-- Audit, counter and notification; run again at each upgrade.
--
-- The triggers on the five tables run once a statement and only write audit
-- rows, which lock nothing that others want. The counter is one row that all
-- want: it is bumped at the end of the transaction, by the deferred trigger on
-- the audit table (audit.sql), and once. Bumped earlier it makes deadlocks, and
-- one open transaction stops every other administrator.
--
-- notify is set on the first row of a statement, and what is set there runs
-- that trigger: the users concerned, '*' for everything when they are more than
-- 100, or none. What concerns nobody (an address that nobody has yet) is
-- audited only.
--
-- The functions run as the owner of the tables, since those who change
-- permissions may not touch the audit. All are ENABLE ALWAYS: a restore with
-- triggers disabled, or logical replication, changes permissions too.

-- The names to notify, '*' for too many.
CREATE OR REPLACE FUNCTION public.emailing_notify_names(names text[])
RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN cardinality(names) > 100 THEN '{*}' ELSE names END
$$;

-- The operating system user that the client claims to be.
CREATE OR REPLACE FUNCTION public.emailing_os_user()
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT nullif(left(regexp_replace(
               current_setting('emailing.os_user', true),
               '[^!-~]', '?', 'g'), 128), '')
$$;

CREATE OR REPLACE FUNCTION public.emailing_audit_users()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_user, name, enabled, old_until,
            secret_changed, notify)
        SELECT public.emailing_os_user(), 'user', lower(TG_OP), c.id, c.name,
               c.enabled, c.old_until, c.passwd IS NOT NULL,
               CASE WHEN row_number() OVER () = 1 THEN
                   public.emailing_notify_names(ARRAY(
                       SELECT n.name FROM changed n LIMIT 101)) END
          FROM changed c;
        RETURN NULL;
    END IF;
    -- An update of the key is a deletion and an insertion.
    WITH c AS (
        SELECT w.id AS was_id, w.name AS was_name, w.enabled AS was_enabled,
               w.old_until AS was_old_until, n.id, n.name, n.enabled,
               n.old_until,
               (n.passwd, n.old_passwd)
                   IS DISTINCT FROM (w.passwd, w.old_passwd) AS secret
          FROM was w FULL JOIN changed n ON n.id = w.id
         WHERE (w.id, w.name, w.enabled, w.passwd, w.old_passwd, w.old_until)
               IS DISTINCT FROM
               (n.id, n.name, n.enabled, n.passwd, n.old_passwd, n.old_until)
    )
    INSERT INTO public.emailing_audit (
        os_user, object, operation, id_user, name, enabled, old_until,
        secret_changed, was_name, was_enabled, was_old_until, notify)
    SELECT public.emailing_os_user(), 'user',
           CASE WHEN c.was_id IS NULL THEN 'insert'
                WHEN c.id IS NULL THEN 'delete' ELSE 'update' END,
           coalesce(c.id, c.was_id), coalesce(c.name, c.was_name),
           coalesce(c.enabled, c.was_enabled),
           CASE WHEN c.id IS NULL THEN c.was_old_until ELSE c.old_until END,
           c.secret,
           CASE WHEN c.id IS NOT NULL THEN c.was_name END,
           CASE WHEN c.id IS NOT NULL THEN c.was_enabled END,
           CASE WHEN c.id IS NOT NULL THEN c.was_old_until END,
           CASE WHEN row_number() OVER () = 1 THEN
               public.emailing_notify_names(ARRAY(
                   SELECT n.name FROM c n WHERE n.name IS NOT NULL
                    UNION
                   SELECT n.was_name FROM c n WHERE n.was_name IS NOT NULL
                    LIMIT 101)) END
      FROM c;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_audit_addresses()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_address, address, notify)
        SELECT public.emailing_os_user(), 'address', lower(TG_OP), c.id,
               c.address, CASE WHEN row_number() OVER () = 1 THEN
                   '{}'::text[] END
          FROM changed c;
        RETURN NULL;
    END IF;
    WITH c AS (
        SELECT w.id AS was_id, w.address AS was_text, n.id,
               n.address AS text
          FROM was w FULL JOIN changed n ON n.id = w.id
         WHERE (w.id, w.address) IS DISTINCT FROM (n.id, n.address)
    )
    INSERT INTO public.emailing_audit (
        os_user, object, operation, id_address, address, was_address, notify)
    SELECT public.emailing_os_user(), 'address',
           CASE WHEN c.was_id IS NULL THEN 'insert'
                WHEN c.id IS NULL THEN 'delete' ELSE 'update' END,
           coalesce(c.id, c.was_id), coalesce(c.text, c.was_text),
           CASE WHEN c.id IS NOT NULL THEN c.was_text END,
           CASE WHEN row_number() OVER () = 1 THEN
               public.emailing_notify_names(ARRAY(
                   SELECT DISTINCT u.name
                     FROM c n
                     JOIN public.emailing_users_addresses g
                       ON g.id_address = n.id
                     JOIN public.emailing_users u ON u.id = g.id_user
                    LIMIT 101)) END
      FROM c;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_audit_domains()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_domain, domain, notify)
        SELECT public.emailing_os_user(), 'domain', lower(TG_OP), c.id,
               c.domain, CASE WHEN row_number() OVER () = 1 THEN
                   '{}'::text[] END
          FROM changed c;
        RETURN NULL;
    END IF;
    WITH c AS (
        SELECT w.id AS was_id, w.domain AS was_text, n.id,
               n.domain AS text
          FROM was w FULL JOIN changed n ON n.id = w.id
         WHERE (w.id, w.domain) IS DISTINCT FROM (n.id, n.domain)
    )
    INSERT INTO public.emailing_audit (
        os_user, object, operation, id_domain, domain, was_domain, notify)
    SELECT public.emailing_os_user(), 'domain',
           CASE WHEN c.was_id IS NULL THEN 'insert'
                WHEN c.id IS NULL THEN 'delete' ELSE 'update' END,
           coalesce(c.id, c.was_id), coalesce(c.text, c.was_text),
           CASE WHEN c.id IS NOT NULL THEN c.was_text END,
           CASE WHEN row_number() OVER () = 1 THEN
               public.emailing_notify_names(ARRAY(
                   SELECT DISTINCT u.name
                     FROM c n
                     JOIN public.emailing_users_domains g
                       ON g.id_domain = n.id
                     JOIN public.emailing_users u ON u.id = g.id_user
                    LIMIT 101)) END
      FROM c;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_audit_users_addresses()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_user, id_address, name, address,
            expires, notify)
        SELECT public.emailing_os_user(), 'user_address', lower(TG_OP),
               c.id_user, c.id_address, u.name, o.address, c.expires,
               CASE WHEN row_number() OVER () = 1 THEN
                   public.emailing_notify_names(ARRAY(
                       SELECT DISTINCT v.name
                         FROM changed n
                         JOIN public.emailing_users v ON v.id = n.id_user
                        LIMIT 101)) END
          FROM changed c
          LEFT JOIN public.emailing_users u ON u.id = c.id_user
          LEFT JOIN public.emailing_addresses o ON o.id = c.id_address;
        RETURN NULL;
    END IF;
    WITH c AS (
        SELECT coalesce(n.id_user, w.id_user) AS id_user,
               coalesce(n.id_address, w.id_address) AS id_address,
               w.id_user IS NULL AS inserted, n.id_user IS NULL AS deleted,
               w.expires AS was_expires, n.expires
          FROM was w
          FULL JOIN changed n
            ON n.id_user = w.id_user AND n.id_address = w.id_address
         WHERE (w.id_user, w.expires)
               IS DISTINCT FROM (n.id_user, n.expires)
    )
    INSERT INTO public.emailing_audit (
        os_user, object, operation, id_user, id_address, name, address,
        expires, was_expires, notify)
    SELECT public.emailing_os_user(), 'user_address',
           CASE WHEN c.inserted THEN 'insert'
                WHEN c.deleted THEN 'delete' ELSE 'update' END,
           c.id_user, c.id_address, u.name, o.address,
           CASE WHEN c.deleted THEN c.was_expires ELSE c.expires END,
           CASE WHEN NOT c.deleted THEN c.was_expires END,
           CASE WHEN row_number() OVER () = 1 THEN
               public.emailing_notify_names(ARRAY(
                   SELECT DISTINCT v.name
                     FROM c n
                     JOIN public.emailing_users v ON v.id = n.id_user
                    LIMIT 101)) END
      FROM c
      LEFT JOIN public.emailing_users u ON u.id = c.id_user
      LEFT JOIN public.emailing_addresses o ON o.id = c.id_address;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_audit_users_domains()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_user, id_domain, name, domain,
            expires, subdomains, notify)
        SELECT public.emailing_os_user(), 'user_domain', lower(TG_OP),
               c.id_user, c.id_domain, u.name, o.domain, c.expires, c.subdomains,
               CASE WHEN row_number() OVER () = 1 THEN
                   public.emailing_notify_names(ARRAY(
                       SELECT DISTINCT v.name
                         FROM changed n
                         JOIN public.emailing_users v ON v.id = n.id_user
                        LIMIT 101)) END
          FROM changed c
          LEFT JOIN public.emailing_users u ON u.id = c.id_user
          LEFT JOIN public.emailing_domains o ON o.id = c.id_domain;
        RETURN NULL;
    END IF;
    WITH c AS (
        SELECT coalesce(n.id_user, w.id_user) AS id_user,
               coalesce(n.id_domain, w.id_domain) AS id_domain,
               w.id_user IS NULL AS inserted, n.id_user IS NULL AS deleted,
               w.subdomains AS was_subdomains, n.subdomains,
               w.expires AS was_expires, n.expires
          FROM was w
          FULL JOIN changed n
            ON n.id_user = w.id_user AND n.id_domain = w.id_domain
         WHERE (w.id_user, w.subdomains, w.expires)
               IS DISTINCT FROM (n.id_user, n.subdomains, n.expires)
    )
    INSERT INTO public.emailing_audit (
        os_user, object, operation, id_user, id_domain, name, domain,
        expires, was_expires, subdomains, was_subdomains, notify)
    SELECT public.emailing_os_user(), 'user_domain',
           CASE WHEN c.inserted THEN 'insert'
                WHEN c.deleted THEN 'delete' ELSE 'update' END,
           c.id_user, c.id_domain, u.name, o.domain,
           CASE WHEN c.deleted THEN c.was_expires ELSE c.expires END,
           CASE WHEN NOT c.deleted THEN c.was_expires END,
           coalesce(c.subdomains, c.was_subdomains),
           CASE WHEN NOT c.deleted THEN c.was_subdomains END,
           CASE WHEN row_number() OVER () = 1 THEN
               public.emailing_notify_names(ARRAY(
                   SELECT DISTINCT v.name
                     FROM c n
                     JOIN public.emailing_users v ON v.id = n.id_user
                    LIMIT 101)) END
      FROM c
      LEFT JOIN public.emailing_users u ON u.id = c.id_user
      LEFT JOIN public.emailing_domains o ON o.id = c.id_domain;
    RETURN NULL;
END $$;

-- TRUNCATE has no transition table: what is about to go is written down
-- before, and then everything is dropped.
CREATE OR REPLACE FUNCTION public.emailing_audit_truncate()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    os text := public.emailing_os_user();
    what text := CASE TG_TABLE_NAME
                 WHEN 'emailing_users' THEN 'user'
                 WHEN 'emailing_addresses' THEN 'address'
                 WHEN 'emailing_domains' THEN 'domain'
                 WHEN 'emailing_users_addresses' THEN 'user_address'
                 WHEN 'emailing_users_domains' THEN 'user_domain' END;
BEGIN
    CASE what
    WHEN 'user' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_user, name, enabled, old_until,
            secret_changed)
        SELECT os, what, 'delete', u.id, u.name, u.enabled, u.old_until,
               u.passwd IS NOT NULL
          FROM public.emailing_users u;
    WHEN 'address' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_address, address)
        SELECT os, what, 'delete', a.id, a.address
          FROM public.emailing_addresses a;
    WHEN 'domain' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_domain, domain)
        SELECT os, what, 'delete', d.id, d.domain
          FROM public.emailing_domains d;
    WHEN 'user_address' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_user, id_address, name, address,
            expires)
        SELECT os, what, 'delete', g.id_user, g.id_address, u.name, a.address,
               g.expires
          FROM public.emailing_users_addresses g
          LEFT JOIN public.emailing_users u ON u.id = g.id_user
          LEFT JOIN public.emailing_addresses a ON a.id = g.id_address;
    WHEN 'user_domain' THEN
        INSERT INTO public.emailing_audit (
            os_user, object, operation, id_user, id_domain, name, domain,
            subdomains, expires)
        SELECT os, what, 'delete', g.id_user, g.id_domain, u.name, d.domain,
               g.subdomains, g.expires
          FROM public.emailing_users_domains g
          LEFT JOIN public.emailing_users u ON u.id = g.id_user
          LEFT JOIN public.emailing_domains d ON d.id = g.id_domain;
    END CASE;
    INSERT INTO public.emailing_audit (os_user, object, operation, notify)
        VALUES (os, what, 'truncate', '{*}');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION public.emailing_set_changed()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    new.changed := now();
    RETURN new;
END $$;

REVOKE ALL ON FUNCTION
    public.emailing_notify_names(text[]),
    public.emailing_os_user(),
    public.emailing_audit_users(),
    public.emailing_audit_addresses(),
    public.emailing_audit_domains(),
    public.emailing_audit_users_addresses(),
    public.emailing_audit_users_domains(),
    public.emailing_audit_truncate(),
    public.emailing_set_changed()
    FROM PUBLIC;

-- Makes what is missing and mends what was disabled; a trigger that is there
-- is left alone, so that an upgrade locks no table for it.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT w.tab, w.name, w.form, g.tgenabled
          FROM (SELECT r.tab, r.tab || '_' || e.event AS name,
                       format(e.form, r.tab || '_' || e.event, r.tab,
                              CASE e.event WHEN 'truncate'
                                   THEN 'emailing_audit_truncate'
                                   ELSE replace(r.tab, 'emailing_',
                                                'emailing_audit_') END) AS form
                  FROM unnest(ARRAY[
                           'emailing_users', 'emailing_addresses',
                           'emailing_domains', 'emailing_users_addresses',
                           'emailing_users_domains']) AS r (tab),
                       (VALUES ('insert', 'CREATE TRIGGER %I
                            AFTER INSERT ON public.%I
                            REFERENCING NEW TABLE AS changed
                            FOR EACH STATEMENT EXECUTE FUNCTION public.%I()'),
                           ('delete', 'CREATE TRIGGER %I
                            AFTER DELETE ON public.%I
                            REFERENCING OLD TABLE AS changed
                            FOR EACH STATEMENT EXECUTE FUNCTION public.%I()'),
                           ('update', 'CREATE TRIGGER %I
                            AFTER UPDATE ON public.%I
                            REFERENCING OLD TABLE AS was NEW TABLE AS changed
                            FOR EACH STATEMENT EXECUTE FUNCTION public.%I()'),
                           ('truncate', 'CREATE TRIGGER %I
                            BEFORE TRUNCATE ON public.%I
                            FOR EACH STATEMENT EXECUTE FUNCTION public.%I()')
                       ) AS e (event, form)
                 UNION ALL
                SELECT 'emailing_users', 'emailing_users_changed',
                       'CREATE TRIGGER emailing_users_changed
                        BEFORE UPDATE ON public.emailing_users FOR EACH ROW
                        EXECUTE FUNCTION public.emailing_set_changed()'
                 UNION ALL
                SELECT 'emailing_audit', 'emailing_audit_notify',
                       'CREATE CONSTRAINT TRIGGER emailing_audit_notify
                        AFTER INSERT ON public.emailing_audit
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                        WHEN (new.notify IS NOT NULL)
                        EXECUTE FUNCTION public.emailing_notify()'
               ) w
          LEFT JOIN pg_catalog.pg_trigger g
            ON g.tgname = w.name AND NOT g.tgisinternal
           AND g.tgrelid = ('public.' || w.tab)::regclass
         WHERE g.tgenabled IS DISTINCT FROM 'A'
    LOOP
        IF t.tgenabled IS NULL THEN
            EXECUTE t.form;
        END IF;
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER %I',
                       t.tab, t.name);
    END LOOP;
END $$;
