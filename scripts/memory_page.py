#!/usr/bin/env python3
"""What of GPT-2 fits on which GPU: docs/memory.md, from `temper train --dry-run --gpu`.

    scripts/memory_page.py [--temper build/release/temper] [--check]

Nothing here was measured on a GPU: these are the allocations that the CUDA backend makes before its first step, summed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/memory.md"
PRESETS = ["gpt2-124m", "gpt2-350m", "gpt2-774m", "gpt2-1558m"]
CARDS = ["l4", "4090", "5090", "a100-40", "l40s", "a6000", "a100-80", "h100-80", "h200", "b200"]
TABLES = [
    ("One GPU", ["--ranks", "1"], []),
    ("One GPU, activations recomputed", ["--ranks", "1"], ["train.recompute=block"]),
    ("One of eight GPUs, optimizer states shared (ZeRO-1)", ["--ranks", "8"], ["parallel.zero_stage=1"]),
]


def plan(temper: Path, preset: str, card: str, options: list[str], overrides: list[str]) -> str:
    """A cell: "32 (21.2 GiB)"."""
    words = [str(temper), "train", f"configs/{preset}.json", "--dry-run", "--gpu", card, *options, "batch.micro_batch=auto", *overrides]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    found = re.search(r"batch\.micro_batch (\d+) is the largest", done.stdout)
    if found is None:
        return "–"
    return f"{found[1]} ({re.search(r'^  total +(.*)$', done.stdout, re.M)[1]})"


def page(temper: Path) -> str:
    text = """<!-- Made by scripts/memory_page.py; run it again instead of changing this page. -->
# Memory: what fits on which GPU

The largest `batch.micro_batch` of each preset (bf16, sequences of 1,024 tokens, steps of 524,288) that fits, and in brackets what the
run then takes. A GiB is left to the driver and NCCL; of what is left beyond that the head takes up to an eighth of the card for its
logits. `–` means that not even one sequence fits. Predicted from the CUDA backend's own list of allocations, not measured on these cards:

```sh
temper train configs/gpt2-124m.json --dry-run --gpu 4090 batch.micro_batch=auto
```
"""
    for title, options, overrides in TABLES:
        text += f"\n## {title}\n\n| GPU | " + " | ".join(f"`{preset}`" for preset in PRESETS) + " |\n|---|" + "---:|" * len(PRESETS) + "\n"
        for card in CARDS:
            text += f"| {card} | " + " | ".join(plan(temper, preset, card, options, overrides) for preset in PRESETS) + " |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temper", type=Path, default=ROOT / "build/release/temper")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is not what it would be")
    arguments = parser.parse_args()
    text = page(arguments.temper.absolute())
    if arguments.check:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit(f"{PAGE.relative_to(ROOT)} is not what the plan says now; run scripts/memory_page.py")
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
