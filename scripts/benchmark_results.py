"""Result files of docs/benchmarks/: reading them with errors that say where, and their numbers as people read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_RECORDED = "not recorded"


class ResultError(Exception):
    """What is wrong with a result file, and where in it."""


@dataclass(frozen=True)
class Value:
    """A value of a result file that knows its place, so that what is missing has a name."""

    place: str  # "docs/benchmarks/xeon-amx/step.json: results[2].step_seconds"
    content: Any

    def __getitem__(self, key: str) -> Value:
        separator = "" if self.place.endswith(": ") else "."
        if not isinstance(self.content, dict) or key not in self.content:
            raise ResultError(f"{self.place}{separator}{key} is missing")
        return Value(f"{self.place}{separator}{key}", self.content[key])

    def __contains__(self, key: str) -> bool:
        return isinstance(self.content, dict) and key in self.content

    def get(self, key: str) -> Value | None:
        if key not in self:
            return None
        return self[key]

    def __iter__(self) -> Iterator[Value]:
        if not isinstance(self.content, list):
            raise ResultError(f"{self.place} is no list")
        return iter([Value(f"{self.place}[{index}]", each) for index, each in enumerate(self.content)])

    def number(self) -> float:
        if isinstance(self.content, bool) or not isinstance(self.content, int | float):
            raise ResultError(f"{self.place} is no number")
        return float(self.content)

    def text(self) -> str:
        if not isinstance(self.content, str):
            raise ResultError(f"{self.place} is no text")
        return self.content

    def word(self) -> str:
        """As it would be typed: 4, 0.5, bf16."""
        if isinstance(self.content, str):
            return self.content
        return f"{self.number():.6g}" if isinstance(self.content, float) else f"{self.number():.0f}"


# ---- Numbers as people read them --------------------------------------------------------------------------------------


def digits(value: float) -> str:
    """Three of them."""
    return f"{value:,.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def time_text(seconds: float) -> str:
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{digits(seconds * factor)} {unit}"
    return f"{digits(seconds)} s"


def rate_text(rate: float, unit: str) -> str:
    """Per second, with unit "B" or "FLOP"."""
    for factor, prefix in ((1e12, "T"), (1e9, "G")):
        if rate >= factor:
            return f"{digits(rate / factor)} {prefix}{unit}/s"
    return f"{digits(rate / 1e6)} M{unit}/s"


def bytes_text(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"


def percent(share: float) -> str:
    return f"{digits(100 * share)} %"


def spread(seconds: Value) -> str:
    """ "1.62 s (0.90 to 1.93)": median, and 10th to 90th percentile, in the median's unit."""
    median, low, high = (seconds[key].number() for key in ("median", "p10", "p90"))
    unit = time_text(median).split()[1]
    factor = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}[unit]
    return f"{time_text(median)} ({digits(low * factor)} to {digits(high * factor)})"


def table(header: list[str], rows: list[list[str]], left: int) -> list[str]:
    """Markdown; the first `left` columns hold words, the others numbers."""
    rule = ["---" if index < left else "---:" for index in range(len(header))]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [header, rule, *rows]]
    return ["| " + " | ".join(row) + " |" for row in cells]


# ---- Result files -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A file of docs/benchmarks and what it holds."""

    name: str  # "gpu_h200_step.json", "xeon-amx/step.json"
    kind: str
    data: Value

    @property
    def processor(self) -> str:
        """The folder of a processor's results; empty for those beside the folders: a GPU's, a run's."""
        return self.name.rpartition("/")[0]

    def gpu(self) -> str | None:
        """The GPU it was measured on; None for a CPU's result."""
        if "machine" in self.data and "gpu" in self.data["machine"]:
            return self.data["machine"]["gpu"].text()
        return None


