# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Looks at a running system from end to end: what a message needs, in the order
# in which it needs it. Each failure says what to do about it. Every question
# has a deadline. A throw-away user is made for one login and deleted again.

failures=0
doctor_user=

good() {
    printf 'ok: %s\n' "$*"
}

bad() { # WHAT, WHAT TO DO
    failures=$((failures + 1))
    printf 'FAIL: %s\n      %s\n' "$1" "$2"
}

# as_user USER COMMAND...
as_user() {
    local user=$1
    shift
    (cd / && exec setpriv --reuid "$user" --regid "$(id -g "$user")" \
        --init-groups -- "$@")
}

# ask SOCKET TEXT: as Postfix's user, with its rights; the first line back
ask() {
    # shellcheck disable=SC2016 # Perl's
    as_user "$(pc -h mail_owner)" timeout 10 perl -MIO::Socket::UNIX -e '
        my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$!\n";
        print $s $ARGV[1] =~ s/,/\n/gr, "\n\n";
        $s->flush;
        print scalar(<$s>) // die "closed without an answer\n"' "$@" 2>&1
}

check_configuration() {
    local out file user
    user=$(conf_value "$emailing_conf" user emailing)
    if out=$(emailing-policyd -t -c "$emailing_conf" 2>&1); then
        good "$emailing_conf is valid"
    else
        bad "${out%%$'\n'*}" "emailing.conf(5) says what may stand there"
    fi
    if [ -n "$(find "$emailing_conf" -perm /007)" ]; then
        bad "$emailing_conf may be read by others" \
            "chgrp $user $emailing_conf; chmod 640 $emailing_conf"
    elif as_user "$user" test -r "$emailing_conf"; then
        good "$emailing_conf is read by $user and not by others"
    else
        bad "$emailing_conf cannot be read by $user, so not again at reload" \
            "chgrp $user $emailing_conf; chmod 640 $emailing_conf"
    fi
    for file in "$mailadmin_conf" $(sed -n \
        's/^[^#]*[$]{file:\([^}]*\)}.*/\1/p' "$mailadmin_conf" 2>/dev/null)
    do
        [ -e "$file" ] || continue
        if as_user "$user" test -r "$file"; then
            bad "$file can be read by $user: policyd could change grants" \
                "chown root:root $file; chmod 600 $file"
        fi
    done
}

check_socket() { # OPTION DEFAULT QUESTION PATTERN
    local path out
    path=$(socket_path "$1" "$2")
    case $path in
    /*) ;;
    *) return ;;
    esac
    if [ ! -S "$path" ]; then
        bad "$path: there is no socket" \
            "start policyd: systemctl start emailing-policyd"
        return 1
    fi
    if ! out=$(ask "$path" "$3"); then
        bad "$path: no answer to user $(pc -h mail_owner): ${out%%$'\n'*}" \
            "policyd must run; its folder be 2750 and the socket 0660, group \
postfix; auth_clients in $emailing_conf must name the user"
        return 1
    fi
    # shellcheck disable=SC2254 # a pattern
    case $out in
    $4) good "$path answers user $(pc -h mail_owner)" ;;
    *)
        bad "$path: the answer is: $out" \
            "policyd has no database; its log says why (conninfo in \
$emailing_conf)"
        return 1
        ;;
    esac
}

# A name and an address of nobody (RFC 3849), others each time: guesses count
# against both.
check_sockets() {
    local one
    one=$(openssl rand -hex 8)
    check_socket policy_listen unix:emailing/policy \
        request=smtpd_access_policy,protocol_state=RCPT,\
sasl_username=doctor-nobody,sender=nobody@doctor.invalid 'action=553 *' || :
    check_socket auth_listen unix:emailing/auth \
        "request=auth,user=doctor-$one,password=bm8=,\
client=2001:db8:${one:0:4}:${one:4:4}::1,service=doctor" 'status=denied*' || :
}

plugin_file() {
    local dir
    for dir in ${SASL_PATH//:/ } "@sasl_plugindir@" /usr/lib/*/sasl2 \
        /usr/lib64/sasl2 /usr/lib/sasl2; do
        if [ -e "$dir/libemailing.so" ]; then
            say "$dir/libemailing.so"
            return
        fi
    done
}

