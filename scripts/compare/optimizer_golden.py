#!/usr/bin/env python3
"""Makes the trajectories that temper's optimizers are tested against: tests/golden/optimizers, 100 steps on random tensors, float64.

Where torch.optim has the rule it makes the step; everything else is written down here from its paper, without a look at the
engine. trajectories.safetensors holds
  initial F32 [N], gradients F32 [STEPS, N]   the same for all systems; the tensors of systems.json one after another
  first_halves F32 [STEPS, N]                 the part of each gradient that the first of its HALVES makes
  SYSTEM.sums F64 [STEPS, tensors]            after each step: sum over a tensor's elements of weight x cos(1 + index)
  SYSTEM.weights F32 [len(KEPT), N]           all weights after some of the steps
and systems.json the tensors, the schedule, and each system as temper's configuration keys. `--check` makes everything again and
says whether the committed files hold. Needs torch and safetensors.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from optimizer_systems import DEFAULTS, HALVES, KEPT, SCHEDULE, STEPS, SYSTEMS, TENSORS, settings_of

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden" / "optimizers"

# ---- what the systems share ----------------------------------------------------------------------------------------------------


def multiplier(k: int) -> float:
    if k < 5:
        return (k + 1) / 5
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (k - 5) / (STEPS - 5)))


def decay_multiplier(shape: str, k: int) -> float:
    return {"constant": 1.0, "follow_rate": multiplier(k), "cosine": 0.5 * (1 + math.cos(math.pi * k / STEPS))}[shape]


def moving(value: float, settings: dict, k: int) -> float:
    warm, cool = settings.get("schedule.momentum_warmup_steps", 0), settings.get("schedule.momentum_cooldown_steps", 0)
    if k < warm:
        return 0.85 + (value - 0.85) * k / warm
    if k >= STEPS - cool:
        return value + (0.85 - value) * (k - (STEPS - cool)) / cool
    return value


def matching(lines: list[str], name: str) -> float:
    factor = 1.0
    for line in lines:
        pattern, value = line.rsplit("=", 1)
        if fnmatch.fnmatchcase(name, pattern):
            factor = float(value)
    return factor


class Matrix:
    """A tensor, or one of its stacked matrices: views of weight and gradient, factors, and whatever its rule remembers."""

    def __init__(self, s: dict, index: int, weight: np.ndarray, gradients: np.ndarray, first_halves: np.ndarray, owner: dict) -> None:
        self.name, self.kind, self.layer, _, _ = TENSORS[index]
        self.weight, self.gradients, self.first_halves, self.owner = weight, gradients, first_halves, owner
        self.matrix = self.kind == "matrices"
        self.memory: dict[str, np.ndarray] = {}
        self.rate = matching(s["rate_factors"], self.name)
        if self.layer >= 0:
            self.rate *= s["depth_rate_factor"] ** (1 - self.layer)  # two layers
        self.peak = s["learning_rate"]
        if s["name"] in ("muon", "adamh") and not self.matrix:
            self.peak = s["other_learning_rate"]
        self.decay = s["weight_decay"] if self.kind in s["decay_on"] and s["decay"] != "none" else 0.0
        self.decay *= matching(s["decay_factors"], self.name)
        self.frozen = self.rate == 0.0
        if self.frozen:
            self.decay = 0.0
        controlled = {"none": False, "relative": self.matrix}.get(s["norm_control"])
        if controlled is None:
            rows = self.matrix or (self.kind == "embeddings" and s["rotation_embeddings"])
            controlled = rows and self.decay > 0.0
        self.controlled = controlled and not self.frozen

    def recall(self, key: str) -> np.ndarray:
        return self.memory.setdefault(key, np.zeros_like(self.weight))


def split_per_matrix(s: dict) -> bool:
    return s["name"] == "muon" or s["rate_correction"] != "none" or (s["norm_control"] != "none" and s["norm_granularity"] == "matrix")


def make_matrices(s: dict, initial: np.ndarray, gradients: np.ndarray, first_halves: np.ndarray) -> list[Matrix]:
    matrices, at = [], 0
    for index, (_, _, _, shape, stacked) in enumerate(TENSORS):
        size = math.prod(shape)
        parts = stacked if split_per_matrix(s) else 1
        for part in range(parts):
            begin, end = at + part * size // parts, at + (part + 1) * size // parts
            shape_of_part = (shape[0] // parts, *shape[1:])
            weight = initial[begin:end].astype(np.float64).reshape(shape_of_part)
            each, first = (all_of[:, begin:end].astype(np.float64).reshape(STEPS, *shape_of_part) for all_of in (gradients, first_halves))
            matrices.append(Matrix(s, index, weight, each, first, {}))
        at += size
    return matrices


def clipped(s: dict, gradients: list[np.ndarray]) -> list[np.ndarray]:
    bound = s["grad_clip"]
    if s["clip_mode"] == "value":
        return [np.clip(g, -bound, bound) for g in gradients]
    norms = [np.linalg.norm(g) for g in gradients]
    if s["clip_mode"] == "global":
        norms = [math.sqrt(sum(n * n for n in norms))] * len(gradients)
    return [g * min(1.0, bound / n) if n > 0 else g for g, n in zip(gradients, norms)]


# ---- directions: gradient -> direction, from the papers --------------------------------------------------------------------------

MARGINS: list[float] = []  # how near to 0 arguments of a sign came, beside the largest of their tensor
TURNED_OVER: list[int] = []  # gains that crossed 0, per step and tensor


def sign(x: np.ndarray) -> np.ndarray:
    MARGINS.append(np.abs(x[x != 0]).min() / np.abs(x).max())
    return np.sign(x)


def norm_ratio(b: float, nesterov: bool) -> float:
    """Squared norm under signs beside that under the average, by simulation-free sums over explicit filter coefficients."""
    length = 4000
    c = (1 - b) * b ** np.arange(length)
    if nesterov:
        c = b * c
        c[0] += 1 - b
    correlation = np.array([np.dot(c[: length - lag], c[lag:]) for lag in range(length // 2)])
    correlation /= correlation[0]
    return (1 - b) / (1 + b) * (1 + 2 * np.sum(2 / np.pi * np.arcsin(correlation[1:])))


def direction(s: dict, p: Matrix, g: np.ndarray, k: int, product: float) -> np.ndarray:
    """`product`: of the first moment's decay rates so far, this step's among them."""
    name, t = s["name"], k + 1
    if name in ("sgd", "sgdw"):
        mu = moving(s["momentum"], s, k)
        weight = 1.0 if name == "sgdw" or t == 1 else 1.0 - s["dampening"]
        if name == "sgdw" and s["momentum_includes_rate"]:
            weight = p.peak * multiplier(k)
        p.memory["m"] = mu * p.recall("m") + weight * g
        return mu * p.memory["m"] + weight * g if s["nesterov"] else p.memory["m"]
    if name == "lion":
        b1, b2 = s["beta1"], s["beta2"]
        between = b1 * p.recall("m") + (1 - b1) * g
        p.memory["m"] = b2 * p.memory["m"] + (1 - b2) * g
        return sign(between)
    if name in ("nesterov_lion", "liona", "lionar"):
        b = moving(s["momentum"], s, k)
        p.memory["m"] = b * p.recall("m") + (1 - b) * g
        ahead = b * p.memory["m"] + (1 - b) * g if s["nesterov"] or name == "nesterov_lion" else p.memory["m"]
        scale = 1.0
        if name != "nesterov_lion":
            scale = math.sqrt((1 - s["momentum"]) / (1 + s["momentum"]))
            if s["sign_scale"] == "norm_matched":
                scale /= math.sqrt(norm_ratio(s["momentum"], s["nesterov"]))
        return scale * sign(ahead)
    if name == "muon" and p.matrix:
        b = s["momentum"]
        p.memory["m"] = b * p.recall("m") + (1 - b) * g
        u = (1 - b) * g + b * p.memory["m"]
        x = u / (np.linalg.norm(u) + 1e-7)
        if x.shape[0] > x.shape[1]:
            x = x.T
        for _ in range(s["muon_iterations"]):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        if u.shape[0] > u.shape[1]:
            x = x.T
        rows, columns = u.shape
        return x * (math.sqrt(max(1, rows / columns)) if s["muon_scale"] == "shape" else 0.2 * math.sqrt(max(rows, columns)))
    # the Adam family
    b1, b2, eps = moving(s["beta1"], s, k), s["beta2"], s["eps"]
    p.memory["m"] = b1 * p.recall("m") + (1 - b1) * g
    p.memory["v"] = b2 * p.recall("v") + (1 - b2) * g * g
    mhat, vhat = p.memory["m"] / (1 - product), p.memory["v"] / (1 - b2**t)
    if s.get("bias_correction") == "second":
        mhat = p.memory["m"]
    if name == "schedule_free_adamw":
        return g / (np.sqrt(p.memory["v"] if s.get("eps_placement") == "inside" else vhat) + eps)
    if name == "ademamix":
        grown = min(1.0, t / s["ademamix_warmup_steps"]) if s["ademamix_warmup_steps"] else 1.0
        half_life = lambda beta: math.log(0.5) / math.log(beta) - 1
        h = half_life(s["beta1"]) + grown * (half_life(s["beta3"]) - half_life(s["beta1"]))
        b3 = 0.5 ** (1 / (h + 1))
        p.memory["slow"] = b3 * p.recall("slow") + (1 - b3) * g
        return (mhat + s["ademamix_alpha"] * grown * p.memory["slow"]) / (np.sqrt(vhat) + eps)
    if s.get("eps_placement") == "inside":
        return mhat / (np.sqrt(p.memory["v"]) + eps) * math.sqrt(1 - b2**t)
    return mhat / (np.sqrt(vhat) + eps)


def corrected_rate(s: dict, p: Matrix, k: int) -> float:
    """By the mean gradients of the batch's halves, before clipping and decay; arXiv 2410.23922.

    Rates are such that an in-batch output of a layer moves as far as it would without signal.
    """
    if s["rate_correction"] == "none" or len(p.weight.shape) == 1:
        return 1.0
    b = s["momentum"] if s["name"] in ("lionar", "sgd") else s["beta1"]
    keep, examples = s["rate_correction_smoothing"], sum(HALVES)
    first = p.first_halves[k] * examples / HALVES[0]
    second = (p.gradients[k] - p.first_halves[k]) * examples / HALVES[1]
    state, squares = p.owner.setdefault("noise", [0.0, 0.0]), (HALVES[0] * np.sum(first**2) + HALVES[1] * np.sum(second**2)) / examples
    state[0] = keep * state[0] + (1 - keep) * np.sum(first * second) / squares
    # An example's noise, tr(Sigma), is in the halves' difference (1/a + 1/b) times, in the batch's mean 1/(a+b) times.
    state[1] = keep * state[1] + (1 - keep) * np.sum((first - second) ** 2) / (1 / HALVES[0] + 1 / HALVES[1]) / examples / squares
    q = max(0.0, state[0] / state[1])
    phi = q / examples
    if s["rate_correction"] == "gradient":
        return math.sqrt((1 + phi) / (1 + q))
    cosine = lambda phi: (phi + (1 - b) / examples) / math.sqrt((phi + (1 - b) / ((1 + b) * examples)) * (1 + phi))
    return min(1.0, cosine(0.0) / cosine(phi))


# ---- steps that hold or train a norm -----------------------------------------------------------------------------------------------------


def equilibrium(s: dict, d: float) -> float:
    name = s["name"]
    b = s["beta1"] if name in ("adamw", "lion") else s["momentum"]
    if name == "lion":
        return math.sqrt(math.pi / 2) * math.sqrt(2 * d) * math.sqrt((1 - b) ** 2 + b**2 * (1 - s["beta2"]) / (1 + s["beta2"]))
    if name == "sgd":
        return math.sqrt(2 * d / (1 + b))
    return math.sqrt(2 * d * (1 - b) / (1 + b))


def rows_held(s: dict, p: Matrix) -> list[tuple]:
    return [(slice(None),)] if s["norm_granularity"] == "matrix" else [(r,) for r in range(len(p.weight))]


def begin_rotation(s: dict, p: Matrix) -> None:
    """Before the first gradient: rows lose their mean and keep their norm (github.com/epfml/REQ)."""
    for row in rows_held(s, p):
        n = np.linalg.norm(p.weight[row])
        p.owner["row", str(row)] = {"n": n, "Q": 0.0}
        if s["rotation_zero_mean"]:
            w = p.weight[row] - p.weight[row].mean()
            p.weight[row] = w * n / np.linalg.norm(w)


def rotate(s: dict, p: Matrix, dp: np.ndarray, angle: float, t: int) -> None:
    for row in rows_held(s, p):
        w, u = p.weight[row], dp[row].copy()
        size = np.sum(u * u)
        state = p.owner["row", str(row)]
        if s["rotation_zero_mean"]:
            u = u - u.mean()
        u = u - w * np.sum(u * w) / state["n"] ** 2
        if np.sum(u * u) <= 1e-12 * size:
            continue  # temper leaves alone what cannot turn
        undf = s["rotation_averaging"]
        state["Q"] = undf * state["Q"] + (1 - undf) * np.sum(u * u)
        w = w - angle * state["n"] * u / (math.sqrt(state["Q"] / (1 - undf**t)) + 1e-8)
        p.weight[row] = w * state["n"] / np.linalg.norm(w)


def train_gains(s: dict, p: Matrix, g: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows w = s v with ||v|| = 1: torch differentiates for s, which may change its sign, and makes Adam's step; s before and after."""
    if "gains" not in p.owner:
        p.owner["gains"] = torch.nn.Parameter(torch.tensor([p.owner["row", str(row)]["n"] for row in rows_held(s, p)]))
        own = (s["beta1"], s["beta2"]), s["eps"]
        p.owner["adam"] = torch.optim.Adam([p.owner["gains"]], 1.0, *(own if s["name"] == "adamw" else ((0.9, 0.95), 1e-8)))
    gains, adam = p.owner["gains"], p.owner["adam"]
    before = gains.detach().numpy().copy()
    v = torch.from_numpy(p.weight / before[:, None])
    adam.zero_grad()
    (torch.from_numpy(g) * gains[:, None] * v / torch.linalg.norm(v, dim=1, keepdim=True)).sum().backward()
    adam.param_groups[0]["lr"] = rate
    adam.step()
    return before, gains.detach().numpy().copy()


