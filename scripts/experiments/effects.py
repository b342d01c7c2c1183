"""The plan: what five groups of papers say, the one number that is to show each, and what counts as seen. Written before the runs; nothing is dropped afterwards.

Each effect is one number a seed, taken within the seed, and is judged over the planned seeds: it is *seen* if it lies on the paper's side, *reversed* if it lies on the
other, by a test at 5 % that is corrected for all effects of this file (Holm), and otherwise *not seen*. The paper's side is above 0, or, where the paper says that something makes no
difference, within ± a margin. A run that diverged counts with the loss of an untrained model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trials import Trial, read_summaries

UNTRAINED = math.log(2048)
VISIBLE = 0.03  # nats per token: what the numbers of seeds were chosen to see, and the margin within which losses count as equal

PAPERS = {
    "D": "D'Angelo, Andriushchenko, Varre & Flammarion, *Why do we need weight decay in modern deep learning?* (arXiv 2310.04415)",
    "K": "Kosson, Messmer & Jaggi, *Analyzing & reducing the need for learning rate warmup in GPT training* (arXiv 2410.23922)",
    "L": "Loshchilov & Hutter, *Decoupled weight decay regularization* (arXiv 1711.05101)",
    "M": "Jordan et al., *modded-nanogpt*, track 3: steps to a loss at fixed model, data and batch",
    "S": "Semenov, Pagliardini & Jaggi, *Benchmarking optimizers for large language model pretraining* (arXiv 2509.01440)",
    "W": "Wortsman et al., *Small-scale proxies for large-scale Transformer training instabilities* (arXiv 2309.14322)",
    "T": "Yang et al., *Tensor programs V* (arXiv 2203.03466); Bergsma et al., *Power lines* (arXiv 2505.13738)",
    "C": "Li, Zhang & He, *The stability-efficiency dilemma* (arXiv 2108.06084)",
    "G": "*Learnable row and column gains in place of decay and warmup* (arXiv 2606.25971)",
}

CHOOSERS = 101  # seeds from here on choose settings and measure nothing

DECAY, RATE, WARMUP = "optimizer.weight_decay", "optimizer.learning_rate", "schedule.warmup_fraction"
BySeed = dict[int, float]


class Results:
    """The trials of docs/experiments, or of any folder or list."""

    def __init__(self, folder: Path | None, trials: dict[str, list[Trial]] | None = None) -> None:
        self._folder = folder
        self._trials = trials or {}

    def trials(self, experiment: str) -> list[Trial]:
        if experiment not in self._trials:
            path = self._folder / f"{experiment}.jsonl" if self._folder else None
            self._trials[experiment] = read_summaries(path) if path and path.is_file() else []
        return self._trials[experiment]

    def cell(self, experiment: str, values: dict) -> dict[int, Trial]:
        return {trial.seed: trial for trial in self.trials(experiment) if all(trial.values[key] == value for key, value in values.items())}


Number = Callable[[Results], BySeed]


def of_cell(measure: Callable[[Trial], float | None], experiment: str, values: dict) -> Number:
    """Of the seeds that have the measurement."""
    return lambda results: {seed: number for seed, trial in results.cell(experiment, values).items() if (number := measure(trial)) is not None}


def end_loss(trial: Trial) -> float:
    """The last validation loss."""
    return trial.series("val_loss")[1][-1] if trial.finished else UNTRAINED


def loss(experiment: str, values: dict) -> Number:
    return of_cell(end_loss, experiment, values)


def combined(function: Callable[..., float], *numbers: Number) -> Number:
    """Of the seeds that all have."""

    def result(results: Results) -> BySeed:
        parts = [number(results) for number in numbers]
        return {seed: function(*(part[seed] for part in parts)) for seed in sorted(set.intersection(*(set(part) for part in parts)))}

    return result


def minus(a: Number, b: Number) -> Number:
    return combined(lambda x, y: x - y, a, b)


def best_of(numbers: list[Number]) -> Number:
    """The best of several settings without the luck of having been chosen: seeds that are used for nothing else choose it."""

    def result(results: Results) -> BySeed:
        parts = [number(results) for number in numbers]
        choosers = [seed for seed in set.intersection(*map(set, parts)) if seed >= CHOOSERS]
        if not choosers:
            return {}
        best = min(parts, key=lambda part: sum(part[seed] for seed in choosers))
        return {seed: value for seed, value in best.items() if seed < CHOOSERS}

    return result


def at_share(trial: Trial, key: str, share: float) -> float:
    """A curve's value where so much of the run was done."""
    if not trial.finished:
        return UNTRAINED
    steps, values = trial.series(key)
    return values[min(range(len(steps)), key=lambda i: abs(steps[i] - share * steps[-1]))]


