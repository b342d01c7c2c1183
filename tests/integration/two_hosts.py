"""two_hosts.py TEMPER MPIRUN: four ranks on two hosts, each a network namespace with a name and an address of its own.

The run has the bits of a single process. When the link between the hosts is cut, all ranks end by themselves and name who is gone, and the run is
resumed to the same bits. Needs root, `ip` and `unshare`; is skipped by name without.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from harness import Workspace, at_line, check, final_bytes, metrics, skip, wait_until
from mpi_launch import SHARED_RUN, MpiLaunch


class TwoHosts:
    """Hosts temper-a (10.77.0.1) and temper-b (10.77.0.2), with one link between them and no way out."""

    ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}

    def __init__(self, folder: Path) -> None:
        self.spaces = {host: f"temper-{host}-{os.getpid()}" for host in "ab"}
        self.agent = folder / "reach_host_b"
        self.agent.write_text(f'#!/bin/sh\nshift\nexec ip netns exec {self.spaces["b"]} unshare --uts sh -c "hostname temper-b; $*"\n')
        self.agent.chmod(0o755)

    def ip(self, *arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def __enter__(self) -> "TwoHosts":
        try:
            for space in self.spaces.values():
                self.ip("netns", "add", space)
            self.ip("link", "add", "link-a", "netns", self.spaces["a"], "type", "veth", "peer", "name", "link-b", "netns", self.spaces["b"])
            for host, space in self.spaces.items():
                self.ip("-n", space, "address", "add", f"{self.ADDRESSES[host]}/24", "dev", f"link-{host}")
                self.ip("-n", space, "link", "set", f"link-{host}", "up")
                self.ip("-n", space, "link", "set", "lo", "up")
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        self.kill_all()
        for space in self.spaces.values():
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)

    def kill_all(self) -> None:
        for space in self.spaces.values():
            listed = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True)
            for pid in listed.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def cut(self) -> None:
        self.ip("-n", self.spaces["b"], "link", "set", "link-b", "down")

    def join(self) -> None:
        self.ip("-n", self.spaces["b"], "link", "set", "link-b", "up")


class LaunchOnTwoHosts(MpiLaunch):
    """mpirun on host a, which reaches host b through the agent, as it would through ssh."""

    def __init__(self, work: Workspace, mpirun: str, hosts: TwoHosts) -> None:
        super().__init__(work, mpirun)
        self.hosts = hosts

    def start(self, ranks: int, *arguments: str, options: list[str] = [], env: dict[str, str] = {}) -> subprocess.Popen:
        places = ",".join(f"{address}:{ranks // 2}" for address in TwoHosts.ADDRESSES.values())
        mpirun, self.mpirun = self.mpirun, str(self.work.folder / "mpirun_on_host_a")
        Path(self.mpirun).write_text(
            f'#!/bin/sh\nexec ip netns exec {self.hosts.spaces["a"]} unshare --uts sh -c \'hostname temper-a; exec "$@"\' sh {mpirun} "$@"\n'
        )
        Path(self.mpirun).chmod(0o755)
        try:
            more = ["--mca", "plm_rsh_agent", str(self.hosts.agent), "--host", places, "--wdir", str(self.work.folder)]
            return super().start(ranks, *arguments, options=[*more, *options], env=env)
        finally:
            self.mpirun = mpirun


def main() -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        skip("network namespaces need root, ip and unshare")
    with Workspace(sys.argv[1]) as work:
        hosts = TwoHosts(work.folder)
        try:
            hosts.__enter__()
        except OSError as why:
            skip(f"no network namespaces: {why}")
        with contextlib.ExitStack() as cleanup:
            cleanup.push(hosts)
            work.write_config("config.json", SHARED_RUN)
            work.ok("train", "config.json", "--out", "whole")
            expected, tensors = metrics(work.folder / "whole"), final_bytes(work.folder / "whole")
            launch = LaunchOnTwoHosts(work, sys.argv[2], hosts)

            said = launch.run(4, "train", "config.json", "--out", "two")
            check("4 ranks on 2 hosts" in said, f"not two hosts:\n{said}")
            check(metrics(work.folder / "two") == expected, "two hosts: another curve than one process")
            check(final_bytes(work.folder / "two") == tensors, "two hosts: other weights than one process")
            print("4 ranks on 2 hosts: the bits of one process", flush=True)

            said = launch.run(4, "doctor", "--ranks", "--mib", "2", "--device", "cpu")
            for rank, host in enumerate("aabb"):
                check(re.search(rf"rank {rank} +temper-{host}, .*, by link-{host}", said), f"rank {rank}, host and interface:\n{said}")
            check("link       " in said, f"nothing of the link:\n{said}")
            print("doctor --ranks: hosts and interfaces", flush=True)

            hold = work.hold(at_line(10))
            process = launch.start(4, "train", "config.json", "--out", "cut", env=hold.environment)
            hold.wait(process)
            ranks = launch.processes("cut")
            check(sorted(ranks) == [0, 1, 2, 3], f"processes {ranks}")
            hosts.cut()
            hold.release()
            wait_until(lambda: not launch.processes("cut"), "all ranks to end after the cut")
            hosts.kill_all()  # the launcher waits for the other host much longer
            said = launch.end(process)
            # A link that is cut closes no connection.
            named = re.search(r"rank \d on temper-[ab] is gone \(no sign of life for 15 s\)", said)
            check(named, f"nobody named a rank of the other host:\n{said}")
            print(f"link cut: all ranks over: {named.group(0)}", flush=True)

            hosts.join()
            work.ok("train", "config.json", "--out", "cut", "--resume")
            check(metrics(work.folder / "cut") == expected and final_bytes(work.folder / "cut") == tensors, "resumed to other bits after the cut")
            print("resumed by one process: the same bits", flush=True)


main()
