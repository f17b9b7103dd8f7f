"""What a success costs: where a noisy learning curve crosses a level, and how two trainers compare, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression


class Crossing(NamedTuple):
    """Where a curve reached the level: `cost`, and whether it did (`reached`); if not, `cost` is the largest tried."""

    cost: float
    reached: bool


class PairedRatio(NamedTuple):
    """Geometric mean of paired ratios with its bootstrap interval, and the mean of the worst group."""

    ratio: float
    lower: float
    upper: float
    worst: float


def final_success(success: Sequence[float]) -> float:
    """Success at the end of a curve, by isotonic regression: learning does not get worse, measurements do."""
    return float(isotonic_regression(np.asarray(success, dtype=float)).x[-1])


def crossing(costs: Sequence[float], success: Sequence[float], level: float) -> Crossing:
    """Cost at which the isotonic fit of a curve first reaches `level`, interpolated in the logarithm of the cost.

    Args:
        costs: of the checkpoints, rising, above zero.
        success: measured at each, 0 to 1.
        level: to be reached.

    Raises:
        ValueError: the costs do not rise, or there are not as many as successes.
    """
    grid, curve = np.asarray(costs, dtype=float), np.asarray(success, dtype=float)
    if len(grid) != len(curve) or not len(grid) or grid[0] <= 0 or (np.diff(grid) <= 0).any():
        raise ValueError(f"costs {grid.tolist()} for {len(curve)} successes: expected as many, rising, above zero")
    fitted = isotonic_regression(curve).x
    above = np.flatnonzero(fitted >= level)
    if not len(above):
        return Crossing(float(grid[-1]), reached=False)
    first = int(above[0])
    if first == 0:
        return Crossing(float(grid[0]), reached=True)
    share = (level - fitted[first - 1]) / (fitted[first] - fitted[first - 1])
    logs = np.log(grid)
    return Crossing(float(np.exp(logs[first - 1] + share * (logs[first] - logs[first - 1]))), reached=True)


def paired_ratio(
    ratios: Mapping[str, Sequence[float]], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PairedRatio:
    """Geometric mean over groups (tasks) of ratios paired by seed, every group with the same weight.

    The interval is the bootstrap's: seeds are drawn anew within each group. Source: Efron and Tibshirani, "An
    introduction to the bootstrap", 1993.

    Raises:
        ValueError: a group is empty, or a ratio is not above zero.
    """
    logs = {}
    for name, values in ratios.items():
        group = np.asarray(values, dtype=float)
        if not len(group) or not (np.isfinite(group) & (group > 0)).all():
            raise ValueError(f"ratios of '{name}' are {group.tolist()}: expected at least one, all above zero")
        logs[name] = np.log(group)
    if not logs:
        raise ValueError("there are no ratios: expected at least one group of them")
    generator = np.random.default_rng(seed)
    drawn = [
        group[generator.integers(len(group), size=(resamples, len(group)))].mean(axis=1) for group in logs.values()
    ]
    means = np.mean(drawn, axis=0)
    tail = 50.0 * (1.0 - confidence)
    lower, upper = np.exp(np.percentile(means, [tail, 100.0 - tail]))
    averages = [float(group.mean()) for group in logs.values()]
    return PairedRatio(float(np.exp(np.mean(averages))), float(lower), float(upper), float(np.exp(min(averages))))
