"""gpu_check.py TEMPER REPOSITORY KERNEL_TESTS: scripts/gpu_check.sh without a GPU.

The plan; what its filters choose, by the names of this machine's backends; that `temper bench kernels` leaves a whole file when it is killed; and its
course with a made-up nvidia-smi and made-up programs: results and logs come out when a stage ends, a failure or a signal costs no more than its stage,
and a check is only remembered where nothing failed.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_machine import TESTS, Machine
from harness import check

# Stands in for temper: FAKE is a folder for what it is told (hang) and what it tells (checked).
TEMPER = """#!/bin/bash
json=''
for ((i = 1; i <= $#; ++i)); do [ "${!i}" != --json ] || { j=$((i + 1)); json=${!j}; }; done
case "$1 $2" in
  '--version '*) echo 'temper 0.2.0, fake' ;;
  'doctor --gpu-checked') touch "$FAKE/checked" ;;
  'doctor '*) printf 'temper 0.2.0\\ncuda        NVIDIA Fake, 1 multiprocessors\\n' ;;
  'bench '*)
    [ -z "$json" ] || echo '{"context": {"device": "fake"}, "benchmarks": [{"run_name": "made/up"}]}' >"$json.new"
    [ -z "$json" ] || mv "$json.new" "$json"
    while [ "$2" = kernels ] && [ -e "$FAKE/hang" ]; do sleep 0.05; done
    echo "$*" ;;
  *) exit 9 ;;
esac
"""
TEST_PROGRAM = """#!/bin/bash
if [ -e "$FAKE/fail" ] && [ "$GTEST_SHARD_INDEX" = 3 ]; then echo '[  FAILED  ] OpOracle.made_up'; exit 1; fi
echo "[ RUN      ] $1"
echo '[  PASSED  ] 5 tests.'
"""
CHECKED = "build,doctor,smoke,operations,step,kernels,parity,nccl"


def names_of(tests: str, *options: str) -> list[str]:
    said = subprocess.run([tests, "--gtest_list_tests", *options], capture_output=True, text=True, check=True).stdout
    names, suite = [], ""
    for line in said.splitlines():
        name = line.split("#")[0].rstrip()
        if line.startswith("  "):
            names.append(suite + name.strip())
        else:
            suite = name
    return names


def the_plan(root: Path) -> None:
    def plan(*options: str) -> list[str]:
        done = subprocess.run([root / "scripts/gpu_check.sh", "--plan", *options], capture_output=True, text=True, check=False)
        check(done.returncode == 0, f"--plan ended with {done.returncode}: {done.stderr}")
        return done.stdout.splitlines()

    stages = {number: [line.split()[2] for line in plan("--round", number) if line.startswith(f"round {number} ")] for number in "12"}
    first = "build doctor smoke operations step kernels parity nccl attention"
    check(stages["1"] == first.split(), f"the first round is {stages['1']}")
    check(stages["2"] == "build training pytorch sanitizer counters models".split(), f"the second round is {stages['2']}")
    for number, most in (("1", 280), ("2", 360)):
        seconds = sum(int(found.group(1)) for line in plan("--round", number) if (found := re.search(r" (\d+) s  ", line)))
        check(seconds <= most and f"round {number}: {seconds} s" in plan("--round", number), f"round {number} takes {seconds} s")
    check(len(plan("--only", "step,nccl")) == 3, "--only step,nccl is not two stages and their sum")


def the_filters(root: Path, tests: str) -> None:
    """On a GPU they choose CUDA's tests and no others: with another backend's name in its place they choose that backend's."""
    script = (root / "scripts/gpu/stages.sh").read_text()
    on_gpu = re.search(r"^on_gpu='(.*)'$", script, re.MULTILINE).group(1)
    sanitized = "".join(re.findall(r"^sanitized\+?='(.*)'$", script, re.MULTILINE))
    every = names_of(tests)
    backends = {found.group(1) for name in every if (found := re.search(r"OpOracle.*_on_(\w+?)$", name))}
    check({"cpu_baseline", "emulated_shuffled_eager"} <= backends, f"the oracle tests run on {backends}")
    oracles = set()
    for backend in backends:
        chosen = names_of(tests, f"--gtest_filter={on_gpu.replace('cuda', backend)}")
        wanted = [name for name in every if name.endswith((f"/{backend}", f"_on_{backend}"))]
        check(chosen == wanted, f"{backend}: {set(chosen) ^ set(wanted)}")
        check(not any(other in name for name in chosen for other in backends - {backend}), f"{backend}: others' tests are chosen")
        oracles.add(sum("OpOracle" in name for name in chosen))
        fewer = names_of(tests, f"--gtest_filter={sanitized.replace('cuda', backend)}")
        check(set(fewer) < set(chosen), "compute-sanitizer gets tests that `operations` does not")
        for operation in ("attention_forward", "attention_backward", "cross_entropy", "layernorm_backward", "embedding_backward"):
            check(any(operation in name for name in fewer), f"compute-sanitizer gets no {operation}")
    check(len(oracles) == 1 and oracles != {0}, f"the backends have {oracles} oracle tests")
    # Whatever names no backend runs on the CPU, or on all of them in turn.
    sources = "".join(path.read_text() for path in (root / "tests/kernels").glob("*.cpp"))
    check("choice : all_backends()" not in sources, "a test runs on all backends under one name, so that no filter can choose one")
    kernels = "".join(path.read_text() for path in (root / "kernels/cuda").glob("*.cu"))
    counted = re.search(r"^counted='(.*?)'$", script, re.MULTILINE | re.DOTALL).group(1).splitlines()
    for line in counted:
        check(re.search(rf"\b{line.split()[0]}\(", kernels), f"counters of {line.split()[0]}, which kernels/cuda does not have")


