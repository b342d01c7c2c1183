"""What `temper report DIR --json` prints, and what pictures and page want to know of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

Value = "int | float | bool | str | None"


def label(value: Value) -> str:
    """A value as tables show it: 0.0003 and not 3e-04, 1 and not 1.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:.6g}" if abs(value) < 1e-4 and value else f"{value:.10g}"
    return str(value)


def rough(value: Value) -> str:
    """A drawn number for a legend or an axis: the digits that matter there."""
    return f"{value:.3g}" if isinstance(value, float) else label(value)


def shown(text: str) -> str:
    """With \\u{202e} for what is not printable, as temper itself shows it: control characters, those that turn the direction of writing."""
    return "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text)


def short(text: str, longest: int = 28) -> str:
    """On one line and not too long for a picture."""
    text = shown(" ".join(text.split()))
    return text if len(text) <= longest else text[: longest - 1] + "…"


@dataclass
class Parameter:
    """What a sweep varies: values in their order, and how an axis shows them ("linear", "logarithmic", "even": a place each)."""

    name: str
    tied: bool
    scale: str
    values: list

    @property
    def numeric(self) -> bool:
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)

    def place(self, value: Value) -> float:
        """Where the value lies on its axis, whose scale may be logarithmic."""
        return float(self.values.index(value)) if self.scale == "even" else float(value)


@dataclass
class Trial:
    id: str
    seed: int
    state: str
    steps_done: int
    steps: int
    metric: float | None
    failure: str
    log: list[str]
    command: str
    training: dict
    validation: dict
    diagnostics: dict

    @property
    def lost(self) -> bool:
        """Ended without a result."""
        return self.state in ("failed", "stopped")

    def curve(self, part: str, key: str) -> list[tuple[int, float]]:
        """The points (step, value) of a measurement; `part` is "training", "validation" or a part of the diagnostics."""
        holder = {"training": self.training, "validation": self.validation}.get(part) or self.diagnostics.get(part, {})
        return [(step, value) for step, value in zip(holder.get("step", []), holder.get(key, [])) if value is not None]


@dataclass
class Configuration:
    rank: int | None
    values: dict[str, Value]
    rung: int
    mean: float | None
    sd: float | None
    interval: float | None  # half of the mean's 95 % interval
    n: int
    failed: int
    stopped: int
    behind_best: float | None  # mean of the differences within seeds, and half of its 95 % interval, which holds for all of the table together
    behind_best_interval: float | None
    tied_for_best: bool
    changes: list[dict[str, str]]
    trials: list[Trial] = field(default_factory=list)

    @property
    def lost(self) -> str:
        """How many trials ended without a result, in words; empty: none."""
        return ", ".join(f"{number} {how}" for number, how in ((self.failed, "failed"), (self.stopped, "stopped")) if number)

    def name(self, but: str = "") -> str:
        return ", ".join(f"{key} {label(value)}" for key, value in self.values.items() if key != but) or "the base configuration"

    def mean_curve(self, part: str, key: str) -> list[tuple[int, float]]:
        """The mean over the seeds, at the steps that all of them have; those that go on, failed or were stopped count where none has finished."""
        for states in (("finished",), ("interrupted", "waiting"), ("failed", "stopped")):
            curves = [dict(trial.curve(part, key)) for trial in self.trials if trial.state in states]
            curves = [curve for curve in curves if curve]
            if curves:
                steps = [step for step in curves[0] if all(step in curve for curve in curves)]
                return [(step, math.fsum(curve[step] for curve in curves) / len(curves)) for step in steps]
        return []


