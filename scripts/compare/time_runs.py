"""Times short trainings of temper itself, which compare.py writes down: how long OpenMP's threads spin, alone and beside a busy
process; what measuring an update costs; what sharing a run among ranks of one machine costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GPT2_124M = ["model.n_layer=12", "model.n_head=12", "model.n_embd=768", "model.n_ctx=256", "model.vocab_size=50257", "batch.micro_batch=4"]


def train(temper: Path, data: Path, overrides: list[str], variables: dict[str, str], ranks: int = 1) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl of one run of the quickstart's model on the shards of the folder `data`."""
    with tempfile.TemporaryDirectory() as folder:
        shards = [f"data.train={data}/text_train_*.bin", f"data.val={data}/text_val_*.bin", f"data.tokenizer={data}"]
        common = [*shards, "eval.every=0", "eval.tokens=1", "checkpoint.every=0", "log.tensorboard=false"]
        launcher = ["mpirun", "--bind-to", "none", "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []
        as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
        command = [*launcher, str(temper), "train", "configs/quickstart.json", *common, *overrides, "--out", f"{folder}/run"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | as_root | variables, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}:\n{done.stderr}")
        return [json.loads(line) for line in Path(folder, "run/metrics.jsonl").read_text().splitlines()]


def step_seconds(lines: list[dict[str, Any]]) -> dict[int, float]:
    """Of each step but the first, which warms up."""
    by_step = {line["step"]: line["seconds"] for line in lines}
    return {step: seconds - by_step[step - 1] for step, seconds in by_step.items() if step > 1}


def spread(values: list[float], factor: float = 1.0) -> str:
    ordered = sorted(values)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.9))
    return f"{statistics.median(ordered) * factor:.3g} ({low * factor:.3g} to {high * factor:.3g})"


def waiting(temper: Path, data: Path, rounds: int) -> dict[str, Any]:
    # 300,000 turns is libgomp's own default, "infinity" what it does under OMP_WAIT_POLICY=active, 0 under passive.
    choices = {"libgomp's default, 300000 turns": "300000", "temper's, 2000 turns": "2000", "sleep at once, 0 turns": "0"}
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for beside in ("nothing", "one busy process"):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside != "nothing" else None
            try:
                for name, turns in choices.items():
                    seconds = step_seconds(train(temper, data, ["train.steps=8"], {"GOMP_SPINCOUNT": turns}))
                    times.setdefault((beside, name), []).append(sum(seconds.values()) / len(seconds))
            finally:
                if busy:
                    busy.kill()
                    busy.wait()
    rows = []
    for (beside, name), seconds in times.items():
        ratio = statistics.median(seconds) / statistics.median(times[(beside, "temper's, 2000 turns")])
        rows.append([beside, name, spread(seconds, 1e3), f"{ratio:.2f}x"])
    return {
        "title": "How long waiting threads spin (GOMP_SPINCOUNT)",
        "note": f"The quickstart's model, fp32, {os.cpu_count()} threads; mean time of a step in ms, median of {rounds} rounds with its spread.",
        "columns": ["beside it runs", "threads that wait", "ms a step", "beside temper's choice"],
        "labels": 2,
        "rows": rows,
    }


def diagnostics(temper: Path, data: Path, _rounds: int) -> dict[str, Any]:
    every, rows = 5, []
    workloads = {
        "quickstart, fp32, 2,048 tokens a step": ["train.steps=151"],
        "GPT-2 124M, bf16, 1,024 tokens a step": [*GPT2_124M, "precision=bf16", "batch.tokens_per_step=1024", "train.steps=31"],
    }
    for name, overrides in workloads.items():
        seconds = step_seconds(train(temper, data, [*overrides, f"diagnostics.every={every}"], {}))
        measured = [value for step, value in seconds.items() if step % every == 0]
        others = [value for step, value in seconds.items() if step % every != 0]
        share = (statistics.median(measured) - statistics.median(others)) / statistics.median(others) / 10
        rows.append([name, spread(others, 1e3), spread(measured, 1e3), f"{100 * share:.2f} %"])
    return {
        "title": "What diagnostics cost",
        "note": "Steps that are measured (diagnostics.every) beside those that are not, of one run; the last column spreads the difference over ten steps.",
        "columns": ["run", "ms a step", "ms a measured step", "of the run at diagnostics.every=10"],
        "labels": 1,
        "rows": rows,
    }


def ranks(temper: Path, data: Path, rounds: int) -> dict[str, Any]:
    plain, zero, ordered = [], ["parallel.zero_stage=1"], ["parallel.deterministic=true"]
    variants = [(1, plain), (2, plain), (2, zero), (2, ordered), (1, ordered)]
    tokens = 16384
    model = ["precision=bf16", "train.steps=6", f"batch.tokens_per_step={tokens}"]
    times: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for count, overrides in variants:
            seconds = step_seconds(train(temper, data, [*model, *overrides], {"OMP_NUM_THREADS": "1"}, count))
            times.setdefault((count, " ".join(overrides)), []).append(statistics.median(seconds.values()))
    rows = []
    for (count, name), seconds in times.items():
        efficiency = statistics.median(times[(1, "")]) / statistics.median(seconds) / count
        rows.append([str(count), name or "defaults", spread(seconds), f"{tokens / statistics.median(seconds):,.0f}", f"{efficiency:.0%}"])
    return {
        "title": "Ranks of one machine",
        "note": f"The quickstart's model, bf16, 8 micro-batches of 2,048 tokens a step, one thread a rank, over MPI; seconds of a step, median of {rounds} rounds with its "
        "spread. The last column is the throughput beside as many times that of one rank: ranks of one machine share its memory bandwidth too.",
        "columns": ["ranks", "settings", "s a step", "tokens/s", "efficiency"],
        "labels": 2,
        "rows": rows,
    }
