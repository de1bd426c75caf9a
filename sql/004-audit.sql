-- SPDX-License-Identifier: MIT
-- Version 4: the audit is chained by hash, and reaches back to a baseline, so
-- that the permissions of a moment can be had from it alone.
--
-- What is hashed is defined here and never again: what was hashed once stays
-- as it is. A later column of emailing_audit joins the array where it is not
-- null, so that the rows before it keep their hashes.

-- Those who change permissions wait; those who look them up do not.
LOCK TABLE public.emailing_users, public.emailing_addresses,
    public.emailing_domains, public.emailing_users_addresses,
    public.emailing_users_domains IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE public.emailing_audit
    DROP CONSTRAINT emailing_audit_object_check,
    DROP CONSTRAINT emailing_audit_operation_check,
    ADD CONSTRAINT emailing_audit_object_check CHECK (object IN (
        'user', 'address', 'domain', 'user_address', 'user_domain', 'schema',
        'audit')),
    ADD CONSTRAINT emailing_audit_operation_check CHECK (operation IN (
        'insert', 'update', 'delete', 'truncate', 'upgrade', 'baseline',
        'begin', 'prune')),
    ADD since timestamptz, -- of the audit: the moment of its baseline
    ADD base bytea;        -- likewise: the last hash of its baseline
DROP INDEX public.emailing_audit_at;

-- A link holds rows of one transaction whose numbers have the same upper bits,
-- which bounds it. number goes up by one in the order of the commits.
--
-- The baseline stands in front: rows of the operation "baseline", in links
-- numbered up to the anchor, which has no rows. The anchor has number and hash
-- of the last link that was pruned, so that the chain goes on from there. What
-- proves the baseline is its last hash, in the newest row of the object
-- "audit".
CREATE TABLE public.emailing_audit_chain (
    number bigint PRIMARY KEY,
    at timestamptz NOT NULL, -- when the transaction came to its end
    xact xid8 NOT NULL,
    first bigint,            -- the first and the last of ids
    last bigint,
    ids bigint[] NOT NULL,
    digests bytea[] NOT NULL,
    hash bytea NOT NULL
);

-- SHA-256 of a JSON array of all columns. Times are the 16 digits of what
-- PostgreSQL sends, the microseconds since 2000 in UTC: no setting changes
-- them.
CREATE FUNCTION public.emailing_audit_digest(a public.emailing_audit)
RETURNS bytea
LANGUAGE sql STABLE
AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        a.id, encode(timestamptz_send(a.at), 'hex'), a.xact::text, a.db_user,
        a.os_user, a.client::text, a.object, a.operation, a.id_user,
        a.id_address, a.id_domain, a.name, a.address, a.domain, a.enabled,
        a.subdomains, encode(timestamptz_send(a.expires), 'hex'),
        encode(timestamptz_send(a.old_until), 'hex'), a.secret_changed,
        a.was_name, a.was_address, a.was_domain, a.was_enabled,
        a.was_subdomains, encode(timestamptz_send(a.was_expires), 'hex'),
        encode(timestamptz_send(a.was_old_until), 'hex'), a.version, a.notify,
        encode(timestamptz_send(a.since), 'hex'), encode(a.base, 'hex')
        )::text, 'UTF8'))
$$;

-- SHA-256 of the hash before, number, at, xact and the digests: each of a
-- fixed size, so there is one way to read it.
CREATE FUNCTION public.emailing_audit_link(
    before bytea, number bigint, at timestamptz, xact xid8, digests bytea[])
RETURNS bytea
LANGUAGE sql STABLE
AS $$
    SELECT sha256(before || int8send(number) || timestamptz_send(at)
                  || xid8send(xact)
                  || coalesce((SELECT string_agg(d.digest, '' ORDER BY d.i)
                                 FROM unnest(digests)
                                      WITH ORDINALITY d (digest, i)), ''))
$$;

-- Makes the anchor, and the links of the baseline of those of its rows that
-- this transaction wrote after the row "mark". Returns their last hash.
CREATE FUNCTION public.emailing_audit_base(
    anchor bigint, since timestamptz, head bytea, mark bigint)
RETURNS bytea
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this xid8 := pg_current_xact_id();
    hash bytea := public.emailing_audit_link(head, anchor, since, this, '{}');
    number bigint;
    part record;
