"""ranks.py TEMPER MPIRUN: 1, 2, 3 and 4 ranks with the same global batch train the same model.

With parallel.deterministic the bits are the same, with ZeRO-1 and without; what 4 ranks saved, 1 and 3 go on with. Otherwise losses differ in rounding
only. SIGTERM to one rank saves on all, and so does a shard that is lost. Ranks with different data do not begin. A loss that is not finite ends all in the
same step.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from harness import Workspace, at_call, at_line, check, final_bytes, metrics, text
from mpi_launch import MpiLaunch

STEPS = 12
# Eight micro-batches a step: three ranks do not share them evenly.
CONFIG = {"batch": {"tokens_per_step": 256, "micro_batch": 1}, "train": {"steps": STEPS}, "eval": {"every": 6, "tokens": 160},
          "checkpoint": {"every": 5, "keep": 99}, "log": {"tensorboard": False}, "parallel": {"bucket_mib": 1, "check_every": 4},
          "schedule": {"context_warmup_steps": 9, "context_start": 8}}
OPTIMIZERS = {
    "adamw": {"learning_rate": 3e-3},
    "lion": {"learning_rate": 3e-4},
    "lionar": {"learning_rate": 3e-3, "weight_decay": 0.1},
    # By the halves of a step's micro-batches, which end within a round of three ranks.
    "corrected": {"name": "adamw", "learning_rate": 3e-3, "rate_correction": "momentum"},
}


def same_bits(work: Workspace, launch: MpiLaunch, name: str, optimizer: dict, precision: str = "fp32") -> None:
    work.write_config(f"{name}.json", {**CONFIG, "precision": precision, "optimizer": optimizer})
    alone = f"{name}-1"
    deterministic = "parallel.deterministic=true"
    work.ok("train", f"{name}.json", deterministic, "--out", alone)
    expected, tensors = metrics(work.folder / alone), final_bytes(work.folder / alone)
    check(len(expected) == STEPS + 1, f"{len(expected)} lines of metrics")
    for ranks in (2, 3, 4):
        for stage in (0, 1):
            run = f"{name}-{ranks}-{stage}"
            launch.run(ranks, "train", f"{name}.json", deterministic, f"parallel.zero_stage={stage}", "--out", run)
            found = metrics(work.folder / run)
            check(found == expected, f"{run}: other metrics than by itself:\n{found}\n{expected}")
            check(final_bytes(work.folder / run) == tensors, f"{run}: other weights or states than by itself")
            for rank in range(ranks):
                log = (work.folder / run / "logs" / f"rank-{rank}.log").read_text()
                check(f"step {STEPS}/{STEPS}" in log, f"{run}: the log of rank {rank} lacks the last step")
    print(f"{name}: the bits of one rank, by 2, 3 and 4, with ZeRO-1 and without", flush=True)

    # Saved by four, gone on with by one and three.
    for ranks in (1, 3):
        run = f"{name}-resumed-{ranks}"
        shutil.copytree(work.folder / f"{name}-4-1", work.folder / run)
        for step in (10, STEPS):
            shutil.rmtree(work.folder / run / "checkpoints" / f"step-{step:08}")
        (work.folder / run / "summary.json").unlink()
        arguments = ("train", f"{name}.json", deterministic, "parallel.zero_stage=1", "--out", run, "--resume")
        launch.run(ranks, *arguments) if ranks > 1 else work.ok(*arguments)
        check(metrics(work.folder / run) == expected, f"{run}: another curve than without the interruption")
        check(final_bytes(work.folder / run) == tensors, f"{run}: other weights or states than without the interruption")
    print(f"{name}: saved by 4 ranks, resumed by 1 and 3: the same bits", flush=True)


def halves(work: Workspace, launch: MpiLaunch) -> None:
    """What is measured of a batch's halves depends on no number of ranks."""
    arguments = ("train", "corrected.json", "parallel.deterministic=true", "diagnostics.every=3")
    work.ok(*arguments, "--out", "halves-1")
    expected = (work.folder / "halves-1" / "diagnostics.jsonl").read_bytes()
    check(b'"snr":0.' in expected, "no signal-to-noise ratio was measured")
    for ranks in (2, 3):
        launch.run(ranks, *arguments, "--out", f"halves-{ranks}")
        check((work.folder / f"halves-{ranks}" / "diagnostics.jsonl").read_bytes() == expected, f"{ranks} ranks: other diagnostics than by one")
    print("diagnostics of halves: the bits of one rank, by 2 and 3", flush=True)


