"""Unpacks a Debian package without installing it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


def download(packages: Sequence[str], folder: Path) -> None:
    """Puts the first of the packages that can be had into the folder; a machine whose package lists are missing or old gets them first."""
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "update", "-q"], **quiet)
        for package in packages:
            if subprocess.run(["apt-get", "download", "-q", package], **quiet).returncode == 0:
                return
    subprocess.run(["apt-get", "download", "-q", packages[0]], cwd=folder, check=True, stdout=subprocess.DEVNULL)  # for apt's message


@contextlib.contextmanager
def unpacked(packages: Sequence[str], instead: str) -> Iterator[Path]:
    """The files of the first of the packages (NAME or NAME=VERSION) that can be had, for as long as the block lasts; where none can the program
    ends and says what to do `instead`."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            download(packages, Path(temporary))
            (archive,) = Path(temporary).glob("*.deb")
            subprocess.run(["dpkg", "-x", archive, f"{temporary}/unpacked"], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{' or '.join(packages)} could not be fetched with apt ({error}); {instead}") from error
        print(f"from {archive.name.replace('%3a', ':')}", file=sys.stderr)
        yield Path(temporary, "unpacked")
