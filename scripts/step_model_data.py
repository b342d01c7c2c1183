#!/usr/bin/env python3
"""Makes parts of step_model.json again, from which step_model.py predicts.

    scripts/step_model_data.py --loops [--build DIR]   the loops of the present kernels, of a build's cubins; needs nvdisasm
    scripts/step_model_data.py --referee               the products' times in NVIDIA's model; needs PyPI's nvidia-matmul-heuristics

The rest is a record: of 6494ef1's kernels and of other programs', with the commits that they are of.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from sass_loops import count, disassemble, find_loops, main_loop, per_logit
from step_model import CHANNELS, DATA, LINEAR, PADDED, ROWS, read_data

OWN = {
    "forward": ("attention_forward", "forward_tiles_kernelILi64E"),
    "query_gradient": ("attention_backward", "query_gradient_kernelILi64E"),
    "key_gradient": ("attention_backward", "key_gradient_kernelILi64E"),
    "one_pass": ("attention_one_pass", "one_pass_kernelILi64E"),
    "cross_entropy": ("cross_entropy", "cross_entropy_kernelI.*bfloat16E.*RowE0E"),
    "layernorm_forward": ("layernorm", r"16layernorm_kernelI.*bfloat16ELi3E"),
    "layernorm_backward": ("layernorm", r"15backward_kernelI.*bfloat16ELi3ELi1E"),
}


def one_pass(function: Any) -> dict[str, Any]:
    """A tile of queries: four columns of scores, eight steps of dQ over the tile of keys, and what is around them."""
    by_products = {int(found["loop"].get("tensor", 0)): found for found in reversed(find_loops(function, 8))}
    column, step, tile = by_products[64], by_products[8], by_products[72]

    def total(key: str) -> float:
        inner = column["loop"].get(key, 0) + column["mask"].get(key, 0), step["loop"].get(key, 0)
        around = tile["loop"].get(key, 0) + tile["mask"].get(key, 0) - sum(inner)
        return around + 4 * column["loop"].get(key, 0) + 8 * inner[1]

    return {"loop": {key: total(key) for key in tile["loop"]}, "mask": {key: 4 * n for key, n in column["mask"].items()},
            "outside": tile["outside"]}


def count_own(nvdisasm: str, cubin: Callable[[str], Path]) -> dict[str, Any]:
    """Of temper's kernels: the main loops of the tiled ones, and what a logit and a row of the others take."""
    counted: dict[str, Any] = {}
    for name, (file, symbol) in OWN.items():
        found = [code for function, code in disassemble(nvdisasm, cubin(file)).items() if re.search(symbol, function)]
        if len(found) != 1:
            raise SystemExit(f"{file}: {len(found)} kernels match {symbol}")
        if name == "cross_entropy":
            counted[name] = per_logit(found[0])
        elif name == "one_pass":
            counted[name] = one_pass(found[0])
        elif name.startswith("layernorm"):
            whole = count([(n, o) for label, n, o in found[0] if label is None])["instructions"]
            counted[name] = max((loop["loop"]["instructions"] for loop in find_loops(found[0])), default=whole)
        else:
            loop = main_loop(found[0])
            counted[name + (f"_{int(loop['loop']['tensor']) // 128}" if name == "key_gradient" else "")] = loop
    return counted


def ask_referee(gpu_name: str, precision: str) -> NoReturn:
    """One GPU and type of result in a process of its own, which does not end as usual: the package crashes when its objects go."""
    import nvMatmulHeuristics as heuristics

    layouts = heuristics.NvMatmulHeuristicsMatmulLayout
    interface = heuristics.NvMatmulHeuristicsInterface(heuristics.NvMatmulHeuristicsTarget.CUTLASS3, precision,
                                                       flags=heuristics.NvMatmulHeuristicsFlags.PERF_MODEL_BASED_AUTO_TUNING)
    hardware = interface.createHardwareDescriptor()
    interface.setHardwarePredefinedGpu(hardware, getattr(heuristics.NvMatmulHeuristicsNvidiaGpu, gpu_name))
    def best(m: int, n: int, k: int, layout: str) -> float:
        kind = getattr(layouts, layout)
        interface.loadInternalDiscoverySet(kind, hardware)
        return min(found["runtime"] for found in interface.get_with_mnk(m, n, k, kind, 16, hardware)) * 1e3
    answers = {"square": [2 * 8192**3 / best(8192, 8192, 8192, "TN_COL_MAJOR") / 1e9]}
    for name, (n, k), rows in [(of, shape, ROWS) for of, shape in LINEAR.items()] + [(f"head {r}", (PADDED, CHANNELS), r)
                                                                                    for r in (2624, 8192, 16384, 32768, ROWS)]:
        answers[name] = [best(n, rows, k, "TN_COL_MAJOR"), best(k, rows, n, "NN_COL_MAJOR"), best(k, n, rows, "NT_COL_MAJOR")]
    print(json.dumps(answers), flush=True)
    os._exit(0)


def referee() -> dict[str, Any]:
    from importlib.metadata import version

    gpus: dict[str, Any] = {}
    for gpu_name in ("H200_SXM", "H100_SXM", "A100_SXM_80GB"):
        low, full = (json.loads(subprocess.run([sys.executable, __file__, "--referee-of", gpu_name, precision], check=True,
                                               capture_output=True, text=True).stdout) for precision in ("TST", "TSS"))
        answers: dict[str, Any] = {"square": round(low["square"][0], 1), "head": {}}
        for name in low:
            times = [round(ms, 4) for ms in (*low[name][:2], full[name][-1], low[name][-1])]
            if name.startswith("head "):
                answers["head"][name[5:]] = times
            elif name != "square":
                answers[name] = times
        gpus[gpu_name] = answers
    return {"of": f"nvidia-matmul-heuristics {version('nvidia-matmul-heuristics')}", "made by": "scripts/step_model_data.py --referee",
            "ms": "forward, input gradient, weight gradient to f32, to bf16", "gpus": gpus}


def write(data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1)
    DATA.write_text(re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", lambda found: " ".join(found[0].split()), text) + "\n", encoding="utf-8")


def own_cubin(build: Path) -> Callable[[str], Path]:
    return lambda file: next(iter((build / "kernels" / "cuda" / "CMakeFiles" / "temper_cuda.dir").glob(f"{file}.cu.o.*90a.cubin")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", action="store_true")
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parent.parent / "build" / "release", metavar="DIR")
    parser.add_argument("--referee", action="store_true")
    parser.add_argument("--referee-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.referee_of:
        ask_referee(*arguments.referee_of)
    data = read_data()
    if arguments.loops:
        from compiled_kernels import find_nvcc, find_nvdisasm

        nvdisasm = find_nvdisasm(find_nvcc() or "nvcc")
        if nvdisasm is None:
            print("step_model_data.py: no nvdisasm; NVDISASM may name it", file=sys.stderr)
            return 2
        data["loops"]["temper"]["present"] = count_own(nvdisasm, own_cubin(arguments.build))
    if arguments.referee:
        data["products"] = referee()
    write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
