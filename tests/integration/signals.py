"""signals.py TEMPER: SIGTERM and SIGINT, in training and in evaluation, save a checkpoint and end with 75; going on gives the
same bits. A second signal ends at once."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from harness import Workspace, check, final_bytes, metrics, seed_of


def wait_for(condition, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"waited {seconds} s for {what}")
        time.sleep(0.002)


def listens(process) -> bool:
    """Whether the process has a handler for SIGTERM by now; before, a signal ends it as it ends any program."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def main() -> None:
    with Workspace(sys.argv[1]) as work, seed_of("signals") as draw:
        # Evaluation is most of the time here, so that random moments fall into it too. Diagnostics belong to a line that waits for one.
        work.write_config(
            "config.json",
            {"train": {"steps": 120}, "eval": {"every": 3, "tokens": 0}, "checkpoint": {"every": 50}, "diagnostics": {"every": 1}},
        )
        work.ok("train", "config.json", "--out", "straight", timeout=300)

        in_evaluation = 0
        stops = 0
        resume: list[str] = []
        while True:
            process = work.start("train", "config.json", "--out", "stopped", *resume)
            wait_for(lambda: process.poll() is not None or (work.folder / "stopped" / "metrics.jsonl").exists(), "the run to start")
            wait_for(lambda: process.poll() is not None or listens(process), "the run to listen to signals")
            time.sleep(draw.uniform(0.0, 0.3))
            chosen = draw.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
            if stops < 12 and process.poll() is None:
                process.send_signal(chosen)
            _, err = process.communicate(timeout=120)
            # A signal that comes when all is done and the program is on its way out ends it as any program.
            if process.returncode == 0 or (process.returncode == -chosen and (work.folder / "stopped" / "summary.json").exists()):
                break
            check(process.returncode == 75, f"{chosen.name}: exit {process.returncode} instead of 75:\n{err}")
            check(chosen.name in err and "--resume" in err, f"{chosen.name}: the message does not say what to do:\n{err}")
            newest = work.checkpoints("stopped")[-1]
            in_evaluation += '"pending": {' in (newest / "trainer.json").read_text()
            stops += 1
            resume = ["--resume"]
        check(stops >= 3, f"only {stops} signals reached the run")
        check(in_evaluation >= 1, "no signal fell into an evaluation")
        check(final_bytes(work.folder / "straight") == final_bytes(work.folder / "stopped"), "the final tensors differ")
        check(metrics(work.folder / "straight") == metrics(work.folder / "stopped"), "metrics.jsonl differs beyond its timing")
        print(f"{stops} signals, {in_evaluation} of them in evaluations: exit 75 each time, same bits in the end")

        # The first signal asks, the second one ends it, whatever it is doing.
        work.write_config("long.json", {"train": {"steps": 100000}, "batch": {"tokens_per_step": 32 * 4 * 2000}, "eval": {"every": 0}})
        process = work.start("train", "long.json", "--out", "twice")
        wait_for(lambda: (work.folder / "twice" / "metrics.jsonl").exists() and (work.folder / "twice" / "metrics.jsonl").stat().st_size > 0,
                 "the first evaluation")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        check(process.returncode == 143, f"two signals: exit {process.returncode} instead of 143")
        check(time.monotonic() - begin < 1.0, "the second signal took over a second")
        print("a second signal ends at once with 143")


main()
