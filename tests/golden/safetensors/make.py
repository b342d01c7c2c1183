"""Writes reference.safetensors with Hugging Face's own library (pip install safetensors==0.5.3), for tests/io/safetensors_test.cpp.

Values are exact in every type: tensor "f32" holds i / 4 - 1 for i in 0..11, and so do "f16", "bf16" and "f64".
"""

import pathlib
import struct

import safetensors

values = [i / 4 - 1 for i in range(12)]
f32 = struct.pack("<12f", *values)
tensors = {
    "f32": {"dtype": "float32", "shape": [3, 4], "data": f32},
    "f64": {"dtype": "float64", "shape": [12], "data": struct.pack("<12d", *values)},
    "f16": {"dtype": "float16", "shape": [2, 6], "data": struct.pack("<12e", *values)},
    "bf16": {"dtype": "bfloat16", "shape": [1, 12], "data": b"".join(f32[4 * i + 2 : 4 * i + 4] for i in range(12))},
    "scalar": {"dtype": "float32", "shape": [], "data": struct.pack("<f", 0.5)},
    "empty": {"dtype": "float32", "shape": [0, 7], "data": b""},
    "counts": {"dtype": "int64", "shape": [2], "data": struct.pack("<2q", -3, 1 << 40)},
    "mask": {"dtype": "bool", "shape": [3], "data": b"\x01\x00\x01"},
    "naïve.重み": {"dtype": "uint8", "shape": [1], "data": b"\x07"},
}
target = pathlib.Path(__file__).parent / "reference.safetensors"
safetensors.serialize_file(tensors, str(target), {"format": "pt", "origin": "tests/golden/safetensors/make.py"})
print(target.name, target.stat().st_size, "bytes, safetensors", safetensors.__version__)
