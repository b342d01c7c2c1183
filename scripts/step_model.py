#!/usr/bin/env python3
"""Predicts a training step of GPT-2 124M (bf16, B=64, T=1024) on an H200, kernel by kernel, from counts; and, with the same rules,
things whose times others have published, so that each prediction stands beside the model's own error. No GPU, nothing but Python.

    scripts/step_model.py                        the tables
    scripts/step_model.py --count [--build DIR]  counts the loops of the present kernels again (nvdisasm, as kernels_page.py finds it)
    scripts/step_model.py --loops CUBIN KERNEL   counts the main loop of kernels whose symbol matches, of any program's cubin
    scripts/step_model.py --referee              asks NVIDIA's model of its products again (PyPI's nvidia-matmul-heuristics)

Counts are in step_model.json: instructions of loops as the compiler made them, and the products' times of NVIDIA's model.

The rules. A kernel's warps go round between stations: tensor cores, issue slots, the half-rate pipe, special functions, shared
memory, L2, DRAM. What a warp needs of each is counted; how far warps wait for one another is the textbook's closed network of queues
(mean value analysis in Schweitzer's approximation), which lies between the longest station alone and the sum of all. A warp is at one
station at a time: STREAMS = 1. That is the one choice that was made by looking, at FlashAttention-2 on the H100; its figures on the
A100, and llm.c's, are tests. The rest is of data sheets, measured or estimated, as it says beside each constant.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

DATA = Path(__file__).resolve().parent / "step_model.json"
Counts = dict[str, float]


@dataclass(frozen=True)
class Gpu:
    """Where a rate is not of a data sheet, it says from where."""

    title: str
    multiprocessors: int
    clock: float  # Hz
    tensor_clocks: float  # of a scheduler per mma m16n8k16
    dram: float  # bytes a second of a copy
    l2: float  # bytes a second
    product: float  # TFLOP/s of cuBLAS at 8192^3


# mma.sync reaches 62.9 % of Hopper's tensor peak, 4,096 FLOP a clock (Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU
# Architecture via Microbenchmarking", arXiv 2402.13499; ThunderKittens says 63 %); the clock is the one of the data sheet's 989
# TFLOP/s. H200: 4.3 TB/s and 788 TFLOP/s are measured; the H100 has the same share of its 3.35 TB/s, and published products of 750 to
# 795. A100: mma.sync at its full 2,048 FLOP a clock, 85 % of 312 TFLOP/s ("80 to 90 %", FlashAttention-2's paper). L2: about 5.5 TB/s
# are reported of H100s (Chips and Cheese); the A100's is an estimate.
HOPPER = dict(multiprocessors=132, clock=1.83e9, tensor_clocks=4096 / (4096 / 4 * 0.629), l2=5.5e12)
H200 = Gpu("H200", dram=4.3e12, product=788, **HOPPER)
H100 = Gpu("H100", dram=3.35e12 * 4.3 / 4.8, product=772, **HOPPER)
A100 = Gpu("A100", 108, 1.41e9, 8.0, 2.039e12 * 4.3 / 4.8, 4.0e12, 265)

STREAMS = 1.0  # stations that a warp is at, at once
NODE_GAP = 1.5e-6  # seconds between kernels in a row, of a graph or a busy stream; an estimate (1 to 2 us)
BLOCK_LATENCY = 1600  # clocks of a block in which it waits for its first tiles and its last stores: twice DRAM's 800 (arXiv 2402.13499)


# ---- counting loops in SASS ------------------------------------------------------------------------------------------

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([\w.]+)(.*)")
HALF_RATE = set("FMNMX FSEL FSETP ISETP SEL LOP3 SHF LEA IADD3 VIADD VIADDMNMX VIMNMX IMNMX PRMT F2FP PLOP3".split())
WIDTHS = {"128": 16, "64": 8, "U16": 2, "U8": 1}


def count(code: list[tuple[str, str]]) -> Counts:
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


def disassemble(nvdisasm: str, cubin: Path) -> dict[str, list[tuple[str | None, str, str]]]:
    """By function: labels (label, "", "") and instructions (None, name, operands)."""
    functions: dict[str, list[tuple[str | None, str, str]]] = {}
    code: list[tuple[str | None, str, str]] = []
    for line in subprocess.run([nvdisasm, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout.splitlines():
        if section := re.search(r"\.section\s+\.text\.(\w+),", line):
            code = functions.setdefault(section[1], [])
        elif label := re.match(r"^(\.L_x_\d+):", line):
            code.append((label[1], "", ""))
        elif (found := INSTRUCTION.match(line)) and found[1] != "NOP":
            code.append((None, found[1], found[2]))
    return functions


def find_loops(function: list[tuple[str | None, str, str]]) -> list[dict[str, Counts]]:
    """Loops are what branches back span. Of each: its counts; of those, what only tiles on the diagonal run (a mask: a skipped part
    that is mostly comparisons and selections); and everything outside."""
    code: list[tuple[str, str]] = []
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
        if begin > end or end - begin < 20:
            continue
        mask: list[tuple[str, str]] = []
        for i, target in branches:
            skipped = code[i + 1 : target]
            compared = sum(name.split(".")[0] in ("FSEL", "ISETP") for name, _ in skipped)
            if begin <= i < target <= end and 2 * compared > len(skipped) and not any(n.startswith("HMMA") for n, _ in skipped):
                mask += skipped
        whole, masks = count(code[begin : end + 1]), count(mask)
        loops.append({"loop": {k: whole[k] - masks.get(k, 0) for k in whole}, "mask": masks,
                      "outside": count(code[:begin] + code[end + 1 :])})
    return loops


def main_loop(function: list[tuple[str | None, str, str]]) -> dict[str, Counts]:
    """The innermost loop with the most tensor instructions, or special functions where it has none."""
    def rank(found: dict[str, Counts]) -> tuple[float, float, float]:
        loop = found["loop"]
        return loop.get("tensor", 0), 0 if loop.get("tensor") else loop.get("special", 0), -loop["instructions"]
    return max(find_loops(function), key=rank)


def per_logit(function: list[tuple[str | None, str, str]]) -> float:
    """Instructions of the two loops that take whole vectors of a row, one exponential an element."""
    by_elements: dict[int, float] = {}
    for found in find_loops(function):
        loop = found["loop"]
        elements = int(loop.get("special", 0)) // 8 * 8
        if elements:  # of loops of one size the shortest: others also compare each element with the vocabulary's end
            by_elements[elements] = min(by_elements.get(elements, 1e9), loop["instructions"] / elements)
    return sum(by_elements.values())


# ---- how long it takes -----------------------------------------------------------------------------------------------

def rounds(near: dict[str, float], far: dict[str, float], streams: float) -> float:
    """Times a second (or clock) that one of `streams` at a scheduler is through its stations; far ones are shared by four schedulers."""
    queues = {name: 1.0 for name in (*near, *far)}
    rate = 0.0
    for _ in range(400):
        wait = {name: d * (1 + queues[name] * (streams - 1) / streams) for name, d in near.items()}
        wait |= {name: d * (1 + queues[name] * (4 * streams - 1) / (4 * streams)) for name, d in far.items()}
        rate = streams / sum(wait.values())
        queues = {name: rate * wait[name] * (4 if name in far else 1) for name in queues}
    return rate


@dataclass
class Estimate:
    ms: float
    bounds: dict[str, float]  # ms that each station alone would take


def simple(seconds: dict[str, float], streams: float) -> Estimate:
    """A kernel of which the whole GPU's seconds at each station are known, worked at by `streams` independent units a multiprocessor."""
    near = {name: s for name, s in seconds.items() if s > 0}
    return Estimate(1e3 / rounds(near, {}, streams) if streams < 1e6 else 1e3 * max(near.values()), {n: 1e3 * s for n, s in near.items()})


