#!/usr/bin/env python3
"""Times transformers' generate() with GPT-2 124M, as `temper sample` reports itself: tokens per second of one text, reading the prompt
counted in, loading not.

    bench_writing.py --make FOLDER                    writes a model of random weights there and prints what of it a token reads
    bench_writing.py --model FOLDER --tokens 128      prints tokens_per_second
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import transformers


def make(folder: Path) -> dict[str, Any]:
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    model.save_pretrained(folder)
    read = sum(p.numel() for p in model.parameters()) - model.transformer.wpe.weight.numel()
    return {"weights_read": read, "torch": torch.__version__, "transformers": transformers.__version__}


def rate(arguments: argparse.Namespace) -> dict[str, Any]:
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    model = transformers.GPT2LMHeadModel.from_pretrained(arguments.model, dtype=dtype).eval()
    prompt = torch.full((1, arguments.prompt), 262)  # " the"
    choice = {"do_sample": True, "top_k": 50, "temperature": 1.0} if arguments.draw else {"do_sample": False}
    # As many tokens as asked: a random model may come upon <|endoftext|> at any time.
    length = {"min_new_tokens": arguments.tokens, "max_new_tokens": arguments.tokens}
    with torch.inference_mode():
        for _ in range(2):  # the first warms up
            start = time.perf_counter()
            out = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), pad_token_id=50256, use_cache=True, **choice, **length
            )
            seconds = time.perf_counter() - start
    return {"tokens_per_second": (out.shape[1] - arguments.prompt) / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--make", type=Path, help="folder to make")
    what.add_argument("--model", type=Path, help="folder of a model")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="(default %(default)s)")
    parser.add_argument("--tokens", type=int, default=128, help="to write (default %(default)s)")
    parser.add_argument("--prompt", type=int, default=16, help="tokens to read first (default %(default)s)")
    parser.add_argument("--draw", action="store_true", help="from the 50 likeliest; else always the likeliest")
    parser.add_argument("--threads", type=int, default=2, help="(default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    print(json.dumps(make(arguments.make) if arguments.make else rate(arguments)))


if __name__ == "__main__":
    main()
