"""gpu_rehearsal.py TEMPER REPOSITORY REHEARSAL KERNEL_TESTS TRAIN_TESTS DISTRIBUTED_TESTS: both rounds of scripts/gpu_check.sh, every stage, in small.

temper is REHEARSAL, whose GPU is the emulated one, so that each stage's commands meet the options of the real program and its results are made by it.
The tests are those of the emulated GPU where the script asks for CUDA's, one of many. NVIDIA's programs and PyTorch are scripts that check what they
are asked: compute-sanitizer and ncu know the options that the stages use and run what they are given, PyTorch's benchmarks are read by their own
parsers and measure nothing. So what this cannot show is that NVIDIA's programs say what the stages look for, and how long a stage takes.
Then a stage whose command is wrong, and one that hangs.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from gpu_machine import TESTS, Machine
from harness import check

SIZES = """
smoke=(--model tiny --batch 1 --context 16 --warmup 1 --steps 2)
timed=(--context 16 --warmup 1 --steps 2)
step_model='tiny 2'
other_models='tiny 1'
kernels=(--model tiny --batch 1 --context 16 --repetitions 1 --min-time 0 --warm-cache)
counters=("${kernels[@]}")
training=(model.n_layer=1 model.n_embd=64 model.n_head=1 model.n_ctx=32 model.vocab_size=512 batch.tokens_per_step=256 batch.micro_batch=4
  schedule.warmup_steps=1 optimizer.learning_rate=0.01)
training_steps=6
training_learns=0.02
attention=(--batch 1 --heads 1 --context 16 --warmup 1 --repetitions 2 --calls 1)
pytorch=(--model tiny --batch 1 --context 16 --threads 1 --warmup 1 --steps 1)
"""
ONE_OF = {"kernels": 40, "train": 1, "distributed": 1}  # tests
# GoogleTest's shards choose one of many; a shard without a test is none.
SOME_TESTS = """#!/bin/bash
filter=$(sed 's/NcclCommunicator/EmulatedNccl/; s/Cuda/Emulated/g; s/cuda/emulated_shuffled_eager/g' <<<"$1")
export GTEST_TOTAL_SHARDS=$((GTEST_TOTAL_SHARDS * {one_of}))
exec {program} "$filter" --gtest_brief=0
"""
# PROGRAM OPTION... COMMAND: options with a value, those without, what is said before the command runs.
AROUND = """#!/bin/bash
echo "$*" >>"$FAKE/{name}"
while [ $# -gt 0 ]; do
  case "$1" in
    {options}) shift 2 ;;
    -*) echo "{name}: unknown option $1"; exit 1 ;;
    *) break ;;
  esac
done
{before}
exec "$@"
"""
PYTHON = """#!/bin/bash
case "$1" in
  *bench_attention.py | *bench_step.py) exec {python} "$FAKE/asked.py" "$@" ;;
