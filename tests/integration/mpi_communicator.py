"""mpi_communicator.py MPI_RANKS MPIRUN: the MPI communicator under real mpirun. 1 to 4 ranks compute the same bits as one loop over
all of them; and whatever happens to a rank, all the others end by themselves, soon, with exit code 7 and a message that names it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

PROGRAM, MPIRUN = sys.argv[1:3]
# How long a busy machine may take for what it does in less than a second when it is idle: start four processes, or end them.
BUSY = 30.0


def check(condition: bool, message: str) -> None:
    if not condition:
        print(f"FAILED: {message}", flush=True)
        sys.exit(1)


class Run:
    """A scene of mpi_ranks.cpp under mpirun, from its beginning to the end of its last process."""

    number = 0

    def __init__(self, scene: str, ranks: int, seconds: float, options: list[str] = [], variables: dict[str, str] = {}) -> None:
        Run.number += 1
        mark = f"scene-{os.getpid()}-{Run.number}"  # tells these processes from all others
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MASTER_", "SLURM_", "OMPI_"))}
        if os.geteuid() == 0:
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        command = [MPIRUN, "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *options, PROGRAM, scene, str(seconds), mark]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment | variables)
        lines, happened = [], time.monotonic()
        # No scene takes more than a few seconds on an idle machine. mpirun takes its ranks with it.
        hung = threading.Timer(3 * BUSY, process.terminate)
        hung.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if line.startswith("now pid"):
                    happened = time.monotonic()
            self.code = process.wait(timeout=BUSY)
        finally:
            hung.cancel()
            process.kill()
        self.seconds = time.monotonic() - happened
        self.options = options
        self.output = "".join(lines)
        self.name = f"{scene}, {ranks} ranks, {' '.join(options)}"
        end = time.monotonic() + BUSY
        while self.left(mark):
            check(time.monotonic() < end, f"{self.name}: processes are left: {self.left(mark)}\n{self.output}")
            time.sleep(0.05)

    @staticmethod
    def left(mark: str) -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = path.read_bytes().split(b"\0")
            except OSError:  # it ended meanwhile
                continue
            if mark.encode() in arguments and arguments[0] == PROGRAM.encode():
                found.append(path.parent.name)
        return found

    def passes(self) -> "Run":
        check(self.code == 0, f"{self.name}: exit code {self.code}\n{self.output}")
        return self

    def ends(self, limit: float, *patterns: str) -> "Run":
        """All ranks ended within `limit` seconds of what happened, and one of them said each pattern."""
        check((self.code in (0, 1)) == ("--enable-recovery" in self.options), f"{self.name}: exit code {self.code}\n{self.output}")
        check(self.seconds < limit + BUSY, f"{self.name}: ended {self.seconds:.1f} s after it happened; {limit} allowed\n{self.output}")
        for pattern in patterns:
            check(re.search(pattern, self.output) is not None, f"{self.name}: nobody said {pattern!r}\n{self.output}")
        print(f"{self.name}: over after {self.seconds:.1f} s", flush=True)
        return self


def main() -> None:
    for ranks in (1, 2, 3, 4):
        run = Run("collectives", ranks, 60).passes()
        check(f", {ranks} rank{'s' if ranks > 1 else ''} on 1 host" in run.output, f"no description:\n{run.output}")
    # Messages that go through sockets, as between hosts, are cut and delivered in other ways.
    Run("collectives", 3, 60, ["--mca", "btl", "tcp,self"]).passes()
    print("1, 2, 3 and 4 ranks: the sums have the bits of a loop over the ranks", flush=True)

    # A save that takes longer than the timeout of collectives is none of their business.
    Run("meets", 3, 3).passes()
    print("a meeting longer than the timeout passes", flush=True)

    # A timeout so long that it cannot be what ends the run: its end must come from the lost connection, or the missing heartbeats.
    long = 600
    gone = r"rank 1 on \S+ is gone \("
    waited = gone + r"its connection closed\).*rank \d .*all_reduce of gradients of step \d"
    Run("killed", 4, long).ends(0, "temper: " + waited)
    # Over sockets Open MPI sees the lost connection too, and may end its process before that one can speak: mpirun names the rank then.
    Run("killed", 4, long, ["--mca", "btl", "tcp,self"]).ends(0, f"temper: {waited}|process rank 1 .* exited on signal 9")
    Run("killed_meeting", 4, long).ends(0, gone + r"its connection closed\).*the end of saving")
    Run("stopped", 4, long).ends(3, gone + r"no sign of life")
    Run("fails", 4, long).ends(0, "main: loss is nan in step 3", gone + r"loss is nan in step 3\)")
    Run("throws", 4, long).ends(0, "main: a token outside the vocabulary", gone)
    # mpirun would end ranks that are in a long computation. With this option it does not, and returns 0: they must end by themselves.
    Run("computing", 4, long, ["--enable-recovery"]).ends(5, *[gone + f".* while rank {r} " for r in (0, 2, 3)])

    # A rank that lives and does not come, which only the timeout can tell.
    Run("hangs", 4, 3).ends(3, r"temper: rank [023] waited 3 s in all_reduce of gradients of step 3 and nothing came from rank 1 \(")
    Run("strangers", 2, long).ends(0, "key")


main()