def a_killed_benchmark(temper: str, folder: Path) -> None:
    report = folder / "kernels.json"
    command = [temper, "bench", "kernels", "--device", "cpu", "--batch", "1", "--context", "64", "--json", report]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def measured() -> tuple[dict, set[str]]:
        content = json.loads(report.read_text()) if report.exists() else {"benchmarks": []}
        return content, {each["run_name"] for each in content["benchmarks"] if not each["run_name"].startswith("ceiling/")}

    while len(measured()[1]) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    content, names = measured()
    check(len(names) >= 2, f"killed in its course, it left {names}")
    context = content["context"]
    check(context["complete"] == (process.returncode == 0), f"complete is {context['complete']}, exit {process.returncode}")
    check(context["copy_bytes_per_second"] > 0 and all(each["share_of_floor"] > 0 for each in content["benchmarks"] if each["run_name"] in names), "no floor")


def made_up(root: Path, folder: Path) -> Machine:
    machine = Machine(root, folder)
    machine.put(machine.prebuilt / "temper", TEMPER)
    for room in TESTS:
        machine.put(machine.prebuilt / f"tests/temper_{room}_tests", TEST_PROGRAM)
    return machine


def its_course(machine: Machine) -> None:
    machine.run(0, "--round", "1", "--only", CHECKED)
    stages = machine.stages()
    check(list(stages) == CHECKED.split(","), f"it ran {list(stages)}")
    check({stage["result"] for stage in stages.values()} == {"pass"}, f"not all passed: {stages}")
    check(stages["operations"]["detail"] == "operations: 40 tests passed, 0 of 8 processes failed", stages["operations"]["detail"])
    check((machine.state / "checked").exists(), "a check without a failure was not remembered")
    for name in ("124m", "kernels_bf16"):
        report = json.loads((machine.out / f"gpu_fake_{name}.json").read_text())
        check(report["machine"]["gpu"] == "NVIDIA Fake" and report["commit"] == "abc", f"{name} does not say where it was measured: {report}")
    check({"doctor.log", "operations.log", "operations.7.log", "nccl.log"} <= machine.logs(), f"logs of {machine.logs()}")
    check(len(list(machine.out.iterdir())) == 4, f"in the results there are {list(machine.out.iterdir())}")

    # What passed before without the whole is no check.
    machine.run(0, "--only", "build,doctor,step")
    check(not (machine.state / "checked").exists(), "three stages were taken for a check")

    (machine.state / "fail").touch()
    machine.run(1, "--round", "1", "--only", CHECKED)
    (machine.state / "fail").unlink()
    stages = machine.stages()
    check(stages["operations"]["result"] == "fail" and "1 of 8 processes failed" in stages["operations"]["detail"], f"{stages['operations']}")
    check(stages["parity"]["result"] == "pass" and len(stages) == 8, f"a failure stopped the others: {stages}")
    check(not (machine.state / "checked").exists(), "a failed check was remembered")


def a_signal(machine: Machine) -> None:
    (machine.state / "hang").touch()
    process = machine.start("--only", CHECKED)
    hanging = machine.folder / "build/gpu_check/kernels.json"
    hanging.unlink(missing_ok=True)
    while not (hanging.exists() and "step" in machine.stages()) and process.poll() is None:
        time.sleep(0.05)
    check(process.poll() is None, f"it ended by itself:\n{process.communicate()[0] if process.poll() is not None else ''}")
    # What has ended is among the results already.
    check(list(machine.stages()) == CHECKED.split(",")[:5], f"in the middle of it the results have {list(machine.stages())}")
    check("operations.log" in machine.logs(), "in the middle of it the logs are not there")
    check((machine.out / "gpu_fake_124m.json").exists(), "in the middle of it the step is not there")
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[0]
    (machine.state / "hang").unlink()
    check(process.returncode == 1, f"exit {process.returncode}:\n{said}")
    stages = machine.stages()
    check(stages["kernels"]["result"] == "fail" and "interrupted" in stages["kernels"]["detail"], f"{stages}")
    check("kernels.log" in machine.logs() and (machine.out / "gpu_fake_kernels_bf16.json").exists(), "what was measured before the signal is lost")
    check(not (machine.state / "checked").exists(), "an interrupted check was remembered")


def refusals(machine: Machine) -> None:
    machine.run(1, "--only", "build,doctor", commit="other")
    stages = machine.stages()
    check(stages["build"]["result"] == "fail" and stages["doctor"]["detail"] == "there is no build", f"programs of another commit: {stages}")
    log = machine.log("build")
    check("is of commit abc, this tree of other" in log, f"the log of the build: {log}")
    for options, says in ((("--round", "3"), "--round 3"), (("--only", "steps"), "stages are build doctor"), (("--minutes", "x"), "--minutes x")):
        check(says in machine.run(2, *options), f"{options} is not refused by name")
    (machine.folder / "bin/nvidia-smi").write_text("#!/bin/sh\necho 'no devices were found'\n")
    check("no GPU here: no devices were found" in machine.run(2), "without a GPU it does not say so")


def main() -> None:
    temper, root, tests = sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3]
    the_plan(root)
    the_filters(root, tests)
    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        a_killed_benchmark(temper, Path(folder))
    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        machine = made_up(root, Path(folder))
        for case in (its_course, a_signal, refusals):
            case(machine)
            print(f"{case.__name__}: as it should be", flush=True)


main()
