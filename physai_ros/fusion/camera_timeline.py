"""Which joint sample a picture belongs to, how old it is, and the picture as small as the policy wants it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

from physai_ros.robot.state import Modality


class CameraObservation(NamedTuple):
    """One camera's picture, and the joint sample that it belongs to.

    `stamp` of the exposure [s]; `sequence` of the joint sample nearest to it; `camera` by name, its `picture` (height,
    width, 3) uint8, and its `age` at the joint sample's instant [s].
    """

    stamp: float
    sequence: int
    camera: str
    picture: np.ndarray
    age: float


class CameraTimeline:
    """Remembers the instants of the last joint samples and of the newest picture of every camera.

    | picture | rule |
    |---|---|
    | in time | goes out at once: no camera waits for another |
    | comes again, or was overtaken | dropped and counted |
    | lies further back than the time-out | the camera's clock started again: taken |
    | is late, or none came | the camera's modality is invalid, with the reason |
    """

    def __init__(
        self, cameras: tuple[str, ...], height: int, width: int, samples: int = 100, timeout: float = 0.25
    ) -> None:
        self.cameras = cameras
        self._size = (width, height)
        self._timeout = timeout
        self._samples: deque[tuple[float, int]] = deque(maxlen=samples)
        self.reset()

    def reset(self) -> None:
        """Forget samples and pictures."""
        self._samples.clear()
        self._newest: dict[str, float] = {}
        self.dropped = 0

    def add_sample(self, stamp: float, sequence: int) -> None:
        """Remember a joint sample by its instant [s]."""
        self._samples.append((stamp, sequence))

    def add_picture(self, camera: str, stamp: float, rgb: np.ndarray) -> CameraObservation | None:
        """What this picture (height, width, 3) uint8 shows, made small by averaging areas.

        None where it is dropped, or there is no joint sample yet that it could belong to.

        Raises:
            ValueError: it is no picture.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise ValueError(f"picture has shape {rgb.shape} and type {rgb.dtype}; expected (height, width, 3) uint8")
        newest = self._newest.get(camera)
        if newest is not None and newest - self._timeout <= stamp <= newest:
            self.dropped += 1
            return None
        self._newest[camera] = stamp
        if not self._samples:
            return None
        height, width = rgb.shape[:2]
        small = rgb if (width, height) == self._size else cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
        instant, sequence = min(self._samples, key=lambda sample: abs(sample[0] - stamp))
        return CameraObservation(stamp, sequence, camera, small, instant - stamp)

    def modalities(self, now: float) -> tuple[Modality, ...]:
        """Validity and age of every camera at an instant [s]."""
        return tuple(self._modality(camera, now) for camera in self.cameras)

    def _modality(self, camera: str, now: float) -> Modality:
        name = f"camera/{camera}"
        if camera not in self._newest:
            return Modality(name, False, np.inf, "no picture yet")
        age = now - self._newest[camera]
        if age > self._timeout:
            return Modality(name, False, age, f"picture is {age:.3f} s old; at most {self._timeout:g} s are allowed")
        if age < -self._timeout:
            return Modality(name, False, age, f"picture lies {-age:.3f} s ahead; check the clocks")
        return Modality(name, True, age)
