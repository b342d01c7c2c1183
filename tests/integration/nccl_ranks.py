"""nccl_ranks.py TEMPER: two and four ranks over NCCL, all on one GPU, give the losses of one. Skipped by name where there is no GPU.

NCCL refuses two ranks on one GPU unless each looks like a machine of its own; the variables do that. For correctness only: processes on one GPU take
turns.
"""

from __future__ import annotations

import socket
import subprocess
import sys

from harness import PATIENCE, Workspace, check, metrics, skip

CONFIG = {"device": "cuda", "batch": {"tokens_per_step": 256, "micro_batch": 1}, "train": {"steps": 12}, "eval": {"every": 6, "tokens": 160},
          "checkpoint": {"every": 0}, "log": {"tensorboard": False}, "parallel": {"bucket_mib": 1, "check_every": 4, "timeout_seconds": 300}}
ONE_GPU = {"NCCL_SOCKET_IFNAME": "lo", "NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1", "NCCL_MNNVL_ENABLE": "0", "NCCL_NVLS_ENABLE": "0",
           "NCCL_CUMEM_ENABLE": "0", "NCCL_ALGO": "Ring", "NCCL_PROTO": "Simple", "NCCL_MAX_NCHANNELS": "2", "NCCL_DEBUG": "WARN"}


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def train_together(work: Workspace, ranks: int, *arguments: str) -> None:
    """As torchrun would start them."""
    place = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    processes = [
        work.start("train", "config.json", *arguments, env={**ONE_GPU, **place, "RANK": str(rank), "LOCAL_RANK": str(rank), "NCCL_HOSTID": f"rank{rank}"})
        for rank in range(ranks)
    ]
    ends = []
    for process in processes:
        try:
            _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        ends.append((process.returncode, said))
    if any("Duplicate GPU detected" in said for _, said in ends):
        skip("this NCCL does not take several ranks on one GPU")
    for rank, (code, said) in enumerate(ends):
        check(code == 0, f"rank {rank} of {ranks} ended with {code}:\n{said}")


def main() -> None:
    with Workspace(sys.argv[1]) as work:
        work.write_config("config.json", CONFIG)
        first = work.run("train", "config.json", "--out", "alone")
        if first.returncode == 2 and "device=cuda" in first.stderr:
            skip(first.stderr.strip().splitlines()[-1])
        check(first.returncode == 0, first.stderr)
        expected = metrics(work.folder / "alone")
        for ranks, stage in ((2, 0), (4, 0), (2, 1), (4, 1)):
            run = f"together-{ranks}-{stage}"
            train_together(work, ranks, f"parallel.zero_stage={stage}", "--out", run)
            for line, wanted in zip(metrics(work.folder / run), expected, strict=True):
                for key in ("loss", "val_loss", "grad_norm"):
                    if wanted.get(key) is not None:
                        # Sums in another order: rounding in f32, that training carries on.
                        difference = abs(line[key] - wanted[key]) / abs(wanted[key])
                        check(difference < 1e-4, f"{run}, step {line['step']}: {key} {line[key]}, by one rank {wanted[key]}")
            print(f"{ranks} ranks on one GPU, ZeRO stage {stage}: the losses of one", flush=True)


main()
