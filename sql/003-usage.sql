-- SPDX-License-Identifier: MIT
-- Version 3: what users sent as, and which grants that used.
--
-- These tables are figures and no permissions: nothing of them is audited or
-- notified, and no foreign key leads from them into those that are, so that
-- they are in the way of no TRUNCATE and no restore. emailing_record_usage()
-- writes them, and sweeps out what has become old or what is gone.

-- The state of recording, one row, which those who record take turns on.
CREATE TABLE public.emailing_usage (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    since timestamptz,   -- recorded without a pause from then on
    latest timestamptz,  -- the last time that policyd called
    swept timestamptz NOT NULL DEFAULT now(),
    after bigint NOT NULL DEFAULT 0 -- id_user: the sweep goes on behind it
);
INSERT INTO public.emailing_usage DEFAULT VALUES;

-- form: 'address' (sender is one), 'null' (the null sender), 'malformed' (what
-- is no address, printable), 'more' (senders that are not kept one by one, for
-- there are too many: *@DOMAIN, or * for those of any domain). The key counts
-- those of a domain. No index beside it, and room on the pages: a row that is
-- counted up stays where it is.
CREATE TABLE public.emailing_observed (
    id_user bigint NOT NULL,
    form text COLLATE "C" NOT NULL
        CHECK (form IN ('address', 'null', 'malformed', 'more')),
    sender text COLLATE "C" NOT NULL CHECK (octet_length(sender) <= 254),
    domain text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (substring(sender FROM '[^@]*$')) STORED,
    messages bigint NOT NULL,
    refused bigint NOT NULL, -- of those, not granted when they came
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    PRIMARY KEY (id_user, domain, form, sender)
) WITH (fillfactor = 70);

-- How many rows a user has there: counting them would read as many pages.
CREATE TABLE public.emailing_observed_users (
    id_user bigint PRIMARY KEY,
    senders integer NOT NULL
) WITH (fillfactor = 70);

-- The day on which a grant last permitted something.
CREATE TABLE public.emailing_used (
    id_user bigint NOT NULL,
    kind "char" NOT NULL CHECK (kind IN ('a', 'd')),
    id_object bigint NOT NULL, -- of the address or domain
    last date NOT NULL,
    PRIMARY KEY (id_user, kind, id_object)
) WITH (fillfactor = 70);

INSERT INTO public.emailing_schema (version) VALUES (3);
