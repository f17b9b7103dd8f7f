"""How likely a scenario is to be mastered, from how those near it went: a Beta distribution at every point."""

from __future__ import annotations

from collections import deque

import numpy as np


class SuccessModel:
    """Kernel-weighted counts of successes and failures over scenarios in the unit cube.

    An episode counts by its nearness (a Gaussian of standard deviation `width` in every coordinate), and half as much
    every `half_life` episodes, since the policy that it judged is replaced. Where nothing is near, the prior stands: it
    is what a policy judges of itself, or one half. Source: Goetschalckx et al., "Continuous correlated beta processes",
    2011.

    Raises:
        ValueError: a width, half-life, strength or memory that is not above zero.
    """

    def __init__(
        self, *, width: float = 0.35, half_life: float = 24.0, prior_strength: float = 1.0, memory: int = 256
    ) -> None:
        if not min(width, half_life, prior_strength, memory) > 0:
            raise ValueError(
                f"width {width:g}, half_life {half_life:g}, prior_strength {prior_strength:g}, memory {memory}: "
                "expected numbers above zero"
            )
        self._width = width
        self._fading = 0.5 ** (1.0 / half_life)
        self._strength = prior_strength
        self._points: deque[np.ndarray] = deque(maxlen=memory)
        self._mastered: deque[float] = deque(maxlen=memory)

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: np.ndarray, mastered: bool) -> None:
        """Take in how the scenario at `point` (d,) went."""
        self._points.append(np.array(point, dtype=float))
        self._mastered.append(float(mastered))

    def beta(self, points: np.ndarray, prior: np.ndarray | float = 0.5) -> tuple[np.ndarray, np.ndarray]:
        """Both parameters (n,) of the distribution of success at points (n, d), given its `prior` mean in 0 ... 1."""
        prior = np.clip(prior, 0.05, 0.95)
        won = np.broadcast_to(self._strength * prior, len(points)).astype(float)
        lost = np.broadcast_to(self._strength * (1.0 - prior), len(points)).astype(float)
        if self._points:
            near = self._nearness(points) * self._fading ** np.arange(len(self._points))[::-1]
            mastered = np.array(self._mastered)
            won, lost = won + near @ mastered, lost + near @ (1.0 - mastered)
        return won, lost

    def failures_near(self, points: np.ndarray) -> np.ndarray:
        """How many failures (n,) lie near points (n, d), however long ago."""
        if not self._points:
            return np.zeros(len(points))
        return self._nearness(points) @ (1.0 - np.array(self._mastered))

    def _nearness(self, points: np.ndarray) -> np.ndarray:
        known = np.array(self._points)
        square = ((points[:, np.newaxis] - known) ** 2).sum(axis=2)
        return np.exp(-0.5 * square / self._width**2)
