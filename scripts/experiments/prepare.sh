#!/usr/bin/env bash
# The data of the reduced experiments: the Linux kernel's documentation in data/linux_doc, with a vocabulary of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."
temper=${TEMPER:-build/release/temper}
data=data/linux_doc
python3 scripts/corpora/linux_doc.py "$data/text"
"$temper" data train-tokenizer "$data/text/train.jsonl" --vocab-size 2048 --out "$data" --overwrite
"$temper" data tokenize "$data/text/train.jsonl" --val-inputs "$data/text/val.jsonl" --tokenizer "$data" --out "$data" --name text --overwrite
