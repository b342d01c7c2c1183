"""What the scripts that draw have in common: how pictures look, and reading the lines of a run's logs.

Needs matplotlib where something is drawn, and only there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

INK = "#24292f"
FAINT = "#d0d7de"
GREY = "#6e7781"
# Okabe and Ito's colours but for yellow, which is lost on white: told apart with any colour vision.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", GREY, INK]
MATPLOTLIB_MISSING = "matplotlib is missing; install it with: apt install python3-matplotlib"
UNITS = [(1e9, "B"), (1e6, "M"), (1e3, "k")]


def json_lines(path: Path) -> Iterator[dict]:
    """The objects of a log such as metrics.jsonl; lines that are none, such as a last one still being written, are passed over."""
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def count(value: float, _position: int | None = None) -> str:
    """1500 as 1.5k"""
    for unit, letter in UNITS:
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def pyplot(font_size: float = 10, formulas: bool = False):
    """matplotlib.pyplot, set so that equal data give equal files; ImportError without matplotlib. Without formulas a dollar sign in a
    label is one; matplotlib's own labels of logarithmic axes are formulas, see logarithmic()."""
    import warnings

    import matplotlib

    matplotlib.use("Agg")
    warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands for it, which tells as much
    matplotlib.rcParams.update({"svg.hashsalt": "temper", "font.size": font_size, "text.parse_math": formulas, "axes.facecolor": "none"})
    from matplotlib import pyplot

    return pyplot


def tick(value: float, _position: int | None = None) -> str:
    """0.01, but 2.5e-5 and 1e6"""
    if value == 0 or 1e-4 < abs(value) < 1e4:
        return f"{value:g}"
    digits, exponent = f"{value:.3e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def logarithmic(axis) -> None:
    from matplotlib.ticker import NullLocator

    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(tick)


def plain(axes) -> None:
    """Axes of which little but the data shows."""
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def save(figure, target, suffix: str) -> None:
    """Writes a figure to a path or a file in memory, as ".svg" or ".png", without a date."""
    metadata = {".svg": {"Date": None}, ".png": {"Software": None}}[suffix]
    figure.savefig(target, format=suffix[1:], bbox_inches="tight", facecolor="white", metadata=metadata)
