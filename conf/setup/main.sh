# SPDX-License-Identifier: MIT
# shellcheck shell=bash

while [ $# -gt 0 ]; do
    case $1 in
    -c | --config-dir) config_dir=${2:?$1 needs a folder} && shift ;;
    --config-dir=*) config_dir=${1#*=} ;;
    --version)
        say "emailing-setup (secure-emailing) @VERSION@"
        exit 0
        ;;
    --help)
        usage
        exit 0
        ;;
    *) break ;;
    esac
    shift
done
case ${1:-} in
postfix | database | doctor)
    verb=$1
    shift
    "command_$verb" "$@"
    ;;
*)
    usage >&2
    exit 64
    ;;
esac
