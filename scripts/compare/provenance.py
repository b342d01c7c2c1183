#!/usr/bin/env python3
"""What a result was measured on and with which commit; other scripts import it.

As a program it joins reports of `temper bench ... --json` of one machine into one file and writes that into it:

    provenance.py --device cuda --out docs/benchmarks/gpu_h200_models.json 124m.json 350m.json
    provenance.py --device cuda              # prints what would be written
    provenance.py --short-name               # prints h200 on an NVIDIA H200, for names of files

Needs nothing but Python itself; a GPU is asked through nvidia-smi.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# nvidia-smi's name of a field -> where it goes in the result.
GPU_FIELDS = {
    "name": "gpu",
    "driver_version": "driver",
    "compute_cap": "compute_capability",
    "memory.total": "gpu_memory_mib",
    "power.limit": "power_limit_watts",
    "persistence_mode": "persistence_mode",
}
CLOCK_FIELDS = {
    "clocks.sm": "sm_mhz",
    "clocks.mem": "memory_mhz",
    "clocks.max.sm": "sm_max_mhz",
    "clocks.max.mem": "memory_max_mhz",
    "pstate": "performance_state",
    "temperature.gpu": "celsius",
    "power.draw": "watts",
}


class NoGpuError(Exception):
    """Why nvidia-smi says nothing about a GPU."""


def output_of(*command: str) -> str:
    """What a program prints, stripped; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """Of this tree, with -dirty where files differ from it. TEMPER_COMMIT says it for a copy without .git. Results count for
    nothing here: those of one part make no other part's commit less true."""
    stated = os.environ.get("TEMPER_COMMIT", "")
    head = output_of("git", "-C", str(ROOT), "rev-parse", "HEAD")
    if stated or not head:
        return stated or "unknown"
    return head + ("-dirty" if output_of("git", "-C", str(ROOT), "status", "--porcelain", "--", ".", ":!docs/benchmarks*", ":!docs/experiments*") else "")


def date() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def processor_name(processor: str, features: list[str]) -> str:
    """Family and widest way to multiply bf16, as folders of results are called: "epyc-avx512bf16", "xeon-amx", "core-avx2"."""
    maker = {"amd", "intel", "r", "tm", "gen", "genuine", "processor", "cpu", "with", "authentic"}
    words = [word for word in re.findall(r"[a-z0-9]+", processor.lower()) if word.isalpha() and word not in maker]
    ways = {"amx_bf16": "amx", "avx512_bf16": "avx512bf16", "avx512f": "avx512", "avx2": "avx2"}
    found = [name for feature, name in ways.items() if feature in features]
    return "-".join([words[0] if words else platform.machine(), *found[:1]])


def write(path: Path, report: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(report, indent=1) + "\n")
    beside.replace(path)


def cpu_machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    matters = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    return {
        "processor": info.get("model name", platform.processor()),
        "features": sorted(matters & set(info.get("flags", "").split())),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_at_start": os.getloadavg()[0],
    }


def query_gpu(fields: dict[str, str]) -> dict[str, Any]:
    """These fields of the first visible GPU; what it does not tell is None. Raises NoGpuError."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    command = ["nvidia-smi", "-i", first, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoGpuError(f"nvidia-smi cannot be run: {error}") from None
    cells = [cell.strip() for cell in done.stdout.strip().split(",")]
    if done.returncode != 0 or len(cells) != len(fields):
        raise NoGpuError((done.stdout + done.stderr).strip() or f"nvidia-smi ended with {done.returncode}")

    def value(key: str, cell: str) -> str | float | None:
        if cell.startswith("["):  # [N/A], [Not Supported]
            return None
        number = key not in ("driver", "compute_capability") and re.fullmatch(r"\d+(\.\d+)?", cell)
        return float(cell) if number else cell

    return {key: value(key, cell) for key, cell in zip(fields.values(), cells, strict=True)}


def gpu_clocks() -> dict[str, Any]:
    """Clocks, power and temperature at this moment. Raises NoGpuError."""
    return query_gpu(CLOCK_FIELDS)


def cuda_version() -> str | None:
    """Of the toolkit that builds here."""
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    found = re.search(r"release (\d+\.\d+)", output_of(nvcc, "--version"))
    return found.group(1) if found else None


def machine(device: str) -> dict[str, Any]:
    """The processor, and for device "cuda" the GPU with its driver and clocks first. Raises NoGpuError."""
    if device == "cpu":
        return cpu_machine()
    return {**query_gpu(GPU_FIELDS), "cuda": cuda_version(), "clocks_at_start": gpu_clocks(), **cpu_machine()}


def short_name(gpu: str) -> str:
    """ "NVIDIA H100 80GB HBM3" -> "h100", "NVIDIA GeForce RTX 4090" -> "rtx4090"."""
    words = [word for word in re.findall(r"[a-z0-9]+", gpu.lower()) if word not in ("nvidia", "geforce", "tesla")]
    return "".join(words[: 2 if words[:1] in (["rtx"], ["gtx"]) else 1]) or "unknown"


def joined(reports: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """One report with all benchmarks, the first one's context, and the machine."""
    return {
        "date": date(),
        "commit": commit(),
        "machine": machine(device),
        "context": reports[0]["context"],
        "benchmarks": [each for report in reports for each in report["benchmarks"]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="*", type=Path, help="files that `temper bench --json` wrote on this machine")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="(default %(default)s)")
    parser.add_argument("--out", type=Path, help="where the joined report goes")
    parser.add_argument("--short-name", action="store_true", help="print the GPU's name as names of files have it")
    arguments = parser.parse_args()
    if bool(arguments.reports) != bool(arguments.out):
        parser.error("reports and --out go together")
    try:
        if arguments.short_name:
            print(short_name(query_gpu({"name": "gpu"})["gpu"]))
        elif arguments.out:
            report = joined([json.loads(path.read_text()) for path in arguments.reports], arguments.device)
            arguments.out.write_text(json.dumps(report, indent=2) + "\n")
        else:
            about = {"date": date(), "commit": commit(), "machine": machine(arguments.device)}
            print(json.dumps(about, indent=2))
    except NoGpuError as error:
        print(f"provenance.py: no GPU: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
