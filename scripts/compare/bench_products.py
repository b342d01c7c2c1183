#!/usr/bin/env python3
"""Times the products of a GPT-2 step in PyTorch on the CPU, each as `temper bench kernels` names it and with its caches as cold.

Two ways each, of which compare.py takes the faster: what a PyTorch step calls, and the oneDNN inside PyTorch by itself, with weights
packed beforehand where it has weights. Prints JSON: seconds, the median of each product and way, and versions.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

RUNS, LEAST_SECONDS = 10, 0.2  # of each product, as temper does by default
NOTE = (
    "Two ways of PyTorch, the faster counts: what its step calls (MKL in f32, oneDNN in bf16), and oneDNN by itself with weights "
    "packed beforehand, as temper keeps its own. Both sides do the same: forward adds the bias and, as the model has it, the residual or "
    "GELU with the value before it kept; the input gradient of 3072 -> 768 is multiplied by GELU's slope; the weight gradient is added "
    "to sums in f32, the bias's too. oneDNN adds bias and residual as it multiplies; PyTorch's GELU, its slope and the bias's gradient "
    "are passes of their own, and its bf16 weight gradients are rounded to bf16 before they are added."
)
Way = Callable[[], object]


NOISE = torch.randn(2**20)  # drawing every number anew would take longer than the products


def random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    count = math.prod(shape)
    return NOISE.to(dtype).repeat(count // NOISE.numel() + 1)[:count].view(shape)


def packed(weight: Tensor, rows: int) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def forward(sizes: tuple[int, int, int], extras: set[str], dtype: torch.dtype) -> dict[str, Way]:
    rows, out, inner = sizes
    x, weight = random((rows, inner), dtype), random((out, inner), dtype)
    bias = random((out,), dtype) if "bias" in extras else None
    packs = packed(weight, rows)
    if "residual" in extras:
        residual = random((rows, out), dtype)
        binary = torch.ops.mkldnn._linear_pointwise.binary
        return {"step": lambda: F.linear(x, weight, bias).add_(residual), "onednn": lambda: binary(x, residual, packs, bias, "add")}
    if "gelu" in extras:

        def with_gelu(pre: Tensor) -> tuple[Tensor, Tensor]:
            return pre, F.gelu(pre, approximate="tanh")

        return {"step": lambda: with_gelu(F.linear(x, weight, bias)), "onednn": lambda: with_gelu(linear(x, packs, bias))}
    return {"step": lambda: F.linear(x, weight, bias), "onednn": lambda: linear(x, packs, bias)}


def input_gradient(sizes: tuple[int, int, int], extras: set[str], dtype: torch.dtype) -> dict[str, Way]:
    rows, out, inner = sizes
    dy, weight = random((rows, out), dtype), random((out, inner), dtype)
    packs = packed(weight.t(), rows)
    if "gelu" in extras:
        pre = random((rows, inner), dtype)

        def slope(dx: Tensor) -> Tensor:
            return torch.ops.aten.gelu_backward(dx, pre, approximate="tanh")

        return {"step": lambda: slope(dy @ weight), "onednn": lambda: slope(linear(dy, packs, None))}
    return {"step": lambda: dy @ weight, "onednn": lambda: linear(dy, packs, None)}


def weight_gradient(sizes: tuple[int, int, int], extras: set[str], dtype: torch.dtype) -> dict[str, Way]:
    rows, out, inner = sizes
    dy, x = random((rows, out), dtype), random((rows, inner), dtype)
    sums, bias_sums = torch.zeros(out, inner), torch.zeros(out)

    def bias_gradient() -> None:
        if "bias" in extras:
            bias_sums.add_(dy.sum(0, dtype=torch.float32))

    def step() -> None:
        if dtype == torch.float32:
            sums.addmm_(dy.t(), x)
        else:
            sums.add_(dy.t() @ x)
        bias_gradient()

    def onednn() -> None:
        sums.add_(linear(dy.t(), x.t(), None))
        bias_gradient()

    return {"step": step, "onednn": onednn}


OPERATIONS = {"linear_forward": forward, "linear_backward_input": input_gradient, "linear_backward_weight": weight_gradient}


def set_bytes(sizes: tuple[int, int, int], dtype: torch.dtype) -> int:
    """Of the operands of one run, at least."""
    rows, out, inner = sizes
    return (2 if dtype == torch.bfloat16 else 4) * (rows * out + rows * inner + out * inner)


def median_seconds(ways: list[Way]) -> float:
    """Going through the sets of operands, so that the caches have forgotten each when its turn comes."""
    seconds: list[float] = []
    for way in ways:
        way()
    turn = 0
    while len(seconds) < RUNS or sum(seconds) < LEAST_SECONDS:
        start = time.perf_counter()
        ways[turn % len(ways)]()
        seconds.append(time.perf_counter() - start)
        turn += 1
    return statistics.median(seconds)


def measure(name: str, dtype: torch.dtype, cold_bytes: int) -> dict[str, float]:
    operation, _, shape = name.partition("/")
    found = re.match(r"R=(\d+) N=(\d+) K=(\d+)", shape)
    if operation not in OPERATIONS or not found:
        raise SystemExit(f"{name}: expected one of {', '.join(OPERATIONS)}, a slash and R=.. N=.. K=..")
    sizes = (int(found[1]), int(found[2]), int(found[3]))
    extras = set(shape.split("/")[0].split()[3:])
    unknown = extras - {"bias", "gelu", "residual", "accumulate"}
    if unknown:
        raise SystemExit(f"{name}: PyTorch's side does not know {', '.join(sorted(unknown))}")
    sets = [OPERATIONS[operation](sizes, extras, dtype) for _ in range(max(2, cold_bytes // set_bytes(sizes, dtype) + 1))]
    return {way: median_seconds([each[way] for each in sets]) for way in sets[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="as 'linear_forward/R=1024 N=2304 K=768 bias'")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default %(default)s)")
    parser.add_argument(
        "--cold-bytes",
        type=int,
        default=2**29,
        help="go through so many bytes of operands before one comes again (default %(default)s)",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    with torch.inference_mode():
        seconds = {name: measure(name, dtype, arguments.cold_bytes) for name in arguments.names}
    version = re.search(r"(?:oneDNN|MKL-DNN) v([\d.]+)", torch.__config__.show())
    result: dict[str, Any] = {
        "version": torch.__version__,
        "onednn": version[1] if version else "unknown",
        "note": NOTE,
        "seconds": seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
