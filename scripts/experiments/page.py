#!/usr/bin/env python3
"""Judges the effects of effects.py by what is in docs/experiments and writes the verdicts into docs/experiments.md, between its marks.

  scripts/experiments/page.py            # after run.py
  scripts/experiments/page.py --check    # whether the page is what the results give; 1: not
  scripts/experiments/page.py --again /tmp/again     # whether effects that are seen have the same sign in other results, of other seeds
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from effects import EFFECTS, PAPERS, VISIBLE, Effect, Results
from judging import Estimate, holm, p_value
from trials import markdown_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/experiments.md"
RESULTS = ROOT / "docs/experiments"
LEVEL = 0.05


@dataclass(frozen=True)
class Judged:
    effect: Effect
    estimate: Estimate | None  # of two seeds or more; none where it was not run
    p: float = 1.0  # Holm's
    for_the_paper: bool = False

    @property
    def verdict(self) -> str:
        if self.estimate is None:
            return "not run yet"
        if self.p >= LEVEL:
            return "not seen"
        return "**seen**" if self.for_the_paper else "**reversed**"


def judge(results: Results) -> list[Judged]:
    """All effects; those that were not run count among the comparisons too, as they will."""
    estimates = []
    for effect in EFFECTS:
        by_seed = effect.number(results) if all(results.trials(name) for name in effect.experiments) else {}
        estimates.append(Estimate(tuple(by_seed[seed] for seed in sorted(by_seed))) if len(by_seed) > 1 else None)
    raw = [p_value(one, effect.margin) if one else (1.0, False) for one, effect in zip(estimates, EFFECTS)]
    return [Judged(effect, one, p, side) for effect, one, p, (_, side) in zip(EFFECTS, estimates, holm([p for p, _ in raw]), raw)]


def row(one: Judged) -> list[str]:
    effect = one.effect
    paper_side = "> 0" if effect.margin is None else f"within ±{effect.margin:g}"
    cells = [effect.name, effect.claim, f"{effect.measured}, {effect.unit}", paper_side]
    if one.estimate is None:
        return [*cells, "", "", "", one.verdict]
    visible = one.estimate.visible(LEVEL / len(EFFECTS))
    return [*cells, f"{one.estimate.text()} ({one.estimate.n})", f"{one.p:.2g}", f"{visible:.3f}", one.verdict]


HEADER = ["effect", "the paper says", "measured", "its side", "result ± 95 % (seeds)", "p, Holm", "could see", "here"]


def verdicts(judged: list[Judged], letter: str) -> str:
    return markdown_table(HEADER, [row(one) for one in judged if one.effect.name.startswith(letter)])


def remark(judged: list[Judged]) -> str:
    known = [one for one in judged if one.estimate is not None]
    counts = {word: sum(one.verdict.strip("*") == word for one in known) for word in ("seen", "not seen", "reversed")}
    in_nats = [one.estimate.visible(LEVEL / len(EFFECTS)) for one in known if one.effect.unit == "nats"]
    power = f" Of the {len(in_nats)} in nats, {sum(one <= VISIBLE for one in in_nats)} could have been seen at {VISIBLE:g} nats or less." if in_nats else ""
    return (f"{len(EFFECTS)} effects, {len(known)} of them run: {counts['seen']} seen, {counts['not seen']} not seen, {counts['reversed']} reversed.{power}")


def filled(text: str, judged: list[Judged]) -> str:
    parts = {f"verdicts {letter}": verdicts(judged, letter) for letter in PAPERS} | {"remark": remark(judged)}
    for name, content in parts.items():
        text, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"page.py: {PAGE} has {count} places marked <!-- {name} -->, not one")
    return text


def again(first: list[Judged], second: list[Judged]) -> int:
    """Signs of the effects that are seen, in results of other seeds; how many differ."""
    rows, differ = [], 0
    for one, other in zip(first, second):
        if one.verdict.strip("*") != "seen" or other.estimate is None:
            continue
        same = other.for_the_paper
        differ += not same
        rows.append([one.effect.name, one.effect.claim, one.estimate.text(), f"{other.estimate.text()} ({other.estimate.n})", "same" if same else "**other**"])
    print(markdown_table(["effect", "the paper says", "result", "again", "sign"], rows))
    return differ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--again", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    judged = judge(Results(RESULTS))
    if arguments.again:
        return 1 if again(judged, judge(Results(arguments.again))) else 0
    before = PAGE.read_text()
    after = filled(before, judged)
    if arguments.check:
        if after != before:
            print(f"page.py: {PAGE} is not what the results give; run scripts/experiments/page.py", file=sys.stderr)
        return int(after != before)
    PAGE.write_text(after)
    print(remark(judged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
