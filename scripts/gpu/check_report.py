#!/usr/bin/env python3
"""check_report.py ABOUT TABLE SECONDS FILE: writes the stages of scripts/gpu_check.sh so far, with the machine they ran on, to FILE.

ABOUT is what provenance.py printed before the first stage, TABLE a line a stage: name, result, seconds and detail between tabs. Stages
that ran before, of the other round or with --only, stay in FILE when they were of the same commit.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path


def main() -> None:
    about_file, table, seconds, file = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    about = json.loads(about_file.read_text())
    names = ("name", "result", "seconds", "detail")
    stages = [dict(zip(names, line.split("\t"), strict=True)) for line in table.read_text().splitlines()]
    for stage in stages:
        stage["seconds"] = int(stage["seconds"])
    earlier = json.loads(file.read_text()) if file.exists() else {}
    ran = {stage["name"] for stage in stages}
    run = about["date"]
    if earlier.get("commit") == about["commit"] != "unknown":
        # `runs` has what each start of the script took: this one's earlier stages wrote the file too.
        runs = {**earlier["runs"], run: seconds}
        stages = [stage for stage in earlier["stages"] if stage["name"] not in ran] + stages
    else:
        runs = {run: seconds}
    content = {**about, "seconds": sum(runs.values()), "runs": runs, "stages": stages}
    temporary = about_file.with_name("check.json")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    shutil.move(temporary, file)


if __name__ == "__main__":
    main()
