"""mpi_communicator.py MPI_RANKS MPIRUN: the MPI communicator under real mpirun. 1 to 4 ranks compute the same bits as one loop over
all of them; and whatever happens to a rank, all the others end by themselves, soon, with exit code 7 and a message that names it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from harness import PATIENCE, check, wait_until

PROGRAM, MPIRUN = sys.argv[1:3]


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
        hung = threading.Timer(PATIENCE, process.terminate)  # mpirun takes its ranks with it
        hung.start()
        try:
            self.output = process.stdout.read()
            self.code = process.wait(timeout=PATIENCE)
        finally:
            hung.cancel()
            process.kill()
        self.options = options
        self.name = f"{scene}, {ranks} ranks, {' '.join(options)}"
        wait_until(lambda: not self.left(mark), f"all processes of {self.name} to end")

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

    def ends(self, *patterns: str) -> "Run":
        """All ranks ended, one of them said each pattern, and none was left to end by the launcher or by having waited for ever."""
        check((self.code in (0, 1)) == ("--enable-recovery" in self.options), f"{self.name}: exit code {self.code}\n{self.output}")
        for pattern in patterns:
            check(re.search(pattern, self.output) is not None, f"{self.name}: nobody said {pattern!r}\n{self.output}")
        print(f"{self.name}: over", flush=True)
        return self


def main() -> None:
    for ranks in (1, 2, 3, 4):
        run = Run("collectives", ranks, 60).passes()
        check(f", {ranks} rank{'s' if ranks > 1 else ''} on 1 host" in run.output, f"no description:\n{run.output}")
    # Messages that go through sockets, as between hosts, are cut and delivered in other ways.
    Run("collectives", 3, 60, ["--mca", "btl", "tcp,self"]).passes()
    print("1, 2, 3 and 4 ranks: the sums have the bits of a loop over the ranks", flush=True)

    # A save that takes longer than the timeout of collectives is none of their business.
    Run("meets", 3, 8).passes()
    print("a meeting longer than the timeout passes", flush=True)

    # A timeout so long that it cannot be what ends the run: its end must come from the lost connection, or the missing heartbeats.
    long = 36000
    gone = r"rank 1 on \S+ is gone \("
    waited = gone + r"its connection closed\).*rank \d .*all_reduce of gradients of step \d"
    Run("killed", 4, long).ends("temper: " + waited)
    # Over sockets Open MPI sees the lost connection too, and may end its process before that one can speak: mpirun names the rank then.
    Run("killed", 4, long, ["--mca", "btl", "tcp,self"]).ends(f"temper: {waited}|process rank 1 .* exited on signal 9")
    Run("killed_meeting", 4, long).ends(gone + r"its connection closed\).*the end of saving")
    Run("stopped", 4, long).ends(gone + r"no sign of life for 3 s\)")
    Run("fails", 4, long).ends("main: loss is nan in step 3", gone + r"loss is nan in step 3\)")
    Run("throws", 4, long).ends("main: a token outside the vocabulary", gone)
    # mpirun would end ranks that are in a long computation. With this option it does not, and returns 0: they must end by themselves.
    Run("computing", 4, long, ["--enable-recovery"]).ends(*[gone + f".* while rank {r} " for r in (0, 2, 3)])

    # A rank that lives and does not come, which only the timeout can tell.
    # It leaves where it was, and those who waited where they waited. Without the option mpirun ends it as soon as they have ended.
    said = r"temper: rank [023] waited 8 s in all_reduce of gradients of step 3 and nothing came from rank 1 \("
    Run("hangs", 4, 8).ends(said)
    Run("hangs", 4, 8, ["--enable-recovery"]).ends(said, r"rank 1 does not come back from:", r"rank [023] waits in all_reduce of gradients of step 3:", r"thread \d+ \(", r"\[0x[0-9a-f]+\]")
    Run("strangers", 2, long).ends("key")


main()
