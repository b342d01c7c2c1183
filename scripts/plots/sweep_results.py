"""Pictures of a sweep's results: the metric over two parameters, and over one."""

from __future__ import annotations

import itertools
import math

from style import COLOURS, FAINT, GREY, INK, logarithmic, plain, pyplot
from sweep_data import Configuration, Parameter, Report, label, rough, short
from sweep_picture import SEQUENCE, Picture, finish, headline, palette, place_legend

MOST_CELLS = 16  # across and down, in which a figure can be read


def over_seeds(report: Report) -> str:
    return f"mean ± standard deviation over {len(report.seeds)} seeds" if len(report.seeds) > 1 else "one seed"


def heat_map(report: Report, first: Parameter, second: Parameter) -> Picture:
    """A cell for each pair of values; where trials are scattered, as drawn at random, a dot for each configuration."""
    down, across = (first, second) if len(first.values) <= len(second.values) else (second, first)
    rest = [one.name for one in report.varied if one not in (down, across)]
    filled = len({(label(one.values[down.name]), label(one.values[across.name])) for one in report.configurations})
    cells = max(len(down.values), len(across.values)) <= MOST_CELLS and 2 * filled >= len(down.values) * len(across.values)
    caption = over_seeds(report) if cells else "a dot for each configuration"
    if rest and cells:
        caption += "; best over " + ", ".join(map(short, rest))
    caption += f"; outlined: {report.best_words}" if report.best else ""
    if not cells and any(one.rung < report.rungs for one in report.configurations):
        caption += "; small: stopped at an earlier rung"
    title = f"{report.metric} over {short(down.name, 40)} and {short(across.name, 40)}"
    axes = (draw_cells if cells else draw_dots)(report, down, across)
    headline(axes, title, caption)
    axes.set_xlabel(short(across.name, 60), color=INK)
    axes.set_ylabel(short(down.name, 40), color=INK)
    axes.tick_params(which="both", colors=INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return finish(axes.figure, f"heat-{down.name}-{across.name}", "heat", title, caption, pair=f"{first.name} × {second.name}")


def shade(report: Report, mean: float) -> tuple[str, str]:
    """Light where good, dark where bad; and the colour of figures on it."""
    from matplotlib import cm, colors

    red, green, blue, _ = cm.viridis_r(0.06 + 0.94 * min(1.0, max(0.0, report.badness(mean) / report.worst_shown())))
    bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18
    return colors.to_hex((red, green, blue)), "#000000" if bright else "#ffffff"


def draw_cells(report: Report, down: Parameter, across: Parameter):
    from matplotlib.patches import Rectangle

    rows, columns = len(down.values), len(across.values)
    figure, axes = pyplot().subplots(figsize=(max(6.4, 1.4 + 1.02 * columns), max(2.2, 0.9 + 0.62 * rows)), dpi=150)
    for (row, below), (column, beside) in itertools.product(enumerate(down.values), enumerate(across.values)):
        here = report.with_values({down.name: below, across.name: beside})
        draw_cell(report, axes, column, row, here[0] if here else None)
        for colour, width in (("#ffffff", 5), ("#000000", 2.2)) if any(map(report.is_best, here)) else ():
            axes.add_patch(Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=colour, linewidth=width, zorder=4))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    names = [short(label(value), 22) for value in across.values]
    crowded = max(map(len, names)) > 11
    axes.set_xticks(range(columns), names, rotation=25 if crowded else 0, ha="right" if crowded else "center")
    axes.set_yticks(range(rows), [short(label(value)) for value in down.values])
    return axes


