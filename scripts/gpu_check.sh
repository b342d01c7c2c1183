#!/usr/bin/env bash
# Builds temper on a machine with a GPU, checks the CUDA backend there and measures it, in less than ten minutes.
#
#   scripts/gpu_check.sh [--out DIR] [--deps DIR] [--python PYTHON] [--commit ID] [--minutes N] [--only STAGE[,STAGE...]]
#
#   --out DIR        results: gpu_<gpu>_<what>.json, and every stage's log in one archive (default: build/gpu_check)
#   --deps DIR       libraries, where Debian's packages cannot be installed; see below
#   --python PYTHON  the Python whose PyTorch is measured beside temper (default: python3)
#   --commit ID      what the results say they were measured with, in a copy without .git
#   --minutes N      stages that have no time left are not started (default: 9.5)
#   --only STAGES    some of: build doctor operations parity training sanitizer kernels step attention pytorch
#
# A failed stage does not stop the others; the table at the end says which passed. Exit codes: 0 nothing failed, 1 something did,
# 2 wrong usage or no GPU. To publish, copy the JSON files to docs/benchmarks/ and run scripts/benchmarks_page.py.
#
# What it needs: nvcc 12.8 or newer, CMake 3.25 or newer, ninja, g++ and python3 on the PATH (or in /usr/local/cuda/bin, or beside
# PYTHON), and what scripts/setup.sh --tests installs. Where that cannot be installed, DIR of --deps holds either
#   * an installation prefix with nlohmann-json 3.11, CLI11 2.1, PCRE2 (8 bit), xxHash, GoogleTest and Boost.Context 1.74 or newer:
#     headers in include/, libraries in lib/, their CMake and pkg-config files where each project installs them; or
#   * Debian packages, which are unpacked into build/gpu_check/deps; on any Debian 12 machine (12 MB):
#       cd DIR && apt-get download nlohmann-json3-dev libcli11-dev libpcre2-dev libpcre2-8-0 libxxhash-dev libxxhash0 libgtest-dev \
#         libboost1.74-dev libboost-context1.74-dev libboost-context1.74.0 pkgconf pkgconf-bin libpkgconf3
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set -euo/{/^set -euo/!s/^# \{0,1\}//p}' "scripts/gpu_check.sh"; }
fail_usage() { echo "gpu_check.sh: $1; see scripts/gpu_check.sh --help" >&2; exit 2; }

out=build/gpu_check deps='' python=python3 minutes=9.5 only=''
all_stages='build doctor operations parity training sanitizer kernels step attention pytorch'
while [ $# -gt 0 ]; do
  case "$1" in
    --help) usage; exit 0 ;;
    --out | --deps | --python | --commit | --minutes | --only)
      [ $# -ge 2 ] || fail_usage "$1 needs a value"
      case "$1" in
        --out) out=$2 ;;
        --deps) deps=$2 ;;
        --python) python=$2 ;;
        --commit) export TEMPER_COMMIT=$2 ;;
        --minutes) minutes=$2 ;;
        --only) only=${2//,/ } ;;
      esac
      shift 2 ;;
    *) fail_usage "unknown argument $1" ;;
  esac
done
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail_usage "--minutes $minutes is no number"
for each in $only; do
  [[ " $all_stages " == *" $each "* ]] || fail_usage "--only $each: stages are $all_stages"
done
[ -z "$deps" ] || [ -d "$deps" ] || fail_usage "--deps $deps is no folder"
command -v "$python" >/dev/null || fail_usage "--python $python: not found"

# ---- The machine ------------------------------------------------------------------------------------------------------

root=$PWD
build=$root/build/cuda
temper=$build/temper
work=$root/build/gpu_check
logs=$work/logs
PATH=$PATH:/usr/local/cuda/bin:$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
export PATH root build temper work logs out deps python
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

if ! gpus=$(nvidia-smi -L 2>&1) || [[ $gpus != *GPU* ]]; then
  echo "gpu_check.sh: no GPU here: ${gpus:-nvidia-smi lists none}" >&2
  for program in "$temper" build/release/temper; do
    if [ -x "$program" ]; then
      echo "temper doctor says: cuda $("$program" doctor 2>&1 | sed -n 's/^cuda *//p')" >&2
      break
    fi
  done
  exit 2