def averaged(work: Workspace, launch: MpiLaunch) -> None:
    """Every rank keeps the average of the weights; by ZeRO-1 it is refused."""
    arguments = ("train", "adamw.json", "parallel.deterministic=true", "eval.weight_average=0.9")
    work.ok(*arguments, "--out", "averaged-1")
    average = lambda run: (work.folder / run / "checkpoints" / f"step-{STEPS:08}" / "average.safetensors").read_bytes()
    expected = metrics(work.folder / "averaged-1")
    check(all(line["val_loss_average"] != line["val_loss"] for line in expected if line["step"] in (6, STEPS)), f"no average is evaluated:\n{expected}")
    for ranks in (2, 3):
        launch.run(ranks, *arguments, "--out", f"averaged-{ranks}")
        check(metrics(work.folder / f"averaged-{ranks}") == expected, f"{ranks} ranks: other metrics than by one")
        check(average(f"averaged-{ranks}") == average("averaged-1"), f"{ranks} ranks: another average than by one")
    work.fails(2, *arguments, "parallel.zero_stage=1", "--out", "no", says=("parallel.zero_stage", "eval.weight_average"))
    print("averaged weights: the bits of one rank, by 2 and 3; refused with ZeRO-1", flush=True)


def close_losses(work: Workspace, launch: MpiLaunch, name: str) -> None:
    """Sums over ranks in another order: rounding in f32, about 1e-7 of a gradient, that training carries on."""
    work.ok("train", f"{name}.json", "--out", f"fast-{name}-1")
    expected = metrics(work.folder / f"fast-{name}-1")
    for ranks, stage in ((2, 0), (4, 0), (3, 1), (4, 1)):
        runs = [f"fast-{name}-{ranks}-{stage}-{turn}" for turn in (1, 2)]
        for run in runs:
            launch.run(ranks, "train", f"{name}.json", f"parallel.zero_stage={stage}", "--out", run)
        found = metrics(work.folder / runs[0])
        check(found == metrics(work.folder / runs[1]), f"{ranks} ranks: two runs differ")
        for line, wanted in zip(found, expected, strict=True):
            for key in ("loss", "val_loss", "grad_norm"):
                if wanted.get(key) is not None:
                    difference = abs(line[key] - wanted[key]) / abs(wanted[key])
                    check(difference < 1e-4, f"{ranks} ranks, step {line['step']}: {key} {line[key]}, by one rank {wanted[key]}")
    print(f"{name}, buckets that leave during the backward pass: losses within 1e-4, the same bits each time", flush=True)


def idle(work: Workspace, launch: MpiLaunch) -> None:
    told = "warning     2 of 4 ranks have nothing to compute in each step, which has 2 micro-batches; batch.micro_batch=2 gives each rank 1"
    plan = launch.run(4, "train", "adamw.json", "batch.micro_batch=4", "--dry-run")
    check(plan.count(told) == 1, f"--dry-run of 4 ranks with 2 micro-batches:\n{plan}")
    plan = launch.run(4, "train", "adamw.json", "batch.micro_batch=2", "--dry-run")
    check("nothing to compute" not in plan, f"--dry-run of 4 ranks with 4 micro-batches:\n{plan}")
    print("ranks without a micro-batch: told by --dry-run", flush=True)


def by_itself(work: Workspace, launch: MpiLaunch) -> None:
    """--ranks starts them without a launcher, through the mpirun of the PATH."""
    environment = launch.environment() | {"PATH": f"{Path(launch.mpirun).resolve().parent}:{Path(launch.mpirun).parent}:{os.environ['PATH']}"}
    arguments = ("train", "adamw.json", "parallel.deterministic=true")
    work.ok(*arguments, "--ranks", "2", "--out", "own-2", env=environment)
    check((work.folder / "own-2" / "logs" / "rank-1.log").exists(), "--ranks 2 had no second rank")
    check(final_bytes(work.folder / "own-2") == final_bytes(work.folder / "adamw-1"), "--ranks 2: other weights or states than by itself")
    work.fails(2, *arguments, "--ranks=2", "--out", "own-none", env=environment | {"PATH": ""}, says=("there is no mpirun on the PATH",))
    said = launch.run(2, *arguments, "--ranks", "2", "--out", "own-twice", code=2)
    check("Open MPI has started this process" in said, f"--ranks under mpirun:\n{said}")
    print("--ranks 2: mpirun's bits, refused under mpirun and without it", flush=True)


def doctor(work: Workspace, launch: MpiLaunch) -> None:
    """Every rank stands there with its host and device, and what was measured between them."""
    said = launch.run(3, "doctor", "--ranks", "--mib", "2", "--device", "cpu")
    for rank in range(3):
        check(len(re.findall(rf"^rank {rank} ", said, re.MULTILINE)) == 1, f"rank {rank} is not there once:\n{said}")
    check("3 ranks on 1 host" in said and "all-reduce 2 MiB in " in said and ("pairs " in said or "warning    from rank" in said), said)
    work.fails(2, "doctor", "--ranks", says=("this process is by itself", "mpirun"))
    print("doctor --ranks: who they are and how fast", flush=True)


