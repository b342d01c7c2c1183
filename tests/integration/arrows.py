"""arrows.py REPOSITORY: who includes whom. Rooms include downwards only; kernels know nothing of src; CUDA stays in kernels/cuda; src names no backend but
in cli; only cli and distributed read the environment; device code stays in .cu files. docs/architecture.md says why."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# What each room may include, itself aside.
ALLOWED = {
    "kernels": set(),
    "io": set(),
    "distributed": {"io", "kernels"},
    "config": {"io"},
    "data": {"io", "config", "kernels"},
    "optim": {"io", "config", "kernels"},
    "model": {"io", "config", "kernels"},
    "train": {"io", "config", "kernels", "distributed", "data", "optim", "model"},
    "sweep": {"io", "config", "kernels", "distributed", "data", "optim", "model", "train"},
    "bench": {"io", "config", "kernels", "distributed", "data", "optim", "model", "train"},
    "cli": {"io", "config", "kernels", "distributed", "data", "optim", "model", "train", "sweep", "bench"},
}
BACKENDS = re.compile(r"kernels/(cpu|cuda|emulated|no_cuda)/|make_(cpu|cuda)_ops")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
DEVICE_INCLUDE = re.compile(r"^\s*#\s*include\s*<device/", re.MULTILINE)
CUDA_INCLUDE = re.compile(r"^\s*#\s*include\s*<(cuda|cublas|nccl|nvtx)", re.MULTILINE)
ENVIRONMENT = re.compile(r"\b(getenv|secure_getenv|setenv|putenv|environ)\b")


def room_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[1] if parts[0] == "src" else "kernels"


def violations(root: Path) -> list[str]:
    found = []
    files = [path for folder in ("kernels", "src") for path in (root / folder).rglob("*") if path.suffix in (".h", ".cpp", ".cu", ".cuh")]
    for path in files:
        room = room_of(path, root)
        text = path.read_text()
        name = path.relative_to(root)
        for include in INCLUDE.findall(text):
            target = include.split("/")[0]
            if target not in ALLOWED:
                found.append(f"{name}: includes {include}, which is in no room")
            elif target != room and target not in ALLOWED[room]:
                found.append(f"{name}: {room} may not include {target} ({include})")
        if room not in ("kernels", "cli") and BACKENDS.search(text):
            found.append(f"{name}: names a backend; only cli does")
        if room not in ("cli", "distributed") and ENVIRONMENT.search(text):
            found.append(f"{name}: reads the environment; only cli and distributed do")
        folder = name.parts[:2]
        executions = (("kernels", "cuda"), ("kernels", "emulated"))
        if DEVICE_INCLUDE.search(text) and folder not in executions:
            found.append(f"{name}: <device/...> belongs to kernels/cuda and kernels/emulated")
        if CUDA_INCLUDE.search(text) and folder not in executions and name.parts[:3] != ("src", "distributed", "nccl"):
            found.append(f"{name}: only kernels/cuda, kernels/emulated and distributed/nccl include CUDA's headers")
        if path.suffix in (".h", ".cpp") and "__global__" in text:
            found.append(f"{name}: device code belongs in a .cu or .cuh file")
    if not files:
        found.append(f"{root}: no sources found")
    return found


def main() -> None:
    problems = violations(Path(sys.argv[1]))
    print("\n".join(problems) if problems else "all arrows run downwards")
    sys.exit(1 if problems else 0)


main()
