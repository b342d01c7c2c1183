#!/usr/bin/env python3
"""Prints what TensorBoard itself reads from a run: every scalar tag with its steps and values.

    pip install tensorboard
    scripts/compare/tfevents_check.py RUN_DIR

RUN_DIR is a run of temper (its tensorboard/ is read) or any folder with event files. The exit code is 1 when TensorBoard finds
no scalar, or a tag whose steps do not increase, as they would not if a resumed run repeated steps.
"""

import argparse
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=pathlib.Path)
    folder = parser.parse_args().run_dir
    if (folder / "tensorboard").is_dir():
        folder = folder / "tensorboard"

    accumulator = EventAccumulator(str(folder), size_guidance={SCALARS: 0})  # 0: keep every value
    accumulator.Reload()
    tags = sorted(accumulator.Tags()["scalars"])
    in_order = True
    for tag in tags:
        events = accumulator.Scalars(tag)
        print(f"{tag}  {len(events)} values")
        for event in events:
            print(f"  step {event.step}  {event.value:.9g}")
        if any(later.step <= earlier.step for earlier, later in zip(events, events[1:])):
            print(f"{tag}: steps do not increase", file=sys.stderr)
            in_order = False
    if not tags:
        print(f"no scalars in {folder}", file=sys.stderr)
    return 0 if tags and in_order else 1


if __name__ == "__main__":
    sys.exit(main())