def draw_cell(report: Report, axes, x: int, y: int, one: Configuration | None) -> None:
    from matplotlib.patches import Rectangle

    box = {"xy": (x - 0.485, y - 0.475), "width": 0.97, "height": 0.95}
    if one is None or one.mean is None:
        failed = one is not None and ("failed" if one.failed else "stopped" if one.stopped else "")
        axes.add_patch(Rectangle(**box, facecolor="none", edgecolor=GREY if failed else FAINT, linewidth=0.8))
        if failed:
            for ends in ((y - 0.475, y + 0.475), (y + 0.475, y - 0.475)):
                axes.plot((x - 0.485, x + 0.485), ends, color=GREY, linewidth=0.8)
        axes.text(x, y, failed or "–", ha="center", va="center", color=INK if failed else GREY, fontsize=8.5,
                  bbox={"boxstyle": "square,pad=0.15", "facecolor": "#ffffff", "edgecolor": "none"} if failed else None)
        return
    fill, ink = shade(report, one.mean)
    axes.add_patch(Rectangle(**box, facecolor=fill, edgecolor="none"))
    notes = [f"± {report.figure(one.sd)}"] if one.sd is not None else []
    if one.lost:
        notes.append(one.lost)
        axes.plot((x - 0.485, x + 0.485), (y - 0.475, y + 0.475), color=ink, linewidth=0.6, alpha=0.6)
    if one.rung < report.rungs:
        notes.append(f"rung {one.rung}")
    axes.text(x, y + (0.14 if notes else 0), report.figure(one.mean), ha="center", va="center", color=ink, fontsize=9.5)
    axes.text(x, y - 0.22, ", ".join(notes), ha="center", va="center", color=ink, fontsize=7)


