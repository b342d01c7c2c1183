"""Results of several processors side by side: one table for what all of them measured, with columns for each processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from benchmark_gates import ATTENTION, MATMULS, MEMORY_BOUND, KernelFigures
from benchmark_results import (
    Result,
    ResultError,
    benchmark_seconds,
    medians,
    percent,
    rate_text,
    stopped,
    table,
    time_text,
)

Row = tuple[str, ...]  # what a row is about: its leftmost cells


@dataclass(frozen=True)
class Columns:
    """What one file has to say: a few cells for each row that it knows."""

    result: Result
    title: str  # files of one title share a table
    labels: list[str]  # heads of the leftmost columns
    heads: list[str]  # heads of this file's own
    cells: dict[Row, list[str]]
    note: str  # what the table says, on any processor
    about: str = ""  # what this file says besides

    @property
    def part(self) -> str:
        """What scripts/compare/compare.py calls it."""
        return PurePath(self.result.name).stem.removesuffix("_fp32").removesuffix("_bf16")

    @property
    def command(self) -> str:
        """The file's own, of what compare.py does not measure."""
        own = self.result.data.get("measured_by")
        return own.text() if own else f"python3 scripts/compare/compare.py --python PYTHON --only {self.part}"


def step_columns(result: Result) -> Columns:
    data, work = result.data, result.data["workload"]
    cells: dict[Row, list[str]] = {}
    for row in data["results"]:
        key = (row["precision"].text(), row["name"].text())
        if "error" in row:
            cells[key] = ["failed", row["error"].text()]
            continue
        against = ""
        if "temper_ratio" in row:
            low, median, high = (row["temper_ratio"][which].number() for which in ("min", "median", "max"))
            against = f"{median:.2f}x ({low:.2f} to {high:.2f})"
        cells[key] = [f"{row['tokens_per_second'].number():,.0f}", against]
    sizes = f"B={work['batch'].word()}, T={work['context'].word()}"
    return Columns(
        result,
        f"A training step of GPT-2 {work['model'].text()} beside PyTorch, {sizes}",
        ["precision", "program"],
        ["tokens/s", "temper is"],
        cells,
        "Whole steps on random tokens: forward, backward, clipping, AdamW; all programs in turn, round after round. temper is so many "
        "times as fast: the median of the rounds' ratios, with the least and the largest. The files have the times of a step and the "
        "peak memory too.",
        f"{work['threads'].word()} threads, {work['rounds'].word()} rounds of {work['steps'].word()} steps.",
    )


def kernels_columns(result: Result) -> Columns:
    data, context = result.data, result.data["context"]
    cells: dict[Row, list[str]] = {}
    for entry in medians(data):
        operation, _, shape = entry["run_name"].text().partition("/")
        if operation != "ceiling":
            key = (operation, shape.removesuffix(f"/{context['precision'].text()}"))
            cells[key] = [time_text(benchmark_seconds(entry)), percent(entry["share_of_floor"].number())]
    operations = sorted({operation for operation, _ in cells})
    if not operations:
        raise ResultError(f"{data.place}benchmarks has no operation")
    what = (
        f"{operations[0]} of GPT-2 {{}} against its floor" if len(operations) == 1 else "Operations of GPT-2 {} against their floor"
    )
    sizes = f"B={context['batch'].word()}, T={context['context_length'].word()}"
    copy, matmul = context["copy_bytes_per_second"].number(), context["matmul_flops_per_second"].number()
    return Columns(
        result,
        f"{what.format(context['model'].text())}, {context['precision'].text()}, {sizes}",
        ["operation", "shape"],
        ["median", "of floor"],
        cells,
        "The floor of an operation is the larger of its bytes over the copy bandwidth and its operations over the matmul rate of the "
        "same run; caches are cold.",
        f"Copy {rate_text(copy, 'B')}, matmul {rate_text(matmul, 'FLOP')}."
        + (" The run was stopped before its end: the rest of a step's operations is missing." if stopped(result) else ""),
    )


