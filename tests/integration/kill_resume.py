"""kill_resume.py TEMPER [--kills N]: a run killed again and again, at drawn steps and places, ends as if it had never been.

The final model.safetensors and optimizer.safetensors must equal an undisturbed run's byte for byte, and metrics.jsonl line for
line but for its timing.
"""

from __future__ import annotations

import argparse

from harness import Workspace, at_call, at_line, check, final_bytes, metrics, seed_of

SAVE = 3
# In a folder that is to become a checkpoint: so many calls of each kind there are at least.
CALLS = {"mkdir": 1, "write": 8, "fsync": 5, "rename": 1}


def place(draw, step: int) -> dict[str, str]:
    """A point to which a run comes that has not saved `step` yet. In a save, the steps that train meanwhile have come however far they have."""
    if step % SAVE == 0 and draw.random() < 0.7:
        call = draw.choice(list(CALLS))
        return at_call(call, f"step-{step:08}", draw.randint(1, CALLS[call]))
    return at_line(step, draw.choice(["metrics.jsonl", "diagnostics.jsonl"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("temper")
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()

    steps = 6 * arguments.kills
    with Workspace(arguments.temper) as work, seed_of("kill_resume") as draw:
        # Evaluations and saves all through the run, so that kills fall into them too.
        config = {"train": {"steps": steps}, "eval": {"every": 7, "tokens": 256}, "checkpoint": {"every": SAVE}, "diagnostics": {"every": 1},
                  "schedule": {"context_warmup_steps": steps // 2, "context_start": 8}}
        work.write_config("config.json", config)
        # Several shards, so that kills fall around their ends too.
        work.ok("data", "tokenize", "text.txt", "--tokenizer", "data", "--out", "data", "--name", "t", "--val-fraction", "0.1", "--shard-tokens", "5000", "--overwrite")
        run = ("train", "config.json", "--out", "killed")
        work.ok("train", "config.json", "--out", "straight")

        work.killed_at(at_call("rename", "killed/config.json"), *run)
        half_written = 0
        # Each later than the one before: a step that was saved does not come again.
        for step in sorted(draw.sample(range(1, steps), arguments.kills)):
            point = place(draw, step)
            resume = ["--resume"] if (work.folder / "killed" / "config.json").exists() else []
            work.killed_at(point, *run, *resume)
            half_written += len(list((work.folder / "killed" / "checkpoints").glob("*.tmp")))
            # At most what came after the last interval's end is lost, and that interval where its checkpoint was still being written; this kill may
            # lie inside the save of `step` itself.
            newest = work.checkpoints("killed")[-1:] if (work.folder / "killed" / "checkpoints").exists() else []
            saved = int(newest[0].name.removeprefix("step-")) if newest else 0
            check(saved >= (step - 1) // SAVE * SAVE - SAVE, f"killed at step {step}: the newest checkpoint is of step {saved}")
            if "FAIL_TEXT" in point and draw.random() < 0.2:
                work.killed_at(point, *run, "--resume")  # once more at the same line
        work.ok(*run, "--resume")

        check(final_bytes(work.folder / "straight") == final_bytes(work.folder / "killed"), "the final tensors differ")
        check(metrics(work.folder / "straight") == metrics(work.folder / "killed"), "metrics.jsonl differs beyond its timing")
        diagnostics = [(work.folder / name / "diagnostics.jsonl").read_bytes() for name in ("straight", "killed")]
        check(diagnostics[0] == diagnostics[1], "diagnostics.jsonl differs")
        names = sorted(path.name for path in (work.folder / "killed" / "checkpoints").iterdir())
        check(names == [path.name for path in work.checkpoints("killed")], f"left behind: {names}")
        print(f"{arguments.kills} kills in a run of {steps} steps, {half_written} of them with a checkpoint half written: final tensors and metrics equal, nothing left behind")


main()
