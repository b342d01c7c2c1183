"""kill_resume.py TEMPER [--kills N]: a run killed with SIGKILL again and again ends as if it had never been.

The final model.safetensors and optimizer.safetensors must equal an undisturbed run's byte for byte, and metrics.jsonl line for
line but for its timing.
"""

from __future__ import annotations

import argparse
import signal
import time

from harness import Workspace, check, final_bytes, metrics, seed_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("temper")
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()

    with Workspace(arguments.temper) as work, seed_of("kill_resume") as draw:
        # Evaluations and saves all through the run, so that kills fall into them too.
        work.write_config("config.json", {"train": {"steps": 400}, "eval": {"every": 7, "tokens": 256}})
        begin = time.monotonic()
        work.ok("train", "config.json", "train.steps=5", "--out", "startup")
        startup = time.monotonic() - begin
        begin = time.monotonic()
        work.ok("train", "config.json", "--out", "straight", timeout=600)
        straight = time.monotonic() - begin

        kills = 0
        starts = 0
        while True:
            resume = ["--resume"] if (work.folder / "killed" / "config.json").exists() else []
            process = work.start("train", "config.json", "--out", "killed", *resume)
            starts += 1
            if kills < arguments.kills:
                time.sleep(draw.uniform(0.0, startup + 2 * straight / arguments.kills))
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    kills += 1
                    continue
            _, err = process.communicate(timeout=600)
            check(process.returncode == 0, f"after {kills} kills the run ended with {process.returncode}:\n{err}")
            if kills >= arguments.kills:
                break
            print(f"the run was done after {kills} kills; it starts over")
            work.folder.joinpath("killed").rename(work.folder / f"done-{kills}")

        check(final_bytes(work.folder / "straight") == final_bytes(work.folder / "killed"), "the final tensors differ")
        check(metrics(work.folder / "straight") == metrics(work.folder / "killed"), "metrics.jsonl differs beyond its timing")
        leftovers = list((work.folder / "killed" / "checkpoints").glob("*.tmp"))
        print(f"{kills} kills, {starts} starts of a run of 400 steps and {straight:.1f} s: final tensors and metrics equal; temporary folders left: {len(leftovers)}")


main()