@dataclass(frozen=True)
class Tiled:
    """A kernel of blocks that go over tiles. work(tiles): for each block of a pair how often a warp runs its loop, and its mask."""

    counts: dict[str, Counts]
    warps: int
    blocks: int  # on a multiprocessor at once
    work: Callable[[int], list[tuple[float, float]]]
    longest_first: bool = True


def warp_clocks(counts: Counts, gpu: Gpu, warps: float, streams: float) -> tuple[float, dict[str, float]]:
    """Clocks until a warp is through, among `warps` of them at a scheduler; and what a scheduler is busy with for one."""
    near = {"issue": counts["instructions"], "half-rate": 2 * counts.get("half", 0), "special": 8 * counts.get("special", 0),
            "tensor": gpu.tensor_clocks * counts.get("tensor", 0)}
    far = {"shared": counts.get("shared", 0), "L2": counts.get("l2", 0) / (gpu.l2 / gpu.multiprocessors / gpu.clock)}
    near, far = ({n: d for n, d in group.items() if d} for group in (near, far))
    return warps / rounds(near, far, warps * streams), near | {n: 4 * d for n, d in far.items()}


def tiled(kernel: Tiled, gpu: Gpu, positions: int, pairs: int, dram_bytes: float, streams: float) -> Estimate:
    warps = kernel.warps * kernel.blocks / 4
    timed = {part: warp_clocks(kernel.counts[part], gpu, warps, streams) if kernel.counts[part].get("instructions") else (0.0, {})
             for part in ("loop", "mask", "outside")}
    blocks = kernel.work(positions)
    lengths = [timed["loop"][0] * n + timed["mask"][0] * masked + timed["outside"][0] + BLOCK_LATENCY for n, masked in blocks]
    order = sorted(lengths * pairs, reverse=True) if kernel.longest_first else lengths * pairs
    slots = [0.0] * (gpu.multiprocessors * kernel.blocks)
    for length in order:  # a new block begins where one ends
        heapq.heapreplace(slots, slots[0] + length)
    bounds: Counter[str] = Counter()
    for part, times in (("loop", sum(n for n, _ in blocks)), ("mask", sum(m for _, m in blocks)), ("outside", len(blocks))):
        for name, clocks in timed[part][1].items():
            bounds[name] += 1e3 * times * pairs * kernel.warps * clocks / (4 * gpu.multiprocessors * gpu.clock)
    bounds["DRAM"] = 1e3 * dram_bytes / gpu.dram
    return Estimate(max(1e3 * max(slots) / gpu.clock, bounds["DRAM"]), dict(bounds))


