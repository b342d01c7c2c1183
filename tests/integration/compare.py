"""compare.py REPOSITORY: scripts/compare/compare.py with made-up programs instead of temper and PyTorch. Every part leaves a file that
says processor and commit and that the page reads; a part that fails leaves the others whole; what is not committed or built is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import check

# What temper and its peers are asked, and what they would answer. BROKEN names the script that fails.
PROGRAM = """#!/usr/bin/env python3
import json, os, pathlib, sys
words = sys.argv[1:]
def after(option, otherwise=""):
    return words[words.index(option) + 1] if option in words else otherwise
def median(name, **more):
    return {"run_name": name, "aggregate_name": "median", "real_time": 2e3, "time_unit": "us", "bytes_per_second": 1e9, **more}
step = {"tokens_per_second": 100.0, "step_seconds": {"median": 1, "p10": 1, "p90": 1}, "peak_rss_bytes": 1}
script = pathlib.Path(words[0]).name
if script == os.environ["BROKEN"]:
    sys.exit(f"{script} is broken")
if words[0] == "-c":
    print(json.dumps({"version": "9.9", "compiled": True, "transformers": True}))
elif script == "bench_step.py":
    pathlib.Path(after("--json")).write_text(json.dumps({**step, "tokens_per_second": 80.0 if "--compile" in words else 50.0}))
elif script == "bench_products.py":
    names = [word for word in words if word.startswith("linear_")]
    print(json.dumps({"version": "9.9", "onednn": "3.3", "note": "alike", "seconds": {name: {"step": 5e-3, "onednn": 3e-3} for name in names}}))
elif script == "bench_writing.py":
    print(json.dumps({"tokens_per_second": 20.0, "weights_read": 10**8, "torch": "9.9", "transformers": "8.8"}))
elif script == "bench_tokenizing.py":
    print(json.dumps({"documents": 2, "tokens": {"tiktoken": 10, "tokenizers": 10}, "encode": {"tiktoken 7": 1.0}, "learn": {"tokenizers 6": 1.0}}))
elif words[:2] == ["bench", "step"]:
    entry = median("step", flops_per_second=5e9 if os.environ["OMP_NUM_THREADS"] == "1" else 8e9, **step)
    pathlib.Path(after("--json")).write_text(json.dumps({"context": {"commit": "abcdef123456"}, "benchmarks": [entry]}))
elif words[:2] == ["bench", "kernels"]:
    tail = "/bf16" if after("--precision") == "bf16" else ""
    names = [f"{op}/R=1024 N=768 K=3072 bias{tail}" for op in ("linear_forward", "linear_backward_input", "linear_backward_weight")]
    context = {"model": "124m", "precision": after("--precision"), "batch": 4, "context_length": 256, "cold_bytes": 9}
    context |= {"copy_bytes_per_second": 1e10, "matmul_flops_per_second": 2e10 if tail else 1e10}
    benchmarks = [median(name, flops_per_second=1e9, share_of_floor=0.5) for name in names]
    benchmarks += [{**each, "aggregate_name": which} for each in benchmarks for which in ("p10", "p90")] + [{"run_name": names[0]}]
    pathlib.Path(after("--json")).write_text(json.dumps({"context": context, "benchmarks": benchmarks}))
elif words[0] == "sample":
    print(f"{after('--tokens')} tokens in 2.00 s, 64.0 tokens/s\\n{after('--tokens')} tokens in 3.20 s, 40.0 tokens/s", file=sys.stderr)
elif words[0] == "data":
    pathlib.Path(after("--out")).mkdir(exist_ok=True)
    (pathlib.Path(after("--out")) / "t.bin").write_bytes(b" " * (1024 + 2 * 12))
elif words[0] == "train":
    pathlib.Path(after("--out")).mkdir()
    lines = [json.dumps({"step": n, "seconds": 0.1 * n}) for n in range(1, 12)]
    (pathlib.Path(after("--out")) / "metrics.jsonl").write_text("\\n".join(lines))
else:
    sys.exit(f"asked {words}")
