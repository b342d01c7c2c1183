#!/usr/bin/env python3
"""Times whole GPT-2 training steps in PyTorch on the CPU or a GPU: what temper's step is compared with.

A step is forward, loss, backward, clipping of the global norm and AdamW (fused where PyTorch has that for the device).
Batches are random tokens, a new one each step. Prints one JSON object: median, 10th and 90th percentile of the step time,
tokens per second at the median, peak resident memory and what of it was there before the model; on a GPU also the peak of its
memory and its clocks. There a sample is the time from one step's end to the next's, the next step being queued already, as in
`temper bench step`.
Runs on PyTorch 1.13 and newer; `--implementation transformers` needs the transformers package.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any


def prepare_debian_torch() -> None:
    """Debian 12's PyTorch multiplies with OpenBLAS 0.3.21, which takes processors newer than itself for ones with SSE3 alone, and
    whose threads fight with OpenMP's spinning ones: several times slower. Compared is what it can do when told better."""
    if Path("/usr/lib/python3/dist-packages/torch").is_dir() and sys.prefix == "/usr":
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        if "avx512f" in Path("/proc/cpuinfo").read_text():
            os.environ.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")


prepare_debian_torch()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import provenance  # noqa: E402
from gpt2_reference import Config, Gpt2, mean_loss  # noqa: E402

# 50257 rounded up to a multiple of 128, as temper pads it; PyTorch's products are no slower for it.
VOCABULARY, SMALL_VOCABULARY = 50304, 2048
# Layers, heads, width and vocabulary, as `temper bench step --model` names them.
MODELS = {
    "124m": (12, 12, 768, VOCABULARY),
    "350m": (24, 16, 1024, VOCABULARY),
    "774m": (36, 20, 1280, VOCABULARY),
    "1558m": (48, 25, 1600, VOCABULARY),
    "11m": (6, 6, 384, SMALL_VOCABULARY),
    "4m": (4, 4, 256, SMALL_VOCABULARY),
    "1m": (4, 4, 128, SMALL_VOCABULARY),
    "0.2m": (2, 2, 64, SMALL_VOCABULARY),
    "tiny": (2, 2, 32, VOCABULARY),
}
# What scaled_dot_product_attention may run on; the switch of each in torch.backends.cuda.
ATTENTION_SWITCHES = {
    "flash": "enable_flash_sdp",
    "cudnn": "enable_cudnn_sdp",
    "efficient": "enable_mem_efficient_sdp",
    "math": "enable_math_sdp",
}


def peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class TransformersGpt2(nn.Module):
    """GPT2LMHeadModel with the signature of Gpt2."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        self.model = GPT2LMHeadModel(GPT2Config(**config.to_hugging_face(), use_cache=False))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens).logits
        return logits


def make_optimizer(model: nn.Module) -> tuple[torch.optim.Optimizer, str]:
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    settings: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.95), "eps": 1e-8}
    try:
        return torch.optim.AdamW(groups, fused=True, **settings), "fused"
    except (TypeError, RuntimeError):  # PyTorch 1.13 has none for the CPU, and its foreach form is slower than its loop
        return torch.optim.AdamW(groups, **settings), "loop"


def percentile(samples: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="124m")
    parser.add_argument("--batch", type=int, default=4, help="sequences (default %(default)s)")
    parser.add_argument("--context", type=int, default=256, help="tokens per sequence (default %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default %(default)s)")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="bf16 is autocast over fp32 weights")
    parser.add_argument("--implementation", choices=("own", "transformers"), default="own")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model and the loss")
    parser.add_argument(
        "--attention",
        choices=("default", "flash", "cudnn"),
        default="default",
        help="what scaled_dot_product_attention runs on; default is PyTorch's own choice (GPU only)",
    )
    parser.add_argument("--warmup", type=int, default=5, help="untimed steps (default %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    if arguments.warmup < 1 or arguments.steps < 1:
        parser.error("--warmup and --steps must be at least 1")
    if arguments.device == "cpu" and arguments.attention != "default":
        parser.error("--attention is a choice for --device cuda alone")
    return arguments


def prepare_gpu(attention: str) -> None:
    if not torch.cuda.is_available():
        raise SystemExit(f"PyTorch {torch.__version__} sees no GPU here")
    torch.set_float32_matmul_precision("highest")  # no TF32
    if attention != "default":
        if not hasattr(torch.backends.cuda, ATTENTION_SWITCHES[attention]):
            raise SystemExit(f"PyTorch {torch.__version__} has no {attention} attention")
        for name, switch in ATTENTION_SWITCHES.items():
            getattr(torch.backends.cuda, switch, lambda enabled: None)(name == attention)


# Makes a batch; and does a step with it, which returns the loss where it was computed.
Draw = Callable[[], Tensor]
Train = Callable[[Tensor], Tensor]


def time_on_cpu(draw: Draw, train: Train, count: int) -> tuple[list[float], list[float]]:
    """Seconds and losses of `count` steps; drawing a batch is not counted."""
    seconds, losses = [], []
    for _ in range(count):
        tokens = draw()
        start = time.perf_counter()
        losses.append(train(tokens).item())
        seconds.append(time.perf_counter() - start)
    return seconds, losses


def time_on_gpu(draw: Draw, train: Train, count: int) -> tuple[list[float], list[float]]:
    """The same, where the host is one step ahead of the device: it waits for a step's end when the next one is queued. Drawing a
    batch happens meanwhile. The first time is the host's, since the first step compiles."""
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(count)]
    losses = torch.empty(count).pin_memory()
    start = time.perf_counter()
    first = 0.0
    for index, end in enumerate(ends):
        losses[index].copy_(train(draw()), non_blocking=True)
        end.record()
        if index == 0:
            end.synchronize()
            first = time.perf_counter() - start
        else:
            ends[index - 1].synchronize()
    ends[-1].synchronize()
    return [first] + [1e-3 * before.elapsed_time(after) for before, after in pairwise(ends)], losses.tolist()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    on_gpu = arguments.device == "cuda"
    if on_gpu:
        prepare_gpu(arguments.attention)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1337)
    before = peak_rss_bytes()
    n_layer, n_head, n_embd, vocabulary = MODELS[arguments.model]
    config = Config(n_layer, n_head, n_embd, n_ctx=arguments.context, vocab_size=vocabulary)
    model = Gpt2(config) if arguments.implementation == "own" else TransformersGpt2(config)
    model.to(arguments.device).train()
    parameters = list(model.parameters())
    optimizer, form = make_optimizer(model)

    def forward(tokens: Tensor, targets: Tensor) -> Tensor:
        return mean_loss(model(tokens), targets)

    if arguments.compile:
        forward = torch.compile(forward)
    bf16 = arguments.dtype == "bf16"

    def draw() -> Tensor:
        tokens = torch.randint(vocabulary, (arguments.batch, arguments.context + 1))
        return tokens.pin_memory().to("cuda", non_blocking=True) if on_gpu else tokens

    def train(tokens: Tensor) -> Tensor:
        with torch.autocast(arguments.device, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = forward(tokens[:, :-1], tokens[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.detach()

    time_steps = time_on_gpu if on_gpu else time_on_cpu
    all_seconds, losses = time_steps(draw, train, arguments.warmup + arguments.steps)
    clocks = provenance.gpu_clocks() if on_gpu else {}  # at once, before the GPU rests
    if not all(math.isfinite(loss) for loss in losses[arguments.warmup :]):
        raise SystemExit("the loss is not finite; these times mean nothing")
    seconds = all_seconds[arguments.warmup :]
    median = percentile(seconds, 0.5)
    result = {
        "program": "pytorch",
        "version": torch.__version__,
        "python": sys.version.split()[0],
        "implementation": arguments.implementation,
        "compiled": arguments.compile,
        "optimizer": form,
        "attention": "scaled_dot_product" if hasattr(nn.functional, "scaled_dot_product_attention") else "explicit mask",
        "precision": arguments.dtype,
        "model": arguments.model,
        "batch": arguments.batch,
        "context": arguments.context,
        "vocabulary": vocabulary,
        "parameters": sum(p.numel() for p in parameters),
        "threads": torch.get_num_threads(),
        "warmup": arguments.warmup,
        "steps": arguments.steps,
        "first_step_seconds": all_seconds[0],
        "step_seconds": {"median": median, "p10": percentile(seconds, 0.1), "p90": percentile(seconds, 0.9)},
        "tokens_per_second": arguments.batch * arguments.context / median,
        "peak_rss_bytes": peak_rss_bytes(),
        "rss_before_model_bytes": before,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }
    if on_gpu:
        result |= {
            "device": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "attention_backend": arguments.attention,
            "peak_device_bytes": torch.cuda.max_memory_allocated(),
            "clocks_after": clocks,
        }
    return result


def main() -> int:
    arguments = parse_arguments()
    result = json.dumps(measure(arguments), indent=2)
    print(result)
    if arguments.json:
        arguments.json.write_text(result + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
