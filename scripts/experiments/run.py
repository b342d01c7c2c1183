#!/usr/bin/env python3
"""Runs reduced experiments of docs/experiments.md and keeps what they gave: a sweep's configurations and seeds, and a line for each trial in docs/experiments/NAME.jsonl.

  scripts/experiments/run.py decay-cosine                   # one
  scripts/experiments/run.py                                # all, in the order of --list: seven to eight hours on two cores
  scripts/experiments/run.py warmup --seeds 11 12 13 --results /tmp/again      # with seeds not used before, elsewhere

Stopped in any way, the same command goes on where it was. Trials that the results already hold are not run again, so seeds can be run one after the other,
on different days and machines; each line says on which processor, at which commit and when it was run. Sweeps are kept in sweeps/.
Then scripts/experiments/page.py judges the effects.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from trials import Trial, json_lines, read_trials

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts/compare"))
import provenance  # noqa: E402

CONFIGS = ROOT / "configs/experiments"
RESULTS = ROOT / "docs/experiments"
LOSS_POINTS = 40  # of a training curve that are kept, each the mean of the steps since the one before
MEASURED_POINTS = 16  # of each measurement, evenly by the logarithm of the step
MEASURED = ["weight_norm", "relative_update", "effective_rate", "critical_batch", "snr", "step_representation_change"]
DIVERGED = 6  # temper's exit code where numbers are not finite


def read_sweep(name: str) -> dict:
    """configs/experiments/NAME-small.json with what its base extends named from the root."""
    text = (CONFIGS / f"{name}-small.json").read_text()
    sweep = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    sweep["base"]["extends"] = str(CONFIGS / sweep["base"]["extends"])
    sweep.pop("$schema")
    return sweep


def trunk_of(name: str) -> str:
    """The experiment whose file says the seeds."""
    return "decay-cosine" if name == "decay-replay" else name.removesuffix("-branches")


def planned_seeds(name: str) -> list[int]:
    return read_sweep(trunk_of(name))["seeds"]


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

    def keep(self, name: str, folder: Path, seeds: list[int]) -> None:
        """Adds trials of these seeds to the results; one that is there already stays."""
        kept = {key_of(line): line for line in self.kept(name)}
        origin = {"processor": provenance.cpu_machine()["processor"], "commit": provenance.commit(), "date": provenance.date()[:10]}
        for trial in read_trials(folder):
            line = summary(trial)
            if trial.seed in seeds and key_of(line) not in kept:
                kept[key_of(line)] = line | origin
        path = self.results / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text("".join(json.dumps(kept[key], separators=(",", ":")) + "\n" for key in sorted(kept)))
        beside.replace(path)
        print(f"{path}: {len(kept)} trials", flush=True)

    def kept(self, name: str) -> list[dict]:
        path = self.results / f"{name}.jsonl"
        return list(json_lines(path)) if path.is_file() else []

    def missing(self, name: str, cells: int) -> list[int]:
        """Seeds of which the results lack any of so many configurations."""
        held = Counter(line["seed"] for line in self.kept(name))
        return [seed for seed in self.seeds or planned_seeds(name) if held[seed] < cells]

    def configurations(self, name: str, content: dict) -> int:
        """How many a sweep has."""
        file = self.sweeps / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n")
        said = subprocess.run([self.temper, "sweep", file, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        found = re.search(r"^(\d+) configurations", said.stdout, flags=re.MULTILINE)
        if said.returncode != 0 or not found:
            raise SystemExit(f"run.py: temper sweep {file} --dry-run ended with {said.returncode}: {said.stderr}")
        return int(found[1])


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


def of_tensors(trial: Trial) -> dict[str, tuple[list[float], list[float]]]:
    """What diagnostics.jsonl has and metrics.jsonl has not: the norm of steps, the norm of matrices and embeddings, and angles of steps in the blocks' matrices, which layer
    norms would hide in one and embeddings in the other."""
    path = trial.folder / "diagnostics.jsonl"
    curves: dict[str, tuple[list[float], list[float]]] = {key: ([], []) for key in ("step_norm", "matrix_norm", "block_row_angle")}
    for line in json_lines(path) if path.is_file() else []:
        matrices = {name: values for name, values in line["tensors"].items() if ".ln_" not in name and not name.startswith("ln_")}
        angles = [values["step_row_angle"] for name, values in matrices.items() if name.startswith("h.")]
        for key, value in (("step_norm", line["all"]["step_norm"]), ("matrix_norm", math.hypot(*(values["weight_norm"] for values in matrices.values()))),
                           ("block_row_angle", math.hypot(*angles) / math.sqrt(len(angles)))):
            curves[key][0].append(line["step"])
            curves[key][1].append(value)
    return curves


def summary(trial: Trial) -> dict:
    """What is kept of a trial: its end and its curves, thinned."""
    if not trial.finished:
        failure = json.loads((trial.folder / "failure.json").read_text()) if (trial.folder / "failure.json").is_file() else {}
        if failure.get("exit_code") != DIVERGED:
            raise SystemExit(f"run.py: {trial.folder} did not finish, and not because its numbers were not finite; see its trial.log")
    curves = {}
    steps, losses = trial.series("loss")
    if losses:
        width = max(1, len(losses) // LOSS_POINTS)
        ends = range(width, len(losses) + 1, width)
        curves["loss"] = [[steps[end - 1] for end in ends], rounded([sum(losses[end - width : end]) / width for end in ends])]
    steps, losses = trial.series("val_loss")
    curves["val_loss"] = [steps, [round(loss, 6) for loss in losses]]
    for key, (steps, values) in {**{key: trial.series(key) for key in MEASURED}, **of_tensors(trial)}.items():
        if places := logarithmic_choice(steps) if steps else []:
            curves[key] = [[steps[i] for i in places], rounded([values[i] for i in places])]
    values = {key: re.sub(r", seed \d+$", "", value) if isinstance(value, str) else value for key, value in trial.values.items()}  # those of `derived`
    return {"values": values, "seed": trial.seed, "finished": trial.finished, "curves": curves}


def plain(lab: Lab, name: str) -> None:
    """A sweep as its file has it, seed by seed, so that what is finished is kept."""
    content = read_sweep(name)
    for seed in lab.missing(name, lab.configurations(name, content)):
        lab.keep(name, lab.sweep(name, content | {"seeds": [seed]}), [seed])


def derived(sweep: dict, changed: dict, name: str, values: list[dict]) -> dict:
    """A sweep over values that each name a seed of their own."""
    return {"base": sweep["base"] | changed, "parameters": {name: {"values": values}}, "metric": sweep["metric"], "resources": sweep["resources"]}


DECAY = "optimizer.weight_decay"
BRANCH_RATE, BRANCH_STEPS, BRANCH_FROM, BRANCH_DECAYS = 5e-5, 450, [450, 1800], [0, 0.444, 1.333]  # a sixtieth of the peak and a fifth of the run, as the paper has it


def branch_sweep(trunk_sweep: dict, trials: list[Trial]) -> dict:
    changed = {"train": {"steps": BRANCH_STEPS}, "schedule": {"name": "constant"}, "checkpoint": {"every": 0, "keep": 1}, "eval": {"every": 0},
               "diagnostics": {"every": 0}, "optimizer": {"learning_rate": BRANCH_RATE, "weight_decay": 0}}
    values = [{"label": f"{trial.values[DECAY]:g} from {step}, seed {trial.seed}", "seed": trial.seed, "train.branch_from": str(trial.folder / f"checkpoints/step-{step:08d}")}
              for trial in trials if trial.values[DECAY] in BRANCH_DECAYS for step in BRANCH_FROM]
    return derived(trunk_sweep, changed, "branch", values)


def branches(lab: Lab, name: str) -> None:
    """From checkpoints of the sweep that NAME is called after, with a tiny constant rate, no warmup and no decay; moments and place in the data are kept."""
    trunk = trunk_of(name)
    trunk_sweep = read_sweep(trunk)
    if seeds := lab.missing(name, len(BRANCH_DECAYS) * len(BRANCH_FROM)):
        folder = lab.sweep(trunk, trunk_sweep | {"seeds": seeds})
        trials = [trial for trial in read_trials(folder) if trial.seed in seeds]
        lab.keep(name, lab.sweep(name, branch_sweep(trunk_sweep, trials)), seeds)


REPLAYED_DECAY = 0.444


def replayed_rates(lab: Lab, sweep: dict) -> list[tuple[int, float]]:
    """(step, rate). Decoupled decay takes the share rate x decay from every weight. Without it, weights that are updated in the same directions are longer by the product of all
    1 / (1 - share) so far, and a rate that is larger by as much gives the effective rate (rate / norm) of the run with decay."""
    config = lab.sweeps / "decay-replay-schedule.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(sweep["base"] | {"optimizer": sweep["base"]["optimizer"] | {"weight_decay": REPLAYED_DECAY}}))
    said = subprocess.run([lab.temper, "config", "plot", config, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    rates, longer, before = [], 0.0, 0
    for line in map(json.loads, said.stdout.splitlines()):  # every so many steps, counted from 0
        longer -= (line["step"] - before) * math.log1p(-line["decay"])
        rates.append((line["step"] + 1, line["learning_rate"] * math.exp(longer)))
        before = line["step"]
    return rates


def replay_sweep(lab: Lab, sweep: dict, seeds: list[int]) -> dict:
    rates = replayed_rates(lab, sweep)
    file = lab.sweeps / "decay-replay.csv"
    file.write_text("step,rate\n" + "".join(f"{step},{rate!r}\n" for step, rate in rates))
    changed = {"schedule": {}, "optimizer": {"weight_decay": 0}, "checkpoint": {"every": 0, "keep": 1}}
    return derived(sweep, changed, "replayed", [
        {"label": f"{REPLAYED_DECAY:g}, seed {seed}", "seed": seed, "schedule.name": "file", "schedule.file": str(file), "optimizer.learning_rate": max(rate for _, rate in rates)}
        for seed in seeds])


def replay(lab: Lab, name: str) -> None:
    """No decay, at the effective rates of the run with decay."""
    if seeds := lab.missing(name, 1):
        lab.keep(name, lab.sweep(name, replay_sweep(lab, read_sweep("decay-cosine"), seeds)), seeds)


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
    "decay-others": plain,
    "decay-larger": plain,
    "decay-parts": plain,
    "warmup-higher": plain,
    "width-init": plain,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (default: all)")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of those of the sweep's file")
    parser.add_argument("--temper", type=Path, default=ROOT / "build/release/temper")
    parser.add_argument("--sweeps", type=Path, default=ROOT / "sweeps", help="where runs are kept (default: sweeps)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results go (default: docs/experiments)")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(EXPERIMENTS))
        return 0
    if unknown := [name for name in arguments.names if name not in EXPERIMENTS]:
        print(f"run.py: there is no experiment {unknown[0]!r}; --list has their names", file=sys.stderr)
        return 2
    if arguments.seeds and arguments.results.resolve() == RESULTS:
        print(f"run.py: {RESULTS} is for the seeds of the plan; name another folder for others with --results", file=sys.stderr)
        return 2
    lab = Lab(arguments.temper.resolve(), arguments.sweeps.resolve(), arguments.results.resolve(), arguments.seeds)
    if not (ROOT / "data/botocore_doc").is_dir():
        subprocess.run([ROOT / "scripts/experiments/prepare.sh"], check=True, env={**os.environ, "TEMPER": str(lab.temper)})
    for name in arguments.names or EXPERIMENTS:
        EXPERIMENTS[name](lab, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