def relative(s: dict, p: Matrix, u: np.ndarray, rate: float) -> None:
    for row in rows_held(s, p):
        w = p.weight[row]
        if u[row].any():
            n = p.owner.setdefault(("n", row[0] if isinstance(row[0], int) else -1), np.linalg.norm(w))
            w = w - rate * n * u[row] / max(np.linalg.norm(u[row]), 1e-10)
            p.weight[row] = w * n / np.linalg.norm(w)


# ---- trajectories ----------------------------------------------------------------------------------------------------------------


def transcribed(s: dict, *inputs: np.ndarray) -> list[np.ndarray]:
    parts = make_matrices(s, *inputs)
    trajectory, product, averaged = [], 1.0, [0.0, 0.0]
    for p in parts:
        if p.controlled and s["norm_control"] == "rotational":
            begin_rotation(s, p)
    b1 = s["momentum"] if s["name"] in ("sgd", "sgdw", "nesterov_lion", "liona", "lionar", "muon") else s["beta1"]
    for k in range(STEPS):
        t, sk = k + 1, multiplier(k)
        product *= moving(b1, s, k)
        lam = decay_multiplier(s["decay_schedule"], k)
        young = {"none": 1.0, "linear": 1 - product, "root": math.sqrt(1 - product**2)}[s["inverse_bias_correction"]]
        before = [p.gradients[k] for p in parts]
        if s["l2_stage"] == "before_clipping":
            before = [g + lam * p.decay * p.weight for p, g in zip(parts, before)]
        for p, g in zip(parts, clipped(s, before)):
            if p.frozen:
                continue
            if s["decay"] == "l2" and s["l2_stage"] == "after_clipping" and not p.controlled:
                g = g + lam * p.decay * p.weight
            if s["decay"] == "scale_adjusted":
                preconditioner = np.sqrt(p.recall("v") / (1 - s["beta2"] ** k if k else 1.0)) + s["eps"]
                g = g + lam * p.decay / p.peak * preconditioner * p.weight
            beside = s if p.matrix or s["name"] != "muon" else s | {"name": "adamw"}
            u = direction(beside, p, g, k, s["beta1"] ** t if beside is not s else product)
            rate = p.peak * p.rate * sk
            r = corrected_rate(s, p, k)
            d = {
                "decoupled": rate,
                "cautious": rate,
                "independent": sk,
                "normalized": sk / math.sqrt(STEPS),
            }.get(s["decay"], 0.0)
            d *= lam * p.decay
            if p.controlled and s["norm_control"] == "relative":
                relative(s, p, u, rate * r)
            elif p.controlled:
                whole = d if s["decay"] != "l2" else rate * lam * p.decay
                angle = equilibrium(s, whole) * (math.sqrt(sk) if s["rotation_schedule"] == "linear" else 1.0)
                gains = train_gains(s, p, g, rate * r) if s["rotation_gains"] else None
                rotate(s, p, u, angle * young * r, t)
                if gains:
                    before, after = gains
                    p.weight *= (after / before)[:, None]
                    for row, n in zip(rows_held(s, p), after):
                        p.owner["row", str(row)]["n"] = abs(n)
                    TURNED_OVER.append(np.sum(after * before < 0))
            elif s["name"] == "schedule_free_adamw":
                z, x = p.owner.setdefault("z", p.weight.copy()), p.owner.setdefault("x", p.weight.copy())
                # arXiv 2405.15682, algorithm 1: gamma_t = gamma sqrt(1 - beta2^t); the package since 1.3 has it in vhat alone.
                paper = s.get("eps_placement") == "inside"
                gamma = lambda j: p.peak * multiplier(j) * (math.sqrt(1 - s["beta2"] ** (j + 1)) if paper else 1.0)
                z -= (d * p.weight + rate * u) * (gamma(k) / (p.peak * sk))
                largest = max(gamma(j) for j in range(t))
                weight = t ** s["averaging_power"] * largest**2
                p.owner["sum"] = p.owner.get("sum", 0.0) + weight
                x += weight / p.owner["sum"] * (z - x)
                p.weight[...] = (1 - s["beta1"]) * z + s["beta1"] * x
            else:
                keep = np.full_like(p.weight, d)
                if s["decay"] == "cautious":
                    keep[u * p.weight < 0] = 0.0
                if s["name"] == "sgdw" and s["momentum_includes_rate"]:
                    rate = 1.0
                p.weight -= keep * p.weight + rate * young * r * u
        shown = [p.owner.get("x", p.weight) for p in parts]
        trajectory.append(np.concatenate([w.ravel() for w in shown]))
    return trajectory


