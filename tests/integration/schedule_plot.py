"""schedule_plot.py TEMPER SOURCE: `temper config plot`, and the pictures that scripts/plots/schedule.py makes of its table."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import check

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def main() -> None:
    temper, source = sys.argv[1], Path(sys.argv[2])
    config = str(source / "configs" / "quickstart.json")

    def plot(*arguments: str) -> str:
        done = subprocess.run([temper, "config", "plot", config, *arguments], capture_output=True, text=True)
        check(done.returncode == 0, f"config plot {arguments} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def draw(table: str, *arguments: str, cwd: str) -> subprocess.CompletedProcess:
        script = source / "scripts" / "plots" / "schedule.py"
        return subprocess.run([sys.executable, script, *arguments], input=table, capture_output=True, text=True, cwd=cwd)

    charts = plot("optimizer.weight_decay=0.2")
    for part in ("adamw, cosine over 750 steps", "3.00e-03 ┤", "6.00e-04 ┤", "* learning rate", "* weight decay", "* momentum", "749 steps"):
        check(part in charts, f"no {part!r} in\n{charts}")

    table = plot("--json")
    rows = [json.loads(line) for line in table.splitlines()]
    check([row["step"] for row in rows] == list(range(750)), "the table lacks steps")
    check(max(row["learning_rate"] for row in rows) == 3e-3, "the table never reaches the peak rate")
    growing = plot("schedule.batch_warmup_steps=100", "schedule.batch_start_tokens=512", "batch.micro_batch=1", "schedule.context_warmup_steps=100", "schedule.context_start=8",
                   "--json")

    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        here = Path(folder)
        (here / "a.jsonl").write_text(table)
        (here / "b.jsonl").write_text(growing)
        for bad in ("", "x\n", "[]\n", '{"step": 1}\n', table + table.splitlines()[0].replace(":0,", ":NaN,")):
            done = draw(bad, "-o", "bad.svg", cwd=folder)
            check(done.returncode == 1 and "config plot" in done.stderr and "Traceback" not in done.stderr, f"of {bad!r}: {done}")
        done = draw("", "absent.jsonl", "-o", "bad.svg", cwd=folder)
        check(done.returncode == 1 and "absent.jsonl" in done.stderr, f"absent table: {done}")
        check(draw(table, "-o", "bad.pdf", cwd=folder).returncode == 2, "a name that ends in .pdf was taken")

        if not HAS_MATPLOTLIB:
            done = draw(table, "-o", "a.svg", cwd=folder)
            check(done.returncode == 1 and "matplotlib is missing" in done.stderr, f"without matplotlib: {done}")
            print("table and charts as promised; no pictures, since matplotlib is not installed")
            return
        for output, *arguments in (("one.svg",), ("again.svg",), ("one.png",), ("rate.svg", "--panels", "learning_rate"),
                                   ("two.svg", "a.jsonl", "b.jsonl", "--title", "two runs")):
            done = draw(table, *arguments, "-o", output, cwd=folder)
            check(done.returncode == 0, f"{output}: {done.stderr}")
        check((here / "one.png").read_bytes().startswith(b"\x89PNG"), "one.png is no PNG")
        one, two, rate = ((here / name).read_text() for name in ("one.svg", "two.svg", "rate.svg"))
        check(one == (here / "again.svg").read_text(), "the same table gave another picture")
        panels = [picture.count('id="axes_') for picture in (rate, one, two)]
        check(panels == [1, 3, 5], f"panels: {panels} instead of 1, 3 and, where batch and sequences grow, 5")
        check((here / "bad.svg").exists() is False, "an error left a picture")
        print("table, charts and pictures as promised")


main()
