# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Changes to Postfix's configuration, all by postconf(1). What was there before
# the first one is kept in a folder that is itself a configuration directory.
# Undo puts those files back, byte by byte, where nobody changed them since;
# elsewhere it takes back our settings one by one.

act=check
changes=0

change() { # TEXT COMMAND...
    local text=$1 error
    shift
    changes=$((changes + 1))
    if [ "$act" = check ]; then
        say "would set $text"
    else
        say "set $text"
        error=$("$@" 2>&1) || die "$text: ${error##*$'\n'};" \
            "emailing-setup postfix --undo takes back what was done"
    fi
}

# settings: of main.cf on standard input, NAME=VALUE a line
settings() {
    awk '
        /^[ \t]*(#|$)/ { next }
        /^[ \t]/ { sub(/^[ \t]+/, " "); line = line $0; next }
        { if (line != "") print line; line = $0 }
        END { if (line != "") print line }' | sed 's/[ \t]*=[ \t]*/=/'
}

# Settings of the fragments.
main_settings() {
    main_cf | settings
}

# main_value DIR NAME: as it stands in main.cf; false where it does not
main_value() {
    local line
    line=$(settings <"$1/main.cf" | grep "^$2=" | tail -n 1) || return 1
    say "${line#*=}"
}

master_settings() {
    master_cf | sed -n 's/^ *-o \([a-z_]*=.*\)$/\1/p' |
        sed "s|^syslog_name=.*|syslog_name=postfix/${service##*:}|"
    if [ "$(port_of "$service" || :)" = 465 ]; then
        say smtpd_tls_wrappermode=yes
    fi
}

save() {
    local file
    if [ ! -d "$saved" ]; then
        mkdir -m 700 "$saved.new"
        cp -p "$config_dir/main.cf" "$config_dir/master.cf" "$saved.new/"
        mv "$saved.new" "$saved"
        : >"$saved/services"
    fi
    grep -qx "$service" "$saved/services" || say "$service" >>"$saved/services"
    # The name of each libsasl file, and what it was.
    file=$(sasl_target)
    if [ ! -e "$saved/sasl.path" ]; then
        [ ! -e "$file" ] || cp -p "$file" "$saved/sasl.conf"
        [ -d "${file%/*}" ] || : >"$saved/sasl.made"
        say "$file" >"$saved/sasl.path"
    fi
}

# What others changed between two applies must not get lost at undo.
note_foreign() {
    local file
    [ -f "$saved/sums" ] || return 0
    for file in "$config_dir/main.cf" "$config_dir/master.cf" \
        "$(sasl_target)"; do
        unchanged "$file" || say "$file" >>"$saved/foreign"
    done
}

note_sums() {
    sha256sum "$config_dir/main.cf" "$config_dir/master.cf" \
        "$(sasl_target)" >"$saved/sums"
}

unchanged() { # FILE: as we left it
    [ -f "$saved/sums" ] && [ -f "$1" ] &&
        ! grep -qxF "$1" "$saved/foreign" 2>/dev/null &&
        grep -qxF "$(sha256sum "$1")" "$saved/sums"
}

# The file that libsasl reads for the login name space of the fragment.
sasl_target() {
    local name
    name=$(sasl_file "$service/inet")
    say "${name%/*}/smtpd.conf"
}

# The limits are the host's to choose; the restrictions are not.
apply_main() {
    local name value there
    while IFS='=' read -r name value; do
        if there=$(main_value "$config_dir" "$name"); then
            [ "$there" != "$value" ] || continue
            case $name in
            *_limit) continue ;;
            esac
        fi
        change "main.cf: $name = $value" pc -e "$name = $value"
    done < <(main_settings)
}

