"""A safetensors reader and writer, small enough to be checked by eye.

Layout: 8 bytes little-endian header length, a JSON header
{name: {dtype, shape, data_offsets}, "__metadata__": {str: str}}, the data.
BF16 has no NumPy type: it is read into float32 and written from float32 whose
low 16 bits are zero.
"""
import json
import struct

import numpy as np

TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def read(path):
    """Returns (tensors, metadata); tensors is {name: array}."""
    with open(path, "rb") as f:
        blob = f.read()
    size = struct.unpack_from("<Q", blob)[0]
    header = json.loads(blob[8 : 8 + size])
    meta = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        raw = np.frombuffer(blob[8 + size + first : 8 + size + last], TYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = raw.reshape(entry["shape"])
    return tensors, meta


def write(path, tensors, meta):
    """Writes {name: (dtype name, array)} in that order, with string metadata."""
    header, data, offset = {"__metadata__": meta}, [], 0
    for name, (dtype, array) in tensors.items():
        if dtype == "BF16":
            raw = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)
        else:
            raw = np.ascontiguousarray(array, TYPES[dtype])
        raw = raw.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        data.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
