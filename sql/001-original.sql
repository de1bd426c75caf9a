-- SPDX-License-Identifier: MIT
-- Version 1: the five tables of secure_emailing, the program before this one.
--
-- A database that already has them starts here; an empty one gets them first,
-- so that both take the same road and end with the same schema.

CREATE TABLE public.emailing_users (
    id numeric(10) PRIMARY KEY,
    name varchar(200) CONSTRAINT ck_name UNIQUE,
    passwd varchar(200),
    CONSTRAINT auto_name_notnull CHECK (name IS NOT NULL),
    CONSTRAINT auto_passwd_notnull CHECK (passwd IS NOT NULL)
);

CREATE TABLE public.emailing_addresses (
    id numeric(10) PRIMARY KEY,
    address varchar(200) CONSTRAINT ck_address UNIQUE,
    CONSTRAINT auto_address_notnull CHECK (address IS NOT NULL)
);

CREATE TABLE public.emailing_domains (
    id numeric(10) PRIMARY KEY,
    domain varchar(200) CONSTRAINT ck_domain UNIQUE,
    CONSTRAINT auto_domain_notnull CHECK (domain IS NOT NULL)
);

CREATE TABLE public.emailing_users_addresses (
    id_user numeric(10) REFERENCES public.emailing_users (id),
    id_address numeric(10) REFERENCES public.emailing_addresses (id),
    PRIMARY KEY (id_user, id_address)
);

CREATE TABLE public.emailing_users_domains (
    id_user numeric(10) REFERENCES public.emailing_users (id),
    id_domain numeric(10) REFERENCES public.emailing_domains (id),
    PRIMARY KEY (id_user, id_domain)
);
