#!/usr/bin/env python3
"""Draws learning rate, weight decay and momentum over a run, from what `temper config plot CONFIG --json` prints.

  temper config plot configs/quickstart.json --json | scripts/plots/schedule.py -o schedule.svg
  scripts/plots/schedule.py cosine.jsonl wsd.jsonl --panels learning_rate -o schedules.png

Several tables are drawn over one another, each under its file's name. Needs matplotlib (Debian: python3-matplotlib).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from style import COLOURS, INK, MATPLOTLIB_MISSING, plain, pyplot, save

PANELS = {"learning_rate": "learning rate", "decay": "weight decay\nper update", "momentum": "momentum", "step_tokens": "tokens\nper step",
          "context": "tokens per\nsequence"}

Table = dict[str, list[float]]


def read_table(text: str, name: str) -> Table:
    table: Table = {key: [] for key in ("step", *PANELS)}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            values = [float(row[key]) for key in table]
        except (ValueError, TypeError, KeyError):
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            sys.exit(f"schedule.py: {name}:{number}: not a line of `temper config plot CONFIG --json`")
        for key, value in zip(table, values):
            table[key].append(value)
    if not table["step"]:
        sys.exit(f"schedule.py: {name}: empty; make it with `temper config plot CONFIG --json`")
    return table


def read_all(paths: list[Path]) -> dict[str, Table]:
    if not paths:
        return {"": read_table(sys.stdin.read(), "standard input")}
    try:
        return {path.stem: read_table(path.read_text(errors="replace"), str(path)) for path in paths}
    except OSError as error:
        sys.exit(f"schedule.py: {error.filename}: {error.strerror}")


def draw(tables: dict[str, Table], options: argparse.Namespace) -> None:
    # Batch and sequences have a panel where they grow.
    grows = lambda key: any(len(set(table[key])) > 1 for table in tables.values())  # noqa: E731
    keys = options.panels or [key for key in PANELS if key not in ("step_tokens", "context") or grows(key)]
    figure, grid = pyplot().subplots(len(keys), 1, sharex=True, squeeze=False, figsize=(8, 0.6 + 1.7 * len(keys)), dpi=100)
    all_axes = grid[:, 0]
    figure.align_ylabels(all_axes)
    for axes, key in zip(all_axes, keys):
        for index, (name, table) in enumerate(tables.items()):
            axes.plot(table["step"], table[key], color=COLOURS[index % len(COLOURS)], linewidth=1.6, label=name,
                      linestyle="-" if index < len(COLOURS) else "--")
        axes.set_ylabel(PANELS[key], color=INK)
        axes.ticklabel_format(axis="y", scilimits=(-2, 4))
        axes.margins(x=0.01, y=0.08)
        plain(axes)
    all_axes[-1].set_xlabel("step", color=INK)
    if options.title:
        all_axes[0].set_title(options.title, loc="left", color=INK, fontweight="bold")
    if len(tables) > 1:
        all_axes[-1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncol=4, frameon=False, labelcolor=INK)
    save(figure, options.output, options.output.suffix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", type=Path, metavar="TABLE", help="files with tables (default: one on standard input)")
    parser.add_argument("-o", "--output", required=True, type=Path, help="file to write: .svg or .png")
    parser.add_argument("--panels", nargs="+", choices=PANELS, metavar="PANEL", help="only these, of " + ", ".join(PANELS))
    parser.add_argument("--title", help="above the picture")
    options = parser.parse_args()
    if options.output.suffix not in (".svg", ".png"):
        parser.error(f"-o {options.output}: the name must end in .svg or .png")
    tables = read_all(options.tables)
    try:
        draw(tables, options)
    except ImportError:
        sys.exit(f"schedule.py: {MATPLOTLIB_MISSING}")
    except OSError as error:
        sys.exit(f"schedule.py: {options.output}: {error.strerror}")


if __name__ == "__main__":
    main()