BEGIN
    INSERT INTO public.emailing_audit_chain
        (number, at, xact, ids, digests, hash)
        VALUES (anchor, since, this, '{}', '{}', head);
    SELECT anchor - count(DISTINCT a.id >> 13) INTO number
      FROM public.emailing_audit a
     WHERE a.id > mark AND a.xact = this AND a.operation = 'baseline';
    FOR part IN
        SELECT array_agg(d.id ORDER BY d.id) AS ids,
               array_agg(d.digest ORDER BY d.id) AS digests
          FROM (SELECT a.id, public.emailing_audit_digest(a) AS digest
                  FROM public.emailing_audit a
                 WHERE a.id > mark AND a.xact = this
                   AND a.operation = 'baseline') d
         GROUP BY d.id >> 13
         ORDER BY d.id >> 13
    LOOP
        hash := public.emailing_audit_link(hash, number, since, this,
                                           part.digests);
        INSERT INTO public.emailing_audit_chain
            VALUES (number, since, this, part.ids[1],
                    part.ids[cardinality(part.ids)], part.ids, part.digests,
                    hash);
        number := number + 1;
    END LOOP;
    RETURN hash;
END $$;

REVOKE ALL ON FUNCTION
    public.emailing_audit_digest(public.emailing_audit),
    public.emailing_audit_link(bytea, bigint, timestamptz, xid8, bytea[]),
    public.emailing_audit_base(bigint, timestamptz, bytea, bigint)
    FROM PUBLIC;

-- What was audited until now: a link for each transaction, in the order in
-- which they wrote their last rows, which is as near as can be known to that
-- of their commits.
DO $$
DECLARE
    part record;
    n bigint := 0;
    head_now bytea := decode(repeat('00', 32), 'hex');
BEGIN
    FOR part IN
        SELECT d.xact, max(max(d.at)) OVER w AS at, max(max(d.id)) OVER w,
               array_agg(d.id ORDER BY d.id) AS ids,
               array_agg(d.digest ORDER BY d.id) AS digests
          FROM (SELECT a.id, a.at, a.xact,
                       public.emailing_audit_digest(a) AS digest
                  FROM public.emailing_audit a) d
         GROUP BY d.xact, d.id >> 13
        WINDOW w AS (PARTITION BY d.xact)
         ORDER BY 2, 3, d.id >> 13
    LOOP
        n := n + 1;
        head_now := public.emailing_audit_link(head_now, n, part.at,
                                               part.xact, part.digests);
        INSERT INTO public.emailing_audit_chain
            VALUES (n, part.at, part.xact, part.ids[1],
                    part.ids[cardinality(part.ids)], part.ids, part.digests,
                    head_now);
    END LOOP;
END $$;

-- The baseline is what was there when the audit began: what is there now, with
-- all changes undone. Of an update or a delete that comes first the row tells
-- what was before; what was inserted first was not there.
DO $$
DECLARE
    mark bigint := (SELECT coalesce(max(a.id), 0)
                      FROM public.emailing_audit a);
    start timestamptz := (SELECT s.applied FROM public.emailing_schema s
                           WHERE s.version = 2);
    begun public.emailing_audit;
    before public.emailing_audit_chain;
