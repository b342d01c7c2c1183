"""benchmarks_page.py REPOSITORY: docs/benchmarks.md is what the result files say, and scripts/benchmarks_page.py reads made-up ones
right: every kind of GPU result, fields that are missing, files that are damaged, a page that is stale."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import check

GPU = {
    "gpu": "NVIDIA H200",
    "driver": "580.1",
    "cuda": "13.0",
    "power_limit_watts": 700.0,
    "clocks_at_start": {"sm_mhz": 345.0, "sm_max_mhz": 1980.0},
}
ORIGIN = {"date": "2026-01-02T03:04:05+00:00", "commit": "0123456789abcdef-dirty", "machine": GPU}


def seconds(median: float) -> dict[str, float]:
    return {"median": median, "p10": 0.9 * median, "p90": 1.1 * median}


def report_entries(name: str, median: float, **more: float) -> list[dict[str, Any]]:
    """A benchmark in Google Benchmark's form, its three aggregates."""
    return [
        {"run_name": name, "aggregate_name": which, "real_time": 1e6 * value, "time_unit": "us", **more}
        for which, value in seconds(median).items()
    ]


def step(tokens_per_second: float) -> dict[str, Any]:
    def row(name: str, rate: float, **more: Any) -> dict[str, Any]:
        result = {"name": name, "precision": "bf16", "tokens_per_second": rate, "step_seconds": seconds(65536 / rate)}
        return {**result, "peak_rss_bytes": 2**30, "peak_device_bytes": 2**35, **more}

    work = {"model": "124m", "batch": 64, "context": 1024, "threads": 8, "rounds": 2, "warmup": 5, "steps": 20}
    peer = row(
        "PyTorch 2.11 compiled, flash attention", tokens_per_second / 1.6, temper_ratio={"median": 1.6, "min": 1.5, "max": 1.7}
    )
    failed = {"name": "PyTorch 2.11 compiled, cudnn attention", "precision": "bf16", "error": "exit 1: no | such backend"}
    return {**ORIGIN, "workload": work, "results": [row("temper", tokens_per_second), peer, failed]}


def models() -> dict[str, Any]:
    more = {"tokens_per_second": 230e3, "flops_per_second": 4e14, "planned_bytes": 2**36}
    return {**ORIGIN, "context": {"device": "NVIDIA H200"}, "benchmarks": report_entries("step/350m/bf16/B32/T1024", 0.142, **more)}


def kernels() -> dict[str, Any]:
    """Of a step: matmuls of 12 x 1 ms at 600 and 48 ms at 750 TFLOP/s, attention of 12 x (0.5 + 1) ms, memory-bound 10 ms."""
    benchmarks = []
    for name, median, tflops, tbytes in (
        ("ceiling/copy/N=1", 1e-3, 0, 4.3),
        ("linear_forward/R=65536 N=768 K=768 bias residual/bf16", 1e-3, 600, 1),
        ("linear_forward/R=65536 N=50304 K=768/bf16", 48e-3, 750, 1),
        ("attention_forward/B=64 T=1024 H=12 D=64/bf16", 0.5e-3, 300, 1),
        ("attention_backward/B=64 T=1024 H=12 D=64/bf16", 1e-3, 230, 1),
        ("layernorm_forward/R=65536 C=768/bf16", 0.1e-3, 1, 3.8),
        ("layernorm_backward/R=65536 C=768/bf16", 0.1e-3, 1, 3.0),
        ("cross_entropy/R=65536 V=50257 Vp=50304 gradient/bf16", 3e-3, 1, 4.0),
        ("cross_entropy/R=65536 V=50257 Vp=50304/bf16", 70e-3, 1, 0.1),  # evaluation's, not a step's
        ("optimizer_update/Adam, multiplicative, 124 parameters/bf16", 2e-3, 1, 4.2),
        ("optimizer_update/Lion, multiplicative, 124 parameters/bf16", 90e-3, 1, 0.2),  # another run's
    ):
        rates = {"flops_per_second": 1e12 * tflops, "bytes_per_second": 1e12 * tbytes, "share_of_floor": 0.9}
        benchmarks += report_entries(name, median, **rates)
    context = {"date": "2025-01-01", "model": "124m", "precision": "bf16", "batch": 64, "context_length": 1024}
    context |= {"copy_bytes_per_second": 4.3e12, "matmul_flops_per_second": 790e12}
    return {**ORIGIN, "context": context, "benchmarks": benchmarks}