def draw_dots(report: Report, down: Parameter, across: Parameter):
    figure, axes = pyplot().subplots(figsize=(7, 4.4), dpi=150)
    for one in report.configurations[::-1]:
        x, y = across.place(one.values[across.name]), down.place(one.values[down.name])
        if one.mean is None:
            axes.plot(x, y, marker="x" if one.lost else ".", color=GREY, markersize=7 if one.lost else 3, linestyle="none", zorder=2)
            continue
        best = report.is_best(one)
        axes.plot(x, y, marker="o", markersize=13 if best else 10 if one.rung == report.rungs else 6, color=shade(report, one.mean)[0],
                  markeredgecolor=INK if best else "none", markeredgewidth=2.2, linestyle="none", zorder=4 if best else 3)
    for axis, parameter in ((axes.xaxis, across), (axes.yaxis, down)):
        set_scale(axis, parameter)
    # What the colours stand for, as a column of its own.
    key = axes.inset_axes((1.03, 0.1, 0.03, 0.8))
    best, worst = report.best.mean if report.best else 0.0, report.worst_shown() if report.best else 1.0
    sign = 1 if report.goal == "minimize" else -1
    for i in range(24 if report.best else 0):
        key.axhspan(i / 24, (i + 1) / 24, color=shade(report, best + sign * worst * i / 24)[0], linewidth=0)
    key.set(xticks=[], xlim=(0, 1), ylim=(1, 0))
    if report.best:
        beyond = " and beyond" if any(report.is_far_off(one) for one in report.configurations) else ""
        key.set_yticks([0, 1], [report.figure(best), report.figure(best + sign * worst) + beyond], fontsize=8)
    key.yaxis.tick_right()
    key.tick_params(length=0, colors=INK)
    for spine in key.spines.values():
        spine.set_visible(False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def set_scale(axis, parameter: Parameter) -> None:
    """With all values inside, and ticks at them where there is room."""
    even = parameter.scale == "even"
    if parameter.scale == "logarithmic":
        logarithmic(axis)
    places = [math.log(value) if parameter.scale == "logarithmic" else parameter.place(value) for value in parameter.values]
    low, high = min(places), max(places)
    margin = 0.06 * (high - low) or 1.0
    ends = low - margin, high + margin
    getattr(axis.axes, f"set_{axis.axis_name}lim")(*map(math.exp, ends) if parameter.scale == "logarithmic" else ends)
    texts = [short(rough(value), 16) for value in parameter.values]
    crowded = axis.axis_name == "x" and sum(len(text) + 2 for text in texts) > 60
    if even or (not crowded and min(after - before for before, after in zip(places, places[1:])) > 0.08 * (high - low)):
        turned = {"rotation": 25, "ha": "right"} if crowded else {}
        axis.set_ticks([parameter.place(value) for value in parameter.values], texts, **turned)


def factor(report: Report, parameter: Parameter) -> Picture:
    """The metric over one parameter; each setting of the others is a line."""
    from matplotlib.transforms import ScaledTranslation

    others = [one for one in report.varied if one is not parameter]
    names = " and ".join(short(one.name, 30) for one in others)
    lines: dict[tuple, list[Configuration]] = {}
    for one in report.configurations:
        lines.setdefault(tuple(one.values[other.name] for other in others), []).append(one)
    settings = sorted(lines, key=lambda setting: [other.values.index(value) for other, value in zip(others, setting)])
    scattered = 2 * len(settings) > len(report.configurations) and len(settings) > 1  # as drawn at random: no lines
    many = len(settings) > len(SEQUENCE) or scattered
    colours = palette(others[0] if len(others) == 1 else None, len(settings))
    figure, axes = pyplot().subplots(figsize=(5.8, 3.6), dpi=150)
    for i, (setting, colour) in enumerate(zip(settings, colours)):
        # A little beside one another, so that all spreads are seen.
        aside = ScaledTranslation(0 if many else (i - (len(settings) - 1) / 2) * 4 / 72, 0, figure.dpi_scale_trans)
        name = ", ".join(short(label(value), 24) for value in setting)
        look = {"color": colour, "linewidth": 1.6, "markersize": 4.5, "label": name}
        if scattered:
            look = {"color": COLOURS[0], "alpha": 0.7, "linewidth": 0.8, "markersize": 5}
        elif many:
            look = {"color": GREY, "alpha": 0.4, "linewidth": 0.8, "markersize": 2.5}
        draw_line(report, axes, parameter, lines[setting], aside, **look)
    caption = over_seeds(report)
    if scattered:
        caption = "a dot for each configuration" + (", mean over the seeds" if len(report.seeds) > 1 else "")
    elif many:
        tops = [report.with_values({parameter.name: value})[0] for value in parameter.values]
        aside = ScaledTranslation(0, 0, figure.dpi_scale_trans)
        draw_line(report, axes, parameter, tops, aside, color=COLOURS[0], label="best of all", linewidth=2, markersize=4.5)
        caption += f"; grey: each of {len(settings)} settings of {names}"
    elif others:
        caption += f"; a line for each {names}"
    caption += f"; ringed: {report.best_words}" if report.best else ""
    set_scale(axes.xaxis, parameter)
    limit_metric(report, axes)
    plain(axes)
    axes.set_xlabel(short(parameter.name, 60), color=INK)
    axes.set_ylabel(report.metric, color=INK)
    if others and not scattered:
        place_legend(axes, "" if many else names)
    title = f"{report.metric} over {short(parameter.name, 60)}"
    headline(axes, title, caption)
    return finish(figure, f"factor-{parameter.name}", "factor", title, caption)


def draw_line(report: Report, axes, parameter: Parameter, members: list[Configuration], aside, **look) -> None:
    """Means with their spread. What failed or was stopped has a cross at the edge, what is far off all others a triangle."""
    at = {id(one): parameter.place(one.values[parameter.name]) for one in members}
    there = sorted((one for one in members if one.mean is not None), key=lambda one: at[id(one)])
    places, means = [at[id(one)] for one in there], [one.mean for one in there]
    moved, edge = axes.transData + aside, axes.get_xaxis_transform() + aside
    if "label" in look and any(one.sd for one in there):
        axes.errorbar(places, means, [one.sd or 0.0 for one in there], color=look["color"], linestyle="none", capsize=2.5, linewidth=1,
                      alpha=0.8, transform=moved)
    axes.plot(places, means, marker="o", transform=moved, **look)
    for one in members:
        if report.is_best(one):
            axes.plot(at[id(one)], one.mean, marker="o", markersize=13, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.5,
                      linestyle="none", transform=moved, zorder=5)
        if one.mean is None and one.lost:
            axes.plot(at[id(one)], 0.98, marker="x", color=look["color"], transform=edge, markersize=7, markeredgewidth=1.8)
        elif report.is_far_off(one):
            up = report.goal == "minimize"
            axes.plot(at[id(one)], 0.98 if up else 0.02, marker="^" if up else "v", color=look["color"], transform=edge, markersize=6)


def limit_metric(report: Report, axes) -> None:
    """From the best to the worst that is not far off."""
    if not report.best:
        return
    inside = [one for one in report.configurations if one.mean is not None and not report.is_far_off(one)]
    low = min(one.mean - (one.sd or 0.0) for one in inside)
    high = max(one.mean + (one.sd or 0.0) for one in inside)
    margin = 0.08 * (high - low or 1.0)
    axes.set_ylim(low - margin, high + margin)
