# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# emailing-setup - puts secure-emailing into an existing Postfix, and looks
# whether all of it works
#
#   emailing-setup [-c DIR] postfix [--service NAME] [--check|--apply|--undo]
#   emailing-setup [-c DIR] database [--name NAME]
#   emailing-setup [-c DIR] doctor [--service NAME]
#   emailing-setup --version | --help
#
# -c DIR is Postfix's configuration directory, if it is not the default one.
# See emailing-setup(8).
set -euo pipefail
export LC_ALL=C PATH="$PATH:@sbindir@:@bindir@:/usr/sbin:/sbin"
umask 022

emailing_conf=${EMAILING_CONF:-@confdir@/emailing.conf}
mailadmin_conf=${MAILADMIN_CONF:-@confdir@/mailadmin.conf}
export EMAILING_CONF=$emailing_conf MAILADMIN_CONF=$mailadmin_conf
config_dir=
service=submission

say() {
    printf '%s\n' "$*"
}

die() {
    printf 'emailing-setup: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n 's/^#   emailing-setup/usage: emailing-setup/p' "$0"
}

need_root() {
    [ "$(id -u)" = 0 ] || die "this must run as root"
}

# conf_value FILE NAME DEFAULT: of one of our own configuration files
conf_value() {
    local value
    value=$(sed -n "s/^[[:space:]]*$2[[:space:]]*=[[:space:]]*//p" "$1" \
        2>/dev/null | tail -n 1 | sed 's/^"\(.*\)".*$/\1/; s/[[:space:]]*$//')
    printf '%s\n' "${value:-$3}"
}

# The place of an option's socket, relative ones made absolute.
socket_path() { # OPTION DEFAULT
    local value queue
    value=$(conf_value "$emailing_conf" "$1" "$2")
    value=${value#unix:}
    queue=$(conf_value "$emailing_conf" queue_directory /var/spool/postfix)
    case $value in
    /*) ;;
    inet:* | [0-9]* | \[*) ;;
    *) value=$queue/$value ;;
    esac
    printf '%s\n' "$value"
}

# -- Postfix's configuration, as it is -----------------------------------------

pc() {
    postconf -c "$config_dir" "$@"
}

need_postfix() {
    command -v postconf >/dev/null || die "Postfix is not installed"
    config_dir=${config_dir:-$(postconf -h config_directory)}
    [ -f "$config_dir/main.cf" ] ||
        die "$config_dir/main.cf is not there; is this Postfix configured?"
}

# The services of clients: NAME/TYPE CHROOT, a line each
smtpd_services() {
    pc -M | awk '$8 == "smtpd" && ($2 == "inet" || $2 == "pass") \
        { print $1 "/" $2, $5 }'
}

has_service() { # NAME/TYPE
    smtpd_services | grep "^$1 " >/dev/null
}

# override DIR SERVICE PARAMETER: its value in master.cf; false without one
override() {
    local line
    line=$(postconf -c "$1" -P "$2/$3" 2>/dev/null) || return 1
    [ -n "$line" ] || return 1
    line=${line#*=}
    printf '%s\n' "${line# }"
}

# effective SERVICE PARAMETER: with $names expanded
effective() {
    local line
    line=$(pc -x -P "$1/$2" 2>/dev/null || :)
    if [ -n "$line" ]; then
        line=${line#*=}
        printf '%s\n' "${line# }"
    else
        pc -x -h "$2" 2>/dev/null
    fi
}

# port_of NAME: of a service, which may be HOST:PORT; nothing if none is known
port_of() {
    case ${1##*:} in
    *[!0-9]*) getent services "${1##*:}/tcp" |
        sed -n 's|.* \([0-9]*\)/tcp.*|\1|p' ;;
    *) say "${1##*:}" ;;
    esac
}

is_chrooted() { # the field of master.cf
    [ "$1" = y ] || { [ "$1" = - ] &&
        dpkg --compare-versions "$(pc -h compatibility_level)" lt 1 \
            2>/dev/null; }
}

# sasl_file SERVICE: what libsasl reads for it. Debian's Postfix before 3.9
# has a place of its own, whatever cyrus_sasl_config_path says; where that is
# empty the place is libsasl's.
sasl_file() {
    local name dirs dir
    name=$(effective "$1" smtpd_sasl_path).conf
    dirs=$(pc -x -h cyrus_sasl_config_path)
    case $(pc -d -h mail_version) in
    [12].* | 3.[0-8] | 3.[0-8][.-]*)
        [ ! -f /etc/debian_version ] || dirs=$config_dir/sasl
        ;;
    esac
    dirs=${dirs:-/etc/sasl2}
    for dir in ${dirs//:/ }; do
        if [ -f "$dir/$name" ]; then
            say "$dir/$name"
            return
        fi
    done
    say "${dirs%%:*}/$name"
}

# sasl_value FILE KEY: the first one counts, as for libsasl
sasl_value() {
    sed -n "s/^$2[[:space:]]*:[[:space:]]*//p" "$1" 2>/dev/null | head -n 1
}
