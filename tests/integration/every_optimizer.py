"""every_optimizer.py TEMPER PROJECT [--only NAME]: every named optimizer trains the quickstart's model, and a killed run that resumes is the same.

What configs/quickstart.json trains, for fewer steps and on a made-up language. tests/train/optimizers_test.cpp has the short form, on a tiny model.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path

from harness import Workspace, at_line, check, final_bytes, metrics

STEPS, SAVED_AT, KILLED_AT = 32, 8, 11
# The rate is what the direction's size asks for: 3e-3 where it is about 1 an element, less for plain signs, more for gradients.
OPTIMIZERS: dict[str, dict] = {
    "sgd": {"name": "sgd", "learning_rate": 0.3},
    "sgd nesterov": {"name": "sgd", "learning_rate": 0.3, "nesterov": True},
    "sgd without momentum": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0},
    "sgdw": {"name": "sgdw", "learning_rate": 0.3, "weight_decay": 1e-4},
    "adam with L2": {"name": "adam", "learning_rate": 3e-3, "weight_decay": 1e-4},
    "adam with L2 before clipping": {"name": "adam", "learning_rate": 3e-3, "weight_decay": 1e-4, "l2_stage": "before_clipping"},
    "adam with scale-adjusted L2": {"name": "adam", "learning_rate": 3e-3, "decay": "scale_adjusted", "weight_decay": 1e-4},
    "adamw": {"name": "adamw", "learning_rate": 3e-3},
    "adamw of the paper": {"name": "adamw", "learning_rate": 3e-3, "decay": "independent", "weight_decay": 3e-4},
    "adamw with the second correction": {"name": "adamw", "learning_rate": 3e-3, "bias_correction": "second"},
    "adamw, cautious decay": {"name": "adamw", "learning_rate": 3e-3, "decay": "cautious"},
    "adamw, normalized decay": {"name": "adamw", "learning_rate": 3e-3, "decay": "normalized", "weight_decay": 1e-3},
    "adamw, rotational": {"name": "adamw", "learning_rate": 3e-3, "norm_control": "rotational"},
    "adamw, each tensor clipped": {"name": "adamw", "learning_rate": 3e-3, "clip_mode": "tensor"},
    "adamw, elements clipped": {"name": "adamw", "learning_rate": 3e-3, "clip_mode": "value"},
    "adamc": {"name": "adamc", "learning_rate": 3e-3},
    "lion": {"name": "lion", "learning_rate": 6e-4},
    "nesterov_lion": {"name": "nesterov_lion", "learning_rate": 6e-4},
    "liona": {"name": "liona", "learning_rate": 3e-3},
    "lionar": {"name": "lionar", "learning_rate": 3e-3, "weight_decay": 1.0},
    "lionar, by matrix": {"name": "lionar", "learning_rate": 3e-3, "weight_decay": 1.0, "norm_granularity": "matrix"},
    "lionar, gains trained": {"name": "lionar", "learning_rate": 3e-3, "weight_decay": 1.0, "rotation_gains": True},
    "lionar, corrected": {
        "name": "lionar", "learning_rate": 3e-3, "weight_decay": 1.0, "nesterov": True,
        "rate_correction": "momentum", "inverse_bias_correction": "linear",
    },
    "adamh": {"name": "adamh", "learning_rate": 1e-2},
    "muon": {"name": "muon", "learning_rate": 1e-2, "other_learning_rate": 3e-3},
    "ademamix": {"name": "ademamix", "learning_rate": 3e-3, "ademamix_warmup_steps": 16},
    "schedule_free_adamw": {"name": "schedule_free_adamw", "learning_rate": 3e-3},
}


def language(words: int) -> str:
    """Words of a made-up vocabulary, the frequent ones often, so that a vocabulary of 2048 tokens finds enough to merge."""
    draw = random.Random(5)
    syllables = [consonant + vowel + end for consonant in "bdfgklmnprstv" for vowel in "aeiou" for end in ("", "n", "r", "s")]
    vocabulary = ["".join(draw.choice(syllables) for _ in range(draw.randint(1, 4))) for _ in range(3000)]
    chosen = draw.choices(vocabulary, weights=[1 / (rank + 5) for rank in range(len(vocabulary))], k=words)
    return " ".join(word + ("." if index % 11 == 0 else "") for index, word in enumerate(chosen)) + "\n"


def make_data(work: Workspace, project: Path) -> None:
    """data/quickstart and the configuration, where the configuration looks for them."""
    shutil.copytree(project / "configs", work.folder / "configs")
    (work.folder / "language.txt").write_text(language(120_000))
    data = "data/quickstart"
    work.ok("data", "train-tokenizer", "language.txt", "--vocab-size", "2048", "--out", data)
    work.ok("data", "tokenize", "language.txt", "--tokenizer", data, "--out", data, "--name", "text", "--val-fraction", "0.05")


def train(work: Workspace, name: str) -> None:
    optimizer = json.dumps(OPTIMIZERS[name])
    keeps_rate = '"schedule": {"name": "constant", "min_ratio": null},' if name == "schedule_free_adamw" else ""
    (work.folder / "configs" / "one.json").write_text(
        f'{{"extends": "quickstart.json", "train": {{"steps": {STEPS}}}, "batch": {{"micro_batch": 8}}, "optimizer": {optimizer}, {keeps_rate} "log": {{"tensorboard": false}},'
        f'"eval": {{"every": {STEPS}, "tokens": 8192}}, "checkpoint": {{"every": {SAVED_AT}, "keep": 2}}, "diagnostics": {{"every": 10}}}}'
    )
    work.ok("train", "configs/one.json", "--out", "straight")
    work.killed_at(at_line(KILLED_AT), "train", "configs/one.json", "--out", "killed")
    check(work.checkpoints("killed")[-1].name == f"step-{SAVED_AT:08}", f"{name}: {work.checkpoints('killed')}")
    work.ok("train", "configs/one.json", "--out", "killed", "--resume")

    straight, killed = work.folder / "straight", work.folder / "killed"
    check(final_bytes(straight) == final_bytes(killed), f"{name}: the final tensors of the resumed run differ")
    check(metrics(straight) == metrics(killed), f"{name}: metrics.jsonl of the resumed run differs beyond its timing")
    check((straight / "diagnostics.jsonl").read_bytes() == (killed / "diagnostics.jsonl").read_bytes(), f"{name}: diagnostics differ")
    losses = [line["val_loss"] for line in metrics(straight) if "val_loss" in line]
    # The language's words can be learnt for nats; what optimizers gain in 32 steps differs much, and a tenth is above any noise.
    check(losses[-1] < losses[0] - 0.1, f"{name}: val_loss went from {losses[0]:.3f} to {losses[-1]:.3f}")
    print(f"{name:34s} val_loss {losses[0]:.3f} -> {losses[-1]:.3f}, killed at step {KILLED_AT}, resumed: equal", flush=True)
    shutil.rmtree(straight)
    shutil.rmtree(killed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("temper")
    parser.add_argument("project", type=Path)
    parser.add_argument("--only", choices=OPTIMIZERS, metavar="NAME")
    arguments = parser.parse_args()
    with Workspace(arguments.temper) as work:
        make_data(work, arguments.project)
        for name in [arguments.only] if arguments.only else OPTIMIZERS:
            train(work, name)


main()
