#!/usr/bin/env python3
"""Writes docs/benchmarks.md from the result files in docs/benchmarks/: every figure on that page stands in one of them.

    scripts/benchmarks_page.py            writes the page
    scripts/benchmarks_page.py --check    ends with 1 when the page is not what the files say

Files in a folder are those of a processor, as scripts/compare/compare.py writes them: what several processors have of one kind is
one table, with columns for each. Files beside the folders are those of a GPU or of a run, each with a section of its own.

benchmark_results.py reads the files, benchmark_columns.py joins those of processors, benchmark_gates.py holds them against what is to
be reached. A file that is not JSON, is of no known kind or lacks a field is an error that names the file and the field; exit code 2.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark_columns import COLUMNS, Columns, floor_columns, joined_table
from benchmark_gates import all_gates
from benchmark_results import (
    Result,
    ResultError,
    Value,
    aggregate,
    benchmark_seconds,
    bytes_text,
    commit_text,
    date_text,
    gpu_command,
    machine_text,
    medians,
    percent,
    rate_text,
    read_results,
    spread,
    step_name,
    stopped,
    table,
    time_text,
)

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Section:
    title: str
    command: str
    note: str
    lines: list[str]


def step_section(result: Result) -> Section:
    data, work = result.data, result.data["workload"]
    rows = []
    for row in data["results"]:
        start = [row["precision"].text(), row["name"].text()]
        if "error" in row:
            rows.append([*start, "failed", row["error"].text(), "", ""])
            continue
        against = ""
        if "temper_ratio" in row:
            ratio = row["temper_ratio"]
            low, high = ratio["min"].number(), ratio["max"].number()
            against = f"{ratio['median'].number():.2f}x ({low:.2f} to {high:.2f})"
        memory = row["peak_device_bytes"].number()
        rate = f"{row['tokens_per_second'].number():,.0f}"
        rows.append([*start, rate, spread(row["step_seconds"]), bytes_text(memory), against])
    names = [row["name"].text() for row in data["results"]]
    peers = [name.replace(",", " ").split() for name in names if name.startswith("PyTorch ")]  # PyTorch VERSION VARIANT ...
    pythons = sorted({peer[1] for peer in peers})
    variants = [variant for variant in ("eager", "compiled", "transformers") if any(variant in peer for peer in peers)]
    options = {name: work[name].word() for name in ("model", "batch", "context", "threads", "rounds", "warmup", "steps")}
    command = "python3 scripts/compare/compare_step.py --device cuda"
    command += "".join(f" --python PYTHON_WITH_{version}" for version in pythons)
    command += f" --variants {' '.join(variants)}" + "".join(f" --{name} {value}" for name, value in options.items())
    return Section(
        f"A training step of GPT-2 {options['model']} beside PyTorch, B={options['batch']}, T={options['context']}",
        command,
        "Whole steps on random tokens: forward, backward, clipping, AdamW; all programs in turn, round after round. The last "
        "column is PyTorch's time over temper's: the median of the rounds' ratios, with the least and the largest. Peak memory is "
        "the GPU's.",
        table(["precision", "program", "tokens/s", "step, median (p10 to p90)", "peak memory", "temper is"], rows, 2),
    )


def kernels_section(result: Result) -> Section:
    data, context = result.data, result.data["context"]
    rows = []
    for entry in medians(data):
        run_name = entry["run_name"].text()
        operation, _, shape = run_name.partition("/")
        if operation == "ceiling":
            continue
        seconds, flops = benchmark_seconds(entry), entry["flops_per_second"].number()
        rows.append(
            [
                operation,
                shape.removesuffix(f"/{context['precision'].text()}"),
                time_text(seconds),
                time_text(aggregate(data, run_name, "p10")),
                time_text(aggregate(data, run_name, "p90")),
                rate_text(entry["bytes_per_second"].number(), "B"),
                rate_text(flops, "FLOP") if flops > 0 else "",
                percent(entry["share_of_floor"].number()),
            ]
        )
    copy, matmul = context["copy_bytes_per_second"].number(), context["matmul_flops_per_second"].number()
    return Section(
        f"Operations of GPT-2 {context['model'].text()} against their floor, {context['precision'].text()}, "
        f"B={context['batch'].word()}, T={context['context_length'].word()}",
        gpu_command("kernels"),
        f"Ceilings of the same run: copy {rate_text(copy, 'B')}, matmul {rate_text(matmul, 'FLOP')}. The floor of an operation is "
        "the larger of its bytes over the one and its operations over the other; caches are cold."
        + (" The run was stopped before its end: the rest of a step's operations is missing." if stopped(result) else ""),
        table(["operation", "shape", "median", "p10", "p90", "moved", "computed", "of floor"], rows, 2),
    )


def models_section(result: Result) -> Section:
    rows = []
    for entry in medians(result.data):
        _, model, precision, batch, context = step_name(entry)
        times = {which: aggregate(result.data, entry["run_name"].text(), which) for which in ("median", "p10", "p90")}
        rows.append(
            [
                f"GPT-2 {model}",
                precision,
                batch.removeprefix("B"),
                context.removeprefix("T"),
                spread(Value(entry.place, times)),
                f"{entry['tokens_per_second'].number():,.0f}",
                rate_text(entry["flops_per_second"].number(), "FLOP"),
                bytes_text(entry["planned_bytes"].number()),
            ]
        )
    return Section(
        "Training steps of each size",
        gpu_command("step,models"),
        "Whole steps on random tokens: forward, backward, clipping, AdamW. Operations are 6 N + 6 L C T a token, attention counted "
        "causally.",
        table(["model", "precision", "B", "T", "step, median (p10 to p90)", "tokens/s", "computed", "memory planned"], rows, 2),
    )


def attention_section(result: Result) -> Section:
    work, pytorch = result.data["workload"], result.data["pytorch"]
    rows = []
    for row in result.data["results"]:
        start = [row["attention"].text(), row["name"].text()]
        if "error" in row:
            rows.append([*start, "failed", row["error"].text()])
        else:
            rows.append([*start, spread(row["seconds"]), rate_text(row["flops_per_second"].number(), "FLOP")])
    sizes = [work[name].word() for name in ("batch", "heads", "context", "head_size")]
    return Section(
        f"PyTorch's causal attention, {work['precision'].text()}, (B, H, T, D) = ({', '.join(sizes)})",
        gpu_command("attention"),
        f"PyTorch {pytorch['version'].text()}. Operations are counted causally, half the square; backward 2.5 times forward.",
        table(["attention", "pass", "median (p10 to p90)", "computed"], rows, 2),
    )


def check_section(result: Result) -> Section:
    rows = [[row[key].word() for key in ("name", "result", "detail", "seconds")] for row in result.data["stages"]]
    return Section(
        "Checks on a GPU",
        "scripts/gpu_check.sh",
        f"{result.data['seconds'].word()} seconds in all.",
        table(["stage", "result", "detail", "seconds"], rows, 3),
    )


def summary_section(result: Result) -> Section:
    if not isinstance(result.data.content, dict):
        raise ResultError(f"{result.data.place}is no object")
    rows = [[key, result.data[key].word()] for key in result.data.content if key not in ("date", "commit", "machine")]
    return Section(
        f"The run `{result.data['name'].text()}`", f"scripts/{result.data['name'].text()}.sh", "", table(["key", "value"], rows, 1)
    )


SECTIONS: dict[str, Callable[[Result], Section]] = {
    "check": check_section,
    "attention": attention_section,
    "step": step_section,
    "kernels": kernels_section,
    "models": models_section,
    "run": summary_section,
}


# ---- The page ---------------------------------------------------------------------------------------------------------


def source(result: Result) -> str:
    """The file and where it is from."""
    where = f"[{result.name}](benchmarks/{result.name}). Machine: {machine_text(result)}."
    return f"{where} Date: {date_text(result.data)}. Commit: {commit_text(result.data)}."


def section_head(title: str, command: str) -> list[str]:
    return ["", f"## {title}", "", "```sh", command, "```", ""]


def section_of(result: Result) -> Section:
    if result.kind not in SECTIONS or (result.kind in COLUMNS and not result.gpu()):
        raise ResultError(f"{result.data.place}a result of this kind ({result.kind}) belongs into the folder of its processor")
    return SECTIONS[result.kind](result)


def columns_of(result: Result) -> Columns:
    if result.kind not in COLUMNS or result.gpu():
        raise ResultError(
            f"{result.data.place}a result of {'a GPU' if result.gpu() else f'this kind ({result.kind})'} belongs beside the folders of "
            "processors"
        )
    return COLUMNS[result.kind](result)


def processors_section(title: str, group: list[Columns]) -> list[str]:
    lines = section_head(title, group[0].command)
    notes = list(dict.fromkeys(columns.note for columns in group))
    if len(notes) == 1:
        lines += [notes[0], ""]
    lines += [*joined_table(group), ""]
    for columns in group:
        said = [source(columns.result), columns.about, columns.note if len(notes) > 1 else ""]
        lines.append(f"* **{columns.result.processor}**: {' '.join(filter(None, said))}")
    return lines


def page(results: list[Result]) -> str:
    lines = [
        "<!-- Made by scripts/benchmarks_page.py from the files in docs/benchmarks/; run it again instead of changing this page. -->",
        "# Benchmarks",
        "",
        "Every figure on this page stands in a file of [benchmarks/](benchmarks/). [performance.md](performance.md) explains them.",
        "",
        "## Figures to reach",
        "",
        "What no file holds yet is listed with the command that measures it. Operations are weighted by how often a step runs",
        "them; bandwidth is held against the copy of the same run.",
        "",
    ]
    rows = []
    for gate in all_gates(results):
        measured = f"{gate.measured} ([file](benchmarks/{gate.file}))" if gate.measured else f"not measured: run `{gate.command}`"
        rows.append([gate.work, gate.machine, gate.goal, measured, gate.met])
    lines += table(["work", "on", "goal", "measured", "reached"], rows, 5)
    for result in results:
        if not result.processor:
            section = section_of(result)
            lines += [
                *section_head(section.title, section.command),
                f"File: {source(result)}",
                "",
                *([section.note, ""] if section.note else []),
                *section.lines,
            ]
    tables: dict[tuple[str, str], list[Columns]] = {}
    for result in results:
        if result.processor:
            found = [columns_of(result), floor_columns(result, results) if result.kind == "kernels" else None]
            for columns in filter(None, found):
                tables.setdefault((columns.part, columns.title), []).append(columns)
    for (_, title), group in sorted(tables.items()):
        lines += processors_section(title, group)
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when the page is stale")
    parser.add_argument("--results", type=Path, default=ROOT / "docs/benchmarks", help="(default %(default)s)")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/benchmarks.md", help="(default %(default)s)")
    arguments = parser.parse_args()
    try:
        text = page(read_results(arguments.results))
    except ResultError as error:
        print(f"benchmarks_page.py: {error}", file=sys.stderr)
        return 2
    if not arguments.check:
        arguments.page.write_text(text, encoding="utf-8")
        return 0
    there = arguments.page.read_text(encoding="utf-8") if arguments.page.exists() else ""
    if there != text:
        print(f"{arguments.page} is not what {arguments.results} says; run scripts/benchmarks_page.py:", file=sys.stderr)
        changes = difflib.unified_diff(there.splitlines(), text.splitlines(), "committed", "from the results", lineterm="", n=0)
        print("\n".join(list(changes)[:20]), file=sys.stderr)
        return 1
    print(f"{arguments.page} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
