"""Whether following the critics does harm: what imitation achieved is what it must not fall far below."""

from __future__ import annotations

import numpy as np

_FORGETTING = 0.1  # weight of the newest episode in the recent success
_RETREAT, _RETURN = 0.5, 0.9  # shares of what imitation achieved, below and above which the mind is changed
_LEAST = 10  # episodes by imitation before there is anything to compare with


class Caution:
    """Success of the policy's own episodes, by imitation and since it follows the critics.

    An actor that follows critics which know too little fails ever more often, sees no success any more, and cannot
    learn its way back. So it retreats to imitation when its recent success falls below half of what imitation alone
    achieved, and tries again when it is back. Source for weighing imitation by success: Zhao et al., "Adaptive behavior
    cloning regularization for stable offline-to-online reinforcement learning", 2022.
    """

    def __init__(self) -> None:
        self.retreated = False
        self._imitated = self._achieved = 0
        self._recent = 0.0

    @property
    def imitation(self) -> float:
        """Share of the episodes by imitation alone that succeeded; 0 while they are too few."""
        return self._achieved / self._imitated if self._imitated >= _LEAST else 0.0

    def hear(self, success: bool, *, followed: bool) -> None:
        """Take in the end of an episode, and whether the actor had been taught by the critics before."""
        if not followed:
            self._imitated += 1
            self._achieved += success
            self._recent = self._achieved / self._imitated
            return
        self._recent += _FORGETTING * (success - self._recent)
        share = _RETURN if self.retreated else _RETREAT
        self.retreated = self._recent < share * self.imitation

    def state(self) -> np.ndarray:
        """Numbers for `restore`."""
        return np.array([self.retreated, self._imitated, self._achieved, self._recent], dtype=float)

    def restore(self, state: np.ndarray) -> None:
        """Take over what `state` gave."""
        retreated, imitated, achieved, self._recent = map(float, state)
        self.retreated, self._imitated, self._achieved = bool(retreated), int(imitated), int(achieved)
