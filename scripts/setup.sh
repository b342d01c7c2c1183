#!/usr/bin/env bash
# Installs what temper needs on Debian 12, Ubuntu 24.04 or newer: nothing that is there already, nothing but the system's own packages.
# Elsewhere it says what to do; docs/install.md has more.
#   scripts/setup.sh               what building and running takes (cmake/packages.txt)
#   scripts/setup.sh --tests       and what the tests take besides
#   scripts/setup.sh --list NAME   the packages' names: debian (Ubuntu's too), rhel (with EPEL), conda (conda-forge)
set -euo pipefail
table=$(dirname "$0")/../cmake/packages.txt

usage() {
  echo "usage: scripts/setup.sh [--tests | --list debian|rhel|conda]" >&2
  exit 2
}

# list NAME: that column of the table.
list() {
  awk -v name="$1" '/^# need/ { for (i = 2; i <= NF; ++i) if ($i == name) column = i - 1 }
                    /^[A-Za-z]/ && column { gsub(",", "\n", $column); print $column }' "$table"
}

test_packages=(
  libgtest-dev libboost-context-dev clang clang-format clang-tidy ccache python3-jsonschema python3-matplotlib chromium
  slurmctld slurmd slurm-client munge
)

case "${1:-} ${2:-}" in
  " " | "--tests ") ;;
  "--list debian" | "--list rhel" | "--list conda") list "$2"; exit 0 ;;
  *) usage ;;
esac

if ! command -v apt-get >/dev/null; then
  echo "setup.sh: this system has no apt-get. RHEL 9 and its kin: dnf install \$(scripts/setup.sh --list rhel); any Linux, without root:" \
    "conda's packages (scripts/setup.sh --list conda). docs/install.md has the steps" >&2
  exit 1
fi
mapfile -t packages < <(list debian)

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo)
fi

missing=()
if [ "${1:-}" = --tests ]; then
  packages+=("${test_packages[@]}")
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

"${as_root[@]}" apt-get update -q >&2
# What this system has is held against the table before anything is installed.
too_old=()
while read -r need least package; do
  has=$(apt-cache policy "${package%%,*}" | awk '/Candidate:/ { sub(/^[0-9]+:/, "", $2); print $2 }')
  if [ "$least" != - ] && [ -n "$has" ] && dpkg --compare-versions "$has" lt "$least"; then
    too_old+=("$need $has (temper needs $least)")
  fi
done < <(awk '/^[A-Za-z]/ { print $1, $2, $3 }' "$table")
if [ ${#too_old[@]} -ne 0 ]; then
  printf 'setup.sh: this system is too old: its packages are %s\n' "$(IFS=,; echo "${too_old[*]}" | sed 's/,/, /g')" >&2
  echo "conda's packages will do, also without root: docs/install.md" >&2
  exit 1
fi
echo "installing: ${missing[*]}" >&2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
