#!/usr/bin/env python3
"""Makes the golden values that temper's model and trainer are tested against, with PyTorch in float64.

Each folder tests/golden/NAME holds
  config.json, model.safetensors   a small GPT-2 in Hugging Face's form, fixed seed, F32 weights
  tokens.json                      inputs and targets, [B][T]
  expected.safetensors             for those tokens: logits F64 [B,T,vocab], loss F64 [1] (mean over all tokens), and the
                                   gradient of the loss for every parameter, F32, under the parameter's own name and layout
  trajectory.json                  AdamW from the same weights: settings and, for each step, inputs, targets, the loss and the
                                   gradient norm before clipping
  curriculum.json                  the first of those steps once more, on windows cut into sequences whose length grows
  mup.json                         the same steps at BASE_RATIO times a base width, for AdamW and SGD: muP as its paper has it, with
                                   logits and attention scores multiplied in the model; the weights are the unmultiplied ones

Weights are drawn wider than GPT-2's own initialisation, gains and biases too, so that no gradient is close to zero and an
error anywhere shows. `--check` makes everything again and says whether the committed files still hold. Needs `safetensors`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt2_reference import Config, Gpt2, load_folder, mean_loss, relative_error

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
# Sizes that are multiples of nothing convenient: context, vocabulary and heads are where edges go wrong.
MODELS = {
    "gpt2_bias": (Config(n_layer=3, n_head=4, n_embd=64, n_ctx=48, vocab_size=301, bias=True), 20240601),
    "gpt2_nobias": (Config(n_layer=2, n_head=3, n_embd=48, n_ctx=37, vocab_size=130, bias=False), 20240602),
}
BATCH = 3
STEPS = 50
CURRICULUM_STEPS, GROWTH = 12, 10  # steps, and in how many of them sequences are shorter than the context
ADAMW = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0}
BASE_RATIO = 2
SGD = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
WEIGHT_STD = 0.08


def random_weights(config: Config, generator: torch.Generator) -> dict[str, Tensor]:
    """F32 weights under Hugging Face's names."""
    weights = {}
    for name, like in Gpt2(config).hugging_face_weights().items():
        gain = name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight"))
        weights[name] = (1.0 if gain else 0.0) + WEIGHT_STD * torch.randn(like.shape, generator=generator)
    return weights


