"""What the end-to-end tests share: the program, a small run that takes milliseconds a step, and ways to look at a run.

Every test is a script: `name.py TEMPER [more]`. It makes its data itself, prints what it saw, and exits non-zero on a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77  # the exit code that CTest calls a skipped test
TIMING_FIELDS = ("tokens_per_second", "seconds", "mfu")
WORDS = "the a old young king queen river mountain said walked saw found and but then never always slowly gold silver".split()


def text(words: int, seed: int) -> str:
    """Something with enough structure for a model to learn."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) + ("." if draw.random() < 0.1 else "") for _ in range(words)) + "\n"


def heed_signals() -> None:
    """temper leaves signals ignored that are so when it starts; a test may run under nohup."""
    for each in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)


class Workspace:
    """A folder with a tokenizer, shards and a configuration; everything is removed at the end."""

    def __init__(self, temper: str) -> None:
        self.temper = temper
        self._temporary = tempfile.TemporaryDirectory(prefix="temper-test-")
        self.folder = Path(self._temporary.name)
        (self.folder / "text.txt").write_text(text(20000, 1))
        self.ok("data", "train-tokenizer", "text.txt", "--vocab-size", "300", "--out", "data")
        self.ok("data", "tokenize", "text.txt", "--tokenizer", "data", "--out", "data", "--name", "t", "--val-fraction", "0.1")
        self.write_config("config.json", {})

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *unused: object) -> None:
        self._temporary.cleanup()

    def write_config(self, name: str, changes: dict) -> None:
        config = {
            "name": "test",
            "seed": 7,
            "device": "cpu",
            "model": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_ctx": 32, "vocab_size": 300},
            "data": {"train": "data/t_train_*.bin", "val": "data/t_val_*.bin", "tokenizer": "data", "shuffle": True},
            "batch": {"tokens_per_step": 256, "micro_batch": 4},
            "train": {"steps": 60},
            "optimizer": {"learning_rate": 3e-3},
            "schedule": {"name": "cosine", "warmup_steps": 5},
            "eval": {"every": 20, "tokens": 256},
            "checkpoint": {"every": 5, "keep": 2},
        }
        for section, values in changes.items():
            if isinstance(values, dict):
                config[section] = {**config.get(section, {}), **values}
            else:
                config[section] = values
        (self.folder / name).write_text(json.dumps(config, indent=2))

    def start(self, *arguments: str, **options: object) -> subprocess.Popen:
        # One thread: so small a model gains nothing from more, and tests run side by side.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        return subprocess.Popen(
            [self.temper, *arguments],
            preexec_fn=heed_signals,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            env=environment,
            **options,
        )

    def run(self, *arguments: str, timeout: float = 120, **options: object) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def ok(self, *arguments: str, **options: object) -> subprocess.CompletedProcess:
        done = self.run(*arguments, **options)
        check(done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done

    def fails(self, code: int, *arguments: str, says: tuple[str, ...] = (), **options: object) -> subprocess.CompletedProcess:
        """The command must end with this exit code and its message must hold these texts."""
        done = self.run(*arguments, **options)
        check(done.returncode == code, f"{' '.join(arguments)}: expected exit {code}, got {done.returncode}:\n{done.stderr}")
        for part in says:
            check(part in done.stderr, f"{' '.join(arguments)}: the message lacks {part!r}:\n{done.stderr}")
        return done

    def checkpoints(self, run: str) -> list[Path]:
        folder = self.folder / run / "checkpoints"
        return sorted(folder.glob("step-????????")) if folder.exists() else []


def metrics(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without their timing."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING_FIELDS} for line in lines]


def final_bytes(run: Path) -> dict[str, bytes]:
    """The last checkpoint's tensors, as bytes."""
    newest = sorted((run / "checkpoints").glob("step-????????"))[-1]
    return {name: (newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")}


def check(condition: object, message: str) -> None:
    if not condition:
        print(f"FAILED: {message}", file=sys.stderr)
        raise SystemExit(1)


def skip(why: str) -> None:
    """Ends a test that cannot be run on this machine."""
    print(f"SKIPPED: {why}")
    raise SystemExit(SKIPPED)


@contextlib.contextmanager
def seed_of(name: str):
    """A random generator whose seed is printed, so that a failure can be replayed with TEMPER_TEST_SEED."""
    seed = int(os.environ.get("TEMPER_TEST_SEED", random.SystemRandom().randrange(10**9)))
    print(f"{name}: TEMPER_TEST_SEED={seed}")
    yield random.Random(seed)