fi
gpu=$("$python" scripts/compare/provenance.py --short-name)
export gpu
mkdir -p "$out" "$logs"
rm -f "$logs"/*
out=$(cd "$out" && pwd)
echo "$gpus" >&2

# ---- Stages: each in a shell of its own. The last line it prints is its result in words; exit code 77 is a skip --------

skip() { echo "$1"; exit 77; }

unpack_deps() {  # Debian packages -> build/gpu_check/deps
  rm -rf "$work/deps"
  mkdir -p "$work/deps"
  for package in "$deps"/*.deb; do
    dpkg -x "$package" "$work/deps"
  done
  # The packages believe that they are in /usr.
  find "$work/deps" -name '*.pc' -exec sed -i "s|=/usr|=$work/deps/usr|" {} +
}

build() {
  local prefix='' missing='' tool folder
  if [ -n "$deps" ]; then
    prefix=$(cd "$deps" && pwd)
    if compgen -G "$deps/*.deb" >/dev/null; then
      unpack_deps
      prefix=$work/deps/usr
    fi
    PATH=$PATH:$prefix/bin
    LD_LIBRARY_PATH=$prefix/lib/$(uname -m)-linux-gnu:$prefix/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    for folder in "$prefix"/lib/pkgconfig "$prefix"/lib/*/pkgconfig "$prefix"/lib64/pkgconfig "$prefix"/share/pkgconfig; do
      PKG_CONFIG_PATH=$folder${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
    done
    export PATH LD_LIBRARY_PATH PKG_CONFIG_PATH CMAKE_PREFIX_PATH=$prefix
  fi
  for tool in nvcc cmake ninja g++ pkg-config; do
    command -v "$tool" >/dev/null || missing+=" $tool"
  done
  if [ -n "$missing" ]; then
    echo "missing on this machine:$missing"
    return 1
  fi
  # CMake 4 refuses configuration files as old as some of Debian's unless it is told not to.
  if ! cmake --preset cuda -DTEMPER_TESTS=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5 2>&1 | tee "$work/configure.log"; then
    # The first error as one line: CMake names the package there, and pkg-config the one it did not find.
    echo "CMake: $(awk '/^CMake Error/ { n = 8 } n-- > 0' "$work/configure.log" | tr -s ' \n' ' ' | cut -c1-300)" \
      "(scripts/setup.sh --tests installs what is missing; without it see --deps)"
    return 1
  fi
  cmake --build --preset cuda --target temper temper_kernels_tests temper_train_tests -- -j "$(nproc)"
  "$temper" --version
}

doctor() {
  local said
  said=$("$temper" doctor)
  echo "$said"
  if grep -q '^cuda *not available' <<<"$said"; then return 1; fi
  sed -n 's/^cuda *//p' <<<"$said"
}