# ---- what is known: FlashAttention-2 and llm.c -----------------------------------------------------------------------

# TFLOP/s at 512, 1k, 2k, 4k, 8k, 16k: head size 64, 16,384 tokens, 32 heads; causal counts half the square, a backward pass 2.5
# forward passes. Repository of FlashAttention-2, assets/flash2_{a100,h100}_fwd_bwd_benchmark.png; forward: FlashAttention-3's paper.
FLASH_ATTENTION = [
    ("H100", "forward, causal", "sm_90", True, (180, 229, 262, 284, 295, 299)),
    ("H100", "both ways, causal", "sm_90", True, (141, 192, 232, 257, 273, 284)),
    ("H100", "both ways, full", "sm_90", False, (215, 254, 274, 288, 294, 296)),
    ("A100", "both ways, causal", "sm_80", True, (88, 119, 140, 156, 165, 171)),
    ("A100", "both ways, full", "sm_80", False, (132, 153, 162, 171, 175, 176)),
]


def flash_attention(data: dict, gpu: Gpu, architecture: str, causal: bool, positions: int, pairs: int, way: str) -> list[Estimate]:
    """Its kernels at head size 64: the forward pass; or delta and zeros for dQ, the five products, dQ from f32."""
    loops = data["loops"]["flash-attention"][architecture]
    tiles, elements = positions // 128, pairs * positions * 64
    if way == "forward":  # the tile with the mask is outside the loop
        return [tiled(Tiled(loops["forward"], 4, 2, lambda _: [(i if causal else tiles - 1, 0) for i in range(tiles)], False), gpu,
                      positions, pairs, 8 * elements, STREAMS)]
    main = Tiled(loops["backward"], 8, 1, lambda _: [(tiles - j if causal else tiles, 0) for j in range(tiles)], False)
    return [simple({"DRAM": 8 * elements / gpu.dram}, 32), tiled(main, gpu, positions, pairs, 16 * elements, STREAMS),
            simple({"DRAM": 6 * elements / gpu.dram}, 32)]