def attention() -> dict[str, Any]:
    work = {"batch": 64, "heads": 12, "context": 1024, "head_size": 64, "precision": "bf16"}
    results = [{"name": "forward", "attention": "flash", "seconds": seconds(0.4e-3), "flops_per_second": 257e12}]
    return {**ORIGIN, "workload": work, "pytorch": {"version": "2.11"}, "results": results}


def checks() -> dict[str, Any]:
    stages = [
        {"name": "operations", "result": "pass", "seconds": 31, "detail": "operations: 240 tests passed"},
        {"name": "training", "result": "fail", "seconds": 60, "detail": "exit 1: losses differ"},
        {"name": "sanitizer", "result": "skip", "seconds": 0, "detail": "compute-sanitizer is not installed"},
    ]
    return {**ORIGIN, "seconds": 500, "stages": stages}


def on_cpu(result: dict[str, Any], processor: str) -> dict[str, Any]:
    """The same of a processor instead of a GPU."""
    about = {"processor": processor, "features": ["avx2"], "cores": 2, "load_average_at_start": 0.25}
    return {**result, "machine": about, "commit": f"{processor}0123456789abcdef"}


def products(ratio: float) -> dict[str, Any]:
    times = {"temper_seconds": {"median": 1e-2}, "onednn_seconds": {"median": ratio * 1e-2}, "flops": 4e9}
    context = {"threads": 2, "onednn": "3.13.3", "pytorch": "2.15", "rows": 1024}
    return {**ORIGIN, "context": context, "note": "both add", "benchmarks": [{"name": "bf16/768->2304/forward", **times}]}


def ranks(*rows: list[str]) -> dict[str, Any]:
    columns = ["ranks", "settings", "tokens/s", "efficiency"]
    return {**ORIGIN, "title": "Ranks", "note": "Over MPI.", "columns": columns, "labels": 2, "rows": list(rows)}


