-- SPDX-License-Identifier: MIT
-- The chain of the audit and what can be had from it; run again at each
-- upgrade. 004-audit.sql has the form of what is hashed.
--
-- A transaction chains the rows that it wrote at its end, under the lock of
-- the counter's row, where transactions pass one by one anyway. What takes
-- time, a hash for each row, is done before that lock is taken, for the first
-- ten links: as many as a loop fetches before it begins.

-- Each row with its link and the moment from which on it counts: that at which
-- its transaction came to its end, the same for all rows of one. In the order
-- of link and id each row was written to what the rows before it had left.
CREATE OR REPLACE VIEW public.emailing_history AS
    SELECT c.number AS link, c.at AS moment, a.*
      FROM public.emailing_audit a
      JOIN public.emailing_audit_chain c
        ON c.xact = a.xact AND c.first >> 13 = a.id >> 13
       AND a.id BETWEEN c.first AND c.last;

-- The users, addresses, domains and grants that there were after that link:
-- the last row of each, unless it was deleted. A TRUNCATE has a row for each of
-- those, too; in version 2 not for a grant whose user was gone.
CREATE OR REPLACE FUNCTION public.emailing_state(upto bigint)
RETURNS SETOF public.emailing_history
LANGUAGE sql STABLE
AS $$
    SELECT s.*
      FROM (SELECT DISTINCT ON (h.object, h.id_user, h.id_address,
                                h.id_domain) h.*
              FROM public.emailing_history h
             WHERE h.link <= upto AND h.operation <> 'truncate'
               AND h.object IN ('user', 'address', 'domain', 'user_address',
                                'user_domain')
             ORDER BY h.object, h.id_user, h.id_address, h.id_domain,
                      h.link DESC, h.id DESC) s
     WHERE s.operation <> 'delete'
       AND NOT EXISTS (SELECT FROM public.emailing_history t
                        WHERE t.operation = 'truncate'
                          AND t.object = s.object AND t.link <= upto
                          AND (t.link, t.id) > (s.link, s.id))
$$;

-- Runs once for each statement that changed something, when the transaction
-- ends. The first run chains all rows of the transaction, and bumps the counter
-- if the permissions of anybody changed; with constraints set to be immediate,
-- each does that for what was written since the one before.
CREATE OR REPLACE FUNCTION public.emailing_notify()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this xid8 := pg_current_xact_id();
    changes public.emailing_changes;
    now_at timestamptz;
    bump boolean := false;
    bumped boolean;
    part record;
    name text;
BEGIN
    IF NOT EXISTS (SELECT FROM public.emailing_audit_chain c
                    WHERE c.xact = this
                      AND c.first >> 13 = new.id >> 13
                      AND new.id BETWEEN c.first AND c.last) THEN
        FOR part IN
            SELECT array_agg(d.id ORDER BY d.id) AS ids,
                   array_agg(d.digest ORDER BY d.id) AS digests,
                   bool_or(d.notify <> '{}') AS bump
              FROM (SELECT a.id, a.notify,
                           public.emailing_audit_digest(a) AS digest
                      FROM public.emailing_audit a
                     WHERE a.xact = this AND a.operation <> 'baseline'
                       AND NOT EXISTS (
                           SELECT FROM public.emailing_audit_chain c
                            WHERE c.xact = this
                              AND c.first >> 13 = a.id >> 13
                              AND a.id BETWEEN c.first AND c.last)) d
             GROUP BY d.id >> 13
             ORDER BY d.id >> 13
        LOOP
            IF changes.link IS NULL THEN
                SELECT c.* INTO changes FROM public.emailing_changes c
                 WHERE c.one FOR UPDATE;
                IF NOT FOUND THEN
                    RAISE 'table emailing_changes is empty' USING HINT =
                        'Insert its row, with a counter above the last one '
                        'and number and hash of the last link.';
                END IF;
                -- A transaction has one moment. Its number alone does not
                -- tell that a link is its own: a restored database has those
                -- of another server.
                SELECT c.at INTO now_at FROM public.emailing_audit_chain c
                 WHERE c.number = changes.link AND c.xact = this
                   AND c.at >= now();
                bumped := now_at IS NOT NULL
                    AND changes.xact IS NOT DISTINCT FROM this;
                now_at := coalesce(now_at, clock_timestamp());
            END IF;
            changes.link := changes.link + 1;
            changes.head := public.emailing_audit_link(
                changes.head, changes.link, now_at, this, part.digests);
            INSERT INTO public.emailing_audit_chain
                VALUES (changes.link, now_at, this, part.ids[1],
                        part.ids[cardinality(part.ids)], part.ids,
                        part.digests, changes.head);
            bump := bump OR coalesce(part.bump, false);
        END LOOP;
        bump := bump AND NOT bumped;
        UPDATE public.emailing_changes c
           SET counter = c.counter + bump::integer,
               xact = CASE WHEN bump THEN this ELSE c.xact END,
               link = changes.link, head = changes.head
         WHERE c.one;
    END IF;
    FOREACH name IN ARRAY new.notify LOOP
        PERFORM pg_notify('emailing', (SELECT c.counter
                                         FROM public.emailing_changes c
                                        WHERE c.one) || ' ' || name);
    END LOOP;
    RETURN NULL;
