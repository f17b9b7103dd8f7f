"""Adaptive domain randomization: which physics to simulate next, learned from how far simulation was from the arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from physai_ros.transfer.fitted_physics import FittedPhysics
from physai_ros.transfer.parameter_space import RANDOMIZED, ParameterSpace
from physai_ros.transfer.truncated_normal import TruncatedNormal

GAP_THRESHOLD = 0.3
"""Gap above which simulation is widened and shifted away from what was simulated; below, it tightens towards it."""

LEAST_SPREAD, MOST_SPREAD = 0.01, 0.35
"""Bounds of every standard deviation, as shares of the parameter's range."""

_NOISE_SPREAD = 0.03  # of the measured noise, as a share of its range
_SETTLING = 10.0  # updates after which means begin to move by less


class AdaptiveDomainRandomization:
    """Truncated normal distributions over physics parameters that physical feedback moves.

    Parameters live in the unit cube of their `ROBOT_SIM_PARAMS` ranges, on a logarithmic scale where it is the scale
    that varies. What is drawn lies inside the ranges, with no mass on their ends; means stay inside, spreads within
    `LEAST_SPREAD` ... `MOST_SPREAD`. The same seed and the same feedback give the same draws.

    Args:
        names: parameters that are randomized; the others stay nominal.
        spread: standard deviation to begin with, as a share of each parameter's range.
        rate: how far one episode of gap 0 or 1 moves things: a share of the spread, and of the way.
        seed: of the draws.
    """

    def __init__(
        self, names: Sequence[str] = RANDOMIZED, *, spread: float = 0.15, rate: float = 0.1, seed: int = 0
    ) -> None:
        if not LEAST_SPREAD <= spread <= MOST_SPREAD:
            raise ValueError(f"spread is {spread:g}; expected {LEAST_SPREAD:g} to {MOST_SPREAD:g}")
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"rate is {rate:g}; expected above 0, at most 1")
        self.space = ParameterSpace(names)
        self._rate = rate
        self._updates = 0
        self._generator = np.random.default_rng([seed, 0xAD])
        self.distribution = TruncatedNormal.independent(self.space.nominal, np.full(len(self.space), spread))

    @property
    def mean(self) -> dict[str, float]:
        """Where the distributions are centred, by name."""
        return self.space.values(self.distribution.mean)

    @property
    def spread(self) -> dict[str, float]:
        """Standard deviations before truncation as shares of each range, by name."""
        return dict(zip(self.space.names, self.distribution.spread.tolist(), strict=True))

    def sample_parameters(self) -> dict[str, float]:
        """Values by name for the next simulated episode."""
        return self.space.values(self.distribution.draw(self._generator))

    def update_from_physical_feedback(
        self, parameters: Mapping[str, float], gap: float, credit: Mapping[str, float] | None = None
    ) -> None:
        """Learn from the gap in 0 ... 1 between a real episode and one that was simulated with `parameters`.

        Above `GAP_THRESHOLD` spreads grow and means move away from what was simulated; below it spreads shrink and
        means move towards it. Both are continuous and monotone in the gap. A mean moves by the distance of what was
        simulated from what is simulated *on average*, so that gaps that do not depend on a parameter do not move it.
        `credit` says by name how much of the gap a parameter explains, at least zero; the largest counts fully, those
        that are not named not at all. Without it all count fully.

        Raises:
            ValueError: a gap outside 0 ... 1, a value that is missing, a credit below zero.
        """
        if not 0.0 <= gap <= 1.0:
            raise ValueError(f"the gap is {gap}; expected a number in 0 ... 1")
        point, weight = self.space.point(parameters), self._weights(credit)
        # -1 where simulation and arm are the same, 0 at the threshold, 1 where they have nothing in common.
        tension = (gap - GAP_THRESHOLD) / (1.0 - GAP_THRESHOLD if gap > GAP_THRESHOLD else GAP_THRESHOLD)
        strength = self._rate * weight * tension
        # Single episodes say little of where to go: later ones move the means by less, or they would wander.
        patience = np.sqrt(1.0 + self._updates / _SETTLING)
        self._updates += 1
        old = self.distribution
        mean = np.clip(old.mean - strength / patience * (point - old.expected()), 0.0, 1.0)
        spread = np.clip(old.spread * (1.0 + strength), LEAST_SPREAD, MOST_SPREAD)
        self.distribution = TruncatedNormal(mean, _rescaled(old.covariance, spread))

    def widen(self, factor: float) -> None:
        """Multiply all standard deviations, within their bounds.

        Raises:
            ValueError: a factor that is not above zero.
        """
        if not factor > 0.0:
            raise ValueError(f"factor is {factor}; expected above 0")
        spread = np.clip(self.distribution.spread * factor, LEAST_SPREAD, MOST_SPREAD)
        self.distribution = TruncatedNormal(self.distribution.mean, _rescaled(self.distribution.covariance, spread))

    def centre_on(self, names: Sequence[str], mean: np.ndarray, covariance: np.ndarray) -> None:
        """Put what a fit found in place of the distribution of `names`: `mean` (k,) and `covariance` (k, k).

        Both are in coordinates of these parameters' ranges. The others keep theirs. Spreads are kept within bounds.

        Raises:
            ValueError: a parameter that is not randomized.
        """
        unknown = [name for name in names if name not in self.space.names]
        if unknown:
            raise ValueError(f"'{unknown[0]}' is not randomized; randomized are: {', '.join(self.space.names)}")
        rows = [self.space.names.index(name) for name in names]
        new_mean, new_covariance = self.distribution.mean.copy(), self.distribution.covariance.copy()
        new_mean[rows] = np.clip(mean, 0.0, 1.0)
        new_covariance[rows, :] = new_covariance[:, rows] = 0.0
        new_covariance[np.ix_(rows, rows)] = covariance
        spread = np.clip(np.sqrt(np.diag(new_covariance)), LEAST_SPREAD, MOST_SPREAD)
        self.distribution = TruncatedNormal(new_mean, _rescaled(new_covariance, spread))

    def centre_on_fit(self, fitted: FittedPhysics) -> None:
        """Put what recordings told in place of the distribution: the fit's posterior, and the measured noise."""
        self.centre_on(fitted.names, fitted.mean, fitted.covariance)
        if fitted.noise:
            names = tuple(fitted.noise)
            point = self.space.point(self.space.values(self.space.nominal) | fitted.noise)
            mean = np.array([point[self.space.names.index(name)] for name in names])
            self.centre_on(names, mean, _NOISE_SPREAD**2 * np.eye(len(names)))

    def _weights(self, credit: Mapping[str, float] | None) -> np.ndarray:
        if credit is None:
            return np.ones(len(self.space))
        weights = np.array([credit.get(name, 0.0) for name in self.space.names], dtype=float)
        if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
            raise ValueError(f"credit is {dict(credit)}; expected numbers of at least zero")
        largest = float(weights.max())
        return weights / largest if largest > 0.0 else weights


def _rescaled(covariance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The covariance with the same correlations and these standard deviations (d,)."""
    factor = spread / np.sqrt(np.diag(covariance))
    return covariance * np.outer(factor, factor)