def flash_attention_rows(data: dict) -> list[tuple[str, int, float, float]]:
    """What, positions, predicted and published TFLOP/s."""
    rows = []
    for name, what, architecture, causal, published in FLASH_ATTENTION:
        gpu = {"H100": H100, "A100": A100}[name]
        for positions, known in zip((512, 1024, 2048, 4096, 8192, 16384), published):
            ways = ("forward",) if what.startswith("forward") else ("forward", "backward")
            pairs = 32 * 16384 // positions
            kernels = [e for way in ways for e in flash_attention(data, gpu, architecture, causal, positions, pairs, way)]
            flop = 4 * 64 * pairs * positions**2 / (2 if causal else 1) * (1 if len(ways) == 1 else 3.5)
            ms = sum(e.ms for e in kernels) + 1e3 * NODE_GAP * (len(kernels) - 1)
            rows.append((f"{name}, {what}", positions, flop / ms / 1e9, known))
    return rows


# GPT-2 124M, B=64, T=1024.
LAYERS, ROWS, CHANNELS, VOCABULARY, PADDED, PARAMETERS = 12, 65536, 768, 50257, 50304, 124475904
HEADS, POSITIONS, PAIRS = 12, 1024, 64 * 12
UNIT = ROWS * CHANNELS * 2  # bytes of [rows, channels] in bf16
LINEAR = {"qkv": (2304, 768), "proj": (768, 768), "fc": (3072, 768), "fcproj": (768, 3072)}
ATTENTION_FLOP = LAYERS * 4 * 64 * PAIRS * POSITIONS**2 / 2  # forward, causal counts half the square


@dataclass
class Part:
    family: str
    name: str
    estimate: Estimate
    launches: float = 1  # equal ones

    @property
    def ms(self) -> float:
        return self.launches * (self.estimate.ms + 1e3 * NODE_GAP)

    def bounds(self) -> dict[str, float]:
        return {name: self.launches * ms for name, ms in self.estimate.bounds.items()}


def product(data: dict, gpu: Gpu, of: str, kind: int, rows: int = ROWS, extra_bytes: float = 0) -> Estimate:
    """kind: forward, input gradient, weight gradient to f32, to bf16. Scaled by what is measured at 8192^3; what its epilogue reads or
    writes beside the result is added at DRAM's rate, as nothing overlaps it in a tile's end."""
    answers = data["products"]["gpus"][{"H200": "H200_SXM", "H100": "H100_SXM", "A100": "A100_SXM_80GB"}[gpu.title]]
    ms = (answers["head"][str(rows)] if of == "head" else answers[of])[kind] * answers["square"] / gpu.product
    return Estimate(ms + 1e3 * extra_bytes / gpu.dram, {"tensor": ms, "DRAM": 1e3 * extra_bytes / gpu.dram})


def dram(gpu: Gpu, moved: float) -> Estimate:
    return simple({"DRAM": moved / gpu.dram}, 32)


def issue_seconds(gpu: Gpu, instructions: float) -> float:
    """Of warps' instructions."""
    return instructions / (4 * gpu.multiprocessors * gpu.clock)


