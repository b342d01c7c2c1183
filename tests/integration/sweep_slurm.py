"""sweep_slurm.py TEMPER: a sweep through Slurm, a real one of one node, ends with the tables of local processes.

On the way the sweep is killed before, while and after it submits; one trial is told to save, comes back into the queue and finishes; one is killed.
No step is trained twice but what the killed one had not saved. Beside that: Ctrl-C empties the queue, and what sbatch refuses is told.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harness import Hold, Workspace, at_call, at_line, check, skip, wait_until
from one_node_slurm import OneNodeSlurm, Unavailable, processes_of

TABLES = ("results.csv", "results.md", "results.json", "trials.csv", "best.json")
STEPS = 60
SAVE_EVERY = 5
HELD_AT = 33  # with saved steps behind it and some to go
GRID = {
    "base": "config.json",
    "parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 1]}, "schedule.warmup_steps": {"values": [0, 5, 20]}},
    "seeds": [1, 2],
    "resources": {"trials_at_once": 2, "threads_per_trial": 1},
    "slurm": {"poll_seconds": 0.3, "options": ["--comment=a sweep of temper"]},
}


def finished(folder: Path) -> int:
    return len(list(folder.glob("trials/*/summary.json")))


def steps_done(trial: Path) -> Counter:
    """How often each step was trained, as all processes of the trial logged it."""
    return Counter(int(step) for step in re.findall(rf"^step (\d+)/{STEPS}  loss", (trial / "trial.log").read_text(), re.MULTILINE))


class SlurmSweep:
    """The sweep of sweep.json, through Slurm, in the folder `slurm`."""

    def __init__(self, work: Workspace, slurm: OneNodeSlurm) -> None:
        self.work, self.slurm, self.folder = work, slurm, work.folder / "slurm"

    ARGUMENTS = ("sweep", "sweep.json", "--out", "slurm", "--executor", "slurm")

    def start(self, hold: Hold, **variables: str) -> subprocess.Popen:
        """Each trial that it submits is held, once it has done HELD_AT steps."""
        return self.work.start(*self.ARGUMENTS, env={**self.slurm.environment, **hold.environment, **variables}, start_new_session=True)

    def ok(self, hold: Hold) -> str:
        """Runs to its end, with nothing held."""
        process = self.start(hold)
        hold.release_until(lambda: process.poll() is not None, "the sweep to end")
        done = self.work.end(process)
        check(done.returncode == 0, f"the sweep ended with {done.returncode}:\n{done.stderr}")
        return done.stderr

    def training(self) -> dict[str, int]:
        """The trials that train now and the process of each."""
        found = {}
        for pid in processes_of(self.slurm.folder):
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if len(arguments) > 5 and arguments[1] == "train":
                found[Path(arguments[4]).name] = pid
        return found

    def held(self, hold: Hold) -> tuple[str, int]:
        """A trial that is held, and its process."""
        pid = hold.wait()
        return next(trial for trial, process in self.training().items() if process == pid), pid

    def task_of(self, trial: str) -> str:
        """JOB_INDEX of the task that the trial runs in, from the environment of its process."""
        environment = Path(f"/proc/{self.training()[trial]}/environ").read_bytes().decode().split("\0")
        value = dict(entry.split("=", 1) for entry in environment if entry.startswith("SLURM_ARRAY_"))
        return f"{value['SLURM_ARRAY_JOB_ID']}_{value['SLURM_ARRAY_TASK_ID']}"


def killed_submission(sweep: SlurmSweep, hold: Hold) -> None:
    """The sweep is killed while sbatch, which Slurm's own waits behind, is at work for it; sbatch goes on when the sweep is no more."""
    folder = sweep.work.folder / "slow"
    folder.mkdir()
    real = shutil.which("sbatch", path=sweep.slurm.environment["PATH"])
    (folder / "sbatch").write_text(f"#!/bin/sh\n: >{folder}/began\nwhile [ ! -e {folder}/go ]; do sleep 0.02; done\nexec {real} \"$@\"\n")
    (folder / "sbatch").chmod(0o755)
    process = sweep.start(hold, PATH=f"{folder}:{sweep.slurm.environment['PATH']}")
    wait_until(lambda: (folder / "began").exists(), "the sweep to submit")
    process.kill()
    sweep.work.end(process)
    check(not sweep.slurm.tasks(), "tasks in the queue before sbatch has submitted them")
    (folder / "go").touch()