class MarkovText:
    """Token sequences with something to learn: after each token one of four follows."""

    def __init__(self, vocab_size: int, generator: torch.Generator) -> None:
        self.generator = generator
        self.vocab_size = vocab_size
        self.followers = torch.randint(vocab_size, (vocab_size, 4), generator=generator)

    def batch(self, length: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, [BATCH, length] each."""
        tokens = torch.randint(self.vocab_size, (BATCH, length + 1), generator=self.generator)
        choices = torch.randint(4, (BATCH, length + 1), generator=self.generator)
        for t in range(length):
            tokens[:, t + 1] = self.followers[tokens[:, t], choices[:, t]]
        return tokens[:, :-1], tokens[:, 1:]


def expected_values(model: Gpt2, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    logits = model(inputs)
    loss = mean_loss(logits, targets)
    loss.backward()
    gradients = {name: value.float() for name, value in model.hugging_face_gradients().items()}
    return {"logits": logits.detach(), "loss": loss.detach().reshape(1), **gradients}


def trajectory(model: Gpt2, batches: list[tuple[Tensor, Tensor]]) -> list[dict]:
    """AdamW steps, one on each batch; decay on matrices and embeddings only; gradients times min(1, grad_clip / norm)."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": ADAMW["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}]
    betas = (ADAMW["beta1"], ADAMW["beta2"])
    optimizer = torch.optim.AdamW(groups, lr=ADAMW["learning_rate"], betas=betas, eps=ADAMW["eps"])
    steps = []
    for inputs, targets in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = mean_loss(model(inputs), targets)
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.sqrt(sum((g * g).sum() for g in gradients))
        # torch's clip_grad_norm_ divides by norm + 1e-6; here the factor is exactly min(1, c / norm).
        for gradient in gradients:
            gradient.mul_(min(1.0, ADAMW["grad_clip"] / norm.item()))
        optimizer.step()
        step = {"loss": loss.item(), "grad_norm": norm.item(), "inputs": inputs.tolist(), "targets": targets.tolist()}
        steps.append(step)
    return steps


class MupGpt2(Gpt2):
    """Logits over m; scores over the head's width instead of its root, as large as those at the base width are at that."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        head = config.n_embd // config.n_head
        scale = math.sqrt(head / BASE_RATIO) / head

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            later = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
            return torch.softmax((q @ k.transpose(-2, -1) * scale).masked_fill(later, -math.inf), dim=-1) @ v

        for block in self.transformer["h"]:
            block.attn.attend = attend

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) / BASE_RATIO


def mup_losses(folder: Path, batches: list[tuple[Tensor, Tensor]], adam: bool) -> list[float]:
    """Before each step. Rates by table 8 of arXiv 2203.03466, decays such that rate x decay is that at the base width.

    temper trains multiples of these weights, and holds Adam's eps against the gradients of those.
    """
    plain = load_folder(folder)[0]
    model = MupGpt2(plain.config).double()
    model.load_state_dict(plain.state_dict())
    groups = []
    for name, parameter in model.named_parameters():
        matrix = parameter.dim() == 2 and ".h." in name
        multiple = 1 / BASE_RATIO if "ln_f" in name else BASE_RATIO**-0.25 if "c_attn" in name else 1
        if name.endswith("attn.c_proj.weight"):
            multiple = BASE_RATIO**0.25
        rate = (1 / BASE_RATIO if matrix else 1) if adam else (1 if matrix else BASE_RATIO)
        settings = ADAMW if adam else SGD
        decay = settings["weight_decay"] / rate if parameter.dim() == 2 else 0.0
        group = {"params": [parameter], "lr": settings["learning_rate"] * rate, "weight_decay": decay}
        groups.append(group | ({"eps": ADAMW["eps"] * multiple} if adam else {}))
    optimizer = torch.optim.AdamW(groups, betas=(ADAMW["beta1"], ADAMW["beta2"])) if adam else torch.optim.SGD(groups, lr=1.0, momentum=SGD["momentum"])
    losses = []
    for inputs, targets in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = mean_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def lengths_that_grow(n_ctx: int) -> list[int]:
    """Of each step's sequences: the largest that a line from the shortest to n_ctx has reached, of those that divide n_ctx and are, where it is one
    itself, multiples of 8."""
    lengths = [n for n in range(1, n_ctx + 1) if n_ctx % n == 0 and (n_ctx % 8 or n % 8 == 0)]
    line = [lengths[0] + (n_ctx - lengths[0]) * Fraction(k, GROWTH) for k in range(CURRICULUM_STEPS)]
    return [max(n for n in lengths if n <= min(reached, n_ctx)) for reached in line]


def curriculum(model: Gpt2, batches: list[tuple[Tensor, Tensor]]) -> dict:
    lengths = lengths_that_grow(model.config.n_ctx)
    cut = [(inputs.reshape(-1, n), targets.reshape(-1, n)) for (inputs, targets), n in zip(batches, lengths)]
    steps = [{"length": n, "loss": step["loss"], "grad_norm": step["grad_norm"]} for n, step in zip(lengths, trajectory(model, cut))]
    return {"context_warmup_steps": GROWTH, "context_start": lengths[0], "steps": steps}


def make(folder: Path, config: Config, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = random_weights(config, generator)
    text = MarkovText(config.vocab_size, generator)
    inputs, targets = text.batch(config.n_ctx)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_hugging_face(), indent=2) + "\n")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = {"inputs": inputs.tolist(), "targets": targets.tolist()}
    (folder / "tokens.json").write_text(json.dumps(tokens) + "\n")
    expected = expected_values(load_folder(folder)[0], inputs, targets)
    save_file(expected, folder / "expected.safetensors", metadata={"format": "pt"})
    batches = [text.batch(config.n_ctx) for _ in range(STEPS)]
    steps = trajectory(load_folder(folder)[0], batches)
    lines = ",\n".join(json.dumps(step) for step in steps)
    (folder / "trajectory.json").write_text(f'{{"optimizer": {json.dumps(ADAMW)}, "steps": [\n{lines}\n]}}\n')
    (folder / "curriculum.json").write_text(json.dumps(curriculum(load_folder(folder)[0], batches), indent=1) + "\n")
    mup = {"ratio": BASE_RATIO, "sgd": SGD, "losses": {"adamw": mup_losses(folder, batches, True), "sgd": mup_losses(folder, batches, False)}}
    (folder / "mup.json").write_text(json.dumps(mup, indent=1) + "\n")


def differences(committed: Path, fresh: Path) -> list[str]:
    """What a fresh folder says otherwise than the committed one."""
    found = []
    for name in ("config.json", "tokens.json"):
        if json.loads((committed / name).read_text()) != json.loads((fresh / name).read_text()):
            found.append(f"{name} differs")
    # Inputs are bit for bit the same; results move in the last digits between PyTorch versions and processors, and the
    # gradients are stored as F32.
    for name, tolerance in (("model.safetensors", 0.0), ("expected.safetensors", 1e-7)):
        ours, theirs = load_file(committed / name), load_file(fresh / name)
        if ours.keys() != theirs.keys():
            found.append(f"{name}: other tensors")
            continue
        found += [f"{name}: {key}" for key in ours if not relative_error(ours[key].double(), theirs[key].double()) <= tolerance]
    ours, theirs = (json.loads((folder / "trajectory.json").read_text()) for folder in (committed, fresh))
    if ours["optimizer"] != theirs["optimizer"] or len(ours["steps"]) != len(theirs["steps"]):
        return [*found, "trajectory.json: other settings"]
    for index, (one, other) in enumerate(zip(ours["steps"], theirs["steps"], strict=True)):
        same_tokens = all(one[key] == other[key] for key in ("inputs", "targets"))
        if not same_tokens or any(not abs(one[key] - other[key]) <= 1e-9 for key in ("loss", "grad_norm")):
            found.append(f"trajectory.json: step {index + 1}")
    ours, theirs = (json.loads((folder / "curriculum.json").read_text()) for folder in (committed, fresh))
    if any(ours[key] != theirs[key] for key in ("context_warmup_steps", "context_start")) or len(ours["steps"]) != len(theirs["steps"]):
        return [*found, "curriculum.json: other settings"]
    for index, (one, other) in enumerate(zip(ours["steps"], theirs["steps"], strict=True)):
        if any(not abs(one[key] - other[key]) <= 1e-9 for key in one):
            found.append(f"curriculum.json: step {index + 1}")
    ours, theirs = (json.loads((folder / "mup.json").read_text()) for folder in (committed, fresh))
    if any(ours[key] != theirs[key] for key in ("ratio", "sgd")) or ours["losses"].keys() != theirs["losses"].keys():
        return [*found, "mup.json: other settings"]
    found += [f"mup.json: {name}" for name, losses in ours["losses"].items() if any(not abs(a - b) <= 1e-9 for a, b in zip(losses, theirs["losses"][name], strict=True))]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the committed files no longer hold")
    arguments = parser.parse_args()

    failed = False
    for name, (config, seed) in MODELS.items():
        if arguments.check:
            with tempfile.TemporaryDirectory() as temporary:
                make(Path(temporary), config, seed)
                found = differences(GOLDEN / name, Path(temporary))
            failed |= bool(found)
            print(f"{'FAILED' if found else 'ok'}: {name}" + "".join(f"\n  {line}" for line in found))
        else:
            make(GOLDEN / name, config, seed)
            size = sum(file.stat().st_size for file in (GOLDEN / name).iterdir())
            print(f"{GOLDEN / name}: {size} bytes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