def measured_step(results: list[Result], kernels: Result) -> float | None:
    """Seconds of temper's step in that processor's step.json, of the kernels' workload."""
    context = kernels.data["context"]
    for result in results:
        if result.kind != "step" or result.processor != kernels.processor:
            continue
        work = [result.data["workload"][key].word() for key in ("model", "batch", "context")]
        if work != [context[key].word() for key in ("model", "batch", "context_length")]:
            continue
        for row in result.data["results"]:
            if row["name"].text() == "temper" and row["precision"].text() == context["precision"].text() and "error" not in row:
                return row["step_seconds"]["median"].number()
    return None


def floor_columns(result: Result, results: list[Result]) -> Columns | None:
    """A whole step beside the sum of its operations' floors; nothing of a file that lacks some of a step's operations."""
    context = result.data["context"]
    operations = {entry["run_name"].text().partition("/")[0] for entry in medians(result.data)}
    if stopped(result) or not {*MATMULS, *ATTENTION, *MEMORY_BOUND} <= operations:
        return None
    figures = KernelFigures(result.data)
    groups = {"products": MATMULS, "attention": ATTENTION, "all else": MEMORY_BOUND}
    groups["all operations, one after the other"] = (*MATMULS, *ATTENTION, *MEMORY_BOUND)
    times = {name: (figures.seconds(*group), figures.floor_seconds(*group)) for name, group in groups.items()}
    floor = list(times.values())[-1][1]
    if (step := measured_step(results, result)) is not None:
        times["a whole step, in a run of its own"] = (step, floor)
    return Columns(
        result,
        f"A step of GPT-2 {context['model'].text()} beside its floor, {context['precision'].text()}, "
        f"B={context['batch'].word()}, T={context['context_length'].word()}",
        ["work"],
        ["time", "floor", "of floor"],
        {(name,): [time_text(time), time_text(least), f"{time / least:.2f}x"] for name, (time, least) in times.items()},
        "Each operation's time and floor as below, as often as a step runs it. The rates of that floor are those of one long copy and one large product.",
    )


def products_columns(result: Result) -> Columns:
    context = result.data["context"]
    cells: dict[Row, list[str]] = {}
    for entry in result.data["benchmarks"]:
        parts = entry["name"].text().split("/")
        if len(parts) != 3:
            raise ResultError(f"{entry.place}.name is {entry['name'].text()!r}; expected TYPE/K->N/PRODUCT")
        ours, theirs = (entry[key]["median"].number() for key in ("temper_seconds", "onednn_seconds"))
        rate = rate_text(entry["flops"].number() / ours, "FLOP")
        cells[(parts[0], parts[1].replace("->", " -> "), parts[2])] = [rate, f"{theirs / ours:.2f}x"]
    note, pytorch = result.data.get("note"), context.get("pytorch")
    inside = f" inside PyTorch {pytorch.text()}" if pytorch else ", weights packed beforehand"
    return Columns(
        result,
        "Products beside oneDNN",
        ["type", "K -> N", "product"],
        ["temper", "temper is"],
        cells,
        "The linear layers of GPT-2 124M's step; temper is so many times as fast as oneDNN.",
        f"oneDNN {context['onednn'].text()}{inside}; {context['rows'].word()} rows, {context['threads'].word()} threads."
        + (f" {note.text()}" if note else ""),
    )


def table_columns(result: Result) -> Columns:
    data = result.data
    heads = [head.text() for head in data["columns"]]
    rows = [[cell.word() for cell in row] for row in data["rows"]]
    for row, place in zip(rows, data["rows"], strict=True):
        if len(row) != len(heads):
            raise ResultError(f"{place.place} has {len(row)} cells; there are {len(heads)} columns")
    left = int(data["labels"].number())
    cells = {tuple(row[:left]): row[left:] for row in rows}
    return Columns(result, data["title"].text(), heads[:left], heads[left:], cells, data["note"].text())


COLUMNS: dict[str, Callable[[Result], Columns]] = {
    "step": step_columns,
    "kernels": kernels_columns,
    "products": products_columns,
    "table": table_columns,
}


def joined_table(columns: list[Columns]) -> list[str]:
    """All rows that any of the files knows, in the order of the first one that does."""
    rows = list(dict.fromkeys(row for each in columns for row in each.cells))
    header = columns[0].labels + [f"{each.result.processor}: {head}" for each in columns for head in each.heads]
    cells = [[*row, *(cell for each in columns for cell in each.cells.get(row, [""] * len(each.heads)))] for row in rows]
    return table(header, cells, len(columns[0].labels))
