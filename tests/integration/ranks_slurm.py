"""ranks_slurm.py TEMPER TEMPLATE: the batch script scripts/slurm/train_cpus.sbatch in a real Slurm of one node.

Three ranks under srun give the bits of one process; asked to save as before a time limit, the job ends with 75, queues itself again and goes on.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from harness import Workspace, at_line, check, final_bytes, metrics, skip, wait_until
from one_node_slurm import OneNodeSlurm, Unavailable

STEPS = 60
CONFIG = {"batch": {"tokens_per_step": 256, "micro_batch": 1}, "train": {"steps": STEPS}, "eval": {"every": 30, "tokens": 128},
          "checkpoint": {"every": 50}, "log": {"tensorboard": False}, "parallel": {"deterministic": True}}


def of_this_test(template: str) -> str:
    """With what a user sets."""
    settings = {r"--nodes=\S+": "--nodes=1", r"--ntasks-per-node=\S+": "--ntasks-per-node=3", r"--cpus-per-task=\S+": "--cpus-per-task=1",
                r"^config=\S+": "config=config.json", r"^run=\S+": "run=runs/shared", r"batch\.micro_batch=\S+": "batch.micro_batch=1", r"--output=\S+": "--output=job.log"}
    for pattern, value in settings.items():
        template, count = re.subn(pattern, value, template, flags=re.MULTILINE)
        check(count == 1, f"the template has {count} times {pattern}")
    return template


def main() -> None:
    try:
        slurm = OneNodeSlurm(cpus=4)
    except Unavailable as why:
        skip(f"no Slurm: {why}")
    with slurm, Workspace(sys.argv[1]) as work:
        if "pmix" not in slurm.ask("srun", "--mpi=list"):
            skip("this Slurm has no PMIx, which Open MPI needs to start under srun")
        work.write_config("config.json", CONFIG)
        work.ok("train", "config.json", "--out", "alone")
        (work.folder / "job.sbatch").write_text(of_this_test(Path(sys.argv[2]).read_text()))
        hold = work.hold(at_line(20))
        slurm.environment |= hold.environment | {"PATH": f"{Path(sys.argv[1]).parent}:{os.environ['PATH']}"}
        run, log = work.folder / "runs" / "shared", work.folder / "job.log"
        job = slurm.ask("sbatch", "--parsable", f"--chdir={work.folder}", str(work.folder / "job.sbatch")).strip()

        def said() -> str:
            return log.read_text(errors="replace") if log.exists() else "nothing"

        rank_0 = hold.wait()
        slurm.ask("scancel", "--signal=USR1", job)
        hold.signalled(rank_0)
        hold.release()
        wait_until(lambda: "another rank was asked to stop: saved" in said() or "SIGUSR1: saved" in said(), "the ranks to save")
        check(not (run / "summary.json").exists(), "the run was over before it was asked to save")
        wait_until(lambda: (run / "summary.json").exists(), "the job to come back and finish")
        wait_until(lambda: not slurm.tasks(), "the job to end")
        check("resuming" in said(), said())
        check("3 ranks on 1 host" in said(), said())
        check(metrics(run) == metrics(work.folder / "alone"), "another curve than by one process")
        check(final_bytes(run) == final_bytes(work.folder / "alone"), "other weights than by one process")
        print("three ranks under srun, asked to save and queued again: the bits of one process")


main()