@dataclass
class Report:
    kind: str
    folder: str
    name: str
    method: str
    metric: str
    goal: str
    seeds: list[int]
    rungs: int
    trials: dict[str, int]
    commands: dict[str, str]
    verdict: str
    statistics: dict  # the verdict's numbers
    effects: dict  # of each key by itself, as docs/reports.md has them
    fits: list[dict]  # of quadratics, as docs/reports.md has them
    columns: list[str]  # keys of a configuration, in the order of results.csv
    parameters: list[Parameter]
    configurations: list[Configuration]

    @property
    def varied(self) -> list[Parameter]:
        """What has several values and is not computed from the others."""
        return [one for one in self.parameters if len(one.values) > 1 and not one.tied]

    @property
    def best(self) -> Configuration | None:
        return self.configurations[0] if self.configurations[0].mean is not None else None

    def is_best(self, one: Configuration) -> bool:
        """The best, or one of those that tie for it."""
        return self.best is not None and (one is self.best or one.tied_for_best)

    @property
    def best_words(self) -> str:
        tied = sum(one.tied_for_best for one in self.configurations)
        return f"the {tied} that may be the best" if tied else "the best"

    def note(self, one: Configuration) -> str:
        """What the table says of its difference in words; the best's is its lead over the second."""
        best = one is self.best
        if best and self.statistics["winner"]:
            return "best"
        mean, interval = self.difference(one)
        return "not seen" if mean is not None and interval is not None and (abs(mean) <= interval or one.tied_for_best) else ""

    def difference(self, one: Configuration) -> tuple[float | None, float | None]:
        """From the best, and half of its interval; the best's is its lead over the second."""
        return (self.statistics["lead"], self.statistics["lead_interval"]) if one is self.best else (one.behind_best, one.behind_best_interval)

    def place(self, one: Configuration) -> str:
        """Its rank, with "=" where it is shared."""
        if one.rank is None:
            return ""
        return f"{one.rank}" + "=" * (sum(other.rank == one.rank for other in self.configurations) > 1)

    def with_values(self, wanted: dict[str, Value]) -> list[Configuration]:
        """Configurations that have these values, best first."""
        return [one for one in self.configurations if all(one.values[name] == value for name, value in wanted.items())]

    def badness(self, mean: float) -> float:
        """How far behind the best, whatever the goal; below 0 is what is ranked behind it for another reason, as trials that failed."""
        return (mean - self.best.mean) * (1 if self.goal == "minimize" else -1)

    def worst_shown(self) -> float:
        """Badness beyond which a result is off the scale, so that the few that diverged do not flatten all others: ten times the median's."""
        behind = sorted(self.badness(one.mean) for one in self.configurations if one.mean is not None)
        inside = [one for one in behind if 0 < one <= 10 * behind[len(behind) // 2]]
        return inside[-1] if inside else max(behind[-1], 0.0) or 1.0

    def is_far_off(self, one: Configuration) -> bool:
        return one.mean is not None and self.badness(one.mean) > self.worst_shown()

    def figure(self, value: float | None, least: int = 3) -> str:
        """A result with the decimals that tell the results apart, `least` or more."""
        if value is None:
            return ""
        decimals = max(least, min(5, 2 - math.floor(math.log10(self.worst_shown())))) if self.best else 4
        return f"{value:.{decimals}f}" if abs(value) < 1e5 else f"{value:.2e}"


def read_report(text: bytes) -> Report:
    """What is no such report: ValueError."""
    try:
        data = json.loads(text)
        data["parameters"] = [Parameter(**one) for one in data["parameters"]]
        for one in data["configurations"]:
            one["trials"] = [Trial(**trial) for trial in one["trials"]]
        data["columns"] = list(data["configurations"][0])
        data["configurations"] = [Configuration(**one) for one in data["configurations"]]
        report = Report(**data)
        report.configurations[0]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError("not what `temper report DIR --json` prints") from error
    return report


def selection(report: Report, most: int = 24) -> list[Configuration]:
    """The configurations whose curves are drawn: all, or of many the best and some of all the others; the best one last, on top."""
    with_curves = [one for one in report.configurations if any(trial.training["step"] for trial in one.trials)]
    if len(with_curves) > most:
        best = with_curves[: most // 3]
        rest = with_curves[most // 3 :]
        count = most - len(best)
        with_curves = best + [rest[round(i * (len(rest) - 1) / (count - 1))] for i in range(count)]
    return with_curves[::-1]


@dataclass(frozen=True)
class Measure:
    """What can be drawn over the steps."""

    key: str  # in names of files and in the page's address
    title: str
    part: str
    column: str
    meaning: str


LOSS = Measure("loss", "training loss", "training", "loss", "nats per token")
MEASURES = [
    LOSS,
    Measure("learning_rate", "learning rate", "training", "learning_rate", "as the schedule has it"),
    Measure("grad_norm", "gradient norm", "training", "grad_norm", "of the whole gradient, before clipping"),
    Measure("weight_norm", "weight norm", "all", "weight_norm", "of all weights"),
    Measure("update_norm", "update norm", "all", "update_norm", "of what a step adds to the weights, the decay with it"),
    Measure("relative_update", "relative update", "all", "relative_update", "update norm / weight norm"),
    Measure("step_row_angle", "angular update", "all", "step_row_angle", "radians that a step turns the rows, root mean square, without the decay"),
    Measure("alignment", "alignment", "all", "alignment", "cosine of gradient and first moment"),
    Measure("effective_rate", "effective rate", "all", "effective_rate", "learning rate / weight norm"),
    Measure("snr", "signal-to-noise", "all", "snr", "ratio of the batch, by its two halves"),
    Measure("rate_applied", "rate correction", "all", "rate_applied", "what rates were multiplied with, mean over matrices"),
    Measure("representation_change", "representation change", "representation", "representation_change", "relative change of what matrices make of held-out tokens, in an update"),
    Measure("batch_step_representation_change", "representation change on the batch", "representation", "batch_step_representation_change", "relative change of what matrices make of the batch, in a step, without the decay"),
]
PART_MEASURES = [("grad_norm", "gradient norm"), ("relative_update", "relative update"), ("step_row_angle", "angular update")]


def measured(report: Report) -> list[Measure]:
    """What the trials have measured."""
    return [one for one in MEASURES if any(len(c.mean_curve(one.part, one.column)) > 1 for c in report.configurations)]
