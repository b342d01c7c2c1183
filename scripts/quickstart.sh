#!/usr/bin/env bash
# From nothing to a GPT-2 that writes: installs what is missing, builds, fetches a public-domain text, trains a vocabulary and a
# small model in a few minutes on two CPU cores, and lets it write.
#   scripts/quickstart.sh              Jane Austen's novels, from Debian's packages
#   scripts/quickstart.sh MY_TEXT.txt  any text of a megabyte or more
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*" >&2; }

text=${1:-}
if [ -n "$text" ] && [ ! -r "$text" ]; then
  echo "quickstart.sh: $text cannot be read" >&2
  exit 2
fi

say "dependencies and build"
scripts/setup.sh || say "going on with what there is; CMake says what is missing"
cmake --preset release -DTEMPER_TESTS=OFF >/dev/null
cmake --build --preset release >/dev/null
temper=build/release/temper

data=data/quickstart
rm -rf "$data"
mkdir -p "$data"
if [ -n "$text" ]; then
  train=("$text")
  held_out=(--val-fraction 0.05)
  prompt=""
else
  say "text: six novels by Jane Austen; the model never sees Persuasion, which measures it"
  python3 scripts/corpora/austen.py "$data/text"
  train=("$data"/text/{sensesensibility,prideprejudice,mansfieldpark,emma,northangerabbey}.txt)
  held_out=(--val-inputs "$data/text/persuasion.txt")
  prompt="She was"
fi

say "vocabulary"
"$temper" data train-tokenizer "${train[@]}" --vocab-size 2048 --out "$data"
say "tokens"
"$temper" data tokenize "${train[@]}" --tokenizer "$data" --out "$data" --name text "${held_out[@]}"

say "training"
rm -rf runs/quickstart  # its data was made anew just now
"$temper" train configs/quickstart.json --out runs/quickstart

say "a sample"
"$temper" sample runs/quickstart --prompt "$prompt" --tokens 150 --temperature 0.7 --top-k 40
