"""parquet.py TEMPER REPOSITORY: texts in Parquet files become the shards that the same texts in JSON lines become. Needs pyarrow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness import PATIENCE, Workspace, check, skip, text

try:
    import pyarrow
    from pyarrow import parquet
except ImportError:
    skip("pyarrow is not installed")

SCRIPT = Path(sys.argv[2]) / "scripts" / "corpora" / "parquet_to_jsonl.py"
DOCUMENTS = [text(40, seed) + "Zürich \u2028\n\n" for seed in range(700)]


def main() -> None:
    with Workspace(sys.argv[1]) as work:

        def convert(*arguments: str, code: int = 0, says: str = "") -> str:
            done = subprocess.run([sys.executable, SCRIPT, *arguments], cwd=work.folder, capture_output=True, text=True, timeout=PATIENCE)
            check(done.returncode == code and says in done.stderr, f"{arguments}: exit {done.returncode}, {says!r} expected in:\n{done.stderr}")
            return done.stdout

        def tokenize(*files: str, name: str, **options: object) -> None:
            convert(*files, "--", work.temper, "data", "tokenize", "-", "--tokenizer", "data", "--out", "out", "--name", name, "--val-fraction", "0.1", **options)

        def write(name: str, texts: list, column: str = "text") -> None:
            table = pyarrow.table({"id": list(range(len(texts))), column: pyarrow.array(texts, pyarrow.string())})
            parquet.write_table(table, work.folder / name, row_group_size=100, compression="zstd")

        (work.folder / "all.jsonl").write_text("".join(json.dumps({"text": document}) + "\n" for document in DOCUMENTS))
        work.ok("data", "tokenize", "all.jsonl", "--tokenizer", "data", "--out", "out", "--name", "lines", "--val-fraction", "0.1")
        write("a.parquet", DOCUMENTS[:400])
        write("b.parquet", [*DOCUMENTS[400:500], None, *DOCUMENTS[500:]])
        tokenize("a.parquet", "b.parquet", name="rows", says="700 documents, 1 rows without a text left out")
        for split in ("train", "val"):
            same = [(work.folder / f"out/{name}_{split}_000000.bin").read_bytes() for name in ("lines", "rows")]
            check(same[0] == same[1], f"{split}: the shards differ")
        check(convert("a.parquet").count("\n") == 400, "lines on standard output")

        work.fails(3, "data", "tokenize", "a.parquet", "--tokenizer", "data", "--out", "out", "--name", "direct", says=("is a Parquet file", "parquet_to_jsonl.py"))
        write("other.parquet", DOCUMENTS[:5], column="content")
        convert("a.parquet", "other.parquet", code=3, says="has no column text; of texts it has content")
        convert("a.parquet", "--column", "id", code=3, says="column id holds int64, not text")
        convert("absent.parquet", code=3, says="absent.parquet")
        # Damaged in the middle, which shows when half of it has been handed on: no shards are left of that half.
        damaged = bytearray((work.folder / "a.parquet").read_bytes())
        middle = len(damaged) // 2
        damaged[middle : middle + 400] = bytes(400)
        (work.folder / "damaged.parquet").write_bytes(damaged)
        tokenize("a.parquet", "damaged.parquet", name="half", code=3)
        check(not list((work.folder / "out").glob("half*")), "shards of a damaged file")
        convert("a.parquet", "--", work.temper, "data", "tokenize", "-", "--tokenizer", "absent", "--out", "out", "--name", "x", code=3, says="absent")


if __name__ == "__main__":
    main()