def stopped(work: Workspace, launch: MpiLaunch) -> None:
    arguments = ("train", "adamw.json", "train.steps=40", "eval.every=0", "parallel.zero_stage=1", "--out", "stopped")
    hold = work.hold(at_line(20))
    process = launch.start(3, *arguments, env=hold.environment)
    hold.wait(process)
    ranks = launch.processes("stopped")
    check(sorted(ranks) == [0, 1, 2], f"processes {ranks}")
    os.kill(ranks[2], signal.SIGTERM)
    hold.release()
    said = launch.end(process)
    check(process.returncode == 75, f"SIGTERM to rank 2: exit {process.returncode}\n{said}")
    check("another rank was asked to stop: saved" in said, said)
    step = metrics(work.folder / "stopped")[-1]["step"]
    check(work.checkpoints("stopped")[-1].name == f"step-{step:08}", "what was saved is not the last step")
    print("SIGTERM to rank 2 of 3: all saved and ended with 75", flush=True)


def different(work: Workspace, launch: MpiLaunch) -> None:
    """A rank with other files, or in another run directory, is named before step 0, on a fresh start and on resuming."""
    elsewhere = work.folder / "elsewhere"
    shutil.copytree(work.folder / "data", elsewhere / "data")
    shutil.copy(work.folder / "adamw.json", elsewhere)
    (elsewhere / "text.txt").write_text(text(20000, 2))
    work.ok("data", "tokenize", "elsewhere/text.txt", "--tokenizer", "data", "--out", "elsewhere/data", "--name", "t", "--val-fraction", "0.1",
            "--overwrite")

    def refused(run: str, other_run: str, folder: Path, *says: str, more: tuple[str, ...] = ()) -> None:
        one, two = (("train", "adamw.json", *more, "--out", str(work.folder / out)) for out in (run, other_run))
        said = launch.run(1, *one, ":", "-n", "1", "-wdir", str(folder), work.temper, *two, code=3)
        for part in says:
            check(part in said, f"the message lacks {part!r}:\n{said}")
        check("is gone" not in said, f"a rank took another's end for its reason:\n{said}")

    data = ("what data.train names: rank 1 on ", "what data.val names: rank 1 on ", "nothing was trained")
    refused("apart", "apart", elsewhere, *data)
    check(not (work.folder / "apart" / "metrics.jsonl").exists(), "a run began on different data")
    refused("apart-2", "apart-3", work.folder, "run directory (--out): rank 1 on ")
    shutil.copytree(work.folder / "fast-adamw-1", work.folder / "apart-4")
    lines = (work.folder / "apart-4" / "metrics.jsonl").read_text()
    refused("apart-4", "apart-4", elsewhere, *data, more=("--resume",))
    check((work.folder / "apart-4" / "metrics.jsonl").read_text() == lines, "a resumed run went on with different data")
    print("ranks with other data or another run directory: exit 3, named before step 0", flush=True)


def lost(work: Workspace, launch: MpiLaunch) -> None:
    """A shard that is cut short while three ranks train from it: all save, name it and end; when it is back they reach the same bits."""
    arguments = ("train", "adamw.json", "train.steps=40", "eval.every=0", "checkpoint.every=0", "parallel.zero_stage=1", "--out")
    launch.run(3, *arguments, "kept")
    shard = work.folder / "data" / "t_train_000000.bin"
    whole = shard.read_bytes()
    hold = work.hold(at_line(20))
    process = launch.start(3, *arguments, "lost", env=hold.environment)
    hold.wait(process)
    os.truncate(shard, 2000)
    hold.release()
    said = launch.end(process)
    shard.write_bytes(whole)
    check(process.returncode == 3, f"a lost shard: exit {process.returncode}\n{said}")
    for part in (shard.name, "Saved ", "--resume"):
        check(part in said, f"the message lacks {part!r}:\n{said}")
    check("is gone" not in said, f"a rank took another's end for its reason:\n{said}")
    launch.run(3, *arguments, "lost", "--resume")
    check(metrics(work.folder / "lost") == metrics(work.folder / "kept"), "another curve than of a run that lost nothing")
    check(final_bytes(work.folder / "lost") == final_bytes(work.folder / "kept"), "other weights than of a run that lost nothing")
    print("a shard cut short under 3 ranks: saved, exit 3, resumed to the same bits", flush=True)


