"""Which joint sample a picture belongs to, and the picture as small as the policy wants it."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np


class CameraTimeline:
    """Remembers the instants of the last joint samples and the newest picture of every camera."""

    def __init__(self, cameras: tuple[str, ...], height: int, width: int, samples: int = 100) -> None:
        self.cameras = cameras
        self._size = (width, height)
        self._samples: deque[tuple[float, int]] = deque(maxlen=samples)
        self._pictures: dict[str, tuple[float, np.ndarray]] = {}

    def reset(self) -> None:
        """Forget samples and pictures."""
        self._samples.clear()
        self._pictures.clear()

    def add_sample(self, stamp: float, sequence: int) -> None:
        """Remember a joint sample by its instant [s]."""
        self._samples.append((stamp, sequence))

    def add_picture(self, camera: str, stamp: float, rgb: np.ndarray) -> None:
        """Remember a picture (height, width, 3) uint8, made small by averaging areas."""
        self._pictures[camera] = stamp, cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)

    @property
    def complete(self) -> bool:
        """Whether every camera has given a picture and there is a joint sample."""
        return bool(self._samples) and len(self._pictures) == len(self.cameras)

    def observation(self) -> tuple[float, int, list[np.ndarray], list[float]]:
        """Newest exposure [s], sequence of the joint sample nearest to it, pictures and their ages at that sample [s].

        Raises:
            ValueError: a camera has not given a picture yet.
        """
        missing = [camera for camera in self.cameras if camera not in self._pictures]
        if missing or not self._samples:
            raise ValueError(f"no picture of {', '.join(missing) or 'any camera'} or no joint sample yet; wait for it")
        newest = max(stamp for stamp, _ in self._pictures.values())
        instant, sequence = min(self._samples, key=lambda sample: abs(sample[0] - newest))
        chosen = [self._pictures[camera] for camera in self.cameras]
        return newest, sequence, [rgb for _, rgb in chosen], [instant - stamp for stamp, _ in chosen]