esac
exec {python} "$@"
"""
TORCH = '''
import sys, types
__version__ = "0"

class Anything(type):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Thing

class Thing(metaclass=Anything):
    def __call__(self, *given):
        return given[0]

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return Thing

compile = Thing
for name in ("nn", "nn.functional", "nn.attention"):
    module = types.ModuleType("torch." + name)
    module.__getattr__ = __getattr__
    sys.modules["torch." + name] = module
'''
ASKED = '''
import importlib.util, json, os, sys
from pathlib import Path

sys.argv = sys.argv[1:]
script = Path(sys.argv[0])
sys.path.insert(0, str(script.parent))
spec = importlib.util.spec_from_file_location("asked", script)
module = importlib.util.module_from_spec(spec)
sys.modules["asked"] = module
spec.loader.exec_module(module)
arguments = module.parse_arguments()
with open(Path(os.environ["FAKE"], script.stem), "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
seconds = {"median": 1.0, "p10": 1.0, "p90": 1.0}
step = {"tokens_per_second": 1.0, "step_seconds": seconds, "peak_rss_bytes": 1, "peak_device_bytes": 1}
arguments.json.write_text(json.dumps(step if script.stem == "bench_step" else {"results": [{"name": "forward", "seconds": seconds}]}))
'''
ROUNDS = {
    "1": "build doctor smoke operations step kernels parity nccl attention".split(),
    "2": "build training pytorch sanitizer counters models".split(),
}


def rehearsal(root: Path, folder: Path, temper: str, tests: tuple[str, ...]) -> Machine:
    machine = Machine(root, folder)
    sizes, small = (set(re.findall(r"^(\w+)=", text, re.MULTILINE)) for text in ((root / "scripts/gpu/sizes.sh").read_text(), SIZES))
    check(sizes == small, f"sizes.sh and the rehearsal differ in what they give sizes for: {sizes ^ small}")
    (folder / "scripts/gpu/sizes.sh").write_text(SIZES)
    # A busy machine is no GPU: stages may take as long as they like.
    script = folder / "scripts/gpu_check.sh"
    text = script.read_text()
    check("limit=$((2 * $2))" in text, "gpu_check.sh limits its stages in another way")
    script.write_text(text.replace("limit=$((2 * $2))", "limit=$((60 * $2))"))
    shutil.copytree(root / "configs", folder / "configs")
    (folder / "tests/integration").mkdir(parents=True)
    shutil.copy(root / "tests/integration/harness.py", folder / "tests/integration")
    (machine.prebuilt / "temper").symlink_to(temper)
    for room, program in zip(TESTS, tests, strict=True):
        machine.put(machine.prebuilt / f"tests/temper_{room}_tests", SOME_TESTS.format(program=program, one_of=ONE_OF[room]))
    sanitizer = "--tool | --error-exitcode | --print-limit | --kernel-name"
    machine.put(folder / "bin/compute-sanitizer", AROUND.format(name="compute-sanitizer", options=sanitizer, before=""))
    counters = "--clock-control | --section | --kernel-name | --launch-skip | --launch-count"
    machine.put(folder / "bin/ncu", AROUND.format(name="ncu", options=counters, before="echo 'DRAM Throughput'"))
    machine.put(folder / "bin/python-with-torch", PYTHON.format(python=sys.executable))
    (machine.state / "asked.py").write_text(ASKED)
    (machine.state / "torch").mkdir()
    (machine.state / "torch/__init__.py").write_text(TORCH)
    return machine


def both_rounds(machine: Machine) -> None:
    for number, names in ROUNDS.items():
        started = time.monotonic()
        said = machine.run(0, "--round", number, "--python", "python-with-torch", "--minutes", "20", keep=True)
        stages = machine.stages()
        check([name for name in names if stages.get(name, {}).get("result") != "pass"] == [], f"round {number}: not all passed: {stages}\n{said}")
        for name in names:
            check(f"\n{name} " in said and f"{name}.log" in machine.logs(), f"round {number}: {name} is not in the table, or its log is lost:\n{said}")
        print(f"round {number}: {time.monotonic() - started:.0f} s: " + ", ".join(f"{name} {stages[name]['seconds']}" for name in names))
    check(len(machine.stages()) == 14, f"the second round's results have lost the first one's: {list(machine.stages())}")
    results = {path.name: json.loads(path.read_text()) for path in machine.out.glob("*.json")}
    whole = {f"gpu_fake_{name}.json" for name in ("check", "tiny", "kernels_bf16", "attention", "step", "models")}
    check(set(results) == whole, f"results are {set(results)} instead of {whole}")
    for name in ("tiny", "models", "kernels_bf16"):
        report = results[f"gpu_fake_{name}.json"]
        check(report["machine"]["gpu"] == "NVIDIA Fake" and report["commit"] == "abc" and report["benchmarks"], f"{name} is not whole: {report}")
    names = {each["run_name"].split("/")[0] for each in results["gpu_fake_kernels_bf16.json"]["benchmarks"]}
    check({"ceiling", "attention_forward", "optimizer_update"} <= names, f"kernels were measured: {names}")
    step = [row for row in results["gpu_fake_step.json"]["results"] if "error" not in row]
    check([row["name"].split()[0] for row in step] == ["temper", "PyTorch"], f"the step beside PyTorch: {results['gpu_fake_step.json']}")
    check("nothing wrong" in (machine.folder / "cache/temper/gpu_choices").read_text(), "a check without a failure was not remembered")
    asked = {path.name: path.read_text().splitlines() for path in machine.state.iterdir() if path.is_file()}
    check(len(asked["ncu"]) == 6 and all("--device cuda" in line for line in asked["ncu"]), f"ncu was asked: {asked['ncu']}")
    tools = {line.split()[1] for line in asked["compute-sanitizer"]}
    check(tools == {"memcheck", "racecheck"}, f"compute-sanitizer was asked for {tools}")
    check("--compile" in asked["bench_step"][0] and "--device cuda" in asked["bench_step"][0], f"PyTorch was asked: {asked['bench_step']}")


def a_wrong_command(machine: Machine) -> None:
    """What the program says against it is in the log, and the stages behind it run."""
    sizes = machine.folder / "scripts/gpu/sizes.sh"
    sizes.write_text(SIZES + "smoke+=(--micro-batch 4)\n")
    said = machine.run(1, "--only", "build,smoke,step", "--minutes", "20")
    stages = machine.stages()
    check({name: stage["result"] for name, stage in stages.items()} == {"build": "pass", "smoke": "fail", "step": "pass"}, f"{stages}")
    check("--micro-batch" in machine.log("smoke") and "--micro-batch" in said, f"it is not said what was wrong:\n{said}")
    sizes.write_text(SIZES)


def a_hang(machine: Machine) -> None:
    machine.put(machine.prebuilt / "tests/temper_train_tests", "#!/bin/sh\necho 'as far as here'\nexec sleep 600\n")
    machine.run(1, "--only", "build,parity", "--minutes", "0.12")
    parity = machine.stages()["parity"]
    check(parity["result"] == "fail" and parity["detail"].startswith("stopped at its time limit"), f"{parity}")
    check("as far as here" in machine.log("parity.0"), "the log of what hung is lost")


def main() -> None:
    root, temper, tests = Path(sys.argv[2]).resolve(), sys.argv[3], tuple(sys.argv[4:7])
    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        machine = rehearsal(root, Path(folder), temper, tests)
        for case in (both_rounds, a_wrong_command, a_hang):
            started = time.monotonic()
            case(machine)
            print(f"{case.__name__}: as it should be, in {time.monotonic() - started:.0f} s", flush=True)


main()
