"""Where goals really are, told by distances alone: a few spheres that meet, whose posterior is no ellipsoid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ROUNDS, _DRAWS = 4, 150
_FIRST_WIDTH, _WIDTH = 3.0, 1.3  # of what is drawn from, relative to the posterior as it is known by then
_TAIL = 4.0  # degrees of freedom of Student's distribution, from which is drawn


def sampled(
    log_density: Callable[[np.ndarray], float], mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (k,) and covariance (k, k) of a density in the unit cube, from an estimate of both to begin with.

    The slopes of a distance change over the few millimetres that matter here, so that the curvature at the likeliest
    place says too little of the others. Adaptive importance sampling (Cappé, Guillin, Marin and Robert, "Population
    Monte Carlo", 2004).
    """
    generator, width = np.random.default_rng(len(mean)), _FIRST_WIDTH
    for _ in range(_ROUNDS):
        root = width * np.linalg.cholesky(covariance)
        heavy = np.sqrt(_TAIL / generator.chisquare(_TAIL, _DRAWS))[:, np.newaxis]
        steps = heavy * generator.standard_normal((_DRAWS, len(mean)))
        points = mean + steps @ root.T
        proposed = -0.5 * (_TAIL + len(mean)) * np.log1p(np.square(steps).sum(axis=1) / _TAIL)
        inside = ((points >= 0.0) & (points <= 1.0)).all(axis=1)
        logarithms = np.array(
            [log_density(point) if within else -np.inf for point, within in zip(points, inside, strict=True)]
        )
        logarithms -= proposed
        weights = np.exp(logarithms - logarithms.max())
        weights /= weights.sum()
        witnesses = 1.0 / np.square(weights).sum()
        mean = weights @ points
        away = points - mean
        # Few witnesses take a part of what was believed before with them, or the spread would collapse.
        covariance = (weights[:, np.newaxis] * away).T @ away + covariance / witnesses
        width = _WIDTH
    return mean, covariance
