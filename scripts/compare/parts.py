"""Parts of compare.py: small models, products, writing and tokenizing beside their peers. Each returns what its file is to hold."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import compare_step
from programs import PartError, Programs

# Sizes of sweeps and first tries: model, sequences, tokens of a sequence.
SMALL = [("0.2m", 8, 64), ("1m", 8, 64), ("4m", 16, 128), ("11m", 8, 256)]
PRODUCTS = ("linear_forward", "linear_backward_input", "linear_backward_weight")
WRITTEN, PROMPT = 128, 16  # tokens
VOCABULARY, TEXT_BYTES, DOCUMENT_BYTES = 8192, 20_000_000, 4_000


def median_text(values: list[float], form: str) -> str:
    """The median, with the least and the largest: "1.31 (1.27 to 1.35)"."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def times_text(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def tell(text: str) -> None:
    print(text, file=sys.stderr)


# ---- Small models -----------------------------------------------------------------------------------------------------


def step_rates(programs: Programs, words: list[str], processes: int) -> float:
    """Tokens per second of so many trainings at once, one thread each, together."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.json" for index in range(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [str(programs.temper), "bench", "step", *words, "--device", "cpu", "--json"]
        running = [subprocess.Popen([*command, str(file)], stdout=subprocess.DEVNULL, env=environment) for file in files]
        if any(process.wait() != 0 for process in running):
            raise PartError(f"{' '.join(command)} failed, {processes} at once")
        return sum(float(json.loads(file.read_text())["benchmarks"][0]["tokens_per_second"]) for file in files)


def small(programs: Programs) -> dict[str, Any]:
    rows, raw = [], []
    for threads in sorted({1, programs.threads}):
        ceilings = {precision: programs.ceilings(precision, threads) for precision in programs.precisions}
        for model, batch, context in SMALL:
            work = ["--model", model, "--batch", str(batch), "--context", str(context)]
            tried = programs.bench(["step", *work, "--steps", "5"], threads)["benchmarks"][0]["step_seconds"]["median"]
            steps = max(5, round(programs.seconds / tried))
            words = [*work, "--steps", str(steps), "--warmup", str(max(3, steps // 10)), "--threads", str(threads)]
            words += ["--rounds", str(programs.rounds), "--temper", str(programs.temper), "--variants", "eager", "compiled"]
            words += [word for python in programs.pythons for word in ("--python", python)]
            arguments = compare_step.parse_arguments([*words, "--precision", *programs.precisions])
            report = compare_step.measure(arguments, {}, lambda _: None)
            for precision in programs.precisions:
                results = [row for row in report["results"] if row["precision"] == precision]
                for row in results:
                    if "error" in row:
                        raise PartError(f"{row['name']}, {model}, {precision}: {row['error']}")
                ours, *peers = results
                best = max(peers, key=lambda row: float(row["tokens_per_second"]))
                flops = statistics.median(each["flops_per_second"] for each in ours["rounds"])
                share = flops / ceilings[precision].matmul_flops_per_second
                pair = []
                if threads == 1:
                    once = [*work, "--precision", precision, "--steps", str(steps)]
                    pair = [step_rates(programs, once, 2) / step_rates(programs, once, 1) for _ in range(programs.rounds)]
                ratio = best["temper_ratio"]
                row = [model, f"B={batch} T={context}", precision, str(threads), f"{ours['tokens_per_second']:,.0f}"]
                row += [f"{best['tokens_per_second']:,.0f}", f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"]
                row += [f"{share:.0%}", times_text(pair) if pair else ""]
                rows.append(row)
                tell(" | ".join(row))
                rates = {each["name"]: [turn["tokens_per_second"] for turn in each["rounds"]] for each in results}
                ceiling = ceilings[precision].matmul_flops_per_second
                raw.append({"model": model, "precision": precision, "threads": threads, "steps": steps, "tokens_per_second": rates})
                raw[-1] |= {"flops_per_second": flops, "matmul_flops_per_second": ceiling, "two_at_once": pair}
    return {
        "title": "Steps of small models beside PyTorch",
        "note": "Whole steps on random tokens: forward, backward, clipping, AdamW; PyTorch is the faster of eager and compiled, all in "
        "turn. Of the floor: 6 operations a parameter and token, and attention's, at the matmul rate of `temper bench kernels` in as many "
        "threads. Two at once: tokens/s of two trainings of one thread each beside those of one alone; 1.9x is the goal.",
        "columns": [
            "model",
            "batch",
            "precision",
            "threads",
            "tokens/s",
            "PyTorch's tokens/s",
            "temper is",
            "of floor",
            "two at once",
        ],
        "labels": 4,
        "rows": rows,
        "measured": raw,
    }


# ---- Products ---------------------------------------------------------------------------------------------------------


def products(programs: Programs) -> dict[str, Any]:
    ours: dict[str, list[dict[str, float]]] = {}
    theirs: dict[str, list[dict[str, float]]] = {}
    about: dict[str, Any] = {}
    for precision in programs.precisions:
        for index in range(programs.rounds):
            report = programs.bench(["kernels", "--precision", precision, *(word for op in PRODUCTS for word in ("--op", op))])
            found = {each["run_name"]: each for each in report["benchmarks"] if each.get("aggregate_name") == "median"}
            names = [name for name in found if name.startswith(PRODUCTS)]
            cold = str(report["context"]["cold_bytes"])
            about = programs.peer("bench_products.py", "--precision", precision, "--cold-bytes", cold, *names)
            for name in names:
                ours.setdefault(name, []).append({"seconds": 1e-6 * found[name]["real_time"], "flops": flops_of(name)})
                theirs.setdefault(name, []).append(about["seconds"][name])
            tell(f"round {index + 1}: {len(names)} products, {precision}")
    benchmarks = []
    for name, rounds in ours.items():
        mine = [each["seconds"] for each in rounds]
        best = [min(each.values()) for each in theirs[name]]
        ratios = [b / a for a, b in zip(mine, best, strict=True)]
        entry = {"name": product_name(name), "does": name, "flops": rounds[0]["flops"]}
        entry |= {"temper_seconds": spread(mine), "onednn_seconds": spread(best), "temper_ratio": spread(ratios)}
        benchmarks.append(entry | {"ways": {way: [each[way] for each in theirs[name]] for way in theirs[name][0]}})
        tell(f"{name}: {times_text(ratios)}")
    context = {"threads": programs.threads, "onednn": about["onednn"], "pytorch": about["version"], "rows": 1024}
    return {"context": context, "note": about["note"], "benchmarks": benchmarks}


def sizes_of(name: str) -> tuple[int, int, int]:
    found = re.search(r"R=(\d+) N=(\d+) K=(\d+)", name)
    if not found:
        raise PartError(f"temper bench kernels calls a product {name!r}; expected OPERATION/R=.. N=.. K=..")
    rows, out, inner = map(int, found.groups())
    return rows, out, inner


def flops_of(name: str) -> float:
    rows, out, inner = sizes_of(name)
    return 2.0 * rows * out * inner


def product_name(name: str) -> str:
    """ "linear_forward/R=1024 N=2304 K=768 bias/bf16" -> "bf16/768->2304/forward"."""
    operation, _, shape = name.partition("/")
    _, out, inner = sizes_of(name)
    kind = {"linear_forward": "forward", "linear_backward_input": "input gradient", "linear_backward_weight": "weight gradient"}[
        operation
    ]
    return f"{'bf16' if shape.endswith('/bf16') else 'f32'}/{inner}->{out}/{kind}"


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


# ---- Writing ----------------------------------------------------------------------------------------------------------


def temper_rate(programs: Programs, folder: Path, precision: str, draw: list[str]) -> float:
    """Of the second text; the first has warmed up."""
    words = ["--prompt", " the" * PROMPT, "--tokens", str(WRITTEN), "--samples", "2", "--precision", precision, "--device", "cpu"]
    done = programs.run_temper("sample", str(folder), *words, *draw, "--tokenizer", str(programs.gpt2))
    said = re.findall(r"(\d+) tokens in [\d.]+ s, ([\d.]+) tokens/s", done.stderr)
    if len(said) != 2 or said[1][0] != str(WRITTEN):
        raise PartError(
            f"temper sample wrote {said} instead of two texts of {WRITTEN} tokens; a model of random weights ended one early"
        )
    return float(said[1][1])


def writing(programs: Programs) -> dict[str, Any]:
    programs.need_data()
    rows, raw = [], []
    draws = {"greedy": ["--temperature", "0"], "drawn, top-k 50": ["--temperature", "1", "--top-k", "50"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about = programs.peer("bench_writing.py", "--make", name)
        for precision in programs.precisions:
            ceilings = programs.ceilings(precision)
            # The position table is looked up, one row a token; every other weight is read.
            read = about["weights_read"] * (2 if precision == "bf16" else 4)
            floor = ceilings.copy_bytes_per_second / read
            for draw, words in draws.items():
                mine, theirs = [], []
                for _ in range(programs.rounds):
                    mine.append(temper_rate(programs, folder, precision, words))
                    peer = ["--model", name, "--precision", precision, "--tokens", str(WRITTEN), "--prompt", str(PROMPT)]
                    theirs.append(
                        programs.peer("bench_writing.py", *peer, *(["--draw"] if draw != "greedy" else []))["tokens_per_second"]
                    )
                ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
                row = [precision, draw, median_text(mine, ".1f"), median_text(theirs, ".1f"), times_text(ratios)]
                row += [f"{floor:.1f}", f"{statistics.median(mine) / floor:.0%}"]
                rows.append(row)
                tell(" | ".join(row))
                raw.append({"precision": precision, "draw": draw, "temper": mine, "transformers": theirs, "bytes_read": read})
                raw[-1]["copy_bytes_per_second"] = ceilings.copy_bytes_per_second
    return {
        "title": "GPT-2 124M writes, beside transformers",
        "note": f"`temper sample` beside generate() of transformers {about['transformers']} with its key/value cache on PyTorch "
        f"{about['torch']}, {programs.threads} threads: {WRITTEN} tokens after {PROMPT}, loading not counted, random weights, one text "
        "at a time, in turn. The floor is every weight but the position table read once a token at the copy rate of "
        "`temper bench kernels`; above 100 % reading is faster than copying.",
        "columns": ["precision", "tokens are", "tokens/s", "transformers' tokens/s", "temper is", "floor, tokens/s", "of floor"],
        "labels": 2,
        "rows": rows,
        "measured": raw,
    }


# ---- Tokenizing -------------------------------------------------------------------------------------------------------


def write_documents(texts: list[Path], out: Path) -> int:
    """The texts as JSON lines, cut between lines into documents of a few kilobytes and repeated. Returns the bytes of text."""
    documents: list[str] = []
    for path in texts:
        lines, size = [], 0
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            lines.append(line)
            size += len(line.encode())
            if size >= DOCUMENT_BYTES:
                documents.append("".join(lines))
                lines, size = [], 0
        documents.append("".join(lines))
    once = sum(len(document.encode()) for document in documents)
    copies = max(1, round(TEXT_BYTES / once))
    out.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents) * copies, encoding="utf-8")
    return once * copies


def tokenizing(programs: Programs) -> dict[str, Any]:
    programs.need_data()
    rates: dict[tuple[str, str], list[float]] = {}
    counted: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        documents = Path(name) / "documents.jsonl"
        megabytes = write_documents(programs.texts, documents) / 1e6

        def timed(*words: str) -> float:
            start = time.perf_counter()
            programs.run_temper("data", *words, threads=1)
            return megabytes / (time.perf_counter() - start)

        for _ in range(programs.rounds):
            shards = f"{name}/shards"
            encode = (
                "tokenize",
                str(documents),
                "--tokenizer",
                str(programs.gpt2),
                "--out",
                shards,
                "--name",
                "t",
                "--threads",
                "1",
                "--overwrite",
            )
            rates.setdefault(("encode, GPT-2's vocabulary", "temper"), []).append(timed(*encode))
            learn = ("train-tokenizer", str(documents), "--vocab-size", str(VOCABULARY), "--out", f"{name}/learnt", "--overwrite")
            rates.setdefault((f"learn {VOCABULARY:,} tokens", "temper"), []).append(timed(*learn))
            about = programs.peer(
                "bench_tokenizing.py", "--gpt2", str(programs.gpt2), "--vocab-size", str(VOCABULARY), str(documents), threads=1
            )
            for peer, seconds in about["encode"].items():
                rates.setdefault(("encode, GPT-2's vocabulary", peer), []).append(megabytes / seconds)
            for peer, seconds in about["learn"].items():
                rates.setdefault((f"learn {VOCABULARY:,} tokens", peer), []).append(megabytes / seconds)
            counted = {
                **about["tokens"],
                "temper": sum(file.stat().st_size - 1024 for file in Path(shards).glob("*.bin")) // 2 - about["documents"],
            }
    if len(set(counted.values())) != 1:
        raise PartError(f"the programs made different numbers of tokens of the same text: {counted}")
    rows = []
    for (work, program), found in sorted(rates.items(), key=lambda item: item[0][0]):  # sorted keeps temper first
        ratios = [a / b for a, b in zip(rates[(work, "temper")], found, strict=True)]
        rows.append([work, program, median_text(found, ".1f"), times_text(ratios) if program != "temper" else ""])
        tell(" | ".join(rows[-1]))
    return {
        "title": "Tokenizing, MB/s of one core",
        "note": f"{megabytes:.0f} MB of text, some megabytes of it repeated, in documents of {DOCUMENT_BYTES // 1000} kB; one thread "
        "each, in turn. Of temper the whole process is timed: start, reading JSON lines, and writing shards and their record; of the "
        "others the call alone, with the documents in memory. All made the same number of tokens.",
        "columns": ["work", "program", "MB/s", "temper is"],
        "labels": 2,
        "rows": rows,
        "measured": [{"work": work, "program": program, "megabytes_per_second": found} for (work, program), found in rates.items()],
    }
