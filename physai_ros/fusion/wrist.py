"""The wrist's force sensor: what it measures without its own bias and without the weight of what hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from physai_ros.fusion.filters import LowPass
from physai_ros.fusion.timeline import Reading, SensorTimeline

GRAVITY = np.array([0.0, 0.0, -9.80665])
"""Standard gravity in the base frame [m/s^2]."""


@dataclass(frozen=True)
class WristCalibration:
    """What a wrist sensor shows when nothing touches the tool.

    `bias` (6,) [N, N m] in the sensor's frame; `mass` [kg] beyond the sensor and its `center` (3,) [m] in the tool's;
    `rotation` (3, 3) turns the sensor's frame into the tool's, `position` (3,) [m] is the sensor's origin there.
    """

    bias: np.ndarray = field(default_factory=lambda: np.zeros(6))
    mass: float = 0.0
    center: np.ndarray = field(default_factory=lambda: np.zeros(3))
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def compensated(self, measured: np.ndarray, base_from_tool: np.ndarray) -> np.ndarray:
        """Wrench (6,) of what touches the tool, tool frame, for one measured (6,) and the tool's rotation (3, 3)."""
        return self.in_tool(measured - self.bias) - self.weight(base_from_tool)

    def in_tool(self, wrench: np.ndarray) -> np.ndarray:
        """A wrench (6,) of the sensor's frame, in the tool frame and about its origin."""
        force = self.rotation @ wrench[:3]
        return np.concatenate([force, self.rotation @ wrench[3:] + _cross(self.position, force)])

    def weight(self, base_from_tool: np.ndarray) -> np.ndarray:
        """Wrench (6,) of the weight beyond the sensor, tool frame, for the tool's rotation (3, 3) in the base frame."""
        force = self.mass * (base_from_tool.T @ GRAVITY)
        return np.concatenate([force, _cross(self.center, force)])


def calibrated(measured: Sequence[np.ndarray], base_from_tool: Sequence[np.ndarray]) -> WristCalibration:
    """Bias, mass and center that explain wrenches (6,) measured in several postures with nothing touching the tool.

    Linear least squares; the sensor's frame is taken to be the tool's.

    Raises:
        ValueError: the postures do not tell bias and weight apart: they must turn the tool about two axes.
    """
    gravities = [rotation.T @ GRAVITY for rotation in base_from_tool]
    # Force: mass * g + bias. Torque: (mass * center) x g + bias, linear in mass * center.
    rows = []
    for g in gravities:
        cross = np.array([[0.0, g[2], -g[1]], [-g[2], 0.0, g[0]], [g[1], -g[0], 0.0]])
        rows.append(
            np.block(
                [
                    [g[:, None], np.zeros((3, 3)), np.eye(3), np.zeros((3, 3))],
                    [np.zeros((3, 1)), cross, np.zeros((3, 3)), np.eye(3)],
                ]
            )
        )
    system = np.concatenate(rows) if rows else np.zeros((0, 10))
    if np.linalg.matrix_rank(system, tol=0.5) < system.shape[1]:
        raise ValueError(f"{len(gravities)} postures do not tell bias and weight apart: tilt the tool about two axes")
    solution = np.linalg.lstsq(
        system, np.concatenate([np.asarray(each, dtype=float) for each in measured]), rcond=None
    )[0]
    mass = float(solution[0])
    if not mass > 0.0:
        raise ValueError(f"the best fit has a mass of {mass:.3g} kg: check the sensor's sign and frame")
    return WristCalibration(bias=solution[4:], mass=mass, center=solution[1:4] / mass)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product (3,) of two vectors (3,); numpy's own takes ten times as long for one pair."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


class WristSensor:
    """A wrist sensor on its own stamps, compensated and filtered, read at the instants of joint samples."""

    def __init__(
        self, calibration: WristCalibration | None = None, *, timeout: float = 0.05, low_pass: LowPass | None = None
    ) -> None:
        self._calibration = calibration or WristCalibration()
        self._timeline = SensorTimeline(6, timeout=timeout)
        self._low_pass = low_pass

    @property
    def group_delay(self) -> float:
        """By which the filter makes the wrench late [s]."""
        return 0.0 if self._low_pass is None else self._low_pass.group_delay

    def reset(self) -> None:
        """Forget all samples."""
        self._timeline.reset()
        if self._low_pass is not None:
            self._low_pass.reset()

    def add(self, stamp: float, wrench: np.ndarray) -> str:
        """Why a wrench (6,), measured at `stamp` [s], was refused; empty when it was taken in."""
        return self._timeline.add(stamp, wrench)

    def reading(self, instant: float, base_from_tool: np.ndarray) -> Reading:
        """Wrench (6,) of what touches the tool at an instant [s], tool frame; its age counts the filter's delay."""
        values, age, reason = self._timeline.reading(instant)
        if reason:
            return Reading(values, age, reason)
        if not np.isfinite(base_from_tool).all():
            return Reading(values, age, "posture: the tool's rotation is not known, nor is the weight on the sensor")
        touched = self._calibration.compensated(values, base_from_tool)
        if self._low_pass is not None:
            touched = self._low_pass.filtered(touched)
        return Reading(touched, age + self.group_delay, "")
