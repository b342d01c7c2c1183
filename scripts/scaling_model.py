#!/usr/bin/env python3
"""What data parallelism should reach on many GPUs, on paper: bytes over bandwidths, less what the backward pass hides.

    scripts/scaling_model.py [--tokens 524288] [--model 124m]        prints the table of docs/distributed.md

A step of one GPU takes tokens / rate; a third of it is the forward pass, two thirds the backward pass. A ring moves (R-1)/R of the buffer twice for an
all_reduce and once for a reduce_scatter or an all_gather, over the slowest link. Buckets leave during the backward pass, but the gradient of the
token embedding, which is also the head, is final only at its end; so that bucket is never hidden, nor is ZeRO-1's all_gather of bf16 weights.
"""

from __future__ import annotations

import argparse

# Parameters, of them embeddings, and the tokens/s of one GPU that docs/benchmarks.md names as the goal.
MODELS = {"124m": (124.5e6, 39.4e6, 620e3), "350m": (354.9e6, 52.5e6, 225e3), "774m": (774.1e6, 65.7e6, 107e3), "1558m": (1557.7e6, 82.1e6, 55e3)}
INSIDE, ACROSS = 360e9, 42e9  # bytes/s of one GPU: 80 % of NVLink 4's 450e9, 85 % of one 400 Gbit/s port


def efficiency(model: str, tokens: float, ranks: int, zero: bool) -> tuple[float, float, float]:
    """Milliseconds of computation and of communication that nothing hides, and the share of the time that is computation."""
    parameters, embeddings, rate = MODELS[model]
    step = tokens / ranks / rate
    share, bandwidth = (ranks - 1) / ranks, INSIDE if ranks <= 8 else ACROSS
    passes = 1 if zero else 2
    blocks, last = (passes * share * 4 * count / bandwidth for count in (parameters - embeddings, embeddings))
    exposed = max(0.0, blocks - step * 2 / 3) + last
    if zero:
        exposed += share * 2 * parameters / bandwidth
    return step * 1e3, exposed * 1e3, step / (step + exposed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, nargs="*", default=[2**19, 2**20, 2**22], help="tokens of a step, of all ranks together (default %(default)s)")
    parser.add_argument("--model", nargs="*", choices=list(MODELS), default=["124m", "1558m"])
    arguments = parser.parse_args()
    print("| model | tokens a step | GPUs | computing | waiting for sums | efficiency | waiting, ZeRO-1 | efficiency, ZeRO-1 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for model in arguments.model:
        for tokens in arguments.tokens:
            for ranks in (8, 16, 64, 512):
                step, wait, share = efficiency(model, tokens, ranks, zero=False)
                _, wait_zero, share_zero = efficiency(model, tokens, ranks, zero=True)
                print(f"| {model} | {tokens:,.0f} | {ranks} | {step:.1f} ms | {wait:.1f} ms | {share:.0%} | {wait_zero:.1f} ms | {share_zero:.0%} |")


if __name__ == "__main__":
    main()
