#!/usr/bin/env bash
# Makes the secrets of compose.yaml, once: those that are there stay. Each file can be read by the one user in whose
# container it is mounted, so run it as root; another user's files are given to nobody, and only rootless engines that
# map it to all of them can use those.
#   configs/compose/make_secrets.sh [FOLDER]      default: configs/compose/secrets
set -euo pipefail
umask 077

folder=${1:-$(cd "$(dirname "$0")" && pwd)/secrets}
mkdir -p "$folder"
chmod 0711 "$folder"
cd "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# write NAME UID: standard input becomes the file, if there is none yet.
write() {
    if [ -e "$1" ]; then
        cat >/dev/null
        return
    fi
    cat >"$1.new"
    chmod 0400 "$1.new"
    if [ "$(id -u)" = 0 ]; then chown "$2:$2" "$1.new"; fi
    mv "$1.new" "$1"
    echo "made $folder/$1"
}

postgres=999 dmpool=10001 bitcoind=101 grafana=472 nobody=65534

if [ ! -e pgpass ]; then
    password=$(random)
    printf '%s' "$password" | write postgres.password "$postgres"
    printf 'postgres:5432:dmpool:dmpool:%s\n' "$password" | write pgpass "$dmpool"
fi

if [ ! -e bitcoind.rpc ]; then
    # What bitcoind keeps is HMAC-SHA256 of the password with a salt as key.
    password=$(random) salt=$(random | cut -c 1-32)
    hash=$(printf '%s' "$password" | openssl dgst -sha256 -hmac "$salt" | sed 's/^.*= *//')
    printf 'rpcauth=dmpool:%s$%s\n' "$salt" "$hash" | write bitcoind.rpcauth "$bitcoind"
    printf 'dmpool:%s' "$password" | write bitcoind.rpc "$dmpool"
fi

if [ ! -e alarms.token.dmpool ]; then
    token=$(random)
    printf '%s' "$token" | write alarms.token.alertmanager "$nobody"
    printf '%s' "$token" | write alarms.token.dmpool "$dmpool"
fi

random | write grafana.password "$grafana"
# Empty: of the mailbox that alertmanager.yml may send alarms from. Write it in when there is one.
write mail.password "$nobody" </dev/null
