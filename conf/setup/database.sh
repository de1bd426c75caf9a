# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Roles, database, schema, and the two conninfo options. As root the local
# cluster is asked, through its superuser postgres; with PGHOST in the
# environment that server is, as libpq's environment says. What is there
# already stays as it is, passwords included.

database=emailing
owner=emailing_owner

# as_admin COMMAND...: with the rights to make roles and databases
as_admin() {
    if [ -n "${PGHOST:-}" ]; then
        "$@"
    else
        (cd / && exec setpriv --reuid postgres --regid postgres \
            --init-groups -- "$@")
    fi
}

sql() { # DATABASE, statements on standard input
    as_admin psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1"
}

# The server's log may hold statements: not those that hold a password.
make_password() { # FILE ROLE MODE GROUP
    if [ -s "$1" ]; then
        say "$1 is there, the password of $2 stays"
        return
    fi
    (umask 077 && openssl rand -hex 24 >"$1.new")
    chgrp "$4" "$1.new"
    chmod "$3" "$1.new"
    {
        say "SELECT set_config(name, CASE name WHEN 'log_statement' THEN \
'none' ELSE '-1' END, false) FROM pg_settings WHERE name IN \
('log_statement', 'log_min_duration_statement') AND \
(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \\g /dev/null"
        printf "ALTER ROLE %s PASSWORD '%s';\n" "$2" "$(cat "$1.new")"
    } | sql postgres || {
        rm -f "$1.new"
        die "cannot set the password of $2"
    }
    mv "$1.new" "$1"
    say "set a password for $2, kept in $1"
}

make_roles() {
    local role login
    for role in "$owner" emailing_policyd emailing_mailadmin; do
        login=LOGIN
        [ "$role" != "$owner" ] || login=NOLOGIN
        [ -z "$(say "SELECT 1 FROM pg_roles WHERE rolname = '$role'" |
            sql postgres)" ] || continue
        say "CREATE ROLE $role $login" | sql postgres
        say "made the role $role"
    done
    # One that is no superuser must be a member to act as the owner.
    say "DO \$\$ BEGIN IF NOT pg_has_role('$owner', 'MEMBER') THEN \
EXECUTE format('GRANT $owner TO %I', current_user); END IF; END \$\$" |
        sql postgres
}

make_database() {
    [ -z "$(say "SELECT 1 FROM pg_database WHERE datname = '$database'" |
        sql postgres)" ] || return 0
    say "CREATE DATABASE \"$database\" OWNER $owner ENCODING 'UTF8' \
TEMPLATE template0" | sql postgres
    # Before PostgreSQL 15 anyone may make things in there.
    say "DO \$\$ BEGIN IF current_setting('server_version_num')::int < 150000 \
THEN ALTER SCHEMA public OWNER TO $owner; \
REVOKE CREATE ON SCHEMA public FROM PUBLIC; END IF; \
EXCEPTION WHEN insufficient_privilege THEN \
RAISE WARNING 'anyone may make tables in %', current_database(); END \$\$" |
        sql "$database"
    say "made the database $database"
}

# mailadmin acts as the owner, so that no function runs as a superuser.
make_schema() {
    local verb version
    version=$(schema status | sed -n 's/^schema version: \([0-9]*\).*/\1/p')
    case ${version:?the version of the schema cannot be read} in
    0) verb=init ;;
    *) verb=upgrade ;;
    esac
    schema "$verb"
    say "$(schema status | head -n 1)"
}

schema() {
    PGOPTIONS="-c role=$owner" PGDATABASE=$database as_admin \
        mailadmin -c /dev/null schema "$@"
}

# Adds the option where nobody has set it.
set_conninfo() { # FILE ROLE PASSWORD-FILE
    local host=${PGHOST:-127.0.0.1} port
    if grep -q '^[[:space:]]*conninfo' "$1" 2>/dev/null; then
        say "$1 has a conninfo, which stays"
        return
    fi
    port=${PGPORT:-$(say "SHOW port" | sql postgres)}
    printf 'conninfo = "host=%s port=%s dbname=%s user=%s password=%s"\n' \
        "$host" "$port" "$database" "$2" "\${file:$3}" >>"$1"
    say "set conninfo in $1"
}

reload_policyd() {
    if [ -d /run/systemd/system ] &&
        systemctl -q is-active emailing-policyd; then
        systemctl reload emailing-policyd
        say "emailing-policyd has read its configuration again"
    fi
}

command_database() {
    local user
    while [ $# -gt 0 ]; do
        case $1 in
        --name) database=${2:?--name needs a name} && shift ;;
        --name=*) database=${1#*=} ;;
        *) usage >&2 && exit 64 ;;
        esac
        shift
    done
    case $database in
    '' | *[!a-z0-9_]*) die "a database name of a-z, 0-9 and _: $database" ;;
    esac
    need_root
    command -v psql >/dev/null ||
        die "psql is not there; on Debian: apt-get install postgresql-client"
    if [ -z "${PGHOST:-}" ] && ! getent passwd postgres >/dev/null; then
        die "there is no PostgreSQL here; set PGHOST, PGUSER and so on for" \
            "that of another host"
    fi
    user=$(conf_value "$emailing_conf" user emailing)
    getent group "$user" >/dev/null ||
        die "there is no group $user; systemd-sysusers makes it"
    make_roles
    make_database
    make_schema
    make_password "${emailing_conf%/*}/policyd.password" emailing_policyd \
        640 "$user"
    make_password "${mailadmin_conf%/*}/mailadmin.password" \
        emailing_mailadmin 600 root
    set_conninfo "$emailing_conf" emailing_policyd \
        "${emailing_conf%/*}/policyd.password"
    set_conninfo "$mailadmin_conf" emailing_mailadmin \
        "${mailadmin_conf%/*}/mailadmin.password"
    reload_policyd
}
