#!/usr/bin/env bash
# Unpacks Debian's Alertmanager (with amtool) into a folder, without installing or starting a service.
#   tests/integration/install_alertmanager.sh [FOLDER]      default: .cache/alertmanager in the repository
set -euo pipefail

folder=${1:-$(cd "$(dirname "$0")/../.." && pwd)/.cache/alertmanager}

if [ -x "$folder/usr/bin/amtool" ]; then
    echo "alertmanager is in $folder/usr/bin"
    exit 0
fi
if command -v amtool >/dev/null; then
    echo "alertmanager is on PATH: $(command -v amtool)"
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "install_alertmanager.sh: this is no Debian system; put amtool on PATH instead" >&2
    exit 1
fi

mkdir -p "$folder"
(
    cd "$folder"
    apt-get download -qq prometheus-alertmanager
    dpkg-deb -x prometheus-alertmanager_*.deb .
    rm prometheus-alertmanager_*.deb
    # It wants its templates in /usr/share. Where it is started in this folder, this path of the same length leads here.
    sed -i 's|/usr/share/prometheus/alertmanager|usr//share/prometheus/alertmanager|g' usr/bin/prometheus-alertmanager
)
"$folder/usr/bin/amtool" --version | head -n 1
