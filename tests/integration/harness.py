"""What the end-to-end tests share: the program, a small run that takes milliseconds a step, and ways to look at a run.

Every test is a script: `name.py TEMPER [more]`. It makes its data itself, prints what it saw, and exits non-zero on a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SKIPPED = 77  # the exit code that CTest calls a skipped test
PATIENCE = 600.0  # seconds after which what a test waits for is taken never to happen; on an idle machine nothing takes a tenth of it
TIMING_FIELDS = ("tokens_per_second", "seconds", "mfu", "checkpoint_pause", "checkpoint_seconds", "checkpoint_gib_per_second")
WORDS = "the a old young king queen river mountain said walked saw found and but then never always slowly gold silver".split()


def text(words: int, seed: int) -> str:
    """Something with enough structure for a model to learn."""
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) + ("." if draw.random() < 0.1 else "") for _ in range(words)) + "\n"


def heed_signals() -> None:
    """temper leaves signals ignored that are so when it starts; a test may run under nohup."""
    for each in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)


def wait_until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        check(time.monotonic() < end, f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.005)


def at_line(step: int, file: str = "metrics.jsonl") -> dict[str, str]:
    """The point of a run, for Hold and killed_at, at which it writes this step's line: trained and evaluated, not yet saved."""
    return {"FAIL_CALL": "write", "FAIL_PATH": file, "FAIL_TEXT": f'"step":{step},'}


def at_call(call: str, path: str, number: int = 1) -> dict[str, str]:
    """The point at which a process does this (write, fsync, rename, mkdir) for the `number`-th time to a path that contains `path`."""
    return {"FAIL_CALL": call, "FAIL_PATH": path, "FAIL_AT": str(number)}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # of a process that has ended and was not waited for, it is empty
    except OSError:
        return False


class Hold:
    """Each process that is started with `environment` waits at a point for `release`, so that a test can do to it what it likes, however fast or
    slow the machine is. Its other threads go on, and it handles signals."""

    def __init__(self, temper: str, folder: Path, point: dict[str, str]) -> None:
        self.folder, self.released = folder, folder.with_name(folder.name + ".released")
        self.folder.mkdir()
        self.released.mkdir()
        self.environment = {**preload(temper), **point, "FAIL_MODE": "hold", "FAIL_HOLD": str(folder)}

    def held(self) -> list[int]:
        """The processes that wait now."""
        return sorted(int(path.name) for path in self.folder.iterdir() if is_alive(int(path.name)))

    def wait(self, process: subprocess.Popen | None = None) -> int:
        """Until a process is held, `process` itself or one that it has started."""
        over = lambda: process is not None and process.poll() is not None  # noqa: E731
        wait_until(lambda: self.held() or over(), "a process to come to the point where it is held")
        if not self.held():
            check(False, f"ended with {process.returncode} before the point where it was to be held:\n{process.communicate()}")
        return self.held()[0]

    def signalled(self, pid: int) -> None:
        """Until the held process has handled a signal."""
        wait_until(lambda: (self.folder / str(pid)).stat().st_size > 0, "a held process to handle a signal")

    def release(self, pid: int | None = None) -> None:
        """This one or all that wait; they are not held again."""
        for path in self.folder.iterdir():
            if pid in (None, int(path.name)):
                path.rename(self.released / path.name)

    def close(self) -> None:
        """What is held, or comes to the point later, ends there."""
        shutil.rmtree(self.folder)

    def release_until(self, condition, what: str) -> None:
        """All, and those that come to the point meanwhile."""

        def let_go() -> bool:
            done = condition()
            if not done:
                self.release()
            return done

        wait_until(let_go, what)


def preload(temper: str) -> dict[str, str]:
    """For tests/support/failing_write.c, which is built beside the program."""
    library = Path(temper).resolve().parent / "tests" / "faults" / "libfailing_write.so"
    check(library.exists(), f"{library} is missing: build the target failing_write")
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "verify_asan_link_order=0"}


class Workspace:
    """A folder with a tokenizer, shards and a configuration; everything is removed at the end, and what was started and still runs is ended."""

    def __init__(self, temper: str) -> None:
        self.temper = temper
        self._started: list[subprocess.Popen] = []
        self._holds = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="temper-test-")
        self.folder = Path(self._temporary.name)
        (self.folder / "text.txt").write_text(text(20000, 1))
        self.ok("data", "train-tokenizer", "text.txt", "--vocab-size", "300", "--out", "data")
        self.ok("data", "tokenize", "text.txt", "--tokenizer", "data", "--out", "data", "--name", "t", "--val-fraction", "0.1")
        self.write_config("config.json", {})

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *unused: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
        self._temporary.cleanup()

    def hold(self, point: dict[str, str]) -> Hold:
        self._holds += 1
        return Hold(self.temper, self.folder / f"hold-{self._holds}", point)

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
        process = subprocess.Popen(
            [self.temper, *arguments],
            preexec_fn=heed_signals,
            cwd=options.pop("cwd", self.folder),
            stdin=subprocess.DEVNULL,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            errors="replace",  # a model may write half a character
            env=environment,
            **options,
        )
        self._started.append(process)
        return process

    @staticmethod
    def end(process: subprocess.Popen) -> subprocess.CompletedProcess:
        """What it ends with by itself."""
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, *arguments: str, **options: object) -> subprocess.CompletedProcess:
        return self.end(self.start(*arguments, **options))

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

    def killed_at(self, point: dict[str, str], *arguments: str, env: dict[str, str] = {}) -> None:
        """The command is no more at this point: as after SIGKILL, a write being half done and any other call not yet."""
        done = self.run(*arguments, env={**env, **preload(self.temper), **point, "FAIL_MODE": "kill"})
        check(done.returncode == 137, f"{' '.join(arguments)}: not killed at {point}, ended with {done.returncode}:\n{done.stderr}")

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
