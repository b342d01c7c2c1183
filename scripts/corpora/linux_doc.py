#!/usr/bin/env python3
"""Writes the Linux kernel's documentation (English prose with some code and tables, 21 MB) as train.jsonl and val.jsonl.

The text comes from Debian's package linux-doc-6.1 or, where there is none (Debian 13), linux-doc-6.12 (GPL-2), which is downloaded with apt and
unpacked, not installed. A line is one document, its reStructuredText source. Translations are left out. Which documents validate, one in twenty,
and the order follow from the documents' names, so the same package gives the same files.

Debian replaces packages by newer versions, and each is another text: losses compare within one only. The version is printed;
--package linux-doc-6.1=VERSION asks for it again (`apt-cache policy linux-doc-6.1` lists what there is; snapshot.debian.org keeps all).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path

from debian_package import unpacked

PACKAGES = ["linux-doc-6.1", "linux-doc-6.12"]
HELD_OUT = 20  # one document in so many


def documents(root: Path) -> list[tuple[str, str]]:
    """(name, text) in an order that mixes the subjects."""
    found = []
    for path in root.rglob("*.rst.gz"):
        name = path.relative_to(root).as_posix()
        if "/translations/" not in f"/{name}":
            found.append((hashlib.sha256(name.encode()).hexdigest(), gzip.decompress(path.read_bytes()).decode("utf-8")))
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train.jsonl and val.jsonl go")
    parser.add_argument("--package", help="NAME or NAME=VERSION instead of the first that is there of " + ", ".join(PACKAGES))
    arguments = parser.parse_args()
    with unpacked([arguments.package] if arguments.package else PACKAGES, "any text of 20 MB serves as well") as files:
        (root,) = (files / "usr/share/doc").glob("*/Documentation")
        all_documents = documents(root)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with open(arguments.folder / "train.jsonl", "w", encoding="utf-8") as train, open(arguments.folder / "val.jsonl", "w", encoding="utf-8") as val:
        for key, text in all_documents:
            out = val if int(key[:8], 16) % HELD_OUT == 0 else train
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print(f"{len(all_documents)} documents, {sum(len(text) for _, text in all_documents) / 1e6:.1f} million characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
