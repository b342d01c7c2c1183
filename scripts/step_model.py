#!/usr/bin/env python3
"""Predicts a training step of GPT-2 124M (bf16, B=64, T=1024) on an H200, kernel by kernel, from counts; and, with the same rules,
things whose times others have published, so that each prediction stands beside the model's own error. No GPU, nothing but Python.

    scripts/step_model.py      prints the tables, which kernels_page.py also puts into docs/kernels.md

Counts are in step_model.json, which step_model_data.py makes: instructions of loops as the compiler made them (sass_loops.py), and the
products' times in NVIDIA's model of its kernels. Another design of a step is another Variant.

The rules. A kernel's warps go round between stations: tensor cores, issue slots, the half-rate pipe, special functions, shared
memory, L2, DRAM. What a warp needs of each is counted; how far warps wait for one another is the textbook's closed network of queues
(mean value analysis in Schweitzer's approximation), which lies between the longest station alone and the sum of all. A warp is at one
station at a time: STREAMS = 1. That is the one choice that was made by looking, at FlashAttention-2 on the H100; its figures on the
A100, and llm.c's, are tests. The rest is of data sheets, measured or estimated, as it says beside each constant.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    product: float  # share of the rate in NVIDIA's model that products reach


# mma.sync reaches 62.9 % of Hopper's tensor peak, 4,096 FLOP a clock (Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU
# Architecture via Microbenchmarking", arXiv 2402.13499; ThunderKittens says 63 %); the clock is the one of the data sheet's 989
# TFLOP/s. On an H200 4.3 TB/s and 788 TFLOP/s at 8192^3 are measured, where the model says 978; the H100 is the same chip with 3.35
# TB/s. (At 8192^3 alone the model has the H100 at 734, which is measured there at 750 to 795; scaled by that, llm.c's products take a
# quarter less.) A100: mma.sync at its full 2,048 FLOP a clock; products at 85 % of 312 TFLOP/s ("80 to 90 %", FlashAttention-2's
# paper) where the model says 299. L2: about 5.5 TB/s are reported of H100s (Chips and Cheese); the A100's is an estimate.
HOPPER = dict(multiprocessors=132, clock=1.83e9, tensor_clocks=4096 / (4096 / 4 * 0.629), l2=5.5e12, product=788 / 978)
H200 = Gpu("H200", dram=4.3e12, **HOPPER)
H100 = Gpu("H100", dram=3.35e12 * 4.3 / 4.8, **HOPPER)
A100 = Gpu("A100", 108, 1.41e9, 8.0, 2.039e12 * 4.3 / 4.8, 4.0e12, 265 / 299)

STREAMS = 1.0  # stations that a warp is at, at once
NODE_GAP = 1.5e-6  # seconds between kernels in a row, of a graph or a busy stream; an estimate (1 to 2 us)
BLOCK_LATENCY = 1600  # clocks of a block in which it waits for its first tiles and its last stores: twice DRAM's 800 (arXiv 2402.13499)


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
    return Estimate(1e3 / rounds(near, {}, streams), {name: 1e3 * s for name, s in near.items()})


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


def flash_attention(data: dict[str, Any], gpu: Gpu, architecture: str, causal: bool, positions: int, pairs: int, way: str) -> list[Estimate]:
    """Its kernels at head size 64: the forward pass; or delta and zeros for dQ, the five products, dQ from f32."""
    loops = data["loops"]["flash-attention"][architecture]
    tiles, elements = positions // 128, pairs * positions * 64
    if way == "forward":  # the tile with the mask is outside the loop
        return [tiled(Tiled(loops["forward"], 4, 2, lambda _: [(i if causal else tiles - 1, 0) for i in range(tiles)], False), gpu,
                      positions, pairs, 8 * elements, STREAMS)]
    main = Tiled(loops["backward"], 8, 1, lambda _: [(tiles - j if causal else tiles, 0) for j in range(tiles)], False)
    return [simple({"DRAM": 8 * elements / gpu.dram}, 32), tiled(main, gpu, positions, pairs, 16 * elements, STREAMS),
            simple({"DRAM": 6 * elements / gpu.dram}, 32)]


def flash_attention_rows(data: dict[str, Any]) -> list[tuple[str, int, float, float]]:
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


def product(data: dict[str, Any], gpu: Gpu, of: str, kind: int, rows: int = ROWS, extra_bytes: float = 0) -> Estimate:
    """kind: forward, input gradient, weight gradient to f32, to bf16. What its epilogue reads or writes beside the result is added at
    DRAM's rate, as if nothing overlapped it at a tile's end."""
    answers = data["products"]["gpus"][{"H200": "H200_SXM", "H100": "H100_SXM", "A100": "A100_SXM_80GB"}[gpu.title]]
    ms = (answers["head"][str(rows)] if of == "head" else answers[of])[kind] / gpu.product
    return Estimate(ms + 1e3 * extra_bytes / gpu.dram, {"tensor": ms, "DRAM": 1e3 * extra_bytes / gpu.dram})


def dram(gpu: Gpu, moved: float) -> Estimate:
    return simple({"DRAM": moved / gpu.dram}, 32)


def issue_seconds(gpu: Gpu, instructions: float) -> float:
    """Of warps' instructions."""
    return instructions / (4 * gpu.multiprocessors * gpu.clock)


