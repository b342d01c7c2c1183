#!/usr/bin/env python3
"""Times tiktoken's and Hugging Face's tokenizers on JSON lines of documents, in one thread: encoding with GPT-2's vocabulary, and
learning a vocabulary, which Hugging Face's alone does. Prints JSON: seconds, documents, and tokens made by each."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiktoken
import tokenizers
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tokenizer_golden import PATTERN
from tokenizers import decoders, models, pre_tokenizers, trainers


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path, help="JSON lines, the text in the field `text`")
    parser.add_argument("--gpt2", type=Path, required=True, help="folder with encoder.json and vocab.bpe")
    parser.add_argument("--vocab-size", type=int, default=8192, help="of the vocabulary to learn (default %(default)s)")
    parser.add_argument("--threads", type=int, choices=[1], default=1, help="it is one")
    arguments = parser.parse_args()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}  # read at the first call that could be parallel
    documents = [json.loads(line)["text"] for line in arguments.documents.read_text(encoding="utf-8").splitlines()]
    vocabulary, merges = str(arguments.gpt2 / "encoder.json"), str(arguments.gpt2 / "vocab.bpe")

    ranks = data_gym_to_mergeable_bpe_ranks(vocab_bpe_file=merges, encoder_json_file=vocabulary)
    ours = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})
    tiktoken_seconds, tiktoken_tokens = timed(lambda: sum(len(ours.encode_ordinary(document)) for document in documents))

    theirs = byte_level(models.BPE.from_file(vocabulary, merges))
    # The fast form leaves out where each token lies in the text.
    hugging_seconds, hugging_tokens = timed(
        lambda: sum(len(each.ids) for each in theirs.encode_batch_fast(documents, add_special_tokens=False))
    )

    learner = byte_level(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=arguments.vocab_size, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    learn_seconds, _ = timed(lambda: learner.train_from_iterator(documents, trainer))

    versions = {"tiktoken": f"tiktoken {tiktoken.__version__}", "tokenizers": f"Hugging Face tokenizers {tokenizers.__version__}"}
    result = {
        "documents": len(documents),
        "tokens": {"tiktoken": tiktoken_tokens, "tokenizers": hugging_tokens},
        "encode": {versions["tiktoken"]: tiktoken_seconds, versions["tokenizers"]: hugging_seconds},
        "learn": {versions["tokenizers"]: learn_seconds},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
