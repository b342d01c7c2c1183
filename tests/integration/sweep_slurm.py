"""sweep_slurm.py TEMPER: a sweep through Slurm, a real one of one node, ends with the tables of local processes.

On the way the sweep is killed twice, once while it submits; one trial is told to save, comes back into the queue and finishes; one is killed.
No step is trained twice but what the killed one had not saved. Beside that: Ctrl-C empties the queue, and what sbatch refuses is told.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from harness import Workspace, check, seed_of, skip
from one_node_slurm import OneNodeSlurm, Unavailable, processes_of

TABLES = ("results.csv", "results.md", "results.json", "trials.csv", "best.json")
STEPS = 150
SAVE_EVERY = 5
GRID = {
    "base": "config.json",
    "parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 1]}, "schedule.warmup_steps": {"values": [0, 5, 20]}},
    "seeds": [1, 2],
    "resources": {"trials_at_once": 2, "threads_per_trial": 1},
    "slurm": {"poll_seconds": 0.3, "options": ["--comment=a sweep of temper"]},
}


def wait_until(condition, what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"waited {seconds} s for {what}")
        time.sleep(0.02)


def finished(folder: Path) -> int:
    return len(list(folder.glob("trials/*/summary.json")))


def steps_done(trial: Path) -> Counter:
    """How often each step was trained, as all processes of the trial logged it."""
    return Counter(int(step) for step in re.findall(rf"^step (\d+)/{STEPS}  loss", (trial / "trial.log").read_text(), re.MULTILINE))


class SlurmSweep:
    """The sweep of sweep.json, through Slurm, in the folder `slurm`."""

    def __init__(self, work: Workspace, slurm: OneNodeSlurm) -> None:
        self.work, self.slurm, self.folder = work, slurm, work.folder / "slurm"

    def start(self) -> subprocess.Popen:
        return self.work.start(
            "sweep", "sweep.json", "--out", "slurm", "--executor", "slurm", env=self.slurm.environment, start_new_session=True
        )

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

    def one_that_trains(self, but: set[str]) -> tuple[str, int]:
        """A trial that has some steps behind it and some to go."""
        chosen: list[tuple[str, int]] = []

        def look() -> bool:
            for trial, pid in self.training().items():
                done = len(steps_done(self.folder / "trials" / trial))
                if trial not in but and SAVE_EVERY + 2 <= done <= STEPS // 2:
                    chosen.append((trial, pid))
                    return True
            return False

        wait_until(look, "a trial that trains")
        return chosen[0]

    def task_of(self, trial: str) -> str:
        """JOB_INDEX of the task that the trial runs in, from the environment of its process."""
        environment = Path(f"/proc/{self.training()[trial]}/environ").read_bytes().decode().split("\0")
        value = dict(entry.split("=", 1) for entry in environment if entry.startswith("SLURM_ARRAY_"))
        return f"{value['SLURM_ARRAY_JOB_ID']}_{value['SLURM_ARRAY_TASK_ID']}"


def interrupted_run(sweep: SlurmSweep, draw) -> None:
    folder = sweep.folder
    # Killed while it submits, or just before or after.
    process = sweep.start()
    wait_until(lambda: process.poll() is not None or folder.exists(), "the sweep to begin")
    time.sleep(draw.uniform(0.0, 0.4))
    process.kill()
    process.communicate()
    print(f"killed at the start, with {len(sweep.slurm.tasks())} tasks in the queue")

    process = sweep.start()
    told, _ = sweep.one_that_trains(set())
    task = sweep.task_of(told)
    # To every process of the task, as a time limit or a preemption does. scancel repeats it while other tasks of the array wait.
    canceller = subprocess.Popen(["scancel", "--quiet", "--full", "--signal=TERM", task], env=sweep.slurm.environment)
    killed, victim = sweep.one_that_trains({told})
    os.kill(victim, signal.SIGKILL)

    wait_until(lambda: process.poll() is not None or finished(folder) >= 5, "five trials")
    time.sleep(draw.uniform(0.0, 0.5))
    check(process.poll() is None, "the sweep ended before it was killed")
    process.kill()
    process.communicate()
    before = finished(folder)
    wait_until(lambda: finished(folder) > before, "the jobs to go on without the sweep")
    done = sweep.work.ok("sweep", "sweep.json", "--out", "slurm", "--executor", "slurm", env=sweep.slurm.environment, timeout=240)
    check("18/18 trials done" in done.stderr or finished(folder) == 18, done.stderr)
    canceller.wait(timeout=60)

    # Nothing was trained twice.
    for trial in folder.glob("trials/*"):
        count = steps_done(trial)
        check(sorted(count) == list(range(1, STEPS + 1)), f"{trial.name}: its log lacks steps")
        twice = [step for step, times in count.items() if times > 1]
        if trial.name == killed:
            check(max(count.values()) <= 2 and len(twice) <= SAVE_EVERY + 1, f"{trial.name} was killed and repeated steps {twice}")
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
    process = sweep.start()
    trial, _ = sweep.one_that_trains(set())
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    check(process.returncode == 75, f"expected 75 after Ctrl-C, got {process.returncode}:\n{err}")
    check(not sweep.training(), "trials outlived the sweep")
    wait_until(lambda: not sweep.slurm.tasks(), "the queue to be empty", 10)
    check(not (sweep.folder / "trials" / trial / "summary.json").exists(), "the trial had finished before Ctrl-C")
    sweep.work.ok("sweep", "sweep.json", "--out", "slurm", "--executor", "slurm", env=sweep.slurm.environment, timeout=240)
    for each in sweep.folder.glob("trials/*"):
        check(len(steps_done(each)) == STEPS, f"{each.name} has not finished")
    check(max(steps_done(sweep.folder / "trials" / trial).values()) == 1, f"{trial} saved at Ctrl-C and trained steps again")


def main() -> None:
    try:
        # More processors than the machine may have: two trials shall train side by side.
        slurm = OneNodeSlurm(cpus=4)
    except Unavailable as why:
        skip(f"no Slurm: {why}")
    with slurm, Workspace(sys.argv[1]) as work, seed_of("sweep_slurm") as draw:
        begin = time.monotonic()
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
        interrupted_run(sweep, draw)
        through_slurm = time.monotonic()
        work.ok("sweep", "sweep.json", "--out", "local", timeout=240)
        for name in TABLES:
            same = (work.folder / "local" / name).read_bytes() == (sweep.folder / name).read_bytes()
            check(same, f"{name} differs from that of local processes")
        print(f"18 trials, killed twice: tables equal, in {through_slurm - begin:.0f} s")

        (work.folder / "sweep.json").write_text(json.dumps({**GRID, "parameters": {"optimizer.weight_decay": {"values": [0.2, 0.3, 0.4]}}}))
        stopped_run(sweep)
        print("Ctrl-C: saved, and went on")
        cluster = slurm.folder
    check(not processes_of(cluster) and not cluster.exists(), "Slurm's processes or files are left")


main()
