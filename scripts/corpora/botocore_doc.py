#!/usr/bin/env python3
"""Writes the documentation of 403 Amazon services (English, 24 MB) as train.jsonl and val.jsonl: the same bytes for everybody.

The text is what the Python package botocore 1.35.99 (Apache-2.0) says of each operation and field. Its wheel is fetched with pip and checked by its hash, as
is what comes out. PyPI does not replace files, so results of any two who ran this compare. A line is one service, without markup, each text that
several of them share only where it comes first. Of every service one text in twenty, by its hash, is held out for validation; the order follows from the names.

Where pip cannot reach an index, get botocore-1.35.99-py3-none-any.whl in any other way and name it: --wheel FILE.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import html
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "botocore==1.35.99"
WHEEL = "botocore-1.35.99-py3-none-any.whl"
WHEEL_SHA256 = "b22d27b6b617fc2d7342090d6129000af2efd20174215948c0d7ae2da0fab445"
SHA256 = {
    "train.jsonl": "69ad21aaaa743b68d470a81db349c8097e35c6f42afba5d0ee32af5950271240",
    "val.jsonl": "b511fe2f830bea32fa147dc193a5d8fb69c1a0f34e43c4c9894609e47b3150e3",
}
HELD_OUT = 20  # one text in so many


class Refused(Exception):
    """Nothing was written; says why and what to do."""


def fetch(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    if subprocess.run(command).returncode != 0:
        raise Refused(f"pip did not get {PACKAGE}: install pip (Debian: apt install python3-pip), or get {WHEEL} by hand and name it with --wheel")
    return folder / WHEEL


def documentation(node: object) -> Iterator[str]:
    """Of a service's description, in its order."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "documentation" and isinstance(value, str):
                yield value
            else:
                yield from documentation(value)
    elif isinstance(node, list):
        for value in node:
            yield from documentation(value)


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))).strip()


def services(wheel: Path) -> list[list[str]]:
    """The texts of the newest description of each service, in an order that mixes the subjects."""
    newest: dict[str, tuple[str, str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if match := re.fullmatch(r"botocore/data/([^/]+)/([^/]+)/service-2\.json\.gz", member):
                newest[match[1]] = max(newest.get(match[1], ("", "")), (match[2], member))
        found, known = [], set()
        for _, member in sorted((hashlib.sha256(name.encode()).hexdigest(), member) for name, (_, member) in newest.items()):
            texts = []
            for text in map(plain, documentation(json.loads(gzip.decompress(archive.read(member))))):
                if text and text not in known:
                    known.add(text)
                    texts.append(text)
            found.append(texts)
    return found


def held_out(text: str) -> bool:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % HELD_OUT == 0


def parts_of(described: list[list[str]]) -> dict[str, bytes]:
    """The files, a service in each line."""
    parts = {}
    for name, wanted in (("train.jsonl", False), ("val.jsonl", True)):
        lines = ("\n".join(text for text in texts if held_out(text) == wanted) for texts in described)
        parts[name] = "".join(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in lines if line).encode()
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train.jsonl and val.jsonl go")
    parser.add_argument("--wheel", type=Path, help=f"{WHEEL}, instead of pip's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        wheel = arguments.wheel or fetch(Path(temporary))
        if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != WHEEL_SHA256:
            raise Refused(f"{wheel} has the SHA-256 {found}, not {WHEEL_SHA256}: it is not the file that {PACKAGE} has on PyPI")
        described = services(wheel)
    parts = parts_of(described)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, data in parts.items():
        if (found := hashlib.sha256(data).hexdigest()) != SHA256[name]:
            raise Refused(f"{name} came out with the SHA-256 {found}, not {SHA256[name]}: this Python ({sys.version.split()[0]}) reads HTML entities or JSON otherwise")
        (arguments.folder / name).write_bytes(data)
    print(f"{len(described)} services, {sum(len(text) for texts in described for text in texts) / 1e6:.1f} million characters")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Refused, OSError, zipfile.BadZipFile) as error:
        print(f"botocore_doc.py: {error}", file=sys.stderr)
        sys.exit(3)
