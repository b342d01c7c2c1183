#!/usr/bin/env python3
"""Draws warmup x rate x optimizer as Kosson, Messmer & Jaggi do (arXiv 2410.23922): final loss over the rate, one line for each
warmup; and what the updates of runs without warmup did: angle, size, representation change, signal-to-noise ratio.

  scripts/experiments/plot_warmup.py sweeps/warmup -o docs/images/warmup.svg --updates docs/images/warmup-updates.svg

Prints the table of docs/experiments.md: for each optimizer and rate, the loss without warmup against the best with one.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from trials import COLOURS, groups, markdown_table, mean_and_error, mean_curve, new_figure, number, paired_difference, read_trials, save, verdict

RATE, WARMUP = "optimizer.learning_rate", "schedule.warmup_fraction"
WATCHED = [
    ("step_angle", "angle of the step by row, radians"),
    ("relative_update", "update / weight norm"),
    ("representation_change", "representation change"),
    ("critical_batch", "critical batch, sequences"),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--updates", type=Path, required=True)
    parser.add_argument("--measured", type=Path, help="also write the numbers of --updates here, as CSV")
    arguments = parser.parse_args()
    trials = read_trials(arguments.sweep)
    optimizers = list(dict.fromkeys(trial.values["optimizer"] for trial in sorted(trials, key=lambda one: one.folder.name)))
    optimizers.sort()

    figure, axes = new_figure(2, math.ceil(len(optimizers) / 2), 3.4, 2.9)
    rows = []
    finite = sorted(trial.last("val_loss") for trial in trials if math.isfinite(trial.last("val_loss")))
    for axis, name in zip(axes.flat, optimizers):
        of_optimizer = groups([trial for trial in trials if trial.values["optimizer"] == name], WARMUP, RATE)
        warmups = sorted({warmup for warmup, _ in of_optimizer})
        rates = sorted({rate for _, rate in of_optimizer})
        by_seed = {key: {trial.seed: trial.last("val_loss") for trial in members} for key, members in of_optimizer.items()}
        losses = {key: list(values.values()) for key, values in by_seed.items()}
        for colour, warmup in zip(COLOURS, warmups):
            points = [(rate, *mean_and_error(losses[(warmup, rate)])) for rate in rates if (warmup, rate) in losses]
            points = [point for point in points if math.isfinite(point[1])]
            axis.errorbar([p[0] for p in points], [p[1] for p in points], [p[2] for p in points], color=colour, marker="o", markersize=3, linewidth=1.2, label=f"warmup {100 * warmup:g} %")
        axis.set_xscale("log")
        axis.set_ylim(finite[0] - 0.05, finite[int(0.9 * len(finite))] + 0.1)
        axis.set(title=name, xlabel="peak rate", ylabel="validation loss")
        axis.grid(alpha=0.3)
        for rate in rates:
            without = mean_and_error(losses[(warmups[0], rate)])
            warmup = min(warmups[1:], key=lambda one: mean_and_error(losses[(one, rate)])[0])
            gain = paired_difference(by_seed[(warmups[0], rate)], by_seed[(warmup, rate)])
            finite_gain = f"{gain[0]:+.4f}" + (f" ± {gain[1]:.4f}" if gain[1] > 0 else "") if math.isfinite(gain[0]) else ""
            rows.append([name, f"{rate:g}", number(*without), number(*mean_and_error(losses[(warmup, rate)])), f"{100 * warmup:g} %", finite_gain, verdict(gain, "helps", "hurts")])
    axes.flat[0].legend(frameon=False)
    for axis in axes.flat[len(optimizers) :]:
        axis.remove()
    save(figure, arguments.out)

    # The middle rate, without warmup.
    all_rates = sorted({trial.values[RATE] for trial in trials})
    rate = all_rates[len(all_rates) // 2]
    figure, axes = new_figure(1, len(WATCHED), 3.4, 2.9)
    measured = ["measurement,optimizer,step,mean"]
    for axis, (key, label) in zip(axes.flat, WATCHED):
        for colour, name in zip(COLOURS, optimizers):
            members = [t for t in trials if t.values["optimizer"] == name and t.values[RATE] == rate and t.values[WARMUP] == 0]
            steps, values = mean_curve(members, key) if members else ([], [])
            axis.plot(steps, values, color=colour, linewidth=1.2, label=name)
            measured += [f"{key},{name},{step},{value:.5g}" for step, value in zip(steps, values)]
        axis.set(xlabel="step", title=label)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(frameon=False, fontsize=7)
    save(figure, arguments.updates)
    if arguments.measured:
        arguments.measured.write_text("\n".join(measured) + "\n")
    print("\n" + markdown_table(["optimizer", "rate", "without warmup", "best with", "its warmup", "gain", ""], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
