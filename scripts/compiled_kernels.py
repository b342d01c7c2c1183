#!/usr/bin/env python3
"""Compiles the CUDA kernels with nvcc and looks at what became of them. Needs no GPU.

    scripts/compiled_kernels.py [FILE.cu ...]        compiles them (default: kernels/cuda/*.cu)
    scripts/compiled_kernels.py --build DIR          reads what the build in DIR kept of its own compilation

Prints registers, spills, stack frame and shared memory of every kernel for sm_80 and sm_90a. Fails (exit code 1) when a file does
not compile, a kernel spills registers or has a stack frame, or ptxas has serialized wgmma instructions (C7508), unless ACCEPTED
below names the kernel and says why. Exit code 77: there is no nvcc, neither CUDACXX nor on the PATH.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("sm_80", "sm_90a")
SKIPPED = 77

# As kernels/cuda/CMakeLists.txt and cmake/cuda.cmake have it in a release build.
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "--expt-relaxed-constexpr", "-lineinfo", "-DTEMPER_BACKEND=cuda"]
FLAGS += [f"-I{ROOT}", f"-I{ROOT / 'kernels' / 'cuda'}", "-Xptxas", "-v"]


@dataclass(frozen=True)
class Accepted:
    """A finding that is known and better than its alternatives."""

    file: str  # all three as the table prints them
    kernel: str
    architecture: str
    reason: str


# One register, in f32 rows of more than 1,536 columns.
ONE_LANE_STORES = "all lanes storing the same sums would save the register, but is a race"
# Eight registers, stored once a block and read twice for each tile of queries.
ADDRESSES = "addresses outside of the loop over scores; the loop itself spills nothing"
ACCEPTED: tuple[Accepted, ...] = (
    *(Accepted("layernorm.cu", "backward_kernel<float, 4, 2>", architecture, ONE_LANE_STORES) for architecture in ARCHITECTURES),
    Accepted("attention_one_pass.cu", "one_pass_kernel<64>", "sm_80", ADDRESSES),
)

ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'")
FUNCTION = re.compile(r"Function properties for (\S+)")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
SERIALIZED = re.compile(r"C7508|wgmma.*serialized", re.IGNORECASE)


@dataclass
class Kernel:
    file: Path
    symbol: str
    architecture: str
    name: str = ""
    registers: int = 0
    stack: int = 0
    spilled: int = 0  # bytes, stores and loads together
    shared: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass
class Compilation:
    kernels: list[Kernel] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def find_nvcc() -> str | None:
    return shutil.which(os.environ.get("CUDACXX") or "nvcc")


def find_nvdisasm(nvcc: str) -> str | None:
    return os.environ.get("NVDISASM") or shutil.which("nvdisasm") or shutil.which(str(Path(nvcc).resolve().parent / "nvdisasm"))


def compile_file(nvcc: str, file: Path) -> Compilation:
    command = [nvcc, *FLAGS]
    for architecture in ARCHITECTURES:
        number = architecture.removeprefix("sm_")
        command += ["-gencode", f"arch=compute_{number},code={architecture}"]
    done = subprocess.run([*command, "-c", str(file), "-o", os.devnull], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Compilation(errors=[f"{file}: nvcc failed with {done.returncode}\n{done.stdout}{done.stderr}"])
    return parse(file, done.stdout + done.stderr)


def parse(file: Path, output: str) -> Compilation:
    """What `ptxas -v` says; a called function that was not inlined counts to the kernel before it."""
    result = Compilation()
    serialized = []
    for line in output.splitlines():
        if entry := ENTRY.search(line):
            result.kernels.append(Kernel(file, entry[1], entry[2]))
        kernel = result.kernels[-1] if result.kernels else None
        if SERIALIZED.search(line):
            serialized.append(line.strip())
        if kernel is None:
            continue
        if frame := FRAME.search(line):
            kernel.stack += int(frame[1])
            kernel.spilled += int(frame[2]) + int(frame[3])
        elif registers := REGISTERS.search(line):
            kernel.registers = max(kernel.registers, int(registers[1]))
            if shared := SHARED.search(line):
                kernel.shared = int(shared[1])
    for line in serialized:  # names its function, and may come before it
        of = next((one for one in reversed(result.kernels) if one.symbol in line), None)
        (of.findings if of else result.errors).append(line if of else f"{file}: {line}")
    for kernel in result.kernels:
        if kernel.spilled:
            kernel.findings.append(f"{kernel.spilled} bytes of register spills")
        if kernel.stack:
            kernel.findings.append(f"a stack frame of {kernel.stack} bytes")
        if not kernel.registers:
            result.errors.append(f"{file}: ptxas says nothing about the registers of {kernel.symbol}")
    return result


def read_build(folder: Path, files: list[Path]) -> list[Compilation]:
    """What cmake/nvcc_with_report.py kept beside each object of a build."""
    objects = folder / "kernels" / "cuda" / "CMakeFiles" / "temper_cuda.dir"
    compilations = []
    for file in files:
        report = objects / f"{file.name}.o.ptxas"
        if report.exists():
            compilations.append(parse(file, report.read_text()))
        else:
            compilations.append(Compilation(errors=[f"{report}: missing; build the target temper_cuda first"]))
    return compilations


def without_parameters(name: str) -> str:
    """`name` up to its parameter list, the last group of parentheses."""
    if not name.endswith(")"):
        return name
    depth = 0
    for i in range(len(name) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(name[i], 0)
        if depth == 0:
            return name[:i]
    return name


def short_name(function: str) -> str:
    """Without parameters and temper's namespaces, those of the emulation too."""
    name = without_parameters(function).removeprefix("void ")
    for space in ("(anonymous namespace)::", "temper::cuda::", "temper::emulated::", "temper::"):
        name = name.replace(space, "")
    return name


