"""What temper is to reach, and how far the result files say it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmark_results import (
    Result,
    ResultError,
    Value,
    benchmark_seconds,
    gpu_command,
    medians,
    percent,
    rate_text,
    step_name,
    stopped,
)

LAYERS = {"124m": 12, "350m": 24, "774m": 36, "1558m": 48}
PADDED_VOCABULARY = 50304


@dataclass(frozen=True)
class Gate:
    """Something to reach. `measured` is empty until a file has it."""

    work: str
    machine: str
    goal: str
    command: str
    measured: str = ""
    met: str = ""
    file: str = ""


class Figures:
    """What the gates are held against: of the results of one GPU, or of the CPU."""

    def __init__(self, results: list[Result], gpu: str | None) -> None:
        self.results = [each for each in results if each.gpu() == gpu]

    def of_kind(self, kind: str) -> list[Result]:
        return [each for each in self.results if each.kind == kind]

    def step_rows(self, model: str, batch: int, context: int, precision: str) -> tuple[str, list[Value]]:
        """File and rows of the comparison with PyTorch at this workload."""
        for result in self.of_kind("step"):
            work = result.data["workload"]
            if [work[key].word() for key in ("model", "batch", "context")] == [model, str(batch), str(context)]:
                rows = [row for row in result.data["results"] if row["precision"].text() == precision and "error" not in row]
                return result.name, rows
        return "", []

    def tokens_per_second(self, model: str, batch: int, context: int) -> tuple[str, float | None]:
        """Of temper, in bf16."""
        file, rows = self.step_rows(model, batch, context, "bf16")
        for row in rows:
            if row["name"].text() == "temper":
                return file, row["tokens_per_second"].number()
        for result in self.of_kind("models"):
            for entry in medians(result.data):
                if step_name(entry)[1:] == [model, "bf16", f"B{batch}", f"T{context}"]:
                    return result.name, entry["tokens_per_second"].number()
        return "", None

    def kernels(self) -> tuple[str, Value | None]:
        """The bf16 kernels of GPT-2 124M, B=64, T=1024; of a run that came to its end, since sums over a step need all of them."""
        for result in self.of_kind("kernels"):
            context = result.data["context"]
            workload = [context[key].word() for key in ("model", "precision", "batch", "context_length")]
            if workload == ["124m", "bf16", "64", "1024"] and not stopped(result):
                return result.name, result.data
        return "", None


def count_in_step(run_name: str, layers: int) -> int:
    """How often a step runs this benchmark's operation; 0 for what it does not run."""
    operation, _, shape = run_name.partition("/")
    if operation.startswith("linear_"):
        return 1 if f"N={PADDED_VOCABULARY} " in shape else layers
    if operation == "cross_entropy":
        return 1 if "gradient" in shape else 0
    if operation == "optimizer_update":
        return 1 if shape.startswith("Adam, multiplicative") else 0
    counts = {
        "attention_forward": layers,
        "attention_backward": layers,
        "layernorm_forward": 2 * layers + 1,
        "layernorm_backward": 2 * layers + 1,
        "embedding_forward": 1,
        "embedding_backward": 1,
        "global_norm": 1,
    }
    return counts.get(operation, 0)


@dataclass(frozen=True)
class KernelFigures:
    """Rates and times of the operations of a step, each weighted by how often the step runs it."""

    data: Value

    def entries(self, *operations: str) -> list[tuple[Value, int]]:
        layers = LAYERS[self.data["context"]["model"].text()]
        found = [(entry, count_in_step(entry["run_name"].text(), layers)) for entry in medians(self.data)]
        chosen = [(entry, n) for entry, n in found if n > 0 and entry["run_name"].text().partition("/")[0] in operations]
        if not chosen:
            raise ResultError(f"{self.data.place}benchmarks has none of {', '.join(operations)}")
        return chosen

    def seconds(self, *operations: str) -> float:
        return sum(n * benchmark_seconds(entry) for entry, n in self.entries(*operations))

    def floor_seconds(self, *operations: str) -> float:
        return sum(n * benchmark_seconds(entry) * entry["share_of_floor"].number() for entry, n in self.entries(*operations))

    def flops_per_second(self, *operations: str) -> float:
        flops = sum(n * benchmark_seconds(entry) * entry["flops_per_second"].number() for entry, n in self.entries(*operations))
        return flops / self.seconds(*operations)

    def lowest_bandwidth_share(self, *operations: str) -> float:
        copy = self.data["context"]["copy_bytes_per_second"].number()
        return min(entry["bytes_per_second"].number() / copy for entry, _ in self.entries(*operations))


MATMULS = ("linear_forward", "linear_backward_input", "linear_backward_weight")
LAYERNORMS = ("layernorm_forward", "layernorm_backward")
MEMORY_BOUND = (*LAYERNORMS, "cross_entropy", "embedding_forward", "embedding_backward", "optimizer_update", "global_norm")
ATTENTION = ("attention_forward", "attention_backward")


def yes(reached: bool) -> str:
    return "yes" if reached else "no"


def rate_gates(gpu: str, figures: Figures) -> list[Gate]:
    """Tokens per second of whole steps."""
    gates = []
    goals = [("124m", 64, 480_000, "parity"), ("124m", 64, 620_000, "goal"), ("124m", 64, 680_000, "stretch")]
    goals += [("350m", 32, 225_000, "goal"), ("774m", 16, 107_000, "goal"), ("1558m", 8, 55_000, "goal")]
    for model, batch, goal, level in goals:
        work = f"GPT-2 {model} step, bf16, B={batch}, T=1024 ({level})"
        gate = Gate(work, gpu, f"{goal:,} tokens/s", gpu_command("step" if model == "124m" else "models"))
        file, rate = figures.tokens_per_second(model, batch, 1024)
        if rate is not None:
            gate = replace(gate, measured=f"{rate:,.0f} tokens/s", met=yes(rate >= goal), file=file)
        gates.append(gate)
    return gates


