"""What a few seeds say of an effect: Student's t or chi-squared over seeds, Holm's correction over effects.

An effect is one number a seed. A seed is an initialisation and an order of the data, which all runs of that seed share and which accounts for most of
what sets two runs apart: differences are taken within it, and their mean over the seeds is what is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def central_probability(t: float, degrees: int) -> float:
    """That Student's t lies within ±t. The finite series for whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4), as src/sweep/statistics.cpp."""
    if math.isinf(t):
        return 1.0
    angle = math.atan(abs(t) / math.sqrt(degrees))
    odd, cosine = degrees % 2 == 1, math.cos(angle)
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(3 if odd else 2, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    return (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total


def student_t(inside: float, degrees: int) -> float:
    """The t within whose ± lies this probability: 0.95 gives 12.706 for one degree of freedom (two seeds), 4.303 for two, 2.571 for five."""
    low, high = 0.0, 1.0
    while central_probability(high, degrees) < inside:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle, degrees) < inside else (low, middle)
    return high


def chi_squared_above(x: float, degrees: int) -> float:
    """The probability that chi-squared is above x; the finite series for whole degrees of freedom (Abramowitz & Stegun, 26.4.4 and 26.4.5)."""
    odd = degrees % 2 == 1
    total = math.erfc(math.sqrt(x / 2)) if odd else math.exp(-x / 2)
    term = math.sqrt(2 * x / math.pi) * math.exp(-x / 2) if odd else math.exp(-x / 2) * x / 2
    for k in range(3 if odd else 4, degrees + 1, 2):
        total += term
        term *= x / k
    return total


def chi_squared(above: float, degrees: int) -> float:
    """The value above which chi-squared lies with this probability: 0.025 gives 12.833 for five degrees of freedom."""
    low, high = 0.0, 1.0
    while chi_squared_above(high, degrees) > above:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_squared_above(middle, degrees) > above else (low, middle)
    return high


def student_t95(degrees: int, comparisons: int = 1) -> float:
    """Half the width of a 95 % confidence interval in standard errors; of several comparisons each has its share of the 5 % (Bonferroni)."""
    return student_t(1 - 0.05 / comparisons, degrees)


@dataclass(frozen=True)
class Estimate:
    """The mean over seeds of a number that each seed has."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return sum(self.values) / self.n

    @property
    def sd(self) -> float:
        """Of two seeds or more."""
        return math.sqrt(sum((value - self.mean) ** 2 for value in self.values) / (self.n - 1))

    @property
    def error(self) -> float:
        return self.sd / math.sqrt(self.n)

    @property
    def interval(self) -> float | None:
        """Half of the 95 % interval of this mean alone; none of a single seed."""
        return None if self.n < 2 else student_t95(self.n - 1) * self.error

    def text(self) -> str:
        return f"{self.mean:+.4f}" + (f" ± {self.interval:.4f}" if self.interval is not None else "")

    def p_above(self, bound: float) -> float:
        """One-sided: how often chance alone puts the mean so far above the bound, if the true one lies on it."""
        if self.error == 0:
            return 0.5 if self.mean == bound else float(self.mean < bound)
        t = (self.mean - bound) / self.error
        outside = (1 - central_probability(t, self.n - 1)) / 2
        return outside if t > 0 else 1 - outside

    def p_below(self, bound: float) -> float:
        return 1 - self.p_above(bound)

    def visible(self, level: float) -> float:
        """The true difference from 0 that a two-sided test at this level sees in four of five such experiments."""
        return (student_t(1 - level, self.n - 1) + student_t(0.6, self.n - 1)) * self.error


def p_above_zero(estimate: Estimate) -> tuple[float, bool]:
    """(p, whether it speaks for the paper), which has the number above 0: two-sided."""
    return 2 * min(estimate.p_above(0), estimate.p_below(0)), estimate.mean > 0


def p_within(estimate: Estimate, margin: float) -> tuple[float, bool]:
    """(p, whether it speaks for the paper), which has the number within ±margin (two one-sided tests, Schuirmann 1987); a number that is significantly outside
    speaks against it. Below 0.05 the 95 % interval is on one side of the bounds."""
    within = 2 * max(estimate.p_above(-margin), estimate.p_below(margin))
    outside = 2 * min(estimate.p_above(margin), estimate.p_below(-margin))
    return (within, True) if within <= outside else (outside, False)


def p_deviation(estimate: Estimate, bound: float) -> tuple[float, bool]:
    """(p, whether it speaks for the paper), which has the standard deviation over seeds at most at the bound; of normal values, two-sided."""
    above = chi_squared_above((estimate.n - 1) * (estimate.sd / bound) ** 2, estimate.n - 1)
    return 2 * min(above, 1 - above), estimate.sd < bound


def deviation_interval(estimate: Estimate) -> tuple[float, float]:
    """The 95 % interval of the standard deviation over seeds; of normal values."""
    degrees = estimate.n - 1
    low, high = (estimate.sd * math.sqrt(degrees / chi_squared(p, degrees)) for p in (0.025, 0.975))
    return low, high


def holm(p_values: list[float]) -> list[float]:
    """Adjusted for their number: below 0.05 are, in 95 of 100 such families, no true null hypotheses (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = largest
    return adjusted
