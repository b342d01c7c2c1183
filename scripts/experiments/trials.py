"""Reads the trials of a sweep's folder: what each varied, its curve, its diagnostics."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "plots"))
from style import COLOURS, INK, is_number, json_lines, pyplot  # noqa: E402, F401


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

    def last(self, key: str) -> float:
        """The last value of a key; infinity where the run came to no end, as one that diverged."""
        values = self.series(key)[1]
        return values[-1] if self.finished and values else math.inf

    def final_train_loss(self, share: float = 0.05) -> float:
        """Mean training loss over the last part of the run: single steps are noisy."""
        values = self.series("loss")[1]
        count = max(1, round(len(values) * share))
        return sum(values[-count:]) / count if self.finished and values else math.inf


def read_trials(sweep: Path) -> list[Trial]:
    """All trials that were started, finished or not."""
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


def groups(trials: list[Trial], *parameters: str) -> dict[tuple, list[Trial]]:
    """Trials by the values of these parameters, in the order of the values."""
    found: dict[tuple, list[Trial]] = {}
    for trial in trials:
        found.setdefault(tuple(trial.values[name] for name in parameters), []).append(trial)
    return dict(sorted(found.items(), key=lambda item: tuple(str(v) if isinstance(v, str) else v for v in item[0])))


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error (0 of a single value)."""
    mean = sum(values) / len(values)
    if len(values) < 2 or not math.isfinite(mean):
        return mean, 0.0
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def paired_difference(a: dict[int, float], b: dict[int, float]) -> tuple[float, float]:
    """Mean over common seeds of a - b, and its standard error. A seed is an initialisation and an order of the data, and most of what sets
    two runs apart: differences within a seed are far less noisy than the difference of means."""
    return mean_and_error([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def verdict(difference: tuple[float, float], higher: str, lower: str) -> str:
    """What a difference says, if it is two standard errors or more; of a single seed nothing is known of the noise."""
    mean, error = difference
    if not math.isfinite(mean) or error == 0:
        return ""
    return "inside the noise" if abs(mean) < 2 * error else (higher if mean > 0 else lower)


def smoothed(values: list[float], window: int) -> list[float]:
    half = window // 2
    return [sum(part := values[max(0, i - half) : i + half + 1]) / len(part) for i in range(len(values))]


def mean_curve(trials: list[Trial], key: str, window: int = 1) -> tuple[list[float], list[float]]:
    """The mean over trials of a smoothed series; over the steps that all of them have."""
    curves = [trial.series(key) for trial in trials]
    count = min(len(steps) for steps, _ in curves)
    if count == 0:
        return [], []
    smooth = [smoothed(values, window)[:count] for _, values in curves]
    return curves[0][0][:count], [sum(column) / len(column) for column in zip(*smooth)]


def new_figure(rows: int, columns: int, width: float = 4.2, height: float = 3.2):
    plt = pyplot(9, formulas=True)
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK})
    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, constrained_layout=True)


def save(figure, path: Path) -> None:
    # No date inside, so that the same results give the same file.
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    print(path)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(mean: float, error: float) -> str:
    if not math.isfinite(mean):
        return "diverged"
    return f"{mean:.4f} ± {error:.4f}" if error > 0 else f"{mean:.4f}"