def early_over_late(key: str, first: bool = True) -> Callable[[Trial], float | None]:
    """log2 of a measurement at the first measured step (or its geometric mean up to 5 % of the run) over its geometric mean from 20 to 50 % of the run, where the rate
    is the same."""

    def measure(trial: Trial) -> float | None:
        steps, values = trial.series(key)
        early = values[:1] if first else [value for step, value in zip(steps, values) if step <= 0.05 * steps[-1]]
        late = [value for step, value in zip(steps, values) if 0.2 * steps[-1] <= step <= 0.5 * steps[-1]]
        if not early or not late or min(early + late) <= 0:
            return None
        return sum(map(math.log2, early)) / len(early) - sum(map(math.log2, late)) / len(late)

    return measure


def least_squares(rows: list[list[float]], y: list[float]) -> list[float]:
    """Coefficients, by the normal equations: half a dozen columns of order 1."""
    n = len(rows[0])
    system = [[sum(row[i] * row[j] for row in rows) for j in range(n)] + [sum(row[i] * value for row, value in zip(rows, y))] for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(system[k][i]))
        system[i], system[pivot] = system[pivot], system[i]
        for k in range(n):
            if k != i:
                factor = system[k][i] / system[i][i]
                system[k] = [a - factor * b for a, b in zip(system[k], system[i])]
    return [system[i][n] / system[i][i] for i in range(n)]


def fit(experiment: str, points: dict[tuple[float, ...], dict], read: Callable[[list[float]], float | None]) -> Number:
    """Of each seed, what `read` finds in the coefficients of a quadratic through the losses of these cells: of one axis [1, x, x^2], of two [1, x, y, x^2, x y, y^2]."""

    def row(point: tuple[float, ...]) -> list[float]:
        return [1, *point, *(a * b for i, a in enumerate(point) for b in point[i:])]

    def result(results: Results) -> BySeed:
        cells = {point: {seed: end_loss(trial) for seed, trial in results.cell(experiment, values).items()} for point, values in points.items()}
        seeds = set.intersection(*(set(cell) for cell in cells.values()))
        found = {seed: read(least_squares([row(point) for point in cells], [cell[seed] for cell in cells.values()])) for seed in sorted(seeds)}
        return {seed: number for seed, number in found.items() if number is not None}

    return result


def optimum_within(reach: float) -> Callable[[list[float]], float | None]:
    """Of one axis whose cells lie within ± reach; none where the fit has no least there."""

    def read(coefficients: list[float]) -> float | None:
        _, slope, curvature = coefficients
        place = -slope / (2 * curvature) if curvature > 0 else math.inf
        return place if abs(place) <= reach else None

    return read


@dataclass(frozen=True)
class Effect:
    name: str  # the paper's letter and a number
    claim: str
    measured: str
    number: Number
    experiments: tuple[str, ...]
    unit: str = "nats"
    margin: float | None = None  # the paper's side is within ± this
    deviation: float | None = None  # it is a standard deviation over seeds of at most this; without either it is above 0


def decay(experiment: str, value: float) -> Number:
    return loss(experiment, {DECAY: value})


def branch(experiment: str, label: str) -> Number:
    return loss(experiment, {"branch": label})


