"""ranks_faults.py TEMPER MPIRUN [--faults N]: one of four ranks is killed (SIGKILL) or stopped (SIGSTOP) at random moments.

All others end by themselves within the limits, somebody names the rank, no process is left, and the run is resumed to the bits of an undisturbed one.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import time

from harness import Workspace, check, final_bytes, metrics, seed_of
from mpi_launch import BUSY, HEARTBEATS, SHARED_RUN, STEPS, MpiLaunch

RANKS = 4


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("temper")
    parser.add_argument("mpirun")
    parser.add_argument("--faults", type=int, default=4)
    arguments = parser.parse_args()
    with Workspace(arguments.temper) as work, seed_of("ranks_faults") as draw:
        launch = MpiLaunch(work, arguments.mpirun)
        work.write_config("config.json", SHARED_RUN)
        work.ok("train", "config.json", "--out", "whole")
        expected, tensors = metrics(work.folder / "whole"), final_bytes(work.folder / "whole")

        for fault in range(arguments.faults):
            run = f"run-{fault}"
            how = signal.SIGSTOP if fault % 4 == 3 else signal.SIGKILL
            process = launch.start(RANKS, "train", "config.json", "--out", run)
            launch.wait_for_step(process, run, draw.randrange(1, STEPS - 20))
            time.sleep(draw.uniform(0.0, 0.1))
            victim = draw.randrange(RANKS)
            pid = launch.processes(run)[victim]
            os.kill(pid, how)
            begin = time.monotonic()
            said, _ = process.communicate(timeout=HEARTBEATS + 10 + BUSY)
            seconds = time.monotonic() - begin
            limit = (HEARTBEATS if how == signal.SIGSTOP else 0.0) + 10 + BUSY
            check(seconds < limit, f"ended {seconds:.1f} s after {how.name} of rank {victim}; {limit} allowed\n{said}")
            # The launcher hands on the code of who ended first: of the killed rank, or one of the others'.
            codes = (7,) if how == signal.SIGSTOP else (7, 137)
            check(process.returncode in codes, f"exit {process.returncode} after {how.name} of rank {victim}\n{said}")
            named = re.search(rf"rank {victim} on \S+ is gone \(", said)
            # Open MPI's own sockets may see a killed rank first and end their process before that one can speak.
            check(named or (how == signal.SIGKILL and f"process rank {victim} " in said), f"nobody named rank {victim}:\n{said}")
            end = time.monotonic() + BUSY
            while launch.processes(run):
                check(time.monotonic() < end, f"processes are left: {launch.processes(run)}")
                time.sleep(0.05)
            launch.run(draw.choice((1, 2, 3, 4)), "train", "config.json", "--out", run, "--resume")
            check(metrics(work.folder / run) == expected, f"{run}: another curve after {how.name} of rank {victim}")
            check(final_bytes(work.folder / run) == tensors, f"{run}: other weights after {how.name} of rank {victim}")
            print(f"{how.name} of rank {victim}: over after {seconds:.1f} s, resumed to the same bits", flush=True)


main()
