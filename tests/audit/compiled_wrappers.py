#!/usr/bin/env python3
"""What nvcc makes of the wrappers in kernels/cuda/device, and of the functions of the CUDA language that are emulated, against the
PTX ISA: instruction, modifiers, and which operand is which argument. So what kernels/emulated does is what is compiled.

    tests/audit/compiled_wrappers.py            compiles compiled_wrappers.cu and compares it with TABLE
    tests/audit/compiled_wrappers.py --build B  and looks, in the PTX that the build in B kept of every kernel, for instructions
                                                beyond plain arithmetic that TABLE does not have

Exit code 77: there is no nvcc.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_suffix(".cu")
SKIPPED = 77

# What each kernel of compiled_wrappers.cu comes to, with arguments by name, results as r0, r1, ..., and stores last. Written down from
# the PTX ISA, release 9.0, in the words of its sections; kernels/emulated does what the remarks say.
TABLE = {
    # "mma": d = a * b + c, in the order d, a, b, c; row: a is row-major, col: b is column-major; types of d, a, b, c. Fragments of
    # m16n8k16 with .bf16 hold a in four registers, b in two, c and d in four: tests/emulated/tensor_core_test.cpp has their layout.
    "mma_16x8x16": """
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {r0, r1, r2, r3}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}
        out[0] = r0
        out[1] = r1
        out[2] = r2
        out[3] = r3""",
    # "ldmatrix": r, [p]; with .x4 threads 8 i to 8 i + 7 address the rows of matrix i, whose fragment is r's i-th register. With .trans
    # each matrix is loaded in column-major format.
    "load_matrix_x4": """
        ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r0, r1, r2, r3}, [shared + at]
        out[0] = r0
        out[1] = r1
        out[2] = r2
        out[3] = r3""",
    "load_matrix_x4_transposed": """
        ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {r0, r1, r2, r3}, [shared + at]
        out[0] = r0
        out[1] = r1
        out[2] = r2
        out[3] = r3""",
    # "cp.async": [dst], [src], cp-size, src-size; .cg takes a cp-size of 16 only. Bytes of dst beyond src-size become zeros.
    "copy_async_16": "cp.async.cg.shared.global [shared + at], [from], 16, (valid == 0 ? 0 : 16)",
    "copy_async_16_always": "cp.async.cg.shared.global [shared + at], [from], 16, 16",
    # "cp.async.commit_group": all cp.async operations of the executing thread before it that no group has yet.
    "copy_async_commit": "cp.async.commit_group",
    # "cp.async.wait_group N": until N or fewer of the most recent groups are pending and all before them are complete.
    "copy_async_wait": """
        cp.async.wait_group 3
        cp.async.wait_group 0""",
    # "ex2": .approx.ftz: subnormal inputs and results are zeros of their sign, of -inf +0.
    "exp2_approx": """
        ex2.approx.ftz.f32 r0, x[0]
        out[0] = r0""",
    # "rsqrt": .approx: a maximum relative error of 2^-22.9.
    "reciprocal_root": """
        rsqrt.approx.f32 r0, x[0]
        out[0] = r0""",
    # "tanh": .approx: a maximum relative error of 2^-11.
    "tanh_approx": """
        tanh.approx.f32 r0, x[0]
        out[0] = r0""",
    # "cvt": d, a, b of .bf16x2: what a is converted to lies in the upper half of d, b in the lower; .rn: to nearest even.
    "pack_bf16": """
        cvt.rn.bf16x2.f32 r0, high[0], low[0]
        out[0] = r0""",
    "keep_packed": "out[0] = {in[0], in[1], in[2], in[3]}",  # nothing: it is the compiler that must not see through
    # "bar.sync 0": all threads of the block. "bar.warp.sync membermask": those of the mask; both order memory among them.
    "syncthreads": "bar.sync 0",
    "syncwarp": "bar.warp.sync mask",
    # "shfl.sync": d, a, b, c, membermask; c = clamp | segmask << 8: 31 for all lanes of a warp, 0 with .up. A lane whose source
    # would be out of range copies its own a.
    "shfl": """
        shfl.sync.idx.b32 r0, value, source, 31, mask
        out[0] = r0""",
    "shfl_xor": """
        shfl.sync.bfly.b32 r0, value, lanes, 31, mask
        out[0] = r0""",
    "shfl_up": """
        shfl.sync.up.b32 r0, value, delta, 0, mask
        out[0] = r0""",
    # "vote.sync.ballot": d, a, membermask: bit i is lane i's a.
    "ballot": """
        vote.sync.ballot.b32 r0, predicate != 0, mask
        out[0] = r0""",
    "popc": """
        popc.b32 r0, x
        out[0] = r0""",
    # "atom": d, [a], b: d is what was at a before. Without .sem relaxed: it orders nothing else.
    "atomic_add": """
        atom.global.add.u32 r0, [to], value
        out[0] = r0""",
    "atomic_add_shared": """
        atom.shared.add.u32 r0, [shared + 4], value
        out[0] = r0""",
    # "ld": .nc may come from a cache that is not coherent, .cs (and st.cs): likely accessed once.
    "ldg": """
        ld.global.nc.v4.u32 {r0, r1, r2, r3}, [from]
        out[0] = {r0, r1, r2, r3}""",
    "ldcs": """
        ld.global.cs.v4.u32 {r0, r1, r2, r3}, [from]
        out[0] = {r0, r1, r2, r3}""",
    "stcs": "st.global.cs.v4.u32 [to], {from[0], from[1], from[2], from[3]}",
}
SHARED_BOUNDARIES = {".extern .shared": 128, ".shared": 16}  # of dynamic and of declared memory

# Instructions that any compiler may use: they are one thread's own, and C++ says what they do. Of loads and stores those without
# modifiers for caches or order, of conversions those to one value.
PLAIN = re.compile(
    r"(abs|add|and|bfe|bfi|bra|clz|copysign|cvt|cvta|div|fma|mad|max|min|mov|mul|neg|not|or|prmt|rcp|rem|ret|selp|set|setp|shf|shl|shr"
    r"|sqrt|sub|xor)\b(?!.*x2)"
    r"|(ld|st)\.(global|shared|local|param)(\.v[248])?\.[bfsu]\d+$"
)
NO_RESULT = re.compile(r"st\.|red\.|bar\.|barrier\.|cp\.|membar|fence|ret")
STATEMENT = re.compile(r"^\s*(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*([^;]*);", re.MULTILINE)


def instructions(ptx: str) -> list[tuple[str, str, str]]:
    """Guard, instruction and operands of each statement; directives begin with a dot."""
    return [(negated + guard, name, operands.strip()) for negated, guard, name, operands in STATEMENT.findall(re.sub("//.*", "", ptx))]


def operands_of(text: str) -> list[str]:
    """Split at commas outside of braces."""
    return [part.strip() for part in re.split(r",(?![^{]*\})", text)] if text else []


class Reading:
    """Follows arguments through a kernel without branches."""

    def __init__(self, parameters: list[str]) -> None:
        self.parameters = parameters
        self.values: dict[str, str] = {}
        self.lines: list[str] = []
        self.stores: list[str] = []
        self.results = 0

    def value(self, operand: str) -> str:
        if operand.startswith("{"):
            return "{" + ", ".join(self.value(one) for one in operands_of(operand[1:-1])) + "}"
        if operand.startswith("["):
            base, plus, offset = operand[1:-1].partition("+")
            return f"[{self.sum(self.value(base), offset) if plus else self.value(base)}]"
        if "dynamic_shared_memory" in operand:
            return "shared"
        return self.values.get(operand, operand)

    @staticmethod
    def sum(one: str, other: str) -> str:
        return f"{one} + {other}" if one == "shared" else f"{other} + {one}" if other == "shared" else f"{one}+{other}"

    @staticmethod
    def element(address: str) -> str:
        """"[a+8]" as "a[2]": all elements have four bytes."""
        name, _, offset = address[1:-1].partition("+")
        return f"{name}[{int(offset or 0) // 4}]"

    def give(self, destination: str, value: str) -> None:
        names = operands_of(destination.strip("{}"))
        for i, name in enumerate(names):
            lane = re.fullmatch(r"(.*)\[(\d+)\]", value)
            self.values[name.split("|")[0]] = f"{lane[1]}[{int(lane[2]) + i}]" if lane and len(names) > 1 else value

    def take(self, guard: str, name: str, text: str) -> None:
        operands = operands_of(text)
        first, rest = (operands[0], [self.value(one) for one in operands[1:]]) if operands else ("", [])
        if name.startswith("ld.param"):
            self.give(first, self.parameters[int(rest[0].strip("[]").rsplit("_", 1)[1])])
        elif re.match(r"(mov|cvta|and\.pred)\b", name) or (name.startswith("cvt.") and "x2" not in name):
            self.give(first, rest[0])
        elif name.startswith("add."):
            self.give(first, self.sum(*rest))
        elif name.startswith("setp."):
            self.give(first, f"{rest[0]} {'==' if '.eq' in name else '!='} {rest[1]}")
        elif name.startswith("selp."):
            self.give(first, f"({rest[2]} ? {rest[0]} : {rest[1]})")
        elif name.startswith("ld.") and PLAIN.match(name):
            self.give(first, self.element(rest[0]))
        elif name.startswith("st.") and PLAIN.match(name):
            self.stores.append(f"{self.element(self.value(first))} = {rest[0]}")
        elif name != "ret":
            self.effect(guard, name, first, rest, operands)

    def effect(self, guard: str, name: str, first: str, rest: list[str], operands: list[str]) -> None:
        shown = [self.value(one) for one in operands]
        if not NO_RESULT.match(name):
            count = len(operands_of(first.strip("{}")))
            names = [f"r{self.results + i}" for i in range(count)]
            self.results += count
            shown = ["{" + ", ".join(names) + "}" if first.startswith("{") else names[0], *rest]
            for one, result in zip(operands_of(first.strip("{}")), names, strict=True):
                self.values[one.split("|")[0]] = result
        self.lines.append(f"{'@' + self.value(guard) + ' ' if guard else ''}{name} {', '.join(shown)}".strip())


def read(ptx: str, names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each kernel of `ptx` in the words of TABLE; `names` are its parameters'."""
    found = {}
    for name, body in re.findall(r"\.visible \.entry (\w+)\(.*?\)\s*(?:\.\w+ [^{]*)?\{(.*?)\n\}", ptx, re.DOTALL):
        reading = Reading(names.get(name, []))
        for statement in instructions(body):
            if name in TABLE:
                reading.take(*statement)
        found[name] = reading.lines + reading.stores
    return found


