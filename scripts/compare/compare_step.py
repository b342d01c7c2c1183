#!/usr/bin/env python3
"""Times temper's GPT-2 training step beside PyTorch's on this machine: how many times faster is it?

    compare_step.py --python /usr/bin/python3 --python VENV/bin/python --json build/step.json        # on the CPU; compare.py calls this
    compare_step.py --device cuda --python python3 --json docs/benchmarks/gpu_h200_step.json

All programs run in turn, round after round (A B C A B C ...), so that what else the machine does meets all of them; each
round gives a ratio. Writes the results as JSON and prints them as a Markdown table. Give every Python whose PyTorch is to be
measured with --python; each runs bench_step.py eagerly and, where it can, compiled and with the transformers package. On a GPU
the compiled one is timed with every --attention, the others with PyTorch's own choice.
The machine should be idle: the load average found at the start is part of the result. Each result is written as soon as it is there,
so that a run that is cut off leaves what it has. Needs nothing but Python itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import provenance

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).resolve().with_name("bench_step.py")
# What a GPU keeps busy is no work at all for a CPU, and the other way round.
DEFAULTS: dict[str, dict[str, Any]] = {
    "cpu": {
        "temper": ROOT / "build/release/temper",
        "precision": ["fp32", "bf16"],
        "batch": 4,
        "context": 256,
        "threads": 2,
        "rounds": 3,
        "warmup": 3,
        "steps": 10,
        "json": ROOT / "build/step.json",
    },
    "cuda": {
        "temper": ROOT / "build/cuda/temper",
        "precision": ["bf16"],
        "batch": 64,
        "context": 1024,
        "threads": 8,
        "rounds": 2,
        "warmup": 5,
        "steps": 20,
        "json": ROOT / "build/gpu_step.json",
    },
}
PROBE = """
import importlib.util as u, json, torch
print(json.dumps({"version": torch.__version__, "compiled": hasattr(torch, "compile"),
                  "transformers": u.find_spec("transformers") is not None}))
