"""What the pictures of a report share: what a picture is, its headline, its colours."""

from __future__ import annotations

import io
import re
import textwrap
from dataclasses import dataclass, field

from style import COLOURS, GREY, INK, pyplot, save
from sweep_data import Parameter

# Viridis in eight steps without its yellow, for the values of a number: ordered for any colour vision. The page swaps them for
# lighter ones on a dark ground.
SEQUENCE = ["#440154", "#482878", "#3e4a89", "#31688e", "#25838e", "#1f9e89", "#37b878", "#6ece58"]


@dataclass
class Picture:
    name: str
    kind: str  # "heat", "factor", "fit", "curve", "diagnostics", "parts"
    title: str
    caption: str
    svg: str
    png: bytes
    alone: bool  # a file of its own; otherwise the page alone has it
    keys: dict[str, str] = field(default_factory=dict)  # by which the page chooses among pictures of a kind


def finish(figure, name: str, kind: str, title: str, caption: str, alone: bool = True, **keys: str) -> Picture:
    svg, png = io.BytesIO(), io.BytesIO()
    save(figure, svg, ".svg")
    if alone:
        save(figure, png, ".png")
    pyplot().close(figure)
    return Picture(file_name(name), kind, title, caption, svg.getvalue().decode(), png.getvalue(), alone, keys)


def file_name(text: str) -> str:
    """Names of parameters are whatever a sweep file calls them."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:120]


def headline(axes, title: str, caption: str) -> None:
    """Above the axes, the caption in lines as wide as the figure."""
    lines = textwrap.wrap(caption, round(15.5 * axes.figure.get_figwidth()))
    axes.set_title(title, loc="left", color=INK, fontweight="bold", pad=12 + 11 * len(lines))
    axes.annotate("\n".join(lines), (0, 1), xytext=(0, 8), xycoords="axes fraction", textcoords="offset points", color=GREY, fontsize=8,
                  linespacing=1.25)


def palette(parameter: Parameter | None, number: int) -> list[str]:
    """Ordered colours for numbers, distinct ones for everything else."""
    if parameter is not None and parameter.numeric and number > 1:
        return [SEQUENCE[round(i * (len(SEQUENCE) - 1) / (number - 1))] for i in range(number)]
    return [COLOURS[i % len(COLOURS)] for i in range(number)]


def place_legend(axes, title: str, handles: list | None = None) -> None:
    """To the right of the axes, where it hides nothing."""
    drawn = axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, labelcolor=INK, fontsize=8.5,
                        title=title, title_fontsize=8.5, alignment="left")
    drawn.get_title().set_color(GREY)
