"""experiments.py REPOSITORY: docs/experiments.md is what the scripts print from the results in docs/experiments; its judgements, of runs that differ by chance alone, see
nothing in 95 of 100 pages, and see what is there; Student's quantiles and Holm's correction are those that were published."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import check

REPOSITORY = Path(sys.argv[1])
SCRIPTS, RESULTS = REPOSITORY / "scripts" / "experiments", REPOSITORY / "docs" / "experiments"
sys.path.append(str(SCRIPTS))
from effects import EFFECTS, Results  # noqa: E402
from judging import Estimate, holm, p_value, student_t95  # noqa: E402
from page import Judged, judge  # noqa: E402
from run import BRANCH_DECAYS, BRANCH_FROM, EXPERIMENTS, Lab, key_of, read_sweep  # noqa: E402

QUANTILES = {1: 12.7062047, 2: 4.3026527, 3: 3.1824463, 4: 2.7764451, 5: 2.5705818, 9: 2.2621572, 10: 2.2281389, 30: 2.0422725, 1000: 1.9623391}
PAGES = 40  # of noise alone
SEEDS = range(1, 7)


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
        check(abs(p_value(shifted, None)[0] - 0.05) < 1e-9, f"p at the interval's edge {bound}")
    p, within = p_value(edge, edge.mean + edge.interval)
    check(within and abs(p - 0.05) < 1e-9, f"an interval that just fits into its margin: {p}")
    p, within = p_value(edge, 0.1)
    check(not within and p > 0.05, f"one that is neither within nor outside: {p}")
    check(p_value(Estimate((1.0, 1.01, 0.99)), 0.1) < (0.01, True), "one that is outside")


def cells(name: str) -> list[dict]:
    """Values of an experiment's configurations, and of some that its conditions leave out."""
    if name.endswith("-branches"):
        return [{"branch": f"{decay:g} from {step}"} for decay in BRANCH_DECAYS for step in BRANCH_FROM]
    if name == "decay-replay":
        return [{"round": "3"}]
    parameters = read_sweep(name)["parameters"]
    choices = [[(key, value["label"] if isinstance(value, dict) else value) for value in described["values"]] for key, described in parameters.items()]
    return [dict(choice) for choice in itertools.product(*choices)]


def write_noise(folder: Path, draw: random.Random, shift: float) -> None:
    """Results of runs that a seed sets apart by 0.1 and nothing else but noise of 0.01; those with a decay of 0.444 are `shift` lower."""
    for name in EXPERIMENTS:
        lines = []
        for seed in SEEDS:
            common = draw.gauss(0, 0.1)
            for values in cells(name):
                steps = [1, 25, 100, 200, 300, 500, 1000]
                level = 4 + common - (shift if values.get("optimizer.weight_decay") == 0.444 else 0)
                curves = {key: [steps, [level + draw.gauss(0, 0.01) for _ in steps]] for key in ("val_loss", "loss")}
                if name == "updates":
                    curves |= {key: [steps, [math.exp(draw.gauss(0, 0.1)) for _ in steps]] for key in ("relative_update", "step_row_angle", "step_representation_change", "critical_batch")}
                lines.append(json.dumps({"values": values, "seed": seed, "finished": True, "curves": curves}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def judged_noise(draw: random.Random, shift: float) -> dict[str, Judged]:
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), draw, shift)
        return {one.effect.name: one for one in judge(Results(Path(folder)))}


def noise() -> None:
    draw = random.Random(20)
    # What is no difference of losses: these say that something is equal or below a bound, which noise alone satisfies, or that it is above one, which it does not.
    true_of_noise = {effect.name for effect in EFFECTS if effect.margin is not None} | {"K2", "K3", "M1"}
    differences = [effect.name for effect in EFFECTS if effect.name not in true_of_noise]
    check(len(differences) > 30, str(differences))
    alarms = 0
    for _ in range(PAGES):
        judged = judged_noise(draw, 0.0)
        check(all(one.estimate is not None and one.estimate.n == len(SEEDS) for one in judged.values()), "an effect finds no trials in its experiment's cells")
        alarms += any(judged[name].p < 0.05 for name in differences)
    check(alarms <= 7, f"{alarms} of {PAGES} pages of noise claim something; by a correct correction more than 7 come once in a thousand times")
    judged = judged_noise(draw, 0.1)
    check(judged["D1"].verdict == "**seen**" and abs(judged["D1"].estimate.mean - 0.1) < 0.02, judged["D1"].verdict)
    check(judged["S1"].verdict == "**reversed**", f"S1: {judged['S1'].verdict}")
    check(judged_noise(draw, -0.1)["D1"].verdict == "**reversed**", "a decay that hurts")


def keeping() -> None:
    """Results grow by seeds and are never replaced."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        lab = Lab(Path("temper"), folder / "sweeps", folder / "results", None)
        for seed, loss in ((1, 4.0), (2, 5.0)):
            trial = folder / f"sweep/trials/{seed}"
            trial.mkdir(parents=True)
            (trial / "trial.json").write_text(json.dumps({"values": {"optimizer.weight_decay": 0.1}, "seed": seed}))
            (trial / "metrics.jsonl").write_text("".join(json.dumps({"step": step, "loss": loss, "weight_norm": step, "val_loss": loss if step == 400 else None}) + "\n" for step in range(1, 401)))
            (trial / "summary.json").write_text("{}")
            lab.keep("decay-cosine", folder / "sweep")
        (trial / "metrics.jsonl").write_text("")
        lab.keep("decay-cosine", folder / "sweep")
        lines = [json.loads(line) for line in (folder / "results/decay-cosine.jsonl").read_text().splitlines()]
        check([line["seed"] for line in lines] == [1, 2] and len({key_of(line) for line in lines}) == 2, str(lines)[:200])
        curves = lines[1]["curves"]
        check(curves["val_loss"] == [[400], [5.0]] and len(curves["loss"][0]) == 40 and curves["weight_norm"][0][0] == 1 and curves["weight_norm"][0][-1] == 400, str(curves)[:300])
        check(lab.missing("decay-cosine", [1, 2, 3]) == [3], "seeds that are missing")


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
    keeping()
    page()
    print(f"{len(EFFECTS)} effects")


main()