BY_TORCH = ["sgd", "sgd_plain", "sgd_nesterov", "sgd_dampening", "sgd_l2_before_clipping", "adam", "adam_l2_before_clipping", "adamw",
            "adamw_clip_tensor", "adamw_clip_value", "adamw_factors"]  # fmt: skip


def by_torch(s: dict, *inputs: np.ndarray) -> list[np.ndarray]:
    parts = make_matrices(s, *inputs)
    before_clipping = s["l2_stage"] == "before_clipping"
    groups, lr = [], s["learning_rate"]
    for p in parts:
        p.parameter = torch.nn.Parameter(torch.from_numpy(p.weight.copy()))
        groups.append({"params": [p.parameter], "weight_decay": 0.0 if before_clipping else p.decay})
    if s["name"] == "sgd":
        optimizer = torch.optim.SGD(groups, lr, s["momentum"], s["dampening"], nesterov=s["nesterov"])
    else:
        kind = torch.optim.Adam if s["name"] == "adam" else torch.optim.AdamW
        optimizer = kind(groups, lr, (s["beta1"], s["beta2"]), s["eps"])
    trajectory = []
    for k in range(STEPS):
        before = [p.gradients[k] + (p.decay * p.parameter.detach().numpy() if before_clipping else 0.0) for p in parts]
        for p, g, group in zip(parts, clipped(s, before), optimizer.param_groups):
            p.parameter.grad = torch.from_numpy(np.array(g))
            group["lr"] = p.peak * p.rate * multiplier(k)
        optimizer.step()
        trajectory.append(np.concatenate([p.parameter.detach().numpy().ravel() for p in parts]))
    return trajectory


