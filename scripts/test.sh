#!/usr/bin/env bash
# Builds temper and runs its tests, from nothing; continuous integration runs this too.
#   scripts/test.sh          everything but the soaks
#   scripts/test.sh --soak   the soaks too: 1,000 kills, ten minutes of fuzzing a parser
set -euo pipefail
cd "$(dirname "$0")/.."

exclude=(--label-exclude soak)
fuzz_seconds=30
case "${1:-}" in
  "") ;;
  --soak) exclude=(); fuzz_seconds=600 ;;
  *) echo "usage: scripts/test.sh [--soak]" >&2; exit 2 ;;
esac

scripts/setup.sh --tests
jobs=$(nproc)
# Runs a build's tests. What failed says so once more at the end, after the thousand lines of what passed.
run_tests() {
  local build=$1 code=0
  shift
  ctest --test-dir "$build" --output-on-failure -j "$((2 * jobs))" "$@" || code=$?
  if ((code != 0)); then
    awk '/^[0-9]+\/[0-9]+ Testing: / { count = 0; name = $3 }
         { lines[count++] = $0 }
         /^Test (Failed|timeout)/ { print "== failed: " name; for (i = count > 40 ? count - 40 : 0; i < count; ++i) print lines[i] }' \
      "$build/Testing/Temporary/LastTest.log"
  fi
  return "$code"
}
stage() { printf '== %d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"; }

stage "format"
git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 clang-format --dry-run --Werror

stage "release build"
cmake --preset release -DTEMPER_TESTS=ON -DTEMPER_FUZZ_SECONDS="$fuzz_seconds" >/dev/null
cmake --build --preset release -- -j "$jobs"
stage "release tests"
run_tests build/release "${exclude[@]}"

stage "debug build, with AddressSanitizer and UndefinedBehaviorSanitizer, of the rooms that compute or read files"
cmake --preset debug >/dev/null
rooms=(kernels emulated io config data model)
targets=("${rooms[@]/#/temper_}")
targets=("${targets[@]/%/_tests}")
cmake --build --preset debug --target "${targets[@]}" -- -j "$jobs"
stage "debug tests"
# One order of the emulated GPU's threads finds what a sanitizer can find; the release tests have tried them all.
GTEST_FILTER='-*SameBitsForAnyOrderOfCudaThreads*' run_tests build/debug --label-regex "^($(IFS='|'; echo "${rooms[*]}"))\$"
stage "all passed"