def name_kernels(kernels: list[Kernel]) -> None:
    """Symbols as people write them; as they are where no demangler is installed."""
    demangler = shutil.which("cu++filt") or shutil.which("c++filt")
    names = [kernel.symbol for kernel in kernels]
    if demangler and names:
        done = subprocess.run([demangler], input="\n".join(names), capture_output=True, text=True, check=True)
        names = done.stdout.splitlines()
    for kernel, name in zip(kernels, names, strict=True):
        kernel.name = short_name(name)


def print_table(kernels: list[Kernel]) -> None:
    file_width = max((len(kernel.file.name) for kernel in kernels), default=0)
    name_width = max((len(kernel.name) for kernel in kernels), default=0)
    print(f"{'file':{file_width}}  {'kernel':{name_width}}  {'for':>6}  registers  spilled  stack  shared")
    for kernel in sorted(kernels, key=lambda one: (one.file.name, one.name, one.architecture)):
        place = f"{kernel.file.name:{file_width}}  {kernel.name:{name_width}}  {kernel.architecture:>6}"
        print(f"{place}  {kernel.registers:9}  {kernel.spilled:7}  {kernel.stack:5}  {kernel.shared:6}")


def judge(kernels: list[Kernel], whole_backend: bool) -> list[str]:
    problems = []
    unused = set(ACCEPTED)
    for kernel in kernels:
        place = (kernel.file.name, kernel.name, kernel.architecture)
        accepted = {one for one in ACCEPTED if (one.file, one.kernel, one.architecture) == place}
        if kernel.findings and accepted:
            unused -= accepted
        else:
            problems += [f"{kernel.file}: {kernel.name} for {kernel.architecture}: {finding}" for finding in kernel.findings]
    if whole_backend:
        for one in unused:
            problems.append(f"ACCEPTED names {one.file}: {one.kernel} for {one.architecture}, where nothing was found: remove it")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.cu")
    parser.add_argument("--build", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    files: list[Path] = arguments.files
    whole_backend = not files
    if whole_backend:
        files = list((ROOT / "kernels" / "cuda").glob("*.cu"))

    if arguments.build:
        compilations = read_build(arguments.build, files)
    else:
        nvcc = find_nvcc()
        if nvcc is None:
            print("skipped: no nvcc; set CUDACXX or put it on the PATH")
            return SKIPPED
        files.sort(key=lambda file: file.stat().st_size if file.exists() else 0, reverse=True)  # the longest first
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            compilations = list(pool.map(functools.partial(compile_file, nvcc), files))
    kernels = [kernel for one in compilations for kernel in one.kernels]
    name_kernels(kernels)
    print_table(kernels)
    problems = [error for one in compilations for error in one.errors] + judge(kernels, whole_backend)
    if not kernels:
        problems.append("no kernel was compiled")
    print("\n".join(problems) if problems else f"{len(kernels)} kernels of {len(files)} files: nothing that is not accepted")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
