#!/usr/bin/env python3
"""Writes Jane Austen's six novels (public domain, 4 MB) as text files, one a novel.

The text comes from Debian's package r-cran-janeaustenr, which is downloaded with apt and unpacked, not installed. It holds the
novels as R data: a file of zlib chunks, each a character vector in R's XDR serialization (R Internals, section 1.8).
"""

from __future__ import annotations

import argparse
import struct
import sys
import zlib
from pathlib import Path

from debian_package import unpacked

PACKAGE = "r-cran-janeaustenr"
NOVELS = ("sensesensibility", "prideprejudice", "mansfieldpark", "emma", "northangerabbey", "persuasion")
CHARSXP, STRSXP = 9, 16


def chunks(data: bytes) -> list[bytes]:
    """The uncompressed chunks of an R lazy-load database: a 4-byte length, then a zlib stream, again and again."""
    result = []
    while len(data) > 4:
        (length,) = struct.unpack(">I", data[:4])
        stream = zlib.decompressobj()
        chunk = stream.decompress(data[4:])
        if len(chunk) != length or not stream.eof:
            raise ValueError("damaged R database")
        result.append(chunk)
        data = stream.unused_data
    return result


def strings(chunk: bytes) -> list[str] | None:
    """The lines of a serialized character vector, or None for anything else."""
    if chunk[:2] != b"X\n":
        return None
    position = 2

    def integer() -> int:
        nonlocal position
        (value,) = struct.unpack_from(">i", chunk, position)
        position += 4
        return value

    version = integer()
    position += 8  # versions of R
    if version == 3:
        length = integer()
        position += length  # name of the encoding
    if integer() & 0xFF != STRSXP:
        return None
    lines = []
    for _ in range(integer()):
        flags = integer()
        length = integer()
        if flags & 0xFF != CHARSXP:
            return None
        lines.append(chunk[position : position + max(length, 0)].decode("utf-8"))
        position += max(length, 0)
    return lines


def name_of(lines: list[str]) -> str | None:
    title = " ".join(lines[:3]).lower()
    for novel, words in zip(
        NOVELS, ("sense and sensibility", "pride and prejudice", "mansfield park", "emma", "northanger abbey", "persuasion")
    ):
        if words in title:
            return novel
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the text files go")
    arguments = parser.parse_args()
    with unpacked([PACKAGE], "give quickstart.sh a text file instead") as files:
        (database,) = files.rglob("data/Rdata.rdb")
        found = {}
        for chunk in chunks(database.read_bytes()):
            lines = strings(chunk)
            if lines and (novel := name_of(lines)):
                found[novel] = "\n".join(lines).strip() + "\n"
    if set(found) != set(NOVELS):
        print(f"austen.py: found only {sorted(found)} in {PACKAGE}", file=sys.stderr)
        return 1
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for novel, text in found.items():
        (arguments.folder / f"{novel}.txt").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
