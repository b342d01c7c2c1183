"""signals.py TEMPER: a signal in set-up, training, evaluation and while saving saves a checkpoint and ends with 75; going on gives the same
bits. A second signal ends at once; one that comes when all is trained changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from harness import Workspace, at_call, at_line, check, final_bytes, heed_signals, metrics, seed_of

STEPS, EVALUATE, SAVE = 72, 6, 8
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


def places(draw) -> list[tuple[str, dict[str, str], int, bool]]:
    """What the run does, the point at which the signal comes, the step that is to be saved, and whether its evaluation is still to be done. While a
    checkpoint is written the run trains, and comes however far it does, but no further than to the next."""
    set_up = at_call("rename", "stopped/config.json")  # after which it evaluates, if that is still to be done
    found = [("sets up", set_up, 0, True), ("evaluates again", set_up, 0, True)]
    training = draw.sample([step for step in range(1, STEPS) if step % EVALUATE and step % SAVE], 8)
    for step in range(1, STEPS):
        if step % EVALUATE == 0:
            # Diagnostics are written before the evaluation that is due, and their summary waits for its line.
            found.append(("evaluates", at_line(step, "diagnostics.jsonl"), step, True))
            if draw.random() < 0.5:
                found.append(("evaluates again", set_up, step, True))
        elif step % SAVE == 0 and step + SAVE < STEPS:
            found.append(("saves", at_call(draw.choice(["mkdir", "write", "fsync", "rename"]), f"step-{step:08}"), step, False))
        elif step in training:
            found.append(("trains", at_line(step), step, False))
    return found


def main() -> None:
    with Workspace(sys.argv[1]) as work, seed_of("signals") as draw:
        work.write_config(
            "config.json",
            {"train": {"steps": STEPS}, "eval": {"every": EVALUATE, "tokens": 384}, "checkpoint": {"every": SAVE}, "diagnostics": {"every": 1}},
        )
        work.ok("train", "config.json", "--out", "straight")

        chosen = list(SIGNALS)
        draw.shuffle(chosen)
        stops = places(draw)
        saved, left = -1, False  # the newest checkpoint, and whether its evaluation is still to be done
        stopped = 0
        for number, (place, point, step, pending) in enumerate(stops):
            if step < saved or (step == saved and not (left and "again" in place)):
                continue
            hold = work.hold(point)
            resume = ["--resume"] if number > 0 else []
            process = work.start("train", "config.json", "--out", "stopped", *resume, env=hold.environment)
            held = hold.wait(process)
            which = chosen[number % len(chosen)]
            process.send_signal(which)
            hold.signalled(held)
            hold.release()
            done = work.end(process)
            what = f"{which.name} where it {place}, step {step}"
            check(done.returncode == 75, f"{what}: exit {done.returncode} instead of 75:\n{done.stderr}")
            check(which.name in done.stderr and "--resume" in done.stderr, f"{what}: the message does not say what to do:\n{done.stderr}")
            newest = work.checkpoints("stopped")[-1]
            saved, left = int(newest.name.removeprefix("step-")), '"pending": {' in (newest / "trainer.json").read_text()
            if place == "saves":
                check(step <= saved <= step + SAVE, f"{what}: {newest.name} was saved")
            else:
                check(saved == step, f"{what}: {newest.name} was saved")
                check(left == pending, f"{what}: is the evaluation still to be done? {left}")
            stopped += 1

        # All is trained and written: there is nothing to save for later.
        hold = work.hold(at_line(STEPS))
        process = work.start("train", "config.json", "--out", "stopped", "--resume", env=hold.environment)
        held = hold.wait(process)
        process.send_signal(signal.SIGTERM)
        hold.signalled(held)
        hold.release()
        done = work.end(process)
        check(done.returncode == 0, f"a signal after the last step: exit {done.returncode}:\n{done.stderr}")
        check(final_bytes(work.folder / "straight") == final_bytes(work.folder / "stopped"), "the final tensors differ")
        check(metrics(work.folder / "straight") == metrics(work.folder / "stopped"), "metrics.jsonl differs beyond its timing")
        diagnostics = [(work.folder / run / "diagnostics.jsonl").read_bytes() for run in ("straight", "stopped")]
        check(diagnostics[0] == diagnostics[1], "diagnostics.jsonl differs")
        print(f"{stopped} signals in set-up, steps, evaluations and saves: exit 75 each time, same bits in the end")

        # Before it has listened: the signal waits until it does.
        def signalled_at_once() -> None:
            heed_signals()
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
            os.kill(os.getpid(), signal.SIGTERM)

        process = subprocess.Popen([work.temper, "train", "config.json", "--out", "at-once"], cwd=work.folder, preexec_fn=signalled_at_once,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        done = work.end(process)
        check(done.returncode == 75 and "SIGTERM" in done.stderr, f"SIGTERM before the beginning: exit {done.returncode}:\n{done.stderr}")
        check([path.name for path in work.checkpoints("at-once")] == ["step-00000000"], "SIGTERM before the beginning: nothing was saved")
        work.ok("train", "config.json", "--out", "at-once", "--resume")
        check(final_bytes(work.folder / "straight") == final_bytes(work.folder / "at-once"), "after SIGTERM before the beginning: other tensors")
        check(metrics(work.folder / "straight") == metrics(work.folder / "at-once"), "after SIGTERM before the beginning: other metrics")

        # The first signal asks, the second one ends it: this one would wait for ever.
        hold = work.hold(at_line(2))
        process = work.start("train", "config.json", "--out", "twice", env=hold.environment)
        held = hold.wait(process)
        process.send_signal(signal.SIGTERM)
        hold.signalled(held)
        process.send_signal(signal.SIGTERM)
        done = work.end(process)
        check(done.returncode == 143, f"two signals: exit {done.returncode} instead of 143")
        print("a second signal ends at once with 143")


main()
