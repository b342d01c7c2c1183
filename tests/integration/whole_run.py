"""whole_run.py TEMPER: a run from text to sample leaves what it promises: files, a falling loss, text, the same bits each time."""

from __future__ import annotations

import json
import re
import sys

from harness import Workspace, check, final_bytes, metrics


def main() -> None:
    with Workspace(sys.argv[1]) as work:
        plan = work.ok("train", "config.json", "--dry-run").stdout
        check("parameters" in plan and "total" in plan, f"--dry-run prints no plan:\n{plan}")
        check(not (work.folder / "runs").exists(), "--dry-run made a run directory")

        done = work.ok("train", "config.json", "--out", "run")
        run = work.folder / "run"
        for name in ("config.json", "metrics.jsonl", "summary.json", "tensorboard", "checkpoints/step-00000060/trainer.json",
                     "checkpoints/step-00000060/config.json", "checkpoints/step-00000060/tokenizer.json"):
            check((run / name).exists(), f"{name} is missing")
        check("step 60/60" in done.stderr, f"no line for the last step:\n{done.stderr}")
        check("validation loss" in done.stdout and "bits per byte" in done.stdout, f"no result on stdout:\n{done.stdout}")
        lines = metrics(run)
        check([line["step"] for line in lines] == list(range(61)), "metrics.jsonl does not hold each step once")
        check(lines[0]["loss"] is None and lines[0]["val_loss"] > 5.0, f"the first line should hold the untrained loss: {lines[0]}")
        check(lines[-1]["val_loss"] < 0.8 * lines[0]["val_loss"], f"the loss did not fall: {lines[0]} ... {lines[-1]}")
        summary = json.loads((run / "summary.json").read_text())
        check(summary["val_loss"] == lines[-1]["val_loss"] and summary["steps"] == 60, f"summary.json disagrees: {summary}")

        # The same run again, on another number of threads: the same bits.
        work.ok("train", "config.json", "--out", "again", env={"OMP_NUM_THREADS": "2"})
        check(final_bytes(run) == final_bytes(work.folder / "again"), "two runs differ")
        check(metrics(run) == metrics(work.folder / "again"), "two runs' metrics differ")

        result = json.loads(work.ok("eval", "run", "--batch", "3").stdout)
        for key in ("val_loss", "val_tokens", "val_fingerprint", "bits_per_byte"):
            check(result[key] == summary[key], f"{key}: eval says {result[key]}, summary.json {summary[key]}")
        check(result["val_tokens"] == 256, f"eval.tokens is 256: {result}")
        whole = json.loads(work.ok("eval", "run/checkpoints/step-00000060", "--data", "data/t_val_*.bin", "--tokens", "0").stdout)
        check(whole["val_tokens"] > 256 and 0.0 < whole["val_loss"] < 5.0 and whole["val_loss"] != result["val_loss"], f"eval says {whole}")
        (work.folder / "choices.txt").write_text("the old king\n1\nxx qq zz\nwalked slowly\n%% $$ @@\n(((( ))))\n" * 3)
        score = json.loads(work.ok("eval", "run", "--hellaswag", "choices.txt").stdout)
        check(score["hellaswag_items"] == 3 and score["hellaswag_acc_norm"] == 1.0, f"the model prefers noise: {score}")

        sample = ("sample", "run", "--prompt", "the old", "--tokens", "30", "--temperature", "0.8", "--top-k", "20", "--seed")
        first = work.ok(*sample, "3").stdout
        check(first.startswith("the old") and len(first) > 40, f"no text: {first!r}")
        check(work.ok(*sample, "3").stdout == first, "the same seed wrote another text")
        said = work.ok(*sample, "3", "--samples", "2", "--device", "cpu").stderr.splitlines()
        check(len(said) == 2 and all(re.fullmatch(r"\d+ tokens in [\d.]+ s, [\d.]+ tokens/s", line) for line in said), f"it says {said}")
        check(work.ok(*sample, "4").stdout != first, "another seed wrote the same text")

        # Formats: to llm.c and back, to a plain Hugging Face folder.
        greedy = ("--prompt", "the", "--tokens", "20", "--temperature", "0", "--tokenizer", "data")
        expected = work.ok("sample", "run", *greedy).stdout
        work.ok("export", "run", "model.bin", "--format", "llmc-fp32")
        work.ok("import", "model.bin", "imported", "--tokenizer", "data")
        check(work.ok("sample", "imported", *greedy).stdout == expected, "llm.c's format changed the model")
        work.ok("export", "run", "exported")
        work.fails(2, "eval", "exported", says=("exported", "--data"))
        check(work.ok("sample", "exported", *greedy).stdout == expected, "Hugging Face's format changed the model")

        inspected = work.ok("data", "inspect", "data/t_train_*.bin", "--tokenizer", "data").stdout
        check("tokens" in inspected, f"inspect says {inspected}")
        doctor = work.ok("doctor").stdout
        check("device=auto uses" in doctor, f"doctor says {doctor}")
        for command in (["train"], ["eval"], ["sample"], ["data", "tokenize"], ["data", "train-tokenizer"], ["data", "inspect"],
                        ["import"], ["export"], ["bench", "step"], ["bench", "kernels"], ["config", "show"], ["doctor"]):
            check(work.ok(*command, "--help").stdout, f"{command} --help prints nothing")
        print(f"loss {lines[0]['val_loss']:.3f} -> {lines[-1]['val_loss']:.3f}; files, formats, samples and help as promised")


main()
