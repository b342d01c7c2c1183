#!/usr/bin/env bash
# Checks the CUDA backend on a machine with a GPU and measures it, in two rounds of about five minutes.
#
#   scripts/gpu_check.sh [--round 1|2] [--out DIR] [--carried DIR] [--python PYTHON] [--commit ID] [--minutes N] [--only STAGE[,STAGE...]]
#   scripts/gpu_check.sh --plan        the stages with their seconds; needs no GPU
#   scripts/gpu_check.sh --pack DIR    makes the folder for --carried, on a machine with the same CUDA; needs no GPU
#
#   --round N        1: is it right, and how fast is a step; 2: long runs, PyTorch beside it, races, counters (default: both)
#   --out DIR        results: gpu_<gpu>_<what>.json, and every stage's log in one archive (default: build/gpu_check)
#   --carried DIR    what cannot be installed on that machine; see below (default: build/gpu_carry, where it is there)
#   --python PYTHON  the Python whose PyTorch is measured beside temper (default: python3)
#   --commit ID      what the results say they were measured with, in a copy without .git
#   --minutes N      stages that have no time left are not started (default: 9.5)
#   --only STAGES    some of those that --plan lists
#
# A failed stage does not stop the others; the table at the end says which passed. Results and logs are in DIR of --out when a stage ends,
# however the script ends. A stage may take twice its seconds. Exit codes: 0 nothing failed, 1 something did, 2 wrong usage or no GPU.
# Where nothing failed and every operation was checked, `temper doctor` says from then on that this build was checked on this GPU.
# To publish, copy the JSON files to docs/benchmarks/ and run scripts/benchmarks_page.py.
#
# What it needs: nvcc 12.4 or newer, CMake 3.25 or newer, ninja, g++ and python3 on the PATH (or in /usr/local/cuda/bin, or beside
# PYTHON), and what scripts/setup.sh --tests installs. Where that cannot be installed, DIR of --carried holds
#   * what --pack makes on a Debian 12 machine (it says how large it is; at most 64 MiB): Debian's packages, to build from, and programs
#     that are built already. Those are used where they run and are of this commit, and then nothing need be built; or
#   * an installation prefix with nlohmann-json 3.11, CLI11 2.1, fmt 9.1, Asio 1.22, PCRE2 (8 bit), xxHash, zlib, zstd, GoogleTest and Boost.Context 1.74 or
#     newer: headers in include/, libraries in lib/, their CMake and pkg-config files where each project installs them.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,/^set -euo/{/^set -euo/!s/^# \{0,1\}//p}' "scripts/gpu_check.sh"; }
fail_usage() { echo "gpu_check.sh: $1; see scripts/gpu_check.sh --help" >&2; exit 2; }

# ROUND STAGE SECONDS WHAT, in the order of what is worth most should the machine be gone the next minute.
plan='1 build 10 temper --version of the program that was carried; up to 300 s where it must be built
1 doctor 10 what temper sees of the machine
1 smoke 15 three small steps of GPT-2 124M
1 operations 45 every operation against double precision, on CUDA alone
1 step 20 a step of GPT-2 124M, B=64, T=1024
1 kernels 60 each operation of that step against its floor
1 parity 20 whole models against the CPU backend
1 nccl 10 one rank over NCCL
1 attention 25 PyTorch'"'"'s attention: FlashAttention and cuDNN
2 build 10 as in the first round
2 training 60 200 steps of GPT-2 124M twice: the same bits
2 pytorch 110 the step beside compiled PyTorch with cuDNN'"'"'s attention, one round
2 sanitizer 90 memcheck and racecheck: attention, cross-entropy, layer norm, sort
2 counters 40 hardware counters of six kernels
2 models 50 steps of GPT-2 350M, 774M and 1558M'

rounds='1 2' out=build/gpu_check carried='' python=python3 minutes=9.5 only='' show_plan='' packed=''
[ ! -d build/gpu_carry ] || carried=build/gpu_carry
all_stages=$(awk '!seen[$2]++ { printf "%s%s", (NR > 1 ? " " : ""), $2 }' <<<"$plan")
while [ $# -gt 0 ]; do
  case "$1" in
    --help) usage; exit 0 ;;
    --plan) show_plan=yes; shift ;;
    --round | --out | --carried | --python | --commit | --minutes | --only | --pack)
      [ $# -ge 2 ] || fail_usage "$1 needs a value"
      case "$1" in
        --round) rounds=$2 ;;
        --out) out=$2 ;;
        --carried) carried=$2 ;;
        --python) python=$2 ;;
        --commit) export TEMPER_COMMIT=$2 ;;
        --minutes) minutes=$2 ;;
        --only) only=${2//,/ } ;;
        --pack) packed=$2 ;;
      esac
      shift 2 ;;
    *) fail_usage "unknown argument $1" ;;
  esac
done
[[ $rounds =~ ^(1|2|1 2)$ ]] || fail_usage "--round $rounds: it is 1 or 2"
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail_usage "--minutes $minutes is no number"
for each in $only; do
  [[ " $all_stages " == *" $each "* ]] || fail_usage "--only $each: stages are $all_stages"
