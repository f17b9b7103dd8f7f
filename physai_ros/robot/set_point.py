"""Where the command stands: position, velocity and acceleration of the set-point, one control cycle a step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SetPoint(NamedTuple):
    """The commanded motion at one control cycle; arrays (n_joints,) [rad], [rad/s], [rad/s^2].

    Velocity and acceleration are those over the cycle that ended here: what a driver that plays one absolute target a
    cycle makes the motors follow.
    """

    positions: np.ndarray
    velocities: np.ndarray
    accelerations: np.ndarray

    @classmethod
    def at_rest(cls, positions: np.ndarray) -> SetPoint:
        """Set-point that holds `positions` (n_joints,) [rad]."""
        positions = np.array(positions, dtype=float)
        return cls(positions, np.zeros(positions.shape), np.zeros(positions.shape))

    def followed_by(self, positions: np.ndarray, control_period: float) -> SetPoint:
        """Set-point after one more cycle [s] at `positions` (n_joints,) [rad]."""
        velocities = (positions - self.positions) / control_period
        return SetPoint(positions, velocities, (velocities - self.velocities) / control_period)
