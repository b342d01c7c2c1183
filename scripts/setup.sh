#!/usr/bin/env bash
# Installs what temper needs on Debian 12 or newer: nothing that is there already, nothing but Debian's own packages.
#   scripts/setup.sh          what building and running takes
#   scripts/setup.sh --tests  and what the tests take besides
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config git python3
  nlohmann-json3-dev libcli11-dev libfmt-dev libpcre2-dev libxxhash-dev zlib1g-dev libzstd-dev libasio-dev libsodium-dev libopenmpi-dev openmpi-bin
)
test_packages=(
  libgtest-dev libboost-context-dev clang clang-format clang-tidy ccache python3-jsonschema python3-matplotlib chromium
  slurmctld slurmd slurm-client munge
)

case "${1:-}" in
  "") ;;
  --tests) packages+=("${test_packages[@]}") ;;
  *) echo "usage: scripts/setup.sh [--tests]" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null; then
  echo "setup.sh: this system has no apt-get; install the equivalents of: ${packages[*]}" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo)
fi

missing=()
if [ "${1:-}" = --tests ]; then
  # libFuzzer's run-time library carries its compiler's version in its name.
  apt-cache show clang >/dev/null 2>&1 || "${as_root[@]}" apt-get update -q >&2
  version=$(apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
  packages+=("libclang-rt-${version:-14}-dev")
fi
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

echo "installing: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -q >&2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
