#!/usr/bin/env bash
# clang-tidy over temper's own sources, with the checks of .clang-tidy; any finding fails.
#   scripts/tidy.sh [FILE ...]   (default: all of kernels/ and src/)
set -euo pipefail
cd "$(dirname "$0")/.."

# A configuration of its own, of which only a header is built: the compiler's commands for single files, without headers that only g++
# can read.
cmake --preset release -B build/tidy -DTEMPER_TESTS=OFF -DCMAKE_UNITY_BUILD=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
cmake --build build/tidy --target temper_commit >/dev/null
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  # Left out: kernels/cpu/isa, compiled for several instruction sets with flags of g++; kernels/no_cuda, where it is not built;
  # kernels/cuda and kernels/emulated, which need an include folder or std::source_location; and a few files whose C++20 (deduction for
  # aggregates, parenthesised aggregates, newer processor names) clang 14 does not know.
  mapfile -t files < <(git ls-files 'kernels/*.cpp' 'src/*.cpp' |
    grep -vE '^kernels/cpu/isa/|^kernels/(cuda|no_cuda|emulated)/|^kernels/cpu/isa\.cpp$|^src/config/field_access\.cpp$|^src/io/tfevents\.cpp$')
fi
# asio and libstdc++ ask for g++'s macro before they offer coroutines; clang 14 reads them all the same.
coroutines=(--extra-arg=-D__cpp_impl_coroutine=201902L --extra-arg=-DASIO_HAS_CO_AWAIT)
printf '%s\n' "${files[@]}" |
  xargs -P "$(nproc)" -n 4 clang-tidy -p build/tidy "${coroutines[@]}" --quiet --warnings-as-errors='*' 2>/dev/null