def slow(work: Workspace, launch: MpiLaunch) -> None:
    """What takes rank 0 longer than a collective may wait (clearing away, saving) is waited for."""
    shutil.copytree(work.folder / "stopped", work.folder / "slow")
    leftover = work.folder / "slow" / "checkpoints" / "step-00000001.tmp"
    leftover.mkdir()
    (leftover / "model.safetensors").write_text("left by a kill")
    hold = work.hold({**at_call("unlink", "model.safetensors"), "FAIL_AT": "1+"})
    process = launch.start(3, "train", "adamw.json", "train.steps=40", "eval.every=0", "checkpoint.keep=1", "parallel.timeout_seconds=5", "--out", "slow", "--resume", env=hold.environment)
    for _ in ("the leftover", "the oldest checkpoint, in a save"):
        hold.wait(process)
        time.sleep(8)
        hold.release()
    hold.release_until(lambda: process.poll() is not None, "three ranks to end")
    said = launch.end(process)
    check(process.returncode == 0, f"a slow disk under rank 0: exit {process.returncode}\n{said}")
    print("a disk that is slower than parallel.timeout_seconds: all waited", flush=True)


def suspended(work: Workspace, launch: MpiLaunch) -> None:
    """All ranks at once, as by a paused virtual machine or `scontrol suspend`: nobody was late, so all go on."""
    arguments = ("train", "adamw.json", "train.steps=40", "eval.every=0", "parallel.timeout_seconds=5", "--out", "suspended")
    hold = work.hold(at_line(20))  # rank 0, while the others wait for it
    process = launch.start(3, *arguments, env=hold.environment)
    hold.wait(process)
    ranks = launch.processes("suspended").values()
    for pid in ranks:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(7)
    for pid in ranks:
        os.kill(pid, signal.SIGCONT)
    hold.release()
    said = launch.end(process)
    check(process.returncode == 0, f"suspended for longer than parallel.timeout_seconds: exit {process.returncode}\n{said}")
    print("suspended for longer than parallel.timeout_seconds: all went on", flush=True)


def diverged(work: Workspace, launch: MpiLaunch) -> None:
    explodes = ("optimizer.name=sgd", "optimizer.learning_rate=1000", "optimizer.weight_decay=0.1", "optimizer.grad_clip=0", "schedule.warmup_steps=0")
    said = launch.run(3, "train", "adamw.json", *explodes, "--out", "nan", code=6)
    steps = {line.split(":")[1] for line in said.splitlines() if line.startswith("temper: step")}
    check(len(steps) == 1, f"ranks ended in different steps: {steps}\n{said}")
    check("is gone" not in said, f"a rank took another's end for its reason:\n{said}")
    print(f"not finite: all ended in{steps.pop()}, exit 6", flush=True)

    # All go back to the checkpoint together, as often as they may.
    calm = ("train", "adamw.json", "checkpoint.every=0", "eval.every=0", "parallel.zero_stage=1", "--out", "back")
    launch.run(3, *calm)
    wild = {"train.steps": 40, "optimizer.learning_rate": 1000, "optimizer.weight_decay": 1, "optimizer.grad_clip": 0}
    changes = [word for key, value in wild.items() for word in (f"{key}={value}", "--allow-change", key)]
    said = launch.run(3, *calm, *changes, "train.on_nonfinite=rollback", "train.nonfinite_limit=2", "--resume", code=6)
    check(said.count(f"back at step {STEPS} of 40") == 2, f"not back twice:\n{said}")
    steps = {line.split(":")[1] for line in said.splitlines() if line.startswith("temper: step")}
    check(len(steps) == 1 and "is gone" not in said, f"ranks ended in different steps: {steps}\n{said}")
    found = [line["step"] for line in metrics(work.folder / "back")]
    check(found == list(range(found[-1] + 1)), f"steps of metrics.jsonl after going back: {found}")
    print("not finite with train.on_nonfinite=rollback: all went back twice, then exit 6", flush=True)


def main() -> None:
    with Workspace(sys.argv[1]) as work:
        launch = MpiLaunch(work, sys.argv[2])
        for name, settings in OPTIMIZERS.items():
            same_bits(work, launch, name, {"name": name, **settings})
        # In bf16 the masters are shared among the ranks as well.
        same_bits(work, launch, "bf16", {"name": "adamw", **OPTIMIZERS["adamw"]}, "bf16")
        for name in ("adamw", "corrected"):
            close_losses(work, launch, name)
        halves(work, launch)
        averaged(work, launch)
        idle(work, launch)
        by_itself(work, launch)
        doctor(work, launch)
        stopped(work, launch)
        slow(work, launch)
        suspended(work, launch)
        different(work, launch)
        lost(work, launch)
        diverged(work, launch)


main()
