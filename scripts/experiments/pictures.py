#!/usr/bin/env python3
"""Draws docs/experiments.md's pictures from docs/experiments: all effects at a glance, and the curves behind them.

  scripts/experiments/pictures.py -o docs/images
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from effects import ADAMH, ADAMW, CHOOSERS, CONSTANT, COSINE, DECAY, DECAYS, LION, MUON, RATE, RATES, WARMUP, Results, end_loss
from judging import Estimate
from page import RESULTS, judge, visible
from run import BRANCH_FROM, planned_seeds
from trials import COLOURS, INK, Trial, new_figure, save

VERDICT_COLOURS = {"seen": COLOURS[2], "not seen": "#8c959f", "reversed": COLOURS[1]}
# D'Angelo et al., GPT-2 124M, cosine: training losses above those without decay at 20 to 100 % of 50k steps, and those of branches from there; read off their figure to 0.01.
PAPER_DECAY = {0.1: [0.02, 0.03, 0.03, 0.0, -0.02], 0.3: [0.08, 0.105, 0.085, 0.025, -0.01]}
PAPER_BRANCHES = {0.1: [0.0, 0.0, 0.0, -0.015, -0.03], 0.3: [0.0, 0.02, 0.0, -0.02, -0.045]}


def estimates(by_seed: list[dict[int, float]]) -> list[Estimate]:
    return [Estimate(tuple(values.values())) for values in by_seed]


def ends(results: Results, experiment: str, values: dict) -> Estimate:
    """Last losses of a cell; seeds that only choose are left out, as in the effects."""
    return Estimate(tuple(end_loss(trial) for seed, trial in results.cell(experiment, values).items() if seed < CHOOSERS))


def band(axis, x: list[float], points: list[Estimate], colour: str, label: str) -> None:
    """Means with their 95 % intervals."""
    axis.plot(x, [one.mean for one in points], color=colour, linewidth=1.4, marker="o", markersize=3, label=label)
    if all(one.n > 1 for one in points):
        axis.fill_between(x, [one.mean - one.interval for one in points], [one.mean + one.interval for one in points], color=colour, alpha=0.2, linewidth=0)


def over_rates(axis, rates: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.set_xlabel("peak rate")
    axis.grid(alpha=0.3)


def at_a_glance(results: Results, out: Path) -> None:
    """Every effect that is a difference with its 95 % interval, in units of what could be seen."""
    judged = [one for one in judge(results, planned_seeds) if visible(one)]
    figure, axes = new_figure(1, 1, 10.0, 0.2 * len(judged) + 1.1)
    axis = axes[0][0]
    for place, one in enumerate(reversed(judged)):
        colour = VERDICT_COLOURS[one.verdict.strip("*")]
        scale = visible(one)
        centre, half = one.estimate.mean / scale, one.estimate.interval / scale
        axis.plot([centre - half, centre + half], [place, place], color=colour, linewidth=1.4)
        axis.plot([centre], [place], color=colour, marker="o", markersize=4.5)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_xscale("symlog", linthresh=1, linscale=1.5)
    ticks = [-30, -10, -3, -1, 0, 1, 3, 10, 30]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    reach = max(3.0, *(abs(one.estimate.mean) / visible(one) for one in judged))
    axis.set_xlim(-1.3 * reach, 1.3 * reach)
    claims = [one.effect.claim.split(":")[0].removesuffix(".") for one in reversed(judged)]
    axis.set_yticks(range(len(judged)), [f"{claim}  {one.effect.name}" for claim, one in zip(claims, reversed(judged))], fontsize=7.5)
    for label, one in zip(axis.get_yticklabels(), reversed(judged)):
        label.set_color(VERDICT_COLOURS[one.verdict.strip("*")] if one.verdict != "not seen" else INK)
    axis.set_ylim(-0.7, len(judged) - 0.3)
    axis.set_xlabel("against the paper     |     for the paper\nin units of the difference that could be seen", fontsize=8)
    axis.grid(axis="x", alpha=0.3)
    for verdict, colour in VERDICT_COLOURS.items():
        axis.plot([], [], color=colour, marker="o", markersize=4.5, label=verdict)
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8)
    save(figure, out / "experiments.png")


def difference_curves(axis, base: dict[int, Trial], cell: dict[int, Trial], colour: str, label: str) -> None:
    """Validation losses in the course of a run, minus those of the same seeds without decay."""
    seeds = sorted(base.keys() & cell.keys())
    curves = [(cell[seed].series("val_loss")[1][1:], base[seed].series("val_loss")[1][1:]) for seed in seeds]
    steps = cell[seeds[0]].series("val_loss")[0][1:]
    points = [Estimate(tuple(ours[i] - without[i] for ours, without in curves)) for i in range(len(steps))]
    band(axis, [100 * step / steps[-1] for step in steps], points, colour, label)


def branch_differences(axis, results: Results, experiment: str, shift: float, value: float, colour: str) -> None:
    """Where branches from 20 and 80 % of the run end, minus those from runs without decay."""
    for place, step in zip((20, 80), BRANCH_FROM):
        base, cell = ({seed: end_loss(trial) for seed, trial in results.cell(f"{experiment}-branches", {"branch": f"{decay:g} from {step}"}).items()} for decay in (0, value))
        one = Estimate(tuple(cell[seed] - base[seed] for seed in sorted(base.keys() & cell.keys())))
        axis.errorbar([place + shift], [one.mean], yerr=[one.interval], color=colour, marker="o", markersize=3.5, capsize=3, label=f"decay {value:g}" if place == 20 else None)


def decay_by_size(above, below, results: Results) -> None:
    """The same rate x decay at three rates, in the course of the run; and what all decays cost at its end, over the size at which they leave weights."""
    rates = sorted({trial.values[RATE] for trial in results.trials("decay-parts")})
    for colour, rate in zip(COLOURS[3:], rates):
        nothing, *decayed = (results.cell("decay-parts", {"decayed": what, RATE: rate}) for what in ("nothing", "both", "both, four times"))
        difference_curves(above, nothing, decayed[0], colour, f"rate {rate:g}")
        if rate == rates[0]:  # the runs of decay-cosine, which has more seeds and decays
            nothing, *decayed = (results.cell(COSINE, {DECAY: value}) for value in (0, 0.108, 0.444, 1.333))
        for cell in filter(None, decayed):
            cost = Estimate(tuple(end_loss(trial) - end_loss(nothing[seed]) for seed, trial in cell.items()))
            norm = Estimate(tuple(trial.series("matrix_norm")[1][-1] for trial in cell.values()))
            below.errorbar([norm.mean], [cost.mean], yerr=[cost.interval], color=colour, marker="o", markersize=3.5, capsize=3)
    below.set(xscale="log", xlabel="norm of weights at the end", ylabel="at the end")
    below.set_xticks([20, 30, 50, 100], ["20", "30", "50", "100"])
    below.minorticks_off()
    above.set_title("0.23 M, cosine, three rates")


def decay(results: Results, out: Path) -> None:
    """Above, losses in the course of runs; below, where branches with a tiny rate end."""
    figure, axes = new_figure(2, 4, 3.3, 2.9)
    for row, paper in ((0, PAPER_DECAY), (1, PAPER_BRANCHES)):
        for colour, (value, losses) in zip(COLOURS[1:], paper.items()):
            axes[row][0].plot([20, 40, 60, 80, 100], losses, color=colour, linewidth=1.4, marker="o", markersize=3, label=f"decay {value:g}")
    axes[0][0].set_title("D'Angelo et al., 124 M, cosine")
    for column, name, title in ((1, COSINE, "0.23 M, cosine"), (2, CONSTANT, "0.23 M, constant rate")):
        for colour, value in zip(COLOURS, (0.108, 0.444, 1.333)):
            difference_curves(axes[0][column], results.cell(name, {DECAY: 0}), results.cell(name, {DECAY: value}), colour, f"decay {value:g}")
        for colour, value, shift in zip(COLOURS[1:], (0.444, 1.333), (-1, 1)):
            branch_differences(axes[1][column], results, name, shift, value, colour)
        axes[0][column].set_title(title)
    difference_curves(axes[0][1], results.cell(COSINE, {DECAY: 0}), results.cell("decay-replay", {}), INK, "no decay, rates of 0.444")
    decay_by_size(axes[0][3], axes[1][3], results)
    for axis in (*axes[0], *axes[1]):
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.grid(alpha=0.3)
    for axis in axes[0]:
        axis.legend(frameon=False, fontsize=7)
    for axis in (*axes[0], *axes[1][:3]):
        axis.set_xlim(0, 104)
    for axis in axes[1][:3]:
        axis.set_xlabel("% of the run")
    for row in axes:
        low, high = min(axis.get_ylim()[0] for axis in row[1:3]), max(axis.get_ylim()[1] for axis in row[1:3])
        for axis in row[1:3]:
            axis.set_ylim(low, high)
    axes[0][0].set_ylabel("loss minus that without decay")
    axes[1][0].set_ylabel("the same, of branches from there")
    save(figure, out / "decay.png")


OPTIMIZERS = ["adamw", "adamw without first correction", "liona", "lionar", "lionar 0.98"]


def warmup(results: Results, out: Path) -> None:
    """What warmup gains over the rate, and the losses behind it."""
    figure, axes = new_figure(2, len(OPTIMIZERS), 2.5, 2.5)
    rates = sorted({trial.values[RATE] for trial in results.trials("warmup")})
    for column, name in enumerate(OPTIMIZERS):
        cells = {(rate, share): results.cell("warmup", {"optimizer": name, RATE: rate, WARMUP: share}) for rate in rates for share in (0, 0.05)}
        for colour, share in zip(COLOURS, (0, 0.05)):
            points = estimates([{seed: end_loss(trial) for seed, trial in cells[rate, share].items()} for rate in rates])
            band(axes[0][column], rates, points, colour, f"warmup {100 * share:g} %")
        gains = estimates([{seed: end_loss(trial) - end_loss(cells[rate, 0.05][seed]) for seed, trial in cells[rate, 0].items()} for rate in rates])
        band(axes[1][column], rates, gains, COLOURS[2], "gain")
        axes[0][column].set_title(name, fontsize=9)
        axes[1][column].axhline(0, color=INK, linewidth=0.8)
        for axis in (axes[0][column], axes[1][column]):
            over_rates(axis, rates)
        axes[0][column].set_xlabel("")
    axes[0][0].set_ylabel("validation loss")
    axes[1][0].set_ylabel("gain of 5 % warmup")
    axes[0][0].legend(frameon=False, fontsize=8)
    for row in axes:
        low, high = min(axis.get_ylim()[0] for axis in row), max(axis.get_ylim()[1] for axis in row)
        for axis in row:
            axis.set_ylim(low, high)
    save(figure, out / "warmup.png")


WATCHED = [("step_norm", "norm of a step"), ("block_row_angle", "angle of a step, blocks' matrices, radians"), ("step_representation_change", "representation change by a step"),
           ("critical_batch", "critical batch, sequences")]


def updates(results: Results, out: Path) -> None:
    figure, axes = new_figure(1, len(WATCHED), 3.0, 2.9)
    for axis, (key, title) in zip(axes[0], WATCHED):
        for colour, name in zip(COLOURS, ["adamw", "adamw without first correction", "liona", "lionar"]):
            curves = [trial.series(key) for trial in results.cell("updates", {"optimizer": name}).values()]
            band(axis, curves[0][0], [Estimate(column) for column in zip(*(values for _, values in curves))], colour, name)
        axis.set(xlabel="step", title=title, xscale="log", yscale="log")
        axis.grid(alpha=0.3)
    axes[0][0].legend(frameon=False, fontsize=7)
    save(figure, out / "updates.png")


def rate_decay(results: Results, out: Path) -> None:
    """Mean losses over rate and decay, each kind of decay with its own values; and over the rate with three schedules."""
    figure, axes = new_figure(1, len(DECAYS) + 1, 3.3, 3.0)
    for axis, (kind, decays) in zip(axes[0], DECAYS.items()):
        names = ["none", *(f"{kind}, {value}" for value in decays)]
        grid = [[ends(results, "rate-decay", {"decay": name, RATE: rate}).mean for rate in RATES] for name in names]
        axis.imshow(grid, origin="lower", aspect="auto", cmap="viridis_r")
        low, high = min(map(min, grid)), max(map(max, grid))
        for i, line in enumerate(grid):
            for j, value in enumerate(line):
                axis.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=7.5, color="white" if value > (low + high) / 2 else "black")
        axis.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
        axis.set_yticks(range(len(names)), ["0", *decays])
        axis.set(title=f"{kind}", xlabel="peak rate")
    axes[0][0].set_ylabel("decay")
    axis = axes[0][-1]
    rates = sorted({trial.values[RATE] for trial in results.trials("schedules")})
    for colour, name in zip(COLOURS, ("constant", "step", "cosine")):
        band(axis, rates, [ends(results, "schedules", {"schedule.name": name, RATE: rate}) for rate in rates], colour, name)
    axis.set(title="schedules", ylabel="validation loss")
    over_rates(axis, rates)
    axis.legend(frameon=False, fontsize=8)
    save(figure, out / "rate-decay.png")


# modded-nanogpt, track 3: steps to a loss of 3.28.
PAPER_STEPS = {"AdamW": 4950, "AdamH": 4875, "Muon": 3250, "Lion": 12250}
RUNS = {"AdamW": ADAMW, "AdamH": ADAMH, "Muon": MUON, "Lion": LION}


def optimizers(results: Results, out: Path) -> None:
    """The steps that they need there, and our losses after equal steps over each one's rates."""
    figure, axes = new_figure(1, 2, 4.0, 2.8)
    for place, (colour, (name, steps)) in enumerate(zip(COLOURS, PAPER_STEPS.items())):
        axes[0][0].barh([-place], [steps], color=colour, height=0.6)
        axes[0][0].text(steps, -place, f" {steps:,}", va="center", fontsize=8)
        band(axes[0][1], [0.5, 1, 2], [ends(results, "optimizers", {"run": label}) for label in RUNS[name]], colour, name)
    axes[0][0].set_yticks([-place for place in range(len(PAPER_STEPS))], list(PAPER_STEPS))
    axes[0][0].set(title="track 3: steps to 3.28", xlim=(0, 14500))
    axes[0][1].set(title="0.23 M, 600 steps", xlabel="rate, as a multiple of the middle one", ylabel="validation loss", xscale="log")
    axes[0][1].set_xticks([0.5, 1, 2], ["0.5", "1", "2"])
    axes[0][1].minorticks_off()
    axes[0][1].grid(alpha=0.3)
    axes[0][1].legend(frameon=False, fontsize=8)
    save(figure, out / "optimizers.png")