# In several processes, since half of the work is the reference on the CPU.
#   run_tests NAME PROCESSES EXECUTABLE FILTER [PREFIX...]
run_tests() {
  local name=$1 processes=$2 executable=$3 filter=$4 pids=() failed=0 passed pid i
  shift 4
  for ((i = 0; i < processes; ++i)); do
    GTEST_TOTAL_SHARDS=$processes GTEST_SHARD_INDEX=$i OMP_NUM_THREADS=2 \
      "$@" "$executable" --gtest_brief=1 --gtest_filter="$filter" >"$work/$name.$i.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=$((failed + 1))
  done
  cat "$work/$name".*.log
  passed=$(cat "$work/$name".*.log | awk '/^\[  PASSED  \]/ { n += $4 } END { print n + 0 }')
  rm -f "$work/$name".*.log
  echo "$name: $passed tests passed, $failed of $processes processes failed"
  # A filter that finds nothing checks nothing.
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

operations() { run_tests operations 8 "$build/tests/temper_kernels_tests" '*OpOracle*:*OpGradient*:*/cuda:*Cuda*'; }

parity() { run_tests parity 1 "$build/tests/temper_train_tests" '*Backends*/Cuda'; }

# Tokens with something to learn: 500 of the vocabulary's, every second one decided by the one before.
make_shard() {
  "$python" - "$1" <<'PY'
import array, random, sys
draw = random.Random(1)
tokens = array.array("H", draw.choices(range(500), k=2_000_000))
for i in range(1, len(tokens), 2):
    tokens[i] = (tokens[i - 1] * 7 + 3) % 500
header = array.array("i", [20240520, 1, len(tokens)] + [0] * 253)
with open(sys.argv[1], "wb") as file:
    file.write(header.tobytes() + tokens.tobytes())
PY
}

# GPT-2 124M for 200 steps of two micro-batches, twice: the same bits, and something learnt.
training() {
  local run
  rm -rf "$work/runs"
  mkdir -p "$work/runs"
  make_shard "$work/runs/tokens.bin"
  for run in first second; do
    "$temper" train configs/gpt2-124m.json device=cuda "data.train=$work/runs/tokens.bin" data.val=[] data.tokenizer= \
      data.shuffle=true batch.tokens_per_step=32768 batch.micro_batch=16 train.steps=200 schedule.warmup_steps=20 eval.every=0 \
      checkpoint.every=0 checkpoint.keep=1 log.every=1 --out "$work/runs/$run"
  done
  "$python" - "$work/runs" <<'PY'
import sys
from pathlib import Path

sys.path.insert(0, "tests/integration")
from harness import check, final_bytes, metrics

first, second = Path(sys.argv[1], "first"), Path(sys.argv[1], "second")
lines = metrics(first)
check(len(lines) == 200, f"{len(lines)} lines of metrics instead of 200")
check(lines == metrics(second), "metrics.jsonl of the two runs differ beyond timing")
here, there = final_bytes(first), final_bytes(second)
for name in here:
    check(here[name] == there[name], f"{name} of the two runs differ")
loss = [lines[0]["loss"], lines[-1]["loss"]]
check(loss[1] < loss[0] - 2, f"nothing was learnt: loss {loss[0]:.3f} -> {loss[1]:.3f}")
print(f"200 steps twice: the same bits; loss {loss[0]:.3f} -> {loss[1]:.3f}")
PY
  rm -rf "$work/runs"
}

sanitizer() {
  local program tool pids=() tools=(memcheck initcheck racecheck synccheck) filter failed='' i
  program=$(command -v compute-sanitizer || compgen -G '/usr/local/cuda*/compute-sanitizer/compute-sanitizer' | head -n 1) ||
    skip "compute-sanitizer is not installed"
  for tool in "${tools[@]}"; do
    filter=()
    # Races and barriers are looked for in temper's kernels, whose mangled names hold its namespace; not in cuBLAS's.
    case "$tool" in racecheck | synccheck) filter=(--kernel-name kns=temper) ;; esac
    run_tests "$tool" 4 "$build/tests/temper_kernels_tests" '*OpOracle*' \
      "$program" --tool "$tool" --error-exitcode 9 --print-limit 20 "${filter[@]}" >"$work/$tool.txt" 2>&1 &
    pids+=($!)
  done
  for i in "${!tools[@]}"; do
    wait "${pids[$i]}" || failed+=" ${tools[$i]}"
    echo "== ${tools[$i]}"
    cat "$work/${tools[$i]}.txt"
    rm -f "$work/${tools[$i]}.txt"
  done
  if [ -n "$failed" ]; then
    echo "not clean:$failed"
    return 1
  fi
  echo "clean: ${tools[*]}"
}

kernels() {
  "$temper" bench kernels --device cuda --precision bf16 --batch 64 --context 1024 --json "$work/kernels.json"
  "$python" scripts/compare/provenance.py --out "$out/gpu_${gpu}_kernels_bf16.json" "$work/kernels.json"
  echo "gpu_${gpu}_kernels_bf16.json"
}

