"""overwrite_faults.py TEMPER: each file operation of a command that replaces files with --overwrite fails, or is its last.

Whatever happens, the files' places hold all of the old ones, or all of the new ones, or are refused by what reads them. After an error
or a kill, a run that fails on its input leaves all of one of them there, and a good run the new ones, and nothing beside them.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import Workspace, check, preload, text

# (mode, errno, call, stride): a stride passes over writes between two of the same kind.
FAULTS = (("kill", "ENOSPC", "rename", 1), ("kill", "ENOSPC", "unlink", 1), ("kill", "ENOSPC", "fsync", 1), ("kill", "ENOSPC", "mkdir", 1),
          ("kill", "ENOSPC", "write", 2), ("error", "EIO", "rename", 1), ("error", "EIO", "fsync", 1), ("error", "ENOSPC", "write", 2))


@dataclass
class Writer:
    name: str
    old: tuple[str, ...]  # without --out OUT or OUT, and without --overwrite
    new: tuple[str, ...]
    bad: tuple[str, ...]  # fails on its input
    read: tuple[str, ...]
    refused: int  # the reader's exit code for what is not all there


def writers(work: Workspace) -> list[Writer]:
    (work.folder / "short.txt").write_text(text(300, 2))
    (work.folder / "bad.jsonl").write_text("not json\n")
    tokenize = ("data", "tokenize", "--tokenizer", "data", "--name", "x")
    train = ("data", "train-tokenizer", "--vocab-size")
    work.ok("train", "config.json", "train.steps=10", "eval.every=0", "--out", "run")
    export = ("export", "run/checkpoints/step-000000")
    shutil.copytree(work.folder / "run/checkpoints/step-00000010", work.folder / "run/checkpoints/step-00000099")
    (work.folder / "run/checkpoints/step-00000099/model.safetensors").write_bytes(b"torn")
    return [
        Writer("shards", (*tokenize, "text.txt", "--shard-tokens", "5000", "--val-fraction", "0.1", "--out", "OUT"), (*tokenize, "short.txt", "--out", "OUT"),
               (*tokenize, "bad.jsonl", "--out", "OUT"), ("train", "config.json", "train.steps=1", "schedule.warmup_steps=0", "data.train=[\"OUT/x_train_*.bin\"]", "eval.every=0",
                                                          "data.val=[]", "--out", "scratch"), 3),
        Writer("vocabulary", (*train, "290", "text.txt", "--out", "OUT"), (*train, "270", "text.txt", "--out", "OUT"),
               (*train, "270", "absent.txt", "--out", "OUT"), ("data", "inspect", "data/t_val_000000.bin", "--tokenizer", "OUT"), 3),
        Writer("model", (export[0], export[1] + "05", "OUT"), (export[0], export[1] + "10", "OUT"), (export[0], export[1] + "99", "OUT"),
               ("import", "OUT", "scratch"), 4),
    ]


def at(words: tuple[str, ...], out: str) -> list[str]:
    return [word.replace("OUT", out) for word in words]


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else {}


def attack(work: Workspace, writer: Writer, fresh: bool) -> int:
    """`fresh`: there are no old files."""
    out = work.folder / "case"
    work.ok(*at(writer.old, f"{writer.name}-old"), "--overwrite")
    work.ok(*at(writer.new, f"{writer.name}-new"), "--overwrite")
    old = {} if fresh else state(work.folder / f"{writer.name}-old")
    new = state(work.folder / f"{writer.name}-new")
    check(old != new and new, f"{writer.name}: nothing to tell the old files from the new ones by")
    cases = refusals = 0
    for mode, errno, call, stride in FAULTS:
        number = 1 - stride
        while True:
            number += stride
            shutil.rmtree(out, ignore_errors=True)
            if not fresh:
                shutil.copytree(work.folder / f"{writer.name}-old", out)
            environment = {**preload(work.temper), "FAIL_PATH": str(out), "FAIL_CALL": call, "FAIL_AT": str(number),
                           "FAIL_MODE": mode, "FAIL_ERRNO": errno}
            # The whole path, so that it is seen in every call.
            done = work.run(*at(writer.new, str(out)), "--overwrite", env=environment)
            where = f"{writer.name}{', no old files' if fresh else ''}: {mode} {errno} at {call} {number}"
            if "failing_write:" not in done.stderr:
                check(done.returncode == 0 and state(out) == new, f"{where}: nothing failed, yet exit {done.returncode}:\n{done.stderr}")
                break
            cases += 1
            if mode == "error" and "run.lock: error" in done.stderr:  # who holds the lock is said for people alone
                check(done.returncode == 0 and state(out) == new, f"{where}: exit {done.returncode}:\n{done.stderr}")
                continue
            check(done.returncode == (137 if mode == "kill" else 8), f"{where}: exit {done.returncode}:\n{done.stderr}")
            if state(out) not in (old, new):
                refusals += 1
                shutil.rmtree(work.folder / "scratch", ignore_errors=True)
                read = work.run(*at(writer.read, str(out)))
                check(read.returncode == writer.refused, f"{where}: {sorted(state(out))} are read with exit {read.returncode}:\n{read.stderr}")
            bad = work.run(*at(writer.bad, str(out)), "--overwrite")
            check(bad.returncode in (3, 4) and state(out) in (old, new), f"{where}, then a run that failed: exit {bad.returncode}, {sorted(state(out))}")
            work.ok(*at(writer.new, str(out)), "--overwrite")
            check(state(out) == new and not list(out.glob(".*")), f"{where}, then a good run: {sorted(out.iterdir())}")
    check(refusals > 0, f"{writer.name}: no fault hit the moment of putting files in place")
    return cases


def main() -> None:
    with Workspace(sys.argv[1]) as work:
        cases = 0
        for writer in writers(work):
            for fresh in (False, True):
                cases += attack(work, writer, fresh)
        check(cases >= 100, f"only {cases} operations were hit: the library or the writers changed")
        print(f"{cases} failing operations: each left all old files, all new ones, or what is refused")


main()