def width(results: Results, out: Path) -> None:
    figure, axes = new_figure(1, 3, 3.3, 3.0)
    rates = sorted({trial.values[RATE] for trial in results.trials("width-rate")})
    for axis, title, models in ((axes[0][0], "standard", ["64", "128", "256"]), (axes[0][1], "muP", ["64", "128, muP", "256, muP"])):
        for colour, model in zip(COLOURS, models):
            band(axis, rates, [ends(results, "width-rate", {"model": model, RATE: rate}) for rate in rates], colour, f"width {model.split(',')[0]}")
        axis.set_title(title)
        over_rates(axis, rates)
    axes[0][1].set_ylim(axes[0][0].get_ylim())
    for colour, wide in zip(COLOURS, (64, 128, 256)):
        cells = [results.cell("width-timescale", {"model.n_embd": wide, "optimizer.decay_timescale": f"{share:g} runs"}) for share in (0.3, 1, 3, 10)]
        best = {seed: min(end_loss(cell[seed]) for cell in cells) for seed in cells[0]}
        band(axes[0][2], [0.3, 1, 3, 10], [Estimate(tuple(end_loss(trial) - best[seed] for seed, trial in cell.items())) for cell in cells], colour, f"width {wide}")
    axes[0][2].set(title="decay in muP", xlabel="timescale, runs", xscale="log", ylabel="loss above the seed's best")
    axes[0][2].set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
    axes[0][2].minorticks_off()
    axes[0][0].set_ylabel("validation loss")
    axes[0][2].grid(alpha=0.3)
    for axis in axes[0]:
        axis.legend(frameon=False, fontsize=8)
    save(figure, out / "width.png")


PICTURES: list[tuple[Callable[[Results, Path], None], tuple[str, ...]]] = [
    (at_a_glance, ()), (decay, (COSINE, CONSTANT, f"{COSINE}-branches", f"{CONSTANT}-branches", "decay-replay", "decay-parts")), (warmup, ("warmup",)), (updates, ("updates",)), (rate_decay, ("rate-decay", "schedules")),
    (optimizers, ("optimizers",)), (width, ("width-rate", "width-timescale"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("-o", "--out", type=Path, required=True, help="the pictures' folder")
    arguments = parser.parse_args()
    results = Results(arguments.results)
    for draw, experiments in PICTURES:
        if all(results.trials(name) for name in experiments):
            draw(results, arguments.out)
        else:
            print(f"{draw.__name__}: its experiments were not run yet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
