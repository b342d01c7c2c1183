"""The programs that compare.py runs: temper, and the bench_*.py of this folder in a Python that has temper's peers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class PartError(Exception):
    """Why a part of the comparison has no result."""


@dataclass(frozen=True)
class Ceilings:
    """What this machine does in so many threads and one precision, as `temper bench kernels` finds."""

    copy_bytes_per_second: float
    matmul_flops_per_second: float


@dataclass(frozen=True)
class Programs:
    temper: Path
    pythons: list[str]
    precisions: list[str]
    threads: int
    rounds: int
    seconds: float
    gpt2: Path
    texts: list[Path]

    def run(self, command: list[str], threads: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        # A model of random weights writes bytes that are no text.
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False, env=environment)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            raise PartError(f"{' '.join(command)}: exit {done.returncode}: {last[0]}")
        return done

    def run_temper(self, *words: str, threads: int | None = None) -> subprocess.CompletedProcess[str]:
        return self.run([str(self.temper), *words], threads or self.threads)

    def bench(self, words: list[str], threads: int | None = None) -> dict[str, Any]:
        """The report of `temper bench`."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "report.json"
            self.run_temper("bench", *words, "--device", "cpu", "--json", str(file), threads=threads)
            report: dict[str, Any] = json.loads(file.read_text())
            return report

    def peer(self, script: str, *words: str, threads: int | None = None) -> dict[str, Any]:
        """What a script of this folder prints in the first Python given, as JSON."""
        threads = threads or self.threads
        done = self.run([self.pythons[0], str(HERE / script), *words, "--threads", str(threads)], threads)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def commit(self) -> str:
        """What the program was built from, in short."""
        report = self.bench(["step", "--model", "0.2m", "--batch", "1", "--context", "8", "--steps", "1"])
        return str(report["context"]["commit"])

    def ceilings(self, precision: str, threads: int | None = None) -> Ceilings:
        # The operation itself does not matter, the ceilings around it do.
        context = self.bench(["kernels", "--op", "gelu", "--precision", precision], threads)["context"]
        return Ceilings(context["copy_bytes_per_second"], context["matmul_flops_per_second"])

    def need_data(self) -> None:
        for path in (self.gpt2 / "encoder.json", self.gpt2 / "vocab.bpe"):
            if not path.is_file():
                raise PartError(f"{path} is missing; --gpt2 names the folder of GPT-2's encoder.json and vocab.bpe")
        self.need_texts()

    def need_texts(self) -> None:
        if not self.texts:
            raise PartError("no texts; name some in UTF-8 with --text")

    def make_shards(self, folder: Path) -> None:
        """Vocabulary and shards of the texts, as scripts/quickstart.sh makes them of novels."""
        self.need_texts()
        texts = [str(path) for path in self.texts]
        self.run_temper("data", "train-tokenizer", *texts, "--vocab-size", "2048", "--out", str(folder))
        last = ["--val-inputs", texts.pop()] if len(texts) > 1 else ["--val-fraction", "0.05"]
        self.run_temper("data", "tokenize", *texts, *last, "--tokenizer", str(folder), "--out", str(folder), "--name", "text")
