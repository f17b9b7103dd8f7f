"""What the cameras have shown last, and what of it a policy can still use at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from physai_ros.policy.encoder import EncoderShape

IMAGE_TIMEOUT = 0.25
"""Age at which a picture is stale [s]; a policy then acts as if that camera were not there."""


class Glimpse(NamedTuple):
    """What a policy sees at one instant.

    `image` (height, width, channels) uint8, the cameras' pictures side by side along the channels, black where there is
    none; `seen` (k,) bool and `ages` (k,) [s], infinite where no picture ever came, one entry a camera; `reasons` says
    by camera why it is not seen.
    """

    image: np.ndarray
    seen: np.ndarray
    ages: np.ndarray
    reasons: dict[str, str]

    @property
    def oldest_age(self) -> float:
        """Age of the oldest picture that is seen [s], 0 where none is."""
        return float(self.ages[self.seen].max(initial=0.0))


class CameraMemory:
    """Keeps the newest picture of every camera; nothing here ever waits for one.

    A picture that was overtaken is dropped. One that lies further back than the time-out is from a clock that started
    again, and counts.
    """

    def __init__(self, timeout: float = IMAGE_TIMEOUT) -> None:
        self._timeout = timeout
        self.reset()

    def reset(self) -> None:
        """Forget all pictures."""
        self._pictures: dict[str, tuple[float, np.ndarray]] = {}

    def add(self, camera: str, stamp: float, rgb: np.ndarray) -> None:
        """Take in a picture (height, width, 3) uint8, exposed at `stamp` [s]."""
        newest = self._pictures.get(camera)
        if newest is None or stamp > newest[0] or stamp < newest[0] - self._timeout:
            self._pictures[camera] = stamp, rgb

    def add_all(self, pictures: Mapping[str, tuple[float, np.ndarray]]) -> None:
        """Take in pictures by camera, each with its instant of exposure [s]."""
        for camera, (stamp, rgb) in pictures.items():
            self.add(camera, stamp, rgb)

    def shows(self, cameras: tuple[str, ...], instant: float) -> bool:
        """Whether every camera has shown what there was at an instant [s] or later; without a name, any camera."""
        stamps = [self._pictures[name][0] for name in cameras or tuple(self._pictures)[:1] if name in self._pictures]
        return len(stamps) == max(len(cameras), 1) and min(stamps) >= instant - 1e-6

    def at(self, instant: float, shape: EncoderShape) -> Glimpse:
        """What a policy of this shape sees at an instant [s].

        Raises:
            ValueError: the policy does not see.
        """
        if shape.image is None:
            raise ValueError("the policy has no image among its senses; do not ask what it sees")
        height, width, channels = shape.image
        # A policy that does not say which camera it was trained on takes the one that there is.
        cameras = shape.cameras or tuple(self._pictures)[:1] or ("camera",)
        image = np.zeros((height, width, channels), dtype=np.uint8)
        ages = np.full(len(cameras), np.inf)
        reasons: dict[str, str] = {}
        for index, camera in enumerate(cameras):
            stamp, rgb = self._pictures.get(camera, (-np.inf, None))
            ages[index] = instant - stamp
            reason = self._reason(ages[index], rgb, (height, width, channels // len(cameras)))
            if reason:
                reasons[camera] = reason
            else:
                image[..., 3 * index : 3 * index + 3] = rgb
        seen = np.array([camera not in reasons for camera in cameras])
        return Glimpse(image, seen, ages, reasons)

    def _reason(self, age: float, rgb: np.ndarray | None, expected: tuple[int, int, int]) -> str:
        if rgb is None:
            return "no picture yet"
        if age > self._timeout:
            return f"picture is {age:.3f} s old; at most {self._timeout:g} s are allowed"
        if age < -self._timeout:
            return f"picture lies {-age:.3f} s ahead; check the clocks"
        if rgb.shape != expected:
            return f"picture has shape {rgb.shape}, the policy was trained on {expected}; set the fusion's image size"
        return ""
