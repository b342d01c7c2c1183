#!/usr/bin/env python3
"""Shows that a checkpoint folder of temper is a Hugging Face model as it is.

GPT2LMHeadModel.from_pretrained must find every tensor and no other, AutoTokenizer.from_pretrained must give back the text it
was given, and with --tokens the loss is printed and may be held against temper's own (--loss), the logits against a
safetensors file (--logits, tensor "logits" [B,T,vocab]). Needs `transformers`, `tokenizers` and `safetensors`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel

from gpt2_reference import mean_loss, relative_error

# Scripts, accents, emoji and odd white space: every byte must come back.
TEXT = "First Citizen:\n\n  Nay, 2 or 3 more…\tnaïve Ωμέγα Привет 你好 👩‍🚀 don't\r\n "


def load_model(folder: Path) -> GPT2LMHeadModel:
    """The model in fp32; any tensor missing, left over or of another shape ends the program."""
    model, info = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True, local_files_only=True, dtype=torch.float32)
    wrong = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    if wrong:
        raise SystemExit(f"{folder}: the tensors are not GPT2LMHeadModel's: {json.dumps(wrong)}")
    if model.lm_head.weight.data_ptr() != model.transformer.wte.weight.data_ptr():
        raise SystemExit(f"{folder}: the head is not tied to the token embedding")
    return model.eval()


def check_tokenizer(folder: Path, model: GPT2LMHeadModel) -> str:
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = tokenizer(TEXT)["input_ids"]
    back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if back != TEXT:
        raise SystemExit(f"{folder}: the tokenizer gives back {back!r} for {TEXT!r}")
    if len(tokenizer) != model.config.vocab_size:
        raise SystemExit(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size}")
    return f"tokenizer: {type(tokenizer).__name__}, {len(tokenizer)} tokens, {len(ids)} for the test text, which came back"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a folder with config.json, model.safetensors and tokenizer files")
    parser.add_argument("--no-tokenizer", action="store_true", help="the folder has no tokenizer files")
    parser.add_argument("--tokens", type=Path, help='JSON with "inputs" and "targets", [B][T] each; prints the mean loss')
    parser.add_argument("--loss", type=float, help="what the loss must be")
    parser.add_argument("--logits", type=Path, help='safetensors file whose "logits" the model must give for --tokens')
    parser.add_argument("--tolerance", type=float, default=1e-5, help="relative, for --loss and --logits (default %(default)s)")
    arguments = parser.parse_args()
    if (arguments.loss is not None or arguments.logits) and not arguments.tokens:
        parser.error("--loss and --logits need --tokens")

    model = load_model(arguments.checkpoint)
    print(f"model: {sum(p.numel() for p in model.parameters())} parameters, every tensor found, none left over")
    if not arguments.no_tokenizer:
        print(check_tokenizer(arguments.checkpoint, model))
    if not arguments.tokens:
        return 0

    tokens = {name: torch.tensor(value) for name, value in json.loads(arguments.tokens.read_text()).items()}
    with torch.no_grad():
        logits = model(tokens["inputs"]).logits
    loss = mean_loss(logits, tokens["targets"]).item()
    print(f"loss: {loss:.7f}")
    errors = {}
    if arguments.loss is not None:
        errors["loss"] = abs(loss - arguments.loss) / abs(arguments.loss)
    if arguments.logits:
        expected = load_file(arguments.logits)["logits"]
        if expected.shape != logits.shape:
            raise SystemExit(f"{arguments.logits}: logits are {list(expected.shape)}, the model's {list(logits.shape)}")
        errors["logits"] = relative_error(logits.double(), expected.double())
    for name, error in errors.items():
        print(f"{name}: relative error {error:.2e}, allowed {arguments.tolerance:.0e}")
    # Written so that NaN fails.
    return 0 if all(error <= arguments.tolerance for error in errors.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
