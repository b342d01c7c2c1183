"""experiments.py REPOSITORY TEMPER: docs/experiments.md is what the scripts print from the results in docs/experiments; its judgements, of runs that differ by chance alone,
claim nothing too often, and see what is there; Student's quantiles, chi-squared's and Holm's correction are those that were published; temper takes every sweep."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import check

REPOSITORY, TEMPER = Path(sys.argv[1]), Path(sys.argv[2])
SCRIPTS, RESULTS = REPOSITORY / "scripts" / "experiments", REPOSITORY / "docs" / "experiments"
sys.path.append(str(SCRIPTS))
from effects import CHOOSERS, EFFECTS, Results, early_over_late  # noqa: E402
from judging import Estimate, chi_squared, deviation_interval, holm, p_above_zero, p_deviation, p_within, student_t95  # noqa: E402
from page import Judged, judge, tested  # noqa: E402
from run import BRANCH_DECAYS, BRANCH_FROM, EXPERIMENTS, Lab, key_of, plain, planned_seeds, read_sweep, replay_sweep, replayed_rates  # noqa: E402
from trials import Trial  # noqa: E402

QUANTILES = {1: 12.7062047, 2: 4.3026527, 3: 3.1824463, 4: 2.7764451, 5: 2.5705818, 9: 2.2621572, 10: 2.2281389, 30: 2.0422725, 1000: 1.9623391}
PAGES = 200  # of noise alone
MOST_ALARMS = 23  # of one effect at 5 %: with 10 expected, more come once in 10,000 times


def statistics() -> None:
    for degrees, published in QUANTILES.items():
        check(abs(student_t95(degrees) - published) < 1e-6, f"t of {degrees}: {student_t95(degrees)} and not {published}")
    for degrees, comparisons, published in ((2, 5, 9.9248432), (10, 10, 3.5814062), (1, 5, 63.6567412)):  # t at 0.995, 0.9975, 0.995
        check(abs(student_t95(degrees, comparisons) - published) < 1e-6, f"t of {degrees} for {comparisons}: {student_t95(degrees, comparisons)}")
    check(all(abs(a - b) < 1e-12 for a, b in zip(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])), "Holm 1979, of four")
    edge = Estimate((1.0, 2.0, 3.0))  # mean 2, standard error 0.577: the 95 % interval is 2 ± 2.484
    check(abs(edge.interval - 2.4841377) < 1e-6, str(edge.interval))
    for bound in (edge.mean - edge.interval, edge.mean + edge.interval):  # a test at its edge gives 0.05
        shifted = Estimate(tuple(value - bound for value in edge.values))
        check(abs(p_above_zero(shifted)[0] - 0.05) < 1e-9, f"p at the interval's edge {bound}")
    p, within = p_within(edge, edge.mean + edge.interval)
    check(within and abs(p - 0.05) < 1e-9, f"an interval that just fits into its margin: {p}")
    p, within = p_within(edge, 0.1)
    check(not within and p > 0.05, f"one that is neither within nor outside: {p}")
    p, within = p_within(Estimate((1.0, 1.01, 0.99)), 0.1)
    check(not within and p < 0.01, f"one that is outside: {p}")
    for above, degrees, published in ((0.025, 5, 12.8325020), (0.975, 5, 0.8312116), (0.05, 4, 9.4877290), (0.05, 1, 3.8414588)):
        check(abs(chi_squared(above, degrees) - published) < 1e-6, f"chi-squared of {degrees}: {chi_squared(above, degrees)}")
    for bound in deviation_interval(edge):
        check(abs(p_deviation(edge, bound)[0] - 0.05) < 1e-9, f"p at the edge {bound} of a deviation's interval")


def cells(name: str) -> list[dict]:
    """Values of an experiment's configurations, and of some that its conditions leave out."""
    if name.endswith("-branches"):
        return [{"branch": f"{decay:g} from {step}"} for decay in BRANCH_DECAYS for step in BRANCH_FROM]
    if name == "decay-replay":
        return [{"replayed": "0.444"}]
    parameters = read_sweep(name)["parameters"]
    choices = [[(key, value["label"] if isinstance(value, dict) else value) for value in described["values"]] for key, described in parameters.items()]
    return [dict(choice) for choice in itertools.product(*choices)]


