"""Unpacks a Debian package without installing it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def download(package: str, folder: Path) -> None:
    """Puts the package into the folder; a machine whose package lists are missing or old gets them first."""
    command = ["apt-get", "download", "-q", package]
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if subprocess.run(command, **quiet).returncode != 0:
        subprocess.run(["apt-get", "update", "-q"], **quiet)
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def unpacked(package: str, instead: str) -> Iterator[Path]:
    """The package's files, for as long as the block lasts; where it cannot be had the program ends and says what to do `instead`."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            download(package, Path(temporary))
            (archive,) = Path(temporary).glob("*.deb")
            subprocess.run(["dpkg", "-x", archive, f"{temporary}/unpacked"], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{package} could not be fetched with apt ({error}); {instead}") from error
        yield Path(temporary, "unpacked")