"""
MPIRUN = '#!/bin/sh\nwhile [ $1 != -n ]; do shift; done\nshift 2\nexec "$@"\n'
FILES = [
    "diagnostics",
    "kernels_bf16",
    "kernels_fp32",
    "products",
    "ranks",
    "small",
    "step",
    "tokenizing",
    "updates_bf16",
    "updates_fp32",
]
FILES += ["waiting", "writing"]


class Made:
    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder, self.out = root, folder, folder / "out"
        for name, text in (("program", PROGRAM), ("bin/mpirun", MPIRUN)):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        for name in ("encoder.json", "vocab.bpe", "text.txt"):
            (folder / name).write_text("a text\n" * 1000)

    def run(self, *options: str, broken: str = "nothing", commit: str = "abcdef123456789") -> subprocess.CompletedProcess[str]:
        program = str(self.folder / "program")
        command = [sys.executable, str(self.root / "scripts/compare/compare.py"), "--python", program, "--temper", program]
        command += [
            "--out",
            str(self.out),
            "--gpt2",
            str(self.folder),
            "--text",
            str(self.folder / "text.txt"),
            "--rounds",
            "1",
            *options,
        ]
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "BROKEN": broken, "TEMPER_COMMIT": commit}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def files(self) -> list[str]:
        return sorted(path.stem for path in self.out.glob("made/*"))


def every_part(made: Made) -> None:
    done = made.run("--processor", "made")
    check(done.returncode == 0, f"exit {done.returncode}:\n{done.stderr}")
    bf16 = {"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split())
    check(made.files() == [name for name in FILES if bf16 or not name.endswith("_bf16")], f"it left {made.files()}")
    for path in made.out.glob("made/*"):
        result = json.loads(path.read_text())
        check(
            result["commit"] == "abcdef123456789" and result["machine"]["processor"] and result["date"],
            f"{path.name}: {list(result)}",
        )
    page = made.folder / "page.md"
    command = [sys.executable, str(made.root / "scripts/benchmarks_page.py"), "--results", str(made.out), "--page", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"the page: exit {done.returncode}:\n{done.stderr}")
    text = page.read_text()
    rows = [
        "| 4m | B=16 T=128 | bf16 | 1 | 100 | 80 | 1.25x (1.25 to 1.25) | 25% | 2.00x (2.00 to 2.00) |",
        "| bf16 | drawn, top-k 50 | 40.0 (40.0 to 40.0) | 20.0 (20.0 to 20.0) | 2.00x (2.00 to 2.00) | 50.0 | 80% |",
    ]
    for row in (
        *(rows if bf16 else []),
        "| fp32 | PyTorch 9.9 compiled | 80 | 1.25x (1.25 to 1.25) |",
        "| 4m | B=16 T=128 | fp32 | 1 | 100 | 80 | 1.25x (1.25 to 1.25) | 50% | 2.00x (2.00 to 2.00) |",
        "| 4m | B=16 T=128 | fp32 | 2 | 100 | 80 | 1.25x (1.25 to 1.25) | 80% |  |",
        "| f32 | 3072 -> 768 | weight gradient | 2.42 TFLOP/s | 1.50x |",  # the faster of PyTorch's two ways
        "| linear_forward | R=1024 N=768 K=3072 bias | 2.00 ms | 50.0 % |",
        "| fp32 | greedy | 40.0 (40.0 to 40.0) | 20.0 (20.0 to 20.0) | 2.00x (2.00 to 2.00) | 25.0 | 160% |",
    ):
        check(row in text, f"the page lacks {row}:\n{text}")


def parts_that_fail(made: Made) -> None:
    check(made.run("--processor", "made", "--only", "small,writing").returncode == 0, "two parts alone fail")
    before = (made.out / "made/writing.json").read_text()
    done = made.run("--processor", "made", "--only", "products,writing,updates", broken="bench_writing.py")
    check(done.returncode == 1 and "bench_writing.py is broken" in done.stderr, f"exit {done.returncode}:\n{done.stderr}")
    check("failed: writing" in done.stderr and "Traceback" not in done.stderr, f"it says:\n{done.stderr}")
    check({"products", "small", "updates_fp32", "writing"} <= set(made.files()), f"what is whole is gone: {made.files()}")
    check((made.out / "made/writing.json").read_text() == before, "a part that failed wrote its file")

    (made.folder / "vocab.bpe").unlink()
    done = made.run("--processor", "made", "--only", "tokenizing")
    check(done.returncode == 1 and "vocab.bpe is missing; --gpt2" in done.stderr, f"no vocabulary:\n{done.stderr}")


def refusals(made: Made) -> None:
    for options, commit, says in (
        (("--only", "step,nothing"), "abcdef123456789", "--only nothing: no such part; there are step, small"),
        (("--rounds", "0"), "abcdef123456789", "--rounds 0: expected more than 0"),
        ((), "abcdef123456789-dirty", "the tree has changes that commit abcdef123456 lacks"),
        ((), "123456789abcdef", "was built from commit abcdef123456, the tree is 123456789abc; build it again"),
    ):
        done = made.run(*options, commit=commit)
        check(done.returncode != 0 and says in done.stderr, f"{options}, {commit}: exit {done.returncode}:\n{done.stderr}")
        check(not made.out.exists(), f"{options}, {commit}: it was refused and wrote")
    (made.folder / "program").rename(made.folder / "elsewhere")
    done = made.run("--only", "updates")
    check(
        done.returncode != 0 and "build it: cmake" in done.stderr and "Traceback" not in done.stderr, f"no program:\n{done.stderr}"
    )
    (made.folder / "elsewhere").rename(made.folder / "program")
    # What is measured all the same says so, whether the tree has changes or the program is of another commit.
    for commit in ("abcdef123456789-dirty", "123456789abcdef"):
        done = made.run("--dirty", "--only", "updates", "--processor", "made", commit=commit)
        check(done.returncode == 0, f"--dirty: exit {done.returncode}:\n{done.stderr}")
        said = json.loads((made.out / "made/updates_fp32.json").read_text())["commit"]
        check(said == commit.removesuffix("-dirty") + "-dirty", f"with --dirty the file says {said}")


def names(root: Path) -> None:
    sys.path.insert(0, str(root / "scripts/compare"))
    import provenance

    both = ["avx2", "avx512_bf16", "avx512f"]
    for processor, features, name in (
        ("AMD EPYC", both, "epyc-avx512bf16"),
        ("AMD EPYC 9354 32-Core Processor", both, "epyc-avx512bf16"),
        ("AMD Ryzen 9 7950X 16-Core Processor", both, "ryzen-avx512bf16"),
        ("Intel(R) Xeon(R) Processor", ["amx_bf16", *both], "xeon-amx"),
        ("Intel(R) Xeon(R) Platinum 8275CL CPU @ 3.00GHz", ["avx2", "avx512f"], "xeon-avx512"),
        ("12th Gen Intel(R) Core(TM) i7-12700", ["avx2"], "core-avx2"),
        ("AMD Opteron(tm) Processor 6172", [], "opteron"),
    ):
        found = provenance.processor_name(processor, features)
        check(found == name, f"{processor} with {features} is called {found} instead of {name}")


def main() -> None:
    root = Path(sys.argv[1])
    names(root)
    for case in (every_part, parts_that_fail, refusals):
        with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
            case(Made(root, Path(folder)))
        print(f"{case.__name__}: ok")


main()