def noise_trials(draw: random.Random, shift: float) -> dict[str, list[Trial]]:
    """Runs that a seed sets apart by 0.1 and nothing else but noise of 0.003; those with a decay of 0.444 are `shift` lower."""
    found = {}
    for name in NEEDED:
        found[name] = []
        for seed in planned_seeds(name):
            common = draw.gauss(0, 0.1)
            for values in CELLS[name]:
                level = 4 + common - (shift if values.get("optimizer.weight_decay") == 0.444 else 0)
                lines = []
                for step in (1, 25, 100, 200, 300, 500, 1000):
                    line = {"step": step, "val_loss": level + draw.gauss(0, 0.003), "loss": level + draw.gauss(0, 0.003)}
                    if name == "updates":
                        line |= {key: draw.lognormvariate(0, 0.1) for key in ("step_norm", "block_row_angle", "step_representation_change", "critical_batch")}
                    lines.append(line)
                found[name].append(Trial(Path(), values, seed, lines if name == "updates" else lines[2:], True))
    return found


def judged_noise(draw: random.Random, shift: float) -> dict[str, Judged]:
    return {one.effect.name: one for one in judge(Results(None, noise_trials(draw, shift)), planned_seeds)}


NEEDED = sorted({name for effect in EFFECTS for name in effect.experiments})
CELLS = {name: cells(name) for name in NEEDED}
# What holds of noise alone and should be seen: something is equal, below a bound, or no more than 0.03; of noise alone fits have no optimum.
TRUE_OF_NOISE = {effect.name for effect in EFFECTS if effect.margin is not None} | {"K2", "K3", "K12", "K16", "G1"}
WITHOUT_OPTIMUM = {"T1", "T2", "T3"}
SPREAD_OF_NOISE = {"M1"}  # the seeds' own 0.1


def noise() -> None:
    draw = random.Random(20)
    alarms = dict.fromkeys((effect.name for effect in EFFECTS), 0)
    for _ in range(PAGES):
        for name, one in judged_noise(draw, 0.0).items():
            check(one.ran == one.planned >= 6, f"{name}: {one.ran} of {one.planned} seeds")
            if name not in WITHOUT_OPTIMUM:
                check(one.whole, f"{name} finds no number in its experiment's cells")
                alarms[name] += tested(one.effect, one.estimate)[0] < 0.05
    for name, count in alarms.items():
        if name not in TRUE_OF_NOISE | WITHOUT_OPTIMUM | SPREAD_OF_NOISE:
            check(count <= MOST_ALARMS, f"{name} claims something in {count} of {PAGES} pages of noise")
    check(alarms["M1"] == PAGES and all(alarms[name] == PAGES for name in ("D7", "K2", "K16")), f"what is far from chance: {alarms}")
    judged = judged_noise(draw, 0.1)
    check(judged["D1"].verdict == "**seen**" and abs(judged["D1"].estimate.mean - 0.1) < 0.01, judged["D1"].verdict)
    check(judged["S1"].verdict == "**seen**" and judged["D5"].verdict == "not seen" and judged["M1"].verdict == "**reversed**", "other effects")
    check(judged_noise(draw, -0.1)["D1"].verdict == "**reversed**", "a decay that hurts")
    some = noise_trials(draw, 0.1)
    some["decay-cosine"] = [trial for trial in some["decay-cosine"] if trial.seed != 3]
    one = next(one for one in judge(Results(None, some), planned_seeds) if one.effect.name == "D1")
    check(one.verdict == "5 of 6 seeds run" and one.p == 1, f"nothing is claimed before all seeds are there: {one.verdict}")
    check(all(seed < CHOOSERS for seed in next(iter(EFFECTS)).number(Results(None, some))), "a choosing seed measures")
    check(early_over_late("snr")(some["updates"][0]) is None, "a measurement that a run has not")


