#!/usr/bin/env python3
"""Draws weight decay under a cosine schedule and at a constant rate, as D'Angelo et al. do (arXiv 2310.04415, figure 4).

  scripts/experiments/plot_decay.py --cosine sweeps/decay-cosine --constant sweeps/decay-constant \\
      --branches sweeps/decay-cosine-branches --constant-branches sweeps/decay-constant-branches -o docs/images/decay.svg

Prints the tables of docs/experiments.md: losses with the standard error over seeds, and differences within seeds with theirs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from trials import COLOURS, Trial, groups, markdown_table, mean_and_error, mean_curve, new_figure, number, paired_difference, read_trials, save, smoothed, verdict

DECAY = "optimizer.weight_decay"


def branch_ends(folder: Path | None) -> dict[tuple[float, int], dict[int, float]]:
    """Final training losses of branches by (weight decay, step), then by seed."""
    ends: dict[tuple[float, int], dict[int, float]] = {}
    for trial in read_trials(folder) if folder else []:
        decay, step, seed = re.fullmatch(r"(.+) from (\d+), seed (\d+)", trial.values["branch"]).groups()
        ends.setdefault((float(decay), int(step)), {})[int(seed)] = trial.final_train_loss(0.5)
    return ends


def loss_at(trial: Trial, share: float) -> float:
    """Training loss around a share of the run, as the mean of 5 % of its steps."""
    steps, losses = trial.series("loss")
    middle, width = round(len(losses) * share), max(1, round(len(losses) * 0.025))
    part = losses[max(0, middle - width) : middle + width]
    return sum(part) / len(part)


def difference(a: dict[int, float], b: dict[int, float]) -> str:
    """The mean over seeds of a - b with its standard error and the verdict."""
    delta = paired_difference(a, b)
    return f"{delta[0]:+.4f} ± {delta[1]:.4f}, {verdict(delta, 'higher', 'lower')}"


def draw(axis, trials: list[Trial], ends: dict, title: str) -> None:
    for colour, ((decay,), members) in zip(COLOURS, groups(trials, DECAY).items()):
        steps, losses = mean_curve(members, "loss", 41)
        axis.plot(steps, losses, color=colour, linewidth=1.4, label=f"decay {decay:g}")
        points = sorted((step, mean_and_error(list(values.values()))) for (of, step), values in ends.items() if of == decay)
        if points:
            axis.errorbar([s for s, _ in points], [m for _, (m, _) in points], [e for _, (_, e) in points], color=colour, marker="o", markersize=4, linestyle=":", linewidth=1)
    last = [value for trial in trials for value in smoothed(trial.series("loss")[1], 41)[-50:]]
    axis.set_ylim(min(last) - 0.1, max(last) + 0.9)
    axis.set(title=title, xlabel="step", ylabel="training loss, nats per token")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)


def draw_differences(axis, trials: list[Trial]) -> None:
    """What each decay costs or gains against the smallest one, in the course of the run, with the standard error over seeds."""
    by_decay = [(decay, {trial.seed: trial for trial in members}) for (decay,), members in groups(trials, DECAY).items()]
    reference, base = by_decay[0]
    for colour, (decay, members) in list(zip(COLOURS, by_decay))[1:]:
        curves = [[a - b for a, b in zip(smoothed(members[seed].series("loss")[1], 41), smoothed(base[seed].series("loss")[1], 41))]
                  for seed in sorted(members.keys() & base.keys())]
        points = [mean_and_error(list(at_step)) for at_step in zip(*curves)]
        steps = range(1, len(points) + 1)
        axis.plot(steps, [mean for mean, _ in points], color=colour, linewidth=1.4, label=f"decay {decay:g}")
        axis.fill_between(steps, [m - e for m, e in points], [m + e for m, e in points], color=colour, alpha=0.2, linewidth=0)
    axis.axhline(0, color=COLOURS[0], linewidth=1)
    axis.set(xlabel="step", ylabel=f"loss minus that of decay {reference:g}", ylim=(-0.2, 0.3))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, loc="upper left")


def val_loss(trial: Trial) -> float:
    return trial.last("val_loss")


def of_seeds(trials: list[Trial], measure: Callable[[Trial], float]) -> dict[int, float]:
    return {trial.seed: measure(trial) for trial in trials}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cosine", type=Path, required=True)
    parser.add_argument("--constant", type=Path, required=True)
    parser.add_argument("--branches", type=Path)
    parser.add_argument("--constant-branches", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure, axes = new_figure(2, 2)
    sections = []
    for column, title, folder, branches in (
        (0, "cosine; dots: tiny-rate branches", arguments.cosine, arguments.branches),
        (1, "constant rate", arguments.constant, arguments.constant_branches),
    ):
        trials, ends = read_trials(folder), branch_ends(branches)
        draw(axes[0][column], trials, ends, title)
        draw_differences(axes[1][column], trials)
        by_decay = {decay: members for (decay,), members in groups(trials, DECAY).items()}
        reference = next(iter(by_decay))
        rows = []
        for decay, members in by_decay.items():
            measured = [of_seeds(members, lambda trial: loss_at(trial, 0.2)), of_seeds(members, Trial.final_train_loss), of_seeds(members, val_loss)]
            base = [of_seeds(by_decay[reference], lambda trial: loss_at(trial, 0.2)), of_seeds(by_decay[reference], Trial.final_train_loss)]
            rows.append([f"{decay:g}"] + [number(*mean_and_error(list(values.values()))) for values in measured]
                        + [difference(values, others) if decay != reference else "" for values, others in zip(measured, base)])
        table = markdown_table(["decay", "training loss at 20 %", "at the end", "validation loss", f"at 20 % against decay {reference:g}", "at the end against it"], rows)
        if ends:
            steps = sorted({step for _, step in ends})
            rows = []
            for decay in by_decay:
                cells = [ends.get((decay, step)) for step in steps]
                rows.append([f"{decay:g}"] + [number(*mean_and_error(list(cell.values()))) if cell else "" for cell in cells]
                            + [difference(cell, ends[(reference, step)]) if cell and decay != reference else "" for cell, step in zip(cells, steps)][-1:])
            table += "\n\nBranches, training loss:\n\n" + markdown_table(
                ["decay"] + [f"from {step}" for step in steps] + [f"from {steps[-1]} against decay {reference:g}"], rows)
        sections.append(f"### {title.split(';')[0].capitalize()}\n\n{table}")
    save(figure, arguments.out)
    print("\n" + "\n\n".join(sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
