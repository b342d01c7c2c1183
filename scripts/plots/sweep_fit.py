"""Pictures of the quadratics that a sweep's trials were fitted with: a curve over one parameter, a map over two."""

from __future__ import annotations

from style import COLOURS, FAINT, INK, logarithmic, plain, pyplot
from sweep_data import Configuration, Report, label, short
from sweep_picture import Picture, finish, headline


def axis_text(value: float) -> str:
    return f"{value:.4g}"


def setting(fit: dict) -> str:
    return ", ".join(f"{name} {text}" for name, text in fit["values"].items())


def members(report: Report, fit: dict) -> list[Configuration]:
    """The configurations that were fitted and have a result."""
    return [one for one in report.configurations if one.mean is not None and all(label(one.values[name]) == text for name, text in fit["values"].items())
            and not any(axis["scale"] == "logarithmic" and one.values[axis["name"]] == 0 for axis in fit["axes"])]


def words(fit: dict) -> str:
    """What it found, for the line below a title."""
    if fit["problem"]:
        return fit["problem"]
    return "; ".join(f"best at {short(axis['name'], 30)} {axis_text(axis['optimum'])}, 95 % interval {axis_text(axis['low'])} to {axis_text(axis['high'])}"
                     for axis in fit["axes"])


def picture(report: Report, fit: dict) -> Picture:
    over = " and ".join(short(axis["name"], 40) for axis in fit["axes"])
    title = f"{report.metric} fitted over {over}" + (f": {short(setting(fit), 40)}" if fit["values"] else "")
    axes, shows = (curve if len(fit["axes"]) == 1 else contours)(report, fit)
    for axis, of in zip((axes.xaxis, axes.yaxis), fit["axes"]):
        if of["scale"] == "logarithmic":
            logarithmic(axis)
    caption = f"{words(fit)}; {shows}"
    if fit["lack_of_fit_p"] is not None and fit["lack_of_fit_p"] < 0.05:
        caption += f"; a quadratic does not describe these results (p {fit['lack_of_fit_p']:.2g})"
    headline(axes, title, caption)
    axes.set_xlabel(short(fit["axes"][0]["name"], 60), color=INK)
    axes.set_ylabel(report.metric if len(fit["axes"]) == 1 else short(fit["axes"][1]["name"], 40), color=INK)
    return finish(axes.figure, "-".join(["fit", *(axis["name"] for axis in fit["axes"]), *fit["values"].values()]), "fit", title, caption)


def curve(report: Report, fit: dict):
    figure, axes = pyplot().subplots(figsize=(5.8, 3.6), dpi=150)
    low, high = ([mean + sign * half for mean, half in zip(fit["mean"], fit["interval"])] for sign in (-1, 1))
    axis = fit["axes"][0]
    axes.fill_between(fit["x"], low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    axes.plot(fit["x"], fit["mean"], color=COLOURS[0], linewidth=1.8)
    here = members(report, fit)
    axes.plot([one.values[axis["name"]] for one in here], [one.mean for one in here], "o", color=INK, markersize=4, clip_on=False, zorder=3)
    if axis["optimum"] is not None:
        axes.axvspan(axis["low"], axis["high"], color=COLOURS[1], alpha=0.15, linewidth=0)
        axes.axvline(axis["optimum"], color=COLOURS[1], linewidth=1.4)
    plain(axes)
    margin = 0.02 if axis["scale"] == "linear" else 0.0
    width = fit["x"][-1] - fit["x"][0]
    axes.set_xlim(fit["x"][0] - margin * width, fit["x"][-1] + margin * width)
    upright = ", upright: the optimum and its interval" * (axis["optimum"] is not None)
    return axes, f"the curve with its 95 % interval at each place, dots: means over the seeds{upright}"


def contours(report: Report, fit: dict):
    figure, axes = pyplot().subplots(figsize=(6.4, 4.4), dpi=150)
    good_is_low = report.goal == "minimize"
    filled = axes.contourf(fit["x"], fit["y"], fit["mean"], levels=14, cmap="viridis_r" if good_is_low else "viridis")
    lines = axes.contour(fit["x"], fit["y"], fit["mean"], levels=filled.levels[::2], colors=FAINT, linewidths=0.7)
    axes.clabel(lines, fontsize=7, colors=INK)
    first, second = fit["axes"]
    here = members(report, fit)
    axes.plot([one.values[first["name"]] for one in here], [one.values[second["name"]] for one in here], "o", color=INK, markersize=3, clip_on=False, zorder=3)
    if first["optimum"] is not None:
        ends = [[[abs(axis["optimum"] - axis[end])] for end in ("low", "high")] for axis in fit["axes"]]
        axes.errorbar([first["optimum"]], [second["optimum"]], yerr=ends[1], xerr=ends[0], fmt="x", color=COLOURS[1], markersize=8, markeredgewidth=2,
                      linewidth=1.6, capsize=3)
        axes.set(xlim=(fit["x"][0], fit["x"][-1]), ylim=(fit["y"][0], fit["y"][-1]))
    axes.tick_params(which="both", colors=INK, length=0)
    cross = ", cross: the optimum with its intervals" * (first["optimum"] is not None)
    return axes, f"the fitted surface, dots: what was tried{cross}"