def llmc_step(data: dict[str, Any], gpu: Gpu) -> list[Part]:
    """llm.c's kernels on one of 8 GPUs as scripts/run_gpt2_124M.sh runs it: B=64, nothing computed again, GELU in kernels of its own (its
    default), ZeRO 1, cuDNN's attention, which is taken at its published rates. Commit f1e2ace6."""
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
        # four waits of the host for the GPU, 50 us each. Estimates.
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


def attention_backward(data: dict[str, Any], gpu: Gpu, v: Variant) -> list[tuple[str, Estimate]]:
    loops = data["loops"]["temper"][v.loops]
    if v.one_pass:  # a block goes over all tiles of 128 keys of a pair, and waits for its slowest warp at each of 64 queries
        tiles = POSITIONS // 64
        rounds_of_pair = sum(tiles - 2 * j for j in range(tiles // 2))
        first = tiles / rounds_of_pair  # of the rounds add to no earlier sum of dQ, and as many write dQ itself
        counts = dict(loops["one_pass"])
        # A warp's quarter of a round: queries, dO and their statistics; sums in f32 read and written; dQ. The code has ways for each.
        counts["loop"] = counts["loop"] | {"l2": (2 * 8192 + 512) / 4 + 2 * 4096 * (1 - first) + 2048 * first}
        counts["outside"] = {key: POSITIONS / 128 * n for key, n in counts["outside"].items()}
        kernel = Tiled(counts, 4, 2, lambda T: [(rounds_of_pair, T / 128)])
        return [("delta", dram(gpu, 2 * UNIT)), ("one pass", tiled(kernel, gpu, POSITIONS, PAIRS, 8 * UNIT + 4 * UNIT, STREAMS))]
    keys = Tiled(loops[f"key_gradient_{v.key_rows}"], 4, 3 if v.key_rows == 1 else 2, causal_keys(v.key_rows))
    return [("dQ", tiled(Tiled(loops["query_gradient"], 4, 2, causal_gradient), gpu, POSITIONS, PAIRS, 6 * UNIT, STREAMS)),
            ("dK, dV", tiled(keys, gpu, POSITIONS, PAIRS, 6 * UNIT, STREAMS))]


def temper_step(data: dict[str, Any], gpu: Gpu, v: Variant) -> list[Part]:
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


def variants(data: dict[str, Any]) -> list[Variant]:
    """As it was, what changed one after the other, and as the sources are."""
    present = data["loops"]["temper"]["present"]
    was = Variant("6494ef1", "6494ef1", head_rows=2624, stall_ms=0.15)  # three uploads a step and two buffers: an estimate
    head = replace(was, name="head in one piece, cross-entropy, uploads", logit_instructions=present["cross_entropy"], head_rows=ROWS, stall_ms=0)
    rows = replace(head, name="two row tiles for dK and dV", loops="present", key_rows=2, logit_instructions=None)
    added = replace(rows, name="the residual added in the products", residual_in_product=True)
    return [was, head, rows, added, replace(added, name="attention's backward pass in one pass: present", one_pass=True)]



# ---- tables ----------------------------------------------------------------------------------------------------------

STATIONS = ("DRAM", "L2", "issue", "shared", "tensor", "special")


def by_family(parts: list[Part]) -> dict[str, float]:
    sums: Counter[str] = Counter()
    for part in parts:
        sums[part.family] += part.ms
    return dict(sums)


def shares(parts: list[Part]) -> tuple[float, float, float]:
    """Percent of products, attention and the rest."""
    products, attention = (sum(p.ms for p in parts if p.family.startswith(of)) for of in ("products", "attention"))
    whole = sum(p.ms for p in parts) / 100
    return products / whole, attention / whole, 100 - (products + attention) / whole


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

    def line(self) -> str:
        steps = ", ".join(f"{round(error):+d} % ({name})" for name, (_, _, error) in self.llmc.items())
        flash = [error for *_, error in self.flash]
        return (f"± error on llm.c {steps}; on FlashAttention-2 {sum(map(abs, flash)) / len(flash):.0f} % "
                f"({round(min(flash)):+d} to {round(max(flash)):+d} %)")


LLMC_KNOWN = {"H100": 139.0, "A100": 300.0}  # ms of 65,536 tokens a GPU: modded-nanogpt's record 1 (138 to 140), run_gpt2_124M.sh


def errors(data: dict[str, Any]) -> Errors:
    llmc = {}
    by_its_square = replace(H100, product=772 / data["products"]["gpus"]["H100_SXM"]["square"])
    for name, gpu in (("H100", H100), ("H100, products scaled by its own 8192^3", by_its_square), ("A100", A100)):
        predicted, known = sum(part.ms for part in llmc_step(data, gpu)), LLMC_KNOWN[gpu.title]
        llmc[name] = (predicted, known, 100 * (predicted / known - 1))
    return Errors(llmc, [(*row, 100 * (row[3] / row[2] - 1)) for row in flash_attention_rows(data)])


def section(data: dict[str, Any]) -> list[str]:
    """Of docs/kernels.md."""
    error = errors(data)
    every = variants(data)
    steps = [(v, temper_step(data, H200, v)) for v in every]
    present = steps[-1][1]
    lines = [
        "## Predicted: a training step of GPT-2 124M on an H200",
        "",
        "bf16, B=64, T=1024, 65,536 tokens. Predicted by `scripts/step_model.py` from counted instructions and bytes, and for the products",
        "from NVIDIA's model of its kernels; nothing here was timed. Milliseconds a step; under each station what it alone would take.",
        "",
        "The same rules, held against what others published, where + says that the predicted time is too long:",
        f"{error.line()}.",
        "A difference between two predictions is safer than either. One choice was made by looking at FlashAttention-2's figures on the H100",
        "(a warp is at one station at a time), one by looking at llm.c's on the H100 (its products scaled as the H200's); the A100's are tests.",
        "",
        *table(["part, as the sources are", "launches", *STATIONS, "most", "ms"], 1, part_rows(present)),
        "",
        *table(["changes, one after the other", *by_family(present), "ms", "tokens/s"], 1,
               [[v.name, *(f"{ms:.1f}" for ms in by_family(parts).values()), f"predicted {sum(p.ms for p in parts):.1f}",
                 f"predicted {ROWS / sum(p.ms for p in parts):.0f}k"] for v, parts in steps]),
        "",
        "What is known, and what the same rules say of it:",
        "",
        *table(["llm.c, a step", "predicted ms", "known ms", "error"], 1,
               [[f"8 x {name}", f"{p:.0f}", f"{k:.0f}", f"{round(e):+d} %"] for name, (p, k, e) in error.llmc.items()]),
        "",
        *table(["llm.c on A100, percent of the step", "products", "attention", "the rest"], 1, [
            ["predicted", *(f"{share:.0f}" for share in shares(llmc_step(data, A100)))],
            ["its profile before its pull request 378", "63", "15", "22"]]),
        "",
        *table(["FlashAttention-2, head size 64, TFLOP/s", "positions", "predicted", "published", "error of the time"], 1,
               [[what, str(n), f"{p:.0f}", f"{k:.0f}", f"{round(e):+d} %"] for what, n, p, k, e in error.flash]),
    ]
    return lines


def read_data() -> dict[str, Any]:
    return json.loads(DATA.read_text(encoding="utf-8"))


if __name__ == "__main__":
    print("\n".join(section(read_data())))
