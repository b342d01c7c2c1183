"""track.py REPOSITORY: scripts/track.py makes one CSV row a step, and tells a tracker each step once: while a run writes, takes lines back and ends."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import PATIENCE, check

# In place of the real module: what it was told, a line each.
FAKE_WANDB = """
import json, os, sys
def tell(*what):
    with open(os.environ["TOLD"], "a") as file: file.write(json.dumps(what) + "\\n")
class Summary(dict):
    def update(self, other): tell("summary", other)
class Run:
    def __init__(self, **words):
        tell("init", words)
        self.summary = Summary(json.loads(os.environ.get("SUMMARY", "{}")))
    def __enter__(self): return self
    def __exit__(self, *error): tell("finish")
    def define_metric(self, name, step_metric=None): tell("axis", name, step_metric)
    def log(self, values): tell("log", values)
def init(**words): return Run(**words)
"""


def main() -> None:
    script = Path(sys.argv[1]) / "scripts/track.py"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, told = folder / "run", folder / "told"
        run.mkdir()
        told.touch()
        (folder / "wandb.py").write_text(FAKE_WANDB)
        (run / "config.json").write_text(json.dumps({"name": "quick", "model": {"n_layer": 2}}))
        log = run / "metrics.jsonl"

        def step(number: int, **more: object) -> str:
            return json.dumps({"step": number, "loss": 5 - number / 8, **more}) + "\n"

        def track(*arguments: str) -> subprocess.CompletedProcess:
            return subprocess.run([sys.executable, script, run, *arguments], capture_output=True, text=True, timeout=PATIENCE)

        log.write_text(step(1) + step(2, val_loss=4.5, note='a "quoted", one', layers=[1, 2]) + step(3, val_loss=None) + '{"step": 4, "lo')
        rows = list(csv.DictReader(io.StringIO(track("csv").stdout)))
        check([row["step"] for row in rows] == ["1", "2", "3"], f"rows {rows}: half a line is none yet")
        check(list(rows[0]) == ["step", "loss", "val_loss", "note"], f"columns {list(rows[0])}")
        check(rows[0]["val_loss"] == "" and rows[1]["val_loss"] == "4.5" and rows[2]["val_loss"] == "", f"rows {rows}")
        check(rows[1]["note"] == 'a "quoted", one', f"a text with commas and quotes: {rows[1]}")

        environment = {**os.environ, "PYTHONPATH": name, "TOLD": str(told), "SUMMARY": '{"step": 1}'}
        follower = subprocess.Popen([sys.executable, script, run, "wandb", "--project", "p", "--every", "0.01"], env=environment)

        def heard(kind: str) -> list:
            return [what[1:] for what in map(json.loads, told.read_text().splitlines()) if what[0] == kind]

        def wait_for_steps(*steps: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while [values["step"] for (values,) in heard("log")] != list(steps):
                check(time.monotonic() < deadline and follower.poll() is None, f"heard {heard('log')}, expected steps {steps}")
                time.sleep(0.01)

        wait_for_steps(2, 3)  # step 1 the tracker had before
        whole = step(1) + step(2) + step(3) + step(4)
        log.write_text(whole)
        wait_for_steps(2, 3, 4)
        log.write_text(step(1) + step(2))  # a run that went back to its checkpoint
        log.write_text(whole + step(5))
        wait_for_steps(2, 3, 4, 5)
        log.write_text(whole + step(5) + step(6))
        (run / "summary.json").write_text(json.dumps({"val_loss": 4.25}))
        check(follower.wait(timeout=PATIENCE) == 0, "the follower did not end with the run")
        check([values["step"] for (values,) in heard("log")] == [2, 3, 4, 5, 6], f"heard {heard('log')}")
        check(all(None not in values.values() for (values,) in heard("log")), "a value that was not measured was told")
        (words,) = heard("init")[0]
        check(words["project"] == "p" and words["name"] == "quick" and words["config"]["model"] == {"n_layer": 2}, f"told {words}")
        check(heard("summary") == [[{"val_loss": 4.25}]] and len(heard("finish")) == 1, told.read_text())

        log.write_text("no metrics\n")
        done = track("csv")
        check(done.returncode == 1 and "metrics.jsonl:1: not a line of metrics" in done.stderr, done.stderr)
        log.unlink()
        check("has no metrics.jsonl; name the folder of a run" in track("csv").stderr, "a folder that is no run's")
    print("CSV and tracker: every step once")


main()
