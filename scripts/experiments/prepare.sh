#!/usr/bin/env bash
# The data of the reduced experiments: the documentation of Amazon services in data/botocore_doc, with a vocabulary of its own. The same bytes everywhere.
set -euo pipefail
cd "$(dirname "$0")/../.."
temper=${TEMPER:-build/release/temper}
data=data/botocore_doc
python3 scripts/corpora/botocore_doc.py "$data/text"
"$temper" data train-tokenizer "$data/text/train.jsonl" --vocab-size 2048 --out "$data" --overwrite
"$temper" data tokenize "$data/text/train.jsonl" --val-inputs "$data/text/val.jsonl" --tokenizer "$data" --out "$data" --name text --overwrite
