"""What a camera's calibration says: where in space the pixels of its depth pictures lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

_MODELS = ("", "plumb_bob", "rational_polynomial")


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera of pictures (height, width): `focal` length and `center` along x and y [pixel].

    Pixels count from the middle of the one at the top left. `distortion` holds the coefficients of OpenCV's model, none
    or 4 to 14.
    """

    height: int
    width: int
    focal: tuple[float, float]
    center: tuple[float, float]
    distortion: tuple[float, ...] = ()

    @classmethod
    def of_camera_info(
        cls,
        height: int,
        width: int,
        k: Sequence[float],
        d: Sequence[float] = (),
        model: str = "",
        *,
        offset: tuple[int, int] = (0, 0),
        region: tuple[int, int] = (0, 0),
        binning: tuple[int, int] = (1, 1),
    ) -> Intrinsics:
        """Those of the pictures that go with a `sensor_msgs/CameraInfo`, its matrix `k` (9,) row by row.

        The matrix is that of the full resolution; pictures show the `region` (height, width) from `offset` (y, x) on,
        0: all of it, and `binning` (y, x) pixels become one.

        Raises:
            ValueError: it says that the camera is not calibrated, or by a model that is not known here.
        """
        matrix = np.array(k, dtype=float).reshape(-1)
        if matrix.shape != (9,) or not np.isfinite(matrix).all() or not (matrix[0] > 0.0 and matrix[4] > 0.0):
            raise ValueError(f"calibration: matrix is {matrix.tolist()}; expected nine numbers with focal lengths")
        distortion = tuple(float(each) for each in d) if any(d) else ()
        if distortion and (model not in _MODELS or not np.isfinite(distortion).all()):
            known = " and ".join(_MODELS[1:])
            raise ValueError(f"calibration: distortion is {model} {list(distortion)}; known are {known}")
        whole = cls(height, width, (matrix[0], matrix[4]), (matrix[2] - offset[1], matrix[5] - offset[0]), distortion)
        rows, columns = (max(each, 1) for each in binning)
        shown = replace(whole, height=region[0] or height, width=region[1] or width)
        return shown.resized(shown.height // rows, shown.width // columns)

    def reason(self, height: int, width: int) -> str:
        """Why these are not the intrinsics of pictures of a size; empty when they are."""
        if (height, width) == (self.height, self.width):
            return ""
        return f"calibration: camera_info is of {self.width}x{self.height} pixels, the picture has {width}x{height}"

    def resized(self, height: int, width: int) -> Intrinsics:
        """Those of the same pictures made (height, width)."""
        across, down = width / self.width, height / self.height
        focal = self.focal[0] * across, self.focal[1] * down
        # The middle of a pixel stays the middle of an area: half a pixel is added before and taken off after.
        center = (self.center[0] + 0.5) * across - 0.5, (self.center[1] + 0.5) * down - 0.5
        return replace(self, height=height, width=width, focal=focal, center=center)

    def points(self, depth: np.ndarray) -> np.ndarray:
        """Points (height, width, 3) [m] that depth (height, width) [m] shows, NaN where it is.

        They are in the camera's optical frame: x to the right, y down, z ahead (REP 103).

        Raises:
            ValueError: the depth is of another size.
        """
        if depth.shape != (self.height, self.width):
            raise ValueError(self.reason(*depth.shape) if depth.ndim == 2 else f"depth has shape {depth.shape}")
        rows, columns = np.indices(depth.shape, dtype=np.float64)
        x, y = (columns - self.center[0]) / self.focal[0], (rows - self.center[1]) / self.focal[1]
        if self.distortion:
            rays = cv2.undistortPoints(np.stack([x, y], axis=2).reshape(-1, 1, 2), np.eye(3), np.array(self.distortion))
            x, y = rays.reshape(*depth.shape, 2).transpose(2, 0, 1)
        return depth[..., np.newaxis] * np.stack([x, y, np.ones(depth.shape)], axis=2)
