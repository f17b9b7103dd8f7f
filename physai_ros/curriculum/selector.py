"""Which scenario to run next: drawn uniformly, near recent failures, or by its significance."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from physai_ros.curriculum.success_model import SuccessModel

METHODS = ("uniform", "failure", "significance")

_CANDIDATES = 256
_REHEARSALS = 15  # scenarios in a row that a policy may succeed in, before one is run all the same
_UNREHEARSED = 0.2  # share of the scenarios that are run without one, so that what is mastered is seen now and then
_SHARPNESS = 4.0  # exponent of significance in the draw: 1 hardly prefers, a large one takes the best alone


class StartJudgement(NamedTuple):
    """What the policy makes of n start states, before anything is run.

    `value` (n,) is the chance of success that it gives itself in 0 ... 1, `uncertainty` (n,) the spread of its
    ensemble.
    """

    value: np.ndarray
    uncertainty: np.ndarray


Judge = Callable[[list[dict[str, float]]], StartJudgement]
"""Judges the start states of some scenario parameters by the policy in force."""

Rehearsal = Callable[[dict[str, float]], bool]
"""Whether the policy in force succeeds in a simulator in the scenario of these parameters."""


class ScenarioSelector:
    """Picks the parameters of the next training scenario.

    `uniform` draws from the bounds. The others keep a `uniform_share`, so that every scenario stays possible:

    - `failure` draws near a scenario that failed or needed an operator among the last `memory` ones; a success near it
      forgets it;
    - `significance` draws among uniform candidates by the product of the need for help (one minus a draw from the
      `SuccessModel`, so that what is not known is tried: Thompson, 1933), learnability (a place that goes on failing
      for all that was shown there loses interest) and, where the policy is asked, its uncertainty at the start.

    Where there is a simulator, a policy may rehearse: what it succeeds in there is passed over, whatever the method,
    for an episode teaches little of what is mastered already.

    The draw is the same for the same generator and reports. Which method reaches a given success in fewer episodes
    depends on the task: `physai bench scenarios` measures it.

    Raises:
        ValueError: an unknown method, an empty or reversed bound, or a share outside 0 ... 1.
    """

    def __init__(
        self,
        task_bounds: Mapping[str, tuple[float, float]],
        generator: np.random.Generator,
        method: str = "uniform",
        uniform_share: float | None = None,
        memory: int = 50,
        spread: float = 0.08,
        patience: float = 6.0,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"scenario method '{method}' is not known; known are {', '.join(METHODS)}")
        uniform_share = (0.2 if method == "significance" else 0.5) if uniform_share is None else uniform_share
        if not 0.0 <= uniform_share <= 1.0:
            raise ValueError(f"uniform_share is {uniform_share:g}; expected 0 ... 1")
        if spread <= 0.0 or memory < 1 or patience <= 0.0:
            raise ValueError(
                f"spread is {spread:g}, memory {memory}, patience {patience:g}; expected spread and patience above "
                "zero, memory at least 1"
            )
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
        self._patience = patience
        self._failures: deque[np.ndarray] = deque(maxlen=memory)
        self._model = SuccessModel()

    @property
    def failures(self) -> int:
        """How many scenarios are remembered as not mastered."""
        return len(self._failures)

    def next(self, judge: Judge | None = None, rehearse: Rehearsal | None = None) -> dict[str, float]:
        """Parameters of the next scenario, inside the bounds.

        `judge` asks the policy about start states, where significance decides; `rehearse` tries whole scenarios.
        """
        parameters = self._parameters(self._draw(judge))
        if rehearse is None or self._generator.random() < _UNREHEARSED:
            return parameters
        for _ in range(_REHEARSALS):
            if not rehearse(parameters):
                break
            parameters = self._parameters(self._draw(judge))
        return parameters

    def _draw(self, judge: Judge | None) -> np.ndarray:
        nothing_known = not (len(self._model) if self.method == "significance" else self._failures)
        if self.method == "uniform" or nothing_known or self._generator.random() < self._uniform_share:
            return self._generator.random(len(self._names))
        if self.method == "failure":
            return self._near(self._failures[int(self._generator.integers(len(self._failures)))])
        # A parameter that cannot vary is the same in all; a report puts it at zero.
        candidates = self._generator.random((_CANDIDATES, len(self._names))) * (self._range > 0)
        weights = self.significance(candidates, judge) ** _SHARPNESS
        return candidates[int(self._generator.choice(len(candidates), p=weights / weights.sum()))]

    def significance(self, points: np.ndarray, judge: Judge | None = None) -> np.ndarray:
        """Significance (n,) above 0 and at most 1 of points (n, d) of the unit cube; a random draw."""
        judgement = None if judge is None else judge([self._parameters(point) for point in points])
        won, lost = self._model.beta(points, 0.5 if judgement is None else judgement.value)
        need = 1.0 - self._generator.beta(won, lost)
        learnability = self._patience / (self._patience + self._model.failures_near(points))
        significance = need * learnability
        if judgement is not None:
            rank = np.argsort(np.argsort(judgement.uncertainty)) / max(len(points) - 1, 1)
            significance = significance * (0.5 + 0.5 * rank)
        return np.maximum(significance, 1e-6)

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
        mastered = bool(success) and not interventions
        self._model.add(point, mastered)
        if not mastered:
            self._failures.append(point)
        elif self._failures:
            distances = [float(np.abs(point - failure).max()) for failure in self._failures]
            nearest = int(np.argmin(distances))
            if distances[nearest] <= 2.0 * self._spread:
                del self._failures[nearest]

    def _parameters(self, point: np.ndarray) -> dict[str, float]:
        return dict(zip(self._names, (self._low + point * self._range).tolist(), strict=True))

    def _near(self, centre: np.ndarray) -> np.ndarray:
        """A normal draw about `centre`, each coordinate drawn again until it is inside: no mass piles up on a bound."""
        point = centre + self._spread * self._generator.standard_normal(len(centre))
        while (outside := (point < 0.0) | (point > 1.0)).any():
            # A scenario given by hand may lie outside the bounds; it is approached from within.
            inside = np.clip(centre[outside], 0.0, 1.0)
            point[outside] = inside + self._spread * self._generator.standard_normal(int(outside.sum()))
        return point
