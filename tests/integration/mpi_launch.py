"""Runs of several ranks under mpirun, and how their processes are found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness import PATIENCE, Workspace, check

# No variables of a launcher that this test itself may run under.
LAUNCHERS = ("MASTER_", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_", "OMPI_", "PMIX_", "PMI_", "TORCHELASTIC_")

# Of a run that faults fall into: long enough to be hit, saved often, and the same to the bit however many ranks have it.
STEPS = 60
SHARED_RUN = {
    "batch": {"tokens_per_step": 256, "micro_batch": 1},
    "train": {"steps": STEPS},
    "eval": {"every": 20, "tokens": 128},
    "checkpoint": {"every": 3},
    "log": {"tensorboard": False},
    "parallel": {"deterministic": True, "zero_stage": 1},
}


class MpiLaunch:
    def __init__(self, work: Workspace, mpirun: str) -> None:
        self.work, self.mpirun = work, mpirun

    @staticmethod
    def environment() -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
        environment["OMP_NUM_THREADS"] = "1"
        environment["OMPI_MCA_pml"] = "ob1"  # else hosts may choose different layers, on which Open MPI then fails
        if os.geteuid() == 0:
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return environment

    def start(self, ranks: int, *arguments: str, options: list[str] = [], env: dict[str, str] = {}) -> subprocess.Popen:
        command = [self.mpirun, "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *options, self.work.temper, *arguments]
        return subprocess.Popen(
            command, cwd=self.work.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self.environment() | env,
        )

    @staticmethod
    def end(process: subprocess.Popen) -> str:
        """Everything that all ranks said until the launcher ended by itself."""
        try:
            return process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            process.terminate()  # mpirun takes its ranks with it
            said, _ = process.communicate(timeout=PATIENCE)
            check(False, f"{' '.join(process.args)}: not done after {PATIENCE} s:\n{said}")

    def run(self, ranks: int, *arguments: str, code: int = 0, options: list[str] = []) -> str:
        """Everything that all ranks said; the launcher must end with this code."""
        process = self.start(ranks, *arguments, options=options)
        said = self.end(process)
        check(process.returncode == code, f"{ranks} ranks, {' '.join(arguments)}: expected exit {code}, got {process.returncode}:\n{said}")
        return said

    def processes(self, run: str) -> dict[int, int]:
        """The processes that train in this run directory, by rank."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
                if len(arguments) < 2 or arguments[1] != b"train" or run.encode() not in arguments:
                    continue
                if os.readlink(folder / "cwd") != str(self.work.folder.resolve()):
                    continue
                variables = dict(entry.split(b"=", 1) for entry in (folder / "environ").read_bytes().split(b"\0") if b"=" in entry)
            except OSError:  # it ended meanwhile
                continue
            if b"OMPI_COMM_WORLD_RANK" in variables:
                found[int(variables[b"OMPI_COMM_WORLD_RANK"])] = int(folder.name)
        return found