def llmc_step(data: dict, gpu: Gpu) -> list[Part]:
    """llm.c's kernels for one of 8 GPUs as run_gpt2_124M.sh has it but with -r 0 as default GELU kernels of their own (-ge 0), cuDNN's
    attention at its published rates, ZeRO 1. Loops of commit f1e2ace6."""
    parts = [Part("products of the layers", f"{of} {way}", product(data, gpu, of, kind), LAYERS)
             for of in LINEAR for kind, way in ((0, "forward"), (1, "input gradient"), (3, "weight gradient"))]
    parts += [Part("products of the head", way, product(data, gpu, "head", kind)) for kind, way in
              ((0, "forward"), (1, "input gradient"), (3, "weight gradient"))]
    # H100: cuDNN 9 in FlashAttention-3's paper, 288 forward; backward 245, estimated from its full one. A100: FlashAttention-2's 119.
    rates = (288, 245) if gpu is not A100 else (119, 119)
    parts += [Part("attention", way, Estimate(flop / rate / 1e9, {"published": flop / rate / 1e9}), 1)
              for way, flop, rate in (("forward", ATTENTION_FLOP, rates[0]), ("backward", 2.5 * ATTENTION_FLOP, rates[1]))]
    row = data["loops"]["llm.c"]
    parts += [
        Part("layernorm, residual", "fused residual", dram(gpu, 4 * UNIT), 2 * LAYERS),
        Part("layernorm, residual", "backward", simple({
            "DRAM": 4 * UNIT / gpu.dram,
            "issue": issue_seconds(gpu, ROWS * row["layernorm_backward"]["instructions"]),
            "shared": ROWS * row["layernorm_backward"]["shared"] / gpu.multiprocessors / gpu.clock}, 32), 2 * LAYERS + 1),
        Part("gelu", "forward", dram(gpu, 8 * UNIT), LAYERS),
        Part("gelu", "backward", dram(gpu, 12 * UNIT), LAYERS),
        Part("bias gradients", "all of a layer", dram(gpu, 9 * UNIT), LAYERS),
        Part("cross-entropy", "fused classifier", simple({
            "DRAM": 2 * ROWS * VOCABULARY * 2 / gpu.dram,
            "issue": issue_seconds(gpu, ROWS * VOCABULARY / 32 * row["classifier"]["instructions"]),
            "special": ROWS * VOCABULARY * row["classifier"]["special"] / (16 * gpu.multiprocessors * gpu.clock)}, 2)),
        Part("optimizer", "AdamW and norm, of an eighth", dram(gpu, PARAMETERS * (28 / 8 + 2))),
        Part("embedding, zeros", "", dram(gpu, 7 * UNIT + 2 * PARAMETERS), 1),
        # 249 MB of parameters gathered and 77 MB of gradients behind the last kernel at 370 (H100) and 230 GB/s (A100) of the bus;
        # 12 launches a layer more than counted above; four waits of the host for the GPU, 50 us each. Estimates.
        Part("between GPUs, host", "", Estimate(1e3 * (326e6 * 7 / 8 / (370e9 if gpu is not A100 else 230e9) + 200e-6), {})),
    ]
    return parts


# ---- temper's step ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Variant:
    name: str
    loops: str  # which of step_model.json's
    head_rows: int = ROWS
    residual_in_product: bool = False
    key_rows: int = 1  # tiles of 16 rows that a warp of the second pass of attention's backward pass owns
    one_pass: bool = False
    logit_instructions: float | None = None  # instead of those counted
    stall_ms: float = 0.0  # for uploads


