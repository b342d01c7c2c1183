#!/usr/bin/env python3
"""Plants faults in copies of the CUDA sources, one after another, and counts which of them the tests find.

    tests/audit/plant_faults.py build/release [--sample 20] [--seed 1] [--seconds 7200] [--kind barrier]

Each fault is one edit: a barrier, __syncwarp, wait or commit left out, an index or a bound off by one, a stride that conflicts, a
store by every thread in place of one. The file is compiled as for the audit, linked in front of the rest, and run twice: the
audit's tests of its family (tests/audit) and the comparison with double precision (tests/kernels/op_oracle_test.cpp) on the emulated
GPU. Faults are drawn from all that there are, kind after kind, until the sample or the time is used up. Prints a table by kind and
every fault that neither found. The build must hold temper_audit_tests.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels" / "cuda"
TEST_SECONDS = 600

# Where faults are planted: the sources that are compiled anew, and the operations whose tests are run.
FAMILIES = {
    "attention_backward.cu": (["attention_backward.cu"], "attention_backward"),
    "attention_cached.cu": (["attention_cached.cu"], "attention_cached"),
    "attention_forward.cu": (["attention_forward.cu"], "attention_forward"),
    "attention_general.cu": (["attention_general.cu"], "attention_*ward"),
    "attention_one_pass.cu": (["attention_one_pass.cu"], "attention_backward"),
    "attention_tiles.cuh": (["attention_forward.cu", "attention_backward.cu", "attention_one_pass.cu"], "attention_*ward"),
    "cross_entropy.cu": (["cross_entropy.cu"], "cross_entropy"),
    "diagnostics.cu": (["diagnostics.cu"], "*_statistics*:*histogram"),
    "elementwise.cu": (["elementwise.cu"], "cast*:*gelu*:*combination*:*precondition"),
    "embedding.cu": (["embedding.cu"], "embedding"),
    "layernorm.cu": (["layernorm.cu"], "layernorm"),
    "layernorm_rows.cuh": (["layernorm.cu"], "layernorm"),
    "norm_control.cu": (["norm_control.cu"], "optimizer_update*ontrolled*:*optimizer_update*otational"),
    "optimizer.cu": (["optimizer.cu"], "optimizer_update*:*decay_gradient"),
    "reduce.cuh": (["reduction.cu", "layernorm.cu"], "sum*:*global_norm*:*normalize*:*layernorm"),
    "reduction.cu": (["reduction.cu"], "sum*:*global_norm*:*normalize"),
    "row_sums.cu": (["row_sums.cu"], "layernorm_backward*:*linear_backward_weight"),
    "tensor_moments.cu": (["tensor_moments.cu"], "tensor_"),
    "token_sort.cu": (["token_sort.cu"], "embedding_backward"),
}

LEFT_OUT = {
    "barrier left out": r"__syncthreads\(\);",
    "__syncwarp left out": r"__syncwarp\(\);",
    "wait for copies left out": r"copy_async_wait<\d>\(\);",
    "commit of copies left out": r"copy_async_commit\(\);",
}
STRIDES = [
    ("pitch = tile_rows + 4", "pitch = tile_rows"),
    ("(chunk ^ (D >= 64 ? row % 8 : row / 2 % 4))", "chunk"),
    ("return (v * 32 + lane) * width;", "return (lane * vectors + v) * width;"),
    ("return (v * 32 * warps_per_row + lane) * width;", "return (lane * vectors + v) * width;"),
    ("thread % copies", "0 * thread"),
    ("(i * 32 + lane) / chunks, chunk = (i * 32 + lane) % chunks", "(i * 32 + lane) % (M * 16), chunk = (i * 32 + lane) / (M * 16)"),
    ("threadIdx.x) / chunks, chunk = static_cast<int>(threadIdx.x) % chunks",
     "threadIdx.x) % rows_at_once, chunk = static_cast<int>(threadIdx.x) / rows_at_once"),
    ("blockIdx.x) * threads + threadIdx.x) * width;\n  if (first + width <= count)",
     "threadIdx.x) * gridDim.x + blockIdx.x) * width;\n  if (first + width <= count)"),
]
ONE_THREAD = r"if \(((?:lane|thread|key_lane|threadIdx\.x|lane_of_warp\(\)|threadIdx\.x % 32) == 0)(?=\)| &&)"


@dataclass(frozen=True)
class Fault:
    kind: str
    file: str
    start: int
    end: int
    text: str  # in place of [start, end)

    def place(self, source: str) -> str:
        line = source.count("\n", 0, self.start)
        return f"{self.file}:{line + 1}: {source.splitlines()[line].strip()[:100]}"


def pointers(source: str) -> set[str]:
    """Names of arrays in memory: parameters and members that are pointers, shared arrays, tiles."""
    found = set(re.findall(r"(?:float|double|int|bfloat16|T|To|int32_t|TensorMoments|char)\s*\*\s*(?:const\s+)?(\w+)", source))
    return (found | set(re.findall(r"TEMPER_SHARED\(\w+, (\w+)", source))) - {"memory"}


def faults_in(name: str, source: str) -> list[Fault]:
    found = []
    # Without comments, at the same offsets; only device code, which ends where the host begins to launch.
    code = re.sub(r"//[^\n]*", lambda comment: " " * len(comment[0]), source)
    for kind, pattern in LEFT_OUT.items():
        found += [Fault(kind, name, m.start(), m.end(), "") for m in re.finditer(pattern, code)]
    names = "|".join(sorted(pointers(code), key=len, reverse=True))
    if names:
        for m in re.finditer(rf"\b(?:{names})\[([^\[\]]+)\]", code):
            line = code[code.rfind("\n", 0, m.start()) + 1 : m.start()]
            # A larger array than declared is no fault.
            if not re.match(r"\s*(?:const )?(?:float4?|double|int|uint4|T|Word) (?:\w+\[[^=]*)?$", line):
                found.append(Fault("index off by one", name, m.end() - 1, m.end() - 1, " + 1"))
    for m in re.finditer(r"(?:if|for) \([^;\n]*;?[^;\n<]*?\w( < )(?:a\.|reader\.)?(?:rows|columns|count|end|elements|last|vocab_size)\b",
                         code):
        found.append(Fault("bound off by one", name, m.start(1), m.end(1), " <= "))
    for old, new in STRIDES:
        found += [Fault("stride that conflicts", name, m.start(), m.end(), new) for m in re.finditer(re.escape(old), source)]
    for m in re.finditer(ONE_THREAD, code):
        found.append(Fault("stored by every thread", name, m.start(1), m.end(1), "true"))
    for m in re.finditer(r"lane == 31\b", code):
        found.append(Fault("stored by the wrong lane", name, m.start(), m.end(), "lane == 30"))
    return found


class Build:
    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder, work
        commands = json.loads((folder / "compile_commands.json").read_text())
        audited = [c for c in commands if "temper_audited_kernels.dir" in c["command"]]
        self.compile = {Path(c["file"]).name: c for c in audited}
        tests = next(c for c in commands if "temper_audit_tests.dir" in c["command"])
        self.oracle = work / "op_oracle_test.o"
        self.run_compiler(tests, ROOT / "tests" / "kernels" / "op_oracle_test.cpp", self.oracle, [])
        told = subprocess.run(["ninja", "-C", folder, "-t", "commands", "temper_audit_tests"], capture_output=True, text=True, check=True)
        self.link = next(line for line in reversed(told.stdout.splitlines()) if " -o tests/temper_audit_tests " in line)

    def run_compiler(self, command: dict, source: Path, to: Path, includes: list[str]) -> bool:
        words = shlex.split(command["command"])
        words[words.index("-o") + 1], words[words.index("-c") + 1] = str(to), str(source)
        return subprocess.run(words[:1] + includes + words[1:], cwd=command["directory"], capture_output=True).returncode == 0

    def programs(self, sources: list[str], copies: Path) -> tuple[Path, Path] | None:
        objects = []
        for source in sources:
            objects.append(self.work / (source + ".o"))
            if not self.run_compiler(self.compile[source], copies / "kernels" / "cuda" / source, objects[-1], [f"-I{copies}"]):
                return None
        audit, oracle = self.work / "audit", self.work / "oracle"
        # In front of the archive, so that its object of the same source is not wanted any more.
        given = " ".join(map(str, objects))
        own = r"\S*(?:temper_audit_tests|temper_faulty_kernels)\.dir/\S+\.o"
        for program, line in ((audit, self.link), (oracle, re.sub(own, "", self.link).replace(" -o ", f" {self.oracle} -o ", 1))):
            line = line.replace(" -o tests/temper_audit_tests ", f" {given} -o {program} ")
            subprocess.run(line, cwd=self.folder, shell=True, check=True, capture_output=True)
        return audit, oracle


def finds(program: Path, tests: str) -> bool:
    """Whether a test fails, or nothing comes of it at all."""
    try:
        ran = subprocess.run([program, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={tests}"], capture_output=True, text=True, timeout=TEST_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    if ran.returncode == 0 and not re.search(r"[1-9]\d* tests? from", ran.stdout):
        raise SystemExit(f"no test is named {tests}")
    return ran.returncode != 0


def all_faults() -> dict[str, list[Fault]]:
    by_kind: dict[str, list[Fault]] = {}
    for name in FAMILIES:
        for fault in faults_in(name, (KERNELS / name).read_text()):
            by_kind.setdefault(fault.kind, []).append(fault)
    return by_kind


def drawn(by_kind: dict[str, list[Fault]], seed: int):
    """One of each kind in turn, in an order that the seed gives."""
    shuffled = {kind: random.Random(f"{seed} {kind}").sample(faults, len(faults)) for kind, faults in by_kind.items()}
    while any(shuffled.values()):
        for faults in shuffled.values():
            if faults:
                yield faults.pop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--sample", type=int, default=10**6, help="faults at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=7200, help="no fault is begun later")
    parser.add_argument("--kind", default="", help="only kinds that contain this")
    parser.add_argument("--place", default="", help="only places that contain this: attention_tiles.cuh:61")
    parser.add_argument("--list", action="store_true", help="print every fault that could be planted")
    given = parser.parse_args()
    by_kind = {kind: [fault for fault in faults if given.place in fault.place((KERNELS / fault.file).read_text())]
               for kind, faults in all_faults().items() if given.kind in kind}
    if given.list:
        for fault in (fault for faults in by_kind.values() for fault in faults):
            print(f"{fault.kind}: {fault.place((KERNELS / fault.file).read_text())}")
        return

    began = time.monotonic()
    counts = {kind: [0, 0, 0, 0] for kind in by_kind}  # planted, found by the audit, by the oracle, by neither
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        work, copies = Path(folder), Path(folder) / "copies"
        build = Build(given.build.resolve(), work)
        shutil.copytree(KERNELS, copies / "kernels" / "cuda", ignore=shutil.ignore_patterns("device"))
        for number, fault in enumerate(drawn(by_kind, given.seed)):
            if number >= given.sample or time.monotonic() - began > given.seconds:
                break
            source = (KERNELS / fault.file).read_text()
            copy = copies / "kernels" / "cuda" / fault.file
            copy.write_text(source[: fault.start] + fault.text + source[fault.end :])
            sources, operations = FAMILIES[fault.file]
            programs = build.programs(sources, copies)
            copy.write_text(source)
            if programs is None:
                print(f"does not compile: {fault.kind}: {fault.place(source)}", flush=True)
                continue
            audit = finds(programs[0], f"*{operations}*")
            oracle = finds(programs[1], ":".join(f"*{one.strip('*')}*_on_emulated*" for one in operations.split(":")))
            for column, counted in enumerate((True, audit, oracle, not audit and not oracle)):
                counts[fault.kind][column] += counted
            by = " and ".join(name for name, found in (("audit", audit), ("oracle", oracle)) if found)
            print(f"{'found by ' + by if by else 'NOT FOUND'}: {fault.kind}: {fault.place(source)}", flush=True)
            if not by:
                missed.append(f"{fault.kind}: {fault.place(source)}")

    print(f"\n{'kind':<28}{'there are':>10}{'planted':>9}{'audit':>7}{'oracle':>8}{'neither':>9}")
    for kind, row in counts.items():
        print(f"{kind:<28}{len(by_kind[kind]):>10}{row[0]:>9}{row[1]:>7}{row[2]:>8}{row[3]:>9}")
    total = [sum(column) for column in zip(*counts.values())]
    print(f"{'all':<28}{sum(map(len, by_kind.values())):>10}{total[0]:>9}{total[1]:>7}{total[2]:>8}{total[3]:>9}")
    for fault in missed:
        print(f"not found: {fault}")


if __name__ == "__main__":
    main()