step() {
  local model batch reports=() failed=''
  while read -r model batch; do
    if "$temper" bench step --device cuda --precision bf16 --model "$model" --batch "$batch" --context 1024 --warmup 5 --steps 20 \
      --json "$work/step_$model.json"; then
      reports+=("$work/step_$model.json")
    else
      failed+=" $model"
    fi
  done <<<$'124m 64\n350m 32\n774m 16\n1558m 8'
  if [ ${#reports[@]} -gt 0 ]; then
    "$python" scripts/compare/provenance.py --out "$out/gpu_${gpu}_models.json" "${reports[@]}"
  fi
  if [ -n "$failed" ]; then
    echo "failed:$failed"
    return 1
  fi
  echo "gpu_${gpu}_models.json"
}

needs_torch() { "$python" -c 'import torch; assert torch.cuda.is_available()' || skip "$python has no PyTorch that sees the GPU"; }

attention() {
  needs_torch
  "$python" scripts/compare/bench_attention.py --json "$out/gpu_${gpu}_attention.json"
  echo "gpu_${gpu}_attention.json"
}

pytorch() {
  needs_torch
  # Where the time ends in the second round, the first one's figures stand.
  "$python" scripts/compare/compare_step.py --device cuda --temper "$temper" --python "$python" --variants compiled transformers \
    --json "$out/gpu_${gpu}_step.json"
  echo "gpu_${gpu}_step.json"
}

export -f skip unpack_deps build doctor run_tests operations parity make_shard training sanitizer kernels step needs_torch attention \
  pytorch

# ---- Running them -----------------------------------------------------------------------------------------------------

table=$work/stages.tsv
: >"$table"
deadline=$(awk "BEGIN { print int($minutes * 60) }")
built=yes running=''

record() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$table"; }  # STAGE RESULT SECONDS DETAIL

run_stage() {  # STAGE SECONDS
  local name=$1 limit=$2 log=$logs/$1.log started=$SECONDS status=0 detail
  [ -z "$only" ] || [[ " $only " == *" $name "* ]] || return 0
  local left=$((deadline - SECONDS))
  if [ "$left" -lt 5 ]; then
    record "$name" fail 0 "not started: no time left of $minutes minutes"
    return 0
  fi
  if [ "$name" != build ] && [ "$name" != attention ] && { [ "$built" = no ] || [ ! -x "$temper" ]; }; then
    record "$name" skip 0 "there is no build"
    return 0
  fi
  printf '== %s\n' "$name" >&2
  # In the background, so that a signal to this script need not wait for the stage.
  timeout --kill-after=5 "$((limit < left ? limit : left))" bash -euo pipefail -c "$name" </dev/null >"$log" 2>&1 &
  running=$!
  wait "$running" || status=$?
  detail=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1 | tr '\t' ' ' | cut -c1-400) || true
  case "$status" in
    0) record "$name" pass $((SECONDS - started)) "$detail" ;;
    77) record "$name" skip $((SECONDS - started)) "$detail" ;;
    124 | 137) record "$name" fail $((SECONDS - started)) "stopped at its time limit; last: $detail" ;;
    *) record "$name" fail $((SECONDS - started)) "exit $status: $detail" ;;
  esac
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
    tail -n 30 "$log" >&2
    [ "$name" != build ] || built=no
  fi
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  tar -C "$work" -czf "$out/gpu_${gpu}_logs.tar.gz" logs
  "$python" - "$table" "$out/gpu_${gpu}_check.json" "$SECONDS" <<'PY' || status=1
import json, sys
from pathlib import Path

sys.path.insert(0, "scripts/compare")
import provenance

names = ("name", "result", "seconds", "detail")
stages = [dict(zip(names, line.split("\t"), strict=True)) for line in Path(sys.argv[1]).read_text().splitlines()]
for stage in stages:
    stage["seconds"] = int(stage["seconds"])
about = {"date": provenance.date(), "commit": provenance.commit(), "machine": provenance.machine("cuda")}
# Stages that ran before, in a part of the whole with --only, stay when they were of the same commit.
file = Path(sys.argv[2])
earlier = json.loads(file.read_text()) if file.exists() else {"commit": None}
ran = {stage["name"] for stage in stages}
same = earlier["commit"] == about["commit"] != "unknown"
kept = [stage for stage in earlier["stages"] if stage["name"] not in ran] if same else []
seconds = int(sys.argv[3]) + (earlier["seconds"] if kept else 0)
file.write_text(json.dumps({**about, "seconds": seconds, "stages": kept + stages}, indent=2) + "\n")
print(f"\n{'stage':<12}{'result':<8}{'seconds':>7}  detail")
for stage in stages:
    print(f"{stage['name']:<12}{stage['result']:<8}{stage['seconds']:>7}  {stage['detail']}")
PY
  echo "results: $out"
  if grep -q -P '^[^\t]+\tfail\t' "$table"; then status=1; fi
  exit "$status"
}
trap finish EXIT
trap 'kill "$running" 2>/dev/null; exit 1' INT TERM

run_stage build 240
run_stage doctor 60
run_stage operations 120
run_stage parity 60
run_stage training 120
run_stage sanitizer 120
run_stage kernels 120
run_stage step 120
run_stage attention 60
run_stage pytorch 300
