"""errors.py TEMPER: what goes wrong ends with its own exit code, a message that helps, and earlier checkpoints intact."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from harness import PATIENCE, Workspace, at_call, at_line, check, metrics


def configuration(work: Workspace) -> None:
    work.fails(2, "train", "missing.json", says=("missing.json",))
    (work.folder / "broken.json").write_text('{"model": {"n_layer": 2,}\n')
    work.fails(2, "train", "broken.json", says=("broken.json", "1"))
    work.fails(2, "train", "config.json", "optimizer.learning_rat=1", says=("learning_rat", "optimizer.learning_rate"))
    work.fails(2, "train", "config.json", "optimizer.beta1=1.5", says=("optimizer.beta1", "1.5"))
    work.fails(2, "train", "config.json", "model.n_head=3", says=("n_head", "32"))
    work.fails(2, "train", "config.json", "batch.tokens_per_step=100", says=("tokens_per_step", "100"))
    work.fails(2, "no-such-command")
    work.fails(2, "train", "config.json", "--no-such-option")
    work.fails(2, "train", "config.json", "eval.batches=20", says=("eval.batches", "eval.tokens"))
    work.fails(2, "train", "config.json", "device=cuda", says=("device=cuda", "device=auto"))
    base = json.loads((work.folder / "config.json").read_text()) | {"device": "cuda"}
    (work.folder / "sweep.json").write_text(json.dumps({"base": base, "parameters": {"seed": {"values": [1, 2]}}}))
    work.fails(2, "sweep", "sweep.json", "--out", "on-gpus", says=("device=cuda", "device=auto"))
    check(not (work.folder / "on-gpus").exists(), "a sweep without its GPU began")
    check("2 trials" in work.ok("sweep", "sweep.json", "--out", "on-gpus", "--dry-run").stdout, "no plan of a sweep for GPUs")


def data(work: Workspace) -> None:
    shard = work.folder / "data" / "t_train_000000.bin"
    whole = shard.read_bytes()
    sidecar = work.folder / "data" / "t.json"
    hidden = work.folder / "t.json.hidden"
    sidecar.rename(hidden)  # so that the shards must speak for themselves

    def refused(contents: bytes, *says: str) -> None:
        shard.write_bytes(contents)
        shutil.rmtree(work.folder / "bad", ignore_errors=True)
        work.fails(3, "train", "config.json", "--out", "bad", says=(shard.name, *says))

    refused(b"")
    refused(whole[:700])
    refused(whole[:-2])
    refused(whole + b"xx")
    refused(struct.pack("<i", 12345) + whole[4:], "magic")
    refused(whole[:4] + struct.pack("<i", 9) + whole[8:], "version")
    refused(whole[:8] + struct.pack("<i", 20) + whole[12:1024] + whole[1024:1064])  # too short for one window
    refused(whole[:2000] + struct.pack("<H", 300) + whole[2002:], "300")  # the first token outside the vocabulary
    refused("just a text file, long enough to have a header ".encode() * 50)
    shard.unlink()
    work.fails(3, "train", "config.json", "--out", "bad", says=("t_train",))
    shard.write_bytes(whole)
    hidden.rename(sidecar)
    shutil.rmtree(work.folder / "bad", ignore_errors=True)

    # Shards of another tokenizer.
    work.ok("data", "train-tokenizer", "text.txt", "--vocab-size", "280", "--out", "other")
    work.fails(3, "train", "config.json", "data.tokenizer=other", "--out", "bad", says=("tokenizer",))
    (work.folder / "other" / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    work.fails(3, "train", "config.json", "data.tokenizer=other/tokenizer.json", "--out", "bad2", says=("tokenizer.json",))


def identity(work: Workspace) -> None:
    """Tokens of one tokenizer never meet a model of another, where it can be known."""
    (work.folder / "text2.txt").write_text("another text with other words, and other words again\n" * 400)
    work.ok("data", "train-tokenizer", "text2.txt", "--vocab-size", "280", "--out", "b")
    work.ok("data", "tokenize", "text.txt", "--tokenizer", "b", "--out", "b", "--name", "u", "--val-fraction", "0.1")
    own, other = (json.loads((work.folder / path).read_text())["tokenizer"]["hash"] for path in ("data/t.json", "b/u.json"))
    said = ("two tokenizers", own, other)

    work.write_config("unnamed.json", {"data": {"tokenizer": ""}, "train": {"steps": 6}})
    work.ok("train", "unnamed.json", "--out", "told")
    work.fails(3, "train", "unnamed.json", "data.val=b/u_val_*.bin", "--out", "bad", says=("data.val", *said))
    work.fails(3, "train", "unnamed.json", 'data.train=["data/t_train_*.bin", "b/u_train_*.bin"]', "--out", "bad", says=("data.train", *said))
    work.fails(3, "train", "unnamed.json", "data.train=b/u_train_*.bin", "data.val=b/u_val_*.bin", f"train.init_from={work.checkpoints('told')[-1]}", "--out", "bad",
               says=("start from", *said))
    work.ok("eval", "told", "--data", "data/t_val_*.bin")
    work.fails(3, "eval", "told", "--data", "b/u_val_*.bin", says=("--data", *said))
    (work.folder / "items.txt").write_text("a the a the\n 0\n a\n the\n old\n king\n")
    work.fails(3, "eval", "told", "--hellaswag", "items.txt", "--tokenizer", "b", says=said)
    work.fails(3, "sample", "told", "--tokenizer", "b", "--tokens", "1", says=said)
    work.ok("sample", "told", "--tokenizer", "data", "--tokens", "1")
    work.fails(3, "export", "told", "exported", "--tokenizer", "b", says=said)
    work.ok("export", "told", "exported", "--tokenizer", "data")
    work.fails(3, "import", "exported", "imported", "--tokenizer", "b", says=said)
    done = work.ok("data", "inspect", "data/t_val_000000.bin", "b/u_val_000000.bin")
    check("2 tokenizers" in done.stdout, f"inspect does not tell of two tokenizers:\n{done.stdout}")

    # A sweep's trials are ranked if they had the same data, whatever is there by now.
    sweep = {"base": "unnamed.json", "parameters": {"optimizer.weight_decay": {"values": [0]}}}
    work.ok("data", "tokenize", "text.txt", "--tokenizer", "b", "--out", "c", "--name", "t", "--val-fraction", "0.1")
    work.write_config("unnamed.json", {"data": {"tokenizer": "", "train": ["c/t_train_*.bin"], "val": ["c/t_val_*.bin"]}, "train": {"steps": 6}})
    (work.folder / "data.json").write_text(json.dumps(sweep))
    work.ok("sweep", "data.json", "--out", "swept")
    work.ok("data", "tokenize", "text2.txt", "--tokenizer", "b", "--out", "c", "--name", "t", "--val-fraction", "0.1", "--overwrite")
    work.ok("sweep", "swept")  # nothing is left to train
    sweep["parameters"]["optimizer.weight_decay"]["values"] = [0, 0.1]
    (work.folder / "data.json").write_text(json.dumps(sweep))
    work.fails(3, "sweep", "data.json", "--out", "swept", says=("data.train", "c/t_train_*.bin", "cannot be compared"))
    check(len(list((work.folder / "swept/trials").iterdir())) == 1, "a trial began on other data than the others'")

    work.ok("data", "verify", "data/*.bin")
    work.fails(3, "data", "verify", "data/*.bin", "text.txt", says=("1 of these shards",))


def texts(work: Workspace) -> None:
    """What is no text is neither tokenized nor learnt from."""
    few = "Une fleur sur la table.\n".encode() * 400
    for name, contents, says in (("t.parquet", b"PAR1" + bytes(range(256)) * 8 + b"PAR1", "Parquet"),
                                 ("t.txt", "Où est le café?\n".encode("latin-1") * 400, "LATIN1"),
                                 ("t16.txt", "plain".encode("utf-16-le") * 400, "NUL byte at offset 1"),
                                 ("t.txt.gz", b"\x1f\x8b\x08" + few, "cannot be decoded"),
                                 ("shard.txt", (work.folder / "data/t_val_000000.bin").read_bytes(), "token shard")):
        (work.folder / name).write_bytes(contents)
        work.fails(3, "data", "tokenize", name, "--tokenizer", "data", "--out", "none", "--name", "n", says=(name, says))
        work.fails(3, "data", "train-tokenizer", name, "--vocab-size", "260", "--out", "none", says=(name, says))
    check(not list((work.folder / "none").glob("*")), "files were made of what is no text")
    (work.folder / "few.txt").write_bytes(few + b"caf\xe9\n")
    for command in (("tokenize", "few.txt", "--tokenizer", "data", "--out", "few", "--name", "n"), ("train-tokenizer", "few.txt", "--vocab-size", "260", "--out", "few")):
        done = work.ok("data", *command)
        check("few.txt: 1 byte is not UTF-8" in done.stdout, f"a broken character is not told:\n{done.stdout}")
        check("few.txt: text, 1 document" in done.stdout, f"what the input is is not told:\n{done.stdout}")
    (work.folder / "bad.jsonl").write_text('{"text": "one"}\n{"text": null}\n{"text": "two<|endoftext|>", "score": NaN}\n')
    for command in (("tokenize", "bad.jsonl", "--tokenizer", "data", "--out", "bad", "--name", "n"), ("train-tokenizer", "bad.jsonl", "--vocab-size", "260", "--out", "bad")):
        work.fails(3, "data", *command, says=("bad.jsonl, line 2", "--on-bad-text"))
        done = work.ok("data", *command, "--on-bad-text", "skip")
        for says in ("bad.jsonl: JSON lines, 2 documents", "bad.jsonl: 1 line left out, the first: line 2", "<|endoftext|> stands in it 1 time"):
            check(says in done.stdout, f"{says!r} is not told:\n{done.stdout}")


def checkpoints(work: Workspace) -> None:
    work.ok("train", "config.json", "train.steps=20", "--out", "run")
    work.fails(2, "train", "config.json", "train.steps=20", "--out", "run", says=("--resume",))
    work.fails(4, "train", "config.json", "--out", "nothing-here", "--resume", says=("--out",))

    # A changed run is refused, with both values; some changes may be allowed, others never.
    work.fails(4, "train", "config.json", "train.steps=20", "optimizer.learning_rate=0.1", "--out", "run", "--resume",
               says=("optimizer.learning_rate", "0.003", "0.1", "--allow-change"))
    work.fails(4, "train", "config.json", "train.steps=20", "seed=8", "--out", "run", "--resume", "--allow-change", "seed", says=("seed", "7", "8"))
    work.ok("train", "config.json", "train.steps=24", "--out", "run", "--resume", "--allow-change", "train.steps")
    names = [path.name for path in work.checkpoints("run")]
    check(names[-1] == "step-00000024" and len(names) == 2, f"checkpoint.keep=2, but {names} are there")

    # Damage is found, the older checkpoint is taken and the other one named.
    newest = work.checkpoints("run")[-1]
    for file in ("model.safetensors", "optimizer.safetensors", "trainer.json", "config.json"):
        whole = (newest / file).read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
            (newest / file).write_bytes(damaged)
            work.fails(4, "sample", str(newest), says=(newest.name,))
            done = work.ok("sample", "run", "--tokens", "3")
            check(newest.name in done.stderr, f"{file}: the skipped checkpoint is not named:\n{done.stderr}")
        (newest / file).write_bytes(whole)
    older = work.checkpoints("run")[0]
    (newest / "model.safetensors").unlink()
    (older / "model.safetensors").unlink()
    work.fails(4, "train", "config.json", "train.steps=24", "--out", "run", "--resume", says=("none of the 2 checkpoints", "--start-over"))

    # Without any, a run that had some does not begin anew unless it is told to, and then its logs stay.
    for path in (work.folder / "run" / "checkpoints").iterdir():
        shutil.rmtree(path)
    logged = (work.folder / "run" / "metrics.jsonl").read_bytes()
    for without in ("summary.json", "has_checkpoints"):  # either of them remembers
        kept = (work.folder / "run" / without).read_bytes()
        (work.folder / "run" / without).unlink()
        work.fails(4, "train", "config.json", "train.steps=24", "--out", "run", "--resume", says=("none is left", "--out", "--start-over"))
        (work.folder / "run" / without).write_bytes(kept)
    check((work.folder / "run" / "metrics.jsonl").read_bytes() == logged, "a refused resume changed metrics.jsonl")
    work.fails(2, "train", "config.json", "--out", "run", "--resume", "--start-over")
    for number in (1, 2):
        work.ok("train", "config.json", "train.steps=8", "--out", "run", "--start-over")
        check((work.folder / "run" / "metrics.jsonl.1").read_bytes() == logged, "the old log is not where it was moved")
        check((work.folder / "run" / f"checkpoints.{number}").is_dir(), "the old checkpoints were not moved")
        check([line["step"] for line in metrics(work.folder / "run")] == list(range(9)), "the new log is not the new run's")

    # Killed before any of its renames (and before the new config.json), --start-over leaves nothing that is taken for a run, and its
    # repetition has all of the old one under one number.
    work.ok("train", "config.json", "train.steps=8", "diagnostics.every=4", "--out", "whole")
    (work.folder / "whole" / "logs").mkdir()
    names = {path.name for path in (work.folder / "whole").iterdir()} - {"run.lock"}
    check(len(names) == 8, f"a run has left {names}")
    over = ("train", "config.json", "train.steps=8", "--out", "over")
    for rename in range(1, len(names) + 2):
        shutil.rmtree(work.folder / "over", ignore_errors=True)
        shutil.copytree(work.folder / "whole", work.folder / "over")
        work.killed_at(at_call("rename", "over/", rename), *over, "--start-over")
        if rename > 1:
            work.fails(4, *over, "--resume", says=("no run to resume",))
        if rename <= len(names):
            work.fails(2, *over, says=("--start-over",))
        work.ok(*over, "--start-over")
        moved = {path.name for path in (work.folder / "over").iterdir()}
        mixed = rename <= len(names) and any(name.endswith(".2") for name in moved)  # behind that, it is what the new run began
        check({f"{name}.1" for name in names} <= moved and not mixed, f"killed at rename {rename}: {moved}")
        for name in ("metrics.jsonl", "config.json", "checkpoints/step-00000008/model.safetensors"):
            first, _, rest = name.partition("/")
            check((work.folder / "over" / f"{first}.1" / rest).read_bytes() == (work.folder / "whole" / name).read_bytes(), f"{name} is another one")

    # Fewer steps than were made; nothing is changed.
    config = (work.folder / "run" / "config.json").read_bytes()
    work.fails(4, "train", "config.json", "train.steps=6", "--out", "run", "--resume", "--allow-change", "train.steps", says=("8 steps", "train.steps", "6"))
    check((work.folder / "run" / "config.json").read_bytes() == config, "a refused resume changed config.json")

    # What a kill in the removal of an old checkpoint leaves goes at the next start, also when that saves nothing.
    for name in (".trash-step-00000001", "step-00000002.tmp"):
        (work.folder / "run" / "checkpoints" / name).mkdir()
    work.ok("train", "config.json", "train.steps=8", "--out", "run", "--resume")
    left = [path.name for path in (work.folder / "run" / "checkpoints").iterdir()]
    check(sorted(left) == ["step-00000005", "step-00000008"], f"left behind: {left}")

    done = work.ok("train", "config.json", "train.steps=2", "data.val=data/t_train_*.bin", "optimizer.learning_rate=3", "schedule.warmup_steps=0", "--out", "worse")
    check(" % higher)" in done.stdout, f"a loss that grew: {done.stdout}")
    check("data.val holds the tokens of data.train" in done.stderr, f"validating on the training data is not told:\n{done.stderr}")
    for option, value in (("--temperature", "nan"), ("--top-p", "nan"), ("--seed", "-1"), ("--tokens", "0"), ("--samples", "0"), ("--top-k", "-1")):
        done = work.fails(2, "sample", "run", option, value, says=(option, value, "number from "))
        check(len(done.stderr) < 300, f"{option} {value}: {done.stderr}")


def numeric(work: Workspace) -> None:
    work.write_config("diverge.json", {"optimizer": {"learning_rate": 1000, "weight_decay": 1, "grad_clip": 0}, "schedule": {"name": "constant", "warmup_steps": 0},
                                       "checkpoint": {"every": 1}})
    done = work.fails(6, "train", "diverge.json", "--out", "diverge", says=("step", "not finite", "learning_rate"))
    for checkpoint in work.checkpoints("diverge"):
        work.run("sample", str(checkpoint), "--tokens", "1")
        check(b"nan" not in (checkpoint / "trainer.json").read_bytes().lower(), "a checkpoint holds a NaN")
    check("Traceback" not in done.stderr, "unexpected output")
    # A rate that is too high is not cured by skipping: the limit ends it.
    done = work.fails(6, "train", "diverge.json", "train.on_nonfinite=skip", "train.nonfinite_limit=3", "checkpoint.every=0", "--out", "skipped", says=("3 steps were skipped", "train.nonfinite_limit is 3"))
    check(done.stderr.count("warning: step") == 3, f"not each skipped step is told:\n{done.stderr}")
    work.ok("train", "config.json", "train.steps=8", "train.on_nonfinite=rollback", "train.on_spike=rollback", "--out", "guarded")
    work.ok("train", "config.json", "train.steps=8", "train.on_nonfinite=skip", "--out", "guarded", "--resume")  # may change


    # Weights that are finite and too large for what is made of them.
    work.ok("export", "guarded", "blown")
    model = work.folder / "blown" / "model.safetensors"
    image = model.read_bytes()
    begin = 8 + struct.unpack_from("<Q", image)[0]
    model.write_bytes(image[:begin] + struct.pack("<f", 1e30) * ((len(image) - begin) // 4))
    (work.folder / "items.txt").write_text("a the a the\n0\na\nthe\nold\nking\n")
    work.fails(6, "eval", "blown", "--data", "data/t_val_*.bin", says=("validation loss", "not finite"))
    work.fails(6, "eval", "blown", "--hellaswag", "items.txt", says=("HellaSwag", "not finite"))
    work.fails(6, "sample", "blown", "--tokens", "1", says=("not finite",))
    work.fails(6, "train", "config.json", "train.init_from=blown", "--out", "from-blown", says=("step 0: validation loss", "not finite"))
    check(not (work.folder / "from-blown" / "summary.json").exists(), "a run without a result has a summary")


def output_and_locks(work: Workspace) -> None:
    # A closed standard output does not make a run fail whose work is done.
    read, write = os.pipe()
    os.close(read)
    done = work.run("train", "config.json", "train.steps=10", "--out", "piped", stdout=write)
    os.close(write)
    check(done.returncode == 0, f"closed stdout: exit {done.returncode} instead of 0:\n{done.stderr}")
    check("warning: standard output" in done.stderr, f"closed stdout: not told:\n{done.stderr}")
    check((work.folder / "piped" / "summary.json").exists(), "closed stdout: the run did not reach its end")
    with open("/dev/full", "w") as full:
        for command in (("export", "piped", "piped-out"), ("import", "piped-out", "piped-in")):
            done = work.run(*command, stdout=full)
            check(done.returncode == 0 and "warning: standard output" in done.stderr, f"{command}, full stdout: exit {done.returncode}:\n{done.stderr}")
        done = work.run("config", "show", "config.json", stdout=full)
    check(done.returncode == 8, f"full stdout: exit {done.returncode} instead of 8")

    # Two processes in one run directory.
    shared = ("train", "config.json", "train.steps=10", "--out", "shared")
    hold = work.hold(at_line(8))
    first = work.start(*shared, env=hold.environment)
    hold.wait(first)
    work.fails(8, *shared, "--resume", says=(str(first.pid),))
    first.kill()
    work.end(first)
    work.ok(*shared, "--resume")  # the lock of a dead process is no obstacle

    # Started without standard output and errors, the run has no file of theirs to write into.
    closed = subprocess.run([work.temper, "train", "config.json", "train.steps=10", "--out", "closed"], cwd=work.folder, stdin=subprocess.DEVNULL,
                            preexec_fn=lambda: os.closerange(0, 3), env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=PATIENCE)
    check(closed.returncode == 0, f"closed descriptors: exit {closed.returncode}")
    check([line["step"] for line in metrics(work.folder / "closed")] == list(range(11)), "closed descriptors: metrics.jsonl has other lines")


def hook(work: Workspace) -> None:
    """The command of --hook is told of each event, and whatever it does changes no run."""
    told = 'echo "$TEMPER_EVENT $TEMPER_STEP ${TEMPER_CHECKPOINT##*/} $TEMPER_EXIT_CODE" >> "$TEMPER_RUN_DIR/told"; echo said; exit 1'
    run = ("train", "config.json", "checkpoint.every=4", "--hook", told, "--out", "hooked")
    hold = work.hold(at_line(8))
    process = work.start(*run, "train.steps=12", env=hold.environment)
    hold.wait(process)
    process.terminate()
    hold.release()
    done = work.end(process)
    check(done.returncode == 75 and "--hook, for end at step 8: ended with exit code 1" in done.stderr, f"a hook that fails: exit {done.returncode}\n{done.stderr}")
    work.ok(*run, "train.steps=12", "--resume")
    explodes = ("optimizer.learning_rate=1000", "optimizer.weight_decay=1000", "optimizer.grad_clip=0", "--allow-change", "optimizer.learning_rate",
                "--allow-change", "optimizer.weight_decay", "--allow-change", "optimizer.grad_clip", "--allow-change", "train.steps")
    work.fails(6, *run, "train.steps=40", *explodes, "--resume", says=("not finite",))
    events = [line.split() for line in (work.folder / "hooked" / "told").read_text().splitlines()]
    ends = [event for event in events if event[0] != "checkpoint"]
    check(ends[:2] == [["end", "8", "step-00000008", "75"], ["end", "12", "step-00000012", "0"]], f"told of ends: {ends}")
    check(len(ends) == 3 and ends[2][0] == "failure" and ends[2][-1] == "6", f"told of a failure: {ends}")
    saved = [event[1] for event in events if event[0] == "checkpoint"]
    check("8" in saved and "12" in saved and all(event[2] == f"step-{int(event[1]):08}" for event in events[:-1]), f"told of checkpoints: {events}")
    check((work.folder / "hooked" / "hook.log").read_text() == "said\n" * len(events), "hook.log lacks what the command said")


def links(work: Workspace) -> None:
    """Nothing is written through a symbolic link in a run directory or a sweep; the folder of --out may be one."""
    (work.folder / "disk").mkdir()
    os.symlink("disk", work.folder / "linked")
    work.ok("train", "config.json", "train.steps=5", "diagnostics.every=5", "--out", "linked")
    on = ("train", "config.json", "train.steps=10", "diagnostics.every=5", "--out", "case", "--resume", "--allow-change", "train.steps")
    victim = work.folder / "victim"
    for name in ("run.lock", "metrics.jsonl", "diagnostics.jsonl", "config.json.tmp", "summary.json.tmp", "tensorboard", "checkpoints"):
        shutil.rmtree(work.folder / "case", ignore_errors=True)
        shutil.copytree(work.folder / "disk", work.folder / "case")
        place = work.folder / "case" / name
        if place.is_dir():
            shutil.rmtree(work.folder / "aside", ignore_errors=True)
            place.rename(work.folder / "aside")
            os.symlink("../aside", place)
            inside = sorted((work.folder / "aside").iterdir())
        else:
            place.unlink(missing_ok=True)
            victim.write_text("precious\n")
            os.symlink("../victim", place)
        work.fails(8, *on, says=(str(Path("case") / name), "symbolic link", "--out"))
        check(victim.read_text() == "precious\n", f"{name}: written through a link")
        if name in ("tensorboard", "checkpoints"):
            check(sorted((work.folder / "aside").iterdir()) == inside, f"{name}: files made through a link")

    # A checkpoint that is a link is not resumed from.
    shutil.rmtree(work.folder / "case")
    shutil.copytree(work.folder / "disk", work.folder / "case")
    os.symlink("step-00000005", work.folder / "case" / "checkpoints" / "step-00000009")
    done = work.ok(*on)
    check("step-00000009: is a symbolic link" in done.stderr and "resuming case/checkpoints/step-00000005" in done.stderr, done.stderr)

    (work.folder / "sweep.json").write_text(json.dumps({"base": "config.json", "parameters": {"seed": {"values": [1]}}, "metric": {"name": "loss"}}))
    plan = work.ok("sweep", "sweep.json", "--out", "swept")
    trial = next((work.folder / "swept" / "trials").iterdir())
    check(trial.is_dir(), plan.stdout)
    (trial / "summary.json").unlink()
    (trial / "trial.log").unlink()
    os.symlink(victim, trial / "trial.log")
    work.fails(8, "sweep", "sweep.json", "--out", "swept", says=("trial.log", "symbolic link"))
    (trial / "trial.log").unlink()
    trial.rename(work.folder / "trial-aside")
    os.symlink(work.folder / "trial-aside", trial)
    work.fails(8, "sweep", "sweep.json", "--out", "swept", says=(trial.name, "symbolic link"))
    check(victim.read_text() == "precious\n", "the sweep wrote through a link")


def what_exists(work: Workspace) -> None:
    """One rule for every writer: what is there is an error that names it and the way on; a failed replacement changes nothing."""
    work.ok("train", "config.json", "train.steps=5", "--out", "exists")
    (work.folder / "empty.txt").write_text(" ")
    commands = (
        (("data", "tokenize", "text.txt", "--tokenizer", "data", "--name", "n", "--out"), ("data", "tokenize", "empty.txt", "--tokenizer", "data", "--name", "n", "--out")),
        (("data", "train-tokenizer", "text.txt", "--vocab-size", "300", "--out"), ("data", "train-tokenizer", "text.txt", "--vocab-size", "65536", "--out")),
        (("export", "exists"), ("export", "broken")),
        (("export", "exists", "--format", "llmc-fp32"), ("export", "broken", "--format", "llmc-fp32")),
        (("import", "exists/checkpoints/step-00000005"), ("import", "broken")),
    )

    def state(place: Path) -> dict:
        return {path.name: path.read_bytes() for path in (place.iterdir() if place.is_dir() else [place])}

    for number, (good, bad) in enumerate(commands):
        out = f"out-{number}"
        work.ok(*good, out)
        before = state(work.folder / out)
        check(not any(name.startswith(".") for name in before), f"{good}: left {list(before)}")
        work.fails(2, *good, out, says=(out, "exists already", "--overwrite"))
        check(work.run(*bad, out, "--overwrite").returncode in (2, 3, 4, 8), f"{bad} did not fail")
        check(state(work.folder / out) == before, f"{bad}: a failed replacement changed what was there")
        work.ok(*good, out, "--overwrite")
        check(state(work.folder / out) == before, f"{good}: not the same again")
        check(not list(work.folder.glob(".*")), f"{good}: left {list(work.folder.glob('.*'))}")
    (work.folder / "out-2" / "notes.txt").write_text("mine")
    work.fails(2, "export", "exists", "out-2", "--overwrite", says=("notes.txt", "new folder"))
    work.fails(2, "export", "exists", "data", "--format", "llmc-fp32", "--overwrite", says=("is a folder",))
    work.fails(2, "data", "tokenize", "text.txt", "--tokenizer", "data", "--out", "data", "--name", "vocab", "--overwrite", says=("vocab.json", "another name"))
    # --overwrite replaces what the command itself would write, and nothing else.
    exists = work.folder / "exists"
    before = state(exists / "checkpoints/step-00000005")
    work.fails(2, "data", "tokenize", "text.txt", "--tokenizer", "data", "--out", "exists", "--name", "config", "--overwrite", says=("config.json", "another name"))
    llmc = ("--format", "llmc-fp32", "--overwrite")
    work.fails(2, "export", "exists", "exists/checkpoints/step-00000005/model.safetensors", *llmc, says=("is a checkpoint",))
    work.fails(2, "data", "train-tokenizer", "text.txt", "--vocab-size", "300", "--out", "exists/checkpoints/step-00000005", "--overwrite", says=("is a checkpoint",))
    check(state(exists / "checkpoints/step-00000005") == before, "a checkpoint was written to")
    work.fails(2, "export", "exists", "out-2/notes.txt", *llmc, says=("notes.txt", "another name"))
    os.mkfifo(work.folder / "pipe")
    work.fails(2, "export", "exists", "pipe", *llmc, says=("no regular file",))
    (work.folder / "here").mkdir()
    (work.folder / "here" / "config.json").write_text("mine")
    for arguments in (("export", str(exists), "", "--overwrite"), ("import", str(exists / "checkpoints/step-00000005"), "", "--overwrite"),
                      ("data", "train-tokenizer", "../text.txt", "--vocab-size", "300", "--out", "", "--overwrite")):
        done = work.run(*arguments, cwd=work.folder / "here")
        check(done.returncode == 2 and "is empty" in done.stderr, f"an empty name for a folder: {done}")
    check([path.name for path in (work.folder / "here").iterdir()] == ["config.json"], "an empty name was taken for this folder")
    work.fails(2, "train", "config.json", "--out", "exists", says=("exists", "--resume"))
    (work.folder / "one.json").write_text(json.dumps({"base": "config.json", "parameters": {"seed": {"values": [1]}}, "metric": {"name": "loss"}}))
    work.fails(2, "sweep", "one.json", "--out", "exists", says=("exists", "--out"))


def limited(work: Workspace, limit: str, code: int, *arguments: str, says: tuple[str, ...]) -> None:
    """Under a limit of the shell, temper must end with this code, say these texts and leave no folder."""
    command = f"ulimit {limit}; exec {shlex.join([work.temper, *arguments])} --out limited"
    done = subprocess.run(["bash", "-c", command], cwd=work.folder, capture_output=True, text=True, timeout=PATIENCE)
    check(done.returncode == code, f"ulimit {limit}: exit {done.returncode} instead of {code}:\n{done.stderr}")
    for part in says:
        check(part in done.stderr, f"ulimit {limit}: no '{part}' in:\n{done.stderr}")
    check(not (work.folder / "limited").exists(), f"ulimit {limit}: a folder was made before the run was refused")


def memory(work: Workspace) -> None:
    work.write_config("huge.json", {"model": {"n_layer": 96, "n_head": 96, "n_embd": 12288, "n_ctx": 32}})
    limited(work, "-v 8000000", 5, "train", "huge.json", says=("the run takes", "the program", "a smaller model"))
    # 1,000 windows of 64 at once; what fits must be offered with its size, and fit.
    wide = ("train", "config.json", "model.n_ctx=64", "batch.tokens_per_step=64000", "batch.micro_batch=1000", "model.n_embd=256")
    limited(work, "-v 900000", 5, *wide, says=("what fits: batch.micro_batch=", "MiB)"))


def threads(work: Workspace) -> None:
    """More than there are processors are not started, and one that cannot be is said before anything is written."""
    tokenize = ("data", "tokenize", "text.txt", "--tokenizer", "data", "--name", "t")
    done = work.ok("train", "config.json", "train.steps=6", "--out", "many", env={"OMP_NUM_THREADS": "999999"})
    check("note: OMP_NUM_THREADS=999999: " in done.stderr, f"fewer threads than asked for are not told:\n{done.stderr}")
    done = work.ok(*tokenize, "--threads", "100000", "--out", "many-tokens")
    check("note: --threads=100000: " in done.stderr, f"fewer threads than asked for are not told:\n{done.stderr}")
    if resource.getrlimit(resource.RLIMIT_STACK)[1] == resource.RLIM_INFINITY:
        stacks = "-s 137438953472"  # KiB: all of the address space
        limited(work, stacks, 5, "train", "config.json", says=("cannot start", "ulimit -u", "pids.max"))
        limited(work, stacks, 5, *tokenize, says=("cannot start", "ulimit -u", "pids.max"))
        limited(work, stacks, 5, "data", "train-tokenizer", "text.txt", "--vocab-size", "300", says=("cannot start", "ulimit -u"))


def disk(work: Workspace) -> None:
    """What a save would find out is said before step 1."""
    limited(work, "-f 8", 8, "train", "config.json", says=("ulimit -f", "a checkpoint"))
    many = ("checkpoint.every=1", "checkpoint.keep=1000000", "train.steps=1000000000")
    work.fails(8, "train", "config.json", *many, "--out", "limited", says=("checkpoint.keep=1000000", "are free", "--out"))
    check(not (work.folder / "limited").exists(), "a folder was made before the run was refused")


def main() -> None:
    cases = (configuration, data, identity, texts, checkpoints, numeric, output_and_locks, hook, links, what_exists, memory, threads, disk)
    chosen = sys.argv[2:] or [case.__name__ for case in cases]
    with Workspace(sys.argv[1]) as work:
        for case in cases:
            if case.__name__ in chosen:
                case(work)
                print(f"{case.__name__}: ok")


main()
