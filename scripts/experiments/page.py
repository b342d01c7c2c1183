#!/usr/bin/env python3
"""Judges the effects of effects.py by what is in docs/experiments and writes the verdicts into docs/experiments.md, between its marks.

  scripts/experiments/page.py            # after run.py
  scripts/experiments/page.py --check    # whether the page is what the results give; 1: not
  scripts/experiments/page.py --again /tmp/again     # whether effects that are seen have the same sign in other results, of other seeds
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from effects import CHOOSERS, EFFECTS, PAPERS, VISIBLE, Effect, Results
from judging import Estimate, deviation_interval, holm, p_above_zero, p_deviation, p_within
from run import RESULTS, planned_seeds
from trials import markdown_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/experiments.md"

LEVEL = 0.05


@dataclass(frozen=True)
class Judged:
    effect: Effect
    planned: int  # seeds
    ran: int  # of which the experiments' runs are there
    estimate: Estimate | None  # of two seeds or more that have the number
    p: float = 1.0  # Holm's
    for_the_paper: bool = False

    @property
    def whole(self) -> bool:
        return self.ran == self.planned and self.estimate is not None and self.estimate.n == self.planned

    @property
    def verdict(self) -> str:
        if self.ran < self.planned:
            return f"{self.ran} of {self.planned} seeds run" if self.ran else "not run yet"
        if self.p >= LEVEL:
            return "not seen"
        return "**seen**" if self.for_the_paper else "**reversed**"


def tested(effect: Effect, estimate: Estimate) -> tuple[float, bool]:
    if effect.deviation is not None:
        return p_deviation(estimate, effect.deviation)
    return p_above_zero(estimate) if effect.margin is None else p_within(estimate, effect.margin)


def judge(results: Results, seeds_of: Callable[[str], list[int]]) -> list[Judged]:
    """All effects, each by the seeds that `seeds_of` says for its experiments. Where seeds are missing, or have no number (a fit without an optimum), nothing is claimed; it counts among the
    comparisons all the same."""
    rows, raw = [], []
    for effect in EFFECTS:
        planned = set.intersection(*(set(seeds_of(name)) for name in effect.experiments))
        planned = {seed for seed in planned if seed < CHOOSERS}
        ran = planned.intersection(*({trial.seed for trial in results.trials(name)} for name in effect.experiments))
        by_seed = effect.number(results) if ran else {}
        values = tuple(by_seed[seed] for seed in sorted(planned & by_seed.keys()))
        row = Judged(effect, len(planned), len(ran), Estimate(values) if len(values) > 1 else None)
        rows.append(row)
        raw.append(tested(effect, row.estimate) if row.whole else (1.0, False))
    return [dataclasses.replace(row, p=p, for_the_paper=side) for row, p, (_, side) in zip(rows, holm([p for p, _ in raw]), raw)]


def paper_side(effect: Effect) -> str:
    if effect.deviation is not None:
        return f"at most {effect.deviation:g}"
    return "> 0" if effect.margin is None else f"within ±{effect.margin:g}"


def visible(one: Judged) -> float | None:
    """The difference from 0 that could be seen, of effects that are one."""
    return one.estimate.visible(LEVEL / len(EFFECTS)) if one.whole and one.effect.margin is None and one.effect.deviation is None else None


def row(one: Judged) -> list[str]:
    effect = one.effect
    cells = [effect.name, effect.claim, f"{effect.measured}, {effect.unit}", paper_side(effect)]
    if one.estimate is None:
        return [*cells, "", "", "", one.verdict]
    if effect.deviation is not None:
        low, high = deviation_interval(one.estimate)
        result = f"{one.estimate.sd:.4f} ({low:.4f} to {high:.4f})"
    else:
        result = one.estimate.text()
    seen = visible(one)
    return [*cells, f"{result} ({one.estimate.n})", f"{one.p:.2g}", f"{seen:.3f}" if seen is not None else "", one.verdict]


HEADER = ["effect", "the paper says", "measured", "its side", "result ± 95 % (seeds)", "p, Holm", "could see", "here"]


def verdicts(judged: list[Judged], letter: str) -> str:
    return markdown_table(HEADER, [row(one) for one in judged if one.effect.name.startswith(letter)])


def remark(judged: list[Judged]) -> str:
    known = [one for one in judged if one.ran == one.planned]
    counts = {word: sum(one.verdict.strip("*") == word for one in known) for word in ("seen", "not seen", "reversed")}
    in_nats = [seen for one in known if one.effect.unit == "nats" and (seen := visible(one)) is not None]
    power = f" Of the {len(in_nats)} that are differences in nats, {sum(one <= VISIBLE for one in in_nats)} could have been seen at {VISIBLE:g} or less." if in_nats else ""
    return (f"{len(EFFECTS)} effects, {len(known)} of them run: {counts['seen']} seen, {counts['not seen']} not seen, {counts['reversed']} reversed.{power}")


def filled(text: str, judged: list[Judged]) -> str:
    parts = {f"verdicts {letter}": verdicts(judged, letter) for letter in PAPERS} | {"remark": remark(judged)}
    for name, content in parts.items():
        text, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"page.py: {PAGE} has {count} places marked <!-- {name} -->, not one")
    return text


def again(first: list[Judged], second: list[Judged]) -> int:
    """Signs of the differences that are seen, in results of other seeds; how many differ."""
    rows, differ = [], 0
    for one, other in zip(first, second):
        if one.verdict.strip("*") != "seen" or other.estimate is None or one.effect.margin is not None or one.effect.deviation is not None:
            continue
        same = other.estimate.mean > 0
        differ += not same
        rows.append([one.effect.name, one.effect.claim, one.estimate.text(), f"{other.estimate.text()} ({other.estimate.n})", "same" if same else "**other**"])
    print(markdown_table(["effect", "the paper says", "result", "again", "sign"], rows))
    return differ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--again", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    judged = judge(Results(RESULTS), planned_seeds)
    if arguments.again:
        others = Results(arguments.again)
        return 1 if again(judged, judge(others, lambda name: sorted({trial.seed for trial in others.trials(name)}))) else 0
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
