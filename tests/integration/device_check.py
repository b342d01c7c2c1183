"""device_check.py TEMPER REHEARSAL: a GPU's check at its first use, on an emulated GPU (REHEARSAL is the program temper_rehearsal) whose kernels go wrong.

A kernel that is wrong, that crashes, that hangs and that leaves a sticky error: where there is a plain way the run takes it and ends as one that never
had another; where there is none the run ends with the operation's name, error and bound. What was found is looked up the next time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import Workspace, check, is_alive, metrics, wait_until

KINDS = ("wrong", "crash", "hang", "sticky")
TILES = "attention_backward dQ in tiles"
WAY = "attention's gradient in tiles"
SAID = {
    "wrong": "B=1 T=1 H=1 D=64, dqkv: element 0 is NaN or was not written",
    "crash": "crashed with signal 11",
    "hang": "did not end within 10 s",
    "sticky": "kernel {}",
}


class Rehearsal:
    """Runs with one cache folder and with kernels that go wrong."""

    def __init__(self, space: Workspace, name: str, plant: str = "", **more: str) -> None:
        self.space, self.name = space, name
        self.env = {
            "XDG_CACHE_HOME": str(space.folder / f"cache-{name}"),
            "REHEARSAL_PLANT": plant,
            "REHEARSAL_OPERATIONS": "cast,attention_backward,layernorm_backward,add_decay_gradient",
            "REHEARSAL_WORK": "2e5",  # attention of one head with 32 channels, in tiles
            # So that a busy machine is not taken for a kernel that hangs.
            "REHEARSAL_SECONDS": "10" if plant.endswith("hang") else "300",
            **more,
        }
        Path(self.env["XDG_CACHE_HOME"]).mkdir(exist_ok=True)
        self.runs = 0

    def start(self, *changes: str, **env: str):
        self.runs += 1
        self.out = f"runs/{self.name}-{self.runs}"
        return self.space.start("train", "gpu.json", "--out", self.out, *changes, env={**self.env, **env})

    def train(self, *changes: str, code: int = 0, **env: str) -> str:
        return self.ended(self.start(*changes, **env), code)

    def ended(self, process, code: int = 0) -> str:
        done = self.space.end(process)
        check(done.returncode == code, f"{self.name}: ended with {done.returncode}, expected {code}:\n{done.stderr}")
        return done.stderr

    def losses(self) -> list[float]:
        return [line["loss"] for line in metrics(self.space.folder / self.out) if line["loss"] is not None]


CHECKS = "are held against a reference"


def start(bad: dict[str, Rehearsal]) -> dict[str, tuple]:
    return {kind: (each, each.start()) for kind, each in bad.items()}


def with_a_plain_way(space: Workspace, started: dict[str, tuple]) -> None:
    fine = Rehearsal(space, "fine")
    told = fine.train()
    check(CHECKS in told and " bad" not in told, f"a GPU without faults:\n{told}")
    check(CHECKS not in fine.train(), "a GPU that was checked is checked again")
    check(fine.losses(), "no losses")

    for kind, (each, process) in started.items():
        told = each.ended(process)
        said = f"{WAY} is bad here, attention_backward takes its plain way, which is slower: "
        check(said in told and SAID[kind].format(TILES) in told.split(said)[1], f"{kind}:\n{told}")
        check(len(each.losses()) == len(fine.losses()), f"{kind}: {each.losses()}")
        for one, other in zip(each.losses(), fine.losses()):
            check(abs(one - other) < 2e-3, f"{kind}: losses {each.losses()}, in tiles {fine.losses()}")

    again = started["hang"][0]
    first = again.losses()
    told = again.train()  # known now, and so not waited for
    check(CHECKS not in told and f"{WAY} is bad here" in told, f"the second run:\n{told}")
    check(again.losses() == first, f"the second run: {again.losses()}, not {first}")
    doctor = space.ok("doctor", env=again.env).stdout
    check(f"{WAY} is bad here" in doctor, f"doctor says:\n{doctor}")


def without_one(space: Workspace, started: dict[str, tuple]) -> None:
    for kind, (each, process) in started.items():
        told = each.ended(process, 1)
        name = "add_decay_gradient" if kind == "wrong" else "layernorm_backward"
        for part in (f"{name} goes wrong on NVIDIA H200 (compute capability 9.0", "precision=bf16", "device=cpu"):
            check(part in told, f"{kind}: lacks {part!r}:\n{told}")
        said = SAID[kind].format(name) if kind != "wrong" else r"gradients?: error [\d.e-]+, at most 1e-07"
        check(re.search(said, told), f"{kind}: lacks {said}:\n{told}")
        check(not (space.folder / each.out).exists(), f"{kind}: the run has begun")
    bad = {kind: each for kind, (each, _) in started.items()}
    told = bad["hang"].train(code=1)
    check(CHECKS not in told and "layernorm_backward goes wrong" in told and "did not end" in told, f"the second run:\n{told}")
    told = bad["crash"].train("device_check=always", code=0, REHEARSAL_PLANT="")
    check(CHECKS in told, f"always:\n{told}")
    check(CHECKS not in bad["crash"].train(REHEARSAL_PLANT=""), "what was found last does not count")
    bad["wrong"].train("device_check=off")


def when_it_is_made(space: Workspace) -> None:
    run = Rehearsal(space, "when", REHEARSAL_OPERATIONS="cast")
    record = Path(run.env["XDG_CACHE_HOME"]) / "temper" / "gpu_choices"
    check(CHECKS not in run.train("device_check=off"), "off checks")
    check(CHECKS in run.train(), "the first run does not check")
    check(CHECKS in run.train(REHEARSAL_GPU="NVIDIA H100"), "another GPU is not checked")
    check(CHECKS in run.train("precision=fp32"), "another precision is not checked")
    check(CHECKS not in run.train(), "checked twice")
    for line in record.read_text().splitlines():
        if "check bf16 cast" in line:
            record.write_text(record.read_text().replace(line, line.replace("right", "bad: x")))
    told = run.train()
    check(CHECKS in told, f"a damaged line counts:\n{told}")
    record.write_text("somebody's\n")
    check(CHECKS in run.train() and CHECKS in run.train(), "a file that is no record counts")
    check(record.read_text() == "somebody's\n", "somebody's file was replaced")
    shutil.rmtree(record.parent)
    record.parent.write_text("no folder")
    check(CHECKS in run.train(), "without a cache folder")
    # Ranks and trials that begin together: one checks, the others wait for it.
    together = Rehearsal(space, "together", REHEARSAL_OPERATIONS="cast,copy,zero")
    started = [together.start() for _ in range(3)]
    told = [together.ended(each) for each in started]
    check(sum(CHECKS in each for each in told) == 1, f"side by side:\n{told}")


def children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(each) for each in path.read_text().split()]
    return found


def ended_from_outside(space: Workspace) -> None:
    """Somebody else's doing is no fault of the GPU."""
    run = Rehearsal(space, "outside", "histogram=hang", REHEARSAL_OPERATIONS="histogram", REHEARSAL_SECONDS="600")

    def child_of(process, before: int = 0) -> int:
        wait_until(lambda: any(each != before for each in children(process.pid)), "the process that checks")
        return next(each for each in children(process.pid) if each != before)

    process = run.start()
    first = child_of(process)
    os.kill(first, signal.SIGKILL)
    os.kill(child_of(process, first), signal.SIGKILL)
    told = run.ended(process)
    check("could not be checked: crashed with signal 9" in told, f"its processes were killed:\n{told}")

    process = run.start()
    child = child_of(process)
    process.kill()
    process.wait()
    wait_until(lambda: not is_alive(child), "the process that checks to end with its parent")

    process = run.start("device_check=always")
    child_of(process)
    process.send_signal(signal.SIGTERM)
    told = run.ended(process, 1)
    check("could not be checked: stopped by SIGTERM" in told, f"a signal while it is checked:\n{told}")


