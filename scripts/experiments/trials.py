"""Reads the trials of a sweep: what each varied, its curve, its diagnostics; and takes seeds together."""

from __future__ import annotations

import csv
import json
import math
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

    def last(self, key: str) -> float:
        """The last value of a key; infinity where the run came to no end, as one that diverged."""
        values = self.series(key)[1]
        return values[-1] if self.finished and values else math.inf

    def final_train_loss(self, share: float = 0.05) -> float:
        """Mean training loss over the last part of the run: single steps are noisy."""
        values = self.series("loss")[1]
        count = max(1, round(len(values) * share))
        return sum(values[-count:]) / count if self.finished and values else math.inf


def read_value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def read_results(table: Path) -> list[Trial]:
    """The trials of a trials.csv, whose only curve is the validation loss at the end."""
    trials = []
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            names = list(row)
            values = {name: read_value(row[name]) for name in names[1 : names.index("seed")]}
            lines = [{"step": int(row["steps"]), "val_loss": float(row["val_loss"])}] if row["val_loss"] else []
            trials.append(Trial(table, values, int(row["seed"]), lines, row["state"] == "finished"))
    return trials


def read_trials(sweep: Path) -> list[Trial]:
    """All trials that were started, finished or not, of a sweep's folder or of a trials.csv."""
    if sweep.suffix == ".csv":
        return read_results(sweep)
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


def student_t95(degrees: int, comparisons: int = 1) -> float:
    """Half the width of a 95 % confidence interval in standard errors, Student's t at 0.975: 12.706 for one degree of freedom (two seeds),
    4.303 for two. Of several comparisons each has its share of the 5 % (Bonferroni), so that all intervals together hold in 95 of 100
    such tables: of 16 with two degrees of freedom t at 0.9984, 17.85. From the finite series for whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4), as src/sweep/statistics.cpp."""

    def central_probability(angle: float) -> float:
        odd, cosine = degrees % 2 == 1, math.cos(angle)
        term, total = (cosine if odd else 1.0), 0.0
        for k in range(3 if odd else 2, degrees + 1, 2):
            total += term
            term *= cosine * cosine * (k - 1) / k
        return (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total

    low, high = 0.0, math.pi / 2
    inside = 1 - 0.05 / comparisons
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle) < inside else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    n: int
    error: float | None  # standard error; none of a single seed
    family: Family | None = None  # with which it is judged

    @property
    def interval(self) -> float | None:
        """Half of its 95 % confidence interval, corrected for the comparisons of its family, of which all must be there by now."""
        return None if self.error is None else student_t95(self.n - 1, len(self.family.judged) if self.family else 1) * self.error

    def __str__(self) -> str:
        return self.text("")

    def text(self, sign: str = "+") -> str:
        if not math.isfinite(self.mean):
            return "diverged"
        return f"{self.mean:{sign}.4f}" + (f" ± {self.interval:.4f}" if self.interval is not None else "")

    def verdict(self, above: str, below: str) -> str:
        """What a difference says where its interval does not hold 0."""
        if not math.isfinite(self.mean):
            return ""
        if self.interval is None:
            return "one seed: no interval"
        return f"not decidable with {self.n} seeds" if abs(self.mean) <= self.interval else above if self.mean > 0 else below


def estimate(values: list[float], family: Family | None = None) -> Estimate:
    mean, n = sum(values) / len(values), len(values)
    if n < 2 or not math.isfinite(mean):
        return Estimate(mean, n, None, family)
    return Estimate(mean, n, math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n), family)


class Family:
    """Differences that stand in one table, or in tables that are read together: their intervals are corrected for their number."""

    def __init__(self) -> None:
        self.differences: list[Estimate] = []

    @property
    def judged(self) -> list[Estimate]:
        return [one for one in self.differences if one.error is not None]

    def mean_difference(self, values: list[float]) -> Estimate:
        self.differences.append(estimate(values, self))
        return self.differences[-1]

    def paired_difference(self, a: dict[int, float], b: dict[int, float]) -> Estimate:
        """Of a - b over common seeds. A seed is an initialisation and an order of the data, and most of what sets two runs apart: differences
        within a seed are far less noisy than the difference of means."""
        return self.mean_difference([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])

    def remark(self) -> str:
        """What stands below its tables."""
        if not self.judged:
            return f"{len(self.differences)} comparisons of one seed each: no interval, none can be judged."
        seen = sum(abs(one.mean) > one.interval for one in self.judged)
        return (f"{len(self.judged)} comparisons with an interval, corrected for their number: all intervals together hold in 95 of 100 such tables (Student's t, "
                f"Bonferroni). Intervals that leave 0 out: {seen}.")


@dataclass(frozen=True)
class Judged:
    """A difference and what it says, as a cell of a table: written out when the table is, since the interval depends on what is in it."""

    difference: Estimate
    above: str
    below: str

    def __str__(self) -> str:
        verdict = self.difference.verdict(self.above, self.below)
        return self.difference.text() + (f", {verdict}" if self.difference.interval is not None else "")


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


def markdown_table(header: list[str], rows: list[list]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])