def make_inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of very different sizes per tensor, with a signal that fades, and their first halves; one row of the embedding never gets any."""
    random = np.random.default_rng(20240917)
    size = sum(math.prod(shape) for _, _, _, shape, _ in TENSORS)
    initial = random.normal(0, 0.5, size)
    signal, gradients = random.normal(0, 1, size), random.normal(0, 1, (STEPS, size))
    gradients += signal * np.exp(-np.arange(STEPS) / 20)[:, None]
    # Halves that differ as means of a and b examples do whose mean has a noise of 1.
    a, b = HALVES
    difference = random.normal(0, (a + b) / math.sqrt(a * b), gradients.shape)
    first_halves = a / (a + b) * (gradients + b / (a + b) * difference)
    at = 0
    for index, (name, _, _, shape, _) in enumerate(TENSORS):
        for each in (gradients, first_halves):
            each[:, at : at + math.prod(shape)] *= 0.15 * 1.7 ** (index - 3)
            if name == "wte.weight":
                each[:, at + 2 * shape[1] : at + 3 * shape[1]] = 0.0
        at += math.prod(shape)
    return initial.astype(np.float32), gradients.astype(np.float32), first_halves.astype(np.float32)


def make_files() -> tuple[dict[str, np.ndarray], dict]:
    inputs = make_inputs()
    arrays = dict(zip(("initial", "gradients", "first_halves"), inputs))
    sizes = [math.prod(shape) for _, _, _, shape, _ in TENSORS]
    splits = np.cumsum(sizes)[:-1]
    for system in SYSTEMS:
        s = settings_of(system)
        trajectory = np.stack(transcribed(s, *inputs))
        if system in BY_TORCH:
            theirs = np.stack(by_torch(s, *inputs))
            assert np.abs(theirs - trajectory).max() < 1e-12, f"{system}: transcription and torch.optim differ"
            trajectory = theirs
        waves = np.concatenate([np.cos(1 + np.arange(size)) for size in sizes])
        arrays[f"{system}.sums"] = np.stack([[part.sum() for part in np.split(w * waves, splits)] for w in trajectory])
        arrays[f"{system}.weights"] = trajectory[[step - 1 for step in KEPT]].astype(np.float32)
    # f32 moments differ from these by a few 1e-7 of their size: f32 sees the same signs.
    assert min(MARGINS) > 2e-6, f"a sign's argument is {min(MARGINS)} of the largest; draw other gradients"
    assert sum(TURNED_OVER) > 0, "no trained gain crossed 0; draw other gradients"
    with_section = lambda keys: {key if "." in key else f"optimizer.{key}": value for key, value in keys.items()}
    table = {
        "steps": STEPS,
        "kept": KEPT,
        "halves": HALVES,
        "schedule": SCHEDULE,
        "tensors": [dict(zip(("name", "kind", "layer", "shape", "stacked"), tensor)) for tensor in TENSORS],
        "systems": {system: {"optimizer.learning_rate": DEFAULTS["learning_rate"]} | with_section(keys) for system, keys in SYSTEMS.items()},
    }
    return arrays, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files instead of writing them")
    arguments = parser.parse_args()
    arrays, table = make_files()
    path, text = FOLDER / "trajectories.safetensors", json.dumps(table, indent=1) + "\n"
    if not arguments.check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        save_file(arrays, path)
        (FOLDER / "systems.json").write_text(text)
        print(f"{path}: {len(SYSTEMS)} systems, {path.stat().st_size} bytes; least argument of a sign, beside its tensor's largest, {min(MARGINS):.2g}")
        return
    committed = load_file(path)
    # float64 libraries sum in different orders; F32 copies may then round to a neighbour.
    wrong = [name for name in arrays if name not in committed or not np.allclose(arrays[name], committed[name], rtol=2e-7, atol=1e-9)]
    if wrong or committed.keys() != arrays.keys() or (FOLDER / "systems.json").read_text() != text:
        sys.exit(f"differ from the committed files: {wrong or 'the list of systems'}")
    print(f"{len(SYSTEMS)} systems hold")


main()