def from_the_command_line(space: Workspace, temper: str) -> None:
    run = Rehearsal(space, "doctor", f"{TILES}=sticky")
    check("not checked yet" in space.ok("doctor", env=run.env).stdout, "doctor knows what nobody has found")
    told = space.ok("doctor", "--check", "--precision", "bf16", env=run.env).stdout
    lines = [line.split() for line in told.splitlines()]
    check([line[1:3] for line in lines[:4]] == [[each, "right"] for each in run.env["REHEARSAL_OPERATIONS"].split(",")], told)
    check(f"{WAY} is bad here" in told and "error" in lines[3] and "at most" in told, told)
    check(CHECKS not in run.train(), "what doctor found does not count")
    done = space.run("doctor", "--check", env={**run.env, "REHEARSAL_PLANT": "add_decay_gradient=wrong"})
    check(done.returncode == 1 and "fp32 add_decay_gradient" in done.stdout and "BAD" in done.stdout, f"{done.stdout}{done.stderr}")
    check("add_decay_gradient goes wrong" in done.stderr, done.stderr)
    if "cuda        not available" in subprocess.run([temper, "doctor"], capture_output=True, text=True, check=True).stdout:
        done = subprocess.run([temper, "doctor", "--check"], capture_output=True, text=True, check=False)
        check(done.returncode == 2 and "--check: " in done.stderr, f"without a GPU: {done.returncode}, {done.stderr}")


def own_ranks(space: Workspace) -> None:
    """--ranks starts a process for each GPU, which ends with the reason of one. The emulated GPU is no other process's to sum with."""
    done = Rehearsal(space, "ranks").ended(space.start("train", "gpu.json", "device_check=off", "--ranks", "2", "--out", "runs/ranks"), 2)
    check(done.count("NCCL moves the memory of GPUs, and this run is on device emulated") == 2, f"not both ranks spoke:\n{done}")
    print("--ranks 2 on a GPU: two processes, one exit code", flush=True)


def main() -> None:
    temper, rehearsal = sys.argv[1:3]
    with Workspace(rehearsal) as space:
        model = {"n_layer": 1, "n_head": 1, "n_embd": 32, "n_ctx": 8, "vocab_size": 300}
        space.write_config(
            "gpu.json",
            {
                "device": "cuda",
                "precision": "bf16",
                "model": model,
                "batch": {"tokens_per_step": 8, "micro_batch": 1},
                "train": {"steps": 2},
                "schedule": {"warmup_steps": 1},
                "eval": {"every": 2, "tokens": 8},
                "checkpoint": {"every": 2, "keep": 1},
            },
        )
        # All at once: most of the time goes into waiting for what hangs.
        plain = start({kind: Rehearsal(space, kind, f"{TILES}={kind}") for kind in KINDS})
        norms = {kind: Rehearsal(space, f"norm-{kind}", f"layernorm_backward={kind};layernorm_backward_rows={kind}") for kind in KINDS[1:]}
        none = start({"wrong": Rehearsal(space, "decay", "add_decay_gradient=wrong"), **norms})
        begin = time.monotonic()
        with_a_plain_way(space, plain)
        without_one(space, none)
        when_it_is_made(space)
        ended_from_outside(space)
        from_the_command_line(space, temper)
        own_ranks(space)
        print(f"{time.monotonic() - begin:.1f} s")


main()
