#!/usr/bin/env python3
"""Checks by training whether updates move activations as far at every width (the coordinate check of Yang et al., arXiv 2203.03466).

A GPT-2 of two blocks and four heads makes ten steps at widths 64 to 512, three seeds each, with the standard parametrization and with
model.mup_base_width 64; `temper eval --against` says how far activations then lie from those of the same model before its first step.

  scripts/experiments/prepare.sh
  scripts/experiments/coordinate_check.py build/release/temper --out docs/experiments/coordinate-check.json
  scripts/experiments/coordinate_check.py --from docs/experiments/coordinate-check.json -o docs/images/coordinate_check.png

Prints slopes of log size over log width, by least squares over widths and seeds, with 95 % intervals corrected for their number: 0 is flat.
Drawing needs matplotlib, the rest nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from judging import student_t95
from trials import COLOURS, logarithmic, markdown_table, new_figure, save

sys.path.append(str(Path(__file__).resolve().parents[1] / "compare"))
import provenance  # noqa: E402

WIDTHS, BASE, SEEDS, STEPS = [64, 128, 256, 512], 64, [1, 2, 3], [1, 2, 5, 10]
PARAMETRIZATIONS = ["standard", "muP"]
OPTIMIZERS = {
    "adamw": {"learning_rate": 3e-3},
    "lion": {"learning_rate": 5e-4},
    "lionar": {"learning_rate": 3e-3, "rotation_embeddings": False},
    "muon": {"learning_rate": 0.02, "weight_decay": 0.1},
    "sgd": {"learning_rate": 0.1, "weight_decay": 0, "grad_clip": 0},
}
MODEL = {"n_layer": 2, "n_head": 4, "n_ctx": 64, "vocab_size": 2048}
# What goes into a layer, of the last block; the embedding is what goes into the first.
LAYERS = {
    "h.0.attn.c_attn.weight": "embedding, normalized",
    "h.1.attn.c_proj.weight": "attention",
    "h.1.mlp.c_fc.weight": "middle of the block, normalized",
    "h.1.mlp.c_proj.weight": "hidden layer of the MLP",
    "logits": "logits",
}
DRAWN = ["h.1.attn.c_proj.weight", "h.1.mlp.c_proj.weight", "logits"]


def run(command: list) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def measure(temper: Path, data: Path, parametrization: str, optimizer: str, width: int, seed: int, folder: Path) -> dict:
    """By step and layer, root mean squares of what activations are and of what they changed by."""
    config = {
        "device": "cpu", "seed": seed, "model": MODEL | {"n_embd": width} | ({"mup_base_width": BASE} if parametrization == "muP" else {}),
        "data": {"train": f"{data}/text_train_*.bin", "val": f"{data}/text_val_*.bin", "shuffle": True},
        "batch": {"tokens_per_step": 512, "micro_batch": 8}, "train": {"steps": STEPS[-1]},
        "optimizer": {"name": optimizer, **OPTIMIZERS[optimizer]}, "schedule": {"name": "constant"},
        "eval": {"every": 0, "tokens": 64}, "checkpoint": {"every": 1, "keep": STEPS[-1]}, "log": {"tensorboard": False},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(config))
    # Before its first step a model has no checkpoint: one that learns nothing has.
    run([temper, "train", folder / "run.json", "--out", folder / "before", "train.steps=1", 'optimizer.rate_factors=["*=0"]'])
    run([temper, "train", folder / "run.json", "--out", folder / "run"])
    sizes = {}
    for step in STEPS:
        told = run([temper, "eval", folder / f"run/checkpoints/step-{step:08d}", "--against", folder / "before", "--batch", 8])
        found = json.loads(told)["activations"]
        sizes[step] = {layer: {key: float(f"{value:.4g}") for key, value in found[layer].items()} for layer in LAYERS}
        if parametrization == "muP":  # values are kept m^(-1/4) of what they are (docs/optimizers.md)
            attention = sizes[step]["h.1.attn.c_proj.weight"]
            sizes[step]["h.1.attn.c_proj.weight"] = {key: float(f"{value * (width / BASE) ** 0.25:.4g}") for key, value in attention.items()}
    return sizes


def measure_all(temper: Path, data: Path, optimizers: list[str]) -> dict:
    about = {"date": provenance.date(), "commit": provenance.commit(), "machine": provenance.cpu_machine()}
    report = about | {"model": MODEL, "base": BASE, "optimizers": {name: OPTIMIZERS[name] for name in optimizers}}
    runs = report["runs"] = []
    for optimizer in optimizers:
        for parametrization in PARAMETRIZATIONS:
            for width in WIDTHS:
                for seed in SEEDS:
                    with tempfile.TemporaryDirectory() as folder:
                        sizes = measure(temper, data, parametrization, optimizer, width, seed, Path(folder))
                    runs.append({"optimizer": optimizer, "parametrization": parametrization, "width": width, "seed": seed, "sizes": sizes})
            print(optimizer, parametrization, file=sys.stderr, flush=True)
    return json.loads(json.dumps(report))  # steps as a file has them


def text_of(report: dict) -> str:
    """As JSON with a run in each line."""
    runs = ",\n  ".join(json.dumps(one) for one in report["runs"])
    return json.dumps(report | {"runs": []}, indent=1).replace('"runs": []', f'"runs": [\n  {runs}\n ]') + "\n"


def changes(report: dict, optimizer: str, parametrization: str, layer: str, step: int) -> list[tuple[int, float]]:
    """Width and change of each run."""
    chosen = [one for one in report["runs"] if one["optimizer"] == optimizer and one["parametrization"] == parametrization]
    return [(one["width"], one["sizes"][str(step)][layer]["change"]) for one in chosen]


def slope(points: list[tuple[int, float]], comparisons: int) -> tuple[float, float]:
    """Of the logarithms, and half its interval."""
    x, y = ([math.log(point[which]) for point in points] for which in (0, 1))
    x0, y0 = sum(x) / len(x), sum(y) / len(y)
    squares = sum((a - x0) ** 2 for a in x)
    found = sum((a - x0) * (b - y0) for a, b in zip(x, y)) / squares
    rest = sum((b - y0 - found * (a - x0)) ** 2 for a, b in zip(x, y))
    return found, student_t95(len(x) - 2, comparisons) * math.sqrt(rest / (len(x) - 2) / squares)


def table(report: dict) -> str:
    """Of the last step, all optimizers."""
    names = list(report["optimizers"])
    comparisons = len(names) * len(PARAMETRIZATIONS) * len(LAYERS)
    rows = []
    for optimizer in names:
        for parametrization in PARAMETRIZATIONS:
            slopes = [slope(changes(report, optimizer, parametrization, layer, STEPS[-1]), comparisons) for layer in LAYERS]
            rows.append([optimizer, parametrization] + [f"{found:+.2f} ± {interval:.2f}" for found, interval in slopes])
    return markdown_table(["optimizer", "parametrization", *LAYERS.values()], rows)


def draw(report: dict, out: Path) -> None:
    """Of AdamW: lines through geometric means of the seeds, a dot for each."""
    figure, axes = new_figure(len(PARAMETRIZATIONS), len(DRAWN), 3.4, 2.6)
    for column, layer in enumerate(DRAWN):
        for axis, parametrization in zip(axes[:, column], PARAMETRIZATIONS):
            for colour, step in zip(COLOURS, STEPS):
                points = changes(report, "adamw", parametrization, layer, step)
                means = [math.exp(sum(math.log(size) for width, size in points if width == of) / len(SEEDS)) for of in WIDTHS]
                axis.plot(WIDTHS, means, color=colour, linewidth=1.2, label=f"after step {step}")
                axis.plot(*zip(*points), color=colour, linestyle="none", marker="o", markersize=3)
            logarithmic(axis.xaxis)
            logarithmic(axis.yaxis)
            axis.set_xticks(WIDTHS)
            axis.set(title=f"{LAYERS[layer]}, {parametrization}", xlabel="width", ylabel="change, root mean square" if column == 0 else None)
            axis.grid(alpha=0.3)
        limits = [axis.get_ylim() for axis in axes[:, column]]
        for axis in axes[:, column]:
            axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    axes[0][0].legend(frameon=False, fontsize=7)
    save(figure, out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("temper", type=Path, nargs="?", help="the program")
    parser.add_argument("--data", type=Path, default=Path("data/botocore_doc"), help="shards of a vocabulary of 2048 (default %(default)s)")
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS), help="(default all: %(default)s)")
    parser.add_argument("--out", type=Path, help="where the measurements go, as JSON")
    parser.add_argument("--from", type=Path, dest="measured", metavar="OUT", help="such a file, in place of measuring")
    parser.add_argument("-o", "--picture", type=Path, help="draw them")
    arguments = parser.parse_args()
    if bool(arguments.temper) == bool(arguments.measured):
        parser.error("give the program, to measure, or --from with what was measured")
    report = json.loads(arguments.measured.read_text()) if arguments.measured else measure_all(arguments.temper.resolve(), arguments.data, arguments.optimizers)
    if arguments.out:
        arguments.out.write_text(text_of(report))
    if arguments.picture:
        draw(report, arguments.picture)
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
