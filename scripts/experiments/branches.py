#!/usr/bin/env python3
"""Writes a sweep of branches with a tiny rate from the checkpoints of a finished sweep (D'Angelo et al., arXiv 2310.04415).

  temper sweep configs/experiments/decay-cosine-small.json --out sweeps/decay-cosine
  scripts/experiments/branches.py sweeps/decay-cosine --rate 5e-5 --steps 200 > sweeps/decay-cosine-branches.json
  temper sweep sweeps/decay-cosine-branches.json --out sweeps/decay-cosine-branches

A branch keeps moments and place in the data, has a constant rate, no warmup and no weight decay. Its label is
"WEIGHT_DECAY from STEP, seed SEED".
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from trials import read_trials


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the --out folder of the sweep to branch from")
    parser.add_argument("--rate", type=float, required=True, help="learning rate of the branches")
    parser.add_argument("--steps", type=int, required=True, help="their length")
    parser.add_argument("--from-steps", type=int, nargs="*", help="checkpoints to branch from (default: all)")
    arguments = parser.parse_args()

    base = None
    values = []
    for trial in sorted(read_trials(arguments.sweep), key=lambda one: (one.values["optimizer.weight_decay"], one.seed)):
        config = json.loads((trial.folder / "config.json").read_text())
        base = base or config
        for checkpoint in sorted(trial.folder.glob("checkpoints/step-*")):
            step = int(checkpoint.name.removeprefix("step-"))
            if arguments.from_steps and step not in arguments.from_steps:
                continue
            decay = trial.values["optimizer.weight_decay"]
            values.append({"label": f"{decay} from {step}, seed {trial.seed}", "train.branch_from": os.path.relpath(checkpoint), "seed": trial.seed})
    if not values:
        print(f"branches.py: {arguments.sweep}: no checkpoints left; the sweep's base needs checkpoint.every and a larger checkpoint.keep", file=sys.stderr)
        return 1
    base["train"] = {"steps": arguments.steps}
    base["optimizer"]["learning_rate"] = arguments.rate
    base["optimizer"]["weight_decay"] = 0
    base["schedule"] = {"name": "constant"}
    base["checkpoint"] = {"every": 0, "keep": 1}
    base["eval"]["every"] = 0
    base["diagnostics"] = {"every": 0}
    base.pop("seed", None)
    sweep = {
        "base": base,
        "parameters": {"branch": {"values": values}},
        "metric": {"name": "val_loss"},
        "resources": json.loads((arguments.sweep / "sweep.json").read_text()).get("resources", {}),
    }
    print(json.dumps(sweep, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
