"""save_faults.py TEMPER: each file operation of a checkpoint fails, is cut short, or is the program's last.

After an error the run must end with exit code 8, say so, and leave its earlier checkpoint whole; after a kill it must resume
and end with the bits of an undisturbed run.
"""

from __future__ import annotations

import re
import shutil
import sys

from harness import Workspace, check, final_bytes, metrics, preload


def in_order(said: str) -> None:
    """What a save did: every file is durable before the name says that the checkpoint is whole, and the name before an older one goes."""
    found = re.findall(r"^failing_write: (\w+) \d+ on (.*): trace$", said, re.MULTILINE)
    # Paths from the checkpoints' folder on: some calls have them relative, some absolute.
    calls = [(call, tuple(path[path.rindex("checkpoints"):] for path in paths.split(" -> "))) for call, paths in found]
    new, folder = "checkpoints/step-00000004", "checkpoints/step-00000004.tmp"
    named = calls.index(("rename", (folder, new)))
    before = calls[:named]
    written = {paths[0] for call, paths in before if call == "write" and paths[0].startswith(folder)}
    check(len(written) >= 5, f"a checkpoint of {len(written)} files: {written}")
    for path in written | {folder}:
        last = max(i for i, (call, paths) in enumerate(before) if call in ("write", "rename", "mkdir") and any(one.startswith(path) for one in paths))
        if path.endswith(".tmp") and path != folder:  # of a file that was renamed when it was whole
            last = max(i for i, (call, paths) in enumerate(before) if call == "write" and paths[0] == path)
        check(("fsync", (path,)) in before[last:], f"{path} is not synced between its last change and the checkpoint's name")
    gone = next(i for i, (call, paths) in enumerate(calls) if ".trash-" in paths[-1])
    check(("fsync", ("checkpoints",)) in calls[named:gone], "an old checkpoint goes before the new one's name is durable")


def main() -> None:
    with Workspace(sys.argv[1]) as work:
        work.write_config(
            "half.json",
            {"model": {"n_layer": 1}, "train": {"steps": 4}, "checkpoint": {"every": 2, "keep": 1}, "eval": {"every": 0}, "schedule": {"warmup_steps": 0}},
        )
        work.ok("train", "half.json", "--out", "straight")
        expected = final_bytes(work.folder / "straight")

        done = work.ok("train", "half.json", "--out", "traced", env={**preload(work.temper), "FAIL_CALL": "any", "FAIL_AT": "1+", "FAIL_PATH": "checkpoints", "FAIL_MODE": "trace"})
        in_order(done.stderr)

        # The run up to its first checkpoint, from which every case starts.
        failing = {**preload(work.temper), "FAIL_PATH": "step-00000004"}
        work.fails(8, "train", "half.json", "--out", "half", env={**failing, "FAIL_CALL": "mkdir"}, says=("step-00000004",))
        check([path.name for path in work.checkpoints("half")] == ["step-00000002"], "the first checkpoint should stand alone")

        # (mode, errno, call, stride): a stride passes over writes between two of the same kind, which would take minutes.
        cases = 0
        for mode, errno, call, stride in (
            ("error", "ENOSPC", "write", 1), ("error", "ENOSPC", "rename", 1), ("error", "EIO", "fsync", 1),
            ("error", "EDQUOT", "write", 5), ("short", "ENOSPC", "write", 7), ("kill", "ENOSPC", "write", 2), ("kill", "ENOSPC", "fsync", 1), ("kill", "ENOSPC", "rename", 1),
        ):
            at = 1 - stride
            while True:
                at += stride
                shutil.rmtree(work.folder / "case", ignore_errors=True)
                shutil.copytree(work.folder / "half", work.folder / "case")
                environment = {**failing, "FAIL_CALL": call, "FAIL_AT": str(at), "FAIL_ERRNO": errno, "FAIL_MODE": mode}
                done = work.run("train", "half.json", "--out", "case", "--resume", env=environment)
                if "failing_write:" not in done.stderr:
                    check(done.returncode == 0, f"{mode} {call} {at}: nothing failed, yet exit {done.returncode}:\n{done.stderr}")
                    break
                cases += 1
                names = [path.name for path in work.checkpoints("case")]
                where = f"{mode} {errno} at {call} {at}"
                if mode == "error":
                    check(done.returncode == 8, f"{where}: exit {done.returncode} instead of 8:\n{done.stderr}")
                    check("step-00000002" in names or "step-00000004" in names, f"{where}: checkpoints left: {names}")
                    check(not list((work.folder / "case" / "checkpoints").glob("*.tmp")), f"{where}: the part that was written stayed")
                elif mode == "short":
                    check(done.returncode == 0, f"{where}: a short write must be continued, got {done.returncode}:\n{done.stderr}")
                else:
                    check(done.returncode == 137, f"{where}: exit {done.returncode} instead of the kill's 137")
                # However it went, going on gives the undisturbed run's bits.
                if done.returncode != 0:
                    work.ok("train", "half.json", "--out", "case", "--resume")
                check(final_bytes(work.folder / "case") == expected, f"{where}: the resumed run's tensors differ")
                check(metrics(work.folder / "case") == metrics(work.folder / "straight"), f"{where}: the metrics differ")
                check(not list((work.folder / "case" / "checkpoints").glob("*.tmp")), f"{where}: a temporary folder was left")
        # A kill while an older checkpoint goes: what is left of it is none, and the newest stands.
        for call in ("rename", "unlink"):
            shutil.rmtree(work.folder / "case", ignore_errors=True)
            shutil.copytree(work.folder / "half", work.folder / "case")
            work.killed_at({"FAIL_CALL": call, "FAIL_PATH": ".trash-", "FAIL_AT": "1" if call == "rename" else "2"}, "train", "half.json", "--out", "case", "--resume")
            check(work.checkpoints("case")[-1].name == "step-00000004", f"killed at a {call} of retention: {work.checkpoints('case')}")
            work.ok("train", "half.json", "--out", "case", "--resume")
            check(final_bytes(work.folder / "case") == expected, f"killed at a {call} of retention: the tensors differ")
            left = [path.name for path in (work.folder / "case" / "checkpoints").iterdir()]
            check(left == ["step-00000004"] or call == "rename" and sorted(left) == ["step-00000002", "step-00000004"], f"killed at a {call} of retention: left {left}")
        # A log on a full disk does not stop a run.
        done = work.ok("train", "half.json", "--out", "logged", env={**failing, "FAIL_PATH": "metrics.jsonl", "FAIL_CALL": "write", "FAIL_AT": "1+"})
        check("metrics.jsonl" in done.stderr and "failing_write:" in done.stderr, f"a full log was not told:\n{done.stderr}")
        check(cases >= 20, f"only {cases} operations were hit: the library or the save changed")
        print(f"{cases} failing operations: each ended as it should and resumed to the same bits")


main()
