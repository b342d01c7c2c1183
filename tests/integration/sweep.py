"""sweep.py TEMPER: a sweep of real runs, killed again and again with its trials, ends with the tables of one that was left alone.

Beside that: the best configuration trains, a sweep that grows runs only what is new, and Ctrl-C saves.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from harness import Workspace, at_call, at_line, check, seed_of, wait_until

TABLES = ("results.csv", "results.md", "results.json", "trials.csv", "best.json")
STEPS = 60
GRID = {
    "base": "config.json",
    "parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 1]}, "schedule.warmup_steps": {"values": [0, 5, 20]}},
    "seeds": [1, 2],
    "resources": {"trials_at_once": 2},
}


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def trials_of(folder: Path) -> list[int]:
    """The processes that train in the folder of this sweep."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"train" in arguments and any(argument.startswith(str(folder).encode() + b"/trials/") for argument in arguments):
            found.append(int(process.name))
    return found


def ends(folder: Path) -> dict[str, list[str]]:
    """How the processes of each trial ended, as far as a sweep lived to see it."""
    return {
        trial.name: [json.loads(line)["end"] for line in (trial / "processes.jsonl").read_text().splitlines()]
        for trial in (folder / "trials").iterdir()
        if (trial / "processes.jsonl").exists()
    }


def kill_again_and_again(work: Workspace, draw, kills: int) -> None:
    """Each kill comes when so many of the 18 trials have finished and another one is at a drawn step; one more where the sweep is about to write
    down how a trial ended."""
    folder = work.folder / "killed"
    hold = work.hold(at_call("write", "processes.jsonl", draw.randint(1, 4)))
    process = work.start("sweep", "sweep.json", "--out", str(folder), env=hold.environment)
    hold.wait(process)
    process.kill()
    work.end(process)
    wait_until(lambda: not trials_of(folder), "the trials to end with their sweep")
    for after in sorted(draw.sample(range(4, 14), kills)):
        step = draw.randrange(1, STEPS)
        hold = work.hold(at_line(step))
        process = work.start("sweep", "sweep.json", "--out", str(folder), env=hold.environment)
        finished = lambda: len(list(folder.glob("trials/*/summary.json")))  # noqa: E731
        hold.release_until(lambda: process.poll() is not None or (finished() >= after and hold.held()), "a trial to be killed")
        check(process.poll() is None, "the sweep ended before it was killed")
        process.kill()
        work.end(process)
        # Half of the time the scheduler alone: its trials save and end.
        victims = trials_of(folder) if draw.random() < 0.5 else []
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        hold.release_until(lambda: not trials_of(folder), "the trials to end with their sweep")
        hold.close()
        print(f"killed after {after} of 18 trials, others at step {step}, with {len(victims)} trials")
    work.ok("sweep", "sweep.json", "--out", str(folder))


