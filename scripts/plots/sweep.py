#!/usr/bin/env python3
"""Draws a report from what `temper report DIR --json` prints: pictures (SVG and PNG) and report.html, one file that needs no other.

  temper report sweeps/decay                                              # runs this script
  temper report sweeps/decay --json | scripts/plots/sweep.py --out here

Pictures need matplotlib (Debian: python3-matplotlib); without it the page has tables only.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # temper runs Python isolated, which leaves it out

import sweep_curves
import sweep_fit
import sweep_results
from style import MATPLOTLIB_MISSING, pyplot
from sweep_data import LOSS, Report, measured, read_report, shown
from sweep_page import page
from sweep_picture import Picture


def draw(report: Report) -> Iterator[Picture]:
    """All pictures of a report; ImportError without matplotlib."""
    pyplot()
    varied = report.varied
    if report.best or any(one.lost for one in report.configurations):
        for first, second in itertools.combinations(varied, 2):
            yield sweep_results.heat_map(report, first, second)
        for parameter in varied:
            yield sweep_results.factor(report, parameter)
    for fit in report.fits:
        if "mean" in fit:
            yield sweep_fit.picture(report, fit)
    measures = measured(report)
    for by in varied or [None]:
        for measure in measures:
            yield sweep_curves.curve(report, by, measure)
        if len(measures) > 1:
            yield sweep_curves.sheet(report, by, [one for one in measures if one is not LOSS])
    of_parts = sweep_curves.parts(report) if measures else None
    if of_parts:
        yield of_parts


def put(path: Path, contents: bytes) -> None:
    """Whole or not at all, in the place of what is there, and through no link."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    with temporary.open("xb") as file:
        file.write(contents)
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="folder to write into; made where it is missing")
    options = parser.parse_args()
    try:
        report = read_report(sys.stdin.buffer.read())
    except ValueError as error:
        sys.exit(f"sweep.py: standard input: {error}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        pictures: list[Picture] | None = []
        try:
            names: set[str] = set()
            for picture in draw(report):
                while picture.name in names:  # two parameters whose names differ in what no file's name has
                    picture.name += "_"
                names.add(picture.name)
                pictures.append(picture)
                if picture.alone:
                    put(options.out / f"{picture.name}.svg", picture.svg.encode("utf-8"))
                    put(options.out / f"{picture.name}.png", picture.png)
        except ImportError:
            print(f"sweep.py: no pictures: {MATPLOTLIB_MISSING}", file=sys.stderr)
            pictures = None
        put(options.out / "report.html", page(report, pictures).encode("utf-8"))
    except OSError as error:
        sys.exit(f"sweep.py: {shown(str(error.filename))}: {error.strerror}")
    print(f"{shown(str(options.out / 'report.html'))}, and {sum(one.alone for one in pictures or [])} pictures as SVG and PNG beside it", file=sys.stderr)


if __name__ == "__main__":
    main()
