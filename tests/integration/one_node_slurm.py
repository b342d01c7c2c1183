"""A Slurm cluster of one node, this machine, from Debian's packages slurmctld, slurmd, slurm-client and munge.

It has a folder, ports and a key of its own and touches nothing of a Slurm that is installed. A guard process ends all of it, daemons and jobs,
when the test ends, however that happens.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import PATIENCE

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
CredType=cred/munge
# A task that is queued again begins after cred_expire at the earliest: 5 s is the least that Slurm takes, 120 s its default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
# Jobs that have ended are forgotten at once, as in clusters that have many.
MinJobAge=2
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Unavailable(Exception):
    """Why there can be no Slurm here."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(folder: Path) -> list[int]:
    """The processes that were started with this cluster's configuration, daemons, jobs and what they started; zombies aside."""
    mark = f"SLURM_CONF={folder}/slurm.conf".encode()
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def guard(folder: Path) -> int:
    """Starts a process that kills all of the cluster and removes its folder when the returned end of a pipe is closed: by the test, or by the
    kernel when the test is dead."""
    read, write = os.pipe()
    if os.fork() > 0:
        os.close(read)
        return write
    os.setsid()
    os.close(write)
    # Whoever reads the test's output shall not wait for this process.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.read(read, 1)
    for _ in range(1000):  # what is being started while the others are killed
        victims = processes_of(folder)
        if not victims:
            break
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


class OneNodeSlurm:
    """with OneNodeSlurm(cpus) as slurm: ... Raises Unavailable where it cannot be started."""

    def __init__(self, cpus: int) -> None:
        search = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
        self._programs = {name: shutil.which(name, path=search) for name in PROGRAMS}
        missing = [name for name, path in self._programs.items() if path is None]
        if missing:
            raise Unavailable(f"{', '.join(missing)} not found; scripts/setup.sh --tests installs Slurm")
        self.folder = Path(tempfile.mkdtemp(prefix="temper-slurm-"))
        self._guard = guard(self.folder)
        # Of the environment Slurm's programs and temper get all but what a surrounding Slurm or user has set for them.
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_", "SRUN_"))
        }
        self.environment["SLURM_CONF"] = str(self.folder / "slurm.conf")
        try:
            self._start(cpus)
        except BaseException:
            self.close()
            raise

    def _start(self, cpus: int) -> None:
        host = os.uname().nodename.split(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host,
                controller_port=free_port(),
                node_port=free_port(),
                folder=self.folder,
                user=pwd.getpwuid(os.getuid()).pw_name,
                cpus=cpus,
            )
        )
        of_munge = [f"--{name.split('.')[1]}-file={self.folder}/{name}" for name in ("munge.key", "munge.pid", "munge.seed", "munge.log")]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *of_munge)
        self._wait("munged", lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", host)
        self._wait("slurmctld and slurmd", lambda: self.ask("sinfo", "--noheader", "--format=%T", check=False).strip() == "idle")

    def _daemon(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.output").open("w") as output:
            subprocess.Popen(
                [self._programs[name], *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def _wait(self, what: str, ready, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                said = "".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.output")))
                raise Unavailable(f"{what} did not start:\n{said}")
            time.sleep(0.1)

    def ask(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def tasks(self) -> list[tuple[str, str]]:
        """JOB_INDEX and state of all tasks in the queue."""
        lines = self.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def close(self) -> None:
        if self._guard < 0:
            return
        os.close(self._guard)
        self._guard = -1
        end = time.monotonic() + PATIENCE
        while self.folder.exists() and time.monotonic() < end:
            time.sleep(0.05)
        left = processes_of(self.folder)
        if left or self.folder.exists():
            print(f"one_node_slurm: processes {left} of {self.folder} are left", file=sys.stderr)

    def __enter__(self) -> "OneNodeSlurm":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
