#!/usr/bin/env bash
# Unpacks Debian's prometheus (with promtool) into a folder, without installing or starting a service.
#   tests/integration/install_prometheus.sh [FOLDER]      default: .cache/prometheus in the repository
set -euo pipefail

folder=${1:-$(cd "$(dirname "$0")/../.." && pwd)/.cache/prometheus}

if [ -x "$folder/usr/bin/prometheus" ]; then
    echo "prometheus is in $folder/usr/bin"
    exit 0
fi
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    echo "prometheus is on PATH: $(command -v prometheus)"
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "install_prometheus.sh: this is no Debian system; put prometheus and promtool on PATH instead" >&2
    exit 1
fi

mkdir -p "$folder"
(
    cd "$folder"
    apt-get download -qq prometheus
    dpkg-deb -x prometheus_*.deb .
    rm prometheus_*.deb
)
"$folder/usr/bin/prometheus" --version | head -n 1