def sweeps() -> None:
    """temper takes them, and replays rates that make up for the decay."""
    with tempfile.TemporaryDirectory() as text:
        lab = Lab(TEMPER, Path(text) / "sweeps", Path(text) / "results", None)
        for name in (name for name, how in EXPERIMENTS.items() if how is plain):
            check(0 < lab.configurations(name, read_sweep(name)) <= len(cells(name)), name)
        sweep = read_sweep("decay-cosine")
        check(lab.configurations("decay-replay", replay_sweep(lab, sweep, [1, 2])) == 2, "a replay of two seeds")
        rates = replayed_rates(lab, sweep)
        longest = rates[-1][1] / 3e-4  # cosine ends at a tenth of the peak
        check(rates[0] == (1, 0.0) and 5.0 < longest < 5.7, f"exp(0.444 x sum of rates, 1.65 to 1.68): {longest}")


def keeping() -> None:
    """Results grow by seeds and are never replaced."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        lab = Lab(Path("temper"), folder / "sweeps", folder / "results", None)
        for seed, loss in ((1, 4.0), (2, 5.0)):
            trial = folder / f"sweep/trials/{seed}"
            trial.mkdir(parents=True)
            tensors = {"wte.weight": {"weight_norm": 3.0, "step_row_angle": 9.0}, "h.0.ln_1.weight": {"weight_norm": 8.0, "step_row_angle": 9.0},
                       "h.0.mlp.c_fc.weight": {"weight_norm": 4.0, "step_row_angle": 0.5}}
            (trial / "diagnostics.jsonl").write_text(json.dumps({"step": 1, "all": {"step_norm": 2.0}, "tensors": tensors}) + "\n")
            (trial / "trial.json").write_text(json.dumps({"values": {"optimizer.weight_decay": 0.1}, "seed": seed}))
            (trial / "metrics.jsonl").write_text("".join(json.dumps({"step": step, "loss": loss, "weight_norm": step, "val_loss": loss if step == 400 else None}) + "\n" for step in range(1, 401)))
            (trial / "summary.json").write_text("{}")
            lab.keep("decay-cosine", folder / "sweep", [1, 2])
        (trial / "metrics.jsonl").write_text("")
        (folder / "sweep/trials/2/trial.json").rename(folder / "sweep/trials/2/trial.was")
        lab.keep("decay-cosine", folder / "sweep", [1, 2])
        (folder / "sweep/trials/2/trial.was").rename(folder / "sweep/trials/2/trial.json")
        (trial / "summary.json").unlink()
        for code, kept in ((6, True), (1, False)):
            (trial / "failure.json").write_text(json.dumps({"exit_code": code}))
            try:
                lab.keep("failed", folder / "sweep", [2])
            except SystemExit as error:
                check(not kept and "did not finish" in str(error), str(error))
            else:
                check(kept, "a trial that failed for another reason than its numbers is kept")
        lines = [json.loads(line) for line in (folder / "results/decay-cosine.jsonl").read_text().splitlines()]
        check([line["seed"] for line in lines] == [1, 2] and len({key_of(line) for line in lines}) == 2, str(lines)[:200])
        curves = lines[1]["curves"]
        check(curves["val_loss"] == [[400], [5.0]] and len(curves["loss"][0]) == 40 and curves["weight_norm"][0][0] == 1 and curves["weight_norm"][0][-1] == 400, str(curves)[:300])
        check(curves["matrix_norm"] == [[1], [5.0]] and curves["block_row_angle"] == [[1], [0.5]] and curves["step_norm"] == [[1], [2.0]], str(curves)[-300:])
        lab.seeds = [1, 2, 3]
        check(lab.missing("decay-cosine", 1) == [3] and lab.missing("decay-cosine", 2) == [1, 2, 3], "seeds that are missing, or not whole")


def page() -> None:
    checked = subprocess.run([sys.executable, "-B", SCRIPTS / "page.py", "--check"], capture_output=True, text=True)
    check(checked.returncode == 0, checked.stderr)
    text = (REPOSITORY / "docs" / "experiments.md").read_text()
    done = subprocess.run([sys.executable, "-B", SCRIPTS / "coordinate_check.py", "--from", "coordinate-check.json"], cwd=RESULTS, capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    for block in re.split(r"\n\n", done.stdout.strip()):
        check(block.startswith("###") or block in text, f"docs/experiments.md is not what coordinate_check.py prints:\n{block}")


def main() -> None:
    check(len({effect.name for effect in EFFECTS}) == len(EFFECTS), "two effects of one name")
    statistics()
    noise()
    sweeps()
    keeping()
    page()
    print(f"{len(EFFECTS)} effects")


main()
