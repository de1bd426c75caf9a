-- SPDX-License-Identifier: MIT
-- The data set of the bench, :users users, each with four grants: two
-- addresses of his own, and two domains that ten users share, the second with
-- its subdomains. load.c holds the answers of a server against this rule.
--
-- As a superuser, into an empty schema, before policyd is started: triggers,
-- those that follow changes too, are off for the length of the transaction.
-- Secrets have the form and the length of yescrypt's; :secret is that of all
-- users, or the empty string for one each that no password fits.
BEGIN;
CREATE TEMP TABLE followed ON COMMIT DROP AS
SELECT tgrelid::regclass AS name, tgname AS trigger
  FROM pg_trigger
 WHERE tgenabled = 'A' AND NOT tgisinternal
   AND tgrelid::regclass::text LIKE 'emailing\_%';
SELECT DISTINCT format('ALTER TABLE %s DISABLE TRIGGER ALL', name)
  FROM followed
\gexec
INSERT INTO emailing_users (id, name, passwd)
SELECT i, 'u' || lpad(i::text, 7, '0'),
       coalesce(nullif(:'secret', ''),
                '$y$j9T$' || left(md5(i::text), 22) || '$'
                || left(md5('a' || i) || md5('b' || i), 43))
  FROM generate_series(0, :users - 1) i;
INSERT INTO emailing_addresses (id, address)
SELECT 2 * i + 1, 'u' || lpad(i::text, 7, '0') || '@mail.example'
  FROM generate_series(0, :users - 1) i
 UNION ALL
SELECT 2 * i + 2, 'first.last' || lpad(i::text, 7, '0') || '@corp.example'
  FROM generate_series(0, :users - 1) i;
INSERT INTO emailing_domains (id, domain)
SELECT 2 * i + 1, 'd' || lpad(i::text, 6, '0') || '.example'
  FROM generate_series(0, (:users - 1) / 10) i
 UNION ALL
SELECT 2 * i + 2, 's' || lpad(i::text, 6, '0') || '.example'
  FROM generate_series(0, (:users - 1) / 10) i;
INSERT INTO emailing_users_addresses (id_user, id_address)
SELECT i, 2 * i + n FROM generate_series(0, :users - 1) i,
       generate_series(1, 2) n;
INSERT INTO emailing_users_domains (id_user, id_domain, subdomains)
SELECT i, 2 * (i / 10) + n, n = 2 FROM generate_series(0, :users - 1) i,
       generate_series(1, 2) n;
SELECT DISTINCT format('ALTER TABLE %s ENABLE TRIGGER ALL', name)
  FROM followed
\gexec
SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', name, trigger)
  FROM followed
\gexec
COMMIT;
VACUUM ANALYZE;
