#!/usr/bin/env python3
"""Runs reduced experiments of docs/experiments.md and keeps what they gave: a sweep's configurations and seeds, and a line for each trial in docs/experiments/NAME.jsonl.

  scripts/experiments/run.py decay-cosine                   # one
  scripts/experiments/run.py                                # all, in the order of --list: about six hours on two cores
  scripts/experiments/run.py warmup --seeds 11 12 13 --results /tmp/again      # with seeds not used before, elsewhere

Stopped in any way, the same command goes on where it was. Trials that the results already hold are not run again, so seeds can be run one after the other,
on different days and machines; each line says on which processor, at which commit and when it was run. Sweeps are kept in sweeps/.
Then scripts/experiments/page.py judges the effects.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from trials import Trial, json_lines, read_trials

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts/compare"))
import provenance  # noqa: E402

CONFIGS = ROOT / "configs/experiments"
LOSS_POINTS = 40  # of a training curve that are kept, each the mean of the steps since the one before
MEASURED_POINTS = 16  # of each measurement, evenly by the logarithm of the step
MEASURED = ["weight_norm", "relative_update", "step_row_angle", "effective_rate", "critical_batch", "snr", "representation_change", "step_representation_change",
            "batch_step_representation_change"]


def read_sweep(name: str) -> dict:
    """configs/experiments/NAME-small.json with what its base extends named from the root."""
    text = (CONFIGS / f"{name}-small.json").read_text()
    sweep = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    sweep["base"]["extends"] = str(CONFIGS / sweep["base"]["extends"])
    sweep.pop("$schema")
    return sweep


class Lab:
    """Where experiments are run and what came of those before."""

    def __init__(self, temper: Path, sweeps: Path, results: Path, seeds: list[int] | None) -> None:
        self.temper, self.sweeps, self.results, self.seeds = temper, sweeps, results, seeds

    def sweep(self, name: str, content: dict) -> Path:
        """Trains what is missing; the sweep's folder."""
        self.sweeps.mkdir(parents=True, exist_ok=True)
        file, out = self.sweeps / f"{name}.json", self.sweeps / name
        file.write_text(json.dumps(content, indent=1) + "\n")
        ended = subprocess.run([self.temper, "sweep", file, "--out", out, "--retry-failed"], cwd=ROOT).returncode
        if ended not in (0, 1):  # 1: some trials failed, as those that diverge
            raise SystemExit(f"run.py: temper sweep {file} ended with {ended}")
        return out

    def keep(self, name: str, folder: Path, wanted: Callable[[Trial], bool] = lambda _: True) -> None:
        """Adds a sweep's trials to the results; one that is there already stays."""
        path = self.results / f"{name}.jsonl"
        kept = {key_of(line): line for line in json_lines(path)} if path.is_file() else {}
        origin = {"processor": provenance.cpu_machine()["processor"], "commit": provenance.commit(), "date": provenance.date()[:10]}
        for trial in read_trials(folder):
            line = summary(trial)
            if wanted(trial) and key_of(line) not in kept:
                kept[key_of(line)] = line | origin
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(kept[key], separators=(",", ":")) + "\n" for key in sorted(kept)))
        print(f"{path}: {len(kept)} trials")

    def missing(self, name: str, seeds: list[int]) -> list[int]:
        """Seeds of which the results hold no trial: a seed's are kept together."""
        path = self.results / f"{name}.jsonl"
        held = {line["seed"] for line in json_lines(path)} if path.is_file() else set()
        return [seed for seed in seeds if seed not in held]


def key_of(line: dict) -> str:
    return json.dumps([line["values"], line["seed"]])


def rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def logarithmic_choice(steps: list[float]) -> list[int]:
    """Places of MEASURED_POINTS steps, evenly by their logarithm, the first and the last among them."""
    if len(steps) <= MEASURED_POINTS:
        return list(range(len(steps)))
    ratio = (steps[-1] / steps[0]) ** (1 / (MEASURED_POINTS - 1))
    aims = [steps[0] * ratio**i for i in range(MEASURED_POINTS)]
    return sorted({min(range(len(steps)), key=lambda j: abs(steps[j] - aim)) for aim in aims})


