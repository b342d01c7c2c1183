#!/usr/bin/env python3
"""Measures temper beside its peers on this machine's processor: everything on the CPU that docs/benchmarks.md shows, in one command.

    compare.py --python VENV/bin/python                                 # every part: about two hours on two cores
    compare.py --python VENV/bin/python --only small,writing            # some of them

Each part writes its file into docs/benchmarks/PROCESSOR/ when it is done, so that one that is cut off or fails leaves the others whole;
scripts/benchmarks_page.py then makes a column of each PROCESSOR. Programs that are compared run in turn, round after round. What is in the
tree must be committed and built, since results say their commit. The machine should be idle. Needs nothing but Python itself; the Pythons
given need what requirements.txt lists.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compare_step
import parts
import provenance
import time_runs
from programs import PartError, Programs

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs/benchmarks"
SOURCES = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"  # where GPT-2's own vocabulary is from

Keep = Callable[[str, dict[str, Any]], None]  # writes the file of this name
Part = Callable[[Programs, Keep], None]


def step(programs: Programs, keep: Keep) -> None:
    pythons = [word for python in programs.pythons for word in ("--python", python)]
    words = [*pythons, "--temper", str(programs.temper), "--variants", "eager", "compiled", "--precision", *programs.precisions]
    words += ["--threads", str(programs.threads), "--rounds", str(programs.rounds)]
    report = compare_step.measure(compare_step.parse_arguments(words), {}, lambda so_far: keep("step", so_far))
    failed = [row["error"] for row in report["results"] if "error" in row]
    if failed:
        raise PartError("; ".join(failed))


def operations(name: str, words: list[str]) -> Part:
    def part(programs: Programs, keep: Keep) -> None:
        for precision in programs.precisions:
            report = programs.bench(["kernels", "--precision", precision, *words])
            # The median and its neighbours are what anyone asks for; single repetitions make a file five times as long.
            report["benchmarks"] = [each for each in report["benchmarks"] if "aggregate_name" in each]
            keep(f"{name}_{precision}", report)

    return part


def table(name: str, measure: Callable[[Programs], dict[str, Any]]) -> Part:
    return lambda programs, keep: keep(name, measure(programs))


def timed_runs(measure: Callable[[Path, Path, int], dict[str, Any]]) -> Callable[[Programs], dict[str, Any]]:
    def on_shards(programs: Programs) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            programs.make_shards(Path(folder))
            return measure(programs.temper, Path(folder), programs.rounds)

    return on_shards


PARTS: dict[str, Part] = {
    "step": step,
    "small": table("small", parts.small),
    "products": table("products", parts.products),
    "kernels": operations("kernels", []),
    "updates": operations("updates", ["--op", "optimizer_update"]),
    "writing": table("writing", parts.writing),
    "tokenizing": table("tokenizing", parts.tokenizing),
    "diagnostics": table("diagnostics", timed_runs(time_runs.diagnostics)),
    "ranks": table("ranks", timed_runs(time_runs.ranks)),
    "waiting": table("waiting", timed_runs(time_runs.waiting)),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python",
        action="append",
        required=True,
        help="a Python with PyTorch and what requirements.txt lists; the first is compared with in every part, further ones in step and small",
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts with commas between (default: %(default)s)")
    parser.add_argument("--processor", help="name of the folder of results (default: by /proc/cpuinfo, as in epyc-avx512bf16)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where that folder is (default: docs/benchmarks)")
    parser.add_argument("--temper", type=Path, default=ROOT / "build/release/temper", help="(default: build/release/temper)")
    parser.add_argument("--threads", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one run of a small model (default %(default)s)")
    shared = ROOT.parent / "shared/data"
    parser.add_argument(
        "--gpt2",
        type=Path,
        default=shared / "gpt2",
        help=f"folder with encoder.json and vocab.bpe of {SOURCES} (default: ../shared/data/gpt2)",
    )
    parser.add_argument(
        "--text",
        type=Path,
        nargs="+",
        default=sorted((shared / "text").glob("*.txt")),
        help="texts in UTF-8, a megabyte or more (default: ../shared/data/text/*.txt)",
    )
    parser.add_argument(
        "--dirty", action="store_true", help="measure what is not committed or not built all the same; the files say so"
    )
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    for name in arguments.only:
        if name not in PARTS:
            parser.error(f"--only {name}: no such part; there are {', '.join(PARTS)}")
    for option in ("threads", "rounds", "seconds"):
        if getattr(arguments, option) <= 0:
            parser.error(f"--{option} {getattr(arguments, option)}: expected more than 0")
    return arguments


def known_commit(programs: Programs, dirty: bool) -> str:
    """That of the tree, which must be that of the program."""
    commit = provenance.commit()
    if commit.endswith("-dirty") and not dirty:
        raise SystemExit(
            f"compare.py: the tree has changes that commit {commit[:12]} lacks (git status); commit them, or give --dirty"
        )
    try:
        built = programs.commit()
    except (OSError, PartError) as error:
        raise SystemExit(
            f"compare.py: --temper {programs.temper} does not run; build it: cmake --build --preset release: {error}"
        ) from None
    if not commit.startswith(built) and not dirty:
        raise SystemExit(
            f"compare.py: {programs.temper} was built from commit {built}, the tree is {commit[:12]}; build it again: cmake --build --preset release"
        )
    return commit if commit.startswith(built) else f"{commit.removesuffix('-dirty')}-dirty"


def main() -> int:
    arguments = parse_arguments()
    machine = provenance.cpu_machine()  # before anything runs: the load must be the machine's own
    precisions = ["fp32", "bf16"] if {"amx_bf16", "avx512_bf16"} & set(machine["features"]) else ["fp32"]
    programs = Programs(
        temper=arguments.temper.resolve(),
        pythons=arguments.python,
        precisions=precisions,
        threads=arguments.threads,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        gpt2=arguments.gpt2,
        texts=arguments.text,
    )
    origin = {"commit": known_commit(programs, arguments.dirty), "machine": machine}
    name = arguments.processor or provenance.processor_name(machine["processor"], machine["features"])
    folder = arguments.out / name
    print(f"{machine['processor']}: results go to {folder}", file=sys.stderr)
    if machine["load_average_at_start"] > 0.5:
        print(f"warning: load average {machine['load_average_at_start']:.2f}; the machine is not idle", file=sys.stderr)

    def keep(file: str, report: dict[str, Any]) -> None:
        provenance.write(folder / f"{file}.json", {"date": provenance.date(), **origin, **report})

    failed = []
    for part in arguments.only:
        start = time.monotonic()
        print(f"== {part}", file=sys.stderr)
        try:
            PARTS[part](programs, keep)
        except (Exception, SystemExit) as error:  # whatever it is, the other parts go on
            failed.append(part)
            print(f"compare.py: {part}: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"== {part}: {'failed' if part in failed else 'done'} after {time.monotonic() - start:.0f} s", file=sys.stderr)
    if failed:
        print(f"compare.py: failed: {', '.join(failed)}; the files of the other parts are whole", file=sys.stderr)
    print("scripts/benchmarks_page.py puts the results into docs/benchmarks.md", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
