#!/usr/bin/env python3
"""Draws weight decay under a cosine schedule and at a constant rate, as D'Angelo et al. do (arXiv 2310.04415, figure 4).

  scripts/experiments/plot_decay.py --cosine sweeps/decay-cosine --constant sweeps/decay-constant \\
      --branches sweeps/decay-cosine-branches --constant-branches sweeps/decay-constant-branches -o docs/images/decay.svg

Prints the tables of docs/experiments.md: validation losses and their differences within seeds, with 95 % intervals by Student's t, those of
differences corrected for the number of them. These need
no more than each sweep's trials.csv, such as those in docs/experiments, in place of the folder; the table of training losses and the picture
need the folders.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from trials import COLOURS, Family, Judged, Trial, estimate, groups, markdown_table, mean_curve, new_figure, read_trials, save, smoothed

DECAY = "optimizer.weight_decay"
Ends = "dict[float, dict[int, float]]"  # a loss by weight decay, then by seed


def branch_ends(branches: list[Trial], measure: Callable[[Trial], float]) -> dict[int, Ends]:
    """Losses of branches by the step they began at."""
    ends: dict[int, Ends] = {}
    for trial in branches:
        decay, step, seed = re.fullmatch(r"(.+) from (\d+), seed (\d+)", trial.values["branch"]).groups()
        ends.setdefault(int(step), {}).setdefault(float(decay), {})[int(seed)] = measure(trial)
    return ends


def loss_at(trial: Trial, share: float) -> float:
    """Training loss around a share of the run, as the mean of 5 % of its steps."""
    steps, losses = trial.series("loss")
    middle, width = round(len(losses) * share), max(1, round(len(losses) * 0.025))
    part = losses[max(0, middle - width) : middle + width]
    return sum(part) / len(part)


def rows_against_least(columns: list[Ends], family: Family) -> list[list]:
    """A row for each decay: its means, and its differences from the least decay."""
    rows = []
    least = min(columns[0])
    for decay in sorted(columns[0]):
        row = [f"{decay:g}"] + [str(estimate(list(column[decay].values()))) for column in columns]
        for column in columns:
            row.append(Judged(family.paired_difference(column[decay], column[least]), "higher", "lower") if decay != least else "")
        rows.append(row)
    return rows


def draw(axis, trials: list[Trial], ends: dict[int, Ends], title: str) -> None:
    for colour, ((decay,), members) in zip(COLOURS, groups(trials, DECAY).items()):
        steps, losses = mean_curve(members, "loss", 41)
        axis.plot(steps, losses, color=colour, linewidth=1.4, label=f"decay {decay:g}")
        points = [(step, estimate(list(of_step[decay].values())).mean) for step, of_step in sorted(ends.items()) if decay in of_step]
        if points:
            axis.plot(*zip(*points), color=colour, marker="o", markersize=4, linestyle=":", linewidth=1)
    last = [value for trial in trials for value in smoothed(trial.series("loss")[1], 41)[-50:]]
    axis.set_ylim(min(last) - 0.1, max(last) + 0.9)
    axis.set(title=title, xlabel="step", ylabel="training loss, nats per token")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)


def draw_differences(axis, trials: list[Trial]) -> None:
    """What each decay costs or gains against the smallest one, in the course of the run, with the 95 % interval."""
    by_decay = [(decay, {trial.seed: trial for trial in members}) for (decay,), members in groups(trials, DECAY).items()]
    reference, base = by_decay[0]
    for colour, (decay, members) in list(zip(COLOURS, by_decay))[1:]:
        curves = [[a - b for a, b in zip(smoothed(members[seed].series("loss")[1], 41), smoothed(base[seed].series("loss")[1], 41))]
                  for seed in sorted(members.keys() & base.keys())]
        points = [estimate(list(at_step)) for at_step in zip(*curves)]
        steps = range(1, len(points) + 1)
        axis.plot(steps, [one.mean for one in points], color=colour, linewidth=1.4, label=f"decay {decay:g}")
        low, high = ([one.mean + sign * (one.interval or 0.0) for one in points] for sign in (-1, 1))
        axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.axhline(0, color=COLOURS[0], linewidth=1)
    axis.set(xlabel="step", ylabel=f"loss minus that of decay {reference:g}", ylim=(-0.2, 0.3))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, loc="upper left")


def val_loss(trial: Trial) -> float:
    return trial.last("val_loss")


def by_decay(trials: list[Trial], measure: Callable[[Trial], float]) -> Ends:
    return {decay: {trial.seed: measure(trial) for trial in members} for (decay,), members in groups(trials, DECAY).items()}


def tables(title: str, trials: list[Trial], branches: list[Trial], family: Family) -> list[tuple[list[str], list[list]]]:
    """Header and rows of each."""
    least = f"{min(by_decay(trials, val_loss)):g}"
    parts = [([title, "validation loss", f"against decay {least}"], rows_against_least([by_decay(trials, val_loss)], family))]
    ends = sorted(branch_ends(branches, val_loss).items())
    if ends:
        head = [f"{title}, branches"] + [f"from step {step}" for step, _ in ends] + [f"from {step} against decay {least}" for step, _ in ends]
        parts.append((head, rows_against_least([of_step for _, of_step in ends], family)))
    if all(len(trial.lines) > 1 for trial in trials):
        head = [f"{title}, training loss", "at 20 %", "at the end", f"at 20 % against decay {least}", "at the end against it"]
        parts.append((head, rows_against_least([by_decay(trials, lambda one: loss_at(one, 0.2)), by_decay(trials, Trial.final_train_loss)], family)))
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cosine", type=Path, required=True)
    parser.add_argument("--constant", type=Path, required=True)
    parser.add_argument("--branches", type=Path)
    parser.add_argument("--constant-branches", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="draw the picture too")
    arguments = parser.parse_args()
    parts: list[tuple[list[str], list[list]]] = []
    family = Family()
    figure, axes = new_figure(2, 2) if arguments.out else (None, None)
    for column, title, folder, of_branches in ((0, "cosine", arguments.cosine, arguments.branches), (1, "constant rate", arguments.constant, arguments.constant_branches)):
        trials, branches = read_trials(folder), read_trials(of_branches) if of_branches else []
        if figure:
            draw(axes[0][column], trials, branch_ends(branches, lambda one: one.final_train_loss(0.5)), f"{title}; dots: tiny-rate branches")
            draw_differences(axes[1][column], trials)
        parts += tables(title, trials, branches, family)
    if figure:
        save(figure, arguments.out)
        print()
    print("\n\n".join(markdown_table(*part) for part in parts) + "\n\n" + family.remark())
    return 0


if __name__ == "__main__":
    sys.exit(main())