def summary(trial: Trial) -> dict:
    """What is kept of a trial: its end and its curves, thinned."""
    curves = {}
    steps, losses = trial.series("loss")
    if losses:
        width = max(1, len(losses) // LOSS_POINTS)
        ends = range(width, len(losses) + 1, width)
        curves["loss"] = [[steps[end - 1] for end in ends], rounded([sum(losses[end - width : end]) / width for end in ends])]
    steps, losses = trial.series("val_loss")
    curves["val_loss"] = [steps, [round(loss, 6) for loss in losses]]
    for key in MEASURED:
        steps, values = trial.series(key)
        places = logarithmic_choice(steps) if steps else []
        if places:
            curves[key] = [[steps[i] for i in places], rounded([values[i] for i in places])]
    values = {key: re.sub(r", seed \d+$", "", value) if isinstance(value, str) else value for key, value in trial.values.items()}  # those of `derived`
    return {"values": values, "seed": trial.seed, "finished": trial.finished, "curves": curves}


def plain(lab: Lab, name: str) -> None:
    """A sweep as its file has it, seed by seed, so that what is finished is kept."""
    content = read_sweep(name)
    for seed in lab.missing(name, lab.seeds or content["seeds"]):
        lab.keep(name, lab.sweep(name, content | {"seeds": [seed]}), lambda trial: trial.seed == seed)


DECAY = "optimizer.weight_decay"


def derived(sweep: dict, changed: dict, name: str, values: list[dict]) -> dict:
    """A sweep over values that each name a seed of their own."""
    return {"base": sweep["base"] | changed, "parameters": {name: {"values": values}}, "metric": sweep["metric"], "resources": sweep["resources"]}


BRANCH_RATE, BRANCH_STEPS, BRANCH_FROM, BRANCH_DECAYS = 5e-5, 450, [450, 1800], [0, 0.444, 1.333]  # a sixtieth of the peak and a fifth of the run, as the paper has it


def branches(lab: Lab, name: str) -> None:
    """From checkpoints of the sweep that NAME is called after, with a tiny constant rate, no warmup and no decay; moments and place in the data are kept."""
    trunk = name.removesuffix("-branches")
    trunk_sweep = read_sweep(trunk)
    seeds = lab.missing(name, lab.seeds or trunk_sweep["seeds"])
    if not seeds:
        return
    folder = lab.sweep(trunk, trunk_sweep | {"seeds": seeds})
    changed = {"train": {"steps": BRANCH_STEPS}, "schedule": {"name": "constant"}, "checkpoint": {"every": 0, "keep": 1}, "eval": {"every": 0},
               "diagnostics": {"every": 0}, "optimizer": {"learning_rate": BRANCH_RATE, "weight_decay": 0}}
    values = [{"label": f"{trial.values[DECAY]:g} from {step}, seed {trial.seed}", "seed": trial.seed, "train.branch_from": str(trial.folder / f"checkpoints/step-{step:08d}")}
              for trial in read_trials(folder) if trial.seed in seeds and trial.values[DECAY] in BRANCH_DECAYS for step in BRANCH_FROM]
    lab.keep(name, lab.sweep(name, derived(trunk_sweep, changed, "branch", values)))


REPLAYED_DECAY, REPLAY_ROUNDS = 1.333, 3


def replay(lab: Lab, name: str) -> None:
    """No decay, at rates that give each step the effective rate (rate / weight norm) of the run with decay. The norms that this takes are those of the replay
    itself, and known once it has run: the first round takes those of the run without decay, each later one those of the round before."""
    trunk_sweep = read_sweep("decay-cosine")
    seeds = lab.missing(name, lab.seeds or trunk_sweep["seeds"])
    if not seeds:
        return
    folder = lab.sweep("decay-cosine", trunk_sweep | {"seeds": seeds})
    trunk = {(trial.values[DECAY], trial.seed): trial for trial in read_trials(folder)}
    norms = {seed: trunk[0, seed].series("weight_norm")[1] for seed in seeds}
    for round_ in range(1, REPLAY_ROUNDS + 1):
        values = []
        for seed in seeds:
            steps, effective = trunk[REPLAYED_DECAY, seed].series("effective_rate")
            rates = [rate * norm for rate, norm in zip(effective, norms[seed])]
            file = lab.sweeps / f"{name}-{round_}-{seed}.csv"
            file.write_text("step,rate\n" + "".join(f"{step},{rate!r}\n" for step, rate in zip(steps, rates)))
            values.append({"label": f"{round_}, seed {seed}", "seed": seed, "schedule.file": str(file), "optimizer.learning_rate": max(rates)})
        changed = {"schedule": {"name": "file"}, "optimizer": {"weight_decay": 0}, "checkpoint": {"every": 0, "keep": 1}}
        out = lab.sweep(f"{name}-{round_}", derived(trunk_sweep, changed, "round", values))
        norms = {trial.seed: trial.series("weight_norm")[1] for trial in read_trials(out)}
        lab.keep(f"{name}-rounds" if round_ < REPLAY_ROUNDS else name, out)


EXPERIMENTS: dict[str, Callable[[Lab, str], None]] = {
    "decay-cosine": plain,
    "decay-cosine-branches": branches,
    "decay-replay": replay,
    "decay-constant": plain,
    "decay-constant-branches": branches,
    "warmup": plain,
    "updates": plain,
    "warmup-others": plain,
    "rate-decay": plain,
    "schedules": plain,
    "optimizers": plain,
    "decay-bf16": plain,
    "width-rate": plain,
    "width-timescale": plain,
    "decay-long": plain,
    "decay-larger": plain,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (default: all)")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of those of the sweep's file")
    parser.add_argument("--temper", type=Path, default=ROOT / "build/release/temper")
    parser.add_argument("--sweeps", type=Path, default=ROOT / "sweeps", help="where runs are kept (default: sweeps)")
    parser.add_argument("--results", type=Path, default=ROOT / "docs/experiments", help="where results go (default: docs/experiments)")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(EXPERIMENTS))
        return 0
    if unknown := [name for name in arguments.names if name not in EXPERIMENTS]:
        print(f"run.py: there is no experiment {unknown[0]!r}; --list has their names", file=sys.stderr)
        return 2
    lab = Lab(arguments.temper.resolve(), arguments.sweeps.resolve(), arguments.results.resolve(), arguments.seeds)
    if not (ROOT / "data/botocore_doc").is_dir():
        subprocess.run([ROOT / "scripts/experiments/prepare.sh"], check=True, env={**os.environ, "TEMPER": str(lab.temper)})
    for name in arguments.names or EXPERIMENTS:
        EXPERIMENTS[name](lab, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
