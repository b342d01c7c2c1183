"""A machine with a GPU, made up: what tests of scripts/gpu_check.sh share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from harness import check

NVIDIA_SMI = """#!/bin/sh
case "$*" in
  -L) echo 'GPU 0: NVIDIA Fake (UUID: GPU-0)' ;;
  *clocks.sm*) echo '345, 3201, 1980, 3201, P0, 30, 100' ;;
  *driver_version*) echo 'NVIDIA Fake, 580.1, 9.0, 143771, 700, Disabled' ;;
  *) echo 'NVIDIA Fake' ;;
esac
"""
TESTS = ("kernels", "train", "distributed")


class Machine:
    """A folder with the scripts and a made-up GPU; `carried` is what --carried gets, to be filled with programs."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self.out, self.state = folder, folder / "out", folder / "state"
        shutil.copytree(root / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        self.prebuilt = folder / "carried/prebuilt"
        for path in (self.prebuilt / "tests", self.prebuilt / "lib", folder / "bin", self.state):
            path.mkdir(parents=True)
        (self.prebuilt / "commit").write_text("abc\n")
        self.put(folder / "bin/nvidia-smi", NVIDIA_SMI)

    @staticmethod
    def put(path: Path, script: str) -> None:
        path.write_text(script)
        path.chmod(0o755)

    def start(self, *options: str, commit: str = "", keep: bool = False) -> subprocess.Popen:
        (self.state / "checked").unlink(missing_ok=True)
        if not keep:
            shutil.rmtree(self.out, ignore_errors=True)
        command = [self.folder / "scripts/gpu_check.sh", "--out", self.out, "--carried", self.folder / "carried", *options]
        command += ["--commit", commit] if commit else []  # without: there is no .git here, and what is carried says abc
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "FAKE": str(self.state)}
        # At its first use the GPU is checked, here in one small operation.
        environment |= {"REHEARSAL_OPERATIONS": "sum", "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONPATH": str(self.state)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def run(self, code: int, *options: str, **more: object) -> str:
        process = self.start(*options, **more)
        said = process.communicate()[0]
        check(process.returncode == code, f"{' '.join(options)}: exit {process.returncode} instead of {code}:\n{said}")
        return said

    def stages(self) -> dict[str, dict]:
        file = self.out / "gpu_fake_check.json"
        return {stage["name"]: stage for stage in json.loads(file.read_text())["stages"]} if file.exists() else {}

    def log(self, name: str) -> str:
        with tarfile.open(self.out / "gpu_fake_logs.tar.gz") as archive:
            return archive.extractfile(f"logs/{name}.log").read().decode()

    def logs(self) -> set[str]:
        with tarfile.open(self.out / "gpu_fake_logs.tar.gz") as archive:
            return {Path(name).name for name in archive.getnames()}
