# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What in Postfix's configuration goes past the check, or keeps it from
# working. Says nothing about a service that is as it should be.

warnings=0

warn() {
    warnings=$((warnings + 1))
    printf 'warning: %s\n' "$*"
}

# passes LIST: the permit that stands before the check in a list that has it;
# nothing when the check comes first
passes() {
    local word
    for word in ${1//,/ }; do
        case $word in
        *"$policy_word") return ;;
        permit | permit_*)
            say "$word"
            return
            ;;
        esac
    done
}

# One list that has the check before any permit is enough.
audit_lists() { # SERVICE
    local list value permit passed=
    for list in smtpd_sender_restrictions smtpd_relay_restrictions \
        smtpd_recipient_restrictions; do
        value=$(effective "$1" "$list")
        case $value in
        *"$policy_word"*)
            permit=$(passes "$value")
            [ -n "$permit" ] || return 0
            passed="$permit in $list"
            ;;
        esac
    done
    if [ -n "$passed" ]; then
        warn "$1: $passed comes before the check and goes past it: put the" \
            "check first"
    else
        warn "$1: a login may send as anyone: smtpd_sender_restrictions does" \
            "not ask policyd"
    fi
}

audit_sasl() { # SERVICE CHROOT
    local file socket path
    [ "$(effective "$1" smtpd_sasl_type)" = cyrus ] || return 0
    file=$(sasl_file "$1")
    if [ ! -f "$file" ]; then
        warn "$1: $file is not there: libsasl offers every mechanism and" \
            "asks every plugin"
        return
    fi
    if [ "$(sasl_value "$file" auxprop_plugin)" != emailing ]; then
        warn "$1: $file: auxprop_plugin is not pinned to emailing: logins" \
            "are checked elsewhere, or by every plugin there is"
    fi
    if [ "$(sasl_value "$file" pwcheck_method)" != auxprop ]; then
        warn "$1: $file: pwcheck_method is not auxprop"
    fi
    socket=$(sasl_value "$file" emailing_socket)
    socket=${socket:-emailing/auth}
    path=$socket
    if [ "${socket#/}" = "$socket" ]; then
        path=$(pc -h queue_directory)/$socket
    elif is_chrooted "$2"; then
        warn "$1: smtpd is chrooted and emailing_socket $socket is out of" \
            "its reach: make it relative, emailing/auth"
        return
    fi
    if [ "$path" != "$(socket_path auth_listen unix:emailing/auth)" ]; then
        warn "$1: $file: the plugin asks at $path, policyd listens at" \
            "$(socket_path auth_listen unix:emailing/auth)"
    fi
}

audit_service() { # SERVICE CHROOT
    local realm level
    if [ "$(effective "$1" smtpd_sasl_auth_enable)" != yes ]; then
        case $(effective "$1" smtpd_relay_restrictions) in
        *permit_mynetworks*)
            say "note: $1: clients in mynetworks need no login here and may" \
                "send as anyone: $(effective "$1" mynetworks)"
            ;;
        esac
        return
    fi
    audit_lists "$1"
    realm=$(effective "$1" smtpd_sasl_local_domain)
    if [ -n "$realm" ]; then
        warn "$1: smtpd_sasl_local_domain makes test1@$realm of the login" \
            "test1: set it empty"
    fi
    level=$(effective "$1" smtpd_tls_security_level)
    if [ "$(effective "$1" smtpd_tls_auth_only)" != yes ] &&
        [ "$level" != encrypt ] &&
        [ "$(effective "$1" smtpd_tls_wrappermode)" != yes ]; then
        warn "$1: AUTH is offered without TLS: smtpd_tls_auth_only=yes"
    fi
    if [ -z "$(effective "$1" smtpd_tls_cert_file)" ] &&
        [ -z "$(effective "$1" smtpd_tls_chain_files)" ]; then
        warn "$1: there is no certificate (smtpd_tls_chain_files), so no" \
            "TLS and no login"
    fi
    audit_sasl "$1" "$2"
}

audit() {
    local name chroot queue socket
    queue=$(pc -h queue_directory)
    socket=$(socket_path policy_listen unix:emailing/policy)
    policy_word=emailing/policy
    case $socket in
    "$queue"/*) policy_word=${socket#"$queue"/} ;;
    /*)
        policy_word=$socket
        while read -r name chroot; do
            is_chrooted "$chroot" || continue
            warn "$name: smtpd is chrooted to $queue and policyd's socket" \
                "$socket is out of its reach: set queue_directory in" \
                "$emailing_conf"
        done < <(smtpd_services)
        ;;
    *) policy_word=$socket ;;
    esac
    while read -r name chroot; do
        audit_service "$name" "$chroot"
    done < <(smtpd_services)
}
