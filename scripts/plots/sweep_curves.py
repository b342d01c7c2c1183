"""Pictures of a sweep's runs over their steps."""

from __future__ import annotations

import itertools
import math
import re

from style import COLOURS, GREY, INK, count, logarithmic, plain, pyplot, tick
from sweep_data import LOSS, PART_MEASURES, Configuration, Measure, Parameter, Report, label, rough, selection, short
from sweep_picture import SEQUENCE, Picture, finish, headline, palette, place_legend


def curve(report: Report, by: Parameter | None, measure: Measure) -> Picture:
    """One measurement, coloured by the values of a parameter."""
    figure, axes = pyplot().subplots(figsize=(7, 4), dpi=150)
    chosen = selection(report)
    handles = draw_all(report, axes, by, measure, chosen)
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel(f"{measure.title}, {measure.meaning}" if measure is LOSS else measure.title, color=INK)
    if by:
        place_legend(axes, short(by.name, 34), handles)
    title = measure.title + (f" by {short(by.name, 40)}" if by else "")
    caption = described(report, chosen)
    if measure is LOSS and any(report.is_far_off(one) for one in chosen):
        caption += "; triangle: far off"
    if measure is LOSS:
        window = max(trial.training["smoothed_over"] for one in chosen for trial in one.trials)
        caption += (f"; smoothed over {window} points" if window > 1 else "") + "; dots: its validation loss"
    headline(axes, title, caption)
    keys = {"by": by.name if by else "", "measure": measure.key}
    return finish(figure, measure.key + (f"-by-{by.name}" if by else ""), "curve", title, caption, measure is LOSS, **keys)


def sheet(report: Report, by: Parameter | None, measures: list[Measure]) -> Picture:
    """Many measurements beside one another."""
    columns = min(3, len(measures))
    figure, grid = panels(math.ceil(len(measures) / columns), columns)
    chosen = selection(report)
    handles: list = []
    for axes, measure in itertools.zip_longest(grid.flat, measures):
        if measure is None:
            axes.remove()
            continue
        handles = draw_all(report, axes, by, measure, chosen)
        axes.set_title(measure.title, loc="left", color=INK, fontsize=9.5)
    title = "diagnostics" + (f" by {short(by.name, 40)}" if by else "")
    caption = described(report, chosen) + "; over the steps"
    around(figure, title, caption)
    if by:
        figure.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.99, 0.995), ncol=6, frameon=False, labelcolor=INK, fontsize=8.5)
    return finish(figure, "diagnostics" + (f"-by-{by.name}" if by else ""), "diagnostics", title, caption)


def panels(rows: int, columns: int):
    return pyplot(9).subplots(rows, columns, figsize=(4.2 * columns, 2.7 * rows), dpi=150, squeeze=False)


def around(figure, title: str, caption: str) -> None:
    figure.tight_layout(h_pad=1.2, w_pad=1.5)
    figure.suptitle(title, x=0.01, y=1.0, ha="left", va="bottom", color=INK, fontweight="bold", fontsize=11)
    figure.text(0.01, 0.0, caption, color=GREY, fontsize=8, va="top")


def described(report: Report, chosen: list[Configuration]) -> str:
    words = ["mean over the seeds"] if len(report.seeds) > 1 else []
    if len(chosen) < len(report.configurations):
        words.append(f"{len(chosen)} of {len(report.configurations)} configurations, the best ones and some of all others")
    if len(chosen) > 1 and report.best:
        words.append("thick: the best" if not report.best.tied_for_best else f"thick: the first of {report.best_words}")
    if any(trial.lost for one in chosen for trial in one.trials):
        words.append("dashed with a cross: failed or stopped")
    return "; ".join(words) or "one run"


def draw_all(report: Report, axes, by: Parameter | None, measure: Measure, chosen: list[Configuration]) -> list:
    """The curves of all chosen configurations; returns what a legend shows."""
    from matplotlib.lines import Line2D

    values = by.values if by else [None]
    colours = palette(by, len(values))
    usual, ends = [], []
    for one in chosen:
        colour = colours[values.index(one.values[by.name])] if by else COLOURS[0]
        usual += draw_mean(report, axes, measure, one, colour)
        for trial in one.trials:
            points = trial.curve(measure.part, measure.column) if trial.lost else []
            if points:
                axes.plot(*zip(*points), color=colour, linewidth=1, linestyle=(0, (4, 2)), alpha=0.8)
                ends.append((points[-1], colour, "x"))
        points = one.mean_curve(measure.part, measure.column) if report.is_far_off(one) and measure is LOSS else []
        if points:
            ends.append((points[-1], colour, "^"))
    finish_axes(axes, usual or axes.get_lines(), measure is LOSS)
    low, high = axes.get_ylim()
    for (step, value), colour, marker in ends:  # at the edge where the value is beyond it
        axes.plot(step, min(max(value, low), high), color=colour, marker=marker, markersize=7, markeredgewidth=1.8, zorder=5, clip_on=False)
    every = math.ceil(len(values) / 10)
    text = rough if len(values) > 10 else label
    return [Line2D([], [], color=colour, linewidth=2, label=short(text(value))) for value, colour in list(zip(values, colours))[::every]]


