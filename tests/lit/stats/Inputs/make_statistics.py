"""Writes the statistics file that the tests beside it print, from the documented format alone.

usage: make_statistics.py FILE
"""
import hashlib
import json
import struct
import sys

import numpy as np

ARRAYS = {
    "::samples": np.arange(64, dtype="|u1"),
    "::random": np.array([0], "<i8"),
    "encoder/y::counts": np.array([100, 2, 0, 0], "<i8"),
    "encoder/y::range": np.array([-1, 3, -1, 2.5, -1, 3], "<f4"),
    "encoder/y::sums": np.array([50, 200], "<f8"),
    "encoder/y::histogram": np.array([10, 80, 0, 10], "<i8"),
    "encoder/y::channels": np.array([150, 50], "<f8"),
    "encoder/y::channel_axis": np.array([1], "<i8"),
    "timestep::counts": np.array([2, 2, 0, 1], "<i8"),
    "timestep::range": np.array([1, 951, 1, 951, 0, 1024], "<f4"),
    "timestep::sums": np.array([952, 904402], "<f8"),
    "timestep::histogram": np.array([1, 0, 0, 1], "<i8"),
}
TYPES = {"<i8": "I64", "<f4": "F32", "<f8": "F64", "|u1": "U8"}


def digest():
    state = hashlib.sha256()
    for name in sorted(ARRAYS):
        array = ARRAYS[name]
        state.update(struct.pack("<Q", len(name)) + name.encode() + array.dtype.name.encode())
        state.update(struct.pack("<Q", array.nbytes) + array.tobytes())
    return state.hexdigest()


def main():
    header = {"__metadata__": {"format": "nibble-statistics", "version": "2", "fingerprint": "0123abcd", "sha256": digest()}}
    data = b""
    for name in sorted(ARRAYS, key=lambda key: (-ARRAYS[key].itemsize, key)):
        array = ARRAYS[name]
        header[name] = {"dtype": TYPES[array.dtype.str], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(sys.argv[1], "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


main()
