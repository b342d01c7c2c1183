#!/usr/bin/env python3
"""A run's metrics for other programs: as CSV, or followed into Weights & Biases while it trains.

    scripts/track.py runs/quickstart csv > quickstart.csv
    scripts/track.py runs/quickstart wandb --project gpt2        # until the run ends; Ctrl-C stops it, and it may be started again

Reads RUN/metrics.jsonl, of which every line is one step. A run that is resumed takes back the lines after its checkpoint and writes them again, the
same to the bit: each step is told once. `wandb` needs the module of that name in the Python that runs this, and its own login; WANDB_MODE=offline works.
TensorBoard reads what is in RUN/tensorboard without any of this.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def lines_of(text: bytes, name: str) -> Iterator[Line]:
    """The whole lines of a log; numbers and texts of each."""
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            values = json.loads(line)
            step = values["step"]
        except (ValueError, KeyError, TypeError):
            sys.exit(f"{name}:{number}: not a line of metrics: {line[:80]!r}; is this the folder of a run?")
        if not isinstance(step, int):
            sys.exit(f"{name}:{number}: step is {step!r}, not a whole number")
        yield {key: value for key, value in values.items() if value is None or isinstance(value, (int, float, str))}


class Log:
    """metrics.jsonl, each step once, while a run writes it."""

    def __init__(self, file: Path) -> None:
        self.file, self.last = file, -1

    def new(self) -> list[Line]:
        # From the beginning each time: lines that a resumed run took back leave no place that one could go on from.
        found = [line for line in lines_of(self.file.read_bytes(), str(self.file)) if line["step"] > self.last]
        if found:
            self.last = found[-1]["step"]
        return found


def to_csv(run: Path) -> None:
    lines = Log(run / "metrics.jsonl").new()
    columns = list(dict.fromkeys(key for line in lines for key in line))  # in the order in which they first appear
    table = csv.DictWriter(sys.stdout, columns, restval="")
    table.writeheader()
    table.writerows(lines)


def to_wandb(run: Path, project: str, name: str | None, every: float) -> None:
    try:
        import wandb
    except ImportError:
        sys.exit(f"this Python ({sys.executable}) has no module wandb; pip install wandb, or take the csv")
    config = json.loads((run / "config.json").read_text())
    identity = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]  # the same run when this is started again
    with wandb.init(project=project, name=name or config["name"], id=identity, resume="allow", config=config) as tracked:
        # Its own step may not go back, and counts calls; ours is the axis.
        tracked.define_metric("step")
        tracked.define_metric("*", step_metric="step")
        log = Log(run / "metrics.jsonl")
        log.last = tracked.summary.get("step", -1)
        while True:
            ended = (run / "summary.json").exists()  # before the last lines are read
            for line in log.new():
                tracked.log({key: value for key, value in line.items() if value is not None})
            if ended:
                tracked.summary.update(json.loads((run / "summary.json").read_text()))
                return
            time.sleep(every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("to", choices=["csv", "wandb"])
    parser.add_argument("--project", default="temper", help="wandb: where the run is shown (default %(default)s)")
    parser.add_argument("--name", help="wandb: what it is called there (default: the configuration's name)")
    parser.add_argument("--every", type=float, default=5.0, help="wandb: seconds between looks at the log (default %(default)s)")
    arguments = parser.parse_args()
    if not (arguments.run / "metrics.jsonl").is_file():
        sys.exit(f"{arguments.run} has no metrics.jsonl; name the folder of a run, such as runs/quickstart")
    try:
        to_csv(arguments.run) if arguments.to == "csv" else to_wandb(arguments.run, arguments.project, arguments.name, arguments.every)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.stderr.close()  # whoever reads has had enough


if __name__ == "__main__":
    main()
