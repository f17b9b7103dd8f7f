"""What sensors make of the truth: noise of a seed, calibration offsets; the same numbers however often one asks."""

from __future__ import annotations

from copy import copy

import numpy as np

from physai_ros.robot.state import DriverState, ObjectStates
from physai_ros.simulation.physics import PhysicsParameters

VELOCITY_WINDOW = 0.2  # [s] over which the drive differentiates its encoder: velocity noise is position noise over it
_BLOCK = 64  # cycles whose numbers are drawn at once, since a generator is dear to make
_WRENCH_SHARE = np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.1])  # torques get a tenth of the noise of forces
_CENTRE = np.array([0.48, 0.0, 0.0])  # [m] of the scene, where a magnification changes nothing


class MeasurementNoise:
    """Measures truth with the noise of the seed of the last `reset`; cycles are asked for in rising order.

    White noise is what `PhysicsParameters` describe. `persistence` in 0 ... 1 correlates it from cycle to cycle at the
    same standard deviation, and `magnification` makes perceived distances from the scene's centre too large by this
    share: both lie outside what those parameters can say.
    """

    def __init__(
        self, joints: int, pads: int, objects: int, *, persistence: float = 0.0, magnification: float = 0.0
    ) -> None:
        self._joints, self._pads, self._objects = joints, pads, objects
        self._persistence, self._magnification = persistence, magnification
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._seed = seed
        self._index = -1
        self._block = np.zeros((_BLOCK, 0))

    def measured(
        self, truth: DriverState, objects: ObjectStates, physics: PhysicsParameters, cycle: int
    ) -> tuple[DriverState, ObjectStates]:
        """What is measured of the arm and perceived of the objects in a cycle of the episode, counted from zero."""
        joints, pads, count = self._joints, self._pads, self._objects
        noise = self._numbers(cycle)
        encoder, velocity, torque = noise[: 3 * joints].reshape(3, joints)
        wrench, pad = noise[3 * joints : 3 * joints + 6], noise[3 * joints + 6 : 3 * joints + 6 + pads]
        contact_forces = np.maximum(truth.contact_forces + physics.force_noise * pad, 0.0)
        driver = copy(truth)
        driver.joint_positions = truth.joint_positions + physics.encoder_noise * encoder
        driver.joint_velocities = truth.joint_velocities + physics.encoder_noise / VELOCITY_WINDOW * velocity
        driver.joint_torques = truth.joint_torques + 0.1 * physics.force_noise * torque
        driver.wrench = truth.wrench + physics.force_noise * _WRENCH_SHARE * wrench
        driver.contact_forces = contact_forces
        driver.gripper_force = float(contact_forces.sum() / pads)
        objects = copy(objects)
        if count:
            offset = physics.calibration_x, physics.calibration_y, physics.calibration_z
            spread = physics.object_noise * noise[-3 * count :].reshape(count, 3)
            stretched = self._magnification * (objects.positions - _CENTRE) if self._magnification else 0.0
            objects.positions = objects.positions + spread + offset + stretched
        if physics.calibration_yaw:
            objects.quaternions_wxyz = _turned(objects.quaternions_wxyz, physics.calibration_yaw)
        return driver, objects

    def _numbers(self, cycle: int) -> np.ndarray:
        """Normal numbers (size,) of unit variance of this seed and cycle."""
        block, row = divmod(cycle, _BLOCK)
        while self._index < block:
            self._index += 1
            self._draw()
        return self._block[row]

    def _draw(self) -> None:
        size = 3 * self._joints + 6 + self._pads + 3 * self._objects
        white = np.random.default_rng([self._seed, self._index]).standard_normal((_BLOCK, size))
        keep = self._persistence
        if keep:
            from scipy.signal import lfilter  # two seconds of import that only twins of reality need

            before = self._block[-1] if self._index else white[0]
            white, _ = lfilter([np.sqrt(1.0 - keep**2)], [1.0, -keep], white, axis=0, zi=keep * before[np.newaxis])
        self._block = white


def _turned(quaternions_wxyz: np.ndarray, yaw: float) -> np.ndarray:
    """Orientations (n, 4) turned about z of the base by `yaw` [rad]."""
    cosine, sine = np.cos(0.5 * yaw), np.sin(0.5 * yaw)
    w, x, y, z = quaternions_wxyz.T
    return np.stack(
        [cosine * w - sine * z, cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w], axis=1
    )
