#!/usr/bin/env python3
"""nvcc_with_report.py OBJECT COMMAND...: runs a compiler's command and keeps what ptxas says of its kernels in OBJECT.ptxas, where
scripts/compiled_kernels.py reads it. Everything else the compiler says goes on as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

done = subprocess.run(sys.argv[2:], stderr=subprocess.PIPE, text=True, check=False)
Path(f"{sys.argv[1]}.ptxas").write_text(done.stderr)
told = ("ptxas info", "Function properties", "bytes stack frame", "Compile time")
for line in done.stderr.splitlines():
    if done.returncode != 0 or not any(part in line for part in told):
        print(line, file=sys.stderr)
sys.exit(done.returncode)