"""


@dataclass
class Contender:
    """One program in one precision, and the JSON results of its rounds."""

    name: str
    precision: str
    command: list[str]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def summary(self, temper: Contender) -> dict[str, Any]:
        if self.error:
            return {"name": self.name, "precision": self.precision, "error": self.error}
        seconds = [result["step_seconds"] for result in self.rounds]
        result: dict[str, Any] = {
            "name": self.name,
            "precision": self.precision,
            "tokens_per_second": statistics.median(r["tokens_per_second"] for r in self.rounds),
            "step_seconds": {
                "median": statistics.median(s["median"] for s in seconds),
                "p10": min(s["p10"] for s in seconds),
                "p90": max(s["p90"] for s in seconds),
            },
            "peak_rss_bytes": max(r["peak_rss_bytes"] for r in self.rounds),
            "rounds": self.rounds,
        }
        if "cuda" in self.command:
            # What PyTorch took of the GPU's memory; temper takes all of it before the first step and says how much.
            result["peak_device_bytes"] = max(r.get("peak_device_bytes") or r["planned_bytes"] for r in self.rounds)
        if self is not temper and not temper.error:
            pairs = zip(temper.rounds, self.rounds, strict=False)  # in the middle of a round temper is ahead by one
            ratios = [ours["tokens_per_second"] / theirs["tokens_per_second"] for ours, theirs in pairs]
            result["temper_ratio"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        return result


def workload(arguments: argparse.Namespace) -> list[str]:
    options = {"model": arguments.model, "batch": arguments.batch, "context": arguments.context}
    options |= {"warmup": arguments.warmup, "steps": arguments.steps, "device": arguments.device}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def temper_contender(arguments: argparse.Namespace, precision: str) -> Contender:
    command = [str(arguments.temper), "bench", "step", *workload(arguments), "--precision", precision]
    return Contender("temper", precision, command)


def pytorch_contenders(arguments: argparse.Namespace, python: str, precision: str) -> list[Contender]:
    probe = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise SystemExit(f"--python {python}: cannot import torch there:\n{probe.stderr}")
    found = json.loads(probe.stdout)
    variants: dict[str, list[list[str]]] = {
        "eager": [[]],
        "compiled": [["--compile"]],
        "transformers": [["--implementation", "transformers"]],
    }
    if arguments.device == "cuda":
        variants["compiled"] = [["--compile", "--attention", attention] for attention in arguments.attention]
    command = [python, str(BENCH), *workload(arguments), "--threads", str(arguments.threads), "--dtype", precision]
    return [
        Contender(
            f"PyTorch {found['version']} {variant}" + (f", {options[-1]} attention" if "--attention" in options else ""),
            precision,
            command + options,
        )
        for variant, forms in variants.items()
        if variant in arguments.variants and found.get(variant, True)
        for options in forms
    ]


def run_once(contender: Contender, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [*contender.command, "--json", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            contender.error = f"exit {done.returncode}: {last[0]}"
        else:
            result = json.loads(file.read_text())
            # temper writes Google Benchmark's form, a list of one here.
            contender.rounds.append(result["benchmarks"][0] if "benchmarks" in result else result)


def markdown(report: dict[str, Any]) -> str:
    about, work = report["machine"], report["workload"]
    place = f"{work['threads']} threads of {about['processor']} ({', '.join(about['features'])})"
    if "gpu" in about:
        clocks = about["clocks_at_start"]
        place = f"{about['gpu']}, driver {about['driver']}, SM clock at most {clocks['sm_max_mhz']:.0f} MHz"
    lines = [
        f"GPT-2 {work['model']}, B={work['batch']}, T={work['context']}, {place}, "
        f"{report['date'][:10]}, commit {report['commit'][:12]}, {work['rounds']} rounds, "
        f"load {about['load_average_at_start']:.2f} at the start.",
        "",
        "| precision | program | tokens/s | step, median (p10 to p90) | peak memory | temper is |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in report["results"]:
        start = f"| {row['precision']} | {row['name']} "
        if "error" in row:
            lines.append(f"{start}| failed | {row['error']} | | |")
            continue
        step, ratio = row["step_seconds"], row.get("temper_ratio")
        times = f"{step['median']:.3f} s ({step['p10']:.3f} to {step['p90']:.3f})"
        against = f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else ""
        memory = row.get("peak_device_bytes", row["peak_rss_bytes"]) / 2**30
        lines.append(f"{start}| {row['tokens_per_second']:.0f} | {times} | {memory:.2f} GiB | {against} |")
    return "\n".join(lines)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cpu, cuda = DEFAULTS["cpu"], DEFAULTS["cuda"]

    def either(name: str) -> str:
        return f"(default: {cpu[name]} on the CPU, {cuda[name]} on a GPU)"

    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default %(default)s)")
    parser.add_argument("--temper", type=Path, help="the program (default: build/release/temper, or build/cuda/temper on a GPU)")
    parser.add_argument("--python", action="append", required=True, help="a Python that has PyTorch; repeat for several")
    variants = ("eager", "compiled", "transformers")
    parser.add_argument("--variants", nargs="+", choices=variants, default=list(variants), help="(default: all three)")
    parser.add_argument(
        "--attention",
        nargs="+",
        choices=("default", "flash", "cudnn"),
        default=["flash", "cudnn"],
        help="of the compiled PyTorch on a GPU (default: flash cudnn)",
    )
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), help="(default: both on the CPU, bf16 on a GPU)")
    parser.add_argument("--model", default="124m")
    parser.add_argument("--batch", type=int, help=either("batch"))
    parser.add_argument("--context", type=int, help=either("context"))
    parser.add_argument("--threads", type=int, help=either("threads"))
    parser.add_argument("--rounds", type=int, help=either("rounds"))
    parser.add_argument("--warmup", type=int, help=f"untimed steps a round {either('warmup')}")
    parser.add_argument("--steps", type=int, help=f"timed steps a round {either('steps')}")
    parser.add_argument("--json", type=Path, help="(default: build/step.json, or build/gpu_step.json on a GPU)")
    arguments = parser.parse_args(words)
    for name, value in DEFAULTS[arguments.device].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def measure(arguments: argparse.Namespace, origin: dict[str, Any], keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The report, which `keep` gets after every run: what is cut off leaves what it has."""
    work = ("model", "batch", "context", "threads", "rounds", "warmup", "steps")
    groups = []
    for precision in arguments.precision:
        peers = [c for python in arguments.python for c in pytorch_contenders(arguments, python, precision)]
        groups.append([temper_contender(arguments, precision), *peers])
    report: dict[str, Any] = {"date": provenance.date(), **origin, "workload": {name: getattr(arguments, name) for name in work}}
    for group in groups:
        for index in range(arguments.rounds):
            for contender in group:
                if contender.error:
                    continue
                run_once(contender, arguments.threads)
                rate = contender.error or f"{contender.rounds[-1]['tokens_per_second']:.0f} tokens/s"
                print(f"round {index + 1}: {contender.name} {contender.precision}: {rate}", file=sys.stderr)
                measured = [(each, group[0]) for group in groups for each in group if each.rounds or each.error]
                report |= {"date": provenance.date(), "results": [each.summary(temper) for each, temper in measured]}
                keep(report)
    return report


def main() -> int:
    arguments = parse_arguments()
    # Before anything runs or is written: load and clocks must be the machine's own, the tree that of the commit.
    try:
        about = provenance.machine(arguments.device)
    except provenance.NoGpuError as error:
        raise SystemExit(f"--device cuda: {error}") from None
    if about["load_average_at_start"] > 0.5 and arguments.device == "cpu":
        print(f"warning: load average {about['load_average_at_start']:.2f}; the machine is not idle", file=sys.stderr)

    report = measure(
        arguments, {"commit": provenance.commit(), "machine": about}, lambda so_far: provenance.write(arguments.json, so_far)
    )
    print(markdown(report))
    return 1 if any("error" in row for row in report["results"]) else 0


if __name__ == "__main__":
    sys.exit(main())
