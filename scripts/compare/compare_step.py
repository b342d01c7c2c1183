#!/usr/bin/env python3
"""Times temper's GPT-2 124M training step beside PyTorch's on this machine: how many times faster is it?

All programs run in turn, round after round (A B C A B C ...), so that what else the machine does meets all of them; each
round gives a ratio. Writes the results as JSON and prints them as a Markdown table. Give every Python whose PyTorch is to be
measured with --python; each runs bench_step.py eagerly and, where it can, compiled and with the transformers package.
The machine should be idle: the load average found at the start is part of the result. Needs nothing but Python itself.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).resolve().with_name("bench_step.py")
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
    rounds: list[dict] = field(default_factory=list)
    error: str = ""

    def summary(self, temper: Contender) -> dict:
        if self.error:
            return {"name": self.name, "precision": self.precision, "error": self.error}
        seconds = [result["step_seconds"] for result in self.rounds]
        result = {
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
        if self is not temper and not temper.error:
            pairs = zip(temper.rounds, self.rounds, strict=True)
            ratios = [ours["tokens_per_second"] / theirs["tokens_per_second"] for ours, theirs in pairs]
            result["temper_ratio"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        return result


def workload(arguments: argparse.Namespace) -> list[str]:
    options = {"model": arguments.model, "batch": arguments.batch, "context": arguments.context}
    options |= {"warmup": arguments.warmup, "steps": arguments.steps}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def temper_contender(arguments: argparse.Namespace, precision: str) -> Contender:
    command = [str(arguments.temper), "bench", "step", *workload(arguments), "--device", "cpu", "--precision", precision]
    return Contender("temper", precision, command)


def pytorch_contenders(arguments: argparse.Namespace, python: str, precision: str) -> list[Contender]:
    probe = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise SystemExit(f"--python {python}: cannot import torch there:\n{probe.stderr}")
    found = json.loads(probe.stdout)
    variants = {"eager": [], "compiled": ["--compile"], "transformers": ["--implementation", "transformers"]}
    command = [python, str(BENCH), *workload(arguments), "--threads", str(arguments.threads), "--dtype", precision]
    return [
        Contender(f"PyTorch {found['version']} {variant}", precision, command + options)
        for variant, options in variants.items()
        if variant in arguments.variants and found.get(variant, True)
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


def machine() -> dict:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    matters = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    return {
        "processor": info.get("model name", platform.processor()),
        "features": sorted(matters & set(info.get("flags", "").split())),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_at_start": os.getloadavg()[0],
    }


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout.strip()


def markdown(report: dict) -> str:
    about, work = report["machine"], report["workload"]
    lines = [
        f"GPT-2 {work['model']}, B={work['batch']}, T={work['context']}, {work['threads']} threads of {about['processor']} "
        f"({', '.join(about['features'])}), {report['date'][:10]}, commit {report['commit'][:12]}, {work['rounds']} rounds, "
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
        lines.append(f"{start}| {row['tokens_per_second']:.0f} | {times} | {row['peak_rss_bytes'] / 2**30:.2f} GiB | {against} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temper", type=Path, default=ROOT / "build/release/temper", help="(default %(default)s)")
    parser.add_argument("--python", action="append", required=True, help="a Python that has PyTorch; repeat for several")
    parser.add_argument("--variants", nargs="+", default=["eager", "compiled", "transformers"], help="(default: all three)")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--model", default="124m")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--warmup", type=int, default=3, help="untimed steps a round (default %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps a round (default %(default)s)")
    parser.add_argument("--json", type=Path, default=ROOT / "docs/benchmarks/cpu_step.json", help="(default %(default)s)")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    # Before anything runs: the load must be the machine's own.
    about = machine()
    if about["load_average_at_start"] > 0.5:
        print(f"warning: load average {about['load_average_at_start']:.2f}; the machine is not idle", file=sys.stderr)

    groups = []
    for precision in arguments.precision:
        peers = [c for python in arguments.python for c in pytorch_contenders(arguments, python, precision)]
        groups.append([temper_contender(arguments, precision), *peers])
    for group in groups:
        for index in range(arguments.rounds):
            for contender in group:
                if contender.error:
                    continue
                run_once(contender, arguments.threads)
                rate = contender.error or f"{contender.rounds[-1]['tokens_per_second']:.0f} tokens/s"
                print(f"round {index + 1}: {contender.name} {contender.precision}: {rate}", file=sys.stderr)

    work = ("model", "batch", "context", "threads", "rounds", "warmup", "steps")
    report = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else ""),
        "machine": about,
        "workload": {name: getattr(arguments, name) for name in work},
        "results": [contender.summary(group[0]) for group in groups for contender in group],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    print(markdown(report))
    return 1 if any("error" in row for row in report["results"]) else 0


if __name__ == "__main__":
    sys.exit(main())
