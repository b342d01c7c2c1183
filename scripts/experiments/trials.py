"""Reads the trials of a sweep: what each varied, its curve, its diagnostics; and takes seeds together."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "plots"))
from style import COLOURS, INK, is_number, json_lines, logarithmic, pyplot  # noqa: E402, F401


@dataclass
class Trial:
    folder: Path
    values: dict  # by parameter, as the sweep's tables label them
    seed: int
    lines: list[dict] = field(default_factory=list)  # of metrics.jsonl
    finished: bool = False

    def series(self, key: str) -> tuple[list[float], list[float]]:
        """Steps and values of a key, where it was measured."""
        points = [(line["step"], line[key]) for line in self.lines if is_number(line.get(key))]
        return [step for step, _ in points], [value for _, value in points]


def read_trials(sweep: Path) -> list[Trial]:
    """All trials that were started, finished or not, of a sweep's folder."""
    trials = []
    for path in sorted(sweep.glob("trials/*/trial.json")):
        description = json.loads(path.read_text())
        trial = Trial(path.parent, description["values"], description["seed"])
        metrics = path.parent / "metrics.jsonl"
        trial.lines = list(json_lines(metrics)) if metrics.is_file() else []
        trial.finished = (path.parent / "summary.json").is_file()
        trials.append(trial)
    if not trials:
        raise SystemExit(f"{sweep}: holds no trials; name the --out folder of temper sweep")
    return trials


def read_summaries(path: Path) -> list[Trial]:
    """The trials that run.py kept of an experiment."""
    found = []
    for line in json_lines(path):
        points: dict[float, dict] = {}
        for key, (steps, values) in line["curves"].items():
            for step, value in zip(steps, values):
                points.setdefault(step, {"step": step})[key] = value
        found.append(Trial(path, line["values"], line["seed"], [points[step] for step in sorted(points)], line["finished"]))
    return found


def new_figure(rows: int, columns: int, width: float = 4.2, height: float = 3.2):
    plt = pyplot(9, formulas=True)
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK})
    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, constrained_layout=True)


def save(figure, path: Path) -> None:
    # No date inside, so that the same results give the same file.
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    print(path)


def markdown_table(header: list[str], rows: list[list]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])
