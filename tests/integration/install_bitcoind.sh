#!/bin/bash
# A real bitcoind for the integration tests, without installing anything into the system.
#
# Debian carries Bitcoin Knots (the RPC of Bitcoin Core) in `sid` only, and a program of sid does not run on
# the C library of a stable release. So the packages are fetched by apt from the machine's own Debian mirror,
# checked against Debian's keys, unpacked side by side into one folder, and the program is started through that
# folder's own dynamic loader. The system's package database, lists and configuration are not touched.
#
#   tests/integration/install_bitcoind.sh [FOLDER]      default: .cache/bitcoind in the repository
#
# Leaves FOLDER/bin/bitcoind and FOLDER/bin/bitcoin-cli. Running it again does nothing when they work.
# A bitcoind on PATH is used instead: then nothing is fetched. Not for production use of any kind.
set -euo pipefail

suite=sid
package=bitcoin-knots
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$(realpath -m "${1:-$repository/.cache/bitcoind}")

fail() {
    echo "install_bitcoind: $*" >&2
    exit 1
}

if found=$(command -v bitcoind); then
    echo "bitcoind is on PATH already: $found ($("$found" -version | head -n 1))"
    exit 0
fi
if [ -x "$folder/bin/bitcoind" ] && version=$("$folder/bin/bitcoind" -version 2>/dev/null); then
    echo "bitcoind is there already: $folder/bin/bitcoind (${version%%$'\n'*})"
    exit 0
fi

for tool in apt-get apt-cache dpkg dpkg-deb flock; do
    command -v "$tool" >/dev/null || fail "needs $tool, so a Debian machine; elsewhere put a bitcoind on PATH or set BITCOIND"
done
[ -r "$keyring" ] || fail "$keyring is missing: install the package debian-archive-keyring"

case $(dpkg --print-architecture) in
    amd64) triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
    arm64) triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
    *) fail "knows amd64 and arm64 only, this is $(dpkg --print-architecture); put a bitcoind on PATH or set BITCOIND" ;;
esac

mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/packages"
exec 9>"$folder/lock"
flock 9 # two runs at once: the second finds the first one's result below
if [ -x "$folder/bin/bitcoind" ] && "$folder/bin/bitcoind" -version >/dev/null 2>&1; then
    echo "bitcoind is there already: $folder/bin/bitcoind"
    exit 0
fi

# The machine's proxies and mirrors stay in force; only its sources, lists, pins and installed packages are hidden.
private=(
    -o "Dir::Etc::sourcelist=$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o "Dir::State::lists=$folder/apt/lists" -o Dir::State::status=/dev/null
    -o "Dir::Cache=$folder/apt/cache" -o APT::Get::List-Cleanup=false -o Acquire::Languages=none
    -o "APT::Architectures=$(dpkg --print-architecture)"
)

# apt itself reads both forms of its sources; its plan for an update names every archive with its suite.
mapfile -t mirrors < <(
    apt-get update --print-uris -o Debug::NoLocking=true 2>/dev/null |
        sed -nE "s,^'(.+)/dists/[a-z]+/InRelease'.*,\1,p" | awk '!seen[$0]++'
)
[ "${#mirrors[@]}" -gt 0 ] || fail "finds no archive in the apt sources of this machine (apt-get update --print-uris)"

log=$folder/apt/log
: >"$log"
for mirror in "${mirrors[@]}"; do
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$folder/apt/sources.list"
    apt-get "${private[@]}" -o APT::Update::Error-Mode=any update >>"$log" 2>&1 || continue
    apt-cache "${private[@]}" show "$package" >>"$log" 2>&1 && break
    mirror=
done
apt-cache "${private[@]}" show "$package" >/dev/null 2>&1 ||
    fail "no archive in the apt sources of this machine has $package in $suite, signed by Debian; see $log"

# The libraries it depends on and what those depend on, until no new one turns up. Only libraries: what maintainer
# scripts need (debconf, systemd) matters to an installed package, not to an unpacked program.
libraries=() wanted=("$package")
while true; do
    mapfile -t wanted < <(
        apt-cache "${private[@]}" depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
            --no-enhances "${wanted[@]}" | sed -nE 's/^ *\|?(Pre)?Depends: ((lib|zlib)[a-z0-9.+-]*)$/\2/p' | sort -u
    )
    before=${#libraries[@]}
    mapfile -t libraries < <(printf '%s\n' "${libraries[@]}" "${wanted[@]}" | sed '/^$/d' | sort -u)
    [ "${#libraries[@]}" -gt "$before" ] || break
done
echo "fetching $package and ${#libraries[@]} libraries from $suite"
rm -f "$folder"/packages/*.deb
(cd "$folder/packages" && apt-get "${private[@]}" -q download "$package" "${libraries[@]}" >>"$log" 2>&1) ||
    fail "apt-get download failed; see $log"

root=$folder/root
rm -rf "$root"
mkdir -p "$root" "$folder/bin"
for deb in "$folder"/packages/*.deb; do
    dpkg-deb -x "$deb" "$root"
done
loader_path=$(cd "$root" && find . -name "$loader" | head -n 1)
[ -n "$loader_path" ] || fail "$loader is in none of the unpacked packages; see $folder/packages"

for program in bitcoind bitcoin-cli; do
    [ -x "$root/usr/bin/$program" ] || continue
    cat >"$folder/bin/$program.new" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/../root
exec "\$root/$loader_path" --library-path "\$root/usr/lib/$triplet:\$root/lib/$triplet" "\$root/usr/bin/$program" "\$@"
WRAPPER
    chmod +x "$folder/bin/$program.new"
    mv "$folder/bin/$program.new" "$folder/bin/$program"
done
rm -rf "$folder/packages" "$folder/apt"
version=$("$folder/bin/bitcoind" -version) || fail "the unpacked bitcoind does not start: run $folder/bin/bitcoind -version"
echo "bitcoind is ready: $folder/bin/bitcoind (${version%%$'\n'*})"