def interrupted_run(sweep: SlurmSweep) -> None:
    folder = sweep.folder
    # Killed while it writes down what it is about to submit, then while it submits.
    sweep.work.killed_at(at_call("write", "slurm.jsonl"), *sweep.ARGUMENTS, env=sweep.slurm.environment)
    hold = sweep.work.hold(at_line(HELD_AT))
    killed_submission(sweep, hold)

    process = sweep.start(hold)
    told, pid = sweep.held(hold)
    # To every process of the task, as a time limit or a preemption does. scancel repeats it while other tasks of the array wait: once is enough.
    canceller = subprocess.Popen(["scancel", "--quiet", "--full", "--signal=TERM", sweep.task_of(told)], env=sweep.slurm.environment)
    hold.signalled(pid)
    canceller.kill()
    canceller.wait()
    hold.release(pid)
    killed, victim = sweep.held(hold)
    check(killed != told, f"{told} has trained step {HELD_AT} again")
    os.kill(victim, signal.SIGKILL)
    hold.release(victim)

    hold.release_until(lambda: process.poll() is not None or (finished(folder) >= 5 and hold.held()), "five trials")
    check(process.poll() is None, "the sweep ended before it was killed")
    process.kill()
    sweep.work.end(process)
    before = finished(folder)
    hold.release_until(lambda: finished(folder) > before, "the jobs to go on without the sweep")
    said = sweep.ok(hold)
    check("18/18 trials done" in said or finished(folder) == 18, said)

    # Nothing was trained twice.
    for trial in folder.glob("trials/*"):
        count = steps_done(trial)
        check(sorted(count) == list(range(1, STEPS + 1)), f"{trial.name}: its log lacks steps")
        twice = [step for step, times in count.items() if times > 1]
        if trial.name == killed:
            # An interval, another where its checkpoint was still being written, and the step itself.
            check(max(count.values()) <= 2 and len(twice) <= 2 * SAVE_EVERY + 1, f"{trial.name} was killed and repeated steps {twice}")
        else:
            check(not twice, f"{trial.name} trained steps twice: {twice}")
    log = (folder / "trials" / told / "trial.log").read_text()
    other = "\n".join(line for line in log.splitlines() if not line.startswith("step "))
    queued_again = log.count("Slurm queues its task again")
    check(queued_again >= 1, f"{told} was told to save and not queued again:\n{other}")
    print(f"{told} saved and came back {queued_again} times, {killed} was killed")
    check(log.count("\nrun   ") == 1 + queued_again, f"{told} saved {queued_again} times:\n{other}")


def stopped_run(sweep: SlurmSweep) -> None:
    """Ctrl-C: what trains saves, what waits leaves the queue, and the same command goes on."""
    hold = sweep.work.hold(at_line(HELD_AT))
    process = sweep.start(hold)
    trial, pid = sweep.held(hold)
    os.killpg(process.pid, signal.SIGINT)
    hold.signalled(pid)
    hold.release_until(lambda: process.poll() is not None, "the sweep to end after Ctrl-C")
    err = sweep.work.end(process).stderr
    check(process.returncode == 75, f"expected 75 after Ctrl-C, got {process.returncode}:\n{err}")
    check(not sweep.training(), "trials outlived the sweep")
    wait_until(lambda: not sweep.slurm.tasks(), "the queue to be empty")
    check(not (sweep.folder / "trials" / trial / "summary.json").exists(), "the trial had finished before Ctrl-C")
    sweep.ok(hold)
    for each in sweep.folder.glob("trials/*"):
        check(len(steps_done(each)) == STEPS, f"{each.name} has not finished")
    check(max(steps_done(sweep.folder / "trials" / trial).values()) == 1, f"{trial} saved at Ctrl-C and trained steps again")


def main() -> None:
    try:
        # More processors than the machine may have: two trials shall train side by side.
        slurm = OneNodeSlurm(cpus=4)
    except Unavailable as why:
        skip(f"no Slurm: {why}")
    with slurm, Workspace(sys.argv[1]) as work:
        work.write_config(
            "config.json", {"train": {"steps": STEPS}, "checkpoint": {"every": SAVE_EVERY}, "log": {"tensorboard": False}}
        )
        (work.folder / "sweep.json").write_text(json.dumps(GRID))
        plan = work.ok("sweep", "sweep.json", "--out", "slurm", "--executor", "slurm", "--dry-run", env={"PATH": "/nowhere"})
        check("18 trials" in plan.stdout, plan.stdout)
        without = {**slurm.environment, "PATH": "/nowhere"}
        says = ("sbatch was not found",)
        work.fails(2, "sweep", "sweep.json", "--out", "nowhere", "--executor", "slurm", env=without, says=says)
        check(not list((work.folder / "nowhere").glob("trials/*/failure.json")), "a trial failed without Slurm")
        refused = {**GRID, "slurm": {"options": ["--partition=nowhere"]}}
        (work.folder / "refused.json").write_text(json.dumps(refused))
        says = ("invalid partition specified: nowhere", "no trial counts as failed")
        work.fails(2, "sweep", "refused.json", "--out", "refused", "--executor", "slurm", env=slurm.environment, says=says)

        sweep = SlurmSweep(work, slurm)
        interrupted_run(sweep)
        work.ok("sweep", "sweep.json", "--out", "local")
        for name in TABLES:
            same = (work.folder / "local" / name).read_bytes() == (sweep.folder / name).read_bytes()
            check(same, f"{name} differs from that of local processes")
        print("18 trials, killed three times: tables equal")

        (work.folder / "sweep.json").write_text(json.dumps({**GRID, "parameters": {"optimizer.weight_decay": {"values": [0.2, 0.3, 0.4]}}}))
        stopped_run(sweep)
        print("Ctrl-C: saved, and went on")
        cluster = slurm.folder
    check(not processes_of(cluster) and not cluster.exists(), "Slurm's processes or files are left")


main()
