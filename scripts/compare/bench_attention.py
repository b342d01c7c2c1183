#!/usr/bin/env python3
"""Times PyTorch's causal attention in bf16 on a GPU, forward and backward, on FlashAttention and on cuDNN: the number to beat.

Query, key and value are views of one packed tensor [B,T,3,H,D], as GPT-2 has them and as temper reads them. Data is random; by
default there is more of it than any GPU's L2 cache holds. Operations are counted causally, half the square: 2 B H T T D forward,
and 2.5 times that backward, which does five products where the forward pass does two. A sample is the mean of several calls
between two CUDA events.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import provenance

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def percentile(samples: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def seconds_of(call: Callable[[], object], arguments: argparse.Namespace) -> dict[str, float]:
    """Of one call: median, 10th and 90th percentile."""
    for _ in range(arguments.warmup):
        call()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(arguments.repetitions + 1)]
    marks[0].record()
    for mark in marks[1:]:
        for _ in range(arguments.calls):
            call()
        mark.record()
    torch.cuda.synchronize()
    seconds = [1e-3 * before.elapsed_time(after) / arguments.calls for before, after in pairwise(marks)]
    return {"median": percentile(seconds, 0.5), "p10": percentile(seconds, 0.1), "p90": percentile(seconds, 0.9)}


def attention(parts: tuple[Tensor, Tensor, Tensor], backend: SDPBackend) -> Tensor:
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(*parts, is_causal=True)


def in_double(parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Attention of the first sequence and head, the plain way."""
    q, k, v = (part[0, 0].detach().double() for part in parts)
    future = torch.ones(q.shape[0], q.shape[0], dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.T / math.sqrt(q.shape[1])).masked_fill(future, -math.inf)
    return scores.softmax(dim=-1) @ v


def measure_backend(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    b, h, t, d = arguments.batch, arguments.heads, arguments.context, arguments.head_size
    packed = torch.randn(b, t, 3, h, d, device="cuda", dtype=torch.bfloat16)
    q, k, v = (part.transpose(1, 2).detach().requires_grad_() for part in packed.unbind(2))
    upstream = torch.randn(b, t, h, d, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
    out = attention((q, k, v), BACKENDS[name])
    expected = in_double((q, k, v))
    error = ((out[0, 0].detach().double() - expected).norm() / expected.norm()).item()
    if not error < 1e-2:  # written so that NaN fails
        raise RuntimeError(f"its output is wrong: relative error {error:.1e}")

    def forward() -> None:
        with torch.no_grad():
            attention((q, k, v), BACKENDS[name])

    def backward() -> None:
        torch.autograd.grad(out, (q, k, v), upstream, retain_graph=True)

    flops = 2.0 * b * h * t * t * d
    results = []
    for what, call, amount in (("forward", forward, flops), ("backward", backward, 2.5 * flops)):
        seconds = seconds_of(call, arguments)
        rate = amount / seconds["median"]
        results.append({"name": what, "attention": name, "seconds": seconds, "flops": amount, "flops_per_second": rate})
    return results


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attention", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="(default: both)")
    parser.add_argument("--batch", type=int, default=64, help="sequences (default %(default)s)")
    parser.add_argument("--heads", type=int, default=12, help="(default %(default)s)")
    parser.add_argument("--context", type=int, default=1024, help="tokens of a sequence (default %(default)s)")
    parser.add_argument("--head-size", type=int, default=64, help="(default %(default)s)")
    parser.add_argument("--warmup", type=int, default=10, help="untimed calls (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=30, help="samples (default %(default)s)")
    parser.add_argument("--calls", type=int, default=5, help="calls of a sample (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result here too")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} sees no GPU here")
    torch.manual_seed(1337)
    work = ("batch", "heads", "context", "head_size", "warmup", "repetitions", "calls")
    report: dict[str, Any] = {
        "date": provenance.date(),
        "commit": provenance.commit(),
        "machine": provenance.machine("cuda"),
        "workload": {**{name: getattr(arguments, name) for name in work}, "precision": "bf16", "causal": True},
        "pytorch": {"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
        "results": [],
    }
    for name in arguments.attention:
        try:
            report["results"] += measure_backend(name, arguments)
        except RuntimeError as error:  # what this GPU or this PyTorch does not have
            report["results"].append({"name": "forward", "attention": name, "error": str(error).splitlines()[0]})
    report["clocks_after"] = provenance.gpu_clocks()
    result = json.dumps(report, indent=2)
    print(result)
    if arguments.json:
        arguments.json.write_text(result + "\n")
    return 1 if any("error" in each for each in report["results"]) else 0


if __name__ == "__main__":
    sys.exit(main())
