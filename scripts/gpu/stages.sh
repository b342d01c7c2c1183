# What scripts/gpu_check.sh runs on a GPU: a function a stage, each in a shell of its own with that script's variables. The last line that a
# stage prints is its result in words; exit code 77 is a skip. What it measures is on disk as soon as it is measured, since it may be
# stopped at any moment.
# shellcheck shell=bash disable=SC2154

source scripts/gpu/sizes.sh

skip() { echo "$1"; exit 77; }

build() {
  if [ -n "$carried" ] && try_prebuilt "$carried/prebuilt"; then
    ln -sfn "$carried/prebuilt" "$program"
  else
    if [ -n "$carried" ]; then use_carried "$carried" "$work/unpacked"; fi
    configure "$root/build/cuda"
    compile "$root/build/cuda"
    ln -sfn "$root/build/cuda" "$program"
  fi
  "$temper" --version
}

doctor() {
  local said
  said=$("$temper" doctor)
  echo "$said"
  if grep -q '^cuda *not available' <<<"$said"; then return 1; fi
  sed -n 's/^cuda *//p' <<<"$said"
}

smoke() { "$temper" bench step --device cuda --precision bf16 "${smoke[@]}"; }

# In several processes, since half of the work is the reference on the CPU. Each one's log says how far it came.
#   run_tests NAME PROCESSES EXECUTABLE FILTER [PREFIX...]
run_tests() {
  local name=$1 processes=$2 executable=$3 filter=$4 pids=() failed=0 passed pid i
  shift 4
  for ((i = 0; i < processes; ++i)); do
    GTEST_TOTAL_SHARDS=$processes GTEST_SHARD_INDEX=$i OMP_NUM_THREADS=2 \
      "$@" "$executable" --gtest_filter="$filter" >"$logs/$name.$i.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=$((failed + 1))
  done
  grep -hvE '^\[( RUN|       OK|---|===)|^$' "$logs/$name".*.log || true
  passed=$(cat "$logs/$name".*.log | awk '/^\[  PASSED  \]/ { n += $4 } END { print n + 0 }')
  echo "$name: $passed tests passed, $failed of $processes processes failed"
  # A filter that finds nothing checks nothing.
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

# Tests that run on the GPU, by their names: tests/kernels/support/backends.h.
on_gpu='*/cuda:*_on_cuda'

operations() { run_tests operations 8 "$program/tests/temper_kernels_tests" "$on_gpu"; }

parity() { run_tests parity 1 "$program/tests/temper_train_tests" '*Backends*/Cuda'; }

nccl() {
  local status=0
  run_tests nccl 1 "$program/tests/temper_distributed_tests" 'NcclCommunicator.*' || status=$?
  if grep -q 'this build of temper has no NCCL' "$logs/nccl.0.log"; then skip "this build of temper has no NCCL"; fi
  return "$status"
}

# measured NAME REPORT...: writes those of the reports that are there to the results.
measured() {
  local name=$1 report reports=()
  shift
  for report in "$@"; do
    if [ -s "$report" ]; then reports+=("$report"); fi
  done
  if [ ${#reports[@]} -gt 0 ]; then
    "$python" scripts/compare/provenance.py --out "$work/$name" "${reports[@]}"
    mv "$work/$name" "$out/$name"
  fi
}

bench_step() {  # MODEL BATCH
  "$temper" bench step --device cuda --precision bf16 --model "$1" --batch "$2" "${timed[@]}" --json "$work/step_$1.json"
}

step() {
  local model batch
  read -r model batch <<<"$step_model"
  rm -f "$work/step_$model.json"
  bench_step "$model" "$batch"
  measured "gpu_${gpu}_$model.json" "$work/step_$model.json"
}

models() {
  local model batch failed='' files=()
  while read -r model batch; do
    files+=("$work/step_$model.json")
    rm -f "$work/step_$model.json"
    bench_step "$model" "$batch" || failed+=" $model"
    measured "gpu_${gpu}_models.json" "${files[@]}"
  done <<<"$other_models"
  if [ -n "$failed" ]; then
    echo "failed:$failed"
    return 1
  fi
  echo "gpu_${gpu}_models.json"
}

kernels() {
  local status=0
  rm -f "$work/kernels.json"
  trap : TERM  # at its time limit temper ends, and what it has measured goes to the results
  "$temper" bench kernels --device cuda --precision bf16 "${kernels[@]}" --json "$work/kernels.json" || status=$?
  measured "gpu_${gpu}_kernels_bf16.json" "$work/kernels.json"
  echo "gpu_${gpu}_kernels_bf16.json"
  return "$status"
}

needs_torch() { "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' || skip "$python has no PyTorch"; }

attention() {
  needs_torch
  "$python" scripts/compare/bench_attention.py "${attention[@]}" --json "$out/gpu_${gpu}_attention.json"
  echo "gpu_${gpu}_attention.json"
}

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

# GPT-2 124M, steps of two micro-batches, twice: the same bits, and something learnt.
training() {
  local run
  rm -rf "$work/runs"
  mkdir -p "$work/runs"
  make_shard "$work/runs/tokens.bin"
  for run in first second; do
    "$temper" train configs/gpt2-124m.json device=cuda "data.train=$work/runs/tokens.bin" data.val=[] data.tokenizer= \
      data.shuffle=true "${training[@]}" "train.steps=$training_steps" eval.every=0 checkpoint.every=0 checkpoint.keep=1 log.every=1 \
      --out "$work/runs/$run"
  done
  "$python" - "$work/runs" "$training_steps" "$training_learns" <<'PY'
import sys
from pathlib import Path

sys.path.insert(0, "tests/integration")
from harness import check, final_bytes, metrics

first, second, steps = Path(sys.argv[1], "first"), Path(sys.argv[1], "second"), int(sys.argv[2])
lines = metrics(first)
check(len(lines) == steps, f"{len(lines)} lines of metrics instead of {steps}")
check(lines == metrics(second), "metrics.jsonl of the two runs differ beyond timing")
here, there = final_bytes(first), final_bytes(second)
for name in here:
    check(here[name] == there[name], f"{name} of the two runs differ")
loss = [lines[0]["loss"], lines[-1]["loss"]]
check(loss[1] < loss[0] - float(sys.argv[3]), f"nothing was learnt: loss {loss[0]:.3f} -> {loss[1]:.3f}")
print(f"{steps} steps twice: the same bits; loss {loss[0]:.3f} -> {loss[1]:.3f}")
PY
  rm -rf "$work/runs"
}

pytorch() {
  needs_torch
  "$python" scripts/compare/compare_step.py "${pytorch[@]}" --device cuda --temper "$temper" --python "$python" --variants compiled --attention cudnn \
    --rounds 1 --json "$out/gpu_${gpu}_step.json"
  echo "gpu_${gpu}_step.json"
}

# Where threads share memory by hand: tiles of attention, rows in shared memory, the sort of embedding_backward.
sanitized='*OpOracle*attention_*_D_64*_on_cuda:*OpOracle*cross_entropy*_on_cuda:*OpOracle*layernorm*_on_cuda'
sanitized+=':*OpOracle*embedding_backward*_on_cuda'

sanitizer() {
  local sanitize tool pids=() tools=(memcheck racecheck) filter failed='' i
  sanitize=$(command -v compute-sanitizer || compgen -G '/usr/local/cuda*/compute-sanitizer/compute-sanitizer' | head -n 1) ||
    skip "compute-sanitizer is not installed"
  for tool in "${tools[@]}"; do
    filter=()
    # Races are looked for in temper's kernels, whose mangled names hold its namespace; not in cuBLAS's.
    if [ "$tool" = racecheck ]; then filter=(--kernel-name kns=temper); fi
    run_tests "$tool" 4 "$program/tests/temper_kernels_tests" "$sanitized" \
      "$sanitize" --tool "$tool" --error-exitcode 9 --print-limit 20 "${filter[@]}" &
    pids+=($!)
  done
  for i in "${!tools[@]}"; do
    wait "${pids[$i]}" || failed+=" ${tools[$i]}"
  done
  if [ -n "$failed" ]; then
    echo "not clean:$failed"
    return 1
  fi
  echo "clean: ${tools[*]}"
}

# Kernels whose hardware counters are read, each with the operation that launches it.
counted='forward_tiles_kernel attention_forward
query_gradient_kernel attention_backward
key_gradient_kernel attention_backward
cross_entropy_kernel cross_entropy
backward_kernel layernorm_backward
optimizer_update_kernel optimizer_update'

# Of the second launch of each kernel, in the benchmark of its operation. The machine's clocks are left alone.
counters() {
  local profile kernel operation
  profile=$(command -v ncu || compgen -G '/usr/local/cuda*/bin/ncu' | head -n 1) || skip "ncu is not installed"
  while read -r kernel operation; do
    echo "== $kernel"
    "$profile" --clock-control none --section SpeedOfLight --section MemoryWorkloadAnalysis --section LaunchStats --section Occupancy \
      --section WarpStateStats --kernel-name "regex:$kernel" --launch-skip 1 --launch-count 1 \
      "$temper" bench kernels --device cuda --precision bf16 "${counters[@]}" --op "$operation" |
      tee "$logs/counters.$kernel.log"
    # Where the counters may not be read, ncu says so and ends with 0.
    if ! grep -q 'DRAM Throughput' "$logs/counters.$kernel.log"; then
      echo "no counters of $kernel: $(grep -m 1 '==ERROR==' "$logs/counters.$kernel.log" || echo 'no such kernel was launched')"
      return 1
    fi
  done <<<"$counted"
  echo "counters of $(wc -l <<<"$counted") kernels"
}
