"""Widening under a constraint: as much randomization as the policy can bear.

In the manner of DORAEMON (Tiboni et al., "Domain randomization via entropy maximization", 2024): the entropy of the
distribution is raised while the success that is expected under it stays above a floor. The success under another
distribution is estimated from the episodes at hand by importance weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physai_ros.transfer.randomization import LEAST_SPREAD, MOST_SPREAD
from physai_ros.transfer.truncated_normal import TruncatedNormal

FACTORS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5)
"""Factors on all spreads that are considered at once: further than this the episodes at hand tell nothing."""

_FEWEST_WITNESSES = 0.2
"""Share of the episodes that must still count (effective sample size) for an estimate to be believed."""


def expected_success(
    old: TruncatedNormal, new: TruncatedNormal, points: np.ndarray, successes: Sequence[bool]
) -> float:
    """Success under `new` of what was run at `points` (n, d) drawn from `old`; NaN where too few tell of it."""
    logarithm = new.log_density(points) - old.log_density(points)
    weights = np.exp(logarithm - logarithm.max())
    if weights.sum() ** 2 / np.square(weights).sum() < _FEWEST_WITNESSES * len(points):
        return float("nan")
    return float(weights @ np.array(successes, dtype=float) / weights.sum())


def bearable_factor(
    distribution: TruncatedNormal, points: np.ndarray, successes: Sequence[bool], floor: float
) -> float:
    """Factor on the spreads, the largest whose expected success is at least `floor`; the least one where none is.

    Raises:
        ValueError: no episode, or as many outcomes as there are not episodes.
    """
    if not len(points) or len(points) != len(successes):
        raise ValueError(f"{len(points)} points and {len(successes)} outcomes; expected as many of both, at least one")
    bearable = [FACTORS[0]]
    for factor in FACTORS:
        spread = np.clip(distribution.spread * factor, LEAST_SPREAD, MOST_SPREAD)
        other = TruncatedNormal.independent(distribution.mean, spread)
        if expected_success(distribution, other, points, successes) >= floor:  # NaN is not
            bearable.append(factor)
    return max(bearable)
