"""Which joint sample a picture belongs to, how old it is, and the picture as small as the policy wants it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from physai_ros.fusion.depth import depth_reason
from physai_ros.fusion.intrinsics import Intrinsics
from physai_ros.robot.state import Modality


class PictureKind(NamedTuple):
    """What the pictures of a timeline hold.

    `suffix` stands behind `camera/<name>` in the modality's name; `channels` () or (3,), and `dtype` of a picture; how
    it is made small; `check` says why one made small cannot be used; one that `measures` needs a calibration that fits.
    """

    suffix: str
    channels: tuple[int, ...]
    dtype: type
    interpolation: int
    check: Callable[[np.ndarray], str]
    measures: bool


COLOUR = PictureKind("", (3,), np.uint8, cv2.INTER_AREA, lambda _picture: "", measures=False)
"""Pictures (height, width, 3) uint8; made small by averaging areas."""

DEPTH = PictureKind("/depth", (), np.float32, cv2.INTER_NEAREST, depth_reason, measures=True)
"""Depth (height, width) float32 [m], NaN where unknown; made small by leaving out: between near and far is nothing."""


class CameraObservation(NamedTuple):
    """One camera's picture, and the joint sample that it belongs to.

    `stamp` of the exposure [s]; `sequence` of the joint sample nearest to it; `camera` by name, its `picture` (height,
    width, 3) uint8, or (height, width) float32 [m] of depth, and its `age` at the joint sample's instant [s].
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
    | comes again in lock-step | goes out again: somebody still waits for it |
    | lies further back than the time-out | the camera's clock started again: taken |
    | is none, or depth of suspicious units | refused; the one before is held up to its time-out |
    | is late, or none came | the camera's modality is invalid, with the reason |
    | depth whose `camera_info` is of another size | invalid: `calibration`; colour needs none |
    """

    def __init__(
        self,
        cameras: tuple[str, ...],
        height: int,
        width: int,
        samples: int = 100,
        timeout: float = 0.25,
        kind: PictureKind = COLOUR,
    ) -> None:
        self.cameras = cameras
        self._kind = kind
        self._size = (width, height)
        self._timeout = timeout
        self._samples: deque[tuple[float, int]] = deque(maxlen=samples)
        self.reset()

    def reset(self) -> None:
        """Forget samples, pictures and calibrations."""
        self._samples.clear()
        self._newest: dict[str, float] = {}
        self._shown: dict[str, CameraObservation] = {}
        self._shape: dict[str, tuple[int, int]] = {}
        self._trouble: dict[str, str] = {}
        self._calibration: dict[str, Intrinsics | str] = {}
        self.dropped = 0

    def add_sample(self, stamp: float, sequence: int) -> None:
        """Remember a joint sample by its instant [s]."""
        self._samples.append((stamp, sequence))

    def add_calibration(self, camera: str, calibration: Intrinsics | str) -> None:
        """Remember what a camera's `camera_info` says, or why it says nothing."""
        self._calibration[camera] = calibration

    def has_calibration(self, camera: str) -> bool:
        """Whether a camera's `camera_info` has come, of use or not."""
        return camera in self._calibration

    def add_picture(
        self, camera: str, stamp: float, picture: np.ndarray, lock_step: bool = False
    ) -> CameraObservation | None:
        """What this picture shows, made small.

        None where it is dropped, or there is no joint sample yet that it could belong to.

        Raises:
            ValueError: it is no picture, or cannot be what it claims to be.
        """
        kind = self._kind
        if picture.ndim < 2 or picture.shape[2:] != kind.channels or picture.dtype != kind.dtype or not picture.size:
            expected = ", ".join(map(str, ("height", "width", *kind.channels)))
            raise ValueError(
                f"picture has shape {picture.shape} and type {picture.dtype}; expected ({expected}) "
                f"{np.dtype(kind.dtype)}"
            )
        newest = self._newest.get(camera)
        if lock_step and stamp == newest:
            return self._shown[camera]
        if newest is not None and newest - self._timeout <= stamp <= newest:
            self.dropped += 1
            return None
        height, width = picture.shape[:2]
        small = picture
        if (width, height) != self._size:
            small = cv2.resize(picture, self._size, interpolation=kind.interpolation)
        if reason := kind.check(small):
            raise ValueError(reason)
        if not self._samples:
            return None
        self._newest[camera], self._shape[camera] = stamp, (height, width)
        self._trouble.pop(camera, None)
        instant, sequence = min(self._samples, key=lambda sample: abs(sample[0] - stamp))
        shown = self._shown[camera] = CameraObservation(stamp, sequence, camera, small, instant - stamp)
        return shown

    def refuse(self, camera: str, reason: str) -> None:
        """Remember why a camera's picture was not taken in: when the one before is too old, it is the reason."""
        self._trouble[camera] = reason

    def intrinsics(self, camera: str) -> Intrinsics | None:
        """Those of a camera's pictures as they go out; None where `calibration_reason` says why, or none are known."""
        known = self._calibration.get(camera)
        if not isinstance(known, Intrinsics) or self.calibration_reason(camera):
            return None
        return known.resized(self._size[1], self._size[0])

    def calibration_reason(self, camera: str) -> str:
        """Why a camera's `camera_info` cannot be used; empty when it can, or where none has come."""
        known, shape = self._calibration.get(camera, ""), self._shape.get(camera)
        if isinstance(known, str):
            return known
        return "" if shape is None else known.reason(*shape)

    def modalities(self, now: float) -> tuple[Modality, ...]:
        """Validity and age of every camera at an instant [s]."""
        return tuple(self._modality(camera, now) for camera in self.cameras)

    def _modality(self, camera: str, now: float) -> Modality:
        name, trouble = f"camera/{camera}{self._kind.suffix}", self._trouble.get(camera, "")
        if camera not in self._newest:
            return Modality(name, False, np.inf, trouble or "no picture yet")
        age = now - self._newest[camera]
        reason = self.calibration_reason(camera) if self._kind.measures else ""
        if age > self._timeout:
            reason = trouble or f"picture is {age:.3f} s old; at most {self._timeout:g} s are allowed"
        elif age < -self._timeout:
            reason = f"picture lies {-age:.3f} s ahead; check the clocks"
        return Modality(name, not reason, age, reason)