def gap(trial: Trial) -> float:
    """Validation loss at the end minus the mean training loss of the last fortieth of the run."""
    return end_loss(trial) - trial.series("loss")[1][-1]


def more_than_half(whole: Number, part: Number) -> Number:
    """What `part` is beyond half of `whole`, in the direction in which the mean of `whole` points."""

    def result(results: Results) -> BySeed:
        wholes, parts = whole(results), part(results)
        sign = math.copysign(1, sum(wholes.values()))
        return {seed: sign * (parts[seed] - wholes[seed] / 2) for seed in sorted(wholes.keys() & parts.keys())}

    return result


def gain(optimizer: str, rate: float) -> Number:
    """What 5 % of warmup take off the loss."""
    cell = {"optimizer": optimizer, RATE: rate}
    return minus(loss("warmup", cell | {WARMUP: 0}), loss("warmup", cell | {WARMUP: 0.05}))


def other_gain(variant: str) -> Number:
    return minus(loss("warmup-others", {"variant": variant, WARMUP: 0}), loss("warmup-others", {"variant": variant, WARMUP: 0.05}))


def gains_little(optimizer: str) -> Number:
    """How far the gain at the highest rate stays below what counts as equal: warmup may hurt."""
    return combined(lambda value: VISIBLE - value, gain(optimizer, HIGH))


def update(optimizer: str, key: str, first: bool = True) -> Number:
    return of_cell(early_over_late(key, first), "updates", {"optimizer": optimizer})


RATES = [5e-4, 1e-3, 2e-3, 4e-3]
DECAYS = {"L2": ["1.2e-5", "6e-5", "3e-4"], "decoupled": ["0.04", "0.2", "1"], "independent": ["8e-5", "4e-4", "2e-3"]}


def tilt(kind: str) -> Number:
    """Of the quadratic through twelve losses, the coefficient of log2 of the rate times log5 of the decay: above 0, a higher rate wants a smaller decay."""
    points = {(i - 1.5, j - 1.0): {"decay": f"{kind}, {value}", RATE: rate} for i, rate in enumerate(RATES) for j, value in enumerate(DECAYS[kind])}
    return fit("rate-decay", points, lambda coefficients: coefficients[4])


def best_decay(kind: str) -> Number:
    cells = [{"decay": f"{kind}, {value}", RATE: rate} for rate in RATES for value in DECAYS[kind]]
    return best_of([loss("rate-decay", cell) for cell in [*cells, *({"decay": "none", RATE: rate} for rate in RATES)]])


def sensitivity(cells: list[Number]) -> Number:
    """To the rate: the mean over rates of the loss, at most that of an untrained model, above the least."""
    return combined(lambda *losses: sum(min(one, UNTRAINED) for one in losses) / len(losses) - min(losses), *cells)


def over_rates(experiment: str, rates: list[float], values: dict) -> list[Number]:
    return [loss(experiment, values | {RATE: rate}) for rate in rates]


def schedule(name: str) -> Number:
    return best_of(over_rates("schedules", [5e-4, 1e-3, 2e-3, 4e-3, 8e-3], {"schedule.name": name}))


def run(label: str) -> Number:
    return loss("optimizers", {"run": label})


def best_run(*labels: str) -> Number:
    return best_of([run(label) for label in labels])


def best_rate(model: str) -> Number:
    """log2 of the best rate over 4e-3, by a quadratic."""
    points = {(i - 2.0,): {"model": model, RATE: rate} for i, rate in enumerate([1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2])}
    return fit("width-rate", points, optimum_within(2.0))


def best_timescale(width: int) -> Number:
    """log3 of the best timescale over 1.7 runs, nearly: the cells are at 0.3, 1, 3 and 10 runs."""
    points = {(i - 1.5,): {"model.n_embd": width, "optimizer.decay_timescale": value} for i, value in enumerate(["0.3 runs", "1 runs", "3 runs", "10 runs"])}
    return fit("width-timescale", points, optimum_within(1.5))


