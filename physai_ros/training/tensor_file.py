"""Arrays in one safetensors file, written as a stream: nothing is held twice in memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from physai_ros.durable import replacing

_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}


def write_tensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file; at any moment `path` holds what it held before or all of this, never a mixture.

    One process writes a path at a time. What it leaves beside when it is killed is written over the next time.

    Raises:
        ValueError: an array is of a type that the format does not know.
        OSError: the disk does not take it; `path` is as it was.
    """
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        if array.dtype.name not in _NAMES or not array.dtype.isnative:
            raise ValueError(f"array '{name}' is of type {array.dtype}, expected one of {', '.join(_NAMES)}")
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with replacing(path, alone=True) as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for array in arrays.values():
            if array.size:
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
