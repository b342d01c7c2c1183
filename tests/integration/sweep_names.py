"""sweep_names.py TEMPER SOURCE: names and labels from anywhere harm neither terminal, table, page nor shell; a sweep is looked at without
being written to; and it takes no more processors than it was given.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

from harness import Workspace, check

HARM = "\u001b[31m\u009b31m\u007f\u202e\u2028 \n## <b>`|"
LABELS = ['=HYPERLINK("http://x","y")', "@SUM(A1)", HARM, "-1 and more"]
EVIL = "b [1]\n\u001b[31m\u202e'$(touch harm)`touch harm`"  # a folder's name
NOBODY = 65534


def harmless(what: str, text: str) -> None:
    """Of what is no text to look at, only line ends."""
    bad = {one for one in text if one != "\n" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs")}
    check(not bad, f"{what} has {bad!r}:\n{text!r}")


def said(work: Workspace, *arguments: str) -> str:
    """What temper says, which is harmless."""
    done = subprocess.run([work.temper, *arguments], cwd=work.folder, capture_output=True)
    text = (done.stdout + done.stderr).decode()
    harmless(f"temper {arguments}: ", text)
    check(done.returncode == 0, f"temper {arguments} ended with {done.returncode}:\n{text}")
    return text


def check_names(work: Workspace, plots: str) -> None:
    values = [{"label": label, "optimizer.learning_rate": 1e-3 * (i + 1)} for i, label in enumerate(LABELS)]
    (work.folder / "s.json").write_text(json.dumps({"base": "config.json", "parameters": {"=1+1\n\u001b]0;x\u0007": {"values": values}}}))
    for out in ("b [1]", EVIL):
        said(work, "sweep", "s.json", "--out", out, "--dry-run")
        check("4/4 trials done" in said(work, "sweep", "s.json", "--out", out), f"{out!r}: not all trials are done")
        check("4 finished" in said(work, "sweep", out, "--status"), f"{out!r}: no status")
        text = said(work, "report", out, "--plots", plots)
        best = re.search("^best.json: temper train (.*)$", text, re.MULTILINE)
        check(best is not None, f"no command in\n{text}")
        word = subprocess.run(["bash", "-c", f"printf %s {best[1]}"], cwd=work.folder, capture_output=True, text=True).stdout
        check(word == f"{out}/best.json", f"{best[1]} is {word!r} to a shell")
        folder = work.folder / out
        for name in ("results.md", "results.csv", "trials.csv", "report/report.html"):
            harmless(name, (folder / name).read_text())
        lines = (folder / "results.md").read_text().split("\n\n")[0].splitlines()
        cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}
        check(len(lines) == 6 and len(cells) == 1, f"results.md: {lines}")
        rows = list(csv.reader((folder / "results.csv").open(newline="")))
        check(len(rows) == 5 and len({len(row) for row in rows}) == 1, f"results.csv: {rows}")
        formulas = [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@") and not re.fullmatch(r"[-+]?[0-9.e+-]+", cell)]
        check(not formulas and any(row[1] == "'" + LABELS[0] for row in rows), f"a spreadsheet would run {formulas} of {rows}")
    check(not list(work.folder.glob("**/harm")), "a folder's name was run")


def check_messages(work: Workspace) -> None:
    """No message brings more than a line of what it complains of."""
    (work.folder / "import").mkdir()
    shutil.copy(work.folder / "data" / "tokenizer.json", work.folder / "import")
    (work.folder / "import" / "config.json").write_text(json.dumps({"model_type": "A\u009b" * 10_000_000, "architectures": []}))
    (work.folder / "keys.json").write_text(json.dumps({f"key{i}\n\u202e": i for i in range(2000)}))
    for arguments in (("import", "import", "out"), ("train", "keys.json"), ("train", "no\u001b[31m\nsuch"), ("report", "no\u001b[31m\nsuch"),
                      ("sweep", "no\ntemper: done"), ("--no\u001b[31m\nsuch",), ("train", "config.json", "a\n\u001b=1")):
        done = subprocess.run([work.temper, *arguments], cwd=work.folder, capture_output=True)
        text = done.stderr.decode()
        harmless(f"temper {arguments}", text)
        check(done.returncode not in (0, 1) and len(text) < 20_000, f"temper {arguments} ended with {done.returncode}: {len(text)} bytes")
        other = [line for line in text.splitlines()[1:] if not line.startswith("  ")]
        check(text.startswith("temper: ") and not other, f"temper {arguments}: {other} look like messages of their own:\n{text}")


def check_reading(work: Workspace, plots: str) -> None:
    """Another user, who may read and not write."""
    root = os.geteuid() == 0
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if root else []
    work.folder.chmod(0o755)
    folder = work.folder / "b [1]"
    shutil.rmtree(folder / "report", ignore_errors=True)
    shutil.copy(work.temper, work.folder / "temper")
    shutil.copytree(plots, work.folder / "plots")
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    other = work.folder / "other"
    other.mkdir()
    other.chmod(0o777)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([*user, work.folder / "temper", *arguments], cwd=work.folder, capture_output=True, text=True)

    if root and (shutil.which("setpriv") is None or run("--version").returncode != 0):
        print("looked at by another user: not tried, since setpriv cannot start temper as one")
        return
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    for arguments in (("sweep", "b [1]", "--status"), ("sweep", "s.json", "--out", "b [1]", "--status"), ("sweep", "b [1]", "--dry-run"),
                      ("report", "b [1]", "--json"), ("report", "b [1]", "--plots", "plots", "--out", "other/report")):
        done = run(*arguments)
        check(done.returncode == 0 and len(done.stdout) > 100, f"read-only: temper {arguments}: {done}")
    check((other / "report" / "report.html").exists() and (other / "report" / "results.csv").exists(), "the report for another user")
    done = run("report", "b [1]", "--plots", "plots")
    check(done.returncode == 8 and "rank" in done.stdout and "--out" in done.stderr and "b [1] cannot be written" in done.stderr, f"{done}")
    trial = next((folder / "trials").iterdir()).name
    check(run("report", f"b [1]/trials/{trial}", "--json").returncode == 0, "a run that may only be read")
    after = {path: path.read_bytes() for path in [folder, *folder.rglob("*")] if path.is_file()}
    check(after == before, "a question wrote something")
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)


def check_processors(work: Workspace) -> None:
    """A trial's threads are of the processors that the sweep may use, whatever the machine has."""
    if shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2:
        print("processors: not looked at, since taskset is not installed or there is one only")
        return
    (work.folder / "one.json").write_text(json.dumps({"base": "config.json", "parameters": {"optimizer.beta1": {"values": [0.9]}}, "seeds": [1, 2]}))
    first = str(min(os.sched_getaffinity(0)))
    done = subprocess.run(["taskset", "-c", first, work.temper, "sweep", "one.json", "--out", "one"], cwd=work.folder, capture_output=True, text=True)
    logs = [path.read_text() for path in (work.folder / "one").glob("trials/*/trial.log")]
    check(len(logs) == 2 and all("1 thread" in log and "11 thread" not in log for log in logs), f"threads on one processor: {done}\n{logs}")
    (work.folder / "two.json").write_text(json.dumps({**json.loads((work.folder / "one.json").read_text()), "resources": {"trials_at_once": 2, "threads_per_trial": 1}}))
    done = subprocess.run(["taskset", "-c", first, work.temper, "sweep", "two.json", "--out", "two"], cwd=work.folder, capture_output=True, text=True)
    check(done.returncode == 2 and "threads_per_trial" in done.stderr, f"two processors on one: {done}")
    # The threads of one process that somebody's shell asks for are not those of a sweep.
    codes = [work.run("sweep", "two.json", "--out", "two", env={"OMP_NUM_THREADS": threads}).returncode for threads in ("1", "64")]
    check(codes[0] == codes[1], f"OMP_NUM_THREADS decides whether a sweep runs: {codes}")


def main() -> None:
    plots = str(Path(sys.argv[2]) / "scripts" / "plots")
    with Workspace(sys.argv[1]) as work:
        work.write_config("config.json", {"train": {"steps": 6}, "log": {"tensorboard": False}})
        check_names(work, plots)
        check_messages(work)
        print("names, labels and messages: harmless")
        check_reading(work, plots)
        check_processors(work)


main()
