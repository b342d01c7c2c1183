#!/usr/bin/env python3
"""nvcc_with_report.py OBJECT COMMAND...: runs a compiler's command. Of nvcc's it keeps beside the object what ptxas says of the kernels
(OBJECT.ptxas) and what was made of them on the way (OBJECT.ARCHITECTURE.ptx and .cubin), for scripts/compiled_kernels.py and the tests
that look at it. Everything else the compiler says goes on as it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

object_name, *command = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    keep = ["--keep", "--keep-dir", folder] if "cu" in command else []  # of "-x cu"
    done = subprocess.run([*command, *keep], stderr=subprocess.PIPE, text=True, check=False)
    for kept in Path(folder).iterdir():
        if kept.suffix in (".ptx", ".cubin"):  # "sum.compute_80.ptx", "sum.sm_80.cubin"
            shutil.copyfile(kept, f"{object_name}{''.join(kept.suffixes[-2:])}")
if keep:
    Path(f"{object_name}.ptxas").write_text(done.stderr)
told = ("ptxas info", "Function properties", "bytes stack frame", "Compile time")
for line in done.stderr.splitlines():
    if done.returncode != 0 or not any(part in line for part in told):
        print(line, file=sys.stderr)
sys.exit(done.returncode)
