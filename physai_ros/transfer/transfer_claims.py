"""What rows of transfer runs say together: the gap, and how much of it each method recovered, over twins and tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from physai_ros.transfer.transfer_run import Row

_RESAMPLES = 2000


def gap_figures(rows: Sequence[Row]) -> dict[str, float]:
    """`gap_without` with its interval of 95 %: success in simulation less that on the twin, without randomization."""
    gaps = {(row["task"], row["twin_seed"]): row["success_sim"] - row["success_zero_shot"] for row in rows}
    values = np.array([[gap, 1.0] for gap in gaps.values()]).reshape(-1, 2)
    return _named("gap_without", values, [twin for _, twin in gaps])


def recovery_figures(rows: Sequence[Row], method: str, episodes: int) -> dict[str, float]:
    """`recovered_METHOD_EPISODES` with its interval: what was won back, as a share of all that was lost, pooled.

    A twin on which nothing was lost counts with what the method won or spoiled there. The policy is that of the last
    adaptation within so many real episodes; a run that stopped early counts with what it stopped with. `fixed` and
    `none` do not listen, and are the same after any number.
    """
    values, twins = [], []
    for row in rows:
        if row["method"] != method or (row["budget"] < episodes and method not in ("fixed", "none")):
            continue
        within = [point["success"] for point in row["checkpoints"] if point["real_episodes"] <= episodes]
        after = within[-1] if within else row["success_zero_shot"]
        values.append([after - row["success_zero_shot"], row["success_sim"] - row["success_zero_shot"]])
        twins.append(row["twin_seed"])
    return _named(f"recovered_{method}_{episodes}", np.array(values).reshape(-1, 2), twins)


def _named(name: str, values: np.ndarray, twins: Sequence[int]) -> dict[str, float]:
    ratio, lower, upper = pooled_ratio(values, twins)
    return {name: ratio, f"{name}_lower": lower, f"{name}_upper": upper}


def pooled_ratio(values: np.ndarray, twins: Sequence[int]) -> tuple[float, float, float]:
    """Sum of the first column of (n, 2) over that of the second, and bounds of 95 % by a bootstrap over whole twins.

    NaN where there is nothing to divide by; with fewer than five twins there are no bounds.
    """
    if not len(values) or values[:, 1].sum() <= 0.0:
        return math.nan, math.nan, math.nan
    ratio = float(values[:, 0].sum() / values[:, 1].sum())
    known = sorted(set(twins))
    if len(known) < 5:
        return ratio, math.nan, math.nan
    sums = np.array([values[np.array(twins) == twin].sum(axis=0) for twin in known])
    drawn = np.random.default_rng(0).integers(0, len(known), (_RESAMPLES, len(known)))
    totals = sums[drawn].sum(axis=1)
    ratios = totals[totals[:, 1] > 0.0]
    lower, upper = np.quantile(ratios[:, 0] / ratios[:, 1], [0.025, 0.975])
    return ratio, float(lower), float(upper)
