#!/usr/bin/env python3
"""Holds the signal-to-noise ratio that temper logs, and what rate_correction makes of it, against brute force.

Trains a small GPT-2 with LionAR, its rates corrected, AdamW and Muon on a text, measuring every step. At the weights of checkpoints it
computes, in PyTorch, the gradients of 40 micro-batches drawn anew; from their inner products follow |G|^2 and tr(Sigma) of each matrix
without bias, for that step alone. Weights overshoot: this ratio may rise and fall tenfold from one step to the next. temper's is a
running mean, so the reference is the same mean over the checkpoints, one in five steps, of up to sixty steps that end there. The 95 %
interval is that of their difference, by a bootstrap over checkpoints and micro-batches on one side, over temper's steps on the other.

  noise_reference.py build/release/temper TEXT --out docs/experiments/noise-reference.json

Prints medians over matrices, and of how many that interval holds 0. Exits with 1 where more than a quarter do not at a later step; at the first two
there are too few checkpoints behind. Needs torch, numpy and safetensors.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import provenance
from gpt2_reference import Gpt2, load_folder, mean_loss

CONTEXT, BATCH, MICRO_BATCH, DRAWN = 64, 32, 4, 40
STEPS, EARLY, EVERY, WINDOW = [10, 25, 120, 300], 25, 5, 12
SMOOTHING = 0.95  # rate_correction_smoothing
RUNS = {
    "lionar": {"name": "lionar", "learning_rate": 3e-3, "weight_decay": 0.1, "rate_correction": "momentum"},
    "adamw": {"name": "adamw", "learning_rate": 3e-3, "weight_decay": 0.1},
    "muon": {"name": "muon", "learning_rate": 0.02, "weight_decay": 0.1},
}
MOST_OUTSIDE = 0.25


def train(temper: Path, data: Path, name: str, optimizer: dict, folder: Path) -> dict[int, dict]:
    """Into folder/name; the lines of diagnostics.jsonl by step."""
    config = {
        "device": "cpu", "precision": "fp32",
        "model": {"n_layer": 2, "n_head": 4, "n_embd": 96, "n_ctx": CONTEXT, "vocab_size": 1024},
        "data": {"train": f"{data}/text_train_*.bin", "tokenizer": str(data), "shuffle": True},
        "batch": {"tokens_per_step": BATCH * CONTEXT, "micro_batch": MICRO_BATCH},
        "train": {"steps": STEPS[-1] + 1}, "optimizer": optimizer, "schedule": {"name": "constant"},
        "checkpoint": {"every": EVERY, "keep": STEPS[-1]}, "diagnostics": {"every": 1}, "log": {"tensorboard": False},
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(config))
    run([temper, "train", folder / f"{name}.json", "--out", folder / name])
    lines = map(json.loads, (folder / name / "diagnostics.jsonl").read_text().splitlines())
    return {line["step"]: line for line in lines}


def run(command: list) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}:\n{done.stderr}")


def matrices(gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By temper's names, as vectors; Hugging Face's [in, out] and [out, in] are the same to a norm, but not to what q, k and v are."""
    found = {}
    for name, gradient in gradients.items():
        if gradient.dim() < 2:
            continue
        if name.endswith("c_attn.weight"):
            found |= {f"{name}.{which}": part.reshape(-1) for which, part in zip("qkv", gradient.chunk(3, dim=1))}
        else:
            found[name] = gradient.reshape(-1)
    return {name.removeprefix("transformer."): gradient for name, gradient in found.items()}


