"""Following references on the side of safety: what comes late is carried on for a while."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.following import ReferenceFollower
from physai_ros.robot.set_point import SetPoint
from physai_ros.safety.limits import SafetyLimits

_COASTING = 2  # cycles that a late reference is carried on


class ReferenceTracker:
    """Turns references, whoever made them, into targets that an acceleration-limited set-point can follow.

    Those of `CartesianReference` can be met as they are; one that steps is followed close behind and never past it.
    """

    def __init__(self, limits: SafetyLimits, control_period: float) -> None:
        self._follower = ReferenceFollower(limits.acceleration, control_period)
        self._longest = limits.velocity * control_period * 1.5
        self.reset()

    def reset(self) -> None:
        """Forget the references before."""
        self._follower.reset()
        self._reference: np.ndarray | None = None
        self._step: np.ndarray | float = 0.0
        self._cycle = self._repeats = 0

    def target(self, reference: np.ndarray, cycle: int, set_point: SetPoint) -> np.ndarray:
        """Next target (n_joints,) [rad] towards `reference`, which was made for control cycle `cycle`.

        A reference that is repeated because the next one is late is carried on for two cycles, then stands.
        """
        return self._follower.target(self._carry_on(reference, cycle), set_point)

    def _carry_on(self, reference: np.ndarray, cycle: int) -> np.ndarray:
        last = self._reference
        if last is None:
            self._step, self._repeats = 0.0, 0
        elif cycle == self._cycle and np.array_equal(reference, last):
            self._repeats = min(self._repeats + 1, _COASTING)
        else:
            elapsed, self._repeats = max(cycle - self._cycle, 1), 0
            step = (reference - last) / elapsed
            # A reference that jumps has no motion worth carrying on.
            self._step = 0.0 if elapsed > 10 or any((np.abs(step) > self._longest).tolist()) else step
        self._reference, self._cycle = reference, cycle
        return reference + self._repeats * self._step if self._repeats else reference