class Made:
    """A folder of made-up results and the page of it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.script, self.folder, self.page = root / "scripts/benchmarks_page.py", folder, folder / "page.md"

    def write(self, name: str, content: dict[str, Any] | str) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.script), "--results", str(self.folder), "--page", str(self.page), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def written(self) -> str:
        done = self.run()
        check(done.returncode == 0, f"exit {done.returncode}:\n{done.stderr}")
        return self.page.read_text()

    def refused(self, *says: str) -> None:
        done = self.run()
        check(done.returncode == 2, f"expected exit 2, got {done.returncode}:\n{done.stderr}")
        for part in says:
            check(part in done.stderr, f"the message lacks {part!r}:\n{done.stderr}")
        check("Traceback" not in done.stderr, f"a traceback instead of a message:\n{done.stderr}")


def row_of(page: str, *parts: str) -> str:
    rows = [line for line in page.splitlines() if line.startswith("|") and all(part in line for part in parts)]
    check(len(rows) == 1, f"{len(rows)} rows with {parts} instead of one")
    return rows[0]


def expect(page: str, parts: tuple[str, ...], says: tuple[str, ...]) -> None:
    row = row_of(page, *parts)
    for part in says:
        check(part in row, f"the row lacks {part!r}: {row}")


def nothing_measured(made: Made) -> None:
    page = made.written()
    expect(page, ("480,000 tokens/s",), ("not measured: run `scripts/gpu_check.sh",))
    expect(page, ("matmuls, mean",), ("670 TFLOP/s", "not measured"))
    check(" yes |" not in page and " no |" not in page, "something is called reached or not without a measurement")


def gpu_results(made: Made) -> None:
    made.write("gpu_h200_step.json", step(650e3))
    made.write("gpu_h200_models.json", models())
    made.write("gpu_h200_kernels_bf16.json", kernels())
    made.write("gpu_h200_attention.json", attention())
    made.write("gpu_h200_check.json", checks())
    page = made.written()
    # Each row of the gates that has a figure: what it must show. The step takes 65,536 / 650,000 s = 100.8 ms.
    for parts, says in (
        (("(parity)", "480,000"), ("650,000 tokens/s", "gpu_h200_step.json", "| yes |")),
        (("(stretch)",), ("650,000 tokens/s", "| no |")),
        (("GPT-2 350m step",), ("230,000 tokens/s", "gpu_h200_models.json", "| yes |")),
        (("GPT-2 774m step",), ("not measured",)),
        (("1.00x PyTorch 2.11 compiled, flash attention",), ("1.60x", "| yes |")),
        (("matmuls, mean",), ("720 TFLOP/s", "| yes |")),  # (12 x 600 + 48 x 750) / 60
        (("D=64, forward |",), ("300 TFLOP/s", "| yes |")),
        (("D=64, backward |",), ("230 TFLOP/s", "| no |")),
        (("forward and backward",), ("253 TFLOP/s", "| yes |")),  # (0.5 x 300 + 1 x 230) / 1.5
        (("layer norms, the slowest",), ("69.8 %", "| no |")),  # 3.0 / 4.3
        (("cross-entropy", "copy bandwidth"), ("93.0 %", "| yes |")),
        (("memory-bound kernels together",), ("9.92 %", "| yes |")),  # (25 + 25) x 0.1 + 3 + 2 of 100.8
        (("time outside of kernels",), ("12.7 %", "| no |")),  # 1 - (60 + 18 + 10) / 100.8
        (("every operation",), ("240 tests passed", "| yes |")),
        (("200 steps",), ("losses differ", "| no |")),
        (("memcheck and racecheck",), ("not measured",)),  # it was skipped
    ):
        expect(page, parts, says)
    check(page.count("NVIDIA H200, driver 580.1, CUDA 13.0, SM clock at most 1980 MHz") == 5, "not every file says its machine")
    check(page.count("Date: 2026-01-02. Commit: 0123456789ab-dirty.") == 5, "not every file says its date and commit")
    check("no \\| such backend" in page, "a | in a message breaks the table")

    # Of a run that was stopped, what it has is shown, but sums over a step's operations would lack some.
    some = kernels()
    some["context"]["complete"] = False
    some["benchmarks"] = some["benchmarks"][:12]
    made.write("gpu_h200_kernels_bf16.json", some)
    page = made.written()
    check("stopped before its end" in page and "| linear_forward |" in page, "what a stopped run has is not on the page")
    expect(page, ("matmuls, mean",), ("not measured",))

    # What `temper bench --json` wrote by itself says its commit in its context.
    own = kernels()
    own["context"]["commit"] = own.pop("commit").replace("0123", "4567")
    made.write("gpu_h200_kernels_bf16.json", own)
    check("Commit: 4567456789ab-dirty" in made.written(), "the commit in a context is not on the page")
    made.write("gpu_h200_kernels_bf16.json", kernels())

    # A result of another GPU is shown, but is no answer to what an H200 is to reach.
    other = step(900e3)
    other["machine"] = {**GPU, "gpu": "NVIDIA L4"}
    made.write("gpu_h200_step.json", other)
    page = made.written()
    check("900,000" in page, "the other GPU's result is not on the page")
    expect(page, ("(parity)", "480,000"), ("not measured",))


def processors(made: Made) -> None:
    """What two processors have of one kind is one table; each file says where it is from."""
    faster, more = step(80e3), kernels()
    faster["results"][1] = {**faster["results"][1], "name": "PyTorch 2.12 eager"}
    more["benchmarks"] += report_entries("gelu/R=65536/bf16", 1e-3, flops_per_second=1, bytes_per_second=1, share_of_floor=0.5)
    for folder, results in {
        "left-amx": (step(50e3), kernels(), products(1.25), ranks(["1", "defaults", "10", "100%"], ["2", "defaults", "15", "75%"])),
        "right-avx2": (faster, more, products(2.0), ranks(["2", "defaults", "18", "90%"], ["2", "zero", "19", "95%"])),
    }.items():
        for name, result in zip(("step", "kernels_bf16", "products", "ranks"), results, strict=True):
            made.write(f"{folder}/{name}.json", on_cpu(result, folder))
    page = made.written()
    for parts, says in (
        (
            ("| precision |", "program"),
            "| left-amx: tokens/s | left-amx: temper is | right-avx2: tokens/s | right-avx2: temper is |",
        ),
        (("| bf16 | temper |",), "| 50,000 |  | 80,000 |  |"),
        (("| bf16 | PyTorch 2.11 compiled, flash",), "| 31,250 | 1.60x (1.50 to 1.70) |  |  |"),
        (("| bf16 | PyTorch 2.12 eager",), "|  |  | 50,000 | 1.60x (1.50 to 1.70) |"),
        (("such backend",), "| failed | exit 1: no \\| such backend | failed |"),
        (("| optimizer_update |", "Adam,"), "| 2.00 ms | 90.0 % | 2.00 ms | 90.0 % |"),
        (("| gelu |",), "|  |  | 1.00 ms | 50.0 % |"),
        (("| bf16 | 768 -> 2304 | forward |",), "| 400 GFLOP/s | 1.25x | 400 GFLOP/s | 2.00x |"),
        (("| 2 | defaults |",), "| 15 | 75% | 18 | 90% |"),
        (("| 2 | zero |",), "|  |  | 19 | 95% |"),
    ):
        expect(page, parts, (says,))
    check("| ceiling |" not in page, "the ceilings are among the operations")
    for folder in ("left-amx", "right-avx2"):
        where = [
            line
            for line in page.splitlines()
            if line.startswith(f"* **{folder}**") and f"Machine: {folder} (avx2), 2 cores" in line
        ]
        check(len(where) == 4, f"{len(where)} of 4 tables say where {folder} is from")
        check(all(f"Commit: {folder[:4]}" in line and "Date: 2026-01-02" in line for line in where), "date or commit is missing")
    check(page.count("Over MPI.") == 1, "what two files say alike is not said once")
    for part in ("step", "kernels", "products", "ranks"):
        check(f"compare.py --python PYTHON --only {part}\n" in page, f"the command of {part} is not on the page")
    other = {**ranks(["1", "defaults", "10", "100%"]), "title": "Of a sweep", "measured_by": "temper sweep some.json"}
    made.write("left-amx/sweep.json", on_cpu(other, "left"))
    said = made.written()
    check("temper sweep some.json\n" in said and "--only sweep" not in said, "a file's own command is not on the page")
    # Of two processors, the goals of AMX are held against the one that has it.
    made.write(
        "left-amx/step.json", on_cpu({**step(50e3), "workload": {**step(1)["workload"], "batch": 4, "context": 256}}, "left")
    )
    expect(made.written(), ("2 cores with AMX", "1.90x PyTorch"), ("1.60x ([file](benchmarks/left-amx/step.json)) | no",))

    other = {**ranks(["1", "defaults", "10", "100%"]), "note": "Over a cable."}
    made.write("left-amx/ranks.json", on_cpu(other, "left"))
    said = made.written().splitlines()
    for folder, note in (("left-amx", "Over a cable."), ("right-avx2", "Over MPI.")):
        check(any(line.startswith(f"* **{folder}**") and line.endswith(note) for line in said), f"{folder} does not say: {note}")

    made.write("left-amx/step.json", step(1e5))
    made.refused("left-amx/step.json", "a GPU", "beside the folders")
    made.write("left-amx/step.json", "[")
    made.refused("left-amx/step.json", "JSON")
    made.write("left-amx/step.json", on_cpu(step(1e5), "left"))
    made.write("step.json", on_cpu(step(1e5), "left"))
    made.refused("step.json", "folder of its processor")
    (made.folder / "step.json").unlink()
    made.write("left-amx/ranks.json", on_cpu(ranks(["1", "defaults", "10"]), "left"))
    made.refused("left-amx/ranks.json: rows[0] has 3 cells")


def floors(made: Made) -> None:
    """A whole step beside the sum of its operations' floors; not of a file that lacks some of them."""
    made.write("left-amx/kernels_bf16.json", on_cpu(kernels(), "left"))
    check("beside its floor" not in made.written(), "a step's floor is made of a few operations")
    whole = kernels()
    for name, share in (
        ("linear_backward_input/R=65536 N=768 K=3072 gelu/bf16", 0.5),
        ("linear_backward_weight/R=65536 N=768 K=768/bf16", 0.5),
        ("embedding_forward/B=64/bf16", 1.0),
        ("embedding_backward/B=64/bf16", 1.0),
        ("global_norm/N=1/bf16", 0.5),
    ):
        whole["benchmarks"] += report_entries(name, 1e-3, flops_per_second=1, bytes_per_second=1, share_of_floor=share)
    made.write("left-amx/kernels_bf16.json", on_cpu(whole, "left"))
    made.write("left-amx/step.json", on_cpu(step(65536 / 0.128), "left"))
    page = made.written()
    for what, says in (
        ("| products |", "| 84.0 ms | 66.0 ms | 1.27x |"),  # 12 x 1 + 48 at 0.9, 24 x 1 at 0.5
        ("| attention |", "| 18.0 ms | 16.2 ms | 1.11x |"),
        ("| all else |", "| 13.0 ms | 11.5 ms | 1.13x |"),  # 25 x 0.2 + 3 + 2 at 0.9, 2 at 1, 1 at 0.5
        ("| all operations, one after the other |", "| 115 ms | 93.7 ms | 1.23x |"),
        ("| a whole step, in a run of its own |", "| 128 ms | 93.7 ms | 1.37x |"),
    ):
        expect(page, (what,), (says,))


