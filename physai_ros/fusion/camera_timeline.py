"""Which joint sample pictures belong to, how old each is, and every picture as small as the policy wants it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

from physai_ros.robot.state import Modality


class CameraObservation(NamedTuple):
    """Pictures that belong together.

    `stamp` of the newest exposure [s]; `sequence` of the joint sample nearest to it; `cameras` by name, their
    `pictures` (height, width, 3) uint8, instants of exposure `stamps` [s], and `ages` at the joint sample's
    instant [s].
    """

    stamp: float
    sequence: int
    cameras: tuple[str, ...]
    pictures: list[np.ndarray]
    stamps: list[float]
    ages: list[float]


class CameraTimeline:
    """Remembers the instants of the last joint samples and the newest picture of every camera.

    | picture | rule |
    |---|---|
    | comes again, or was overtaken | dropped and counted |
    | lies further back than the time-out | the camera's clock started again: taken |
    | is late, or none came | the camera is left out of the observation, its modality invalid with the reason |

    An observation is due once every camera that is on time has given a picture since the last, or one its second: it
    goes out at the cameras' own rate, and no camera waits for one that is silent.
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
        self._pictures: dict[str, tuple[float, np.ndarray]] = {}
        self._fresh: set[str] = set()
        self.dropped = 0

    def add_sample(self, stamp: float, sequence: int) -> None:
        """Remember a joint sample by its instant [s]."""
        self._samples.append((stamp, sequence))

    def add_picture(self, camera: str, stamp: float, rgb: np.ndarray) -> bool:
        """Whether an observation is due, now that this picture (height, width, 3) uint8 has come.

        It is made small by averaging areas.

        Raises:
            ValueError: it is no picture.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise ValueError(f"picture has shape {rgb.shape} and type {rgb.dtype}; expected (height, width, 3) uint8")
        known = self._pictures.get(camera)
        if known is not None and known[0] - self._timeout <= stamp <= known[0]:
            self.dropped += 1
            return False
        height, width = rgb.shape[:2]
        small = rgb if (width, height) == self._size else cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
        self._pictures[camera] = stamp, small
        again = camera in self._fresh
        self._fresh.add(camera)
        return bool(self._samples) and (again or self._on_time(stamp) <= self._fresh)

    def observation(self) -> CameraObservation:
        """The newest pictures of the cameras that are on time; begins to wait for the next.

        Raises:
            ValueError: no camera has given a picture yet, or there is no joint sample.
        """
        if not self._pictures or not self._samples:
            raise ValueError("no picture of any camera or no joint sample yet; wait for one")
        self._fresh.clear()
        newest = max(stamp for stamp, _ in self._pictures.values())
        instant, sequence = min(self._samples, key=lambda sample: abs(sample[0] - newest))
        on_time = self._on_time(newest)
        names = tuple(name for name in self.cameras if name in on_time)
        stamps = [self._pictures[name][0] for name in names]
        pictures = [self._pictures[name][1] for name in names]
        return CameraObservation(newest, sequence, names, pictures, stamps, [instant - stamp for stamp in stamps])

    def modalities(self, now: float) -> tuple[Modality, ...]:
        """Validity and age of every camera at an instant [s]."""
        return tuple(self._modality(camera, now) for camera in self.cameras)

    def _on_time(self, instant: float) -> set[str]:
        return {camera for camera, (stamp, _) in self._pictures.items() if abs(instant - stamp) <= self._timeout}

    def _modality(self, camera: str, now: float) -> Modality:
        name = f"camera/{camera}"
        if camera not in self._pictures:
            return Modality(name, False, np.inf, "no picture yet")
        age = now - self._pictures[camera][0]
        if age > self._timeout:
            return Modality(name, False, age, f"picture is {age:.3f} s old; at most {self._timeout:g} s are allowed")
        if age < -self._timeout:
            return Modality(name, False, age, f"picture lies {-age:.3f} s ahead; check the clocks")
        return Modality(name, True, age)