END $$;

-- Forgets what was before a moment: the state there becomes the baseline, and
-- what led to it is deleted. Returns how many rows that were, 0 when there was
-- nothing to forget. Only the owner may call it, and whom he lets.
CREATE OR REPLACE FUNCTION public.emailing_audit_prune(before timestamptz)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    upto bigint;
    mark bigint;
    anchor bytea;
    removed bigint;
BEGIN
    IF before IS NULL OR NOT before <= now() THEN
        RAISE 'the moment has not come yet' USING ERRCODE = '22023';
    END IF;
    -- One at a time; those who change permissions do not wait.
    LOCK TABLE public.emailing_audit_chain IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT max(c.number) INTO upto FROM public.emailing_audit_chain c
     WHERE c.at < before;
    SELECT c.hash INTO anchor FROM public.emailing_audit_chain c
     WHERE c.number = upto AND c.first IS NOT NULL
       AND c.number > (SELECT b.number FROM public.emailing_audit_chain b
                        WHERE b.first IS NULL);
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT max(a.id) INTO mark FROM public.emailing_audit a;
    INSERT INTO public.emailing_audit (
        os_user, object, operation, id_user, id_address, id_domain, name,
        address, domain, enabled, subdomains, expires, old_until)
    SELECT public.emailing_os_user(), s.object, 'baseline', s.id_user,
           s.id_address, s.id_domain,
           CASE s.object WHEN 'user' THEN s.name END,
           CASE s.object WHEN 'address' THEN s.address END,
           CASE s.object WHEN 'domain' THEN s.domain END,
           s.enabled, s.subdomains, s.expires, s.old_until
      FROM public.emailing_state(upto) s
     ORDER BY s.object, s.id_user, s.id_address, s.id_domain;
    DELETE FROM public.emailing_audit a
     USING public.emailing_audit_chain c
     WHERE c.number <= upto AND c.xact = a.xact
       AND c.first >> 13 = a.id >> 13 AND a.id BETWEEN c.first AND c.last;
    GET DIAGNOSTICS removed = ROW_COUNT;
    DELETE FROM public.emailing_audit_chain c WHERE c.number <= upto;
    INSERT INTO public.emailing_audit
        (os_user, object, operation, since, base, notify)
        VALUES (public.emailing_os_user(), 'audit', 'prune', before,
                public.emailing_audit_base(upto, before, anchor, mark), '{}');
    RETURN removed;
END $$;

REVOKE ALL ON public.emailing_history FROM PUBLIC;
REVOKE ALL ON FUNCTION
    public.emailing_notify(),
    public.emailing_state(bigint),
    public.emailing_audit_prune(timestamptz)
    FROM PUBLIC;