def stale_pages(made: Made) -> None:
    made.write("gpu_h200_step.json", step(650e3))
    made.written()
    check(made.run("--check").returncode == 0, "a fresh page is called stale")
    made.write("gpu_h200_step.json", step(651e3))
    before = made.page.read_text()
    done = made.run("--check")
    check(done.returncode == 1 and "651,000" in done.stderr, f"a stale page: exit {done.returncode}:\n{done.stderr}")
    check(made.page.read_text() == before, "--check wrote the page")
    made.page.unlink()
    check(made.run("--check").returncode == 1, "a missing page is not stale")


def bad_files(made: Made) -> None:
    made.write("bad.json", '{"workload": ')
    made.refused("bad.json", "JSON")
    made.write("bad.json", {"some": "thing"})
    made.refused("bad.json", "no kind of result")
    made.write("bad.json", "[]")
    made.refused("bad.json", "no kind of result")

    def without(content: dict[str, Any], *path: Any) -> dict[str, Any]:
        result = copy.deepcopy(content)
        inner = result
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        return result

    for content, path, says in (
        (step(1e5), ("results", 0, "step_seconds", "p10"), "results[0].step_seconds.p10 is missing"),
        (step(1e5), ("workload", "batch"), "workload.batch is missing"),
        (step(1e5), ("machine", "driver"), "machine.driver is missing"),
        (kernels(), ("benchmarks", 3, "real_time"), "benchmarks[3].real_time is missing"),
        (kernels(), ("context", "matmul_flops_per_second"), "context.matmul_flops_per_second is missing"),
        (models(), ("benchmarks", 0, "planned_bytes"), "benchmarks[0].planned_bytes is missing"),
        (attention(), ("results", 0, "seconds"), "results[0].seconds is missing"),
        (checks(), ("stages", 1, "result"), "stages[1].result is missing"),
    ):
        made.write("bad.json", without(content, *path))
        made.refused("bad.json", says)
    odd = step(1e5)
    odd["results"][0]["tokens_per_second"] = "fast"
    made.write("bad.json", odd)
    made.refused("bad.json", "results[0].tokens_per_second is no number")
    unnamed = models()
    unnamed["benchmarks"][0]["run_name"] = "350m"
    made.write("bad.json", unnamed)
    made.refused("bad.json", "benchmarks[0].run_name")


def main() -> None:
    root = Path(sys.argv[1])
    done = subprocess.run(
        [sys.executable, str(root / "scripts/benchmarks_page.py"), "--check"], capture_output=True, text=True, check=False
    )
    check(done.returncode == 0, f"docs/benchmarks.md: exit {done.returncode}:\n{done.stderr}")
    print("docs/benchmarks.md: up to date")
    for case in (nothing_measured, gpu_results, processors, floors, stale_pages, bad_files):
        with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
            case(Made(root, Path(folder)))
        print(f"{case.__name__}: ok")


main()
