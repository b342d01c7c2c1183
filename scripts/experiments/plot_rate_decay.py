#!/usr/bin/env python3
"""Draws rate x decay heat maps as Loshchilov & Hutter do (arXiv 1711.05101, figures 1 and 2): a row for each optimizer, a column for each
schedule, raw cells.

  scripts/experiments/plot_rate_decay.py sweeps/rate-decay -o docs/images/rate-decay.svg

Prints the tables of docs/experiments.md: the best cell of each map, the best decay of each rate, and what sets schedules apart. A sweep's
trials.csv does in place of its folder.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from pathlib import Path

from trials import Family, estimate, groups, markdown_table, new_figure, read_trials, save

OPTIMIZER, SCHEDULE = "optimizer", "schedule.name"
RATE, DECAY = "optimizer.learning_rate", "optimizer.weight_decay"


def draw_map(axis, title: str, losses: dict[tuple, float], rates: list[float], decays: list[float]) -> None:
    table = [[losses.get((rate, decay), math.inf) for decay in decays] for rate in reversed(rates)]
    finite = [value for line in table for value in line if math.isfinite(value)]
    low, high = min(finite), sorted(finite)[int(0.8 * (len(finite) - 1))]
    axis.imshow(table, cmap="viridis_r", vmin=low, vmax=high, aspect="auto")
    for i, line in enumerate(table):
        for j, value in enumerate(line):
            dark = value > (low + high) / 2  # the colours of high losses are
            axis.text(j, i, f"{value:.3f}" if math.isfinite(value) else "–", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axis.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
    axis.set_yticks(range(len(rates)), [f"{rate:g}" for rate in reversed(rates)])
    axis.set(title=title, xlabel="weight decay", ylabel="peak rate")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="draw the picture too")
    arguments = parser.parse_args()
    trials = read_trials(arguments.sweep)
    optimizers = sorted({trial.values[OPTIMIZER] for trial in trials})
    schedules = [name for name in ("constant", "step", "cosine") if any(trial.values[SCHEDULE] == name for trial in trials)]
    figure, axes = new_figure(len(optimizers), len(schedules), 3.4, 2.8) if arguments.out else (None, None)
    rows = []
    by_seed: dict[tuple, dict[tuple, dict[int, float]]] = {}  # of optimizer and schedule, by rate and decay
    for row, optimizer in enumerate(optimizers):
        for column, schedule in enumerate(schedules):
            cells = groups([t for t in trials if t.values[OPTIMIZER] == optimizer and t.values[SCHEDULE] == schedule], RATE, DECAY)
            by_seed[(optimizer, schedule)] = {key: {trial.seed: trial.last("val_loss") for trial in members} for key, members in cells.items()}
            losses = {key: estimate(list(values.values())).mean for key, values in by_seed[(optimizer, schedule)].items()}
            rates, decays = sorted({rate for rate, _ in losses}), sorted({decay for _, decay in losses})
            if figure:
                draw_map(axes[row][column], f"{optimizer}, {schedule}", losses, rates, decays)
            best = min(losses, key=losses.get)
            per_rate = [min(decays, key=lambda decay: losses.get((rate, decay), math.inf)) for rate in rates]
            rows.append([optimizer, schedule, f"{losses[best]:.4f}", f"{best[0]:g}", f"{best[1]:g}", ", ".join(f"{decay:g}" for decay in per_rate)])
    if figure:
        save(figure, arguments.out)
        print()
    header = ["optimizer", "schedule", "best validation loss", "at rate", "at decay", f"best decay for rates {', '.join(f'{r:g}' for r in sorted({t.values[RATE] for t in trials}))}"]
    print(markdown_table(header, rows))
    rows, family = [], Family()
    for optimizer in optimizers:
        for first, second in itertools.combinations(schedules, 2):
            cells, other = by_seed[(optimizer, first)], by_seed[(optimizer, second)]
            deltas = [family.paired_difference(cells[cell], other[cell]) for cell in sorted(cells.keys() & other.keys())]
            below = sum(delta.mean < 0 for delta in deltas)
            rows.append([optimizer, f"{first} minus {second}", f"{statistics.median(delta.mean for delta in deltas):+.4f}", f"{below} of {len(deltas)}"])
    print("\n" + markdown_table(["optimizer", "schedules", "median over the cells", "below 0"], rows) + "\n\n" + family.remark())
    return 0


if __name__ == "__main__":
    sys.exit(main())
