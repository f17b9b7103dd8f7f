"""Where an arm will be that follows its set-point late, as every servo does."""

from __future__ import annotations

import math

import numpy as np


class ServoLag:
    """An arm whose joints all follow with one time constant: a lag of first order.

    Joints that are late cut corners, so that what the set-point keeps clear of the arm may touch. How far the
    arm is behind now is measured; that it comes after by a first order is assumed, and is simpler than any servo.
    """

    def __init__(self, time_constant: float, control_period: float) -> None:
        """Both in [s]; a `time_constant` of 0 is an arm that is never late."""
        self._kept = math.exp(-control_period / time_constant) if time_constant > 0.0 else 0.0
        self._grow(64)

    def path(self, set_points: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """Where the arm is (n, n_joints) [rad] at the end of each period in which it follows one of `set_points`.

        `set_points` (n, n_joints) [rad] are one control period apart, `measured` (n_joints,) [rad] is where it is now.
        """
        count = len(set_points)
        if count > len(self._left):
            self._grow(2 * count)
        return self._answers[:count, :count] @ set_points + self._left[:count, np.newaxis] * measured

    def _grow(self, count: int) -> None:
        ages = np.subtract.outer(np.arange(count), np.arange(count))
        self._answers = np.tril((1.0 - self._kept) * self._kept ** np.maximum(ages, 0))
        self._left = self._kept ** np.arange(1.0, count + 1.0)
