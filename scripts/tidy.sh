#!/usr/bin/env bash
# clang-tidy over temper's own sources, with the checks of .clang-tidy; any finding fails.
#   scripts/tidy.sh [FILE ...]   (default: all of kernels/ and src/)
set -euo pipefail
cd "$(dirname "$0")/.."

[ -e build/release/compile_commands.json ] || cmake --preset release >/dev/null
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  # Files of kernels/cpu/isa are compiled for several instruction sets with flags of g++; the oracle tests cover them.
  mapfile -t files < <(git ls-files 'kernels/*.cpp' 'src/*.cpp' | grep -v '^kernels/cpu/isa/')
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy -p build/release --quiet --warnings-as-errors='*' 2>/dev/null