check_plugin() {
    local file viewer path
    # What smtpd's environment adds, if anything.
    path=$(pc -x -h import_environment | tr ' ' '\n' |
        sed -n 's/^SASL_PATH=//p')
    if [ -n "$path" ]; then
        export SASL_PATH=$path
    else
        unset SASL_PATH
    fi
    file=$(SASL_PATH=$path plugin_file)
    viewer=$(command -v saslpluginviewer || command -v pluginviewer || :)
    if [ -n "$viewer" ]; then
        if timeout 10 "$viewer" -a 2>&1 | grep -w emailing >/dev/null; then
            good "libsasl finds the plugin"
            return
        fi
    elif [ -n "$file" ]; then
        good "the plugin is there: $file"
        return
    fi
    bad "libsasl does not find the plugin libemailing.so" \
        "install libsasl2-modules-emailing; it belongs beside libplain.so \
${file:+(found: $file)}"
}

check_postfix() {
    local out line
    if postfix -c "$config_dir" status >/dev/null 2>&1; then
        good "Postfix runs"
    else
        bad "Postfix does not run" "systemctl start postfix"
    fi
    if ! has_service "$service/inet"; then
        bad "master.cf has no service $service" \
            "emailing-setup postfix --service $service --apply"
    fi
    out=$(audit)
    while read -r line; do
        case $line in
        warning:*)
            bad "${line#warning: }" \
                "emailing-setup postfix --service NAME --apply sets it right"
            ;;
        note:*) say "$line" ;;
        esac
    done <<<"$out"
}

check_database() {
    local out version wanted
    if ! out=$(timeout 20 mailadmin schema status 2>&1 </dev/null); then
        bad "${out%%$'\n'*}" "conninfo in $mailadmin_conf must name the \
database; emailing-setup database makes it"
        return 1
    fi
    version=$(sed -n 's/^schema version: \([0-9]*\).*/\1/p' <<<"$out")
    wanted=$(sed -n 's/^wanted: //p' <<<"$out")
    if [ "$version" != "$wanted" ]; then
        bad "the schema is of version $version, this release wants $wanted" \
            "emailing-setup database"
        return 1
    fi
    good "the database is there, schema version $version"
}

# The audit and grants that end go by the database's clock, policyd by this
# one; the throw-away user's row says what time it is there.
check_clock() {
    local there here skew
    there=$(timeout 20 mailadmin -f json show user "$doctor_user" |
        sed -n 's/.*"created": *"\([^"]*\)".*/\1/p')
    here=$(date +%s)
    there=$(date -d "$there" +%s 2>/dev/null) || return 0
    skew=$((here - there))
    if [ "${skew#-}" -gt 30 ]; then
        bad "this clock and the database's differ by ${skew#-} seconds" \
            "have both follow NTP"
    else
        good "this clock and the database's agree"
    fi
}

forget_user() {
    [ -n "$doctor_user" ] || return 0
    timeout 20 mailadmin del user "$doctor_user" >/dev/null 2>&1 || :
    timeout 20 mailadmin del address "$doctor_user@doctor.invalid" \
        >/dev/null 2>&1 || :
    doctor_user=
}

make_user() {
    local out
    doctor_user=doctor-$(openssl rand -hex 6)
    doctor_password=$(openssl rand -hex 16)
    trap forget_user EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if out=$({
        timeout 20 mailadmin add user "$doctor_user" <<<"$doctor_password" &&
            timeout 20 mailadmin add address "$doctor_user@doctor.invalid" &&
            timeout 20 mailadmin grant address \
                "$doctor_user@doctor.invalid" to "$doctor_user"
    } 2>&1); then
        return 0
    fi
    bad "no throw-away user: ${out%%$'\n'*}" \
        "the role of $mailadmin_conf must be emailing_mailadmin"
    return 1
}

service_address() {
    local host port
    port=${service##*:}
    host=127.0.0.1
    if [ "$port" != "$service" ]; then
        host=${service%:*}
    else
        case ,$(pc -x -h inet_interfaces), in
        *all* | *loopback-only* | *127.0.0.1* | *localhost*) ;;
        *) host=$(pc -x -h inet_interfaces | sed 's/[, ].*//') ;;
        esac
    fi
    port=$(port_of "$service" || :)
    say "${host#\[}" "${port:-587}"
}

