#!/usr/bin/env python3
"""Draws rate x decay heat maps as Loshchilov & Hutter do (arXiv 1711.05101, figures 1 and 2): a row for each optimizer, a column for each
schedule, raw cells.

  scripts/experiments/plot_rate_decay.py sweeps/rate-decay -o docs/images/rate-decay.svg

Prints the table of docs/experiments.md: the best cell of each map, and the best decay of each rate.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from trials import groups, markdown_table, mean_and_error, new_figure, read_trials, save

OPTIMIZER, SCHEDULE = "optimizer", "schedule.name"
RATE, DECAY = "optimizer.learning_rate", "optimizer.weight_decay"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    trials = read_trials(arguments.sweep)
    optimizers = sorted({trial.values[OPTIMIZER] for trial in trials})
    schedules = [name for name in ("constant", "step", "cosine") if any(trial.values[SCHEDULE] == name for trial in trials)]
    figure, axes = new_figure(len(optimizers), len(schedules), 3.4, 2.8)
    rows = []
    for row, optimizer in enumerate(optimizers):
        for column, schedule in enumerate(schedules):
            cells = groups([t for t in trials if t.values[OPTIMIZER] == optimizer and t.values[SCHEDULE] == schedule], RATE, DECAY)
            losses = {key: mean_and_error([trial.last("val_loss") for trial in members])[0] for key, members in cells.items()}
            rates, decays = sorted({rate for rate, _ in losses}), sorted({decay for _, decay in losses})
            table = [[losses.get((rate, decay), math.inf) for decay in decays] for rate in reversed(rates)]
            finite = [value for line in table for value in line if math.isfinite(value)]
            axis = axes[row][column]
            low, high = min(finite), sorted(finite)[int(0.8 * (len(finite) - 1))]
            axis.imshow(table, cmap="viridis_r", vmin=low, vmax=high, aspect="auto")
            for i, line in enumerate(table):
                for j, value in enumerate(line):
                    dark = value > (low + high) / 2  # the colours of high losses are
                    axis.text(j, i, f"{value:.3f}" if math.isfinite(value) else "–", ha="center", va="center", fontsize=7, color="white" if dark else "black")
            axis.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
            axis.set_yticks(range(len(rates)), [f"{rate:g}" for rate in reversed(rates)])
            axis.set(title=f"{optimizer}, {schedule}", xlabel="weight decay", ylabel="peak rate")
            best = min(losses, key=losses.get)
            per_rate = [min(decays, key=lambda decay: losses.get((rate, decay), math.inf)) for rate in rates]
            rows.append([optimizer, schedule, f"{losses[best]:.4f}", f"{best[0]:g}", f"{best[1]:g}", ", ".join(f"{decay:g}" for decay in per_rate)])
    save(figure, arguments.out)
    header = ["optimizer", "schedule", "best validation loss", "at rate", "at decay", f"best decay for rates {', '.join(f'{r:g}' for r in sorted({t.values[RATE] for t in trials}))}"]
    print("\n" + markdown_table(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
