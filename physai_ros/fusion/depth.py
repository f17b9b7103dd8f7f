"""Depth pictures in metres (REP 118), and whether they can be what they claim to be."""

from __future__ import annotations

import numpy as np

_TYPES = {"16UC1": np.dtype(np.uint16), "32FC1": np.dtype(np.float32)}
_MILLIMETRE = np.float32(0.001)
_FAR = 20.0  # [m] beyond which nothing that an arm is shown lies, by the median
_NEAR = 0.01  # [m] within which no camera measures


def depth_of(encoding: str, height: int, width: int, step: int, data: bytes, *, big_endian: bool = False) -> np.ndarray:
    """Depth (height, width) float32 [m] along the camera's axis, NaN where unknown, in the bytes of a message.

    Raises:
        ValueError: the encoding is not known or the bytes do not fit the size.
    """
    kind = _TYPES.get(encoding)
    if kind is None:
        raise ValueError(f"depth encoding '{encoding}'; expected one of {', '.join(_TYPES)}")
    row = kind.itemsize * width
    held = np.frombuffer(data, dtype=np.uint8)
    if step < row or held.size != step * height:
        raise ValueError(
            f"depth of {width}x{height} {encoding} with step {step} holds {held.size} bytes; expected "
            f"{step * height} and a step of at least {row}"
        )
    pixels = np.ascontiguousarray(held.reshape(height, step)[:, :row]).view(
        kind.newbyteorder(">" if big_endian else "<")
    )
    return in_metres(pixels)


def in_metres(pixels: np.ndarray) -> np.ndarray:
    """Depth [m] float32 of pixels as cameras write them: uint16 in millimetres, 0 unknown, or float32 in metres.

    What is not finite (REP 117) or not in front of the camera is NaN.

    Raises:
        ValueError: they are of another type.
    """
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        return np.where(pixels > 0, pixels * _MILLIMETRE, np.float32(np.nan))
    if pixels.dtype.kind == "f" and pixels.dtype.itemsize == 4:
        return np.where((pixels > 0.0) & (pixels < np.inf), pixels, np.float32(np.nan)).astype(np.float32)
    raise ValueError(f"depth of type {pixels.dtype}; expected uint16 (millimetres) or float32 (metres)")


def depth_reason(depth: np.ndarray) -> str:
    """Why depth (height, width) [m] cannot be used, judged by its median; empty when it can."""
    known = depth[np.isfinite(depth)]
    if not known.size:
        return "not finite: no pixel has a depth"
    median = float(np.median(known))
    if median < _NEAR:
        return f"units: half of the depth is below {median:.4g} m; 16UC1 is to hold millimetres, 32FC1 metres"
    if median <= _FAR:
        return ""
    if median / 1000.0 <= _FAR:
        return f"units: half of the depth is beyond {median:.4g}, which looks like millimetres; expected metres"
    return f"range: half of the depth is beyond {median:.4g} m; at most {_FAR:g} m are believed"
