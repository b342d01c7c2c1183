#!/usr/bin/env python3
"""Draws the loss curves of one or several runs from their metrics.jsonl.

  scripts/plots/loss_curve.py runs/quickstart -o loss.svg
  scripts/plots/loss_curve.py runs/decay-0.1 runs/decay-0.3 --x tokens -o decay.png

Needs matplotlib (Debian: python3-matplotlib).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

from style import COLOURS, GREY, INK, MATPLOTLIB_MISSING, count, is_number, json_lines, logarithmic, plain, pyplot, save


@dataclass
class Curve:
    """One run: its training loss and its validation loss as (x, loss) points."""

    name: str
    training: list[tuple[float, float]] = field(default_factory=list)
    validation: list[tuple[float, float]] = field(default_factory=list)


def read_run(run: Path, x: str) -> Curve:
    metrics = run / "metrics.jsonl" if run.is_dir() else run
    if not metrics.is_file():
        sys.exit(f"loss_curve.py: {run}: no metrics.jsonl there; name a run directory")
    curve = Curve(metrics.parent.resolve().name)
    for line in json_lines(metrics):
        for key, points in (("loss", curve.training), ("val_loss", curve.validation)):
            at, loss = line.get(x), line.get(key)
            if is_number(at) and is_number(loss):
                points.append((at, loss))
    if not curve.training and not curve.validation:
        sys.exit(f"loss_curve.py: {metrics}: holds no loss yet")
    return curve


def smoothed(points: list[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Means of up to `window` points around each one: fewer at the start, where the loss falls fast, and none ahead at the end."""
    half = window // 2
    sums = [0.0]
    for _, loss in points:
        sums.append(sums[-1] + loss)
    means = []
    for i, (at, _) in enumerate(points):
        back = min(half, i)
        ahead = min(back, len(points) - 1 - i)
        means.append((at, (sums[i + ahead + 1] - sums[i - back]) / (back + ahead + 1)))
    return means


def spread(heights: list[float], gap: float) -> list[float]:
    """The heights moved apart so that labels at them do not overlap, in their order."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = list(heights)
    for below, above in zip(order, order[1:]):
        placed[above] = max(placed[above], placed[below] + gap)
    return placed


def draw(curves: list[Curve], options: argparse.Namespace) -> None:
    figure, axes = pyplot().subplots(figsize=(8, 4.5), dpi=150)
    several = len(curves) > 1
    labels: list[tuple[float, float, str, str]] = []  # x, loss, text, colour
    drawn: list[float] = []
    for index, curve in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        if curve.training:
            window = options.smooth or max(1, len(curve.training) // 50)
            mean = smoothed(curve.training, window)
            axes.plot(*zip(*curve.training), color=colour, linewidth=0.6, alpha=0.25)
            axes.plot(*zip(*mean), color=colour, linewidth=1.8)
            drawn += [loss for _, loss in mean]
            if not several or not curve.validation:
                labels.append((*mean[-1], f"{curve.name} " if several else "training ", colour))
        if curve.validation:
            shade = colour if several else INK
            axes.plot(*zip(*curve.validation), color=shade, linestyle="none", marker="o", markersize=4.5,
                      markeredgecolor="white", markeredgewidth=0.7, zorder=3)
            drawn += [loss for _, loss in curve.validation]
            labels.append((*curve.validation[-1], f"{curve.name} " if several else "validation ", shade))

    low, high = min(drawn), max(drawn)
    margin = 0.05 * (high - low or 1.0)
    axes.set_ylim(low - margin, high + margin)
    heights = spread([loss for _, loss, _, _ in labels], 0.055 * (high - low + 2 * margin))
    right = max(at for at, _, _, _ in labels)
    for (_, loss, text, colour), height in zip(labels, heights):
        axes.annotate(f"{text}{loss:.3f}", (right, height), xytext=(9, 0), textcoords="offset points", color=colour,
                      va="center", annotation_clip=False)

    axes.set_xlabel("step" if options.x == "step" else "tokens", color=INK)
    axes.set_ylabel("loss in nats per token", color=INK)
    axes.set_title(options.title or (" and ".join(curve.name for curve in curves) if len(curves) < 3 else "loss"),
                   loc="left", color=INK, fontweight="bold")
    if several and any(curve.validation for curve in curves):
        axes.text(1.0, 1.02, "lines: training, smoothed    dots and figures: validation", transform=axes.transAxes,
                  ha="right", va="bottom", color=GREY, fontsize=8)
    if options.log_x:
        logarithmic(axes.xaxis)
    axes.xaxis.set_major_formatter(count)
    plain(axes)
    save(figure, options.output, options.output.suffix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="run directories (or metrics.jsonl files)")
    parser.add_argument("-o", "--output", required=True, type=Path, help="file to write: .svg or .png")
    parser.add_argument("--x", choices=("step", "tokens"), default="step", help="horizontal axis (default: step)")
    parser.add_argument("--log-x", action="store_true", help="logarithmic horizontal axis")
    parser.add_argument("--smooth", type=int, default=0, metavar="N", help="points in a mean of the training loss (default: a fiftieth)")
    parser.add_argument("--title", help="instead of the runs' names")
    options = parser.parse_args()
    if options.output.suffix not in (".svg", ".png"):
        parser.error(f"-o {options.output}: the name must end in .svg or .png")
    if options.smooth < 0:
        parser.error(f"--smooth {options.smooth}: must be 1 or more")
    curves = [read_run(run, options.x) for run in options.runs]
    try:
        draw(curves, options)
    except ImportError:
        sys.exit(f"loss_curve.py: {MATPLOTLIB_MISSING}")
    except OSError as error:
        sys.exit(f"loss_curve.py: {options.output}: {error.strerror}")


if __name__ == "__main__":
    main()
