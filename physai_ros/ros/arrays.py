"""Number sequences of messages: `array.array` outside, ndarrays inside, copied as blocks of memory."""

from array import array
from collections.abc import Sequence

import numpy as np


def number_field(values: np.ndarray | Sequence[float]) -> array:
    """Field `float64[]` of an array of any shape, row by row."""
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


def fixed_field(values: np.ndarray | Sequence[float], length: int, name: str) -> np.ndarray:
    """Field `float64[length]` of an array (length,).

    Raises:
        ValueError: it has another shape; rosidl would read beyond its end, and the process would die.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (length,):
        raise ValueError(f"{name} has the shape {found.shape}; expected ({length},)")
    return found


def numbers(field: array | np.ndarray | Sequence[float]) -> np.ndarray:
    """Array (n,) of a field `float64[]`; it shares no memory with the message."""
    return np.array(field, dtype=np.float64)


def rows(field: array | Sequence[float], count: int, name: str) -> np.ndarray:
    """Array (count, k) of a field that holds a matrix row by row.

    Raises:
        ValueError: the length does not divide into `count` rows.
    """
    values = numbers(field)
    if count == 0 and values.size == 0:
        return values.reshape(0, 0)
    if count <= 0 or values.size % count:
        raise ValueError(f"{name} holds {values.size} numbers; expected a multiple of its {count} rows")
    return values.reshape(count, -1)