# dialogue LINES: with smtpd over TLS, a line each time it has answered; the
# password travels over a pipe, not on a command line
dialogue() {
    local host port line reply out mode in from pid
    read -r host port < <(service_address)
    mode=(-starttls smtp)
    if [ "$(effective "$service/inet" smtpd_tls_wrappermode)" = yes ]; then
        mode=()
    fi
    coproc TLS { exec timeout 30 openssl s_client -quiet -crlf \
        -connect "${host%\]}:$port" "${mode[@]}" 2>/dev/null; }
    in=${TLS[1]} from=${TLS[0]} pid=$TLS_PID
    # A server that hangs up must not end this script.
    trap '' PIPE
    for line in "EHLO doctor.invalid" "$@" QUIT; do
        printf '%s\n' "$line" >&"$in" || break
        out=
        while IFS= read -r -t 15 -u "$from" reply; do
            out=$reply
            case $reply in
            220*) ;;
            ???' '*) break ;;
            esac
        done
        printf '%s\n' "${out%$'\r'}"
    done
    eval "exec $in>&-"
    kill "$pid" 2>/dev/null || :
    wait "$pid" 2>/dev/null || :
}

check_login() {
    local name=$doctor_user replies secret
    secret=$(printf '\0%s\0%s' "$name" "$doctor_password" | base64 -w 0)
    mapfile -t replies < <(dialogue "AUTH PLAIN $secret" \
        "MAIL FROM:<$name@doctor.invalid>" "RCPT TO:<nobody@doctor.invalid>" \
        RSET "MAIL FROM:<$name@elsewhere.invalid>" \
        "RCPT TO:<nobody@doctor.invalid>" RSET)
    if [ -z "${replies[0]:-}" ]; then
        bad "service $service: no answer over TLS at $(service_address)" \
            "is the service in master.cf, does Postfix run, is there a \
certificate?"
        return
    fi
    case ${replies[1]:-} in
    235*) good "a login through Postfix" ;;
    *)
        bad "a login with a right password got: ${replies[1]:-no answer}" \
            "454: the plugin cannot ask policyd; 535: smtpd.conf asks \
somewhere else; 503: AUTH is not on in this service"
        return
        ;;
    esac
    case ${replies[3]:-} in
    2*) good "a granted sender is taken" ;;
    *)
        bad "a granted sender got: ${replies[3]:-no answer}" \
            "451: Postfix cannot ask policyd, or policyd the database"
        ;;
    esac
    case ${replies[6]:-} in
    55*"not granted"*) good "any other sender is refused" ;;
    2*)
        bad "a sender that was not granted is taken" \
            "emailing-setup postfix --service $service --apply"
        ;;
    *)
        bad "a sender that was not granted got: ${replies[6]:-no answer}" \
            "see Postfix's log"
        ;;
    esac
}

# greeting HOST PORT: the first line, within 10 seconds
greeting() {
    timeout 10 bash -c "exec 7<>'/dev/tcp/$1/$2' && IFS= read -r line <&7 &&
        printf '%s\n' \"\$line\"" 2>/dev/null
}

check_relay() {
    local relay host port line
    relay=$(pc -x -h relayhost)
    if [ -z "$relay" ]; then
        say "note: relayhost is empty: mail goes to each domain's own servers" \
            "on port 25, which most clouds block"
        return
    fi
    case $relay in
    \[*\]:*) host=${relay%%\]*} port=${relay##*:} ;;
    \[*\]) host=${relay%%\]*} port=25 ;;
    *:*) host=${relay%:*} port=${relay##*:} ;;
    *)
        say "note: relayhost $relay is looked up as a domain; not tried"
        return
        ;;
    esac
    host=${host#\[}
    case $host:$port in
    *[!A-Za-z0-9._:-]*) return ;;
    esac
    if [ "$port" = submission ]; then
        port=587
    fi
    line=$(greeting "$host" "$port" || :)
    case $line in
    220*) good "relayhost $relay answers" ;;
    *)
        bad "relayhost $relay does not answer" \
            "is the port open from here? Most clouds let out 587 and 2525, \
not 25"
        ;;
    esac
}

command_doctor() {
    while [ $# -gt 0 ]; do
        case $1 in
        --service) service=${2:?--service needs a name} && shift ;;
        --service=*) service=${1#*=} ;;
        *) usage >&2 && exit 64 ;;
        esac
        shift
    done
    need_root
    need_postfix
    check_configuration
    check_sockets
    check_plugin
    check_postfix
    if check_database && make_user; then
        check_clock
        check_login
    fi
    check_relay
    if [ "$failures" -gt 0 ]; then
        say "to set right: $failures"
        exit 1
    fi
    say "all is well"
}
