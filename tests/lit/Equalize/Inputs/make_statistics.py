"""Writes the statistics file that the tests beside it give to passes: the later half of each tensor's channels has
values up to 64, the others up to 1.

usage: make_statistics.py FILE
"""
import hashlib
import json
import struct
import sys

import numpy as np

# Tensor -> axis and number of its channels.
TENSORS = {"n": (1, 2), "u": (1, 2), "h": (1, 2), "o": (2, 4)}
TYPES = {"<i8": "I64", "<f4": "F32", "<f8": "F64", "|u1": "U8"}


def arrays():
    result = {"::samples": np.arange(32, dtype="|u1"), "::random": np.array([0], "<i8")}
    for name, (axis, channels) in TENSORS.items():
        half = channels // 2
        result |= {
            f"{name}::counts": np.array([100 * channels, 1, 0, 0], "<i8"),
            f"{name}::range": np.array([-64, 64, -64, 64, -64, 64], "<f4"),
            f"{name}::sums": np.array([0, 40010 * half], "<f8"),
            f"{name}::histogram": np.array([50 * channels] * 2, "<i8"),
            f"{name}::channels": np.array([10] * half + [40000] * half, "<f8"),
            f"{name}::channel_axis": np.array([axis], "<i8"),
            f"{name}::channel_magnitudes": np.array([30] * half + [1900] * half, "<f8"),
            f"{name}::channel_min": np.array([-1] * half + [-64] * half, "<f4"),
            f"{name}::channel_max": np.array([1] * half + [64] * half, "<f4"),
        }
    return result


def main():
    data, header, state = b"", {}, hashlib.sha256()
    table = arrays()
    for name in sorted(table):
        array = table[name]
        state.update(struct.pack("<Q", len(name)) + name.encode() + array.dtype.name.encode())
        state.update(struct.pack("<Q", array.nbytes) + array.tobytes())
    header["__metadata__"] = {"format": "nibble-statistics", "version": "2", "fingerprint": "0123abcd",
                              "sha256": state.hexdigest()}
    for name in sorted(table, key=lambda key: (-table[key].itemsize, key)):
        array = table[name]
        header[name] = {"dtype": TYPES[array.dtype.str], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(sys.argv[1], "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


main()
