-- SPDX-License-Identifier: MIT
-- What policyd may call to record usage; run again at each upgrade.

-- Deletes what is older than 400 days or of users who are gone, for the next
-- few users, and where their grants were last used if those are gone.
CREATE OR REPLACE FUNCTION public.emailing_sweep_usage(after bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    upto bigint;
BEGIN
    SELECT o.id_user INTO upto
      FROM public.emailing_observed o
     WHERE o.id_user > emailing_sweep_usage.after
     ORDER BY o.id_user OFFSET 5000 LIMIT 1;
    DELETE FROM public.emailing_observed o
     WHERE o.id_user > emailing_sweep_usage.after
       AND (upto IS NULL OR o.id_user <= upto)
       AND (o.last < now() - interval '400 days'
            OR NOT EXISTS (SELECT FROM public.emailing_users u
                            WHERE u.id = o.id_user));
    DELETE FROM public.emailing_observed_users n
     WHERE n.id_user > emailing_sweep_usage.after
       AND (upto IS NULL OR n.id_user <= upto)
       AND NOT EXISTS (SELECT FROM public.emailing_observed o
                        WHERE o.id_user = n.id_user);
    UPDATE public.emailing_observed_users n
       SET senders = c.senders
      FROM (SELECT o.id_user, count(*) AS senders
              FROM public.emailing_observed o
             WHERE o.id_user > emailing_sweep_usage.after
               AND (upto IS NULL OR o.id_user <= upto)
             GROUP BY o.id_user) c
     WHERE n.id_user = c.id_user AND n.senders <> c.senders;
    DELETE FROM public.emailing_used g
     WHERE g.id_user > emailing_sweep_usage.after
       AND (upto IS NULL OR g.id_user <= upto)
       AND NOT EXISTS (SELECT FROM public.emailing_users_addresses x
                        WHERE g.kind = 'a' AND x.id_user = g.id_user
                          AND x.id_address = g.id_object)
       AND NOT EXISTS (SELECT FROM public.emailing_users_domains x
                        WHERE g.kind = 'd' AND x.id_user = g.id_user
                          AND x.id_domain = g.id_object);
    RETURN coalesce(upto, 0);
END $$;

-- Takes in a batch: a line for each sender, its fields separated by tabs:
-- id of the user, form, messages, refused, first and last (seconds since the
-- epoch), kind ('a', 'd') and text of the grant that permitted it or '-' and
-- nothing, sender. Returns how many senders were of users that there are.
--
-- Of a user at most 1000 senders are kept, of one domain at most 100 each, and
-- the rest together. The row of emailing_usage is locked first, so that several
-- policyds come one after the other; who would wait for long gives up. What is
-- lost in a crash is not worth waiting for the disk.
CREATE OR REPLACE FUNCTION public.emailing_record_usage(batch text)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
SET jit = off
AS $$
DECLARE
    state public.emailing_usage;
    lines text[] := string_to_array(batch, E'\n');
    recorded integer;
BEGIN
    -- A hot standby takes nothing in.
    IF pg_is_in_recovery() THEN
        RETURN 0;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO state FROM public.emailing_usage s WHERE s.one FOR UPDATE;
    IF state.latest IS NULL OR state.latest < now() - interval '1 minute' THEN
        UPDATE public.emailing_usage s
           SET latest = now(),
               -- policyd calls once a day, if only to say that it is there.
               since = CASE WHEN s.latest > now() - interval '3 days'
                            THEN s.since ELSE now() END
         WHERE s.one;
    END IF;
    WITH field AS MATERIALIZED (
        SELECT string_to_array(l.text, E'\t') AS f
          FROM unnest(lines) AS l (text)
         WHERE l.text <> ''
         LIMIT 5000
    ), line AS MATERIALIZED (
        SELECT u.id AS id_user, l.form, l.sender,
               substring(l.sender FROM '[^@]*$') AS domain,
               sum(l.messages)::bigint AS messages,
               sum(l.refused)::bigint AS refused,
               to_timestamp(min(l.first)) AS first,
               to_timestamp(max(l.last)) AS last
          FROM (SELECT f[1]::bigint AS id, f[2] AS form,
                       f[3]::bigint AS messages, f[4]::bigint AS refused,
                       f[5]::bigint AS first, f[6]::bigint AS last,
                       f[9] AS sender
                  FROM field) l
          JOIN public.emailing_users u ON u.id = l.id
         GROUP BY u.id, l.form, l.sender
    ), counted AS (
        UPDATE public.emailing_observed o
           SET messages = o.messages + l.messages,
               refused = o.refused + l.refused,
               first = least(o.first, l.first),
               last = greatest(o.last, l.last)
          FROM line l
         WHERE o.id_user = l.id_user AND o.domain = l.domain
           AND o.form = l.form AND o.sender = l.sender
        RETURNING o.id_user, o.form, o.sender
    ), fresh AS MATERIALIZED (
        SELECT l.*
          FROM line l
         WHERE NOT EXISTS (SELECT FROM counted c
                            WHERE c.id_user = l.id_user AND c.form = l.form
                              AND c.sender = l.sender)
    ), of_user AS MATERIALIZED (
        SELECT n.id_user,
               coalesce((SELECT o.senders
                           FROM public.emailing_observed_users o
                          WHERE o.id_user = n.id_user), 0) AS kept
          FROM (SELECT DISTINCT f.id_user FROM fresh f) n
    ), of_domain AS MATERIALIZED (
        SELECT n.id_user, n.domain,
               (SELECT count(*) FROM public.emailing_observed o
                 WHERE o.id_user = n.id_user AND o.domain = n.domain) AS kept
          FROM (SELECT DISTINCT f.id_user, f.domain FROM fresh f) n
    ), placed AS (
        SELECT f.*,
               u.kept + row_number() OVER (PARTITION BY f.id_user
                                           ORDER BY f.form, f.sender)
                   AS of_user,
               d.kept + row_number() OVER (PARTITION BY f.id_user, f.domain
                                           ORDER BY f.form, f.sender)
                   AS of_domain
          FROM fresh f
          JOIN of_user u ON u.id_user = f.id_user
          JOIN of_domain d ON d.id_user = f.id_user AND d.domain = f.domain
    ), more AS (
        SELECT p.id_user,
               CASE WHEN p.of_user <= 1000 AND p.of_domain <= 100 THEN p.form
                    ELSE 'more' END AS form,
               CASE WHEN p.of_user <= 1000 AND p.of_domain <= 100
                    THEN p.sender
                    WHEN p.of_user <= 1000 AND p.form = 'address'
                    THEN '*@' || p.domain
                    ELSE '*' END AS sender,
               p.messages, p.refused, p.first, p.last
          FROM placed p
    ), put AS (
        INSERT INTO public.emailing_observed AS o (
            id_user, form, sender, messages, refused, first, last)
        SELECT m.id_user, m.form, m.sender, sum(m.messages), sum(m.refused),
               min(m.first), max(m.last)
          FROM more m
         GROUP BY m.id_user, m.form, m.sender
        ON CONFLICT (id_user, domain, form, sender) DO UPDATE
           SET messages = o.messages + excluded.messages,
               refused = o.refused + excluded.refused,
               first = least(o.first, excluded.first),
               last = greatest(o.last, excluded.last)
        -- No transaction has ended the row that was inserted.
        RETURNING o.id_user, o.xmax = 0 AS inserted
    ), numbered AS (
        INSERT INTO public.emailing_observed_users AS o (id_user, senders)
        SELECT p.id_user, count(*) FILTER (WHERE p.inserted)
          FROM put p
         GROUP BY p.id_user
        ON CONFLICT (id_user) DO UPDATE
           SET senders = o.senders + excluded.senders
         WHERE excluded.senders > 0
    )
    SELECT count(*) INTO recorded FROM line;
    WITH field AS MATERIALIZED (
        SELECT string_to_array(l.text, E'\t') AS f
          FROM unnest(lines) AS l (text)
         WHERE l.text <> ''
         LIMIT 5000
    ), used AS MATERIALIZED (
        SELECT f[1]::bigint AS id_user, f[7] AS kind, f[8] AS text,
               max(f[6]::bigint) AS last
          FROM field
         WHERE f[7] IN ('a', 'd')
         GROUP BY 1, 2, 3
    ), found AS (
        -- What is not granted any more is not found.
        SELECT u.id_user, 'a'::"char" AS kind, g.id_address AS id_object,
               u.last
          FROM used u
          JOIN public.emailing_addresses a ON a.address = u.text
          JOIN public.emailing_users_addresses g
            ON g.id_user = u.id_user AND g.id_address = a.id
         WHERE u.kind = 'a'
         UNION ALL
        SELECT u.id_user, 'd', g.id_domain, u.last
          FROM used u
          JOIN public.emailing_domains d ON d.domain = u.text
          JOIN public.emailing_users_domains g
            ON g.id_user = u.id_user AND g.id_domain = d.id
         WHERE u.kind = 'd'
    )
    INSERT INTO public.emailing_used AS o (id_user, kind, id_object, last)
    SELECT n.id_user, n.kind, n.id_object,
           (to_timestamp(n.last) AT TIME ZONE 'UTC')::date
      FROM found n
      LEFT JOIN public.emailing_used k
        ON k.id_user = n.id_user AND k.kind = n.kind
       AND k.id_object = n.id_object
     WHERE k.last IS NULL
        OR k.last < (to_timestamp(n.last) AT TIME ZONE 'UTC')::date
    ON CONFLICT (id_user, kind, id_object) DO UPDATE
       SET last = greatest(o.last, excluded.last);
    IF state.swept < now() - interval '1 hour' THEN
        UPDATE public.emailing_usage s
           SET swept = now(),
               after = public.emailing_sweep_usage(state.after)
         WHERE s.one;
    END IF;
    RETURN recorded;
END $$;

REVOKE ALL ON FUNCTION
    public.emailing_sweep_usage(bigint),
    public.emailing_record_usage(text)
    FROM PUBLIC;