# A service that Postfix could not open, or that is not smtpd's.
need_service() {
    local port program name host
    port=$(port_of "$service" || :)
    case $service:$port in
    *: | -* | *[!]A-Za-z0-9_.:[-]*)
        printf 'emailing-setup: no such service: %s\n' "$service" >&2
        exit 64
        ;;
    esac
    program=$(pc -M "$service/inet" 2>/dev/null | awk '{ print $8 }')
    case $program in
    smtpd) return ;;
    ?*) die "in master.cf $service is $program(8), not smtpd(8): mail of other" \
        "servers; choose another service, such as submission" ;;
    esac
    host=${service%"${service##*:}"}
    while read -r name; do
        if [ "$(port_of "$name" || :)" = "$port" ] &&
            { [ -z "$host" ] || [ "$name" = "${name##*:}" ] ||
                [ "$host" = "${name%"${name##*:}"}" ]; }; then
            die "port $port is that of $name in master.cf: --service $name"
        fi
    done < <(pc -M | awk '$2 == "inet" { print $1 }')
}

new_service() {
    local chroot
    chroot=$(pc -M smtp/inet 2>/dev/null | awk '{ print $5 }')
    change "master.cf: a service $service" pc -M \
        "$service/inet=$service inet n - ${chroot:-y} - - smtpd"
}

apply_master() {
    local name value
    has_service "$service/inet" || new_service
    while IFS='=' read -r name value; do
        if [ "$(override "$config_dir" "$service/inet" "$name" ||
            echo none)" != "$value" ]; then
            change "master.cf: $service: $name=$value" \
                pc -P "$service/inet/$name=$value"
        fi
    done < <(master_settings)
}

write_sasl() { # FILE
    mkdir -p "${1%/*}"
    smtpd_conf >"$1.new"
    chmod 644 "$1.new"
    mv "$1.new" "$1"
}

# sharers FILE: other services whose logins it decides about
sharers() {
    local name _
    while read -r name _; do
        [ "$name" != "$service/inet" ] &&
            [ "$(effective "$name" smtpd_sasl_auth_enable)" = yes ] &&
            [ "$(effective "$name" smtpd_sasl_type)" = cyrus ] &&
            [ "$(sasl_file "$name")" = "$1" ] && say "$name"
    done < <(smtpd_services)
    return 0
}

# A file that asks us already is the host's own choice of the rest.
apply_sasl() {
    local file name
    file=$(sasl_target)
    if [ "$(sasl_value "$file" auxprop_plugin)" = emailing ] &&
        [ "$(sasl_value "$file" pwcheck_method)" = auxprop ] &&
        [ -n "$(sasl_value "$file" mech_list)" ]; then
        return
    fi
    if [ -e "$file" ]; then
        for name in $(sharers "$file"); do
            warn "$name: its logins are those of $file too: give it another" \
                "smtpd_sasl_path, or they will be policyd's"
        done
    fi
    change "$file: logins are checked by policyd" write_sasl "$file"
}

# Its package can have been installed before Postfix was.
apply_folder() {
    local dir user
    dir=$(socket_path policy_listen unix:emailing/policy)
    dir=${dir%/*}
    user=$(conf_value "$emailing_conf" user emailing)
    case $dir in
    "$(pc -h queue_directory)"/?*) ;;
    *) return 0 ;;
    esac
    if getent passwd "$user" >/dev/null &&
        [ "$(stat -c %U "$dir" 2>/dev/null)" != "$user" ]; then
        change "$dir: the folder of policyd's sockets" \
            install -d -o "$user" -g postfix -m 2750 "$dir"
    fi
}

reload_postfix() {
    if postfix -c "$config_dir" status >/dev/null 2>&1; then
        postfix -c "$config_dir" reload >/dev/null 2>&1 ||
            die "postfix reload failed; see Postfix's log"
        say "Postfix has read its configuration again"
    fi
}

apply() {
    need_root
    case $service in
    smtp | *:25 | 25)
        say "note: $service will take mail from logins only, and no more" \
            "from other mail servers"
        ;;
    esac
    save
    note_foreign
    apply_main
    apply_master
    apply_sasl
    apply_folder
    note_sums
    postfix -c "$config_dir" check ||
        die "postfix check complains; emailing-setup postfix --undo"
    if [ "$changes" -gt 0 ]; then
        reload_postfix
    else
        say "nothing to change"
    fi
    audit
}

check() {
    apply_main
    if has_service "$service/inet"; then
        apply_master
    else
        changes=$((changes + 1))
        say "would add to master.cf a service $service with these settings:"
        master_settings | sed 's/^/    /'
    fi
    apply_sasl
    apply_folder
    audit
    [ "$changes" = 0 ] && [ "$warnings" = 0 ]
}

# A limit that was there before is none that we set.
undo_main() {
    local name now former
    while IFS='=' read -r name _; do
        now=$(main_value "$config_dir" "$name") || continue
        if ! former=$(main_value "$saved" "$name"); then
            pc -X "$name" 2>/dev/null
        elif [ "$now" != "$former" ] && [ "${name%_limit}" = "$name" ]; then
            pc -e "$name = $former"
        fi
    done < <(main_settings)
}

undo_service() {
    local name value
    has_service "$service/inet" || return 0
    if [ -z "$(postconf -c "$saved" -M "$service/inet" 2>/dev/null)" ]; then
        pc -MX "$service/inet" 2>/dev/null
        return
    fi
    while IFS='=' read -r name value; do
        if value=$(override "$saved" "$service/inet" "$name"); then
            pc -P "$service/inet/$name=$value" 2>/dev/null
        elif override "$config_dir" "$service/inet" "$name" >/dev/null; then
            pc -PX "$service/inet/$name" 2>/dev/null
        fi
    done < <(master_settings)
}

undo_master() {
    while read -r service; do
        undo_service
    done <"$saved/services"
}

undo_sasl() {
    local file
    file=$(cat "$saved/sasl.path")
    if [ ! -e "$file" ]; then
        return
    elif ! unchanged "$file"; then
        say "note: $file was changed since and stays as it is"
    elif [ -e "$saved/sasl.conf" ]; then
        cp -p "$saved/sasl.conf" "$file"
    else
        rm -f "$file"
        [ ! -e "$saved/sasl.made" ] || rmdir "${file%/*}" 2>/dev/null || :
    fi
}

undo() {
    local file
    need_root
    if [ ! -f "$saved/sasl.path" ]; then
        say "nothing to take back"
        return
    fi
    undo_sasl
    for file in master main; do
        if unchanged "$config_dir/$file.cf"; then
            cp -p "$saved/$file.cf" "$config_dir/$file.cf.new"
            mv "$config_dir/$file.cf.new" "$config_dir/$file.cf"
            say "$config_dir/$file.cf is what it was"
        else
            "undo_$file"
            say "$config_dir/$file.cf was changed since; our settings are" \
                "taken out of it"
        fi
    done
    rm -rf "$saved"
    reload_postfix
}

command_postfix() {
    while [ $# -gt 0 ]; do
        case $1 in
        --service) service=${2:?--service needs a name} && shift ;;
        --service=*) service=${1#*=} ;;
        --check | --apply | --undo) act=${1#--} ;;
        *) usage >&2 && exit 64 ;;
        esac
        shift
    done
    need_postfix
    saved=$config_dir/emailing-setup.saved
    [ "$act" = undo ] || need_service
    "$act"
}