BEGIN
    WITH seen AS (
        SELECT DISTINCT ON (a.object, a.id_user, a.id_address, a.id_domain)
               a.*, a.operation = 'update' AS changed
          FROM public.emailing_audit a
          JOIN public.emailing_audit_chain c
            ON c.xact = a.xact AND c.first >> 13 = a.id >> 13
           AND a.id BETWEEN c.first AND c.last
         WHERE a.operation <> 'truncate' AND a.object <> 'schema'
         ORDER BY a.object, a.id_user, a.id_address, a.id_domain, c.number,
                  a.id
    ), present (object, id_user, id_address, id_domain, name, address, domain,
                enabled, subdomains, expires, old_until) AS (
        SELECT 'user', u.id, NULL::bigint, NULL::bigint, u.name, NULL, NULL,
               u.enabled, NULL::boolean, NULL::timestamptz, u.old_until
          FROM public.emailing_users u
         UNION ALL
        SELECT 'address', NULL, a.id, NULL, NULL, a.address, NULL, NULL, NULL,
               NULL, NULL
          FROM public.emailing_addresses a
         UNION ALL
        SELECT 'domain', NULL, NULL, d.id, NULL, NULL, d.domain, NULL, NULL,
               NULL, NULL
          FROM public.emailing_domains d
         UNION ALL
        SELECT 'user_address', g.id_user, g.id_address, NULL, NULL, NULL,
               NULL, NULL, NULL, g.expires, NULL
          FROM public.emailing_users_addresses g
         UNION ALL
        SELECT 'user_domain', g.id_user, NULL, g.id_domain, NULL, NULL, NULL,
               NULL, g.subdomains, g.expires, NULL
          FROM public.emailing_users_domains g
    )
    INSERT INTO public.emailing_audit (
        object, operation, id_user, id_address, id_domain, name, address,
        domain, enabled, subdomains, expires, old_until)
    SELECT p.object, 'baseline', p.id_user, p.id_address, p.id_domain, p.name,
           p.address, p.domain, p.enabled, p.subdomains, p.expires,
           p.old_until
      FROM present p
     WHERE NOT EXISTS (
               SELECT FROM seen s
                WHERE s.object = p.object
                  AND coalesce(s.id_user, 0) = coalesce(p.id_user, 0)
                  AND coalesce(s.id_address, 0) = coalesce(p.id_address, 0)
                  AND coalesce(s.id_domain, 0) = coalesce(p.id_domain, 0))
     UNION ALL
    SELECT s.object, 'baseline', s.id_user, s.id_address, s.id_domain,
           CASE WHEN s.object = 'user'
                THEN CASE WHEN s.changed THEN s.was_name ELSE s.name END END,
           CASE WHEN s.object = 'address' THEN
                CASE WHEN s.changed THEN s.was_address ELSE s.address END END,
           CASE WHEN s.object = 'domain' THEN
                CASE WHEN s.changed THEN s.was_domain ELSE s.domain END END,
           CASE WHEN s.changed THEN s.was_enabled ELSE s.enabled END,
           CASE WHEN s.changed THEN s.was_subdomains ELSE s.subdomains END,
           CASE WHEN s.changed THEN s.was_expires ELSE s.expires END,
           CASE WHEN s.changed THEN s.was_old_until ELSE s.old_until END
      FROM seen s
     WHERE s.operation <> 'insert'
     ORDER BY 1, 3, 4, 5;

    -- The end of the chain stands beside the counter, which each transaction
    -- locks at its own end.
    ALTER TABLE public.emailing_changes ADD link bigint, ADD head bytea;
    SELECT c.* INTO before FROM public.emailing_audit_chain c
     ORDER BY c.number DESC LIMIT 1;
    INSERT INTO public.emailing_audit (object, operation, since, base)
        VALUES ('audit', 'begin', start, public.emailing_audit_base(
                    0, start, decode(repeat('00', 32), 'hex'), mark))
        RETURNING * INTO begun;
    before.number := coalesce(before.number, 0) + 1;
    before.hash := public.emailing_audit_link(
        coalesce(before.hash, decode(repeat('00', 32), 'hex')),
        before.number, begun.at, begun.xact,
        ARRAY[public.emailing_audit_digest(begun)]);
    INSERT INTO public.emailing_audit_chain
        VALUES (before.number, begun.at, begun.xact, begun.id, begun.id,
                ARRAY[begun.id], ARRAY[public.emailing_audit_digest(begun)],
                before.hash);
    UPDATE public.emailing_changes SET link = before.number,
           head = before.hash;
END $$;
ALTER TABLE public.emailing_changes
    ALTER link SET NOT NULL,
    ALTER head SET NOT NULL;

CREATE INDEX emailing_audit_xact ON public.emailing_audit (xact);
-- A name that somebody had ever is the name in one of these rows.
CREATE INDEX emailing_audit_name ON public.emailing_audit (name)
    WHERE object = 'user';
CREATE INDEX emailing_audit_address ON public.emailing_audit (address)
    WHERE object = 'address';
CREATE INDEX emailing_audit_domain ON public.emailing_audit (domain)
    WHERE object = 'domain';
CREATE INDEX emailing_audit_id_user ON public.emailing_audit (id_user)
    WHERE id_user IS NOT NULL;
CREATE INDEX emailing_audit_id_address ON public.emailing_audit (id_address)
    WHERE id_address IS NOT NULL;
CREATE INDEX emailing_audit_id_domain ON public.emailing_audit (id_domain)
    WHERE id_domain IS NOT NULL;
CREATE INDEX emailing_audit_begin ON public.emailing_audit (id)
    WHERE object = 'audit';
CREATE INDEX emailing_audit_truncate ON public.emailing_audit (id)
    WHERE operation = 'truncate';
CREATE INDEX emailing_audit_chain_at ON public.emailing_audit_chain (at);
CREATE INDEX emailing_audit_chain_rows
    ON public.emailing_audit_chain (xact, (first >> 13));

INSERT INTO public.emailing_schema (version) VALUES (4);