ADAMW = ["adamw 2e-3", "adamw 4e-3", "adamw 8e-3"]
LION = ["lion 2.5e-4", "lion 5e-4", "lion 1e-3"]
ADAMH = ["adamh 8e-3", "adamh 1.6e-2", "adamh 3.2e-2"]
MUON = ["muon 1e-2", "muon 2e-2", "muon 4e-2"]
HIGH = 9e-3
COSINE, CONSTANT = "decay-cosine", "decay-constant"

EFFECTS = [
    Effect("D1", "Under a cosine schedule, decay ends below no decay.", "loss without decay - with 0.444", minus(decay(COSINE, 0), decay(COSINE, 0.444)), (COSINE,)),
    Effect("D2", "Early on, a larger decay has the higher loss.", "loss at 20 % of the run: with 1.333 - without",
           minus(of_cell(lambda t: at_share(t, "val_loss", 0.2), COSINE, {DECAY: 1.333}), of_cell(lambda t: at_share(t, "val_loss", 0.2), COSINE, {DECAY: 0})), (COSINE,)),
    Effect("D3", "Branches with a tiny rate from 20 % of the run are all alike.", "loss of branches from 20 %: without decay - with 0.444",
           minus(branch(f"{COSINE}-branches", "0 from 450"), branch(f"{COSINE}-branches", "0.444 from 450")), (f"{COSINE}-branches",), margin=VISIBLE),
    Effect("D4", "By 80 % of the run they show that decayed weights are the better place.", "loss of branches from 80 %: without decay - with 0.444",
           minus(branch(f"{COSINE}-branches", "0 from 1800"), branch(f"{COSINE}-branches", "0.444 from 1800")), (f"{COSINE}-branches",)),
    Effect("D5", "At a constant rate the largest decay ends with the highest loss.", "loss with 1.333 - without", minus(decay(CONSTANT, 1.333), decay(CONSTANT, 0)), (CONSTANT,)),
    Effect("D6", "Yet branches from it are lower.", "loss of branches from 80 %: without decay - with 0.444",
           minus(branch(f"{CONSTANT}-branches", "0 from 1800"), branch(f"{CONSTANT}-branches", "0.444 from 1800")), (f"{CONSTANT}-branches",)),
    Effect("D7", "Decay does not regularize: training and validation loss are as far apart with as without.", "(validation - training loss) with 0.444 - without",
           minus(of_cell(gap, COSINE, {DECAY: 0.444}), of_cell(gap, COSINE, {DECAY: 0})), (COSINE,), margin=VISIBLE),
    Effect("D8", "The effective rate explains more than half of what decay does: no decay, at the effective rates of the run with decay, comes nearer to it than to no decay.",
           "change of the loss by replayed effective rates of 0.444 - half of the change by that decay",
           more_than_half(minus(decay(COSINE, 0.444), decay(COSINE, 0)), minus(loss("decay-replay", {}), decay(COSINE, 0))), (COSINE, "decay-replay")),
    Effect("D9", "Without decay training in bf16 fails, with it and in fp32 it does not.", "loss in bf16 - in fp32, without decay - with 0.167, rate 0.008",
           minus(minus(loss("decay-bf16", {"precision": "bf16", DECAY: 0}), loss("decay-bf16", {"precision": "fp32", DECAY: 0})),
                 minus(loss("decay-bf16", {"precision": "bf16", DECAY: 0.167}), loss("decay-bf16", {"precision": "fp32", DECAY: 0.167}))), ("decay-bf16",)),
    Effect("K1", "AdamW needs warmup, the more the higher the rate.", "gain of 5 % at 0.009 - at 0.001", minus(gain("adamw", HIGH), gain("adamw", 1e-3)), ("warmup",)),
    Effect("K2", "AdamW's first update is several times as large as later ones (4.36 times in the paper).", "first step / later ones, doublings beyond the first",
           combined(lambda x: x - 1, update("adamw", "step_norm")), ("updates",), "doublings"),
    Effect("K3", "Without the first moment's bias correction it is not.", "doublings that the first step stays below twice the later ones",
           combined(lambda x: 1 - x, update("adamw without first correction", "step_norm")), ("updates",), "doublings"),
    Effect("K4", "Warmup still helps then.", "gain of 5 % at 0.009", gain("adamw without first correction", HIGH), ("warmup",)),
    Effect("K5", "LionA's first updates turn the weights more than later ones.", "first angle / later ones, of the blocks' matrices", update("liona", "block_row_angle"), ("updates",), "doublings"),
    Effect("K6", "Warmup helps LionA.", "gain of 5 % at 0.009", gain("liona", HIGH), ("warmup",)),
    Effect("K7", "LionAR's angle is flat.", "angles of the first 5 % / later ones, of the blocks' matrices", update("lionar", "block_row_angle", first=False), ("updates",), "doublings", margin=0.32),
    Effect("K8", "LionAR needs warmup less than AdamW.", "gain of 5 % at 0.009: AdamW's - LionAR's", minus(gain("adamw", HIGH), gain("lionar", HIGH)), ("warmup",)),
    Effect("K9", "Yet LionAR's first steps change representations more.", "first change / later ones", update("lionar", "step_representation_change"), ("updates",), "doublings"),
    Effect("K10", "The gradient's signal-to-noise ratio starts high and falls.", "critical batch later / in the first 5 %, AdamW",
           combined(lambda x: -x, update("adamw", "critical_batch", first=False)), ("updates",), "doublings"),
    Effect("K11", "Without momentum LionAR is much worse.", "loss without momentum - with 0.9, rate 0.003, 5 % of warmup",
           minus(loss("warmup", {"optimizer": "lionar 0", RATE: 3e-3, WARMUP: 0.05}), loss("warmup", {"optimizer": "lionar", RATE: 3e-3, WARMUP: 0.05})), ("warmup",)),
    Effect("K12", "LionAR with momentum 0.98, Nesterov and inverse correction needs no warmup.", "0.03 - gain of 5 % at 0.009", gains_little("lionar 0.98"), ("warmup",)),
    Effect("K13", "LionA with the same does.", "gain of 5 % at 0.009", gain("liona 0.98", HIGH), ("warmup",)),
    Effect("K14", "Correcting the rate by the signal-to-noise ratio lessens LionAR's need for warmup.", "gain of 5 % at 0.009: without correction - with it",
           minus(gain("lionar", HIGH), gain("lionar with rate correction", HIGH)), ("warmup",)),
    Effect("K15", "More momentum lessens LionAR's need for warmup.", "gain of 5 % at 0.009: with 0.9 - with 0.98, Nesterov and inverse correction", minus(gain("lionar", HIGH), gain("lionar 0.98", HIGH)), ("warmup",)),
    Effect("K16", "At the lowest rate AdamW needs no warmup.", "0.03 - gain of 5 % at 0.001", combined(lambda value: VISIBLE - value, gain("adamw", 1e-3)), ("warmup",)),
    Effect("L1", "With L2 in Adam's gradient, a higher rate wants less decay.", "tilt of the fitted quadratic", tilt("L2"), ("rate-decay",), "nats per doubling and factor 5"),
    Effect("L2", "Decay that is independent of the rate can be tuned apart from it: its basin is tilted less.", "tilt of L2 - of independent decay",
           minus(tilt("L2"), tilt("independent")), ("rate-decay",), "nats per doubling and factor 5"),
    Effect("L3", "Decay that is multiplied by the rate is tilted as well.", "tilt of the fitted quadratic", tilt("decoupled"), ("rate-decay",), "nats per doubling and factor 5"),
    Effect("L4", "AdamW ends below Adam with L2.", "loss at the best rate and decay: L2 - independent", minus(best_decay("L2"), best_decay("independent")), ("rate-decay",)),
    Effect("L5", "Cosine ends below drops.", "loss at the best rate: step - cosine", minus(schedule("step"), schedule("cosine")), ("schedules",)),
    Effect("L6", "Drops end below a constant rate.", "loss at the best rate: constant - step", minus(schedule("constant"), schedule("step")), ("schedules",)),
    Effect("M1", "Seeds differ by a standard deviation of at most 0.003.", "standard deviation of the loss over seeds, AdamW", run("adamw 4e-3"), ("optimizers",), deviation=0.003),
    Effect("M2", "Tuning rate and decay saves AdamW a tenth of the steps.", "loss at 0.004 and decay 0.1 - at the best of three rates and two decays with a tenth fewer steps",
           minus(run("adamw 4e-3, decay 0.1"), best_run(*(f"{name}{more}, 540 steps" for name in ADAMW for more in ("", ", decay 0.1")))), ("optimizers",)),
    Effect("M3", "Lion needs more steps than AdamW.", "loss after equal steps: Lion - AdamW", minus(best_run(*LION), best_run(*ADAMW)), ("optimizers",)),
    Effect("M4", "AdamH needs fewer.", "loss after equal steps: AdamW - AdamH", minus(best_run(*ADAMW), best_run(*ADAMH)), ("optimizers",)),
    Effect("M5", "Muon needs fewer.", "loss after equal steps: AdamW - Muon", minus(best_run(*ADAMW), best_run(*MUON)), ("optimizers",)),
    Effect("S1", "In short runs, decay 0.5 is better than 0.1.", "loss with 0.108 - with 0.444", minus(decay(COSINE, 0.108), decay(COSINE, 0.444)), (COSINE,)),
    Effect("S2", "Muon prefers 0.1 to 0.5.", "loss at 0.02: with 0.5 - with 0.1", minus(run("muon 2e-2, decay 0.5"), run("muon 2e-2")), ("optimizers",)),
    Effect("S3", "At one rate, a larger decay moves Lion ahead of AdamW.", "loss of AdamW - of Lion at 0.001: with decay 10 - with 2",
           minus(minus(run("adamw 1e-3, decay 10"), run("lion 1e-3")), minus(run("adamw 1e-3, decay 2"), run("lion 1e-3, decay 2"))), ("optimizers",)),
    Effect("W1", "Warmup makes the loss less sensitive to the rate.", "sensitivity over three rates: without - with 5 %",
           minus(sensitivity(over_rates("warmup", [1e-3, 3e-3, HIGH], {"optimizer": "adamw", WARMUP: 0})),
                 sensitivity(over_rates("warmup", [1e-3, 3e-3, HIGH], {"optimizer": "adamw", WARMUP: 0.05}))), ("warmup",)),
    Effect("W2", "So does independent decay.", "sensitivity over four rates: decoupled 0.2 - independent 4e-4",
           minus(sensitivity(over_rates("rate-decay", RATES, {"decay": "decoupled, 0.2"})), sensitivity(over_rates("rate-decay", RATES, {"decay": "independent, 4e-4"}))), ("rate-decay",)),
    Effect("T1", "With the standard parametrization the best rate falls as the model widens.", "best rate, from width 64 to 256, per doubling",
           combined(lambda narrow, wide: (narrow - wide) / 2, best_rate("64"), best_rate("256")), ("width-rate",), "doublings"),
    Effect("T2", "In muP it stays.", "the same", combined(lambda narrow, wide: (narrow - wide) / 2, best_rate("64"), best_rate("256, muP")), ("width-rate",), "doublings", margin=0.5),
    Effect("T3", "The fewer tokens a parameter, the longer the best timescale of decay.", "best timescale as a share of the run, 0.5 tokens a parameter against 4.4",
           minus(best_timescale(256), best_timescale(64)), ("width-timescale",), "factors of 3"),
    Effect("C1", "Sequences that grow stand in for warmup.", "gain of 5 % at 0.009: at full length - with growing sequences", minus(other_gain("as it is"), other_gain("sequences grow")), ("warmup-others",)),
    Effect("G1", "A fixed norm with learnable row gains needs no warmup.", "0.03 - gain of 5 % at 0.009", gains_little("lionar with row gains"), ("warmup",)),
]
