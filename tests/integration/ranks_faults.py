"""ranks_faults.py TEMPER MPIRUN [--faults N]: one of four ranks is killed (SIGKILL) or stopped (SIGSTOP) at drawn steps and places.

All others end by themselves, somebody names the rank and what gave it away, no process is left, and the run is resumed to the bits of an undisturbed
one.
"""

from __future__ import annotations

import argparse
import os
import re
import signal

from harness import Workspace, at_call, at_line, check, final_bytes, metrics, seed_of, wait_until
from mpi_launch import SHARED_RUN, STEPS, MpiLaunch

RANKS = 4
# A closed connection tells of a killed rank at once. Only heartbeats tell of a stopped one, 15 s after the last.
GONE = {signal.SIGKILL: "its connection closed", signal.SIGSTOP: "no sign of life for 15 s"}


def place(draw, run: str) -> tuple[str, dict[str, str]]:
    """Where rank 0 waits while the fault happens; the others come as far as they can without it."""
    step = draw.randrange(1, STEPS)
    return draw.choice(
        [
            (f"in step {step}", at_line(step)),
            ("before the first evaluation", at_call("rename", f"{run}/config.json")),
            (f"while step {step // 3 * 3 + 3} is saved", at_call(draw.choice(["mkdir", "write", "fsync"]), f"step-{step // 3 * 3 + 3:08}")),
        ]
    )


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
            where, point = place(draw, run)
            hold = work.hold(point)
            process = launch.start(RANKS, "train", "config.json", "--out", run, env=hold.environment)
            hold.wait(process)
            victim = draw.randrange(RANKS)
            os.kill(launch.processes(run)[victim], how)
            hold.release()
            said = launch.end(process)
            # The launcher hands on the code of who ended first: of the killed rank, or one of the others'.
            codes = (7,) if how == signal.SIGSTOP else (7, 137)
            check(process.returncode in codes, f"exit {process.returncode} after {how.name} of rank {victim}\n{said}")
            named = re.search(rf"rank {victim} on \S+ is gone \({GONE[how]}\)", said)
            # Open MPI's own sockets may see a killed rank first and end their process before that one can speak.
            check(named or (how == signal.SIGKILL and f"process rank {victim} " in said), f"nobody named rank {victim}:\n{said}")
            wait_until(lambda: not launch.processes(run), "all ranks to end")
            resume = ["--resume"] if (work.folder / run / "config.json").exists() else []  # the end may have come before there was a run
            launch.run(draw.choice((1, 2, 3, 4)), "train", "config.json", "--out", run, *resume)
            check(metrics(work.folder / run) == expected, f"{run}: another curve after {how.name} of rank {victim}")
            check(final_bytes(work.folder / run) == tensors, f"{run}: other weights after {how.name} of rank {victim}")
            print(f"{how.name} of rank {victim} {where}: {named.group(0) if named else 'told by the launcher'}, resumed to the same bits", flush=True)


main()
