#!/usr/bin/env python3
"""Writes docs/kernels.md: what the compiler made of every CUDA kernel, and what a training step's kernels ask of memory. No GPU.

    scripts/kernels_page.py [--build build/release]           writes the page
    scripts/kernels_page.py [--build build/release] --check   ends with 1 when the page says otherwise

The build must have its tests (-DTEMPER_TESTS=ON): registers, shared memory and spills come from what it kept of ptxas, instructions
from nvdisasm on the cubins it kept, launches and memory from temper_kernel_traffic, which runs the kernels under the audit
(kernels/emulated/audit). What step_model.py predicts of a step is there too; its counts of loops, in step_model.json, are made again
beside the page. nvdisasm is looked for in NVDISASM, on the PATH and beside nvcc; it comes with the CUDA toolkit, and with
PyPI's nvidia-cuda-nvdisasm. Without it --check leaves out the instructions. Other compilers make other code, so the page is held
only against the one that it names, and against builds for the architectures that it shows; exit code 77 where there is none.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import step_model
import step_model_data
from compiled_kernels import ROOT, SKIPPED, Kernel, find_nvcc, find_nvdisasm, name_kernels, read_build, short_name

PAGE = ROOT / "docs" / "kernels.md"

# Classes of instructions, by the first word of their names in SASS.
CLASSES = {
    "tensor": "HMMA",
    "f32": "FADD FMUL FFMA FMNMX FSEL FSETP FCHK FSET HFMA2",
    "f64": "DADD DMUL DFMA DSETP",
    "special": "MUFU",
    "convert": "F2F F2FP F2I I2F I2FP FRND",
    "integer": "IADD3 IMAD LEA LOP3 SHF ISETP SEL IABS IMNMX VIADD VIADDMNMX VIMNMX POPC FLO BREV PRMT PLOP3 P2R R2P IDP "
    "UIADD3 UIMAD ULEA ULOP3 USHF UISETP USEL UPRMT UFLO UPOPC UPLOP3",
    "move": "MOV CS2R S2R S2UR LDC ULDC R2UR UMOV",
    "global": "LDG STG REDG ATOMG LD ST",
    "shared": "LDS STS LDSM ATOMS",
    "async": "LDGSTS LDGDEPBAR DEPBAR",
    "warp": "SHFL VOTE VOTEU WARPSYNC ENDCOLLECTIVE REDUX",
    "barrier": "BAR MEMBAR ERRBAR",
    "control": "BRA BRX BSSY BSYNC CALL EXIT RET BREAK NOP",
    "local": "LDL STL",
}
CLASS_OF = {name: kind for kind, names in CLASSES.items() for name in names.split()}
SECTION = re.compile(r"\.section\s+\.text\.(\w+),")
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(\w+)")


@dataclass(frozen=True)
class Gpu:
    """What one multiprocessor has, in the tables of the CUDA programming guide; all allot registers to a warp in steps of 256 and
    shared memory to a block in steps of 128 bytes, and keep 1 KiB a block for the system."""

    title: str
    warps: int
    shared: int
    registers: int = 65536
    blocks: int = 32


GPUS = {"sm_80": Gpu("A100", 64, 164 * 1024), "sm_90a": Gpu("H100", 64, 228 * 1024)}


class PageError(Exception):
    pass


class NotHere(Exception):
    """What the page is about cannot be had here."""


def resident(gpu: Gpu, threads: int, registers: int, shared: int) -> tuple[int, str]:
    """Warps of a multiprocessor that such blocks fill, and what there is not enough of for one block more."""
    warps = -(-threads // 32)
    limits = {
        "warps": gpu.warps // warps,
        "registers": gpu.registers // (-(-32 * registers // 256) * 256 * warps),
        "shared": gpu.shared // (-(-shared // 128) * 128 + 1024),
        "blocks": gpu.blocks,
    }
    least = min(limits, key=lambda key: limits[key])
    return limits[least] * warps, least


def toolkit(nvcc: str) -> str:
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\bV([\d.]+)", said)
    if version is None:
        raise PageError(f"{nvcc} --version names no version: {said}")
    return f"nvcc {version[1]}"


def count_instructions(nvdisasm: str | None, folder: Path) -> dict[str, Counter[str]]:
    """Of the code for sm_90a, by kernel's symbol and class; NOPs that fill up a function's end are left out."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    if nvdisasm is None:
        return counts
    files = sorted(folder.glob("*.cu.o.*90a.cubin"))
    if not files:
        raise PageError(f"{folder} has no cubins for sm_90a; build the target temper_cuda first")
    for file in files:
        current: Counter[str] = Counter()
        for line in subprocess.run([nvdisasm, "-c", str(file)], capture_output=True, text=True, check=True).stdout.splitlines():
            if section := SECTION.search(line):
                current = counts[section[1]]
            elif instruction := INSTRUCTION.match(line):
                name = instruction[1]
                if name not in CLASS_OF:
                    raise PageError(f"{file.name}: {name} is in no class of instructions; give it one in CLASSES")
                if name != "NOP":
                    current[CLASS_OF[name]] += 1
    return counts