def machine_text(result: Result) -> str:
    data = result.data
    if result.gpu():
        about = data["machine"]
        clock = about["clocks_at_start"]["sm_max_mhz"].content
        limit = about["power_limit_watts"].content
        extras = [f"SM clock at most {clock:g} MHz" if clock else "", f"power limit {limit:g} W" if limit else ""]
        versions = [f"driver {about['driver'].text()}", f"CUDA {about['cuda'].content or NOT_RECORDED}"]
        return ", ".join([about["gpu"].text(), *versions, *filter(None, extras)])
    if "machine" in data:
        about = data["machine"]
        features = ", ".join(each.text() for each in about["features"])
        load = about["load_average_at_start"].number()
        return f"{about['processor'].text()} ({features}), {about['cores'].word()} cores, load {load:.2f} at the start"
    if "context" in data:
        about = data["context"]
        features = f", {about['features'].text()}" if "features" in about else ""
        threads = about["threads" if "threads" in about else "num_cpus"].word()
        return f"{about['device'].text()}{features}, {threads} threads"
    return NOT_RECORDED


def recorded(data: Value, what: str) -> Value | None:
    """Of a result, or of the context of one in Google Benchmark's form."""
    context = data.get("context")
    return data.get(what) or (context and context.get(what))


def date_text(data: Value) -> str:
    date = recorded(data, "date")
    return date.text()[:10] if date else NOT_RECORDED


def commit_text(data: Value) -> str:
    commit = recorded(data, "commit")
    if not commit:
        return NOT_RECORDED
    known, _, dirty = commit.text().partition("-")
    return known[:12] + (f"-{dirty}" if dirty else "")


def medians(data: Value) -> list[Value]:
    """The benchmarks of a report in Google Benchmark's form, each by its median."""
    return [each for each in data["benchmarks"] if "aggregate_name" in each and each["aggregate_name"].text() == "median"]


def benchmark_seconds(entry: Value) -> float:
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    unit = entry["time_unit"].text()
    if unit not in units:
        raise ResultError(f"{entry.place}.time_unit is {unit}; expected one of {', '.join(units)}")
    return entry["real_time"].number() * units[unit]


def aggregate(data: Value, run_name: str, which: str) -> float:
    for each in data["benchmarks"]:
        if "aggregate_name" in each and each["run_name"].text() == run_name and each["aggregate_name"].text() == which:
            return benchmark_seconds(each)
    raise ResultError(f"{data.place}benchmarks has no {which} of {run_name}")


def step_name(entry: Value) -> list[str]:
    """ "step/124m/bf16/B64/T1024" in its parts."""
    parts = entry["run_name"].text().split("/")
    if len(parts) != 5 or parts[0] != "step":
        raise ResultError(f"{entry.place}.run_name is {entry['run_name'].text()!r}; expected step/MODEL/PRECISION/B.../T...")
    return parts


def stopped(result: Result) -> bool:
    """Whether `temper bench kernels` ended before it had measured all that it was to measure."""
    complete = result.data["context"].get("complete")
    return complete is not None and complete.content is False


def gpu_command(stage: str) -> str:
    return f"scripts/gpu_check.sh --only build,{stage}"


# What a file holds, by the keys that no other kind has; the first that fits counts.
KINDS: dict[str, tuple[str, ...]] = {
    "check": ("stages",),  # scripts/gpu_check.sh
    "attention": ("workload", "pytorch"),  # scripts/compare/bench_attention.py
    "step": ("workload", "results"),  # scripts/compare/compare_step.py
    "products": ("benchmarks", "context.onednn"),  # scripts/compare/compare.py
    "kernels": ("benchmarks", "context.copy_bytes_per_second"),  # temper bench kernels
    "models": ("benchmarks", "context"),  # temper bench step, one file or several joined
    "run": ("train_seconds", "val_loss"),  # temper train, summary.json
    "table": ("title", "columns", "labels", "rows"),  # scripts/compare/compare.py
}


def kind_of(path: Path, data: Value) -> str:
    def has(key: str) -> bool:
        head, _, tail = key.partition(".")
        return head in data and (not tail or tail in data[head])

    for kind, keys in KINDS.items():
        if all(has(key) for key in keys):
            return kind
    raise ResultError(f"{path}: no kind of result that the page knows ({', '.join(KINDS)})")


def read_results(folder: Path) -> list[Result]:
    """Those in the folder, then those in the folders of processors in it."""
    results = []
    for path in [*sorted(folder.glob("*.json")), *sorted(folder.glob("*/*.json"))]:
        try:
            data = Value(f"{path}: ", json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            raise ResultError(f"{path}: cannot be read as JSON: {error}") from None
        results.append(Result(path.relative_to(folder).as_posix(), kind_of(path, data), data))
    return results