done
[ -z "$carried" ] || [ -d "$carried" ] || fail_usage "--carried $carried is no folder"
command -v "$python" >/dev/null || fail_usage "--python $python: not found"

# What was asked for, as lines of the plan; a stage that is in both rounds runs once.
chosen=$(awk -v rounds=" $rounds " -v only=" $only " \
  'index(rounds, " " $1 " ") && (only == "  " || index(only, " " $2 " ")) && !seen[$2]++' <<<"$plan")
if [ -n "$show_plan" ]; then
  awk '{ what = $0; sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", what); printf "round %s  %-11s %4d s  %s\n", $1, $2, $3, what
         sum[$1] += $3 }
       END { for (r = 1; r <= 2; ++r) if (r in sum) printf "round %d: %d s\n", r, sum[r] }' <<<"$chosen"
  exit 0
fi

# ---- The machine ------------------------------------------------------------------------------------------------------

root=$PWD
work=$root/build/gpu_check
program=$work/program  # a link to the build, or to what was carried
temper=$program/temper
logs=$work/logs
[ -z "$carried" ] || carried=$(cd "$carried" && pwd)
# A copy without .git is of the commit that the programs carried with it are of.
if [ -z "${TEMPER_COMMIT:-}" ] && [ -f "$carried/prebuilt/commit" ] && ! git rev-parse HEAD >/dev/null 2>&1; then
  TEMPER_COMMIT=$(cat "$carried/prebuilt/commit")
  export TEMPER_COMMIT
fi
PATH=$PATH:/usr/local/cuda/bin:$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
export PATH root program temper work logs out carried python
export OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

if [ -n "$packed" ]; then
  source scripts/gpu/build.sh
  pack "$packed" "$root/build/gpu_pack"
  exit
fi

if ! gpus=$(nvidia-smi -L 2>&1) || [[ $gpus != *GPU* ]]; then
  echo "gpu_check.sh: no GPU here: ${gpus:-nvidia-smi lists none}" >&2
  for built in "$temper" build/cuda/temper build/release/temper; do
    if [ -x "$built" ]; then
      echo "temper doctor says: cuda $("$built" doctor 2>&1 | sed -n 's/^cuda *//p')" >&2
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
"$python" scripts/compare/provenance.py >"$work/about.json"

# ---- Running the stages -----------------------------------------------------------------------------------------------

table=$work/stages.tsv
: >"$table"
deadline=$(awk "BEGIN { print int($minutes * 60) }")
built=yes running=''

# STAGE RESULT SECONDS DETAIL; and what there is by now goes to the results.
record() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$table"
  tar -C "$work" -czf "$work/logs.tar.gz" logs
  mv "$work/logs.tar.gz" "$out/gpu_${gpu}_logs.tar.gz"
  "$python" scripts/gpu/check_report.py "$work/about.json" "$table" "$SECONDS" "$out/gpu_${gpu}_check.json"
}

run_stage() {  # STAGE SECONDS
  local name=$1 limit=$((2 * $2)) log=$logs/$1.log started=$SECONDS status=0 detail
  local left=$((deadline - SECONDS))
  if [ "$left" -lt 5 ]; then
    record "$name" fail 0 "not started: no time left of $minutes minutes"
    return 0
  fi
  [ "$name" != build ] || limit=300
  if [ "$name" != build ] && [ "$name" != attention ] && { [ "$built" = no ] || [ ! -x "$temper" ]; }; then
    record "$name" skip 0 "there is no build"
    return 0
  fi
  printf '== %s\n' "$name" >&2
  # In the background, so that a signal to this script need not wait for the stage.
  timeout --kill-after=15 "$((limit < left ? limit : left))" \
    bash -euo pipefail -c 'source scripts/gpu/build.sh; source scripts/gpu/stages.sh; "$0"' "$name" </dev/null >"$log" 2>&1 &
  running=$name
  process=$!
  wait "$process" || status=$?
  running=''
  detail=$(last_line "$log")
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
    tail -n 30 "$log" >&2
    [ "$name" != build ] || built=no
  fi
  case "$status" in
    0) record "$name" pass $((SECONDS - started)) "$detail" ;;
    77) record "$name" skip $((SECONDS - started)) "$detail" ;;
    124 | 137) record "$name" fail $((SECONDS - started)) "stopped at its time limit; last: $detail" ;;
    *) record "$name" fail $((SECONDS - started)) "exit $status: $detail" ;;
  esac
}

last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | tr '\t' ' ' | cut -c1-400 || true; }

failed() { grep -q -P '^[^\t]+\tfail\t' "$table"; }
passed() { grep -q -P "^$1\tpass\t" "$table"; }

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$running" ]; then
    kill "$process" 2>/dev/null || true
    wait "$process" || true
    record "$running" fail 0 "interrupted; last: $(last_line "$logs/$running.log")"
  fi
  printf '\n%-12s%-8s%7s  %s\n' stage result seconds detail
  awk -F '\t' '{ printf "%-12s%-8s%7d  %s\n", $1, $2, $3, $4 }' "$table"
  echo "results: $out"
  if failed; then
    status=1
  elif passed operations && passed parity; then
    "$temper" doctor --gpu-checked
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

while read -r _ stage seconds _; do
  run_stage "$stage" "$seconds"
done <<<"$chosen"
