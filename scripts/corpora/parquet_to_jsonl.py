#!/usr/bin/env python3
"""Hands the texts of Parquet files to `temper data tokenize` as JSON lines, a row a document, in order, a few rows at a time.

  scripts/corpora/parquet_to_jsonl.py corpus/*.parquet -- \\
      temper data tokenize - --tokenizer data/gpt2 --out data/mine --name text --val-fraction 0.001

What stands behind -- is run with the lines as its standard input, and ended where a file turns out to be damaged, so that no shards are made
of a part. Without a command the lines go to standard output. Needs pyarrow in the Python that runs it, which temper itself never does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import BinaryIO

try:
    import pyarrow
    from pyarrow import parquet, types
except ImportError:
    sys.exit("parquet_to_jsonl.py: needs pyarrow: python3 -m venv parquet && parquet/bin/pip install pyarrow, then run this script by parquet/bin/python")

ROWS = 128  # at a time


def is_text(kind: pyarrow.DataType) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind)


def opened(paths: list[str], column: str) -> list[str]:
    """Checks the end of each file, where Parquet says what it holds, before anything is made of the first."""
    for path in paths:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            if column not in schema.names:
                texts = [field.name for field in schema if is_text(field.type)]
                raise ValueError(f"{path}: has no column {column}; of texts it has {', '.join(texts) or 'none'}: name one by --column")
            if not is_text(schema.field(column).type):
                raise ValueError(f"{path}: column {column} holds {schema.field(column).type}, not text")
    return paths


def texts(paths: list[str], column: str) -> Iterator[str | None]:
    for path in paths:
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):  # one by one: asked for all, pyarrow reads far ahead
                for batch in file.iter_batches(ROWS, row_groups=[group], columns=[column]):
                    yield from batch.column(0).to_pylist()


def hand(paths: list[str], column: str, out: BinaryIO, counts: dict[str, int]) -> str | None:
    """Returns what went wrong."""
    try:
        for text in texts(opened(paths, column), column):
            counts["documents" if text is not None else "empty"] += 1
            if text is not None:
                out.write(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n")
        out.flush()
    except BrokenPipeError:
        return "what reads the lines has ended"
    except (ValueError, OSError, pyarrow.ArrowException) as error:  # damaged, absent, no UTF-8
        return str(error)
    return None


def main() -> int:
    own, command = sys.argv[1:], []
    if "--" in own:
        own, command = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s [--column NAME] FILE... [-- COMMAND]")
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument("--column", default="text", help="the one that holds the text (text)")
    arguments = parser.parse_args(own)
    counts = {"documents": 0, "empty": 0}
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE) if command else None
    except OSError as error:
        parser.error(f"{command[0]}: {error.strerror}")
    wrong = hand(arguments.files, arguments.column, process.stdin if process else sys.stdout.buffer, counts)
    code = 0
    if process:
        if wrong and process.poll() is None:
            process.send_signal(signal.SIGTERM)  # while its input is still open: it must not take this for the end
            process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        code = process.wait()
    elif wrong:
        with contextlib.suppress(BrokenPipeError):  # else Python says so once more as it ends
            sys.stdout.close()
    empty = f", {counts['empty']} rows without a text left out" if counts["empty"] else ""
    print(f"parquet_to_jsonl.py: {wrong or str(counts['documents']) + ' documents' + empty}", file=sys.stderr)
    return code if code > 0 else 3 if wrong or code else 0


if __name__ == "__main__":
    sys.exit(main())
