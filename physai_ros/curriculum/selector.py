"""Which scenario to run next: drawn uniformly, or near where the policy has just failed or been helped."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

METHODS = ("uniform", "failure")


class ScenarioSelector:
    """Picks the parameters of the next training scenario.

    `failure` draws, beside a uniform share that keeps every scenario possible, near a scenario that failed or needed an
    operator among the last `memory` ones; a success near it forgets it. The draw is the same for the same generator and
    reports. Which method reaches a given success in fewer episodes depends on the task: measure it.

    Raises:
        ValueError: an unknown method, an empty or reversed bound, or a share outside 0 ... 1.
    """

    def __init__(
        self,
        task_bounds: Mapping[str, tuple[float, float]],
        generator: np.random.Generator,
        method: str = "uniform",
        uniform_share: float = 0.5,
        memory: int = 50,
        spread: float = 0.08,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"scenario method '{method}' is not known; known are {', '.join(METHODS)}")
        if not 0.0 <= uniform_share <= 1.0:
            raise ValueError(f"uniform_share is {uniform_share:g}; expected 0 ... 1")
        if spread <= 0.0 or memory < 1:
            raise ValueError(f"spread is {spread:g} and memory {memory}; expected above zero and at least 1")
        for name, (low, high) in task_bounds.items():
            if not (np.isfinite(low) and np.isfinite(high) and low <= high):
                raise ValueError(f"bounds of '{name}' are {low:g} ... {high:g}; expected finite, lower first")
        self.method = method
        self._names = tuple(task_bounds)
        self._low = np.array([task_bounds[name][0] for name in self._names], dtype=float)
        self._range = np.array([task_bounds[name][1] for name in self._names], dtype=float) - self._low
        self._generator = generator
        self._uniform_share = uniform_share
        self._spread = spread
        self._failures: deque[np.ndarray] = deque(maxlen=memory)

    @property
    def failures(self) -> int:
        """How many scenarios are remembered as not mastered."""
        return len(self._failures)

    def next(self) -> dict[str, float]:
        """Parameters of the next scenario, inside the bounds."""
        if self.method == "uniform" or not self._failures or self._generator.random() < self._uniform_share:
            point = self._generator.random(len(self._names))
        else:
            point = self._near(self._failures[int(self._generator.integers(len(self._failures)))])
        return dict(zip(self._names, (self._low + point * self._range).tolist(), strict=True))

    def report(self, parameters: Mapping[str, float], success: bool, interventions: int = 0) -> None:
        """Say how a scenario went; one that needed an operator counts as not mastered.

        Raises:
            KeyError: a parameter is missing.
        """
        missing = [name for name in self._names if name not in parameters]
        if missing:
            raise KeyError(f"scenario lacks {', '.join(missing)}; it has {', '.join(parameters) or 'nothing'}")
        values = np.array([parameters[name] for name in self._names], dtype=float)
        point = np.divide(values - self._low, self._range, out=np.zeros_like(values), where=self._range > 0)
        if not success or interventions:
            self._failures.append(point)
        elif self._failures:
            distances = [float(np.abs(point - failure).max()) for failure in self._failures]
            nearest = int(np.argmin(distances))
            if distances[nearest] <= 2.0 * self._spread:
                del self._failures[nearest]

    def _near(self, centre: np.ndarray) -> np.ndarray:
        """A normal draw about `centre`, each coordinate drawn again until it is inside: no mass piles up on a bound."""
        point = centre + self._spread * self._generator.standard_normal(len(centre))
        while (outside := (point < 0.0) | (point > 1.0)).any():
            # A scenario given by hand may lie outside the bounds; it is approached from within.
            inside = np.clip(centre[outside], 0.0, 1.0)
            point[outside] = inside + self._spread * self._generator.standard_normal(int(outside.sum()))
        return point