def main() -> None:
    with Workspace(sys.argv[1]) as work, seed_of("sweep") as draw:
        work.write_config("config.json", {"train": {"steps": STEPS}, "log": {"tensorboard": False}})
        (work.folder / "sweep.json").write_text(json.dumps(GRID))

        plan = work.ok("sweep", "sweep.json", "--out", "straight", "--dry-run")
        check("9 configurations x 2 seeds, 18 trials" in plan.stdout, plan.stdout)
        check(not (work.folder / "straight").exists(), "--dry-run left a folder")
        done = work.ok("sweep", "sweep.json", "--out", "straight")
        check("18/18 trials done" in done.stderr, done.stderr)
        check("| rank | optimizer.weight_decay | schedule.warmup_steps |" in done.stdout, done.stdout)

        kill_again_and_again(work, draw, 3)
        check(tables(work.folder / "killed") == tables(work.folder / "straight"), "the tables differ")
        for trial, how in ends(work.folder / "killed").items():
            check(how.count("exit code 0") <= 1, f"trial {trial} ran again after it had finished: {how}")

        again = work.ok("sweep", "sweep.json", "--out", "straight")
        check(all(len(how) == 1 for how in ends(work.folder / "straight").values()), "a finished sweep started trials")
        check(again.stdout == done.stdout, "a finished sweep printed another table")

        grown = {**GRID, "seeds": [1, 2, 3]}
        (work.folder / "sweep.json").write_text(json.dumps(grown))
        hold = work.hold(at_line(STEPS // 2))
        process = work.start("sweep", "sweep.json", "--out", "straight", start_new_session=True, env=hold.environment)
        trial = hold.wait(process)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: the sweep's process group, which the trials are not in
        hold.signalled(trial)
        hold.release_until(lambda: process.poll() is not None, "the sweep to end after Ctrl-C")
        err = work.end(process).stderr
        check(process.returncode == 75, f"expected 75 after Ctrl-C, got {process.returncode}:\n{err}")
        check(not trials_of(work.folder / "straight"), "trials outlived the sweep")
        check("exit code 75" in str(ends(work.folder / "straight")), f"no trial was saved: {ends(work.folder / 'straight')}")
        work.ok("sweep", "sweep.json", "--out", "straight")
        status = work.ok("sweep", "straight", "--status")
        check("27 finished" in status.stdout, status.stdout)
        finished = [how.count("exit code 0") for how in ends(work.folder / "straight").values()]
        check(finished == [1] * 27, f"trials that finished more than once: {finished}")

        work.ok("train", "straight/best.json", "train.steps=2", "schedule.warmup_steps=0", "--out", "best")
        print("18 trials; killed 4 times: tables equal; 9 more after the file had grown")

        # One trial diverges: it is recorded, the others finish.
        broken = {"base": "config.json", "parameters": {"optimizer.learning_rate": {"values": [1e-3, 900]}, "optimizer.grad_clip": {"value": 0}}}
        (work.folder / "broken.json").write_text(json.dumps(broken))
        work.fails(1, "sweep", "broken.json", "--out", "broken", says=("1 trials failed", "exit code 6"))
        failures = list((work.folder / "broken").glob("trials/*/failure.json"))
        check(len(failures) == 1 and json.loads(failures[0].read_text())["exit_code"] == 6, f"failures: {failures}")

        # One is stopped by its own condition: no failure, no result, and never again.
        rates = {"optimizer.learning_rate": {"values": [1e-3, 2e-3]}, "schedule.warmup_steps": {"value": 0}}
        stopping = {"base": "config.json", "parameters": rates, "stop_when": "step >= 7 and learning_rate > 1.2e-3 and val_loss > 0"}
        (work.folder / "stopping.json").write_text(json.dumps(stopping))
        for _ in range(2):
            done = work.ok("sweep", "stopping.json", "--out", "stopping")
            check("1 finished, 1 stopped" in done.stderr, done.stderr)
            check(sorted(ends(work.folder / "stopping").values()) == [["exit code 0"]] * 2, str(ends(work.folder / "stopping")))
        rows = (work.folder / "stopping" / "trials.csv").read_text().splitlines()
        check(any(row.endswith(f',{STEPS},stopped,,step 7: {stopping["stop_when"]}') for row in rows), str(rows))
        stopped = [path.parent for path in (work.folder / "stopping").glob("trials/*/summary.json") if "stopped" in path.read_text()]
        check(len(stopped) == 1 and (stopped[0] / "checkpoints" / "step-00000007").is_dir(), f"stopped: {stopped}")
        check(len((stopped[0] / "metrics.jsonl").read_text().splitlines()) == 8, "lines of steps 0 to 7")
        work.fails(2, "train", "config.json", "--out", "no", "--stop-when", "losss > 9", says=("--stop-when", "losss", "val_loss_average, step"))
        work.fails(2, "train", "config.json", "--out", "no", "--stop-when", "snr > 9", says=("in --stop-when is snr", "diagnostics.every is 0"))

        # Rates out of a file that ends before the longest rung does, told before a cluster is asked for anything.
        (work.folder / "rates.csv").write_text("1,1\n2,1\n")
        rates = {"schedule.name": {"value": "file"}, "schedule.file": {"value": "rates.csv"}, "schedule.warmup_steps": {"value": 0}}
        (work.folder / "rates.json").write_text(json.dumps({"base": "config.json", "parameters": rates, "seeds": 2}))
        for executor in ("local", "slurm"):
            says = ("rates.csv: ends at step 2", f"the run has {STEPS}")
            work.fails(3, "sweep", "rates.json", "--out", "rates", "--executor", executor, says=says)

        missing = {**GRID, "parameters": {"data.train": {"values": ["nothing_*.bin"]}}}
        (work.folder / "missing.json").write_text(json.dumps(missing))
        work.fails(3, "sweep", "missing.json", "--out", "missing", says=("nothing_*.bin",))
        check(not (work.folder / "missing").exists(), "a sweep that was refused left a folder")


main()
