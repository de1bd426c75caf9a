-- SPDX-License-Identifier: MIT
-- The two roles and all that they may do. Run at each upgrade, when the role
-- that upgrades may make roles or they are there already; otherwise a superuser
-- runs it once, in the database: psql -1 -f roles.sql DATABASE
--
-- Both may log in and have no password: give them one, or a line in
-- pg_hba.conf.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY '{emailing_policyd,emailing_mailadmin}'::text[] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles
                        WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', role);
            EXCEPTION
                -- Another database of this server was faster.
                WHEN duplicate_object OR unique_violation THEN NULL;
            END;
        END IF;
    END LOOP;
END $$;

-- policyd calls functions and nothing else.
REVOKE ALL ON
    public.emailing_users, public.emailing_addresses, public.emailing_domains,
    public.emailing_users_addresses, public.emailing_users_domains,
    public.emailing_audit, public.emailing_changes, public.emailing_mock,
    public.emailing_schema, public.emailing_usage, public.emailing_observed,
    public.emailing_observed_users, public.emailing_used
    FROM PUBLIC, emailing_policyd, emailing_mailadmin;
GRANT USAGE ON SCHEMA public TO emailing_policyd, emailing_mailadmin;
GRANT EXECUTE ON FUNCTION
    public.emailing_lookup(text),
    public.emailing_lookup_sender(text, text, text, text),
    public.emailing_load(text, integer),
    public.emailing_counter(),
    public.emailing_upgrade_secret(text, text, text),
    public.emailing_mock_key(),
    public.emailing_record_usage(text)
    TO emailing_policyd;

-- mailadmin changes permissions and sees, but cannot write, the audit.
GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.emailing_users, public.emailing_addresses, public.emailing_domains,
    public.emailing_users_addresses, public.emailing_users_domains
    TO emailing_mailadmin;
GRANT SELECT ON
    public.emailing_audit, public.emailing_changes, public.emailing_schema,
    public.emailing_usage, public.emailing_observed, public.emailing_used
    TO emailing_mailadmin;
GRANT EXECUTE ON FUNCTION
    public.emailing_lookup(text),
    public.emailing_lookup_sender(text, text, text, text),
    public.emailing_counter()
    TO emailing_mailadmin;
