"""experiments.py REPOSITORY: every table of docs/experiments.md is what the scripts print from the results in docs/experiments, and
Student's quantiles are those of a published table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness import check

REPOSITORY = Path(sys.argv[1])
SCRIPTS, RESULTS = REPOSITORY / "scripts" / "experiments", REPOSITORY / "docs" / "experiments"
sys.path.append(str(SCRIPTS))
from trials import Family, Judged, estimate, student_t95  # noqa: E402

QUANTILES = {1: 12.7062047, 2: 4.3026527, 3: 3.1824463, 4: 2.7764451, 5: 2.5705818, 9: 2.2621572, 10: 2.2281389, 30: 2.0422725, 1000: 1.9623391}
COMMANDS = [
    ["plot_decay.py", "--cosine", "decay-cosine-small.csv", "--constant", "decay-constant-small.csv", "--branches", "decay-cosine-small-branches.csv",
     "--constant-branches", "decay-constant-small-branches.csv"],
    ["plot_rate_decay.py", "rate-decay-small.csv"],
    ["plot_warmup.py", "warmup-small.csv"],
    ["coordinate_check.py", "--from", "coordinate-check.json"],
]


def main() -> None:
    for degrees, published in QUANTILES.items():
        check(abs(student_t95(degrees) - published) < 1e-6, f"t of {degrees}: {student_t95(degrees)} and not {published}")
    for degrees, comparisons, published in ((2, 5, 9.9248432), (10, 10, 3.5814062), (1, 5, 63.6567412)):  # t at 0.995, 0.9975, 0.995
        check(abs(student_t95(degrees, comparisons) - published) < 1e-6, f"t of {degrees} for {comparisons}: {student_t95(degrees, comparisons)}")
    family = Family()
    difference = family.paired_difference({1: 3.2, 2: 3.4, 3: 9.0}, {1: 3.0, 2: 3.5})
    check(difference.text() == "+0.0500 ± 1.9059" and difference.verdict("higher", "lower") == "not decidable with 2 seeds", str(difference))
    cell = Judged(family.paired_difference({1: 3.2, 2: 3.22}, {1: 3.0, 2: 3.0}), "higher", "lower")
    check(str(cell) == "+0.2100 ± 0.2545, not decidable with 2 seeds", f"of two comparisons, each by t at 0.9875: {cell}")
    check(family.remark().startswith("2 comparisons with an interval, corrected") and family.remark().endswith("leave 0 out: 0."), family.remark())
    alone = Judged(Family().paired_difference({1: 3.2, 2: 3.22}, {1: 3.0, 2: 3.0}), "higher", "lower")
    check(str(alone) == "+0.2100 ± 0.1271, higher", f"the same, alone: {alone}")
    check(estimate([1.0]).interval is None and estimate([1.0]).verdict("higher", "lower") == "one seed: no interval", "a single seed")

    page = (REPOSITORY / "docs" / "experiments.md").read_text()
    rows = 0
    for command in COMMANDS:
        done = subprocess.run([sys.executable, "-B", SCRIPTS / command[0], *command[1:]], cwd=RESULTS, capture_output=True, text=True)
        check(done.returncode == 0, f"{command}:\n{done.stderr}")
        for block in re.split(r"\n\n", done.stdout.strip()):
            check(block.startswith("###") or block in page, f"docs/experiments.md is not what {command[0]} prints:\n{block}")
            rows += block.count("\n| ")
    check(rows > 40, f"only {rows} rows were printed")
    print(f"docs/experiments.md: {rows} rows as the scripts print them")


main()
