#!/usr/bin/env python3
"""Counts what a warp asks of a multiprocessor in the loops of a compiled kernel, of any program's cubin.

    scripts/sass_loops.py CUBIN KERNEL     the main loop of each kernel whose symbol matches

Needs nvdisasm, which is looked for as compiled_kernels.py does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

Counts = dict[str, float]
Code = list[tuple[str, str]]  # names and operands of instructions
Function = list[tuple[str | None, str, str]]  # labels (label, "", "") and instructions (None, name, operands)

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([\w.]+)(.*)")
HALF_RATE = set("FMNMX FSEL FSETP ISETP SEL LOP3 SHF LEA IADD3 VIADD VIADDMNMX VIMNMX IMNMX PRMT F2FP PLOP3".split())
WIDTHS = {"128": 16, "64": 8, "U16": 2, "U8": 1}


def count(code: Code) -> Counts:
    """What a warp asks of each station: instructions, bytes, and wavefronts of 128 bytes without conflicts."""
    counts: Counter[str] = Counter(instructions=len(code))
    for name, _ in code:
        first, *rest = name.split(".")
        width = next((WIDTHS[word] for word in rest if word in WIDTHS), 4)
        counts["tensor"] += first == "HMMA"
        counts["special"] += first == "MUFU"
        counts["half"] += first in HALF_RATE
        if first == "LDSM":
            counts["shared"] += int(rest[-1]) if rest[-1].isdigit() else 1
        elif first in ("LDS", "STS", "LDGSTS", "ATOMS", "LDL", "STL"):
            counts["shared"] += max(1, width // 4)
        if first in ("LDG", "STG", "REDG", "LDGSTS", "ATOMG", "RED"):
            counts["l2"] += 32 * width
    return dict(counts)


def disassemble(nvdisasm: str, cubin: Path) -> dict[str, Function]:
    functions: dict[str, Function] = {}
    code: Function = []
    for line in subprocess.run([nvdisasm, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout.splitlines():
        if section := re.search(r"\.section\s+\.text\.(\w+),", line):
            code = functions.setdefault(section[1], [])
        elif label := re.match(r"^(\.L_x_\d+):", line):
            code.append((label[1], "", ""))
        elif (found := INSTRUCTION.match(line)) and found[1] != "NOP":
            code.append((None, found[1], found[2]))
    return functions


def find_loops(function: Function, shortest: int = 20) -> list[dict[str, Counts]]:
    """Loops are what branches back span. Of each: its counts; of those, what only tiles on the diagonal run (a mask: a skipped part
    that is mostly comparisons and selections); and everything outside."""
    code: Code = []
    labels = {}
    for label, name, operands in function:
        if label is not None:
            labels[label] = len(code)
        else:
            code.append((name, operands))
    branches = [(i, labels[target[1]]) for i, (name, operands) in enumerate(code)
                if name.startswith("BRA") and (target := re.search(r"(\.L_x_\d+)", operands)) and target[1] in labels]
    loops = []
    for end, begin in branches:
        if begin > end or end - begin < shortest:
            continue
        mask: Code = []
        for i, target in branches:
            skipped = code[i + 1 : target]
            compared = sum(name.split(".")[0] in ("FSEL", "ISETP") for name, _ in skipped)
            if begin <= i < target <= end and 2 * compared > len(skipped) and not any(n.startswith("HMMA") for n, _ in skipped):
                mask += skipped
        whole, masks = count(code[begin : end + 1]), count(mask)
        loops.append({"loop": {k: whole[k] - masks.get(k, 0) for k in whole}, "mask": masks,
                      "outside": count(code[:begin] + code[end + 1 :])})
    return loops


def main_loop(function: Function) -> dict[str, Counts]:
    """The innermost loop with the most tensor instructions, or special functions where it has none."""
    def rank(found: dict[str, Counts]) -> tuple[float, float, float]:
        loop = found["loop"]
        return loop.get("tensor", 0), 0 if loop.get("tensor") else loop.get("special", 0), -loop["instructions"]
    return max(find_loops(function), key=rank)


def per_logit(function: Function) -> float:
    """Instructions of the two loops that take whole vectors of a row, one exponential an element."""
    by_elements: dict[int, float] = {}
    for found in find_loops(function):
        loop = found["loop"]
        elements = int(loop.get("special", 0)) // 8 * 8
        if elements:  # of loops of one size the shortest: others also compare each element with the vocabulary's end
            by_elements[elements] = min(by_elements.get(elements, 1e9), loop["instructions"] / elements)
    return sum(by_elements.values())


def main() -> int:
    from compiled_kernels import find_nvcc, find_nvdisasm

    nvdisasm = find_nvdisasm(find_nvcc() or "nvcc")
    if len(sys.argv) != 3 or nvdisasm is None:
        print(__doc__, file=sys.stderr)
        return 2
    for symbol, function in disassemble(nvdisasm, Path(sys.argv[1])).items():
        if re.search(sys.argv[2], symbol) and find_loops(function):
            print(symbol, json.dumps(main_loop(function)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