def draw_mean(report: Report, axes, measure: Measure, one: Configuration, colour: str) -> list:
    """The mean over the seeds; returns what is drawn where it counts for the limits of the axis."""
    alone = len(report.configurations) == 1
    thick = one is report.best and not alone
    points = one.mean_curve(measure.part, measure.column)
    if not points or all(trial.lost for trial in one.trials):
        return []
    look = {"linewidth": 2.6, "zorder": 4} if thick else {"linewidth": 1.1, "alpha": 1.0 if alone else 0.85}
    drawn = axes.plot(*zip(*points), color=colour, **look)
    validation = one.mean_curve("validation", "val_loss") if measure is LOSS and (thick or alone) else []
    if validation:
        drawn += axes.plot(*zip(*validation), color=colour, linestyle="none", marker="o", markersize=5, markeredgecolor="white",
                           markeredgewidth=0.8, zorder=6)
    return [] if report.is_far_off(one) else drawn


def finish_axes(axes, usual: list, is_loss: bool = False) -> None:
    """`usual`: the lines that are to be seen whole, whatever those come to that diverged."""
    axes.xaxis.set_major_formatter(count)
    axes.yaxis.set_major_formatter(tick)
    limit_curves(axes, usual, is_loss)
    plain(axes)
    axes.margins(x=0.01)


def limit_curves(axes, lines: list, is_loss: bool) -> None:
    """An axis on which the usual values are seen, whatever single steps come to."""

    def values_after(share: float) -> list[float]:
        return sorted(value for line in lines for value in line.get_ydata()[int(share * len(line.get_ydata())) :])

    def at(values: list[float], share: float) -> float:
        return values[round(share * (len(values) - 1))]

    values = values_after(0.02)
    if not values:
        return
    low, high = values[0], at(values, 0.995)
    if is_loss:  # the first steps, where all fall together, would take most of the height
        high = min(high, low + 1.6 * (at(values_after(0.2), 0.98) - low))
    if at(values, 0.1) > 0 and high > 100 * at(values, 0.1) and not is_loss:
        logarithmic(axes.yaxis)
        axes.set_ylim(at(values, 0.02) / 1.3 if at(values, 0.02) > 0 else at(values, 0.1) / 10, high * 1.3)
        return
    margin = 0.06 * (high - low or abs(high) or 1.0)
    axes.set_ylim(low - margin, high + margin)


def parts(report: Report) -> Picture | None:
    """The layers, and the kinds of tensors, of the best configuration."""
    one = report.best or report.configurations[0]
    names = dict.fromkeys(name for trial in one.trials for name in trial.diagnostics if name not in ("all", "representation"))
    layers = [name for name in names if re.fullmatch(r"layer \d+", name)]
    kinds = [name for name in names if name not in layers]
    groups = [group for group in (layers, kinds) if group]
    if not groups:
        return None
    figure, grid = panels(len(groups), len(PART_MEASURES))
    for row, group in zip(grid, groups):
        ordered = group is layers and len(group) > 1
        colours = [SEQUENCE[round(i * 7 / (len(group) - 1))] for i in range(len(group))] if ordered else palette(None, len(group))
        for axes, (column, title) in zip(row, PART_MEASURES):
            for i, name in enumerate(group):
                points = one.mean_curve(name, column)
                if points:
                    dashes = "-" if ordered or i < len(COLOURS) else (0, (4, 1))
                    axes.plot(*zip(*points), color=colours[i], linewidth=1.3, label=name, linestyle=dashes)
            finish_axes(axes, axes.get_lines())
            axes.set_title(title, loc="left", color=INK, fontsize=9.5)
        handles, _ = row[-1].get_legend_handles_labels()
        place_legend(row[-1], "layers" if group is layers else "kinds of tensors", handles[:: max(1, math.ceil(len(handles) / 12))])
    title = "layers and kinds of tensors"
    caption = short(one.name(), 110) + ("; mean over the seeds" if len(one.trials) > 1 else "") + "; over the steps"
    around(figure, title, caption)
    return finish(figure, "parts", "parts", title, caption)
