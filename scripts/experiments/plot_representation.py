#!/usr/bin/env python3
"""Draws how far steps change what matrices make of their own batch beside what the signal-to-noise ratio foretells of it (Kosson, Messmer &
Jaggi, arXiv 2410.23922), for the trials of configs/experiments/representation-small.json.

  scripts/experiments/plot_representation.py sweeps/representation-small -o docs/images/representation.png

Foretold is 1 / rate_factor: how many times further a step of a given size goes on its batch than one that is noise. Measured is
batch_step_representation_change / relative_step, the change by a step of given size. Both up to a factor of each matrix, which is chosen so
that their geometric means over the run agree; so it is the course over a run, and the slope, that can be right or wrong. A matrix's
slope is that of log measured over log foretold: 1 where the prediction holds, 0 where it says nothing. Prints the slopes as a table.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from pathlib import Path

from trials import COLOURS, INK, is_number, json_lines, logarithmic, markdown_table, new_figure, read_trials, save

FORETOLD, MEASURED = "foretold", "measured"
RATIOS = [0.25, 0.5, 1, 2, 4]


def courses_of(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Of each matrix (step, foretold, measured), where both are known and the matrix moved."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for line in json_lines(folder / "diagnostics.jsonl"):
        for name, matrix in line.get("representation", {}).items():
            factor = line.get("tensors", {}).get(name, {}).get("rate_factor")
            change, size = matrix.get("batch_step_representation_change"), matrix.get("relative_step")
            if all(is_number(value) and value > 0 for value in (factor, change, size)):
                found.setdefault(name, []).append((line["step"], 1 / factor, change / size))
    return found


def logarithms(course: list[tuple[int, float, float]]) -> tuple[list[float], list[float]]:
    """Of both, about their means over the run."""
    foretold, measured = [math.log(x) for _, x, _ in course], [math.log(y) for _, _, y in course]
    x0, y0 = statistics.fmean(foretold), statistics.fmean(measured)
    return [x - x0 for x in foretold], [y - y0 for y in measured]


def slope_of(course: list[tuple[int, float, float]]) -> tuple[float, float]:
    """Least squares, and the correlation."""
    x, y = logarithms(course)
    xx, yy = sum(a * a for a in x), sum(b * b for b in y)
    xy = sum(a * b for a, b in zip(x, y))
    return (xy / xx, xy / math.sqrt(xx * yy)) if xx > 0 and yy > 0 else (math.nan, math.nan)


def mean_course(courses: list[list[tuple[int, float, float]]]) -> tuple[list[int], list[float], list[float]]:
    """Geometric means over matrices at each step, of both about their means over the run."""
    at: dict[int, list[tuple[float, float]]] = {}
    for course in courses:
        for (step, _, _), x, y in zip(course, *logarithms(course)):
            at.setdefault(step, []).append((x, y))
    steps = sorted(at)
    return steps, *([math.exp(statistics.fmean(pair[which] for pair in at[step])) for step in steps] for which in (0, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="draw the courses, and all points")
    arguments = parser.parse_args()
    trials = read_trials(arguments.sweep)
    figure, axes = new_figure(2, len(trials), 3.1, 2.7) if arguments.out else (None, None)
    rows = []
    for column, (colour, trial) in enumerate(zip(COLOURS, trials)):
        courses = courses_of(trial.folder)
        if not courses:
            raise SystemExit(f"{trial.folder}: no measured representation change beside a rate_factor; set diagnostics.every and representation_every")
        name = str(trial.values["optimizer"])
        fits = [slope_of(course) for course in courses.values() if len(course) > 2]
        slopes, correlations = sorted(fit[0] for fit in fits), sorted(fit[1] for fit in fits)
        first, last = ([course[which] for course in courses.values()] for which in (0, -1))
        falls = [math.exp(statistics.fmean(math.log(a[k] / b[k]) for a, b in zip(first, last))) for k in (1, 2)]
        rows.append([name, str(len(fits)), f"{statistics.median(slopes):.2f} ({slopes[0]:.2f} to {slopes[-1]:.2f})", f"{statistics.median(correlations):.2f}",
                     f"{falls[0]:.2f}", f"{falls[1]:.2f}"])  # fmt: skip
        if figure is None:
            continue
        steps, foretold, measured = mean_course(list(courses.values()))
        above, below = axes[0][column], axes[1][column]
        above.plot(steps, foretold, color=INK, linewidth=1.2, linestyle="--", label=FORETOLD)
        above.plot(steps, measured, color=colour, linewidth=1.2, label=MEASURED)
        above.set(title=name, xlabel="step", xscale="log", ylabel="change by a step of given size" if column == 0 else None)
        above.legend(frameon=False)
        for course in courses.values():
            x, y = logarithms(course)
            below.plot([math.exp(a) for a in x], [math.exp(b) for b in y], color=colour, marker=".", markersize=2, linestyle="none", alpha=0.5)
        below.plot(RATIOS[::4], RATIOS[::4], color=INK, linewidth=1, linestyle="--")
        below.set(xlabel=FORETOLD, ylabel=MEASURED if column == 0 else None)
        for axis in (above.yaxis, below.xaxis, below.yaxis):
            logarithmic(axis)
            axis.set_ticks(RATIOS)
            getattr(axis.axes, f"set_{axis.axis_name}lim")(RATIOS[0], RATIOS[-1])
            axis.axes.grid(alpha=0.3)
    if figure is not None:
        save(figure, arguments.out)
    print(markdown_table(["optimizer", "matrices", "slope, median and range", "correlation", "predicted: first / last", "measured: first / last"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