def products_of(model: Gpt2, tokens: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Of each matrix [DRAWN, DRAWN]: inner products of the micro-batches' gradients."""
    drawn = []
    for _ in range(DRAWN):
        begins = random.integers(0, len(tokens) - CONTEXT, MICRO_BATCH)
        windows = torch.from_numpy(np.stack([tokens[begin : begin + CONTEXT + 1] for begin in begins]))
        model.zero_grad()
        mean_loss(model(windows[:, :-1]), windows[:, 1:]).backward()
        drawn.append({name: value.clone() for name, value in matrices(model.hugging_face_gradients()).items()})
    stacked = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    return {name: (one @ one.T).double().numpy() for name, one in stacked.items()}


def shares(products: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """|G|^2 and tr(Sigma)/BATCH by pairs of different micro-batches, drawn `counts` times each; as shares of what two halves of a batch
    have as their mean square."""
    pairs = np.outer(counts, counts) * (1.0 - np.eye(DRAWN))
    squares = np.diag(products)
    signal = (pairs * products).sum() / pairs.sum()
    distances = (pairs * (squares[:, None] + squares[None, :] - 2.0 * products)).sum() / pairs.sum()
    noise = distances / 2.0 * MICRO_BATCH / BATCH
    return np.array([signal, noise]) / max(signal + 2.0 * noise, 1e-3 * noise)


def mean_ratio(points: list[np.ndarray], ages: np.ndarray) -> float:
    signal, noise = sum(SMOOTHING**age * point for age, point in zip(ages, points))
    return max(0.0, signal / noise)


def own_steps(lines: dict[int, dict], name: str, last: int) -> np.ndarray:
    """temper's shares of each step up to `last`, taken back out of the running means: those of equal halves are s and (1 - s)/2."""
    ratios = np.array([0.0] + [lines[step]["tensors"][name]["snr"] for step in range(1, last + 1)])
    means = (1 - SMOOTHING ** np.arange(last + 1)) * ratios / (ratios + 2.0)
    signal = (means[1:] - SMOOTHING * means[:-1]) / (1 - SMOOTHING)
    return np.stack([signal, (1.0 - signal) / 2.0], axis=1)


def intervals(products: list[np.ndarray], ages: np.ndarray, own: np.ndarray, random: np.random.Generator) -> dict[str, float]:
    """Of the reference, and of the reference less temper's ratio."""
    references, differences, own_ages = [], [], np.arange(len(own))[::-1]
    for _ in range(300):
        chosen = random.integers(0, len(products), len(products))
        points = [shares(products[one], random.multinomial(DRAWN, np.full(DRAWN, 1.0 / DRAWN)).astype(float)) for one in chosen]
        steps = random.integers(0, len(own), len(own))
        references.append(mean_ratio(points, ages[chosen]))
        differences.append(references[-1] - mean_ratio(list(own[steps]), own_ages[steps]))
    ends = [*np.quantile(references, [0.025, 0.975]), *np.quantile(differences, [0.025, 0.975])]
    return dict(zip(("reference_low", "reference_high", "difference_low", "difference_high"), map(float, ends)))


def compare(run: str, lines: dict[int, dict], products: dict[int, dict[str, np.ndarray]], random: np.random.Generator) -> list[dict]:
    """`products` by the number of updates that made the weights."""
    last = max(products)
    measured = lines[last + 1]  # made at the weights of the last
    ages = np.array([last - step for step in products])
    rows = []
    for name, at_last in products[last].items():
        of_matrix = [products[step][name] for step in products]
        each = [shares(one, np.ones(DRAWN)) for one in of_matrix]
        reference = mean_ratio(each, ages)
        beta = 0.95 if run == "muon" and name.startswith("h.") else 0.9
        found = measured["tensors"][name]
        rows.append({"matrix": name, "step_alone": mean_ratio([shares(at_last, np.ones(DRAWN))], np.zeros(1)),
                     "reference": reference, "temper": found["snr"], **intervals(of_matrix, ages, own_steps(lines, name, last + 1), random),
                     "factor_of_reference": factor(reference, beta), "factor_asked": found["rate_factor"],
                     "factor_applied": found["rate_applied"]})  # fmt: skip
    return rows


def factor(q: float, beta: float) -> float:
    """r(phi) of arXiv 2410.23922 for directions that are averages."""
    cosine = lambda phi: (phi + (1 - beta) / BATCH) / math.sqrt((phi + (1 - beta) / (1 + beta) / BATCH) * (1 + phi))
    return min(1.0, cosine(0.0) / cosine(q / BATCH))


def inside(row: dict) -> bool:
    return row["difference_low"] <= 0.0 <= row["difference_high"]


def inside_alone(row: dict) -> bool:
    """As if temper's ratio had no scatter of its own."""
    return row["reference_low"] <= row["temper"] <= row["reference_high"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("temper", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--out", type=Path, help="all numbers, as JSON")
    arguments = parser.parse_args()
    results, failed = [], False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = folder / "data"
        run([arguments.temper, "data", "train-tokenizer", arguments.text, "--vocab-size", "1024", "--out", data])
        run([arguments.temper, "data", "tokenize", arguments.text, "--tokenizer", data, "--out", data, "--name", "text"])
        header = 512  # of an llm.c shard, in tokens
        tokens = np.concatenate([np.fromfile(shard, dtype="<u2")[header:] for shard in sorted(data.glob("text_train_*.bin"))]).astype(np.int64)
        print("| run | step | matrices inside | of the reference's interval alone | q of the step | q of the mean | q temper | factor by reference | asked | applied |\n" + "|---" * 10 + "|")
        for name, optimizer in RUNS.items():
            measured = train(arguments.temper, data, name, optimizer, folder)
            known: dict[int, dict[str, np.ndarray]] = {}
            for step in STEPS:
                behind = [step - EVERY * i for i in range(WINDOW) if step - EVERY * i > 0]
                for one in behind:
                    if one not in known:
                        model, _ = load_folder(folder / name / "checkpoints" / f"step-{one:08}", torch.float32)
                        known[one] = products_of(model, tokens, np.random.default_rng(one))
                rows = compare(name, measured, {one: known[one] for one in behind}, np.random.default_rng(step))
                count = sum(map(inside, rows))
                failed |= step > EARLY and count < (1 - MOST_OUTSIDE) * len(rows)
                columns = ("step_alone", "reference", "temper", "factor_of_reference", "factor_asked", "factor_applied")
                middle = [np.median([row[column] for row in rows]) for column in columns]
                print(f"| {name} | {step + 1} | {count} of {len(rows)} | {sum(map(inside_alone, rows))} | " + " | ".join(f"{one:.2f}" for one in middle) + " |", flush=True)
                results.append({"run": name, "step": step + 1, "optimizer": optimizer, "inside": count, "inside_alone": sum(map(inside_alone, rows)), "matrices": rows})
    if arguments.out:
        provenance.write(arguments.out, {"date": provenance.date(), "commit": provenance.commit(), "machine": provenance.machine("cpu"),
                                         "batch": BATCH, "micro_batches": DRAWN, "micro_batch": MICRO_BATCH, "results": results})  # fmt: skip
    if failed:
        print(f"more than {MOST_OUTSIDE:.0%} of a run's matrices lie outside their intervals after step {EARLY + 1}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