def ratio_gates(work: str, machine: str, goal: float, command: str, found: tuple[str, list[Value]]) -> list[Gate]:
    """temper against every PyTorch of the same run."""
    file, rows = found
    gates = []
    for row in rows:
        if ratio := row.get("temper_ratio"):
            value = ratio["median"].number()
            goal_text = f"{goal:.2f}x {row['name'].text()}"
            gates.append(Gate(work, machine, goal_text, command, f"{value:.2f}x", yes(value >= goal), file))
    return gates or [Gate(work, machine, f"{goal:.2f}x PyTorch", command)]


def kernel_gates(gpu: str, figures: Figures) -> list[Gate]:
    file, data = figures.kernels()
    kernels = KernelFigures(data) if data else None
    command = gpu_command("kernels")
    gates = []

    rates: list[tuple[str, tuple[str, ...], int]] = [
        ("matmuls, mean over a step's", MATMULS, 670),
        ("causal attention, T=1024, D=64, forward and backward (parity: FlashAttention-2)", ATTENTION, 192),
        ("causal attention, T=1024, D=64, forward", ("attention_forward",), 290),
        ("causal attention, T=1024, D=64, backward", ("attention_backward",), 240),
    ]
    for work, operations, goal in rates:
        gate = Gate(work, gpu, f"{goal} TFLOP/s", command)
        if kernels:
            rate = kernels.flops_per_second(*operations)
            gate = replace(gate, measured=rate_text(rate, "FLOP"), met=yes(rate >= goal * 1e12), file=file)
        gates.append(gate)

    bandwidths: list[tuple[str, tuple[str, ...]]] = [
        ("layer norms, the slowest", LAYERNORMS),
        ("cross-entropy", ("cross_entropy",)),
        ("optimizer update", ("optimizer_update",)),
    ]
    for work, operations in bandwidths:
        gate = Gate(work, gpu, "85 % of the copy bandwidth", command)
        if kernels:
            share = kernels.lowest_bandwidth_share(*operations)
            gate = replace(gate, measured=percent(share), met=yes(share >= 0.85), file=file)
        gates.append(gate)
    return gates + share_gates(gpu, figures, file, kernels)


def share_gates(gpu: str, figures: Figures, file: str, kernels: KernelFigures | None) -> list[Gate]:
    """What of a step goes where, from the kernels' times beside the step's."""
    memory_bound = Gate("memory-bound kernels together, of the step", gpu, "at most 11 %", gpu_command("kernels,step"))
    outside = Gate("time outside of kernels, of the step", gpu, "at most 4.5 %", gpu_command("kernels,step"))
    _, step_rate = figures.tokens_per_second("124m", 64, 1024)
    if not kernels or not step_rate:
        return [memory_bound, outside]
    step_seconds = 64 * 1024 / step_rate
    inside = kernels.seconds(*MEMORY_BOUND) / step_seconds
    rest = 1 - kernels.seconds(*MATMULS, *ATTENTION, *MEMORY_BOUND) / step_seconds
    return [
        replace(memory_bound, measured=percent(inside), met=yes(inside <= 0.11), file=file),
        replace(outside, measured=percent(rest), met=yes(rest <= 0.045), file=file),
    ]


def check_gates(gpu: str, figures: Figures) -> list[Gate]:
    gates = []
    works = {
        "operations": "every operation against double precision",
        "parity": "a whole model's losses and gradients against the CPU backend",
        "training": "200 steps of GPT-2 124M twice, the same bits",
        "nccl": "one rank over NCCL, the same bits as none",
        "sanitizer": "memcheck and racecheck over attention, cross-entropy, layer norm, sort",
    }
    for stage, work in works.items():
        gate = Gate(work, gpu, "passes", gpu_command(stage))
        for result in figures.of_kind("check"):
            for row in result.data["stages"]:
                outcome = row["result"].text()
                if row["name"].text() == stage and outcome != "skip":
                    gate = replace(gate, measured=row["detail"].text() or outcome, met=yes(outcome == "pass"), file=result.name)
        gates.append(gate)
    return gates


def all_gates(results: list[Result]) -> list[Gate]:
    gpu = "NVIDIA H200"
    on_gpu, on_cpu = Figures(results, gpu), Figures([each for each in results if each.processor.endswith("-amx")], None)
    gates = check_gates(gpu, on_gpu)
    gates += rate_gates(gpu, on_gpu)
    gates += ratio_gates(
        "GPT-2 124m step, bf16, B=64, T=1024, same run",
        gpu,
        1.0,
        gpu_command("pytorch"),
        on_gpu.step_rows("124m", 64, 1024, "bf16"),
    )
    gates += kernel_gates(gpu, on_gpu)
    command = "python3 scripts/compare/compare.py --python PYTHON --only step"
    for precision, goal in (("fp32", 1.3), ("bf16", 1.9)):
        work = f"GPT-2 124m step, {precision}, B=4, T=256, same run"
        gates += ratio_gates(work, "2 cores with AMX", goal, command, on_cpu.step_rows("124m", 4, 256, precision))
    return gates
