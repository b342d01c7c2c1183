#!/usr/bin/env python3
"""Keeps a run's summary as a result: with the date, the commit and this machine, which must be the run's own.

    scripts/quickstart.sh && scripts/compare/record_run.py runs/quickstart docs/benchmarks/quickstart_summary.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import provenance

# What a reader has no use for: hashes, and where the run's files are.
LEFT_OUT = {"config_id", "val_fingerprint", "inputs", "checkpoint"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, help="where the result goes")
    arguments = parser.parse_args()
    summary = json.loads((arguments.run / "summary.json").read_text())
    about = {"date": provenance.date(), "commit": provenance.commit(), "machine": provenance.cpu_machine()}
    kept = {key: value for key, value in summary.items() if key not in LEFT_OUT and value is not None}
    provenance.write(arguments.out, about | kept)


if __name__ == "__main__":
    main()
