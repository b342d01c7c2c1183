#!/usr/bin/env python3
"""Draws weight decay under a cosine schedule and at a constant rate, as D'Angelo et al. do (arXiv 2310.04415, figure 4).

  scripts/experiments/plot_decay.py --cosine sweeps/decay-cosine --constant sweeps/decay-constant \\
      --branches sweeps/decay-cosine-branches --constant-branches sweeps/decay-constant-branches -o docs/images/decay.svg

Prints the table of docs/experiments.md: final losses, and the verdicts with their margins in standard errors.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

from trials import COLOURS, Trial, groups, markdown_table, mean_and_error, mean_curve, new_figure, number, read_trials, save

DECAY = "optimizer.weight_decay"


def branch_ends(folder: Path | None) -> dict[tuple[float, int], list[float]]:
    """Final training losses of branches by (weight decay, step)."""
    ends: dict[tuple[float, int], list[float]] = {}
    for trial in read_trials(folder) if folder else []:
        decay, step = re.fullmatch(r"(.+) from (\d+), seed \d+", trial.values["branch"]).groups()
        ends.setdefault((float(decay), int(step)), []).append(trial.final_train_loss(0.5))
    return ends


def loss_at(trial: Trial, share: float) -> float:
    """Training loss around a share of the run, as the mean of 5 % of its steps."""
    steps, losses = trial.series("loss")
    middle, width = round(len(losses) * share), max(1, round(len(losses) * 0.025))
    part = losses[max(0, middle - width) : middle + width]
    return sum(part) / len(part)


def difference(a: list[float], b: list[float]) -> str:
    """mean(a) - mean(b) with its standard error and the verdict."""
    (mean_a, error_a), (mean_b, error_b) = mean_and_error(a), mean_and_error(b)
    error = math.hypot(error_a, error_b)
    delta = mean_a - mean_b
    verdict = "inside the noise" if abs(delta) < 2 * error else ("higher" if delta > 0 else "lower")
    return f"{delta:+.4f} ± {error:.4f}, {verdict}"


def draw(axis, trials: list[Trial], ends: dict, title: str) -> None:
    for colour, ((decay,), members) in zip(COLOURS, groups(trials, DECAY).items()):
        steps, losses = mean_curve(members, "loss", 41)
        axis.plot(steps, losses, color=colour, linewidth=1.4, label=f"decay {decay:g}")
        points = sorted((step, mean_and_error(values)) for (of, step), values in ends.items() if of == decay)
        if points:
            axis.errorbar([s for s, _ in points], [m for _, (m, _) in points], [e for _, (_, e) in points], color=colour, marker="o", markersize=4, linestyle=":", linewidth=1)
    last = [value for trial in trials for value in trial.series("loss")[1][-50:]]
    axis.set_ylim(min(last) - 0.25, max(last) + 0.6)
    axis.set(title=title, xlabel="step", ylabel="training loss, nats per token")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cosine", type=Path, required=True)
    parser.add_argument("--constant", type=Path, required=True)
    parser.add_argument("--branches", type=Path)
    parser.add_argument("--constant-branches", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure, axes = new_figure(1, 2)
    sections = []
    for axis, title, folder, branches in (
        (axes[0][0], "cosine; dots: tiny-rate branches", arguments.cosine, arguments.branches),
        (axes[0][1], "constant rate", arguments.constant, arguments.constant_branches),
    ):
        trials, ends = read_trials(folder), branch_ends(branches)
        draw(axis, trials, ends, title)
        by_decay = groups(trials, DECAY)
        (reference,) = list(by_decay)[0]
        rows = []
        for (decay,), members in by_decay.items():
            train = [trial.final_train_loss() for trial in members]
            val = [trial.last("val_loss") for trial in members]
            early = [loss_at(trial, 0.2) for trial in members]
            base = by_decay[(reference,)]
            rows.append([f"{decay:g}", number(*mean_and_error(early)), number(*mean_and_error(train)), number(*mean_and_error(val)),
                         difference(early, [loss_at(trial, 0.2) for trial in base]) if decay != reference else "",
                         difference(train, [trial.final_train_loss() for trial in base]) if decay != reference else ""])
        table = markdown_table(["decay", "training loss at 20 %", "at the end", "validation loss", f"at 20 % against decay {reference:g}", "at the end against it"], rows)
        if ends:
            steps = sorted({step for _, step in ends})
            table += "\n\nBranches, training loss:\n\n" + markdown_table(
                ["decay"] + [f"from {step}" for step in steps],
                [[f"{decay:g}"] + [number(*mean_and_error(ends[(decay, step)])) if (decay, step) in ends else "" for step in steps] for (decay,) in by_decay])
        sections.append(f"### {title.split(';')[0].capitalize()}\n\n{table}")
    save(figure, arguments.out)
    print("\n" + "\n\n".join(sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
