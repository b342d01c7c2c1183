#!/usr/bin/env python3
"""Draws warmup x rate x optimizer as Kosson, Messmer & Jaggi do (arXiv 2410.23922): final loss over the rate, one line for each
warmup; and what the updates of runs without warmup did: angle, size, representation change, signal-to-noise ratio.

  scripts/experiments/plot_warmup.py sweeps/warmup -o docs/images/warmup.svg --updates docs/images/warmup-updates.svg

Prints the table of docs/experiments.md: for each optimizer and rate what each warmup gains over none, whichever comes out best, with 95 %
intervals by Student's t. A sweep's trials.csv does in place of its folder, but for --updates.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from trials import COLOURS, Family, Judged, Trial, estimate, groups, markdown_table, mean_curve, new_figure, read_trials, save

RATE, WARMUP = "optimizer.learning_rate", "schedule.warmup_fraction"
WATCHED = [
    ("step_row_angle", "angle of the step by row, radians"),
    ("relative_update", "update / weight norm"),
    ("representation_change", "representation change"),
    ("critical_batch", "critical batch, sequences"),
]


def losses_of(trials: list[Trial]) -> dict[tuple[float, float], dict[int, float]]:
    """Validation losses by (warmup, rate), then by seed; of the seeds that all cells have."""
    cells = {key: {trial.seed: trial.last("val_loss") for trial in members} for key, members in groups(trials, WARMUP, RATE).items()}
    common = set.intersection(*(set(cell) for cell in cells.values()))
    return {key: {seed: cell[seed] for seed in sorted(common)} for key, cell in cells.items()}


def gains_of(cells: dict[tuple[float, float], dict[int, float]]) -> dict[tuple[float, float], dict[int, float]]:
    """What each warmup takes off the loss without one, by (warmup, rate), then by seed."""
    least = min(warmup for warmup, _ in cells)
    return {key: {seed: cells[(least, key[1])][seed] - loss for seed, loss in cell.items()} for key, cell in cells.items() if key[0] != least}


def draw_losses(of_optimizer: dict[str, dict], out: Path) -> None:
    """Lines through the means, a dot for each seed."""
    figure, axes = new_figure(2, math.ceil(len(of_optimizer) / 2), 3.4, 2.9)
    finite = sorted(loss for cells in of_optimizer.values() for cell in cells.values() for loss in cell.values() if math.isfinite(loss))
    for axis, (name, cells) in zip(axes.flat, of_optimizer.items()):
        for colour, warmup in zip(COLOURS, sorted({warmup for warmup, _ in cells})):
            points = [(rate, estimate(list(cell.values())).mean) for (of, rate), cell in cells.items() if of == warmup]
            axis.plot(*zip(*[point for point in points if math.isfinite(point[1])]), color=colour, linewidth=1.2, label=f"warmup {100 * warmup:g} %")
            dots = [(rate, loss) for (of, rate), cell in cells.items() if of == warmup for loss in cell.values()]
            axis.plot(*zip(*dots), color=colour, linestyle="none", marker="o", markersize=3)
        axis.set_xscale("log")
        axis.set_ylim(finite[0] - 0.05, finite[int(0.9 * len(finite))] + 0.1)
        axis.set(title=name, xlabel="peak rate", ylabel="validation loss")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(frameon=False)
    for axis in axes.flat[len(of_optimizer) :]:
        axis.remove()
    save(figure, out)


def draw_updates(trials: list[Trial], optimizers: list[str], out: Path, numbers: Path | None) -> None:
    """Of the middle rate, without warmup; the numbers also as CSV."""
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
    save(figure, out)
    if numbers:
        numbers.write_text("\n".join(measured) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="draw losses over the rate")
    parser.add_argument("--updates", type=Path, help="draw what the updates did")
    parser.add_argument("--measured", type=Path, help="also write the numbers of --updates here, as CSV")
    arguments = parser.parse_args()
    trials = read_trials(arguments.sweep)
    optimizers = sorted({trial.values["optimizer"] for trial in trials})
    of_optimizer = {name: losses_of([trial for trial in trials if trial.values["optimizer"] == name]) for name in optimizers}
    if arguments.out:
        draw_losses(of_optimizer, arguments.out)
    if arguments.updates:
        draw_updates(trials, optimizers, arguments.updates, arguments.measured)
    warmups = sorted({warmup for cells in of_optimizer.values() for warmup, _ in cells})
    gains = {name: gains_of(cells) for name, cells in of_optimizer.items()}
    rows, more = [], []
    family = Family()
    for name, cells in of_optimizer.items():
        rates = sorted({rate for _, rate in cells})
        for rate in rates:
            without = list(cells[(warmups[0], rate)].values())
            own = [family.mean_difference(list(gains[name][(warmup, rate)].values())) for warmup in warmups[1:]]
            rows.append([name, f"{rate:g}", str(len(without)), str(estimate(without))] + [Judged(gain, "helps", "hurts") for gain in own])
            if rate != rates[0] and len(without) > 1:
                higher = [family.paired_difference(gains[name][(warmup, rate)], gains[name][(warmup, rates[0])]) for warmup in warmups[1:]]
                more.append([name, f"{rate:g}"] + [Judged(one, "gains more", "gains less") for one in higher])
    names = [f"gain of {100 * warmup:g} %" for warmup in warmups[1:]]
    print(markdown_table(["optimizer", "rate", "seeds", "without warmup", *names], rows))
    print("\n" + markdown_table(["optimizer", "rate", *(f"{name}, beyond that at {rates[0]:g}" for name in names)], more))
    print("\n" + family.remark())
    return 0


if __name__ == "__main__":
    sys.exit(main())
