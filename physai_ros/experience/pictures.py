"""Pictures of an episode, kept as they were compressed until somebody looks at one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

JPEG_QUALITY = 90
_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


@dataclass
class Pictures:
    """Pictures of one camera: instants of exposure `stamps` (n,) [s] in the order of time, `encoded` JPEG or PNG."""

    stamps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    encoded: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.encoded)

    def rgb(self, index: int) -> np.ndarray:
        """Picture (height, width, 3) uint8.

        Raises:
            ValueError: the bytes are no picture.
        """
        return decode_picture(self.encoded[index])

    def newest_at(self, instants: np.ndarray) -> np.ndarray:
        """Index (n,) of the newest picture exposed by each of the instants (n,) [s]; -1 before the first."""
        return np.searchsorted(self.stamps, instants + 1e-9, side="right") - 1


def encode_picture(rgb: np.ndarray, kind: str = "jpeg", quality: int = JPEG_QUALITY) -> bytes:
    """A picture (height, width, 3) uint8 as `jpeg`, or as `png`, which loses nothing.

    Raises:
        ValueError: the array is no picture, or `kind` is another word.
    """
    import cv2  # takes a quarter of a second, which readers of plain numbers need not wait

    if kind not in ("jpeg", "png"):
        raise ValueError(f"picture format '{kind}' is not known; known are jpeg and png")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"picture has shape {rgb.shape} and type {rgb.dtype}; expected (height, width, 3) uint8")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else []
    return cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def decode_picture(data: bytes) -> np.ndarray:
    """Picture (height, width, 3) uint8 of compressed bytes.

    Raises:
        ValueError: the bytes are no picture.
    """
    import cv2

    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise ValueError(f"{len(data)} bytes are no picture; expected JPEG or PNG")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def rgb_of(encoding: str, height: int, width: int, step: int, data: np.ndarray) -> np.ndarray:
    """Picture (height, width, 3) uint8 in the bytes of a sensor_msgs/Image.

    Raises:
        ValueError: the encoding is not known or the bytes do not fit the size.
    """
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise ValueError(f"image encoding '{encoding}'; expected one of {', '.join(_CHANNELS)}")
    if step < channels * width or data.size != step * height:
        raise ValueError(f"{data.size} bytes are no image of {width}x{height} {encoding} with step {step}")
    picture = data.reshape(height, step)[:, : channels * width].reshape(height, width, channels)
    if channels == 1:
        return np.repeat(picture, 3, axis=2)
    return picture[..., 2::-1] if encoding.startswith("bgr") else picture[..., :3]