def parameters() -> dict[str, list[str]]:
    kernels = re.findall(r"__global__ void (\w+)\((.*?)\)", SOURCE.read_text(encoding="utf-8"), re.DOTALL)
    return {name: [one.split()[-1].lstrip("*") for one in text.split(",") if one.strip()] for name, text in kernels}


def compiled(nvcc: str, architecture: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.ptx"
        flags = ["-std=c++20", "-O3", "-DTEMPER_BACKEND=cuda", f"-I{ROOT}", f"-I{ROOT / 'kernels' / 'cuda'}"]
        subprocess.run([nvcc, *flags, f"-arch={architecture}", "-ptx", str(SOURCE), "-o", str(out)], check=True)
        return out.read_text(encoding="utf-8")


def compare(ptx: str, architecture: str) -> list[str]:
    problems = []
    found = read(ptx, parameters())
    for name, text in TABLE.items():
        expected = [line.strip() for line in text.strip().splitlines()]
        if found.get(name) != expected:
            got = "\n    ".join(found.get(name, ["nothing"]))
            problems.append(f"{architecture}: {name} is compiled to\n    {got}\n  and not to\n    " + "\n    ".join(expected))
    for name in sorted(set(found) - set(TABLE) - {"shared_memory"}):
        problems.append(f"TABLE has no row for {name}")
    for kind, boundary in SHARED_BOUNDARIES.items():
        aligned = re.findall(rf"^\s*{re.escape(kind)} \.align (\d+)", ptx, re.MULTILINE)
        if not aligned or any(int(one) != boundary for one in aligned):
            problems.append(f"{architecture}: {kind} memory is on boundaries of {aligned} bytes, not of {boundary}")
    return problems


def known_instructions() -> set[str]:
    return {line.split()[0] for text in TABLE.values() for line in text.strip().splitlines() if " = " not in line}


def known(name: str, table: set[str]) -> bool:
    """Loads and stores of a table's kind may have other types."""
    kind = re.sub(r"(\.v[248])?\.[bfsu]\d+$", "", name)
    return bool(PLAIN.match(name)) or name in table or (name[:3] in ("ld.", "st.") and any(one.startswith(kind + ".v4.") for one in table))


def look_through(build: Path) -> list[str]:
    files = sorted((build / "kernels" / "cuda" / "CMakeFiles" / "temper_cuda.dir").glob("*.cu.o.*.ptx"))
    sources = {file.name.split(".cu.o.")[0] for file in files}
    problems = [f"{build} kept no PTX of {one.name}; build the target temper_cuda first"
                for one in sorted((ROOT / "kernels" / "cuda").glob("*.cu")) if one.stem not in sources]
    table = known_instructions()
    count = 0
    for file in files:
        used = {name for _, name, _ in instructions(file.read_text(encoding="utf-8"))}
        count += len(used)
        problems += [f"{file.name}: {name} is not in TABLE; the emulation must have it as the PTX ISA says"
                     for name in sorted(used) if not known(name, table)]
    if not count:
        problems.append("no instruction was found in the build's PTX")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, metavar="B")
    arguments = parser.parse_args()
    nvcc = shutil.which(os.environ.get("CUDACXX") or "nvcc")
    if nvcc is None:
        print("skipped: no nvcc; set CUDACXX or put it on the PATH")
        return SKIPPED
    problems = [one for architecture in ("compute_80", "compute_90a") for one in compare(compiled(nvcc, architecture), architecture)]
    if arguments.build:
        problems += look_through(arguments.build)
    print("\n".join(problems) if problems else f"{len(TABLE)} wrappers and functions are compiled to what the PTX ISA has for them")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