def table(header: list[str], texts: int, rows: list[list[str]]) -> list[str]:
    """Numbers stand on the right, behind `texts` columns."""
    lines = [header, ["---"] * texts + ["--:"] * (len(header) - texts), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


class Compiled:
    """The kernels of a build, by name within the file that has them."""

    def __init__(self, build: Path, nvdisasm: str | None) -> None:
        files = sorted((ROOT / "kernels" / "cuda").glob("*.cu"))
        compilations = read_build(build, files)
        errors = [error for one in compilations for error in one.errors]
        if errors:
            raise PageError("\n".join(errors))
        kernels = [kernel for one in compilations for kernel in one.kernels]
        if missing := set(GPUS) - {kernel.architecture for kernel in kernels}:
            raise NotHere(f"{build} has no code for {' and '.join(sorted(missing))}")
        name_kernels(kernels)
        self.by_name: dict[tuple[str, str], dict[str, Kernel]] = {}
        for kernel in kernels:
            self.by_name.setdefault((kernel.file.name, kernel.name), {})[kernel.architecture] = kernel
        self.counts = count_instructions(nvdisasm, build / "kernels" / "cuda" / "CMakeFiles" / "temper_cuda.dir")

    def find(self, function: str) -> dict[str, Kernel]:
        """The one with the emulation's name for it."""
        name = short_name(function)
        found = [kernels for (_, other), kernels in self.by_name.items() if other == name]
        if len(found) != 1:
            raise PageError(f"{len(found)} compiled kernels are named {name}, as {function} is")
        return found[0]


def over_least(cost: int, least: int) -> str:
    return f"{cost / least:.2f}" if least else ""


def occupancy(kernels: dict[str, Kernel], threads: int, dynamic: int) -> list[str]:
    cells = []
    for architecture, gpu in GPUS.items():
        kernel = kernels[architecture]
        warps, limit = resident(gpu, threads, kernel.registers, kernel.shared + dynamic)
        cells.append(f"{100 * warps // gpu.warps} % ({limit})" if warps else f"not ({limit})")
    return cells


def step_rows(traffic: list[dict[str, Any]], compiled: Compiled) -> list[list[str]]:
    rows = []
    for case in traffic:
        for i, kernel in enumerate(case["kernels"]):
            found = compiled.find(kernel["function"])
            hopper = found["sm_90a"]
            total = kernel["global"]
            rows.append([
                f"`{case['case']}` {case['activations']}" if i == 0 else "",
                f"`{hopper.name}`",
                f"{kernel['blocks'] // kernel['launches']} x {kernel['threads']}",
                str(hopper.registers),
                str(hopper.shared + kernel["dynamic_shared_bytes"]),
                *occupancy(found, kernel["threads"], kernel["dynamic_shared_bytes"]),
                f"{32 * total['sectors'] / 1e6:.3f}",
                over_least(total["sectors"], total["least"]),
                over_least(kernel["shared"]["wavefronts"], kernel["shared"]["least"]),
            ])
    return rows


def compiled_rows(compiled: Compiled, file: str) -> list[list[str]]:
    rows = []
    for (of, name), kernels in sorted(compiled.by_name.items()):
        if of != file:
            continue
        hopper = kernels["sm_90a"]
        counts = compiled.counts[hopper.symbol]
        rows.append([
            f"`{name}`",
            f"{kernels['sm_80'].registers} / {hopper.registers}",
            str(hopper.shared),
            f"{kernels['sm_80'].spilled} / {hopper.spilled}",
            str(counts.total()),
            *(str(counts[kind] or "") for kind in CLASSES),
        ])
    return rows


def page(name: str, compiled: Compiled, traffic: list[dict[str, Any]], model: dict[str, Any]) -> str:
    lines = [
        "<!-- Made by scripts/kernels_page.py; run it again instead of changing this page. -->",
        "# Kernels",
        "",
        f"What {name} makes of the sources in `kernels/cuda`, and what they ask of memory. Counted, not measured: no GPU took part, and",
        "the only times here are predictions. [benchmarks.md](benchmarks.md) has measured ones where there are any.",
        "",
        "## A training step of GPT-2 124M",
        "",
        "The kernels of each operation but cuBLASLt's products: one layer on 128 tokens, 16 rows of logits, updates of 280,448 parameters.",
        "Under A100 and H100 stands the share of a multiprocessor's warps that are at work at once, and what there is not enough of for one",
        "block more; \"not\" where not one fits, so that another kernel is taken there. MB are those that warps ask global memory for,",
        "whichever cache answers, in sectors of 32 bytes; wavefronts are the turns in which shared memory answers a warp. Both columns are",
        "over the least that the same bytes could take; reasons for more than 1.05 and 1.10 stand in `tests/audit/traffic_test.cpp`.",
        "",
        *table(["operation", "kernel", "blocks x threads", "registers", "shared bytes", "A100", "H100", "MB", "sectors", "wavefronts"], 2,
               step_rows(traffic, compiled)),
        "",
        *step_model.section(model),
        "",
        "## Every kernel as it is compiled",
        "",
        "Registers and bytes spilled for sm_80 / sm_90a, declared shared memory, and the instructions of the code for sm_90a as they",
        "stand there, loops once.",
        "",
        *(f"- {kind}: {names}" for kind, names in CLASSES.items()),
        "",
    ]
    for file in sorted({of for of, _ in compiled.by_name}):
        lines += [f"### {file}", "", *table(["kernel", "registers", "shared", "spilled", "instructions", *CLASSES], 1,
                                            compiled_rows(compiled, file)), ""]
    return "\n".join(lines)


def without_instructions(text: str) -> str:
    """The page, of the compiled kernels the columns that need no nvdisasm."""
    before, title, tables = text.partition("## Every kernel")
    return before + title + "\n".join("|".join(line.split("|")[:5]) for line in tables.split("\n"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release", metavar="DIR")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None:
        print("skipped: no nvcc; set CUDACXX or put it on the PATH")
        return SKIPPED
    nvdisasm = find_nvdisasm(nvcc)
    if nvdisasm is None and not arguments.check:
        print("skipped: no nvdisasm; it comes with the CUDA toolkit and with PyPI's nvidia-cuda-nvdisasm; NVDISASM may name it")
        return SKIPPED
    name = toolkit(nvcc)
    present = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if arguments.check and f"What {name} makes" not in present:
        print(f"skipped: docs/kernels.md is of another compiler than {name}")
        return SKIPPED
    try:
        compiled = Compiled(arguments.build, nvdisasm)
        program = arguments.build / "tests" / "temper_kernel_traffic"
        traffic = json.loads(subprocess.run([program], capture_output=True, text=True, check=True).stdout)
        model, recorded = step_model.read_data(), step_model.read_data()
        if nvdisasm is not None:
            model["loops"]["temper"]["present"] = step_model_data.count_own(nvdisasm, step_model_data.own_cubin(arguments.build))
        text = page(name, compiled, traffic, model)
    except NotHere as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    except (PageError, OSError, subprocess.CalledProcessError) as error:
        print(f"kernels_page.py: {error}", file=sys.stderr)
        return 2
    if not arguments.check:
        PAGE.write_text(text, encoding="utf-8")
        step_model_data.write(model)
        return 0
    if model != recorded:
        print("scripts/step_model.json has other loops than the build; run scripts/kernels_page.py")
        return 1
    if nvdisasm is None:
        print("no nvdisasm: the columns of instructions were not compared")
        text, present = without_instructions(text), without_instructions(present)
    if text != present:
        print("docs/kernels.md is stale; run scripts/kernels_page.py")
        changes = list(difflib.unified_diff(present.splitlines(True), text.splitlines(True), "docs/kernels.md", "now", n=0))
        sys.stdout.writelines(changes[:40])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