def causal_queries(positions: int) -> list[tuple[float, float]]:
    """Forward: 128 queries a block, 64 keys a round; half of the warps have none in the last."""
    return [(2 * i + 1.5, 1) for i in range(positions // 128)]


def causal_gradient(positions: int) -> list[tuple[float, float]]:
    """dQ: 128 queries a block, 32 keys half a round; a warp of 32 queries stops at its own."""
    return [(2 * i + 1.25, 1) for i in range(positions // 128)]


def causal_keys(rows: int) -> Callable[[int], list[tuple[float, float]]]:
    """dK and dV: 64 rows keys a block, 64 queries a round; a warp begins at the half round of its own keys."""
    return lambda positions: [((positions - first) / 64 - (0.25 if rows == 1 else 0.75), 1) for first in range(0, positions, 64 * rows)]


# One block for a pair, 128 keys a tile, 4 warps of 32, 64 queries a round; dS through shared memory, dQ in f32 through L2. On paper: 5
# products of 64 mma a warp; ldmatrix: 4 x 16 for the streamed operands, 16 for keys and values again, which no registers are left for,
# 40 for dQ; the arithmetic of two warps of the present second pass.
ONE_PASS = {"loop": {"instructions": 1120, "tensor": 320, "special": 64, "half": 250, "shared": 4 * 120 + 32 + 36, "l2": 4608 + 8192},
            "mask": {"instructions": 87, "half": 83}, "outside": {}}


def attention_backward(data: dict, gpu: Gpu, v: Variant) -> list[tuple[str, Estimate]]:
    loops = data["loops"]["temper"][v.loops]
    if v.one_pass:
        outside = {k: 8 * n for k, n in loops["key_gradient_1"]["outside"].items()}
        kernel = Tiled(ONE_PASS | {"outside": outside}, 4, 2, lambda T: [(sum(T / 64 - 2 * j for j in range(T // 128)), T / 128)])
        return [("delta", dram(gpu, 2 * UNIT)), ("one pass", tiled(kernel, gpu, POSITIONS, PAIRS, 8 * UNIT + 4 * UNIT, STREAMS))]
    name = f"key_gradient_{v.key_rows}"
    keys = Tiled(loops.get(name) or data["loops"]["temper"]["tried"][name], 4, 3 if v.key_rows == 1 else 2, causal_keys(v.key_rows))
    return [("dQ", tiled(Tiled(loops["query_gradient"], 4, 2, causal_gradient), gpu, POSITIONS, PAIRS, 6 * UNIT, STREAMS)),
            ("dK, dV", tiled(keys, gpu, POSITIONS, PAIRS, 6 * UNIT, STREAMS))]


def temper_step(data: dict, gpu: Gpu, v: Variant) -> list[Part]:
    loops = data["loops"]["temper"][v.loops]
    added = UNIT if v.residual_in_product else 0
    extra = {"proj forward": added, "fcproj forward": added, "fc forward": 4 * UNIT, "fcproj input gradient": 4 * UNIT}
    ways = ((0, "forward"), (1, "input gradient"), (2, "weight gradient"))
    parts = [Part("products of the layers", f"{of} {way}", product(data, gpu, of, kind, extra_bytes=extra.get(f"{of} {way}", 0)), LAYERS)
             for of in LINEAR for kind, way in ways]
    chunks = ROWS / v.head_rows
    again = 4 * PADDED * CHANNELS * (chunks - 1) / chunks  # chunks after the first read the sum
    parts += [Part("products of the head", way, product(data, gpu, "head", kind, v.head_rows, again if kind == 2 else 0), chunks)
              for kind, way in ways]
    logit = loops["cross_entropy"] if v.logit_instructions is None else v.logit_instructions
    forward = Tiled(loops["forward"], 4, 2, causal_queries)
    parts.append(Part("attention forward", "", tiled(forward, gpu, POSITIONS, PAIRS, 4 * UNIT, STREAMS), LAYERS))
    parts += [Part("attention backward", name, estimate, LAYERS) for name, estimate in attention_backward(data, gpu, v)]
    norm = {"DRAM": (2 if v.residual_in_product else 4) * UNIT / gpu.dram,
            "issue": issue_seconds(gpu, ROWS * loops["layernorm_forward"])}
    back = {"DRAM": 4 * UNIT / gpu.dram, "issue": issue_seconds(gpu, ROWS * loops["layernorm_backward"])}
    parts += [
        Part("layernorm, residual", "forward", simple(norm, 32), 2 * LAYERS + 1),
        Part("layernorm, residual", "backward", simple(back, 16), 2 * LAYERS + 1),
        Part("layernorm, residual", "backward: partial rows", dram(gpu, 5e6), 2 * LAYERS + 1),
        Part("cross-entropy", "", simple({
            "DRAM": 2 * v.head_rows * VOCABULARY * 2 / gpu.dram,
            "issue": issue_seconds(gpu, v.head_rows * VOCABULARY / 32 * logit),
            "special": 2 * v.head_rows * VOCABULARY / (16 * gpu.multiprocessors * gpu.clock)}, 2), chunks),
        Part("optimizer", "AdamW", dram(gpu, 30.4 * PARAMETERS)),
        Part("optimizer", "norm", dram(gpu, 2 * PARAMETERS), 2),
        Part("embedding", "both ways", dram(gpu, ((2 + 3.7) * UNIT + 8 * PADDED * CHANNELS) / 8), 8),
        Part("stall for uploads", "", Estimate(v.stall_ms, {}), 1),
    ]
    return parts


def variants(data: dict) -> list[Variant]:
    """As it was, as the sources are, and what is planned."""
    present = Variant("present", "present", key_rows=1 if "key_gradient_1" in data["loops"]["temper"]["present"] else 2)
    return [
        Variant("6494ef1", "6494ef1", head_rows=2624, stall_ms=0.15),  # three uploads a step and two buffers: an estimate
        present,
        replace(present, name="with the residual in the products", residual_in_product=True),
        replace(present, name="with that and two row tiles for dK and dV", residual_in_product=True, key_rows=2),
        replace(present, name="with that and one pass of five products", residual_in_product=True, one_pass=True),
    ]


# ---- tables ----------------------------------------------------------------------------------------------------------

STATIONS = ("DRAM", "L2", "issue", "shared", "tensor", "special")


def by_family(parts: list[Part]) -> dict[str, float]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums[part.family] += part.ms
    return dict(sums)


def table(header: list[str], texts: int, rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * texts + ["--:"] * (len(header) - texts), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def part_rows(parts: list[Part]) -> list[list[str]]:
    rows = []
    for part in parts:
        bounds = part.bounds()
        most = max(bounds, key=lambda name: bounds[name], default="")
        rows.append([f"{part.family}: {part.name}" if part.name else part.family, f"{part.launches:.0f}",
                     *(f"{bounds[name]:.2f}" if bounds.get(name, 0) >= 0.005 else "" for name in STATIONS),
                     most if part.ms > 0.01 else "", f"predicted {part.ms:.2f}"])
    return rows


@dataclass(frozen=True)
class Errors:
    """Predicted over known time less 1, in percent."""

    llmc: dict[str, tuple[float, float, float]]  # predicted ms, known ms, error
    flash: list[tuple[str, int, float, float, float]]

    def flash_mean(self) -> float:
        return sum(abs(error) for *_, error in self.flash) / len(self.flash)

    def line(self) -> str:
        return (f"± error on llm.c {self.llmc['H100'][2]:+.0f} % (H100) and {self.llmc['A100'][2]:+.0f} % (A100), on FlashAttention-2 "
                f"{self.flash_mean():.0f} % ({min(e for *_, e in self.flash):+.0f} to {max(e for *_, e in self.flash):+.0f} %)")


LLMC_KNOWN = {"H100": 139.0, "A100": 300.0}  # ms of 65,536 tokens a GPU: modded-nanogpt's record 1 (138 to 140), run_gpt2_124M.sh


def errors(data: dict) -> Errors:
    llmc = {}
    for gpu in (H100, A100):
        predicted, known = sum(part.ms for part in llmc_step(data, gpu)), LLMC_KNOWN[gpu.title]
        llmc[gpu.title] = (predicted, known, 100 * (predicted / known - 1))
    return Errors(llmc, [(*row, 100 * (row[3] / row[2] - 1)) for row in flash_attention_rows(data)])


def section(data: dict) -> list[str]:
    """Of docs/kernels.md."""
    error = errors(data)
    every = variants(data)
    steps = [(v, temper_step(data, H200, v)) for v in every]
    present = steps[1][1]
    lines = [
        "## Predicted: a training step of GPT-2 124M on an H200",
        "",
        "bf16, B=64, T=1024, 65,536 tokens. Predicted by `scripts/step_model.py` from counted instructions and bytes, and for the products",
        "from NVIDIA's model of its kernels; nothing here was timed. Milliseconds a step; under each station what it alone would take.",
        "",
        f"The same rules, held against what others published: {error.line()}.",
        "A difference between two predictions is safer than either.",
        "",
        *table(["part, with the present sources", "launches", *STATIONS, "most", "ms"], 1, part_rows(present)),
        "",
        *table(["step", *by_family(present), "ms", "tokens/s"], 1,
               [[v.name, *(f"{ms:.1f}" for ms in by_family(parts).values()), f"predicted {sum(p.ms for p in parts):.1f}",
                 f"predicted {ROWS / sum(p.ms for p in parts):.0f}k"] for v, parts in steps]),
        "",
        "What is known, and what the same rules say of it:",
        "",
        *table(["llm.c, a step", "predicted ms", "known ms", "error"], 1,
               [[f"8 x {name}", f"{p:.0f}", f"{k:.0f}", f"{e:+.0f} %"] for name, (p, k, e) in error.llmc.items()]),
        "",
        *table(["FlashAttention-2, head size 64, TFLOP/s", "positions", "predicted", "published", "error of the time"], 1,
               [[what, str(n), f"{p:.0f}", f"{k:.0f}", f"{e:+.0f} %"] for what, n, p, k, e in error.flash]),
    ]
    return lines


# ---- the data --------------------------------------------------------------------------------------------------------

OWN = {
    "forward": ("attention_forward", "forward_tiles_kernelILi64E"),
    "query_gradient": ("attention_backward", "query_gradient_kernelILi64E"),
    "key_gradient": ("attention_backward", "key_gradient_kernelILi64E"),
    "cross_entropy": ("cross_entropy", "cross_entropy_kernelI.*bfloat16E.*RowE0E"),
    "layernorm_forward": ("layernorm", r"14forward_kernelI.*bfloat16ELi3ELb1E"),
    "layernorm_backward": ("layernorm", r"15backward_kernelI.*bfloat16ELi3ELi1E"),
}


def count_own(nvdisasm: str, cubin: Callable[[str], Path]) -> dict:
    """Of temper's kernels: the main loops of the tiled ones, and what a logit and a row of the others take."""
    counted: dict = {}
    for name, (file, symbol) in OWN.items():
        found = [code for function, code in disassemble(nvdisasm, cubin(file)).items() if re.search(symbol, function)]
        if len(found) != 1:
            raise SystemExit(f"{file}: {len(found)} kernels match {symbol}")
        if name == "cross_entropy":
            counted[name] = per_logit(found[0])
        elif name.startswith("layernorm"):
            whole = count([(n, o) for label, n, o in found[0] if label is None])["instructions"]
            counted[name] = max((loop["loop"]["instructions"] for loop in find_loops(found[0])), default=whole)
        else:
            loop = main_loop(found[0])
            counted[name + (f"_{int(loop['loop']['tensor']) // 128}" if name == "key_gradient" else "")] = loop
    return counted


def ask_referee(gpu_name: str, precision: str) -> NoReturn:
    """One GPU and type of result in a process of its own, which does not end as usual: the package crashes when its objects go."""
    import nvMatmulHeuristics as heuristics  # noqa: PLC0415

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


def referee() -> dict:
    from importlib.metadata import version  # noqa: PLC0415

    gpus: dict = {}
    for gpu_name in ("H200_SXM", "H100_SXM", "A100_SXM_80GB"):
        low, full = (json.loads(subprocess.run([sys.executable, __file__, "--referee-of", gpu_name, precision], check=True,
                                               capture_output=True, text=True).stdout) for precision in ("TST", "TSS"))
        answers: dict = {"square": round(low["square"][0], 1), "head": {}}
        for name in low:
            times = [round(ms, 4) for ms in (*low[name][:2], full[name][-1], low[name][-1])]
            if name.startswith("head "):
                answers["head"][name[5:]] = times
            elif name != "square":
                answers[name] = times
        gpus[gpu_name] = answers
    return {"of": f"nvidia-matmul-heuristics {version('nvidia-matmul-heuristics')}", "made by": "scripts/step_model.py --referee",
            "ms": "forward, input gradient, weight gradient to f32, to bf16", "gpus": gpus}


def write(data: dict) -> None:
    text = json.dumps(data, indent=1)
    DATA.write_text(re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", lambda found: " ".join(found[0].split()), text) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parent.parent / "build" / "release", metavar="DIR")
    parser.add_argument("--loops", nargs=2, metavar=("CUBIN", "KERNEL"))
    parser.add_argument("--referee", action="store_true")
    parser.add_argument("--referee-of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.referee_of:
        ask_referee(*arguments.referee_of)
    data = json.loads(DATA.read_text(encoding="utf-8"))
    if arguments.referee:
        write(data | {"products": referee()})
        return 0
    if arguments.loops or arguments.count:
        from compiled_kernels import find_nvcc  # noqa: PLC0415
        from kernels_page import find_nvdisasm  # noqa: PLC0415

        nvdisasm = find_nvdisasm(find_nvcc() or "nvcc")
        if nvdisasm is None:
            print("step_model.py: no nvdisasm; NVDISASM may name it", file=sys.stderr)
            return 2
        if arguments.count:
            data["loops"]["temper"]["present"] = count_own(nvdisasm, own_cubin(arguments.build))
            write(data)
            return 0
        for function, code in disassemble(nvdisasm, Path(arguments.loops[0])).items():
            if re.search(arguments.loops[1], function) and find_loops(code):
                print(function, json.dumps(main_loop(code)))
        return 0
    print("\n".join(section(data)))
    return 0


def own_cubin(build: Path) -> Callable[[str], Path]:
    return lambda file: next(iter((build / "kernels" / "cuda" / "CMakeFiles" / "temper_cuda.dir").glob(f"{file}.cu.o.*90a.cubin")))


if __name__ == "__main__":
    sys.exit(main())
