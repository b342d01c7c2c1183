#!/usr/bin/env python3
"""GPT-2 in plain PyTorch: the oracle that temper's numbers are held against.

Runs on PyTorch 1.13 and newer, in any floating type. Linear layers are torch's own ([out, in], the fast layout);
`load_hugging_face` and `hugging_face_gradients` speak Hugging Face's names and its [in, out] matrices.

As a program it shows that this model is GPT-2: in float64, with the weights of the given checkpoint folders, its logits, its
loss and every gradient equal those of transformers' GPT2LMHeadModel. Needs `transformers` and `safetensors`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYERNORM_EPSILON = 1e-5
# The four matrices that Hugging Face keeps as Conv1D, transposed against nn.Linear.
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


@dataclass(frozen=True)
class Config:
    n_layer: int
    n_head: int
    n_embd: int
    n_ctx: int
    vocab_size: int
    bias: bool = True

    @staticmethod
    def from_hugging_face(values: dict) -> Config:
        """From the contents of a config.json; `bias` is temper's own key, absent in Hugging Face's files."""
        names = ("n_layer", "n_head", "n_embd", "vocab_size")
        return Config(n_ctx=values["n_positions"], bias=values.get("bias", True), **{name: values[name] for name in names})

    def to_hugging_face(self) -> dict:
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": self.vocab_size,
            "n_positions": self.n_ctx,
            "n_ctx": self.n_ctx,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": None,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": LAYERNORM_EPSILON,
            "initializer_range": 0.02,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "bos_token_id": self.vocab_size - 1,
            "eos_token_id": self.vocab_size - 1,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            "bias": self.bias,
        }


def transpose_matrices(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """From nn.Linear's layout to Hugging Face's, or back."""
    return {name: value.t().contiguous() if name.endswith(TRANSPOSED) else value for name, value in tensors.items()}


class LayerNorm(nn.Module):
    """nn.LayerNorm with an optional bias, which PyTorch 1.13 does not offer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.n_embd))
        self.bias = nn.Parameter(torch.zeros(config.n_embd)) if config.bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, LAYERNORM_EPSILON)


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.explicit = not hasattr(F, "scaled_dot_product_attention")
        if self.explicit:
            mask = torch.ones(config.n_ctx, config.n_ctx, dtype=torch.bool).triu(1)
            self.register_buffer("mask", mask, persistent=False)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[B,H,T,D] each -> [B,H,T,D]."""
        if not self.explicit:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(q.shape[-1]))
        t = q.shape[-2]
        return F.softmax(scores.masked_fill(self.mask[:t, :t], -math.inf), dim=-1) @ v

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.n_head, c // self.n_head).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        return self.c_proj(self.attend(q, k, v).transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config)
        self.attn = Attention(config)
        self.ln_2 = LayerNorm(config)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt2(nn.Module):
    """Weights start as GPT-2's: normal with std 0.02, residual projections scaled by 1/sqrt(2 n_layer), biases zero."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.n_embd),
                "wpe": nn.Embedding(config.n_ctx, config.n_embd),
                "h": nn.ModuleList(Block(config) for _ in range(config.n_layer)),
                "ln_f": LayerNorm(config),
            }
        )
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith("c_proj.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layer) if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,T] token ids -> [B,T,vocab] logits."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](positions)
        for block in self.transformer["h"]:
            x = block(x)
        return F.linear(self.transformer["ln_f"](x), self.transformer["wte"].weight)

    def load_hugging_face(self, tensors: dict[str, Tensor]) -> None:
        """Every parameter from tensors under Hugging Face's names; a missing or extra name is an error."""
        self.load_state_dict(transpose_matrices(tensors))

    def hugging_face_weights(self) -> dict[str, Tensor]:
        return transpose_matrices({name: parameter.detach() for name, parameter in self.named_parameters()})

    def hugging_face_gradients(self) -> dict[str, Tensor]:
        return transpose_matrices({name: parameter.grad for name, parameter in self.named_parameters()})


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def load_folder(folder: Path, dtype: torch.dtype = torch.float64) -> tuple[Gpt2, dict[str, Tensor]]:
    """The model of a checkpoint folder, and its tensors as stored in the file but in `dtype`."""
    from safetensors.torch import load_file  # not there for the 1.13 benchmark, which needs no files

    config = Config.from_hugging_face(json.loads((folder / "config.json").read_text()))
    tensors = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
    model = Gpt2(config).to(dtype)
    model.load_hugging_face(tensors)
    return model, tensors


def relative_error(value: Tensor, reference: Tensor) -> float:
    """norm(value - reference) / norm(reference)."""
    return ((value - reference).norm() / reference.norm()).item()


def check_against_transformers(folder: Path) -> dict[str, float]:
    """Relative errors of logits, loss and every gradient against GPT2LMHeadModel in float64, on random tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model, tensors = load_folder(folder)
    config = model.config
    theirs = GPT2LMHeadModel(GPT2Config(**config.to_hugging_face())).double()
    # Theirs always has biases; where ours has none, zeros make it the same function.
    zeros = {name: torch.zeros_like(value) for name, value in theirs.named_parameters() if name.endswith("bias")}
    tied = {"lm_head.weight": tensors["transformer.wte.weight"]}
    theirs.load_state_dict({**zeros, **tensors, **tied})

    tokens = torch.randint(config.vocab_size, (2, config.n_ctx + 1), generator=torch.Generator().manual_seed(7))
    logits, their_logits = model(tokens[:, :-1]), theirs(tokens[:, :-1]).logits
    loss, their_loss = mean_loss(logits, tokens[:, 1:]), mean_loss(their_logits, tokens[:, 1:])
    loss.backward()
    their_loss.backward()
    their_gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}

    errors = {"logits": relative_error(logits, their_logits), "loss": relative_error(loss, their_loss)}
    for name, gradient in model.hugging_face_gradients().items():
        errors[name] = relative_error(gradient, their_gradients[name])
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-transformers", metavar="FOLDER", nargs="+", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=1e-12, help="largest relative error, by norm (default %(default)s)")
    arguments = parser.parse_args()

    failed = False
    for folder in arguments.check_transformers:
        errors = check_against_transformers(folder)
        worst = max(errors, key=lambda name: errors[name])
        # Written so that NaN fails.
        good = all(error <= arguments.tolerance for error in errors.values())
        failed |= not good
        print(f"{'ok' if good else 'FAILED'}: {folder}: {len(errors)} tensors, worst {worst} with {errors[worst]:.2e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
